"""A stream whose updates are written down while they pass."""

import logging
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from instrec_live.models.errors import InstrecError, UsageError
from instrec_live.realtime.errors import printable
from instrec_live.realtime.outputs import Outlets, Sink, Summary, Tally
from instrec_live.realtime.stream import Stream
from instrec_live.realtime.takes import Takes
from instrec_live.realtime.transport import Transport
from instrec_live.realtime.update import State, StreamInfo, Update

log = logging.getLogger(__name__)


class TooSlow(InstrecError):  # noqa: N818 - like the errors of the models' room
    """More than a tenth of the last minute's windows were skipped, and the user is strict about it."""

    exit_code = 6


class Journal:
    """Looks like the stream inside it (info, iteration, close), and hands each update to sinks on its way.

    An output that fails (a full disk) is given up with a word in the log, and the listening goes on; a reader
    of stdout that hangs up ends it. What a listener does to the stream (see `Controls`) goes through here too, so
    that the outputs know.

    Args:
        stream: what is listened to.
        strict: whether `TooSlow` ends it when the networks cannot keep up.
        take: the file of the first recording; without, it gets a name from the clock.
        force: whether that one may replace a file.
        pre_roll: seconds before it that a recording begins with.
        channel: the name of the stream among others.

    Attributes:
        info: the stream's.
    """

    def __init__(
        self,
        stream: Stream,
        strict: bool = False,
        take: Path | None = None,
        force: bool = False,
        pre_roll: float = 10.0,
        channel: str | None = None,
    ) -> None:
        self._stream, self._strict = stream, strict
        self._outlets = Outlets()
        self._takes = Takes(take, force, pre_roll, self._outlets.guard, channel)
        self._tally = Tally(stream.info.hop)
        self._lock = threading.Lock()  # the screen may end while its thread still hands on an update
        self._closed = self._stopping = False
        self._ended = "stopped"
        self._lost_at: float | None = None  # s, while the device is lost
        stream.tap(self._takes.hear)

    @property
    def info(self) -> StreamInfo:
        return self._stream.info

    @property
    def failed(self) -> bool:
        """Whether an output had to be given up."""
        return self._outlets.failed

    @property
    def transport(self) -> Transport | None:
        return self._stream.transport

    @property
    def recording(self) -> Path | None:
        return self._takes.path

    def add(self, name: str, sink: Sink, file: TextIO | None = None) -> None:
        """Also write to `sink`; `file`, if given, is closed after it."""
        self._outlets.add(name, sink, file)

    def record(self, on: bool) -> Path:
        """Begin a recording, with the seconds before, or end it; returns its file.

        Raises:
            UsageError: the file cannot be made, there is no recording to end, or nothing is heard any more.
        """
        if on and self._closed:
            raise UsageError("nothing is heard any more that could be recorded")
        path = self._takes.begin() if on else self._takes.end()
        log.info("recording into %s" if on else "%s is recorded", path)
        return path

    def label(self, text: str, time: float | None = None) -> None:
        """Write a label, at `time` (s; None: of the last update), into every output that can hold one."""
        line = printable(text)
        with self._lock:
            if not self._closed:
                self._outlets.label(self._tally.time if time is None else max(0.0, time), line)

    def notices(self) -> list[str]:
        """What has gone wrong since the last call and ended nothing, in short lines."""
        return self._outlets.told()

    def set_thresholds(self, levels: Mapping[str, float]) -> None:
        """Other thresholds for some instruments from the next update on.

        Raises:
            UsageError: see `Stream.set_thresholds`.
        """
        self._stream.set_thresholds(levels)
        every = {name: round(level, 4) for name, level in self.info.thresholds.items()}
        self._change("thresholds", thresholds=every)

    def listen_to(self, device: int | str | None) -> None:
        """Go on with another microphone.

        Raises:
            AudioDeviceError, UsageError: see `Stream.listen_to`.
        """
        self._stream.listen_to(device)
        info = self.info
        self._change("source", source=info.source, rate=info.source_rate, channels=info.source_channels)

    def _change(self, kind: str, **content: Any) -> None:
        with self._lock:
            if not self._closed:
                self._outlets.change({"type": kind, "time": round(self._tally.time, 3), **content})

    def _tell_of_loss(self, update: Update) -> None:
        """Write down that the device is lost, or that there is sound again."""
        lost, before = update.state is State.DEVICE_LOST, self._lost_at
        if lost and before is None:
            self._lost_at = update.time
            self._outlets.change({"type": "lost", "time": round(update.time, 3)})
        elif not lost and before is not None:
            self._lost_at = None
            times = {"time": round(update.time, 3), "after_s": round(update.time - before, 3)}
            info = self.info
            device = {"source": info.source, "rate": info.source_rate, "channels": info.source_channels}
            self._outlets.change({"type": "found", **times, **device})

    def __iter__(self) -> Iterator[Update]:
        try:
            for update in self._stream:
                with self._lock:
                    if self._closed:
                        return
                    # A file that has ended, and may yet be sent elsewhere: that is no piece of sound.
                    self._ended = "end" if update.state is State.ENDED else "stopped"
                    if update.state is not State.ENDED:
                        self._tell_of_loss(update)
                        self._tally.note(update)
                        self._outlets.write(update)
                if self._outlets.hung_up:
                    raise BrokenPipeError
                if self._strict and update.state is State.CATCHING_UP:
                    raise TooSlow(
                        f"the networks cannot keep up: {update.skipped} windows skipped so far",
                        "take fewer --models, a longer --hop or more --threads",
                    )
                yield update
            if not self._stopping:
                self._ended = "end"
        except BrokenPipeError:
            raise
        except Exception as error:
            # A signal that strikes inside a lock's own code shows as that lock's error.
            if not isinstance(error.__context__, KeyboardInterrupt):
                self._ended = "failed"
            raise

    def close(self) -> None:
        """End the listening. The outputs stay open until `finish`."""
        self._stopping = True
        self._stream.close()

    def finish(self) -> Summary:
        """End the listening and the outputs, each with its summary."""
        self.close()
        self._takes.close()
        with self._lock:
            self._closed = True
            summary = self._tally.summary(self._ended, self._stream.drift)
            self._outlets.close(summary)
        return summary
