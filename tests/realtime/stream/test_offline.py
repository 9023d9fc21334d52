"""A file at pace "max" is decided with look-ahead: boundaries fit the sound, and all else is as in a causal run."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fakes import ArraySource, FakeInference, FakeTagger, FloatArray, music

from instrec_live.models import Tagger
from instrec_live.models import tagger as tagger_module
from instrec_live.models.errors import AudioDeviceError
from instrec_live.models.logmel import StreamingLogMel
from instrec_live.models.segments import Segment
from instrec_live.models.streaming import StreamingInference, Window
from instrec_live.realtime.outputs import header
from instrec_live.realtime.outputs.sink import SegmentTracker
from instrec_live.realtime.stream.smoothing import Smoothing
from instrec_live.realtime.stream.stream import Stream
from instrec_live.realtime.stream.update import State, Update

DEMO = Path(__file__).parents[3] / "realtime" / "demo" / "demo.ogg"


class LoudIsPiano(FakeTagger):
    """Piano, as likely as the share of a window that is loud; the others never."""

    def calibrated(self, log_mel: FloatArray) -> dict[str, FloatArray]:
        logits = np.full(20, -4.0, np.float32)
        logits[12] = 8 * (log_mel.mean(axis=0) > 0).mean() - 4
        return dict.fromkeys(self.models, logits)


def bursts(*spans: tuple[float, float], seconds: float = 40.0) -> FloatArray:
    rng = np.random.default_rng(0)
    sound = 0.003 * rng.standard_normal(round(seconds * 32_000))
    for start, stop in spans:
        sound[round(start * 32_000) : round(stop * 32_000)] *= 100
    return sound.astype(np.float32)


def heard(source: ArraySource, **options: Any) -> tuple[list[Update], list[Segment]]:
    with Stream(source=source, pace="max", tagger=options.pop("tagger", LoudIsPiano()), **options) as stream:
        updates = list(stream)
        head = header(stream.info, stream.smoothing, -60.0)
    tracker = SegmentTracker(head)
    return updates, [each for update in updates for each in tracker.after(update)] + tracker.rest()


@pytest.mark.parametrize("hop", [0.25, 0.5, 1.0])
def test_boundaries_fit_the_sound(hop: float) -> None:
    spans = ((6.0, 14.0), (20.0, 26.0), (33.0, 40.0))
    _, segments = heard(ArraySource(bursts(*spans)), hop=hop)
    assert [each.name for each in segments] == ["piano"] * 3
    for segment, (start, stop) in zip(segments, spans, strict=True):
        assert abs(segment.onset - start) <= max(hop, 0.5)
        assert abs(segment.offset - stop) <= max(hop, 0.5)


def test_short_bursts_and_short_pauses_are_ignored() -> None:
    _, segments = heard(ArraySource(bursts((6.0, 6.6), (12.0, 20.0), (20.4, 30.0))))
    assert len(segments) == 1


def test_all_else_is_as_in_a_causal_run() -> None:
    sound = music(95.3)
    sound[40 * 32_000 : 47 * 32_000] = 0
    causal, _ = heard(ArraySource(sound, 44_100, 4_410), lookahead=None, tagger=FakeTagger())
    ahead, _ = heard(ArraySource(sound, 44_100, 4_410), tagger=FakeTagger())
    for one, other in zip(causal, ahead, strict=True):
        assert (one.time, one.level_db, one.peak_db, one.filled_s) == (
            other.time,
            other.level_db,
            other.peak_db,
            other.filled_s,
        )
        assert one.by_model.keys() == other.by_model.keys()
        assert np.isfinite(other.probabilities).all()
        assert other.state in (State.OK, State.QUIET)
        assert other.state is State.QUIET or one.state is not State.QUIET


def test_sound_before_a_fault_is_decided_before_it_is_raised() -> None:
    source = ArraySource(music(60), error=AudioDeviceError("lost"), error_at=round(50.3 * 32_000))
    got: list[float] = []
    with pytest.raises(AudioDeviceError, match="lost"):
        got.extend(update.time for update in Stream(source=source, pace="max", tagger=FakeTagger()))  # type: ignore[arg-type]
    assert len(got) == 101
    assert got[-1] == pytest.approx(50.3)


def test_the_header_says_how_it_was_decided(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", music(1), 32_000)

    def decisions(**options: Any) -> str:
        with Stream(tagger=FakeTagger(), **options) as stream:
            return str(header(stream.info, stream.smoothing, -60.0)["decisions"])

    data = (tmp_path / "a.wav").read_bytes()
    assert decisions(file=tmp_path / "a.wav", pace="max") == "lookahead"
    assert decisions(file=tmp_path / "a.wav", pace="max", lookahead=None) == "causal"
    assert decisions(file=tmp_path / "a.wav") == "causal"
    assert decisions(stdin=io.BytesIO(data), pace="max") == "lookahead"


class Sparse(FakeTagger):
    """MS-CRNN runs only on windows that are whole; its values are other than those of the rest."""

    def follow(self, mel: StreamingLogMel, hop: int) -> FakeInference:
        class Inference(FakeInference):
            def calibrated(self, end: int, length: int, whole: bool = True) -> dict[str, FloatArray]:
                logits = super().calibrated(end, length)
                return {name: z for name, z in logits.items() if whole or name != "ms_crnn"}

        return Inference(self, mel)


def with_pauses(seconds: float) -> FloatArray:
    """Music that begins, stops and begins again in the middle of seconds; the last time for less than a second."""
    sound = music(seconds)
    for start, stop in ((0, 2.4), (7.6, 12.4), (14.2, 17.6), (18.2, 21.5), (29.4, 31.6)):
        sound[round(start * 32_000) : round(stop * 32_000)] = 0
    return sound


@pytest.mark.parametrize("hop", [0.3, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("seconds", [0.4, 0.9, 3.2, 32.0, 32.5, 32.7, 61.3])
def test_a_network_that_runs_once_a_second_has_values_in_every_hop(
    seconds: float, hop: float, caplog: pytest.LogCaptureFixture
) -> None:
    """And they do not depend on how many hops go through the networks together."""
    sound = with_pauses(seconds) if seconds > 1 else music(seconds)
    whole, _ = heard(ArraySource(sound), tagger=Sparse(), hop=hop)
    single, _ = heard(ArraySource(sound, live=True), tagger=Sparse(), hop=hop)
    full, _ = heard(ArraySource(sound), tagger=FakeTagger(), hop=hop)
    assert not caplog.records
    assert [update.state for update in whole] == [update.state for update in full]
    for one, other, all_of_them in zip(whole, single, full, strict=True):
        assert list(one.by_model) == ["passt", "cbam_cnn", "ms_crnn"]
        np.testing.assert_array_equal(one.probabilities, other.probabilities)
        np.testing.assert_array_equal(one.by_model["ms_crnn"], other.by_model["ms_crnn"])
        np.testing.assert_array_equal(one.by_model["passt"], all_of_them.by_model["passt"])


@pytest.mark.parametrize("lookahead", [True, False])
def test_a_network_without_numbers_is_reported(lookahead: bool, caplog: pytest.LogCaptureFixture) -> None:
    class Failing(Sparse):
        def calibrated(self, log_mel: FloatArray) -> dict[str, FloatArray]:
            return {name: z for name, z in super().calibrated(log_mel).items() if name != "ms_crnn"}

    options = {} if lookahead else {"lookahead": None}
    updates, _ = heard(ArraySource(music(6)), tagger=Failing(), **options)
    assert [each.getMessage().split()[0] for each in caplog.records] == ["ms_crnn"]
    assert all(list(update.by_model) == ["passt", "cbam_cnn"] for update in updates)


def test_without_look_ahead_every_window_is_for_every_network() -> None:
    """As live: the sparse network would be reported as one without numbers, and left out."""
    causal, _ = heard(ArraySource(with_pauses(20)), tagger=Sparse(), lookahead=None)
    full, _ = heard(ArraySource(with_pauses(20)), tagger=FakeTagger(), lookahead=None)
    for one, other in zip(causal, full, strict=True):
        for name, probabilities in other.by_model.items():
            np.testing.assert_array_equal(one.by_model[name], probabilities)


@pytest.mark.parametrize(("pause", "seconds"), [(0.0, 20.0), (1.6, 18.77)])
def test_a_tagger_finds_the_segments_of_a_stream(pause: float, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """With their defaults, and of the same windows; the second sound begins and ends within a second."""
    windows: list[Window] = []
    prepare = StreamingInference.prepare
    monkeypatch.setattr(StreamingInference, "prepare", lambda self, each: (windows.extend(each), prepare(self, each)))
    assert Smoothing().short_seconds == tagger_module._SHORT_SECONDS
    assert Smoothing().quiet_seconds == tagger_module._QUIET_SECONDS
    samples, rate = soundfile.read(DEMO, dtype="float32", frames=round(seconds * 44_100))
    samples = np.pad(samples, ((round(pause * rate), 0), (0, 0)))
    tagger = Tagger.load(engine="onnx")
    tags = tagger.tag(samples, rate)
    of_tagger = windows.copy()
    windows.clear()
    updates, segments = heard(ArraySource(samples.mean(axis=1), rate), tagger=tagger)
    found = [(each.name, each.onset, each.offset) for each in tags.segments]
    assert windows == of_tagger
    whole = [window.end / 32_000 for window in windows if window.whole]
    assert whole == [*([2.0] if pause else [0.5, 1.0]), *range(3 if pause else 2, 21), *([20.37] if pause else [])]
    assert found == sorted(((s.name, s.onset, s.offset) for s in segments), key=lambda s: (s[1], s[0]))
    np.testing.assert_allclose(tags.hops, [update.probabilities for update in updates], atol=0.01)
    assert set(tags.active) == {each.name for each in segments}
    assert {"piano", "flute"} <= set(tags.active)  # nine instruments one after another: each has its place
