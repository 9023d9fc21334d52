"""The windows of each update, and how their logits are processed."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from fakes import FakeTagger, FloatArray, music

from instrec_live.models.calibration import sigmoid
from instrec_live.models.errors import ModelError, UsageError
from instrec_live.models.logmel import DcBlocker, log_mel
from instrec_live.realtime.stream.analysis import Analysis, hop_samples
from instrec_live.realtime.stream.smoothing import Smoothing
from instrec_live.realtime.stream.update import State, Update

THRESHOLDS = np.full(20, 0.5, np.float32)
INSTANT = Smoothing(tau_up=0.0, tau_down=0.0, long_weight=0.25)


def updates(
    samples: FloatArray, hop: float = 0.5, tagger: FakeTagger | None = None, smoothing: Smoothing = INSTANT
) -> list[Update]:
    step = hop_samples(hop)
    analysis = Analysis(tagger or FakeTagger(), step, THRESHOLDS, -60.0, smoothing)
    return [analysis.process(samples[at : at + step]) for at in range(0, len(samples), step)]


@pytest.mark.parametrize("seconds", [1.0, 2.5])
def test_each_update_equals_the_networks_on_its_plain_windows(seconds: float) -> None:
    """Against windows cut from the whole signal by hand: nothing is shifted, stale or mixed up."""
    sound, tagger, short = music(13), FakeTagger(), round(seconds * 32_000)
    got = updates(sound, smoothing=replace(INSTANT, short_seconds=seconds))
    sound = DcBlocker()(sound)
    padded = np.concatenate([np.zeros(64_000, np.float32), sound])
    z_long = None
    for k, update in enumerate(got, start=1):
        end = k * 16_000
        length = short if end >= short else min(short, 64_000)
        z = tagger.calibrated(log_mel(padded[64_000 + end - length : 64_000 + end]))
        whole = min(10, end // 32_000)
        if end % 32_000 == 0 and whole * 32_000 > short:
            z_long = tagger.calibrated(log_mel(sound[end - whole * 32_000 : end]))
        if z_long is not None:
            z = {name: 0.25 * z_long[name] + 0.75 * z[name] for name in z}
        np.testing.assert_allclose(update.probabilities, sigmoid(tagger.ensemble(z)), atol=2e-5)
        for name, ours in update.by_model.items():
            np.testing.assert_allclose(ours, sigmoid(z[name]), atol=2e-5)


@pytest.mark.parametrize(("seconds", "short"), [(2.5, [200] * 4 + [250] * 20), (1.0, [100] * 24), (2.0, [200] * 24)])
def test_window_lengths_while_filling(seconds: float, short: list[int]) -> None:
    tagger = FakeTagger()
    updates(music(12), tagger=tagger, smoothing=replace(INSTANT, short_seconds=seconds))
    longs = {k: min(1000, 50 * k) for k in range(2, 25, 2) if 50 * k > short[-1]}  # once a second, as much as there is
    expected = []
    for k, length in enumerate(short, start=1):
        expected += [length] + ([longs[k]] if k in longs else [])
    assert tagger.lengths == expected


@pytest.mark.parametrize("batch", [False, True])
def test_the_mels_of_all_updates_are_those_of_the_sound(batch: bool) -> None:
    sound = music(7)
    analysis = Analysis(FakeTagger(), 16_000, THRESHOLDS, -60.0, INSTANT, keep_mel=True)
    pieces = [sound[at : at + 16_000] for at in range(0, len(sound), 16_000)]
    got = list(analysis.process_all(pieces)) if batch else [analysis.process(piece) for piece in pieces]
    mels = [update.mel for update in got]
    assert all(mel is not None and mel.dtype == np.float32 and mel.shape == (128, 50) for mel in mels)
    heard = np.concatenate([np.zeros(64_000, np.float32), DcBlocker()(sound)])
    whole = log_mel(heard)[:, 199 : 199 + 700]  # a frame is whole once 400 samples after its middle are there
    np.testing.assert_allclose(np.concatenate(mels, axis=1), whole, atol=2e-5)


def test_the_mels_of_a_stall_are_the_newest_that_are_kept() -> None:
    analysis = Analysis(FakeTagger(), 16_000, THRESHOLDS, -60.0, INSTANT, keep_mel=True)
    analysis.process(music(1))
    mel = analysis.process(music(30), skipped=59).mel
    assert mel is not None
    assert mel.shape == (128, 1_800)
    assert updates(music(1))[0].mel is None  # nobody asked for it


def test_states_and_fill() -> None:
    got = updates(music(11), hop=1.0)
    assert [u.state for u in got] == [State.WARMING] * 9 + [State.OK] * 2
    assert [u.filled_s for u in got] == [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 10]
    assert [u.time for u in got] == list(range(1, 12))


def test_silence_costs_nothing_and_shows_nothing() -> None:
    tagger = FakeTagger()
    sound = np.concatenate([music(4), np.zeros(5 * 32_000, np.float32)])
    got = updates(sound, tagger=tagger)
    quiet = [u for u in got if u.state is State.QUIET]
    assert len(quiet) == 9  # the first silent half second is not yet a silence
    assert all(u.active == () and u.inference_s == 0.0 for u in quiet)
    assert all(p.max() < 0.01 for p in (quiet[-1].probabilities, *quiet[-1].by_model.values()))
    assert quiet[-1].level_db == -120.0
    heard = len(tagger.lengths)
    updates(np.zeros(64_000, np.float32), tagger=tagger)
    assert len(tagger.lengths) == heard


def test_silence_with_an_offset_is_silence() -> None:
    tagger = FakeTagger()
    got = updates(np.concatenate([music(2), np.zeros(96_000, np.float32)]) + np.float32(0.1), tagger=tagger)
    assert [u.state for u in got] == [State.WARMING] * 5 + [State.QUIET] * 5
    assert got[0].level_db == pytest.approx(updates(music(2))[0].level_db, abs=0.01)


@pytest.mark.parametrize("late", [False, True])
def test_the_length_of_a_rest_does_not_depend_on_skipped_hops(late: bool) -> None:
    analysis = Analysis(FakeTagger(), 16_000, THRESHOLDS, -60.0, INSTANT)
    sound = np.concatenate([music(2), np.zeros(32_000, np.float32)])
    if late:
        states = [analysis.process(sound[:48_000]).state, analysis.process(sound[48_000:80_000]).state]
    else:
        states = [analysis.process(sound[at : at + 16_000]).state for at in range(0, 80_000, 16_000)][2::2]
    assert states == [State.WARMING] * 2  # half a second of silence is not yet one
    assert analysis.process(sound[80_000:]).state is State.QUIET


def test_a_network_without_finite_output_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(FakeTagger):
        broken = ("passt",)

        def calibrated(self, log_mel: FloatArray) -> dict[str, FloatArray]:
            logits = super().calibrated(log_mel)
            return {name: z for name, z in logits.items() if name not in self.broken}  # as Tagger does

        def ensemble(self, calibrated: Mapping[str, FloatArray]) -> FloatArray:
            assert "passt" not in calibrated
            if not calibrated:
                raise ModelError("no network gave finite numbers")
            return super().ensemble(calibrated)

    tagger = Broken()
    got = updates(music(5), tagger=tagger)
    assert all(set(u.by_model) == {"cbam_cnn", "ms_crnn"} for u in got)
    assert all(np.isfinite(u.probabilities).all() for u in got)
    assert [r.message.split()[0] for r in caplog.records] == ["passt"]  # said once
    fading = updates(np.concatenate([music(3), np.zeros(96_000, np.float32)]), tagger=tagger)
    assert fading[-1].state is State.QUIET
    assert set(fading[-1].by_model) == {"cbam_cnn", "ms_crnn"}  # silence does not bring it back
    tagger.broken = tagger.models
    with pytest.raises(ModelError, match="finite"):
        updates(music(1), tagger=tagger)


@pytest.mark.parametrize(("asked", "samples"), [(0.5, 16_000), (0.37, 11_840), (0.1, 3_200), (0.1049, 3_200)])
def test_hops_lie_on_the_frame_grid(asked: float, samples: int) -> None:
    assert hop_samples(asked) == samples


@pytest.mark.parametrize("hop", [0.0, 0.05, -1.0, 61.0, float("nan"), float("inf")])
def test_senseless_hops_are_refused(hop: float) -> None:
    with pytest.raises(UsageError, match="hop"):
        hop_samples(hop)
