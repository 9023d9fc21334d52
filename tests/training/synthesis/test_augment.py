"""Rooms, machines, files, and the channel of all training examples: lengths, levels and times stay true."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="training needs the [train] extra")

from instrec_live.models.logmel import SAMPLE_RATE, log_mel
from instrec_live.training.data.sounds import extend_bandwidth
from instrec_live.training.synthesis.augment import (
    CODECS,
    codec,
    limit_band,
    reverberate,
    saturate,
    spec_augment,
    tape_noise,
    through_codec,
    transpose,
)
from instrec_live.training.synthesis.channel import (
    CENTRES,
    Channel,
    Response,
    channel,
    channel_of_log,
    draw_band,
    draw_microphone,
    filtered,
    log_of,
    mean_square,
    power_of,
    sounding,
)


def tone(hz: float, seconds: float, decay: float = 3.0) -> np.ndarray:
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (0.3 * np.sin(2 * np.pi * hz * t) * np.exp(-decay * t)).astype(np.float32)


def buzz(hz: float, seconds: float, top: float, slope: float = 9.0) -> np.ndarray:
    """Harmonics up to `top` Hz that fall by `slope` dB an octave."""
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    parts = [10 ** (-slope * np.log2(n) / 20) * np.sin(2 * np.pi * n * hz * t + n) for n in range(1, int(top / hz) + 1)]
    return (0.1 * np.sum(parts, 0)).astype(np.float32)


def level_db(samples: np.ndarray, low: float, high: float) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples)))) ** 2
    hz = np.fft.rfftfreq(len(samples), 1 / SAMPLE_RATE)
    return float(10 * np.log10(spectrum[(hz >= low) & (hz < high)].mean() + 1e-12))


def test_transposing_an_octave_halves_the_length() -> None:
    assert abs(len(transpose(tone(200, 1), 12)) - SAMPLE_RATE / 2) <= 1


@pytest.mark.parametrize("effect", [reverberate, saturate, limit_band, tape_noise, codec])
def test_effects_keep_the_length_the_sound_and_the_seed(effect) -> None:
    sound = buzz(220, 1.5, 3000)
    for seed in range(4):
        got = effect(sound, np.random.default_rng(seed))
        assert got.dtype == np.float32
        assert got.shape == sound.shape
        assert np.isfinite(got).all()
        assert np.corrcoef(got, sound)[0, 1] > 0.5
        np.testing.assert_array_equal(got, effect(sound, np.random.default_rng(seed)))
    assert not np.array_equal(got, sound)


@pytest.mark.parametrize(("container", "name", "rate", "range_"), CODECS, ids=[c[1] for c in CODECS])
def test_a_codec_is_audible_and_in_time(container: str, name: str, rate: int, range_: tuple[float, float]) -> None:
    """A short sound comes back where it was, to the millisecond, and not quite as it was."""
    sound = np.zeros(SAMPLE_RATE, np.float32)
    sound[12_000:18_000] = buzz(97, 0.1875, 9000)[:6000]
    for compression in range_:
        got = through_codec(sound, container, name, rate, compression)
        assert got.shape == sound.shape
        across = np.correlate(got[11_000:19_000], sound[11_500:18_500], "valid")
        assert abs(int(np.argmax(across)) - 500) <= SAMPLE_RATE // 1000
        assert 1e-5 < np.square(got - sound).sum() / np.square(sound).sum() < 1


def test_loud_sound_does_not_clip_in_a_codec() -> None:
    got = through_codec(4 * buzz(330, 1, 3000), *CODECS[1][:3], 0.6)
    assert np.abs(got).max() > 0.9 * np.abs(4 * buzz(330, 1, 3000)).max()


def test_the_band_continues_above_the_cutoff() -> None:
    """What 16 kHz sampling cut off comes back within 10 dB of what was there; what was below the cut-off stays."""
    whole, cut = buzz(220, 2, 15_800), buzz(220, 2, 7400)
    excess = []
    for seed in range(6):
        got = extend_bandwidth(cut, 7520, np.random.default_rng(seed))
        assert got.shape == cut.shape
        np.testing.assert_allclose(level_db(got, 100, 7000), level_db(cut, 100, 7000), atol=0.1)
        excess.append(level_db(got, 8500, 13_000) - level_db(whole, 8500, 13_000))
    assert level_db(cut, 8500, 13_000) < level_db(whole, 8500, 13_000) - 40  # there was nothing
    assert np.abs(np.mean(excess)) < 6
    assert np.abs(excess).max() < 15
    assert np.std(excess) > 0.5  # not always the same


def test_the_added_band_follows_the_level_of_the_sound() -> None:
    sound = np.concatenate([np.zeros(SAMPLE_RATE // 2, np.float32), buzz(220, 0.5, 7400)])
    got = extend_bandwidth(sound, 7520, np.random.default_rng(0))
    added = got - sound
    assert np.square(added[: SAMPLE_RATE // 2 - 2000]).mean() < 1e-3 * np.square(added[SAMPLE_RATE // 2 :]).mean()


@pytest.mark.parametrize("samples", [np.zeros(40, np.float32), np.zeros(0, np.float32), tone(200, 0.01)])
def test_odd_sounds_are_extended_too(samples: np.ndarray) -> None:
    assert np.isfinite(extend_bandwidth(samples, 7500, np.random.default_rng(0))).all()


def test_power_and_log_are_inverse() -> None:
    mel = np.random.default_rng(0).normal(0, 0.25, (128, 50)).astype(np.float32)
    np.testing.assert_allclose(log_of(power_of(mel)), mel, atol=2e-3)
    half = mel.astype(np.float16)
    np.testing.assert_allclose(power_of(half), power_of(half.astype(np.float32)), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", ["noise", "buzz", "low tone"])
def test_the_mean_square_is_that_of_the_samples(kind: str) -> None:
    sound = {
        "noise": (0.1 * np.random.default_rng(0).standard_normal(SAMPLE_RATE)).astype(np.float32),
        "buzz": buzz(220, 1, 12_000),
        "low tone": tone(200, 1, 0),
    }[kind]
    told = 10 * np.log10(mean_square(power_of(log_mel(sound))).mean())
    assert abs(told - 10 * np.log10(np.square(sound).mean())) < 1.5


def test_the_channel_decides_the_level_and_leaves_no_silence() -> None:
    """Whatever came in, the level is the one drawn; and a pause is filled by hiss."""
    mel = log_mel(np.concatenate([buzz(220, 1, 9000), np.zeros(SAMPLE_RATE, np.float32)]))
    for gain in (1e-2, 1.0, 30.0):
        out = Channel(level=-30, hiss=-75).on_mels(power_of(mel) * np.float32(gain), np.random.default_rng(0))
        assert abs(10 * np.log10(sounding(mean_square(out))) + 30) < 0.5
        pause = out[:, 120:]
        assert abs(10 * np.log10(mean_square(pause).mean()) + 75) < 1
    silent = Channel(hiss=-np.inf).on_mels(power_of(mel), np.random.default_rng(0))
    assert (silent[:, 120:] < 1e-5).all()


def test_the_channel_is_seeded_and_finite_even_for_silence() -> None:
    for seed in range(60):
        for power in (np.zeros((128, 50), np.float32), power_of(log_mel(buzz(300, 0.5, 9000)))):
            out = channel(power, np.random.default_rng(seed))
            assert out.shape == power.shape
            assert out.dtype == np.float32
            assert np.isfinite(out).all()
            np.testing.assert_array_equal(out, channel(power, np.random.default_rng(seed)))
    mel = log_mel(buzz(300, 0.5, 9000))
    np.testing.assert_array_equal(
        channel_of_log(mel, np.random.default_rng(3)), channel(power_of(mel), np.random.default_rng(3))
    )


def test_samples_and_mels_go_through_the_same_channel() -> None:
    """One draw, both ways: the same spectrum within 3 dB, noise and hiss included."""
    sound = np.concatenate([buzz(220, 1, 12_000), np.zeros(SAMPLE_RATE, np.float32)])
    for seed in range(8):
        dice = Channel.draw(np.random.default_rng(seed))
        mels = dice.on_mels(power_of(log_mel(sound)), np.random.default_rng(1))
        samples = dice.on_samples(sound, np.random.default_rng(1))
        assert np.abs(samples).max() < 1
        heard = power_of(log_mel(samples))
        scale = sounding(mean_square(heard)) / sounding(mean_square(mels))  # it may have been turned down to fit
        assert 0.5 < 1 / scale < 100
        for part in (slice(2, 95), slice(105, 198)):
            a, b = (10 * np.log10(x[:, part].mean(1) + 1e-6) for x in (mels * scale, heard))
            loud = np.maximum(a, b) > -45
            assert np.median(np.abs(a - b)[loud]) < 3 if loud.any() else True


def test_responses_are_gains_and_bands_end_where_they_say() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        for response in (draw_microphone(rng), draw_band(rng)):
            gain = response.gain(CENTRES)
            assert gain.shape == (128,)
            assert (gain > 0).all()
        low_pass = response.low_pass
        assert low_pass is not None
        assert response.gain(np.array([low_pass[0] * 0.99]))[0] > 0.9
        assert response.gain(np.array([low_pass[0] * 2]))[0] < 0.01


def test_filtering_follows_the_response() -> None:
    sound = buzz(220, 1, 15_000)
    dull = filtered(sound, Response(low_pass=(4000, 60)))
    np.testing.assert_allclose(dull, filtered(dull, Response()), atol=1e-6)
    assert abs(level_db(dull, 100, 3900) - level_db(sound, 100, 3900)) < 0.2
    assert -63 < level_db(dull, 7900, 8100) - level_db(sound, 7900, 8100) < -55


def test_spec_augment_blanks_in_place() -> None:
    mels = np.random.default_rng(0).normal(size=(4, 128, 90)).astype(np.float32)
    before = mels.copy()
    spec_augment(mels, np.random.default_rng(1))
    assert np.isfinite(mels).all()
    assert (mels != before).any()
    assert (mels == before).mean() > 0.2
