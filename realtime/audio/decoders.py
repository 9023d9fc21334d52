"""Decoders of one sound: PCM here, FLAC and Ogg by libsndfile; all else is in `av_decoder`."""

import ctypes
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

import soundfile

from instrec_live.models.arrays import FloatArray
from instrec_live.realtime.audio.byte_input import ByteInput, DecodeError, FileInput, SplitFile
from instrec_live.realtime.audio.framing import AGAIN, REACH
from instrec_live.realtime.audio.native_noise import suppress_stderr
from instrec_live.realtime.audio.pcm import ENDLESS, PcmLayout, PcmSamples, what_follows

T = TypeVar("T")

OPEN_SECONDS = 3.0  # libsndfile can hang on a hostile header (its issue 1118)
SCAN_RATE = 50e6  # bytes/s allowed on top, for a format whose length is found by reading it all
_NEVER = (0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF)


class BreaksOff(Exception):  # noqa: N818 - becomes an InputFileError that names the file
    """The sound ends before the end that its header claims.

    Attributes:
        claimed: seconds that there should be of this sound, None if that is not known.
    """

    def __init__(self, claimed: float | None) -> None:
        super().__init__(claimed)
        self.claimed = claimed


@dataclass(frozen=True, slots=True)
class Chunk:
    """Sound as it was decoded: float32 [m, channels], m > 0, at `rate` Hz; both may change from chunk to chunk."""

    samples: FloatArray
    rate: int


class Decoder(Protocol):
    """One sound, from its beginning to its end.

    Attributes:
        rate: Hz of the first chunk.
        channels: of the first chunk.
        frames: how many there are, held against the file; None if that is not known.
    """

    rate: int
    channels: int
    frames: int | None

    def read(self, most: int) -> Chunk | None:
        """The next chunk, about `most` frames or what comes; None at the end.

        Raises:
            BreaksOff: it ends too early.
            DecodeError: it cannot be decoded any further.
        """

    def seek(self, frame: int) -> int:
        """Continue from another frame; only of files. Returns the one reached: an earlier one at the end, where that
        was not known. Raises DecodeError."""

    def close(self) -> None:
        """Close it."""


class PcmDecoder:
    """Uncompressed sound of a file or pipe. See `Decoder`.

    A pipe cannot be read ahead: there the end that the header claims is checked when it is reached.

    Args:
        source: at the first sample.
        layout: of the samples.
        stop: of a file, the byte after the last one, see `pcm.data_end`.
        is_known: bytes -> whether they begin a container.
        note: called with a sentence where the header's length is wrong.
    """

    def __init__(
        self,
        source: ByteInput,
        layout: PcmLayout,
        is_known: Callable[[bytes], bool],
        note: Callable[[str], None],
        stop: int | None = None,
    ) -> None:
        self.rate, self.channels = layout.rate, layout.channels
        self._source, self._layout, self._is_known, self._note = source, layout, is_known, note
        self._samples = PcmSamples(layout)
        self.floats = layout.encoding == "float"
        self._start = self._at = source.position
        self._stop, self._claimed_stop = stop, None
        self._pending = b""
        self._split: SplitFile | None = None  # of a pipe: up to where another one begins, whatever is claimed
        if not isinstance(source, FileInput) and layout.kind in AGAIN:
            self._split = SplitFile(source, partial(_found, AGAIN[layout.kind]), 0, REACH)
        self.frames = None if stop is None else (stop - self._start) // layout.frame_bytes
        self.claimed: int | None = layout.claimed  # bytes, where the claim is one
        short = layout.kind not in ("RF64", "BW64", "W64", "CAF")  # sizes of 32 bits
        if self.claimed in _NEVER or (self.claimed is not None and short and self.claimed >= ENDLESS):
            self.claimed = None
        if not short and layout.claimed == 0:
            self.claimed = None
        if stop is None:
            self._claimed_stop = None if self.claimed is None else self._start + self.claimed
        elif self.claimed is not None and self.claimed < stop - self._start:
            present = (stop - self._start) // layout.frame_bytes / self.rate
            claimed = self.claimed // layout.frame_bytes / self.rate
            if present - claimed > 0.05:
                self._note(f"its header claims {claimed:,.2f} s of sound, but there are {present:,.2f} s; all are read")

    def read(self, most: int) -> Chunk | None:
        size = self._layout.frame_bytes
        while True:
            if isinstance(self._source, FileInput) and self._source.position != self._at:
                self._source.seek(self._at)
            room = self._room(most * size - len(self._pending))
            data = self._source.some(room) if self._split is None or room == 0 else self._split.read(room)
            self._at += len(data)
            self._pending += data
            whole = len(self._pending) - len(self._pending) % size
            if whole:
                samples = self._samples(self._pending[:whole])
                self._pending = self._pending[whole:]
                return Chunk(samples, self.rate)
            if not data and not self._goes_on():
                return None

    def _room(self, wanted: int) -> int:
        stop = self._stop if self._stop is not None else self._claimed_stop
        return max(0, wanted if stop is None else min(wanted, stop - self._at))

    def _goes_on(self) -> bool:
        """Whether there is sound behind the end; only a pipe's is not known before."""
        size = self._layout.frame_bytes
        if self._stop is None and self._claimed_stop is not None and self._at == self._claimed_stop:
            self._claimed_stop = None
            if what_follows(self._source, self._layout, self._is_known) == "sound":
                present = (self._at - self._start) // size / self.rate
                self._note(f"its header claims {present:,.2f} s of sound, but there is more; all is read")
                return True
            return False
        if self.claimed is not None and self._at - self._start < self.claimed - size:
            raise BreaksOff(self.claimed // size / self.rate)
        return False

    def seek(self, frame: int) -> int:
        self._at = self._start + frame * self._layout.frame_bytes
        self._pending = b""
        return frame

    def close(self) -> None:
        """The input is its owner's."""


def _found(pattern: re.Pattern[bytes], data: bytes, start: int) -> int | None:
    match = pattern.search(data, start)
    return None if match is None else match.start()


class WithoutTail:
    """Another decoder's sound without the frames that an encoder put behind it; of a pipe, which FFmpeg does not do.

    Args:
        decoder: of the sound.
        tail: frames to drop.
        whole: number of frames; of a sound of another length the tail is kept.
    """

    def __init__(self, decoder: Decoder, tail: int, whole: int) -> None:
        self._decoder, self._tail, self._whole = decoder, tail, whole
        self.rate, self.channels = decoder.rate, decoder.channels
        self.frames = decoder.frames
        self.oddities: list[str] = []
        self._kept: list[Chunk] = []
        self._count = self._held = 0
        self._ended = False
        self._error: Exception | None = None

    def read(self, most: int) -> Chunk | None:
        while not self._ended:
            try:
                chunk = self._decoder.read(most)
            except (BreaksOff, DecodeError) as error:
                chunk, self._error = None, error
            if chunk is None:
                self._ended, self.oddities = True, getattr(self._decoder, "oddities", [])
                if self._count == self._whole:
                    self._cut()
                break
            self._kept.append(chunk)
            self._count, self._held = self._count + len(chunk.samples), self._held + len(chunk.samples)
            if self._held - len(self._kept[0].samples) >= self._tail:
                break
        if self._kept:
            chunk = self._kept.pop(0)
            self._held -= len(chunk.samples)
            return chunk
        fault, self._error = self._error, None
        if fault is not None:
            raise fault
        return None

    def _cut(self) -> None:
        left = self._tail
        while left > 0 and self._kept:
            last = self._kept.pop()
            if len(last.samples) > left:
                self._kept.append(Chunk(last.samples[:-left], last.rate))
            left -= len(last.samples)

    def seek(self, frame: int) -> int:
        self._kept, self._held, self._ended = [], 0, False
        self._count = self._decoder.seek(frame)
        return self._count

    def close(self) -> None:
        self._decoder.close()


class SequentialSoundFile(soundfile.SoundFile):  # type: ignore[misc]
    """A SoundFile that does not seek to where it already is after every read, which costs time."""

    def seekable(self) -> bool:
        """No, as far as `read` is concerned."""
        return False


class SndfileDecoder:
    """A whole file by libsndfile. See `Decoder`.

    Args:
        path: as libsndfile takes it.
        size: bytes of it.

    Raises:
        DecodeError: libsndfile cannot open it.
    """

    def __init__(self, path: Any, size: int) -> None:
        self._path, self._size = path, size
        self._file = self._open()
        self.rate, self.channels = int(self._file.samplerate), int(self._file.channels)
        self.format = str(self._file.format)
        frames = int(self._file.frames)
        self.frames = frames if 0 <= frames < 1 << 60 else None
        self._at = 0

    def _open(self) -> SequentialSoundFile:
        def attempt() -> SequentialSoundFile:
            return SequentialSoundFile(self._path)

        try:
            with suppress_stderr():
                return in_time(attempt, OPEN_SECONDS + self._size / SCAN_RATE)
        except (soundfile.SoundFileError, OSError) as error:
            raise DecodeError(getattr(error, "error_string", str(error)).rstrip(".")) from error

    def read(self, most: int) -> Chunk | None:
        try:
            samples: FloatArray = self._file.read(most, dtype="float32", always_2d=True)
        except (soundfile.SoundFileError, OSError) as error:
            raise DecodeError(getattr(error, "error_string", str(error)).rstrip(".")) from error
        self._at += len(samples)
        if len(samples):
            return Chunk(samples, self.rate)
        if self.frames is not None and self._at < self.frames:
            raise BreaksOff(self.frames / self.rate)
        return None

    def seek(self, frame: int) -> int:
        if self._file.format == "OGG":  # its decoder keeps state across a seek: hundredths of a second of noise
            self._file.close()
            self._file = self._open()
        try:
            self._file.seek(frame)
        except (soundfile.SoundFileError, OSError):
            self._file.close()
            self._file = self._open()
            left = frame
            while left > 0 and len(skipped := self._file.read(min(left, 1 << 16), always_2d=True)):
                left -= len(skipped)
            frame -= left
        self._at = frame
        return frame

    def close(self) -> None:
        self._file.close()


def in_time(attempt: Callable[[], T], seconds: float) -> T:
    """What a call into libsndfile returns or raises, unless that takes too long: then the library is left loaded when
    the interpreter ends, for the thread that was given up is still in its code.

    Raises:
        DecodeError: it takes too long.
    """
    done: list[T] = []
    failed: list[Exception] = []

    def run() -> None:
        try:
            done.append(attempt())
        except Exception as error:  # handed to the thread that asked
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True, name="open-file")
    thread.start()
    thread.join(seconds)
    if failed:
        raise failed[0]
    if not done:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(soundfile._snd))
        raise DecodeError("it cannot be opened in reasonable time; is the file damaged?")
    return done[0]
