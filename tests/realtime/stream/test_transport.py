"""A file that is paused, sought in, and played slower and faster during a run."""

import random
import threading
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fakes import ArraySource, FakeTagger, music
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from waiting import wait_for

from instrec_live.models.errors import UsageError
from instrec_live.realtime.audio import FileSource, decoders
from instrec_live.realtime.audio.playback_clock import WallClock
from instrec_live.realtime.stream.smoothing import Smoothing
from instrec_live.realtime.stream.stream import Stream
from instrec_live.realtime.stream.update import State, Update

HOP, SECONDS = 0.5, 6.0
FILES = {"a.wav": 44_100, "a.flac": 48_000, "a.ogg": 22_050, "a.mp3": 44_100, "same.wav": 32_000}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("files")
    for number, (name, rate) in enumerate(FILES.items()):
        soundfile.write(here / name, music(SECONDS, rate, seed=number), rate)
    # Variable bit rate, high at first, and no Xing frame: nobody knows how long it is.
    loud, soft = (here / f"{name}.mp3" for name in ("loud", "soft"))
    soundfile.write(loud, music(3, 44_100), 44_100, bitrate_mode="CONSTANT", compression_level=0.0)
    soundfile.write(soft, music(3, 44_100) / 50, 44_100, bitrate_mode="CONSTANT", compression_level=0.9)
    (here / "endless.mp3").write_bytes(_frames(loud) + _frames(soft))
    return here


def _frames(path: Path) -> bytes:
    """An MP3's bytes without its first frame, which tells its length."""
    data = path.read_bytes()
    return data[data.index(b"\xff\xfb", 4) :]


class StepClock(WallClock):
    """Lets the sound come no further than `allowed`, so that no window is ever skipped, however busy the machine."""

    def __init__(self, position: float = 0.0, speed: float = 1.0, patience: float = 2.0) -> None:
        super().__init__(position, speed, patience)
        self.allowed = position + HOP + 0.15

    def until(self, position: float) -> float:
        return 0.0 if position <= self.allowed else 0.002

    def set(self, position: float) -> None:
        super().set(position)
        self.allowed = position + HOP + 0.15


def step(stream: Stream, commands: dict[int, Callable[[], None]]) -> Iterator[Update]:
    """The updates, hop by hop, with commands given after some of them."""
    clock: Any = stream.transport._clock  # type: ignore[union-attr]
    for number, update in enumerate(stream):
        clock.allowed = update.time + HOP + 0.15
        yield update
        commands.get(number, lambda: None)()


def same(a: Update, b: Update) -> bool:
    return (
        (a.active, a.level_db, a.peak_db, a.state, a.filled_s) == (b.active, b.level_db, b.peak_db, b.state, b.filled_s)
        and a.time == pytest.approx(b.time, abs=1e-4)  # a seek lands on a whole sample
        and np.array_equal(a.probabilities, b.probabilities)
        and all(np.array_equal(a.by_model[name], b.by_model[name]) for name in a.by_model)
    )


def listen(path: Path, **options: Any) -> Stream:
    return Stream(file=path, tagger=FakeTagger(), lookahead=None, **options)  # type: ignore[arg-type]


@settings(max_examples=settings().max_examples // 12, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    name=st.sampled_from([*FILES, "endless.mp3"]),
    first=st.floats(0.0, SECONDS - 0.02),
    second=st.floats(0.0, SECONDS - 0.02),
    after=st.integers(0, 3),
)
def test_updates_after_a_seek_equal_those_from_there(
    name: str, first: float, second: float, after: int, folder: Path
) -> None:
    """Nothing of the sound before leaks: windows, hysteresis, resampler, decoder all start again."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("instrec_live.realtime.stream.stream.WallClock", StepClock)
        stream = listen(folder / name, stay=True)
        transport = stream.transport
        assert transport is not None
        got: list[Update] = []
        targets = iter((first, second))
        for update in step(stream, {}):
            got.append(update)
            if update.state is State.ENDED or (sum(u.jumped for u in got) == 0 and len(got) > after):
                if (target := next(targets, None)) is None:
                    break
                transport.seek(target)
        stream.close()
    jumps = [number for number, update in enumerate(got) if update.jumped]
    assert len(jumps) == 2
    for target, begin, stop in zip((first, second), jumps, (jumps[1], len(got)), strict=True):
        wanted = list(listen(folder / name, start=target, pace="max"))
        assert len(wanted) == stop - begin - 1
        assert all(map(same, got[begin : stop - 1], wanted))
        assert got[stop - 1].state is State.ENDED
        assert not any(update.jumped for update in got[begin + 1 : stop])


def test_warming_counts_up_again_after_a_seek(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("instrec_live.realtime.stream.stream.WallClock", StepClock)
    stream = listen(folder / "a.wav")
    assert stream.transport is not None
    got = list(step(stream, {3: lambda: stream.transport.seek(1.0)}))  # type: ignore[union-attr]
    assert [u.time for u in got] == pytest.approx([0.5, 1.0, 1.5, 2.0, *np.arange(1.5, 6.1, 0.5)])
    assert [u.filled_s for u in got[4:6]] == [0.5, 1.0]
    assert [u.jumped for u in got] == [k == 4 for k in range(len(got))]


def test_while_paused_there_are_no_updates_and_ages_do_not_grow(folder: Path) -> None:
    stream = listen(folder / "a.wav", hop=0.25)
    got: list[Update] = []
    thread = threading.Thread(target=lambda: got.extend(stream))
    thread.start()
    transport = stream.transport
    assert transport is not None
    wait_for(lambda: len(got) >= 2)
    transport.pause(True)
    paused_at = time.monotonic()
    count = -1
    while count != len(got):  # what was under way comes
        count = len(got)
        time.sleep(0.3)
    cpu, position = time.process_time(), transport.position
    time.sleep(1.5)
    assert (len(got), transport.position, transport.paused) == (count, position, True)
    assert time.process_time() - cpu < 0.1
    resumed_at = time.monotonic()
    transport.pause(False)
    wait_for(lambda: len(got) > count)
    running = time.monotonic() - resumed_at
    stream.close()
    thread.join()
    before, later = got[count - 1], got[count]
    assert later.age_s < resumed_at - paused_at + running - 1.0  # the pause is not in it
    assert not later.jumped
    assert (later.time - before.time) / 0.25 == pytest.approx(1 + later.skipped - before.skipped)


def test_a_seek_while_paused_stays_paused(folder: Path) -> None:
    stream = listen(folder / "a.wav")
    transport = stream.transport
    assert transport is not None
    transport.pause(True)
    got: list[Update] = []
    thread = threading.Thread(target=lambda: got.extend(stream))
    thread.start()
    transport.seek(4.0)
    time.sleep(0.4)
    assert (got, transport.position) == ([], 4.0)
    transport.pause(False)
    thread.join()
    assert len(got) + got[-1].skipped == 4
    assert got[-1].time == pytest.approx(6.0)
    assert got[0].jumped


@pytest.mark.parametrize("speed", [0.5, 2.0, 4.0])
def test_a_speed(speed: float, folder: Path) -> None:
    began = time.monotonic()
    got = list(listen(folder / "a.wav", start=4.0, speed=speed))
    assert time.monotonic() - began > 2.0 / speed - 0.3
    assert got[-1].time == pytest.approx(SECONDS)
    assert not any(update.jumped for update in got)


def test_another_speed_on_the_way(folder: Path) -> None:
    stream = listen(folder / "a.wav")
    transport = stream.transport
    assert transport is not None
    transport.go(4.0)
    assert next(iter(stream)).time >= 0.5
    assert transport.speed == 4.0
    for wrong in (0.2, 4.1, float("nan")):
        with pytest.raises(UsageError, match="speed"):
            transport.go(wrong)
    assert transport.speed == 4.0


def test_at_the_end_it_stays_if_asked_to(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("instrec_live.realtime.stream.stream.WallClock", StepClock)
    stream = listen(folder / "a.wav", start=5.0, stay=True, speed=4.0, keep_mel=True)
    transport, got = stream.transport, []
    assert transport is not None
    updates = step(stream, {})
    for _ in range(3):
        got.append(next(updates))
    assert [u.time for u in got] == [5.5, 6.0, 6.0]
    assert got[-1].state is State.ENDED
    assert (got[-1].mel, got[-1].jumped, transport.position) == (None, False, SECONDS)
    transport.seek(5.4)
    got = [next(updates) for _ in range(3)]
    assert [u.time for u in got] == pytest.approx([5.9, 6.0, 6.0])
    assert [u.jumped for u in got] == [True, False, False]
    threading.Timer(0.2, stream.close).start()
    assert list(updates) == []  # waits until it is closed
    with pytest.raises(RuntimeError, match="once"):
        next(iter(stream))


def test_without_that_the_end_is_the_end(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("instrec_live.realtime.stream.stream.WallClock", StepClock)
    stream = listen(folder / "a.wav", start=5.0, speed=4.0)
    assert [u.time for u in step(stream, {})] == [5.5, 6.0]


@pytest.mark.parametrize(
    ("wanted", "time", "updates"), [(-5.0, 0.0, 12), (float("-inf"), 0.0, 12), (99.0, SECONDS - 0.01, 1)]
)
def test_a_seek_is_limited_to_the_file(
    wanted: float, time: float, updates: int, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("instrec_live.realtime.stream.stream.WallClock", StepClock)
    stream = listen(folder / "a.wav")
    transport = stream.transport
    assert transport is not None
    transport.seek(wanted)
    assert (transport.position, transport.duration) == (time, SECONDS)
    got = list(step(stream, {}))
    assert len(got) == updates
    assert got[0].time == pytest.approx(min(time + HOP, SECONDS), abs=1e-3)
    with pytest.raises(UsageError, match="must be a number"):
        transport.seek(float("nan"))


def test_the_part_of_a_file_that_was_asked_for_is_where_it_ends(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("instrec_live.realtime.stream.stream.WallClock", StepClock)
    stream = listen(folder / "a.wav", start=2.0, duration=1.0, speed=4.0)
    transport = stream.transport
    assert transport is not None
    assert (transport.position, transport.duration, transport.audible) == (2.0, 3.0, False)
    transport.seek(1.0)  # before the start is in the file, too
    assert [u.time for u in step(stream, {})] == pytest.approx([1.5, 2.0, 2.5, 3.0])


def test_a_length_missing_in_the_header_is_found_at_once(folder: Path) -> None:
    stream = listen(folder / "endless.mp3", stay=True)
    assert stream.transport is not None
    assert stream.transport.duration == pytest.approx(6.0, abs=0.1)
    stream.close()


def test_a_file_that_cannot_be_sought_in_is_read_once_more(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source, whole = FileSource(folder / "a.flac"), FileSource(folder / "a.flac", start=2.5)

    def refuse(*_: object) -> int:
        raise soundfile.LibsndfileError(39)

    monkeypatch.setattr(decoders.SequentialSoundFile, "seek", refuse)
    for _ in range(5):
        source.read()
    assert source.seek(2.5) == 2.5
    np.testing.assert_array_equal(source.read(), whole.read())


def test_what_cannot_wait_or_does_not_has_no_transport(folder: Path) -> None:
    assert listen(folder / "a.wav", pace="max").transport is None
    for options in ({}, {"pace": "max"}):
        assert Stream(source=ArraySource(music(1)), tagger=FakeTagger(), **options).transport is None  # type: ignore[arg-type]
    with open(folder / "same.wav", "rb") as pipe:
        assert Stream(stdin=pipe, tagger=FakeTagger()).transport is None  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"speed": 2.0}, {"play": True}])
def test_only_a_file_in_real_time_has_a_speed_or_is_played(options: dict[str, Any], folder: Path) -> None:
    with pytest.raises(UsageError, match="only a file"):
        listen(folder / "a.wav", pace="max", **options)
    with pytest.raises(UsageError, match="only a file"):
        Stream(source=ArraySource(music(1)), tagger=FakeTagger(), **options)  # type: ignore[arg-type]


@settings(max_examples=settings().max_examples // 20, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**32))
def test_random_commands_neither_hang_nor_lose_the_position(seed: int, folder: Path) -> None:
    """Commands from two threads at once, at any moment; the listener's times stay in range and contiguous."""
    stream = listen(folder / "same.wav", hop=0.1, speed=4.0, stay=True)
    transport = stream.transport
    assert transport is not None
    got: list[Update] = []
    listener = threading.Thread(target=lambda: got.extend(stream), daemon=True)
    listener.start()

    def meddle(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(12):
            command = dice.choice(["seek", "seek", "pause", "go", "wait"])
            if command == "seek":
                transport.seek(dice.uniform(-1.0, SECONDS + 1.0))
            elif command == "pause":
                transport.pause(dice.random() < 0.3)
            elif command == "go":
                transport.go(dice.choice([0.25, 1.0, 4.0]))
            assert 0.0 <= transport.position <= SECONDS
            time.sleep(dice.choice([0.0, 0.001, 0.06]))

    meddlers = [threading.Thread(target=meddle, args=(seed + k,)) for k in range(2)]
    for each in meddlers:
        each.start()
    for each in meddlers:
        each.join()
    transport.pause(False)
    transport.go(4.0)
    transport.seek(5.0)  # whatever was before, this comes last

    def from_five(time: float) -> bool:
        """Whether it lies on the hops from second 5."""
        return time > 5.0 and abs((time - 5.0) / 0.1 - round((time - 5.0) / 0.1)) < 1e-6

    wait_for(lambda: got and got[-1].state is State.ENDED and any(u.jumped and from_five(u.time) for u in got))
    stream.close()
    listener.join()
    assert got[-1].state is State.ENDED
    assert from_five([update.time for update in got if update.jumped][-1])
    for before, after in pairwise(got):
        assert 0.0 < after.time <= SECONDS + 0.011
        if after.state is State.ENDED:
            assert after.time == before.time
        elif not after.jumped:
            hops = (after.time - before.time) / 0.1
            assert hops == pytest.approx(1 + after.skipped - before.skipped, abs=1e-3) or after.time > SECONDS - 0.1


@pytest.mark.parametrize("ended", [False, True])
def test_closing_it_while_paused(ended: bool, folder: Path) -> None:
    stream = listen(folder / "a.wav", start=5.9 if ended else 0.0, stay=True)
    assert stream.transport is not None
    if not ended:
        stream.transport.pause(True)
    listener = threading.Thread(target=lambda: list(stream), daemon=True)
    listener.start()
    time.sleep(0.4)
    stream.close()
    listener.join()
    stream.transport.seek(1.0)  # harmless
    stream.transport.pause(False)


def test_thresholds_change_from_the_next_update_on() -> None:
    options: Any = {"tagger": FakeTagger(), "pace": "max", "hop": 1.0, "lookahead": None}
    stream = Stream(source=ArraySource(music(4)), **options)
    plain = list(Stream(source=ArraySource(music(4)), **options))
    name = plain[-1].active[0]
    before = stream.info
    stream.set_thresholds({name: 0.999})
    assert stream.info.thresholds == before.thresholds | {name: pytest.approx(0.999)}
    assert name not in list(stream)[-1].active
    for wrong in ({"pino": 0.5}, {"piano": 1.0}, {"piano": 0.0}, {"piano": float("nan")}):
        with pytest.raises(UsageError):
            stream.set_thresholds(wrong)


def test_thresholds_change_in_the_middle(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("instrec_live.realtime.stream.stream.WallClock", StepClock)
    stream = listen(folder / "a.wav", speed=4.0, smoothing=Smoothing().scaled(0.0))
    updates = step(stream, {})
    seen = [next(updates) for _ in range(5)]
    name = seen[-1].active[0]
    stream.set_thresholds({name: 0.9999})
    later = list(updates)
    assert name in seen[-1].active
    assert all(name not in update.active for update in later[3:])
    assert later[-1].active  # the others go on
