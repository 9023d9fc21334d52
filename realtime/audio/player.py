"""Plays a file on the default loudspeakers, and reports the second that is audible now."""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import soxr
from numpy.typing import NDArray

from instrec_live.models.arrays import FloatArray
from instrec_live.realtime.audio.devices import shut, sounddevice
from instrec_live.realtime.audio.file import FileSource
from instrec_live.realtime.audio.playback_clock import WallClock
from instrec_live.realtime.audio.reader import with_channels
from instrec_live.realtime.audio.source import BLOCK_SECONDS
from instrec_live.realtime.errors import AudioDeviceError, InstrecError, printable

_AHEAD = 0.4  # s of sound that wait to be played
START_WITHIN, LOST_AFTER = 5.0, 2.0  # s without a call from the driver
CLOSE_WITHIN = 2.0  # s
_LATENCY = 0.1  # s; Python may be late by some hundredths
_HINT = "choose loudspeakers in the system's settings, or leave out --play"

# Fills float32 [frames, channels] with sound whose first frame is audible at a time of time.monotonic().
Fill = Callable[[NDArray[np.float32], float], None]

log = logging.getLogger(__name__)


def check_output() -> None:
    """Make sure that there are loudspeakers.

    Raises:
        AudioDeviceError: there are none.
    """
    sd = sounddevice()
    try:
        sd.query_devices(kind="output")
    except (sd.PortAudioError, ValueError) as error:  # ValueError: there is no such device
        raise _failed("the default output device", error) from error


def _failed(label: str, error: Exception) -> AudioDeviceError:
    return AudioDeviceError(f"{label} cannot play: {printable(str(error))}", _HINT)


class Loudspeaker:
    """The default output device at its own rate; silent until `start`.

    Args:
        fill: called for every few hundredths of a second of sound, in PortAudio's own thread.

    Attributes:
        label: what to call it.
        rate: Hz.
        channels: 1 or 2.

    Raises:
        AudioDeviceError: there is none, or it cannot be opened.
    """

    def __init__(self, fill: Fill) -> None:
        self._fill = fill
        self.label = "the default output device"
        sd = sounddevice()
        try:
            device = sd.query_devices(kind="output")
            self.label = printable(device["name"])
            self.rate = round(device["default_samplerate"])
            self.channels = min(2, int(device["max_output_channels"]))
            self._stream: Any = sd.OutputStream(
                samplerate=self.rate,
                channels=self.channels,
                dtype="float32",
                latency=_LATENCY,
                callback=self._call,
            )
        except (sd.PortAudioError, ValueError) as error:
            raise _failed(self.label, error) from error

    def start(self) -> None:
        """Begin to play.

        Raises:
            AudioDeviceError: the device refuses.
        """
        sd = sounddevice()
        try:
            self._stream.start()
        except sd.PortAudioError as error:
            raise _failed(self.label, error) from error

    def close(self) -> None:
        """Stop at once and release the device."""
        shut(self._stream, CLOSE_WITHIN)

    def _call(self, out: NDArray[np.float32], frames: int, clock: Any, status: Any) -> None:
        ahead = clock.outputBufferDacTime - clock.currentTime
        if not 0.0 < ahead < 10.0:  # some drivers do not report it
            ahead = float(self._stream.latency)
        self._fill(out, time.monotonic() + ahead)


@dataclass(frozen=True, slots=True)
class Piece:
    """Sound to be played.

    Attributes:
        sound: float32 [frames, channels].
        position: second of the file at which it begins.
        speed: seconds of the file a second.
    """

    sound: FloatArray
    position: float
    speed: float


class Tape:
    """Resamples a file's blocks to be played.

    Args:
        rate_in: Hz of the file.
        rate_out: Hz of the loudspeakers.
        channels: of the loudspeakers, 1 or 2.
        position: second of the file at which the first block begins.
        speed: seconds of the file a second.

    Attributes:
        position: second of the file that the sound given so far reaches.
    """

    def __init__(self, rate_in: int, rate_out: int, channels: int, position: float, speed: float) -> None:
        self._stream: Any = soxr.ResampleStream(rate_in * speed, rate_out, channels, dtype="float32")
        self._rate, self._channels = rate_out, channels
        self.position, self.speed = position, speed

    def push(self, block: FloatArray) -> Piece:
        """float32 [m, channels of the file] -> the part to play by now."""
        return self._piece(with_channels(block, self._channels), last=False)

    def rest(self) -> Piece:
        """What is left at the end."""
        return self._piece(np.empty((0, self._channels), np.float32), last=True)

    def _piece(self, block: FloatArray, last: bool) -> Piece:
        flat = block[:, 0] if self._channels == 1 else block
        sound = np.asarray(self._stream.resample_chunk(flat, last=last), np.float32).reshape(-1, self._channels)
        piece = Piece(sound, self.position, self.speed)
        self.position += len(sound) / self._rate * self.speed
        return piece


class Output(Protocol):
    """What a player needs of `Loudspeaker`."""

    label: str
    rate: int
    channels: int

    def start(self) -> None: ...
    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class _Span:
    """Sound that the driver has taken, and when it is audible."""

    at: float  # of time.monotonic()
    seconds: float
    position: float
    speed: float


class Player:
    """Plays a file, and is the clock that its analysis follows. See `playback_clock.Clock`.

    It reads the file itself, in a thread that reads a little ahead; the driver's thread takes from
    there. A loudspeaker that is lost, and the end of the sound, are followed by the wall clock.

    Args:
        source: the file, without another reader.
        position: second at which to begin.
        speed: seconds of the file a second; pitch follows, as with a tape.
        output: opens the loudspeakers.

    Raises:
        AudioDeviceError: they cannot be opened.
    """

    lead = BLOCK_SECONDS

    def __init__(
        self,
        source: FileSource,
        position: float = 0.0,
        speed: float = 1.0,
        output: Callable[[Fill], Output] = Loudspeaker,
    ) -> None:
        self._source, self._place, self._speed = source, position, speed
        self._paused = self._running = self._started = self._finished = self._closed = self._lost = False
        self._wanted: float | None = None  # where the reader continues
        self._pieces: deque[Piece] = deque()
        self._waiting = 0  # frames in the pieces
        self._spans: deque[_Span] = deque(maxlen=1_000)
        self._silent: WallClock | None = None  # continues where the loudspeaker does not
        self._called = self._looked = 0.0  # when the driver last asked for sound, and a caller for the time
        self._news = threading.Condition()  # guards all of the above; held for moments only, also by the driver
        self._output = output(self._fill)
        self._reader = threading.Thread(target=self._read, name="player", daemon=True)
        self._reader.start()

    @property
    def position(self) -> float:
        with self._news:
            return self._now()

    @property
    def paused(self) -> bool:
        return self._paused

    @property
    def speed(self) -> float:
        return self._speed

    @property
    def audible(self) -> bool:
        return not self._lost

    def until(self, position: float) -> float:
        with self._news:
            left = position - self._now()
            if left <= 0.0:
                return 0.0
            if self._silent is not None:
                return self._silent.until(position)
            return left / self._speed if self._running and not self._paused else float("inf")

    def set(self, position: float) -> None:
        with self._news:
            self._place, self._wanted = position, position
            self._running = self._finished = False
            self._forget()
            if not self._lost:
                self._silent = None
            elif self._silent is not None:
                self._silent.set(position)
            self._news.notify_all()

    def run(self) -> None:
        """Continue from the position that was set.

        Raises:
            AudioDeviceError: the loudspeakers refuse to start.
        """
        if not self._started:
            self._started = True
            self._output.start()
        with self._news:
            self._called = max(self._called, time.monotonic() + START_WITHIN - LOST_AFTER)
            self._running = True
            if self._silent is not None:
                self._silent.run()

    def pause(self, paused: bool) -> None:
        with self._news:
            self._paused = paused
            if self._silent is not None:
                self._silent.pause(paused)

    def go(self, speed: float) -> None:
        """Another speed, of what is not yet read ahead."""
        with self._news:
            self._speed = speed
            if self._silent is not None:
                self._silent.go(speed)

    def close(self) -> None:
        with self._news:
            already, self._closed = self._closed, True
            self._news.notify_all()
        if not already:
            self._output.close()
            self._source.close()

    def _now(self) -> float:
        now = time.monotonic()
        if self._silent is None:
            while len(self._spans) > 1 and self._spans[1].at <= now:
                self._spans.popleft()
            self._look(now)
        if self._silent is not None:
            return self._silent.position
        if not self._spans:
            return self._place
        span = self._spans[0]
        return span.position + min(max(0.0, now - span.at), span.seconds) * span.speed

    def _look(self, now: float) -> None:
        """Let the wall clock continue where the sound has ended, or the driver has stopped asking for it."""
        if now - self._looked > LOST_AFTER / 4:  # there was no query: perhaps the whole program was suspended
            self._called = max(self._called, now)
        self._looked = now
        span = self._spans[0] if self._spans else _Span(now, 0.0, self._place, self._speed)
        over = self._finished and not self._pieces and len(self._spans) <= 1 and now >= span.at + span.seconds
        lost = self._running and now - self._called > LOST_AFTER
        if lost:
            log.warning("%s stopped playing; continuing without playback", self._output.label)
            self._lost = True
        if over or lost:
            reached = min(max(0.0, now - span.at), span.seconds)
            self._silent = WallClock(span.position + reached * span.speed, self._speed)
            self._silent.pause(self._paused)
            if self._running:
                self._silent.run()

    def _fill(self, out: FloatArray, at: float) -> None:
        """The driver's call for sound, in its own thread: copy and note, nothing else."""
        rate, done = self._output.rate, 0
        with self._news:
            self._called = max(self._called, time.monotonic())
            while done < len(out) and self._pieces and self._running and not self._paused:
                piece = self._pieces.popleft()
                count = min(len(out) - done, len(piece.sound))
                out[done : done + count] = piece.sound[:count]
                self._spans.append(_Span(at + done / rate, count / rate, piece.position, piece.speed))
                if count < len(piece.sound):
                    rest = piece.position + count / rate * piece.speed
                    self._pieces.appendleft(Piece(piece.sound[count:], rest, piece.speed))
                done += count
            self._waiting -= done
            self._news.notify_all()
        out[done:] = 0.0

    def _forget(self) -> None:
        self._pieces.clear()
        self._spans.clear()
        self._waiting = 0

    def _read(self) -> None:
        """Read ahead; the thread that alone touches the source."""
        rate, channels = self._output.rate, self._output.channels
        position, tape = self._place, None
        while True:
            with self._news:
                while not self._closed and self._wanted is None and self._enough():
                    self._news.wait()
                if self._closed:
                    return
                wanted, self._wanted = self._wanted, None
                speed = self._speed
            try:
                if wanted is not None:
                    position, tape = self._source.seek(wanted), None
                block = self._source.read()
            except InstrecError:  # the analysis reads the same file, and reports it
                block = None
            pieces = []
            if tape is not None and (block is None or tape.speed != speed):
                pieces.append(tape.rest())
                position, tape = tape.position, None
            if block is not None:
                tape = tape or Tape(self._source.rate, rate, channels, position, speed)
                pieces.append(tape.push(block))
            with self._news:
                if self._wanted is None:  # otherwise there is no reader for these
                    self._pieces.extend(piece for piece in pieces if len(piece.sound))
                    self._waiting += sum(len(piece.sound) for piece in pieces)
                    self._finished = block is None

    def _enough(self) -> bool:
        return self._finished or self._waiting >= _AHEAD * self._output.rate
