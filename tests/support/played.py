"""Runs made up of updates, for the tests of what is written of them."""

from collections.abc import Callable

import numpy as np
from fakes import ArraySource, FakeTagger, music

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.outputs import Sink, SummaryBuilder, header
from instrec_live.realtime.outputs.session import Session
from instrec_live.realtime.stream.stream import Stream
from instrec_live.realtime.stream.update import State, Update


def an_update(
    time: float, *active: str, p: float = 0.123456, state: State = State.OK, jumped: bool = False, gap: bool = False
) -> Update:
    probabilities = np.full(20, p, np.float32)
    return Update(
        time=time,
        probabilities=probabilities,
        active=tuple(name for name in INSTRUMENTS if name in active),
        by_model={"passt": probabilities},
        level_db=-18.23,
        peak_db=-6.02,
        state=state,
        filled_s=10.0,
        age_s=0.1234,
        inference_s=0.05,
        skipped=0,
        xruns=0,
        bad_samples=0,
        jumped=jumped,
        gap=gap,
    )


def a_stream(seconds: float = 3.0) -> Stream:
    return Stream(
        source=ArraySource(music(seconds)),
        pace="max",
        tagger=FakeTagger(),  # type: ignore[arg-type]
        lookahead=None,
    )


def a_head() -> dict:
    stream = a_stream()
    return header(stream.info, stream.smoothing, -60.0)


class Played:
    """Updates made up beforehand, in the place of a stream; each with half a second of sound, of its number's value."""

    def __init__(self, *updates: Update) -> None:
        self.info = a_stream().info
        self.updates = updates
        self.taps: list[Callable] = []
        self.transport = self.drift = None
        self.thresholds: dict[str, float] = {}
        self.devices: list[object] = []

    def tap(self, tap: Callable) -> None:
        self.taps.append(tap)

    def titles(self) -> list[str]:
        return []

    def set_thresholds(self, thresholds: dict[str, float]) -> None:
        self.thresholds |= thresholds

    def listen_to(self, device: object) -> None:
        self.devices.append(device)

    def __iter__(self):  # type: ignore[no-untyped-def]
        for number, update in enumerate(self.updates):
            for tap in self.taps:
                tap(np.full(16_000, (number + 1) / 1024, np.float32))
            yield update

    def close(self) -> None:
        pass


def session_of(*updates: Update, strict: bool = False) -> Session:
    return Session(Played(*updates), strict)  # type: ignore[arg-type]


def play(session: Session) -> None:
    try:
        for _ in session:
            pass
    finally:
        session.finish()


def written(sink: Sink, *updates: Update, labels: dict[float, str] | None = None) -> None:
    """Everything through a sink; each label right after the first update at or after its time."""
    tally, left = SummaryBuilder(0.5), dict(labels or {})
    for update in updates:
        sink.write(update)
        tally.note(update)
        for time in [time for time in left if time <= update.time]:
            sink.label(time, left.pop(time))
    sink.close(tally.summary("end"))
