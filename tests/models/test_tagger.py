"""A tagger accepts any valid sound and gives finite probabilities; invalid input is a clear error."""

from fractions import Fraction
from itertools import chain, repeat

import numpy as np
import pytest
import soxr
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_bundle import tiny_logits, write_tiny

from instrec_live.models import INSTRUMENTS, Tagger
from instrec_live.models import tagger as tagger_module
from instrec_live.models.audioset import OTHER_SOUNDS, RESEMBLING
from instrec_live.models.calibration import sigmoid
from instrec_live.models.errors import ModelError, UsageError
from instrec_live.models.logmel import log_mel
from instrec_live.models.tagger import held_back

SOUND = (0.1 * np.random.default_rng(0).standard_normal(13 * 32_000)).astype(np.float32)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("bundles")
    return [write_tiny(root / name, name, bias=bias).path for name, bias in (("a", 1.0), ("b", -1.0))]


@pytest.fixture(scope="module")
def tagger(folders):
    return Tagger.load(folders)


def expected(window, bias):
    return 1.5 * tiny_logits(log_mel(window)) + bias


def close(a, b, atol=1e-4):
    np.testing.assert_allclose(a, b, atol=atol)


def test_faces(tagger, folders):
    assert tagger.models == ("a", "b")
    assert tagger.engine_name.startswith(("onnxruntime", "openvino"))  # whichever is faster here
    assert set(tagger.sha256s) == {"a", "b"}
    assert (tagger.thresholds.shape, tagger.thresholds.dtype) == ((20,), np.float32)
    assert (tagger.thresholds_of("a").shape, tagger.thresholds_of("a").dtype) == ((20,), np.float32)
    assert Tagger.load(folders[:1]).models == ("a",)


def test_calibrated_and_ensemble(tagger):
    window = SOUND[:64_000]
    calibrated = tagger.calibrated(log_mel(window))
    close(calibrated["a"], expected(window, 1.0))
    close(tagger.ensemble(calibrated), expected(window, 0.0))


def test_weights(folders, tagger):
    assert tagger.weights == {"a": 1.0, "b": 1.0}
    window = SOUND[:64_000]
    weighted = Tagger.load(folders, weights=(3, 1))
    assert weighted.weights == {"a": 3.0, "b": 1.0}
    close(weighted.ensemble(weighted.calibrated(log_mel(window))), expected(window, 0.5))
    with pytest.raises(UsageError, match="3 weights for 2 models"):
        Tagger.load(folders, weights=(1, 1, 1))


def test_one_window(tagger):
    tags = tagger.tag(SOUND[:100_000], 32_000)
    close(tags.probabilities, sigmoid(expected(SOUND[:100_000], 0.0)))
    close(tags.by_model["b"], sigmoid(expected(SOUND[:100_000], -1.0)))
    on = tags.probabilities >= 0.5
    assert tags.active == tuple(np.array(INSTRUMENTS)[on])
    assert 0 < on.sum() < 20


def test_short_sound_is_padded_to_two_seconds(tagger):
    close(
        tagger.tag(SOUND[:1000], 32_000).probabilities,
        sigmoid(expected(np.pad(SOUND[:1000], (0, 63_000)), 0.0)),
    )


def test_long_sound_is_the_mean_of_windows(tagger):
    windows = [SOUND[start : start + 320_000] for start in (0, 96_000)]
    mean = np.mean([sigmoid(expected(window, 0.0)) for window in windows], axis=0)
    close(tagger.tag(SOUND, 32_000).probabilities, mean)


@pytest.mark.parametrize(("seconds", "count"), [(1, 1), (10, 1), (10.001, 2), (15, 2), (15.5, 3), (20, 3), (21, 4)])
def test_windows_cover_the_sound(seconds, count):
    samples = np.arange(int(seconds * 32_000), dtype=np.float32)
    windows = tagger_module.windows(samples)
    assert len(windows) == count
    assert set(samples) <= set(np.concatenate(windows))


def test_rates_channels_and_integers_agree(tagger):
    mono = SOUND[:96_000]
    reference = tagger.tag(mono, 32_000).probabilities
    stereo = np.stack((mono * 1.5, mono * 0.5), axis=1)
    close(tagger.tag(stereo, 32_000).probabilities, reference)
    close(tagger.tag(mono.astype(np.float64), 32_000.0).probabilities, reference)
    close(tagger.tag(list(map(float, mono)), 32_000).probabilities, reference)
    close(tagger.tag((mono * 2**31).astype(np.int32), 32_000).probabilities, reference)
    close(tagger.tag(np.round(mono * 2**15).astype(np.int16), 32_000).probabilities, reference, 0.02)
    close(tagger.tag(np.round(mono * 2**15 + 2**15).astype(np.uint16), 32_000).probabilities, reference, 0.02)
    close(tagger.tag(np.round(mono * 2**62).astype(np.int64), 32_000).probabilities,
          tagger.tag(mono / 2, 32_000).probabilities)  # fmt: skip
    sixteen = np.round(mono * 2**15).astype(np.int16)
    for wide in (sixteen.tolist(), sixteen.astype(">i8")):
        close(tagger.tag(wide, 32_000).probabilities, tagger.tag(sixteen, 32_000).probabilities)
    low = soxr.resample(mono, 32_000, 16_000)
    close(
        tagger.tag(low, 16_000).probabilities,
        tagger.tag(soxr.resample(low, 16_000, 32_000), 32_000).probabilities,
    )


def test_not_finite_samples_count_as_silence(tagger):
    broken, silent = SOUND[:64_000].copy(), SOUND[:64_000].copy()
    broken[[5, 600, 7000]] = np.nan, np.inf, -np.inf
    silent[[5, 600, 7000]] = 0
    close(tagger.tag(broken, 32_000).probabilities, tagger.tag(silent, 32_000).probabilities)
    assert np.isfinite(tagger.tag(np.full(5, np.nan), 32_000).probabilities).all()


@pytest.mark.parametrize("kind", [np.float32, np.int16, np.uint8, np.int64])
def test_masked_samples_count_as_silence(tagger, kind):
    scale, middle = {np.float32: (1, 0), np.uint8: (2**7, 2**7)}.get(kind, (2**15, 0))
    samples = (SOUND[:64_000] * scale + middle).astype(kind)
    silent = samples.copy()
    silent[1_000:2_000] = middle
    samples[1_000:2_000] = scale - 1 + middle if kind != np.float32 else 1e4
    masked = np.ma.masked_array(samples, mask=False)
    masked.mask[1_000:2_000] = True
    close(tagger.tag(masked, 32_000).probabilities, tagger.tag(silent, 32_000).probabilities)


def test_a_rate_of_any_kind_of_number(tagger):
    reference = tagger.tag(SOUND[:64_000], 16_000).probabilities
    for rate in (np.uint16(16_000), np.float32(16_000), Fraction(16_000), np.array(16_000), "16000"):
        close(tagger.tag(SOUND[:64_000], rate).probabilities, reference)
    with pytest.raises(ValueError, match="must be 1000 to 1000000 Hz, not 1000001"):
        tagger.tag(SOUND[:64_000], 1_000_001)
    assert tagger.tag(np.repeat(SOUND[:16_000], 10), 1_000_000).times[-1] == pytest.approx(0.16)
    for rate in (None, "fast", [16_000, 16_000], float("nan"), 1e300):
        with pytest.raises(ValueError, match="sample_rate must be"):
            tagger.tag(SOUND[:64_000], rate)


def test_one_model_needs_no_list(folders):
    assert Tagger.load(folders[0]).models == ("a",)
    assert Tagger.load(str(folders[0])).models == ("a",)


@settings(deadline=None, max_examples=25)
@given(
    n=st.integers(1, 70_000),
    channels=st.integers(1, 3),
    rate=st.sampled_from([8_000, 22_050, 44_100, 48_000, 96_000.0]),
    level=st.sampled_from([0.0, 1e-20, 1.0, 1e6, 3e38]),
)
def test_always_finite(tagger, n, channels, rate, level):
    sound = np.resize(SOUND, (n, channels)) * np.float32(level)
    tags = tagger.tag(sound, rate)
    for probabilities in (tags.probabilities, *tags.by_model.values()):
        assert np.isfinite(probabilities).all()
        assert ((probabilities >= 0) & (probabilities <= 1)).all()


@pytest.mark.parametrize(
    ("samples", "rate", "words"),
    [
        ([], 32_000, "empty"),
        (np.zeros((0, 2)), 32_000, "empty"),
        (np.zeros((2, 48_000)), 32_000, "transpose"),
        (np.zeros((2, 2, 2)), 32_000, "shape"),
        (np.zeros(()), 32_000, "shape"),
        (np.zeros(9), 0, "sample_rate"),
        (np.zeros(9), -44_100, "sample_rate"),
        (np.zeros(9), float("nan"), "sample_rate"),
        (np.zeros(9), 10**7, "sample_rate"),
        (np.zeros(9, bool), 32_000, "not bool"),
        (np.zeros(9, complex), 32_000, "not complex"),
        (["loud"], 32_000, "floats or integers"),
    ],
)
def test_nonsense(tagger, samples, rate, words):
    with pytest.raises(ValueError, match=words):
        tagger.tag(samples, rate)


# Networks that fail


class Flaky:
    name = "flaky"

    def __init__(self, fails):
        self.fails = fails

    def logits(self, log_mel):
        value = np.nan if next(self.fails) else 2.0
        return np.full((len(log_mel), 20), value, np.float32)


def flaky_tagger(folders, monkeypatch, fails):
    """A tagger whose network "a" fails where `fails` says so."""
    real = tagger_module.open_engine

    def open_engine(bundle, engine, threads):
        return Flaky(chain(fails, repeat(fails[-1]))) if bundle.name == "a" else real(bundle, engine, threads)

    monkeypatch.setattr(tagger_module, "open_engine", open_engine)
    return Tagger.load(folders)


def test_a_network_without_finite_output_is_left_out_and_counted(folders, monkeypatch):
    tagger = flaky_tagger(folders, monkeypatch, [True, False])
    tags = tagger.tag(SOUND, 32_000)
    assert tagger.dropped == {"a": 1, "b": 0}
    close(tags.by_model["a"], sigmoid(np.full(20, 4.0)))  # of the window where it spoke
    first, second = sigmoid(expected(SOUND[:320_000], -1.0)), expected(SOUND[96_000:], -1.0)
    close(tags.probabilities, (first + sigmoid((second + 4.0) / 2)) / 2)


def test_a_network_that_never_speaks_is_not_shown(folders, monkeypatch):
    tags = flaky_tagger(folders, monkeypatch, [True, True]).tag(SOUND, 32_000)
    assert set(tags.by_model) == {"b"}
    assert np.isfinite(tags.probabilities).all()


def test_no_network_speaks(folders, monkeypatch):
    with pytest.raises(ModelError, match="no network gave finite numbers"):
        flaky_tagger(folders[:1], monkeypatch, [True]).tag(SOUND[:64_000], 32_000)


# Loading


def test_other_sounds_hold_all_back_and_other_instruments_those_that_resemble_them():
    others = np.full(len(OTHER_SOUNDS), -8.0, np.float32)
    others[OTHER_SOUNDS.index("music")] = 2.0
    assert not held_back(others).any()
    others[OTHER_SOUNDS.index("bassoon")] = 3.0
    held = {name for name, back in zip(INSTRUMENTS, held_back(others), strict=True) if back == 3.0}
    assert held == set(RESEMBLING["bassoon"])
    assert set(held_back(others).tolist()) == {0.0, 3.0}
    others[OTHER_SOUNDS.index("speech")] = 6.0
    assert (held_back(others) >= 8.0).all()


def test_invalid_arguments_of_load_are_refused(folders, tmp_path):
    with pytest.raises(ModelError, match="no bundled model 'nonesuch' — bundled models"):
        Tagger.load(["nonesuch"])
    with pytest.raises(ModelError, match="no such model folder"):
        Tagger.load([tmp_path / "none"])
    with pytest.raises(ModelError, match=r"same name: .* — leave one out; a learned bundle has its folder's name"):
        Tagger.load([folders[0], folders[0]])
    with pytest.raises(UsageError, match="no models"):
        Tagger.load([])
    with pytest.raises(UsageError, match="no engine"):
        Tagger.load(folders, engine="abacus")


def test_a_folder_here_may_be_named_without_a_separator(folders, monkeypatch):
    monkeypatch.chdir(folders[0].parent)
    assert Tagger.load(["b"]).models == ("b",)


def test_deterministic(tagger):
    first, second = (tagger.tag(SOUND, 32_000).probabilities for _ in range(2))
    np.testing.assert_array_equal(first, second)
