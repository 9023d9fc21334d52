"""A stream together with its outputs."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, TextIO

from instrec_live.models.errors import InstrecError, UsageError
from instrec_live.realtime.errors import printable
from instrec_live.realtime.outputs import Sink, SinkGroup, Summary, SummaryBuilder
from instrec_live.realtime.outputs.event_log import EventLog, LabelFile
from instrec_live.realtime.outputs.recorder import Recordings, recording_stem
from instrec_live.realtime.outputs.sink import threshold_record
from instrec_live.realtime.stream.stream import Stream
from instrec_live.realtime.stream.update import State, StreamInfo, Transport, Update

log = logging.getLogger(__name__)


class TooSlow(InstrecError):  # noqa: N818 - named like those in models/errors.py
    """More than a tenth of the last minute's windows were skipped, and --strict is set."""

    exit_code = 6


class ReportedTransport:
    """A transport whose pauses are reported. See `Transport`."""

    def __init__(self, transport: Transport, report: Callable[[bool, float, bool], None]) -> None:
        self._transport, self._report = transport, report

    @property
    def paused(self) -> bool:
        return self._transport.paused

    @property
    def speed(self) -> float:
        return self._transport.speed

    @property
    def position(self) -> float:
        return self._transport.position

    @property
    def duration(self) -> float | None:
        return self._transport.duration

    @property
    def audible(self) -> bool:
        return self._transport.audible

    def pause(self, paused: bool) -> None:
        self._transport.pause(paused)
        self._report(paused, self.position, False)

    def seek(self, time: float) -> None:
        self._transport.seek(time)
        if self.paused:  # no update will say so
            self._report(True, self.position, True)

    def go(self, speed: float) -> None:
        self._transport.go(speed)


class Session:
    """Wraps a Stream (info, iteration, close) and writes every update to the outputs.

    An output that fails (a full disk) is logged and dropped, and the stream continues; a reader of stdout that hangs
    up ends it. What the user does to the stream (see `Controls`) goes through here too, so that it reaches the outputs.

    Args:
        stream: the one wrapped.
        strict: raise `TooSlow` when the networks cannot keep up.
        take: file of the first recording; None: named by date and time.
        force: that file may be replaced.
        pre_roll: seconds of sound before its start that a recording includes.
        channel: name of the source among others.

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
        self._sinks = SinkGroup()
        self._recordings = Recordings(take, force, pre_roll, self._sinks.guard, channel)
        self._stem = recording_stem(channel)
        self._events = EventLog({"hop": stream.info.hop, "decisions": stream.info.decisions})
        self._sinks.add("events", self._events)
        self._label_file: LabelFile | None = None
        self._tally = SummaryBuilder(stream.info.hop)
        self._lock = threading.Lock()  # the screen may end while its thread still writes an update
        self._closed = self._stopping = False
        self._ended = "stopped"
        self._summary: Summary | None = None  # once the outputs are finished
        self._time = stream.info.start  # s, of the last update, or where a paused file was sought to since
        self._lost_at: float | None = None  # s, while the device is lost
        stream.tap(self._recordings.write)

    @property
    def info(self) -> StreamInfo:
        return self._stream.info

    @property
    def failed(self) -> bool:
        """Whether an output was dropped."""
        return self._sinks.failed

    @property
    def transport(self) -> Transport | None:
        transport = self._stream.transport
        return None if transport is None else ReportedTransport(transport, self._report_pause)

    @property
    def recording(self) -> Path | None:
        return self._recordings.path

    def add(self, name: str, sink: Sink, file: TextIO | None = None) -> None:
        """Also write to `sink`; `file`, if given, is closed after it."""
        self._sinks.add(name, sink, file)

    def record(self, on: bool) -> Path:
        """Start a recording, which includes the seconds before, or stop it; returns its file.

        Raises:
            UsageError: the file cannot be created, there is no recording to stop, or the stream has ended.
        """
        if on and self._closed:
            raise UsageError("the stream has ended; there is nothing to record")
        path = self._recordings.begin() if on else self._recordings.end()
        log.info("recording into %s" if on else "recorded %s", path)
        return path

    def label(self, text: str, time: float | None = None) -> Path | None:
        """Write a label, at `time` (s; None: where the sound is now), into every output that can hold one.

        Where no output keeps labels, a file in the current folder does, which is returned.

        Raises:
            UsageError: that file cannot be created, or the outputs are closed already.
        """
        line = printable(text)
        with self._lock:
            if self._closed:
                raise UsageError("the sound is over and its outputs are complete; no label can be added")
            if not self._sinks.keeps_labels_somewhere:
                self._label_file = LabelFile(self._stem)
                self._sinks.add(str(self._label_file.path), self._label_file, self._label_file.file)
            self._sinks.label(self._time if time is None else max(0.0, time), line)
            return None if self._label_file is None else self._label_file.path

    def export_events(self) -> Path:
        """Write the entries and exits so far, and the labels, as a label track; returns its file.

        Raises:
            UsageError: it cannot be written.
        """
        with self._lock:
            path = self._events.export(self._stem)
        log.info("events are written into %s", path)
        return path

    def notify(self, words: str) -> None:
        """Add a line to the notices."""
        self._sinks.notify(words)

    def notices(self) -> list[str]:
        """Problems since the last call that ended nothing, in short lines."""
        return self._sinks.notices()

    def set_thresholds(self, thresholds: Mapping[str, float]) -> None:
        """Use other thresholds for some instruments from the next update on.

        Raises:
            UsageError: see `Stream.set_thresholds`.
        """
        self._stream.set_thresholds(thresholds)
        info = self.info
        self._change("thresholds", **threshold_record(info))

    def listen_to(self, device: int | str | None) -> None:
        """Switch to another microphone.

        Raises:
            AudioDeviceError, UsageError: see `Stream.listen_to`.
        """
        self._stream.listen_to(device)
        info = self.info
        self._change("source", source=info.source, rate=info.source_rate, channels=info.source_channels)

    def _report_pause(self, paused: bool, time: float, jumped: bool) -> None:
        with self._lock:
            if jumped:
                self._time = time
            if not self._closed:
                self._sinks.pause(paused, time, jumped)

    def _change(self, kind: str, **content: Any) -> None:
        with self._lock:
            if not self._closed:
                self._sinks.change({"type": kind, "time": round(self._time, 3), **content})

    def _report_loss(self, update: Update) -> None:
        """Write to the outputs that the device is lost, or back."""
        lost, before = update.state is State.DEVICE_LOST, self._lost_at
        if lost and before is None:
            self._lost_at = update.time
            self._sinks.change({"type": "lost", "time": round(update.time, 3)})
        elif not lost and before is not None:
            self._lost_at = None
            times = {"time": round(update.time, 3), "after_s": round(update.time - before, 3)}
            info = self.info
            device = {"source": info.source, "rate": info.source_rate, "channels": info.source_channels}
            self._sinks.change({"type": "found", **times, **device})

    def __iter__(self) -> Iterator[Update]:
        try:
            for update in self._stream:
                with self._lock:
                    if self._closed:
                        return
                    # ENDED (a file at its end, waiting for a seek) is no new sound.
                    self._ended = "end" if update.state is State.ENDED else "stopped"
                    self._time = update.time
                    if update.state is not State.ENDED:
                        self._report_loss(update)
                        self._tally.note(update)
                        self._sinks.write(update)
                    else:
                        self._sinks.at_end(update)
                if self._sinks.hung_up:
                    raise BrokenPipeError
                if self._strict and update.state is State.CATCHING_UP:
                    raise TooSlow(
                        f"the networks cannot keep up: {update.skipped} windows skipped so far",
                        "use fewer --models, a longer --hop or more --threads",
                    )
                for title in self._stream.titles():
                    with self._lock:
                        self._sinks.label(update.time, printable(title))
                yield update
            if not self._stopping:
                self._ended = "end"
                self._finish_outputs()  # not only when the screen is closed, which may be hours later
        except BrokenPipeError:
            raise
        except Exception as error:
            # A signal inside a lock's own code shows as that lock's error.
            if not isinstance(error.__context__, KeyboardInterrupt):
                self._ended = "failed"
            raise

    def stop(self) -> None:
        """End the sound here: the iteration ends once the sound so far is decided and written."""
        self._stopping = True
        self._stream.stop()

    def close(self) -> None:
        """End the stream. The outputs stay open until `finish`."""
        self._stopping = True
        self._stream.close()

    def finish(self) -> Summary:
        """End the stream and close the outputs with a summary."""
        self.close()
        return self._finish_outputs()

    def _finish_outputs(self) -> Summary:
        self._recordings.close()
        with self._lock:
            self._closed = True
            if self._summary is None:
                self._summary = self._tally.summary(self._ended, self._stream.drift)
                self._sinks.close(self._summary)
            return self._summary
