"""Where a stream's sound comes from, opened in two steps: files before the networks are loaded, microphones after."""

from pathlib import Path
from typing import BinaryIO

from instrec_live.models.errors import UsageError
from instrec_live.realtime.devices import resolve
from instrec_live.realtime.playing.clock import Clock, WallClock
from instrec_live.realtime.playing.loudspeaker import check_output
from instrec_live.realtime.playing.playback import checked_speed
from instrec_live.realtime.playing.player import Player
from instrec_live.realtime.sources import FileSource, MicrophoneSource, MonitorSource, PipeSource, Source
from instrec_live.realtime.system_audio import Monitor, monitor_meant

# A pipe may run a little fast of our clock; held to exactly real time its sound would pile up in the pipe.
_PIPE_SPEED = 1.01
_FILE_PATIENCE = 2.0  # s


class Opening:
    """A source that is asked for. The arguments are those of `Stream`.

    A bad file or device is told when this is made, before anything slow is done. A microphone is opened later, by
    `open`, because it would fill up meanwhile.

    Attributes:
        begins: second of the source's own clock at which it begins.
        limit: seconds to listen to it, None for all that it gives.
        records: it is a device that another can take the place of.

    Raises:
        UsageError, InputFileError, AudioDeviceError.
    """

    def __init__(
        self,
        file: str | Path | None,
        device: int | str | None,
        stdin: BinaryIO | None,
        source: Source | None,
        pace: str,
        start: float,
        duration: float | None,
        speed: float,
        play: bool,
    ) -> None:
        if sum(given is not None for given in (file, device, stdin, source)) > 1:
            raise UsageError("a stream has one source: a file, a device, stdin or a source")
        if pace not in ("realtime", "max"):
            raise UsageError(f"the pace is realtime or max, not {pace}")
        if (play or speed != 1.0) and (file is None or pace == "max"):
            raise UsageError("only a file can be played or have a speed, and only at the pace realtime")
        self._file, self._device, self._stdin, self._source = file, device, stdin, source
        self._start, self._duration, self._play = start, duration, play
        self._speed = checked_speed(speed)
        self._monitor: Monitor | None = None
        self.begins = start if file is not None else 0.0
        self.limit = None if file is not None else duration
        self.records = file is None and stdin is None and source is None
        if file is not None:
            self._source = FileSource(file, start=start, duration=duration)
            if play:
                check_output()
        elif self.records:
            if pace == "max":
                raise UsageError("a microphone cannot be hurried: pace max is for files and pipes")
            self._monitor = monitor_meant(device)
            if self._monitor is None:
                resolve(device)

    def open(self, rate: int, channels: int | None, sample_format: str) -> tuple[Source, Clock | None]:
        """The source, and the clock that paces it in real time; None for one that keeps its own time."""
        if self._stdin is not None:
            pipe = PipeSource(self._stdin, rate, channels or 1, sample_format)
            return pipe, WallClock(0.0, _PIPE_SPEED)
        if self._monitor is not None:
            return MonitorSource(self._monitor, channels), None
        if self._source is None:
            return MicrophoneSource(self._device, channels), None
        if self._play and self._file is not None:
            heard = FileSource(self._file, start=self._start, duration=self._duration)
            return self._source, Player(heard, self._start, self._speed)
        return self._source, None if self._source.live else WallClock(self.begins, self._speed, _FILE_PATIENCE)
