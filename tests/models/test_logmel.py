"""The front end against hear21passt's, and its stream against itself."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from instrec_live.models.logmel import HOP, SAMPLE_RATE, DcBlocker, StreamingLogMel, frame_count, log_mel

SIGNAL = (0.2 * np.random.default_rng(0).standard_normal(4 * 32_000)).astype(np.float32)


def test_equals_the_golden_file():
    """Of hear21passt's front end, so that it holds with no torch installed."""
    with np.load(Path(__file__).parents[1] / "data" / "logmel_golden.npz") as golden:
        samples, expected = golden["samples"] / np.float32(32768), golden["log_mel"]
    assert expected.shape == (128, frame_count(len(samples)))
    np.testing.assert_allclose(log_mel(samples), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("samples", [64_000, 80_000, 96_001, 320_000])
def test_equals_hear21passt(samples):
    torch = pytest.importorskip("torch", reason="parity with hear21passt needs torch")
    pytest.importorskip("hear21passt", reason="parity with hear21passt needs it")
    from instrec_live.models.networks import hear21passt_shim as shim

    signal = np.resize(SIGNAL, samples)
    with shim.silence(), torch.inference_mode():
        expected = shim.augment_mel_stft()(torch.from_numpy(signal)[None])[0].numpy()
    ours = log_mel(signal)
    assert ours.dtype == np.float32
    np.testing.assert_allclose(ours, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize("level", [0.0, 1e-30, 1e5, 1e20, 3e38])
def test_finite_for_finite_samples(level):
    assert np.isfinite(log_mel(level * np.sign(SIGNAL[:64_000]))).all()


def test_ten_seconds_are_a_thousand_frames_and_two_are_two_hundred():
    assert (frame_count(320_000), frame_count(64_000)) == (1000, 200)


@settings(deadline=None, max_examples=40)
@given(
    blocks=st.lists(st.integers(1, 9_000), min_size=1, max_size=30),
    begin=st.integers(0, 700),
    ago=st.integers(0, 3_000),
    frames=st.integers(5, 250),
    data=st.data(),
)
def test_stream_equals_whole(blocks, begin, ago, frames, data):
    """Any block sizes, any window that begins on the grid and lies in the history."""
    stream = StreamingLogMel(seconds=1.0)
    stream.reset(begin)
    at = begin
    for block in blocks:
        stream.push(SIGNAL[at : at + block])
        at = min(at + block, len(SIGNAL))
    assert stream.end == at
    end = at - ago
    length = frames * HOP + end % HOP
    start = end - length
    inside = start >= max(begin, at - 2 * 32_000)
    if inside:
        expected = log_mel(SIGNAL[start:end])
        np.testing.assert_allclose(stream.window(end, length), expected, atol=1e-4, rtol=0)
    else:
        with pytest.raises(ValueError, match="not in the history"):
            stream.window(end, length)


@settings(deadline=None, max_examples=20)
@given(cuts=st.lists(st.integers(1, 9_000), min_size=1, max_size=40))
def test_a_stream_is_the_same_to_the_last_bit_however_it_is_cut(cuts):
    whole, pieces = StreamingLogMel(), StreamingLogMel()
    whole.push(SIGNAL)
    for piece in np.split(SIGNAL, np.minimum(np.cumsum(cuts), len(SIGNAL))):
        pieces.push(piece)
    end, length = len(SIGNAL) // HOP * HOP, 64_000
    np.testing.assert_array_equal(pieces.window(end, length), whole.window(end, length))


def test_one_huge_block_equals_many_small():
    stream = StreamingLogMel(seconds=1.0)
    stream.push(SIGNAL)
    expected = log_mel(SIGNAL[-64_000:])
    np.testing.assert_allclose(stream.window(len(SIGNAL), 64_000), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("end", "length", "words"),
    [
        (32_000, 31_999, "frame grid"),
        (32_000, 1_280, "too short"),
        (32_320, 3_200, "not in the history"),  # the future
        (32_000, 32_320, "not in the history"),  # before the first sample
    ],
)
def test_windows_that_cannot_be(end, length, words):
    stream = StreamingLogMel(seconds=1.0)
    stream.push(SIGNAL[:32_000])
    with pytest.raises(ValueError, match=words):
        stream.window(end, length)


def test_overwritten_history_is_refused_and_reset_forgets():
    stream = StreamingLogMel(seconds=1.0)
    stream.push(SIGNAL)
    with pytest.raises(ValueError, match="not in the history"):
        stream.window(64_000, 32_000)
    stream.reset(3_200)
    with pytest.raises(ValueError, match="not in the history"):
        stream.window(len(SIGNAL), 32_000)
    stream.push(SIGNAL[3_200:40_000])
    np.testing.assert_allclose(stream.window(40_000, 36_800), log_mel(SIGNAL[3_200:40_000]), atol=1e-4, rtol=0)


@pytest.mark.parametrize("offset", [0.1, -0.5])
def test_a_constant_offset_is_taken_out_of_the_sound(offset):
    sound = np.random.default_rng(0).standard_normal(3 * SAMPLE_RATE + 17).astype(np.float32) * np.float32(0.01)
    plain, offset_too = DcBlocker()(sound), DcBlocker()(sound + np.float32(offset))
    np.testing.assert_allclose(offset_too, plain, atol=1e-7)
    np.testing.assert_allclose(plain, sound, atol=1e-3)
    assert abs(offset_too.mean(dtype=np.float64)) < 1e-4


def test_the_offset_filter_does_not_depend_on_block_sizes():
    sound = np.random.default_rng(0).standard_normal(10 * SAMPLE_RATE + 17).astype(np.float32) + np.float32(0.3)
    blocker = DcBlocker()
    cuts = [0, 10 * HOP, 11 * HOP, 60 * HOP, 500 * HOP, len(sound)]
    pieces = [blocker(sound[start:stop]) for start, stop in pairwise(cuts)]
    np.testing.assert_array_equal(np.concatenate(pieces), DcBlocker()(sound))


def test_silence_after_an_offset_ends_as_silence():
    blocker = DcBlocker()
    blocker(np.full(SAMPLE_RATE, 0.5, np.float32))
    blocker(np.zeros(30 * SAMPLE_RATE, np.float32))
    assert not blocker(np.zeros(SAMPLE_RATE, np.float32)).any()
    short = np.full(HOP // 2, 0.5, np.float32)
    np.testing.assert_array_equal(DcBlocker()(short), short)  # less than a frame


def test_a_window_is_a_copy():
    stream = StreamingLogMel(seconds=1.0)
    stream.push(SIGNAL[:32_000])
    stream.window(32_000, 16_000)[:] = np.nan
    assert np.isfinite(stream.window(32_000, 16_000)).all()
