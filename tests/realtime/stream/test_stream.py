"""From a source to updates, at both paces, from any thread."""

import math
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from fakes import ArraySource, FakeInference, FakeTagger, FloatArray, music

from instrec_live.models.errors import AudioDeviceError, InputFileError, UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import StreamingLogMel
from instrec_live.models.streaming import Window
from instrec_live.realtime.stream.capture import split_hops
from instrec_live.realtime.stream.smoothing import Smoothing, live_thresholds, merged_thresholds
from instrec_live.realtime.stream.stream import Stream
from instrec_live.realtime.stream.update import State, Update


def stream(source: Any, pace: str = "max", tagger: Any = None, **options: Any) -> Stream:
    options = {"lookahead": None, **options}  # test_offline.py has it
    return Stream(source=source, pace=pace, tagger=tagger or FakeTagger(), **options)


def same(a: Update, b: Update) -> bool:
    return (
        (a.time, a.active, a.level_db, a.peak_db, a.state, a.filled_s)
        == (b.time, b.active, b.level_db, b.peak_db, b.state, b.filled_s)
        and np.array_equal(a.probabilities, b.probabilities)
        and all(np.array_equal(a.by_model[name], b.by_model[name]) for name in a.by_model)
    )


@pytest.fixture(scope="module")
def reference() -> list[Update]:
    return list(stream(ArraySource(music(6.3, 44_100), 44_100, blocks=4_410)))


@pytest.mark.parametrize("block", [1, 17, 509, 32_000])
def test_block_sizes_do_not_matter(block: int, reference: list[Update]) -> None:
    got = list(stream(ArraySource(music(6.3, 44_100), 44_100, blocks=block)))
    assert len(got) == len(reference)
    assert all(map(same, got, reference))


def test_a_long_hop_is_copied_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = np.arange(1_000_000, dtype=np.float32)
    joined, copied = np.concatenate, []

    def counted(parts: Sequence[FloatArray], *rest: Any, **how: Any) -> FloatArray:
        whole: FloatArray = joined(parts, *rest, **how)
        copied.append(len(whole))
        return whole

    monkeypatch.setattr(np, "concatenate", counted)
    hops = list(split_hops(np.split(sound, 500), 320_000, lambda: False))
    monkeypatch.undo()
    assert [len(hop) for hop in hops] == [320_000, 320_000, 320_000, 40_000]
    np.testing.assert_array_equal(joined(hops), sound)
    assert sum(copied) < 2 * len(sound)


def test_realtime_equals_offline(reference: list[Update]) -> None:
    started = time.monotonic()
    got = list(stream(ArraySource(music(6.3, 44_100), 44_100, blocks=4_410), pace="realtime"))
    assert time.monotonic() - started > 6.0
    if got[-1].skipped == 0:  # a busy machine may be late
        assert all(map(same, got, reference))
    assert len(got) + got[-1].skipped == len(reference)
    assert all(u.age_s > 0 for u in got)
    assert got[-1].time == reference[-1].time


@pytest.mark.parametrize("hop", [0.25, 0.5, 1.0, 0.37])
@pytest.mark.parametrize(
    "samples", [100, 320, 20_000, 32_001 + 320, 63_999, 200_000, 320_000, 320_001, 320_320, 333_333]
)
def test_number_and_times_of_updates(samples: int, hop: float) -> None:
    got = list(stream(ArraySource(music(samples / 32_000)), hop=hop))
    frames, per_hop = samples // 320, round(hop * 100)
    assert len(got) == max(1, math.ceil(frames / per_hop))
    assert [u.time for u in got[:-1]] == pytest.approx([hop * k for k in range(1, len(got))])
    assert got[-1].time == pytest.approx(max(1, frames) / 100)
    assert all(np.isfinite(u.probabilities).all() for u in got)
    assert got[-1].state is (State.OK if frames >= 1000 else State.WARMING)


@pytest.mark.parametrize("live", [False, True])
def test_at_pace_max_hops_are_analysed_in_batches_even_without_a_length(live: bool) -> None:
    """As an MP3 that does not tell; the next of a pipe may be long in coming."""
    sizes: list[int] = []

    class StreamingInference(FakeInference):
        def prepare(self, windows: Sequence[Window]) -> None:
            sizes.append(len({window.end for window in windows}))

    class Tagger(FakeTagger):
        def follow(self, mel: StreamingLogMel, hop: int) -> FakeInference:
            return StreamingInference(self, mel)

    source = ArraySource(music(4), live=live)
    source.duration = None
    list(stream(source, tagger=Tagger()))
    assert max(sizes) == (1 if live else 8)


def test_an_empty_source_is_an_error() -> None:
    for pace in ("max", "realtime"):
        with pytest.raises(InputFileError, match="no sound"):
            list(stream(ArraySource(np.zeros(0, np.float32)), pace=pace))


@pytest.mark.parametrize("pace", ["max", "realtime"])
def test_a_source_that_fails_midway(pace: str) -> None:
    lost = AudioDeviceError("device lost")
    got: list[float] = []
    source = ArraySource(music(3), error=lost, error_at=int(1.3 * 32_000))
    with pytest.raises(AudioDeviceError, match="device lost"):
        got.extend(update.time for update in stream(source, pace=pace))
    # All sound before the error is analysed; live, what is less than a hop is not.
    assert got == ([0.5, 1.0, 1.3] if pace == "max" else [0.5, 1.0])
    assert source.closed


@pytest.mark.parametrize("pace", ["max", "realtime"])
def test_close_from_another_thread_ends_the_iteration(pace: str) -> None:
    class Endless(ArraySource):
        def read(self) -> FloatArray | None:
            self._at = 0
            return super().read()

    listening = stream(Endless(music(1)), pace=pace)
    for number, _ in enumerate(listening):
        if number == 0:
            threading.Timer(0.1, listening.close).start()
    assert threading.active_count() < 10
    listening.close()  # again, harmless


def test_close_while_no_sound_arrives() -> None:
    """A microphone that is silent at the driver: the iteration must not wait for it."""

    class Mute(ArraySource):
        def read(self) -> FloatArray | None:
            while not self.closed:
                time.sleep(0.01)
            return None

    listening = stream(Mute(np.zeros(1, np.float32), live=True), pace="realtime")
    threading.Timer(0.3, listening.close).start()
    assert list(listening) == []


def test_leaving_the_loop_closes_the_source() -> None:
    source = ArraySource(music(5))
    with stream(source) as listening:
        for _ in listening:
            break
    assert source.closed
    with pytest.raises(RuntimeError, match="once"):
        next(iter(listening))


def test_slow_networks_skip_windows_but_stay_current() -> None:
    """Inference of three hops: updates jump to the newest hop, skipped ones are counted, no sound is lost."""
    heard: list[FloatArray] = []
    sound = music(5)
    listening = stream(ArraySource(sound, blocks=800), "realtime", FakeTagger(sleep=0.15), hop=0.1)
    listening.tap(heard.append)
    got = list(listening)
    assert got[-1].skipped > 5
    assert got[-1].skipped + len(got) == 50
    assert got[-1].time == 5.0
    assert any(u.state is State.CATCHING_UP for u in got)
    np.testing.assert_array_equal(np.concatenate(heard), sound)


def test_a_stall_longer_than_the_ring_keeps_the_clock_true(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("instrec_live.realtime.stream.stream._KEPT_SECONDS", 3)

    class Burst(ArraySource):  # eight seconds at once, as after a stall of the reader
        live = True

    heard: list[FloatArray] = []
    sound = music(8)
    source = Burst(sound, blocks=32_000, live=True)
    listening = stream(source, "realtime", FakeTagger())
    listening.tap(lambda piece: (time.sleep(0.5), heard.append(piece))[1])
    got = list(listening)
    everything = np.concatenate(heard)
    assert got[-1].xruns >= 1
    assert got[-1].gap
    assert got[-1].time == 8.0
    assert len(everything) == len(sound)
    right = everything == sound
    assert (right | (everything == 0)).all()
    assert right[-64_000:].all()


@pytest.mark.timing
def test_ages_stay_small_where_networks_are_slow() -> None:
    """At most about two inferences, and not growing."""
    got = list(stream(ArraySource(music(5), blocks=800), "realtime", FakeTagger(sleep=0.15), hop=0.1))
    assert max(u.age_s for u in got) < 1.5


@pytest.mark.timing
def test_ages_count_from_the_capture() -> None:
    class Late(FakeTagger):
        def calibrated(self, log_mel: FloatArray) -> dict[str, FloatArray]:
            time.sleep(0.1)
            return super().calibrated(log_mel)

    got = list(stream(ArraySource(music(2), blocks=320), "realtime", Late(), hop=0.5))
    assert all(0.1 <= u.age_s < 0.6 for u in got)


def test_duration_limits_any_source() -> None:
    assert [u.time for u in stream(ArraySource(music(5), blocks=7_000), duration=1.25)] == [0.5, 1.0, 1.25]


def test_counters_of_the_source_reach_the_update() -> None:
    source = ArraySource(music(1))
    source.xruns, source.bad_samples = 3, 7
    last = list(stream(source))[-1]
    assert (last.xruns, last.bad_samples, last.age_s) == (3, 7, 0.0)


def test_info() -> None:
    info = stream(ArraySource(music(1), 44_100), hop=0.37, thresholds={"piano": 0.7}).info
    assert (info.source, info.source_rate, info.hop, info.pace) == ("array", 44_100, 0.37, "max")
    assert info.thresholds["piano"] == pytest.approx(0.7)
    assert info.thresholds["voice"] == pytest.approx(float(live_thresholds(np.array(0.5), Smoothing())))
    assert tuple(info.thresholds) == INSTRUMENTS
    assert list(info.model_thresholds) == ["passt", "cbam_cnn", "ms_crnn"]
    own = [levels["piano"] for levels in info.model_thresholds.values()]
    assert own == pytest.approx(live_thresholds(np.array([0.4, 0.5, 0.6]), Smoothing()), abs=1e-6)


def test_weights_and_smoothing_in_force_can_be_asked_for() -> None:
    plain = stream(ArraySource(music(1)))
    assert plain.info.weights == dict.fromkeys(plain.info.models, 1.0)
    assert plain.smoothing == Smoothing()
    assert stream(ArraySource(music(1)), smoothing=Smoothing().scaled(3.0)).smoothing.tau_up == 3 * Smoothing().tau_up


@pytest.mark.parametrize("channels", [None, 1])
def test_channels_reach_the_microphone(channels: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []

    def open_microphone(device: object, channels: int | None) -> ArraySource:
        opened.append((device, channels))
        return ArraySource(music(1), live=True)

    monkeypatch.setattr("instrec_live.realtime.stream.stream.resolve", lambda device: None)
    monkeypatch.setattr("instrec_live.realtime.stream.stream.MicrophoneSource", open_microphone)
    Stream(device=3, channels=channels, tagger=FakeTagger()).close()  # type: ignore[arg-type]
    assert opened == [(3, channels)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"hop": 0.01}, "hop"),
        ({"pace": "slow"}, "pace"),
        ({"thresholds": {"pino": 0.5}}, "pino"),
        ({"gate_db": float("nan")}, "gate_db"),
        ({"track": 0}, "counted from 1"),
        ({"thresholds": 1.0}, "between 0 and 1"),
        ({"file": "x.wav"}, "one source"),
    ],
)
def test_senseless_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        stream(ArraySource(music(1)), **options)


def test_thresholds_keep_the_models_own() -> None:
    own = np.linspace(0.2, 0.6, 20, dtype=np.float32)
    assert merged_thresholds(own, None) is not own
    np.testing.assert_array_equal(merged_thresholds(own, None), own)
    assert (merged_thresholds(own, 0.3) == np.float32(0.3)).all()


def test_a_file_from_its_middle_keeps_the_file_s_own_time(tmp_path: Any) -> None:
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "a.wav", music(4, 16_000), 16_000)

    def times() -> Iterator[float]:
        with Stream(
            file=tmp_path / "a.wav",
            start=2.0,
            duration=1.2,
            pace="max",
            tagger=FakeTagger(),  # type: ignore[arg-type]
        ) as listening:
            yield from (u.time for u in listening)

    assert list(times()) == pytest.approx([2.5, 3.0, 3.2])


def test_a_start_of_numpys_gives_plain_times(tmp_path: Any) -> None:
    soundfile = pytest.importorskip("soundfile")
    soundfile.write(tmp_path / "a.wav", music(2, 16_000), 16_000)
    start = np.float32(1.1)
    with Stream(file=tmp_path / "a.wav", start=start, pace="max", tagger=FakeTagger()) as listening:  # type: ignore[arg-type]
        times = [update.time for update in listening]
    assert {type(each) for each in (*times, listening.info.start)} == {float}
