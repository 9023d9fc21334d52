"""A hub with fixed updates: for the tests of the list of sources, and to look at it without sound.

python tests/support/fake_hub.py [sources]       shows the list, in real time
"""

import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from queue import Empty, Queue
from types import SimpleNamespace

from fake_stream import FakeStream, info, update

from instrec_live.realtime.outputs import Summary
from instrec_live.realtime.stream.update import StreamInfo, Update

HubEvent = Update | Summary | BaseException


def summary(time: float = 48.0, **seconds: float) -> Summary:
    """The last word of a source in which instruments sounded for so many seconds."""
    return Summary(96, time, "end", seconds, skipped=0, xruns=0, bad_samples=0)


class FakeHub:
    """Says what it is given; then (`end`) ends, raises `error`, or goes on with what `say` gives it, until closed."""

    engine_name = "onnxruntime 1.32 cpu"

    def __init__(
        self,
        names: list[str],
        said: list[tuple[str, HubEvent]] | None = None,
        facts: StreamInfo | None = None,
        end: bool = False,
        error: Exception | None = None,
    ) -> None:
        self.workers = {name: SimpleNamespace(session=None) for name in names}
        self.streams = {
            name: FakeStream([], replace(facts or info(hop=3600.0), source=f"{name}.wav")) for name in names
        }
        self.end, self.error = end, error
        self.waiting: Queue[tuple[str, HubEvent]] = Queue()
        self.closed = threading.Event()
        for each in said or []:
            self.waiting.put(each)

    def say(self, name: str, said: HubEvent) -> None:
        """Later."""
        self.waiting.put((name, said))

    def __iter__(self) -> Iterator[tuple[str, HubEvent]]:
        while not self.closed.is_set():
            try:
                name, said = self.waiting.get(timeout=0.0 if self.end or self.error else 0.02)
            except Empty:
                if self.error is not None:
                    raise self.error from None
                if self.end:
                    return
                continue
            if isinstance(said, Update):
                self.workers[name].session = self.streams[name]
            yield name, said

    def close(self) -> None:
        self.closed.set()


class BusyHub(FakeHub):
    """So many sources, each with two updates a second, evenly spread, until closed."""

    def __init__(self, number: int, updates: list[Update]) -> None:
        super().__init__([f"channel {n + 1}" for n in range(number)], facts=info(hop=0.5))
        self.updates = updates
        for channel, stream in zip(self.workers.values(), self.streams.values(), strict=True):
            channel.session = stream

    def __iter__(self) -> Iterator[tuple[str, HubEvent]]:
        start, step = time.monotonic(), 0.5 / len(self.workers)
        for number in range(sys.maxsize):
            if self.closed.wait(max(0.0, start + number * step - time.monotonic())):
                return
            turn, source = divmod(number, len(self.workers))
            at = (turn + source * 7) % len(self.updates)
            yield f"channel {source + 1}", replace(self.updates[at], time=0.5 * (turn + 1))


if __name__ == "__main__":
    from instrec_live.realtime.tui.watch import run

    number = int(sys.argv[1]) if len(sys.argv) > 1 else 60
    sys.exit(run(BusyHub(number, [update(each) for each in range(140)])))
