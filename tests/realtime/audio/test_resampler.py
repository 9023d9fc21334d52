"""Block by block equals all at once, to the bit; tones stay where they are."""

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st

from instrec_live.realtime.audio.resampler import Resampler

RATES = [8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000]


def stream(samples: np.ndarray, rate: int, blocks: list[int]) -> np.ndarray:
    """Resample in blocks of the given sizes, taken in turn."""
    resampler, parts, at = Resampler(rate), [], 0
    while at < len(samples):
        size = blocks[len(parts) % len(blocks)]
        parts.append(resampler.push(samples[at : at + size]))
        at += size
    parts.append(resampler.flush())
    assert all(part.dtype == np.float32 and part.ndim == 1 and part.flags.c_contiguous for part in parts)
    return np.concatenate(parts)


def noise(n: int, channels: int = 1) -> np.ndarray:
    return np.random.default_rng(7).standard_normal((n, channels)).astype(np.float32)


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize("channels", [1, 2, 3, 8])
@pytest.mark.parametrize("block", [1, 17, 509, 4800])
def test_streaming_equals_one_shot_to_the_bit(rate, channels, block):
    samples = noise(2_003 if block == 1 else rate // 3 + 7, channels)
    mono = samples.mean(axis=1)
    whole = mono if rate == 32_000 else soxr.resample(mono, rate, 32_000, quality="HQ")
    assert np.array_equal(stream(samples, rate, [block]), whole)


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(RATES), st.integers(0, 6_000), st.lists(st.integers(1, 1_999), min_size=1, max_size=5))
def test_any_cut_gives_the_same_sound_of_the_right_length(rate, n, blocks):
    samples = noise(n)
    out = stream(samples, rate, blocks)
    assert np.array_equal(out, stream(samples, rate, [6_000]))
    assert abs(len(out) - n * 32_000 / rate) <= 1


@pytest.mark.parametrize("rate", RATES)
def test_a_sine_keeps_its_frequency_phase_and_level(rate):
    def sine(at_rate: int) -> np.ndarray:
        return np.sin(2 * np.pi * 1_000 * np.arange(at_rate) / at_rate).astype(np.float32)

    out = stream(sine(rate)[:, None], rate, [rate // 10])
    inner = slice(1_600, -1_600)
    assert np.abs(out - sine(32_000))[inner].max() < 2e-5


def test_what_32_khz_cannot_carry_does_not_fold_back():
    tone = np.sin(2 * np.pi * 20_000 * np.arange(48_000) / 48_000).astype(np.float32)
    inner = stream(tone[:, None], 48_000, [4_800])[1_600:-1_600]
    assert np.abs(inner).max() < 1e-5


def test_channels_are_averaged():
    left = noise(4_410)
    assert np.array_equal(stream(np.hstack([left, -left]), 44_100, [441]), np.zeros(3_200, np.float32))


def test_equal_rates_pass_the_samples_through_as_a_copy():
    samples = noise(320)
    out = Resampler(32_000).push(samples)
    assert np.array_equal(out, samples[:, 0])
    assert not np.shares_memory(out, samples)
    mono = samples[:, 0]
    assert not np.shares_memory(Resampler(32_000).push(mono), mono)


def test_flush_begins_a_new_sound():
    samples, resampler = noise(4_410), Resampler(44_100)
    first = np.concatenate([resampler.push(samples), resampler.flush()])
    second = np.concatenate([resampler.push(samples), resampler.flush()])
    assert np.array_equal(first, second)


def test_the_delay_is_at_most_30_ms():
    resampler = Resampler(48_000)
    out = sum(len(resampler.push(block)) for block in np.array_split(noise(48_000), 100))
    assert 32_000 - out < 0.03 * 32_000


def test_a_rate_of_nothing_is_refused():
    with pytest.raises(ValueError, match="cannot resample"):
        Resampler(0)
