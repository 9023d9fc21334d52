"""A file at pace "max" is decided with look-ahead: boundaries fit the sound, and all else is as in a causal run."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fakes import ArraySource, FakeTagger, FloatArray, music

from instrec_live.models import Tagger
from instrec_live.models import tagger as tagger_module
from instrec_live.models.errors import AudioDeviceError
from instrec_live.models.segments import Segment
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


def test_a_tagger_finds_the_segments_of_a_stream() -> None:
    """With their defaults."""
    assert Smoothing().short_seconds == tagger_module._SHORT_SECONDS
    assert Smoothing().quiet_seconds == tagger_module._QUIET_SECONDS
    samples, rate = soundfile.read(DEMO, dtype="float32", frames=20 * 44_100)
    tagger = Tagger.load(engine="onnx")
    tags = tagger.tag(samples, rate)
    updates, segments = heard(ArraySource(samples.mean(axis=1), rate), tagger=tagger)
    found = [(each.name, each.onset, each.offset) for each in tags.segments]
    assert found == sorted(((s.name, s.onset, s.offset) for s in segments), key=lambda s: (s[1], s[0]))
    np.testing.assert_allclose(tags.hops, [update.probabilities for update in updates], atol=0.01)
    assert set(tags.active) == {each.name for each in segments}
    assert {"piano", "flute"} <= set(tags.active)  # nine instruments one after another: each has its place
