"""Sound decoded by FFmpeg's libraries, through PyAV: the only file that knows them."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.arrays import FloatArray
from instrec_live.realtime.audio.byte_input import DecodeError
from instrec_live.realtime.audio.decoders import BreaksOff, Chunk
from instrec_live.realtime.errors import UsageError, printable

# Formats with true times after a seek, and those whose length is only guessed.
_EXACT = frozenset(("mov", "matroska", "flac", "ogg", "aiff", "caf", "wv", "tta"))
_GUESSED = frozenset(("aac", "mpegts", "mp3", "mpeg", "amr", "ac3", "eac3", "dts", "rm", "hls", "ogg", "voc"))
_NEAR = 60.0  # s that are decoded and passed over rather than sought in
_PREROLL = 1.0  # s decoded before the place sought: codecs depend on what came before
_TOLERATED = 0.5  # s that may be missing at the end, or too much: frames are longer than nothing
_LEAD = 0.05  # s by which sound may begin after its picture, or its edit, without a meaning: what encoders add
_LONGEST_LEAD = 60.0  # s of a transport stream, in which another programme has another clock
_SILENCE = 1 << 16  # frames of a chunk of it
_GAP = 0.1  # s between the time stamps of consecutive frames that are lost sound
_PLANES = 8  # of a frame, the places of a list that PyAV searches for its end: if all are taken, it may crash
_BAD_PACKETS = 50  # consecutive ones, after which the rest is given up
STALL_S = 10.0  # s without an answer, of an address


def _library() -> Any:
    """The module, loaded when first needed: that takes longer than all of --help.

    Raises:
        DecodeError: it is missing.
    """
    try:
        import av
        import av.logging
    except ImportError as error:
        raise DecodeError(f"PyAV, which reads this kind of file, cannot be loaded: {printable(str(error))}") from error
    av.logging.set_level(None)  # stderr is ours
    return av


def _tolerant(av: Any) -> dict[str, str]:
    """The option with which PyAV before 19 accepts tags that are not UTF-8; later versions need none."""
    return {"metadata_errors": "replace"} if int(av.__version__.split(".")[0]) < 19 else {}


class AvDecoder:
    """One sound of a container, or of an address that FFmpeg reads itself. See `Decoder`.

    Args:
        file: makes a binary file, at the beginning of the sound; or an address.
        av_format: FFmpeg's name of the container; None: let it guess.
        track: which of several sounds, from 1; None: the one FFmpeg thinks best.
        seekable: whether `file` can be called again, and FFmpeg may seek in what it makes.
        frames: that there are, where the caller knows better than the container; None where it does not.
        framed: it is a row of frames, of which the container's own length is a guess.
        options: of FFmpeg's own reading of an address.
        claimed: seconds by the container's own header, if FFmpeg does not report them.
        at_end: returns what is wrong where the sound ends, or None; None: not known.

    Attributes:
        tracks: sounds in the container.

    Raises:
        DecodeError: there is no sound in it, or it cannot be decoded.
        UsageError: it has not that many tracks.
    """

    def __init__(
        self,
        file: Any,
        av_format: str | None,
        track: int | None = None,
        seekable: bool = False,
        frames: int | None = None,
        framed: bool = False,
        at_end: Callable[[float], Exception | None] | None = None,
        options: dict[str, str] | None = None,
        claimed: float | None = None,
    ) -> None:
        self._av = _library()
        self._file, self._format, self._track, self._seekable = file, av_format, track, seekable
        self._framed, self._at_end, self._options = framed, at_end, options
        self.tracks = self._damaged = 0
        self._missing = self._first_gap = 0.0  # s
        self._exceeded: float | None = None  # s that the container claims of a longer sound
        self._lead = 0.0  # s of silence before the sound, so that times are those of the film
        self._open()
        first = self._first
        if first is None:
            self.close()
            raise DecodeError("there is no sound in it that can be decoded")
        self.rate, self.channels = first.rate, first.samples.shape[1]
        own = self._claimed_seconds()
        self._claimed = None if framed else claimed or (None if own is None else self._lead + own)
        self.frames = frames
        if frames is None and self._claimed is not None:
            self.frames = round(self._claimed * self.rate)
        self._limit = self.frames if self._trims() else None

    def _open(self) -> None:
        av = self._av
        address = isinstance(self._file, str)
        try:
            self._container = av.open(
                self._file if isinstance(self._file, str) else self._file(),
                format=self._format,
                options=self._options or {},
                timeout=(STALL_S, STALL_S) if address else None,
                **_tolerant(av),
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            raise DecodeError(_reason(error)) from error
        try:
            self._stream = self._chosen()
            if self._stream.codec_context is None:
                raise DecodeError("no decoder for its codec is installed")
            self._stream.codec_context.thread_count = 1
            self._chunks = self._decoded()
            self._at = 0
            self._began: float | None = None  # s of the container's clock at which the first frame begins
            self._fault: str | None = None
            self._first: Chunk | None = next(self._chunks, None)
            self._lead = self._lead_seconds()
            self._silent = 0 if self._first is None else round(self._lead * self._first.rate)
        except BaseException:
            self._container.close()
            raise

    def _chosen(self) -> Any:
        sounds = self._container.streams.audio
        self.tracks = len(sounds)
        if not sounds:
            pictures = len(self._container.streams.video)
            raise DecodeError("it holds only pictures, no sound" if pictures else "there is no sound in it")
        if self._track is None:
            return self._container.streams.best("audio") or sounds[0]
        if not 1 <= self._track <= len(sounds):
            raise UsageError(f"there is no track {self._track}: it has {len(sounds)}")
        return sounds[self._track - 1]

    def _claimed_seconds(self) -> float | None:
        """The length that the container states; None if it is only an estimate."""
        name = self._container.format.name.split(",")[0]
        stream = self._stream
        if name in _GUESSED:
            return None
        if name == "avi":
            return float(stream.frames * stream.time_base) if stream.frames and stream.time_base else None
        if name in ("matroska", "asf", "flv"):  # which state when it ends; it may begin after 0
            tags = stream.metadata.get("DURATION") or stream.metadata.get("DURATION-eng")
            if tags:
                end = _clock(tags)
                return None if end is None else end - self._start_seconds()
            alone = not self._container.streams.video and self.tracks == 1
            duration = self._container.duration
            return duration / self._av.time_base if alone and duration and duration > 0 else None
        if stream.duration and stream.duration > 0 and stream.time_base:
            return float(stream.duration * stream.time_base)
        return None

    def _lead_seconds(self) -> float:
        """How long after the beginning of the film the sound begins; 0 where that is not known, or means nothing."""
        if self._framed or isinstance(self._file, str):  # a radio begins where one joins it
            return 0.0
        others = [stream for stream in self._container.streams if stream != self._stream and _is_played(stream)]
        begins = [float(each.start_time * each.time_base) for each in others if each.start_time is not None]
        name = self._container.format.name
        if name.startswith("mov") and self._stream.frames:  # with an index: it counts from 0; pieces of a radio do not
            begins.append(0.0)
        lead = self._start_seconds() - min(begins) if begins else 0.0
        return lead if lead > _LEAD and not (name == "mpegts" and lead > _LONGEST_LEAD) else 0.0

    def _trims(self) -> bool:
        """Whether the container states the end of the sound to the sample, and the decoder returns more."""
        exact: bool = self._stream.time_base == Fraction(1, self.rate)
        return exact and self._container.format.name.startswith("mov")

    def _decoded(self, skip_until: float | None = None) -> Iterator[Chunk]:
        """Chunks from the container's position; after a seek, those from a second on (of the container's clock)."""
        av, bad = self._av, 0
        due: float | None = None  # s of the container's clock at which the next frame should begin
        self._cut = True  # until an error tells otherwise, a packet that cannot be decoded is the last one, not whole
        try:
            for packet in self._container.demux(self._stream):
                try:
                    frames = packet.decode()
                except av.InvalidDataError as error:
                    bad, self._damaged = bad + 1, self._damaged + 1
                    if bad > _BAD_PACKETS:
                        raise
                    self._fault = _reason(error)
                    continue
                except EOFError:
                    return
                for frame in frames:
                    bad = 0
                    self._fault = None
                    samples = _floats(frame)
                    self._began = frame.time if self._began is None else self._began
                    if due is not None and frame.time is not None and frame.time - due > _GAP and not self._framed:
                        self._first_gap = self._first_gap if self._missing else self._at / self.rate
                        self._missing += frame.time - due
                    due = None if frame.time is None else frame.time + len(samples) / frame.sample_rate
                    if skip_until is not None and frame.time is not None:
                        skip = round((skip_until - frame.time) * frame.sample_rate)
                        if skip >= len(samples):
                            continue
                        samples = samples[max(0, skip) :]
                        skip_until = None
                    if len(samples):
                        yield Chunk(samples, frame.sample_rate)
        except EOFError:
            return
        except IndexError:  # PyAV meets a stream that was not there at the beginning
            self._fault, self._cut = "another sound begins inside it", False
        except (av.FFmpegError, OSError, ValueError) as error:
            self._fault, self._cut = _reason(error), False

    def read(self, most: int) -> Chunk | None:
        if self._silent:
            count = min(most, self._silent, _SILENCE)
            self._silent, self._at = self._silent - count, self._at + count
            return Chunk(np.zeros((count, self.channels), np.float32), self.rate)
        chunk, self._first = self._first, None
        chunk = chunk or next(self._chunks, None)
        if chunk is not None and self._limit is not None and chunk.rate == self.rate:
            left = self._limit - self._at
            if len(chunk.samples) > left and self._goes_on(len(chunk.samples) - left):
                self._exceeded, self._limit = self._limit / self.rate, None
            elif left <= 0:
                return None
            else:
                chunk = Chunk(chunk.samples[:left], chunk.rate)
        if chunk is not None:
            self._at += round(len(chunk.samples) * self.rate / chunk.rate)
            return chunk
        decoded_s = self._at / self.rate
        if self._claimed is not None and decoded_s < self._claimed - _TOLERATED:
            raise BreaksOff(self._claimed)
        if self._at_end is not None and (error := self._at_end(decoded_s)) is not None:
            raise error
        if self._fault is not None and not self._framed and self._claimed is None:
            fault, self._fault = self._fault, None
            raise BreaksOff(None) if self._cut else DecodeError(fault)
        return None

    def _goes_on(self, over: int) -> bool:
        """Whether more sound follows than an encoder adds at the end, `over` frames of which have come."""
        ahead: list[Chunk] = []
        while over <= _TOLERATED * self.rate and (chunk := next(self._chunks, None)) is not None:
            ahead.append(chunk)
            over += len(chunk.samples)
        self._chunks = chain(ahead, self._chunks)
        return over > _TOLERATED * self.rate

    def seek(self, frame: int) -> int:
        seconds = frame / self.rate
        exact = self._format in _EXACT and self._seekable and seconds >= self._lead
        if exact and not 0 <= frame - self._at <= _NEAR * self.rate and seconds > _NEAR:
            place = self._start_seconds() - self._lead + seconds
            try:
                self._container.seek(int((place - _PREROLL) * self._av.time_base))
                self._chunks, self._at, self._silent = self._decoded(place), frame, 0
                self._first = next(self._chunks, None)
                if self._first is not None or self.frames is not None:
                    return frame
            except (self._av.FFmpegError, OSError):
                pass
            self._again()  # also beyond an end that was not known, which is found by decoding up to it
        if frame < self._at:
            self._again()
        while self._at < frame and (chunk := self.read(frame - self._at)) is not None:
            over = self._at - frame
            if over > 0:
                kept = round(over * chunk.rate / self.rate)
                self._first, self._at = Chunk(chunk.samples[-kept:], chunk.rate), frame
        return self._at

    def _start_seconds(self) -> float:
        """Of the first sound, by the container's clock. FFmpeg's own start of a stream is the container's where the
        stream begins further on than it looks."""
        return self._began or 0.0

    def _again(self) -> None:
        self._container.close()
        self._open()

    def close(self) -> None:
        self._container.close()

    @property
    def oddities(self) -> list[str]:
        """Sentences on what was odd about the sound so far."""
        odd = []
        if self._lead > _TOLERATED:
            odd.append(f"its sound begins {self._lead:.2f} s after the beginning; before it there is silence")
        if self._exceeded is not None:
            odd.append(f"its header claims {self._exceeded:.2f} s of sound, but there is more; all is read")
        if self._damaged:
            odd.append(f"{self._damaged:,} of its packets {_are(self._damaged)} damaged and left out")
        if self._missing:
            odd.append(
                f"by its time stamps {self._missing:.2f} s of sound are missing in it, from {self._first_gap:.2f} s on"
            )
        return odd

    @property
    def title(self) -> str | None:
        """The title that the container states."""
        tags = {key.lower(): value for key, value in self._container.metadata.items()}
        title = tags.get("streamtitle") or tags.get("title")
        return title and title.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def _is_played(stream: Any) -> bool:
    """Whether a stream is sound or moving pictures, not subtitles, data or a cover."""
    disposition = getattr(stream, "disposition", None)
    cover = disposition is not None and disposition.value & 0x400  # AV_DISPOSITION_ATTACHED_PIC
    return stream.type in ("audio", "video") and not cover


def _are(count: int) -> str:
    return "is" if count == 1 else "are"


def _floats(frame: Any) -> FloatArray:
    """A decoded frame as float32 [m, channels] in ±1.

    Raises:
        FFmpegError, ValueError: channels that cannot be brought together.
    """
    channels = frame.layout.nb_channels
    if frame.format.is_planar and channels >= _PLANES:
        packed = frame.format.packed.name
        (frame,) = _library().AudioResampler(packed, frame.layout, frame.sample_rate).resample(frame)
    array: NDArray[Any] = frame.to_ndarray()
    array = array.T if frame.format.is_planar else array.reshape(-1, channels)
    if array.dtype.kind == "f":
        return np.ascontiguousarray(array, np.float32)
    if array.dtype == np.uint8:
        return (array.astype(np.float32) - 128) / np.float32(128)
    return np.ascontiguousarray(array, np.float32) * np.float32(2.0 ** (1 - 8 * array.dtype.itemsize))


def _clock(text: str) -> float | None:
    """ "00:00:12.008000000" -> 12.008."""
    try:
        hours, minutes, seconds = text.split(":")
        return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
    except ValueError:
        return None


def _reason(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return "its data are damaged" if text.startswith("Error number") else printable(text).rstrip(".")
