"""Bad samples, wrong scales and channels that cancel each other out."""

from itertools import pairwise

import numpy as np
import pytest

from instrec_live.models.conditioning import Downmix, Sanity, channel_index, mono

RATE = 32_000


def noise(seconds: float = 2.0, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.3, 0.3, round(seconds * RATE)).astype(np.float32)


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(samples.astype(np.float64) ** 2)))


def test_ordinary_sound_is_its_mean() -> None:
    for other in (noise(seed=1), noise(), 0.5 * noise(), -0.4 * noise(), np.zeros(2 * RATE, np.float32)):
        said: list[str] = []
        samples = np.stack([noise(), other], axis=1)
        np.testing.assert_allclose(mono(samples, RATE, said.append), samples.mean(axis=1), atol=1e-6)
        assert not said


def test_the_samples_of_a_mean_are_those_of_one_product() -> None:
    samples = np.stack([noise(), noise(seed=1)], axis=1)
    expected = np.concatenate([block @ np.full(2, 0.5, np.float32) for block in np.split(samples, 20)])
    np.testing.assert_array_equal(mono(samples, RATE), expected)


@pytest.mark.parametrize("offset", [0.0, 0.5])
@pytest.mark.parametrize("share", [-1.0, -0.95, -0.8])
def test_of_channels_that_cancel_out_one_is_used(share: float, offset: float) -> None:
    said: list[str] = []
    heard = mono(np.stack([noise(), share * noise()], axis=1) + np.float32(offset), RATE, said.append)
    np.testing.assert_allclose(heard, noise() + np.float32(offset), atol=1e-6)
    assert said == ["its channels cancel each other out: only channel 1 is used (--channel)"]


def test_four_channels_in_two_opposed_pairs_keep_their_sound() -> None:
    a = noise()
    assert rms(mono(np.stack([a, -a, a, -a], axis=1), RATE)) == pytest.approx(rms(a), rel=0.01)


def test_a_polarity_that_changes_in_the_middle_is_detected_and_faded() -> None:
    a, half = noise(4.0), 2 * RATE
    other = np.concatenate([a[:half], -a[half:]])
    heard = mono(np.stack([a, other], axis=1), RATE)
    np.testing.assert_allclose(heard[:half], a[:half], atol=1e-6)
    assert rms(heard[half + RATE :]) == pytest.approx(rms(a), rel=0.02)  # after a second at the latest


@pytest.mark.parametrize("live", [1, 3])
def test_silent_channels_do_not_dilute_the_others(live: int) -> None:
    said: list[str] = []
    samples = np.zeros((2 * RATE, 64), np.float32)
    for channel in range(live):
        samples[:, 20 + channel] = noise(seed=channel)
    heard = mono(samples, RATE, said.append)
    np.testing.assert_allclose(heard, samples[:, 20 : 20 + live].mean(axis=1), atol=1e-6)
    assert said == ["most of its 64 channels are silent and are left out of the mix"]


def test_many_unrelated_channels_are_all_used() -> None:
    samples = np.stack([noise(seed=channel) for channel in range(32)], axis=1)
    np.testing.assert_allclose(mono(samples, RATE), samples.mean(axis=1), atol=1e-6)


def test_a_channel_can_be_chosen() -> None:
    samples = np.stack([noise(), -noise(), noise(seed=5)], axis=1)
    for channel, index in (("left", 0), ("right", 1), (3, 2), ("2", 1)):
        np.testing.assert_array_equal(Downmix(3, RATE, channel)(samples), samples[:, index])
    np.testing.assert_allclose(Downmix(2, RATE, "mix")(samples[:, :2]), 0.0, atol=1e-7)
    for wrong in ("right", 2, 0, "middle", -1):
        with pytest.raises(ValueError, match="no channel"):
            channel_index(wrong, 1)


@pytest.mark.parametrize("scale", [100.0, 2.0**15, 2.0**23, 2.0**31])
def test_a_scale_of_integers_is_put_right(scale: float) -> None:
    said: list[str] = []
    heard = mono((noise() * scale).astype(np.float32), RATE, said.append)
    assert 0.2 < np.abs(heard[RATE:]).max() <= 1.0
    assert len(said) == 1
    assert "instead of ±1" in said[0]


def test_whole_numbers_that_begin_softly_are_integers() -> None:
    soft = np.rint(noise() * 10)
    assert np.abs(mono(soft, RATE)).max() < 0.001


def test_soft_passages_are_scaled_as_well() -> None:
    """Also those that stay within ±1 though their scale is that of integers."""
    music = np.concatenate([noise(), noise() * 1e-5, noise()])
    heard = mono((music * 2.0**15).astype(np.float32), RATE)
    np.testing.assert_allclose(heard, music, atol=1e-6)


@pytest.mark.parametrize("scale", [2.0**15, 2.0**23])
def test_what_came_before_the_scale_was_known_is_reported(scale: float) -> None:
    """Block by block, as from a pipe; a whole sound is looked at before."""
    music = (np.concatenate([noise() * 0.9 / scale, noise()]) * scale).astype(np.float32)
    said: list[str] = []
    sanity = Sanity(said.append)
    heard = np.concatenate([sanity(block.copy()) for block in np.split(music, 40)])
    assert [sentence.endswith("scaled down; what came before was too loud") for sentence in said] == [True]
    np.testing.assert_allclose(heard[2 * RATE :], noise(), atol=1e-6)
    said.clear()
    mono(music, RATE, said.append)
    assert [sentence.endswith("scaled down") for sentence in said] == [True]


def test_sound_that_is_merely_loud_or_has_clicks_keeps_its_scale() -> None:
    for samples in (noise() * 4, np.where(np.arange(2 * RATE) % 3_000 == 0, 500.0, noise())):
        np.testing.assert_allclose(mono(samples.astype(np.float32), RATE), samples, rtol=1e-6)


def test_bad_and_clipped_samples_are_counted_and_reported() -> None:
    sanity = Sanity()
    samples = noise()
    samples[::2] = np.nan
    samples[1::20] = 1.0
    samples[3] = np.inf
    heard = sanity(samples)
    assert np.isfinite(heard).all()
    assert (sanity.samples, sanity.bad, sanity.clipped) == (2 * RATE, RATE + 1, RATE // 10)
    bad = "50 % of its samples are not numbers: they count as silence"
    assert sanity.verdict == f"{bad}; 5 % of its samples are clipped"
    assert Sanity().verdict is None


def test_block_boundaries_do_not_matter() -> None:
    samples = np.stack([noise(), -noise()], axis=1)
    downmix, parts = Downmix(2, RATE), []
    cuts = [0, *sorted(np.random.default_rng(3).integers(1, 2 * RATE, 50)), 2 * RATE]
    for start, stop in pairwise(cuts):
        parts.append(downmix(samples[start:stop]))
    np.testing.assert_allclose(np.concatenate(parts), noise(), atol=1e-6)
