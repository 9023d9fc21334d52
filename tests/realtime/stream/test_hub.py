"""Many sources through one set of networks: as each alone, fair to all, and none at the others' mercy."""

import os
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fakes import ArraySource, FakeInference, FakeTagger, music
from hypothesis import given
from hypothesis import strategies as st
from waiting import FOREVER

from instrec_live.models.errors import InputFileError, ModelError, UsageError
from instrec_live.realtime.outputs import Summary
from instrec_live.realtime.stream.analysis import Analysis, hop_samples
from instrec_live.realtime.stream.batcher import Batcher
from instrec_live.realtime.stream.hub import Hub
from instrec_live.realtime.stream.smoothing import Smoothing
from instrec_live.realtime.stream.update import Update

HOP = hop_samples(0.1)


def an_analysis(tagger: FakeTagger) -> Analysis:
    return Analysis(tagger, HOP, np.full(20, 0.5, np.float32), -60.0, Smoothing())


@pytest.fixture
def batcher() -> Iterator[Batcher]:
    batcher = Batcher(FakeTagger())
    yield batcher
    batcher.close()


def events_of(hub: Hub) -> dict[str, list]:
    """All that each source says, until all have ended."""
    events = defaultdict(list)
    with hub:
        for name, word in hub:
            events[name].append(word)
    return events


def test_pieces_computed_together_are_as_if_computed_alone() -> None:
    tagger = FakeTagger()
    batcher, sounds = Batcher(tagger), [music(2, seed=seed) for seed in range(5)]
    got: dict[int, list[Update]] = defaultdict(list)

    def listen(number: int) -> None:
        analysis = an_analysis(tagger)
        with batcher.member():
            for at in range(0, len(sounds[number]), HOP):
                got[number].append(batcher.process(analysis, sounds[number][at : at + HOP], number))

    threads = [threading.Thread(target=listen, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    batcher.close()
    for number, sound in enumerate(sounds):
        analysis = an_analysis(tagger)
        for at, update in zip(range(0, len(sound), HOP), got[number], strict=True):
            alone = analysis.process(sound[at : at + HOP], number)
            np.testing.assert_array_equal(update.probabilities, alone.probabilities)
            assert (update.time, update.active, update.skipped) == (alone.time, alone.active, alone.skipped)


class Counting(FakeTagger):
    """Notes how many sounds were heard together."""

    def __init__(self) -> None:
        super().__init__()
        self.batches: list[int] = []

    def prepare(self, wanted) -> None:
        self.batches.append(len(wanted))


def test_a_batch_is_what_there_is_and_at_most_eight() -> None:
    tagger = Counting()
    batcher, gate = Batcher(tagger, patience=2.0), threading.Barrier(20)
    sound = music(0.1)

    def listen() -> None:
        analysis = an_analysis(tagger)
        with batcher.member():
            gate.wait()
            batcher.process(analysis, sound, 0)
            gate.wait()  # who has been heard stays a member

    threads = [threading.Thread(target=listen) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    batcher.close()
    assert sum(tagger.batches) == 20
    assert tagger.batches[:2] == [8, 8]


def test_who_is_alone_does_not_wait() -> None:
    batcher = Batcher(FakeTagger(), patience=FOREVER)
    with batcher.member():
        batcher.process(an_analysis(FakeTagger()), music(0.1), 0)
    batcher.close()


def test_a_batch_waits_no_longer_than_its_patience() -> None:
    batcher = Batcher(FakeTagger(), patience=0.2)
    with batcher.member(), batcher.member():  # the other never comes
        began = time.monotonic()
        batcher.process(an_analysis(FakeTagger()), music(0.1), 0)
        assert time.monotonic() - began > 0.15
    batcher.close()


@given(hop=st.integers(10, 6000), later=st.floats(0, 1000))
def test_streams_begin_so_that_their_hops_end_together(hop: int, later: float) -> None:
    clock = [5.0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: clock[0])
        batcher = Batcher(FakeTagger())
        clock[0] += later
        first = batcher.first_hop(hop * 320)
    batcher.close()
    assert first % 320 == 0
    assert hop * 160 < first <= hop * 480 + 320
    beats = (later + first / 32_000) / (hop * 0.01)
    assert abs(beats - round(beats)) * hop * 0.01 < 0.0051  # half a frame


class OneBad(FakeTagger):
    """Fails as soon as a sound that is loud is among those heard."""

    def prepare(self, wanted) -> None:
        raise ModelError("cannot hear these together")

    def calibrated(self, log_mel):
        if log_mel[:, -10:].mean() > 0.5:
            raise ModelError("cannot hear this")
        return super().calibrated(log_mel)


def test_a_sound_on_which_the_networks_fail_ends_its_stream_only() -> None:
    loud = (0.9 * np.random.default_rng(0).uniform(-1, 1, 32_000)).astype(np.float32)
    events = events_of(
        Hub(
            {"soft": {"source": ArraySource(0.01 * music(1))}, "loud": {"source": ArraySource(loud)}},
            hop=0.1,
            tagger=OneBad(),
        )
    )
    assert isinstance(events["loud"][-1], ModelError)
    assert isinstance(events["soft"][-1], Summary)
    updates = [word for word in events["soft"] if isinstance(word, Update)]
    assert len(updates) + updates[-1].skipped >= 8  # on a busy machine some are skipped


def test_a_source_that_fails_leaves_the_others_as_they_are() -> None:
    broken = ArraySource(music(1.5), error=InputFileError("the end of it is missing"), error_at=20_000)
    events = events_of(
        Hub({"whole": {"source": ArraySource(music(1.5))}, "broken": {"source": broken}}, hop=0.1, tagger=FakeTagger())
    )
    assert str(events["broken"][-1]) == "the end of it is missing"
    assert [type(word) for word in events["whole"][-2:]] == [Update, Summary]
    assert events["whole"][-2].time == pytest.approx(1.5, abs=0.11)
    assert events["whole"][-1].ended == "end"
    assert broken.closed


def test_a_source_s_own_arguments_come_before_those_of_all() -> None:
    sources = {name: {"source": ArraySource(music(3), live=True)} for name in "ab"}
    events = events_of(Hub({**sources, "a": sources["a"] | {"duration": 1.0}}, tagger=FakeTagger(), duration=2.0))
    assert {name: round(found[-1].heard_s, 1) for name, found in events.items()} == {"a": 1.0, "b": 2.0}


def test_every_source_has_its_own_clock_and_counters() -> None:
    one, other = ArraySource(music(0.8)), ArraySource(music(1.2, 44_100), rate=44_100)
    other.xruns = 3
    events = events_of(Hub({"one": {"source": one}, "other": {"source": other}}, hop=0.1, tagger=FakeTagger()))
    assert events["one"][-1].time == pytest.approx(0.8, abs=0.011)
    assert events["other"][-1].time == pytest.approx(1.2, abs=0.011)
    assert (events["one"][-1].xruns, events["other"][-1].xruns) == (0, 3)


@pytest.mark.timing
def test_too_slow_for_all_is_too_slow_for_each_alike() -> None:
    """Six streams ask for twice what the networks can do."""
    tagger = FakeTagger(sleep=0.03)  # a window of each every 0.1 s: 1.8 s of work a second
    sources = {f"source {n}": {"source": ArraySource(music(3.0, seed=n))} for n in range(6)}
    events = events_of(Hub(sources, hop=0.1, tagger=tagger))
    updates = {name: [word for word in words if isinstance(word, Update)] for name, words in events.items()}
    counts = [len(each) for each in updates.values()]
    assert max(counts) - min(counts) <= 2, counts
    assert max(counts) < 24  # of 30
    for each in updates.values():
        assert each[-1].skipped > 3
        assert each[-1].time == pytest.approx(3.0, abs=0.11)  # no sound is lost
        heard = len(each) + each[-1].skipped
        assert abs(heard - 30) <= 2
    ages = [update.age_s for each in updates.values() for update in each[3:]]
    assert max(ages) < 1.5  # about two rounds of six, and a busy machine
    assert np.median(ages) > 0.05


def test_a_consumer_who_is_slow_costs_windows_not_memory() -> None:
    hub, skipped = Hub({"a": {"source": ArraySource(music(2.0))}}, hop=0.1, tagger=FakeTagger()), []
    with hub:
        for _, word in hub:
            if isinstance(word, Update):
                skipped.append(word.skipped)
                time.sleep(0.4)
    assert skipped[-1] > 3


@pytest.mark.timing
def test_a_pipe_without_a_writer_delays_no_other_source(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    hub = Hub(
        {
            "pipe": lambda: {"stdin": open(pipe, "rb")},  # noqa: SIM115 - the hub closes it
            "sound": {"source": ArraySource(music(0.6))},
        },
        hop=0.1,
        tagger=FakeTagger(),
    )
    with hub:
        for name, word in hub:
            if name == "sound" and isinstance(word, Summary):
                break
    with open(pipe, "wb"):  # let the thread go
        pass


def test_a_pipe_that_the_hub_has_opened_is_closed_with_its_source(tmp_path: Path) -> None:
    """Else its writer would stand still until all others have ended."""
    pipe, sound = tmp_path / "pipe", (9_000 * music(0.3)).astype("<i2").tobytes()
    os.mkfifo(pipe)
    told_so = threading.Event()

    def write() -> None:
        try:
            with open(pipe, "wb", buffering=0) as out:
                while True:
                    out.write(sound)
        except BrokenPipeError:
            told_so.set()

    writer = threading.Thread(target=write)
    hub = Hub(
        {
            "pipe": lambda: {"stdin": open(pipe, "rb"), "rate": 32_000, "duration": 0.3},  # noqa: SIM115 - as events
            "sound": {"source": ArraySource(music(60))},
        },
        hop=0.1,
        tagger=FakeTagger(),
    )
    writer.start()
    with hub:
        for name, word in hub:
            if name == "pipe" and isinstance(word, Summary):
                break
        assert told_so.wait(120)
    writer.join()


class FullDisk:
    """Outputs of which some cannot be begun."""

    def of(self, name: str, stream: object):
        if name == "late":
            raise UsageError("cannot write x.jsonl: no space")
        return []


def test_an_output_that_cannot_be_begun_ends_its_source_only() -> None:
    sources = {"early": {"source": ArraySource(music(1))}, "late": {"source": ArraySource(music(1))}}
    events = events_of(Hub(sources, hop=0.1, tagger=FakeTagger(), outputs=FullDisk().of))
    assert isinstance(events["late"][-1], UsageError)
    assert isinstance(events["early"][-1], Summary)


def test_closed_from_elsewhere_it_ends_with_its_outputs_written() -> None:
    kept = Kept()
    hub = Hub({"a": {"source": ArraySource(music(60))}}, hop=0.1, tagger=FakeTagger(), outputs=kept.of)
    heard = 0
    for _, word in hub:
        heard += isinstance(word, Update)
        if heard == 3:
            threading.Thread(target=hub.close).start()
    assert 3 <= heard < 500  # of 600
    assert kept.summaries == [("a", "stopped")]


class Kept:
    """Outputs that note the last thing they are told."""

    def __init__(self) -> None:
        self.summaries: list[tuple[str, str]] = []

    def of(self, name: str, stream: object):
        kept = self

        class Last:
            def write(self, update: Update) -> None: ...
            def change(self, record: object) -> None: ...
            def label(self, time: float, text: str) -> None: ...
            def close(self, summary: Summary) -> None:
                kept.summaries.append((name, summary.ended))

        return [(name, Last(), None)]


def test_a_defect_is_not_hidden() -> None:
    class Defective(FakeInference):
        def calibrated(self, end, length, whole=True):
            raise ZeroDivisionError

    class Defect(FakeTagger):
        def follow(self, mel, hop):
            return Defective(self, mel) if self.ready else super().follow(mel, hop)

        ready = False

    tagger = Defect()
    hub = Hub({"a": {"source": ArraySource(music(1))}}, hop=0.1, tagger=tagger)
    tagger.ready = True
    assert isinstance(events_of(hub)["a"][-1], ZeroDivisionError)


def test_no_sources_is_a_mistake() -> None:
    with pytest.raises(UsageError):
        Hub({}, tagger=FakeTagger())


@pytest.mark.timing
def test_hops_of_streams_that_begin_apart_are_computed_together() -> None:
    tagger = Counting()

    def late(seconds: float):
        def opened():
            time.sleep(seconds)
            return {"source": ArraySource(music(3.0))}

        return opened

    events_of(Hub({f"{n}": late(0.13 * n) for n in range(4)}, hop=0.5, tagger=tagger))
    together = sum(size for size in tagger.batches if size == 4)
    assert together > sum(tagger.batches) / 2, tagger.batches  # first and last pieces may come alone


def test_a_recording_is_called_after_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    hub = Hub({"../hall, left": {"source": ArraySource(music(1))}}, hop=0.1, tagger=FakeTagger())
    with hub:
        for name, word in hub:
            session = hub.workers[name].session
            if isinstance(word, Update) and word.time < 0.5 and session is not None:
                session.record(True)  # which goes on if it goes on
    with pytest.raises(UsageError, match="there is nothing to record"):
        hub.workers[name].session.record(True)
    (take,) = tmp_path.iterdir()
    assert take.name.startswith("instrec-.._hall_left-2")
