"""The one reader: all sound of a file or pipe in any format, one sound after another, at the first one's rate.

A file's sounds are found before any is read, so that its length is known; a pipe's one after the other.
"""

import logging
import mmap
import os
import sys
import tempfile
import weakref
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from instrec_live.models.arrays import FloatArray
from instrec_live.realtime.audio.byte_input import (
    ByteInput,
    DecodeError,
    FileInput,
    SeekableSegmentFile,
    SegmentFile,
    SplitFile,
)
from instrec_live.realtime.audio.container import (
    AV_FORMATS,
    PCM_KINDS,
    READ,
    Found,
    foreign,
    identify,
    strong_kind,
)
from instrec_live.realtime.audio.decoders import (
    BreaksOff,
    Chunk,
    Decoder,
    PcmDecoder,
    SndfileDecoder,
    WithoutTail,
)
from instrec_live.realtime.audio.framing import (
    AGAIN,
    REACH,
    Mp3,
    OggPages,
    asf_seconds,
    flac_samples,
    id3_size,
    mpeg_frame,
    next_alike,
    next_container,
    next_sound,
    ogg_beginning,
    walk_mp3,
)
from instrec_live.realtime.audio.pcm import RAW, BadHeader, NotPcm, PcmLayout, data_end, goes_on, read_header
from instrec_live.realtime.audio.pieces import PIECES, PieceFile, skip_piece
from instrec_live.realtime.audio.source import why_not

Note = Callable[[str], None]

_CONVERT = f"{READ}; convert others, e.g. ffmpeg -i INPUT output.wav"
_TOLERATED = 0.1  # s that may be missing at the end of frames: what encoders add before and after is dropped
_PADDING = 2304  # samples: at a low rate these are longer
_MOST_SOUNDS = 10_000  # joined in one file
_FRAMED = frozenset(("MP3", "FLAC", "Ogg"))  # frames or pages that are followed here
_ROWS = frozenset(("AAC", "AC-3", "DTS", "MPEG-TS", "MPEG-PS"))  # frames of which two may be the same; FFmpeg reads on
_ALIKE = 12  # bytes that are the same at the beginning of two files of a kind without frames
_BEFORE_INDEX = 1 << 20  # bytes of an MP4 in a pipe within which its index must begin to be read as it comes

log = logging.getLogger(__name__)


class NotSound(Exception):  # noqa: N818 - becomes an InputFileError that names the file
    """There is no sound that is known, in words, and what can be done."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message, self.hint = message, hint


@dataclass(frozen=True)
class Sound:
    """One of the sounds that follow each other in an input.

    Attributes:
        kind: of its container.
        open: makes the decoder, at its beginning.
        frames: how many there are at its own rate, None if unknown.
        rate: Hz, 0 if unknown before it is opened.
    """

    kind: str
    open: Callable[[], Decoder]
    frames: int | None = None
    rate: int = 0


class Reader:
    """The sounds of an input as one, at the rate and with the channels of the first.

    Args:
        sounds: in order; of a pipe found while reading.
        can_seek: all of them can be opened again.
        note: called with a sentence if the sound differs from its header and is read all the same.

    Attributes:
        rate: Hz.
        channels: how many.
        kind: of the first container.
        frames: in all, at `rate`; None if not known.
        floats: the first sound is floats as they were written, of any scale.
        position: of the next frame that `read` gives.

    Raises:
        NotSound, DecodeError: there is none, or the first cannot be decoded.
    """

    def __init__(self, sounds: Iterator[Sound], can_seek: bool, note: Note) -> None:
        self._note = note
        self._list = list(sounds) if can_seek else []
        self._rest = iter(self._list) if can_seek else sounds
        self._sound = next(self._rest, None)
        if self._sound is None:
            raise NotSound("there is no sound in it")
        self.kind = self._sound.kind
        self._decoder = self._sound.open()
        self.rate, self.channels = self._decoder.rate, self._decoder.channels
        self._lengths = self._known_lengths() if can_seek else [None]
        known = [length for length in self._lengths if length is not None]
        self.floats = isinstance(self._decoder, PcmDecoder) and self._decoder.floats
        self.frames = sum(known) if len(known) == len(self._lengths) else None
        self.position = 0
        self._ready: list[FloatArray] = []
        self._waiting = 0  # frames in `_ready`
        self._resampler: Any = None
        self._resampled = 0  # its input rate
        self._inside = 0  # frames of the present sound, at its own rate
        self._before = 0  # frames at which the present sound begins
        self._closed = False

    def _known_lengths(self) -> list[int | None]:
        """Of each sound, in frames at the first one's rate."""
        lengths: list[int | None] = []
        for at, sound in enumerate(self._list):
            frames, rate = sound.frames, sound.rate
            if at == 0 and frames is None:
                frames, rate = self._decoder.frames, self.rate
            lengths.append(None if frames is None else round(frames * self.rate / (rate or self.rate)))
        return lengths

    def read(self, most: int) -> FloatArray:
        """The next frames, float32 [m, channels], m at most `most`, fewer only where a pipe has no more yet; none at
        the end.

        Raises:
            BreaksOff: the sound ends too early. What comes after an error is more of it, or the end.
            DecodeError: it cannot be decoded any further.
        """
        while self._waiting == 0 and self._decode(most):
            pass
        out: list[FloatArray] = []
        left = most
        while left > 0 and self._ready:
            block = self._ready.pop(0)
            if len(block) > left:
                self._ready.insert(0, block[left:])
                block = block[:left]
            out.append(block)
            left -= len(block)
        self._waiting -= most - left
        self.position += most - left
        return out[0] if len(out) == 1 else np.concatenate(out) if out else np.empty((0, self.channels), np.float32)

    def _decode(self, most: int) -> bool:
        """Take some more in; whether there may be more."""
        if self._closed or self._sound is None:
            return False
        try:
            chunk = self._decoder.read(most)
        except BreaksOff as error:
            before = self._before / self.rate
            ended = self._finish()
            if not ended:
                self._note(f"what begins at {before:.2f} s ends early, at {self._before / self.rate:.2f} s")
                return True  # another one follows
            raise BreaksOff(None if error.claimed is None else before + error.claimed) from None
        except DecodeError:
            self._finish()
            raise
        if chunk is not None:
            self._inside += len(chunk.samples)
            self._take(chunk)
            return True
        for sentence in getattr(self._decoder, "oddities", ()):
            self._note(sentence)
        return not self._finish()

    def _finish(self) -> bool:
        """Go to the next sound; whether there is none."""
        self._flush()
        self._decoder.close()
        self._before, self._inside = self.position + self._waiting, 0
        self._sound, following = None, next(self._rest, None)
        if following is not None:
            self._decoder = following.open()
            self._sound = following
        return following is None

    def _take(self, chunk: Chunk) -> None:
        samples = with_channels(chunk.samples, self.channels)
        if chunk.rate != (self._resampled or self.rate):
            self._flush()
            if chunk.rate != self.rate:
                self._resampled = chunk.rate
                self._resampler = soxr.ResampleStream(chunk.rate, self.rate, self.channels, dtype="float32")
        if self._resampler is not None:
            flat = samples[:, 0] if self.channels == 1 else samples
            samples = np.asarray(self._resampler.resample_chunk(flat), np.float32).reshape(-1, self.channels)
        self._add(samples)

    def _flush(self) -> None:
        if self._resampler is not None:
            empty = np.empty((0,) if self.channels == 1 else (0, self.channels), np.float32)
            rest = np.asarray(self._resampler.resample_chunk(empty, last=True), np.float32)
            self._resampler, self._resampled = None, 0
            self._add(rest.reshape(-1, self.channels))

    def _add(self, samples: FloatArray) -> None:
        if len(samples):
            self._ready.append(samples)
            self._waiting += len(samples)

    def seek(self, frame: int) -> None:
        """Continue from another frame of a file; from its end, where that comes first and was not known. See
        `position`.

        Raises:
            DecodeError: it cannot be read so far.
        """
        self._ready, self._waiting = [], 0
        self._resampler, self._resampled = None, 0
        begins, index = 0, 0
        for index, length in enumerate(self._lengths):
            if index + 1 == len(self._lengths) or length is None or frame < begins + length:
                break
            begins += length
        self._decoder.close()
        self._rest = iter(self._list[index + 1 :])
        self._sound = self._list[index]
        self._decoder = self._sound.open()
        if self._lengths[index] is None and index + 1 < len(self._lengths):  # its end is not known
            self._before, self._inside, self.position = begins, 0, begins
            while self.position < frame and len(self.read(min(frame - self.position, self.rate))):
                pass
            return
        inside = round((frame - begins) * self._decoder.rate / self.rate)
        reached = self._decoder.seek(inside)
        if reached < inside:
            frame = begins + round(reached * self.rate / self._decoder.rate)
        self._before, self._inside, self.position = begins, reached, frame

    def close(self) -> None:
        """Close the decoder."""
        self._closed = True
        self._decoder.close()


def with_channels(samples: FloatArray, channels: int) -> FloatArray:
    """float32 [m, any] -> [m, channels]: unchanged if the channels match, otherwise their mean on each."""
    if samples.shape[1] == channels:
        return samples
    return np.repeat(samples.mean(axis=1, keepdims=True, dtype=np.float32), channels, axis=1)


def is_known(head: bytes) -> bool:
    """Whether bytes begin a container, or a tag before one."""
    return strong_kind(head) is not None or head[:3] == b"ID3"


# -- files -------------------------------------------------------------------------------------------------------


def open_file(path: Path, track: int | None = None, note: Note = log.warning) -> Reader:
    """The reader of a regular file.

    Args:
        path: of it.
        track: which of several sounds of a film, from 1.
        note: called with a sentence if the file differs from its header and is read all the same.

    Raises:
        OSError: it cannot be opened.
        NotSound, DecodeError, UsageError: there is no sound in it that can be read, or it has no such track.
    """
    source = FileInput(path)
    try:
        sounds = list(_up_to_a_fault(_file_sounds(source, path, track, note), note))
        _check(track, sounds[0].kind if sounds else "")
        return _FileReader(iter(sounds), source, note)
    except BaseException:
        source.close()
        raise


def _up_to_a_fault(sounds: Iterator[Sound], note: Note, skip: Callable[[], object] = lambda: None) -> Iterator[Sound]:
    """Sounds up to one that is none, which is said; it is an error only where there is nothing before it.

    Args:
        sounds: in order.
        note: as of `open_file`.
        skip: passes over the rest, of a pipe.
    """
    count = 0
    try:
        for count, sound in enumerate(sounds, 1):  # noqa: B007 - counted for the error
            yield sound
    except NotSound as error:
        if not count:
            raise
        note(f"what follows its sound is skipped: it {error.message}")
        skip()


class _FileReader(Reader):
    """A reader that also closes its file."""

    def __init__(self, sounds: Iterator[Sound], source: FileInput, note: Note) -> None:
        super().__init__(sounds, True, note)
        self._source = source

    def close(self) -> None:
        super().close()
        self._source.close()


def _check(track: int | None, kind: str) -> None:
    from instrec_live.realtime.errors import UsageError

    if track is not None and track > 1 and (kind in PCM_KINDS or kind in _FRAMED or kind == RAW):
        raise UsageError(f"there is no track {track}: {kind} has 1")


def _file_sounds(source: FileInput, path: Path, track: int | None, note: Note) -> Iterator[Sound]:
    start: int | None = 0
    count, layout = 0, None
    while start is not None and start < source.size:
        source.seek(start)
        more = layout is not None and goes_on(source.peek(_HEAD), layout)
        found = Found(layout.kind, 0) if more and layout is not None else identify(source)
        if found is None:
            if count:
                if not _is_nothing(source):
                    note(f"{source.size - start:,} bytes at its end are not sound in a known format; they are skipped")
                return
            yield _exotic(source, path)
            return
        if (count := count + 1) > _MOST_SOUNDS:
            note(f"more than {_MOST_SOUNDS:,} sounds are joined in it; the rest is skipped")
            return
        begin = start + found.before
        source.seek(begin)
        if found.kind in PCM_KINDS:
            try:
                layout = read_header(source, found.kind, layout if more else None)
            except BadHeader as error:
                raise NotSound(f"is a damaged {found.kind} file: {error}", "is it truncated or overwritten?") from error
            except NotPcm:
                layout = None
                start = _container_end(source, found.kind, begin, note)
                yield _compressed(source, found.kind, begin, start, track)
                continue
            first = source.position
            stop, start = data_end(source, layout, is_known)
            if stop == source.size and first + (layout.claimed or 0) != stop:
                with _mapped(source) as data:
                    if (match := AGAIN[found.kind].search(data, first)) is not None:
                        stop = start = match.start()
            _plausible(layout.rate, layout.channels)
            yield _pcm(source, layout, first, stop, note)
            continue
        layout = None
        if found.kind in _FRAMED:
            with _mapped(source) as data:
                following = next_sound(data, begin + _own_bytes(found.kind, data, begin))
                stop = source.size if following is None else following
                alone = begin == 0 and stop == source.size and path.suffix.lower() != ".raw"
                yield _framed(source, path if alone else None, found.kind, data, begin, stop, note)
            start = following
        else:
            start = _container_end(source, found.kind, begin, note)
            yield _compressed(source, found.kind, begin, start, track, note)


def _container_end(source: FileInput, kind: str, begin: int, note: Note) -> int | None:
    """Where another sound begins behind a container that FFmpeg reads; None: none does."""
    source.seek(begin)
    piece = PIECES.get(kind)
    if piece is None:
        head = source.peek(_ALIKE)
        with _mapped(source) as data:
            return _finder(kind, head)(data, begin + _ALIKE)
    skip_piece(source, piece)
    at = source.position
    if at >= source.size:
        return None
    if identify(source) is not None:
        return at
    if not _is_nothing(source):
        note(f"from byte {at:,} on it is damaged, or something follows it that is not sound")
    return None


def _finder(kind: str, head: bytes) -> Callable[[Any, int], int | None]:
    """What finds the sound behind one of a kind that FFmpeg reads, and whose end it does not know: see `next_sound`."""
    return next_container if kind in _ROWS else next_alike(head)


def _is_nothing(source: ByteInput) -> bool:
    """Whether what is left of an input is only zeros, a tag that stands behind sound, or too short to be anything."""
    left = source.peek(_LOOK)
    tags = (b"TAG", b"APETAGEX", b"LYRICSBEGIN", b"ID3")
    return len(left) < 4 or left.startswith(tags) or not any(left)


def _mapped(source: FileInput) -> mmap.mmap:
    return mmap.mmap(source.fileno(), 0, access=mmap.ACCESS_READ)


def _own_bytes(kind: str, data: Any, begin: int) -> int:
    """Bytes from the beginning of a sound that cannot be the beginning of the next one."""
    if kind == "Ogg":
        return ogg_beginning(data, begin)
    if kind == "MP3":
        tag = id3_size(data, begin)
        frame = mpeg_frame(data, begin + tag)
        return tag + (frame.size if frame else 4)
    return 4


def _plausible(rate: int, channels: int) -> None:
    if fault := why_not(rate, channels):
        raise NotSound(f"claims {fault}", "is the file damaged?")


def _pcm(source: FileInput, layout: PcmLayout, first: int, stop: int, note: Note) -> Sound:
    def opened(note: Note = lambda _: None) -> Decoder:
        source.seek(first)
        return PcmDecoder(source, layout, is_known, note, stop)

    opened(note)
    return Sound(layout.kind, opened, (stop - first) // layout.frame_bytes, layout.rate)


def _framed(
    source: FileInput, path: Path | None, kind: str, data: mmap.mmap, begin: int, stop: int, note: Note
) -> Sound:
    """MP3, FLAC or Ogg. An Ogg that is a whole file libsndfile reads, which is there sooner; of an MP3 it guesses the
    length and speaks on stderr, of a cut FLAC it loses the last blocks."""
    if kind == "MP3":
        mp3 = walk_mp3(data, begin, stop)
        if not mp3.frames:
            raise NotSound("is an MP3 without one complete frame of sound")
        row = _mp3_row(mp3)
        frames = mp3.frames * mp3.samples - mp3.delay if mp3.steady else None
        if frames is not None and frames == row.whole:
            frames -= row.tail
    elif kind == "FLAC":
        row = _flac_row(data[begin : begin + 42])
        frames = row.frames
    else:
        pages = OggPages()
        for at in range(begin, stop, _LOOK):
            pages(data[at : min(stop, at + _LOOK)])
        if path is not None and pages.plain and pages.channels <= 2:  # of more, libsndfile has another order
            # As bytes, where names are bytes: soundfile would fail to encode one that is not UTF-8.
            name: Any = path if os.name == "nt" else os.fsencode(path)
            return Sound(kind, lambda: SndfileDecoder(name, stop - begin))
        row, frames = _ogg_row(pages, note), pages.frames if pages.plain else None
    seekable = kind != "MP3"  # in which FFmpeg would guess, and trim by a Xing frame that may be wrong
    segment = SeekableSegmentFile if seekable else SegmentFile
    return Sound(kind, lambda: row.opened(lambda: segment(source, begin, stop), kind, True, frames), frames, row.rate)


@dataclass(frozen=True, slots=True)
class Row:
    """What is claimed of a row of frames or pages.

    Attributes:
        rate: Hz, 0 if unknown.
        frames: that the header claims; None if it does not.
        claimed: seconds that there should be; None if not known.
        tail: frames after the sound that are dropped, if there are `whole` frames.
        whole: see `tail`.
        cut: whether, at the end, the last one is not whole.
    """

    rate: int = 0
    frames: int | None = None
    claimed: float | None = None
    tail: int = 0
    whole: int = 0
    cut: Callable[[], bool] = lambda: False

    def opened(self, file: Callable[[], Any], kind: str, seekable: bool, frames: int | None) -> Decoder:
        """FFmpeg's decoder of it."""
        from instrec_live.realtime.audio.av_decoder import AvDecoder

        decoder = AvDecoder(file, AV_FORMATS[kind], None, seekable, frames, framed=True, at_end=self._at_end)
        return WithoutTail(decoder, self.tail, self.whole) if self.tail else decoder

    def _at_end(self, decoded_s: float) -> Exception | None:
        tolerated = max(_TOLERATED, _PADDING / self.rate) if self.rate else _TOLERATED
        if self.claimed is not None and decoded_s < self.claimed - tolerated:
            return BreaksOff(self.claimed)
        return BreaksOff(None) if self.cut() else None


def _mp3_row(mp3: Mp3) -> Row:
    if mp3.claimed is None or not mp3.rate:
        return Row(mp3.rate)
    samples = mp3.claimed * mp3.samples
    return Row(mp3.rate, None, samples / mp3.rate, mp3.padding, samples - mp3.delay)


def _ogg_row(pages: OggPages, note: Note) -> Row:
    def ended() -> bool:
        if (fault := pages.fault) is not None:
            note(fault)
        return pages.cut

    return Row(pages.rate, cut=ended)


def _flac_row(head: bytes) -> Row:
    rate, frames = flac_samples(head) or (0, 0)
    return Row(rate, frames or None, frames / rate if frames and rate else None)


def _compressed(
    source: FileInput, kind: str, begin: int, stop: int | None, track: int | None, note: Note | None = None
) -> Sound:
    from instrec_live.realtime.audio.av_decoder import AvDecoder

    head = SeekableSegmentFile(source, begin, stop).read(_ASF_HEAD)
    claimed = asf_seconds(head) if kind == "ASF" else None
    guessed = kind in PCM_KINDS and head[8:12] == b"WAVE" and b"fact" not in head  # FFmpeg goes by the mean bit rate

    def opened(note: Note | None = None) -> Decoder:
        file = lambda: SeekableSegmentFile(source, begin, stop)  # noqa: E731
        at_end = _packets_are_whole(kind, lambda: (stop or source.size or begin) - begin)
        decoder = AvDecoder(file, AV_FORMATS[kind], track, True, framed=guessed, claimed=claimed, at_end=at_end)
        if note is not None:
            _note_tracks(decoder.tracks, track, note)
        return decoder

    first = [note]  # told once
    frames, rate = None, 0
    if begin:  # the reader opens only the first of several to learn its length
        try:
            decoder = opened()
            frames, rate = decoder.frames, decoder.rate
            decoder.close()
        except DecodeError:  # raised again where it is read
            pass
    return Sound(kind, lambda: opened(first.pop() if first else None), frames, rate)


def _exotic(source: FileInput, path: Path) -> Sound:
    """What has no signature that is known here: libsndfile knows some more."""
    head = source.peek(64)
    if (what := foreign(head)) is not None:
        raise NotSound(
            f"is not a sound file but {what}" if not what.startswith("compressed") else f"is {what}", _CONVERT
        )
    if path.suffix.lower() == ".raw":  # which libsndfile goes by
        raise NotSound("has no header that tells its rate and format", "pipe it in with --stdin --format and --rate")
    name: Any = path if os.name == "nt" else os.fsencode(path)
    try:
        decoder = SndfileDecoder(name, source.size)
    except DecodeError as error:
        raise NotSound(f"is not a sound file that can be read: {error}", _CONVERT) from error
    mp3 = decoder.format == "MP3"
    decoder.close()
    if mp3:  # behind junk; libsndfile's decoder of it speaks on stderr
        return Sound("MP3", lambda: Row().opened(lambda: SegmentFile(source, 0), "MP3", False, None))
    return Sound("other", lambda: SndfileDecoder(name, source.size))


# -- pipes -------------------------------------------------------------------------------------------------------


def open_pipe(source: ByteInput, raw: PcmLayout | None, track: int | None = None, note: Note = log.warning) -> Reader:
    """The reader of a byte stream.

    Args:
        source: at its first byte.
        raw: what samples without a header are; None: there are none.
        track: which of several sounds, from 1.
        note: as of `open_file`.

    Raises:
        NotSound, DecodeError, UsageError: as `open_file`.
    """
    sounds = _up_to_a_fault(_pipe_sounds(source, raw, track, note), note, lambda: source.skip(sys.maxsize))
    reader = Reader(sounds, False, note)
    _check(track, reader.kind)
    return reader


def _pipe_sounds(source: ByteInput, raw: PcmLayout | None, track: int | None, note: Note) -> Iterator[Sound]:
    from instrec_live.realtime.audio.container import may_be_strong

    count = 0
    start = source.peek(4)
    if not start:
        raise NotSound("nothing came through the pipe", "did the program before it fail?")
    if raw is not None and (not may_be_strong(start) or not is_known(source.peek(64))):
        yield Sound(raw.kind, lambda: PcmDecoder(source, raw, is_known, note))
        return
    while source.peek(1):
        found = identify(source)
        if found is None:
            if count:
                if not _is_nothing(source):
                    note("what follows its sound is not in a known format; it is skipped")
                return
            raise _unknown_in_pipe(source)
        count += 1
        source.skip(found.before)
        if found.kind in PCM_KINDS:
            source = yield from _piped_pcm(source, found.kind, track, note)
        elif found.kind in _FRAMED:
            yield from _piped_frames(source, found.kind, note)
        else:
            yield from _piped(source, found.kind, track, note)


def _piped_pcm(source: ByteInput, kind: str, track: int | None, note: Note) -> Generator[Sound, None, ByteInput]:
    """Gives the sounds of one container, and returns the input in which what follows it comes."""
    layout: PcmLayout | None = None
    while layout is None or goes_on(source.peek(_HEAD), layout):
        recorded = _Recorded(source)
        try:
            layout = read_header(recorded, kind, layout)
        except BadHeader as error:
            raise NotSound(f"is a damaged {kind} file: {error}") from error
        except NotPcm:
            whole = _Prefixed(recorded.taken, source)
            yield from _piped(whole, kind, track, note)
            return whole
        _plausible(layout.rate, layout.channels)
        yield Sound(kind, partial(PcmDecoder, source, layout, is_known, note))
    return source


def _piped_frames(source: ByteInput, kind: str, note: Note) -> Iterator[Sound]:
    head, pages = source.peek(4096), OggPages()
    if kind == "MP3":
        head = source.peek(id3_size(head) + 4096)
        row = _mp3_row(walk_mp3(head, 0, len(head)))
    else:
        row = _flac_row(head) if kind == "FLAC" else _ogg_row(pages, note)
    file = SplitFile(source, next_sound, _own_bytes(kind, head, 0), REACH, pages if kind == "Ogg" else lambda _: None)
    yield Sound(kind, lambda: row.opened(lambda: file, kind, False, None))
    _drain(file)


def _drain(file: Any) -> None:
    """What the decoder left unread, at its end or after an error, is not the beginning of another sound."""
    while file.read():
        pass


def _piped(source: ByteInput, kind: str, track: int | None, note: Note) -> Iterator[Sound]:
    from instrec_live.realtime.audio.av_decoder import AvDecoder

    begin, piece = source.position, PIECES.get(kind)
    spooled = _must_be_whole(source, kind)
    claimed = asf_seconds(source.peek(_ASF_HEAD)) if kind == "ASF" else None

    def ends() -> bool:
        if identify(source) is not None:
            return True
        if not _is_nothing(source):
            note(f"from byte {source.position - begin:,} on it is damaged, or something follows it that is not sound")
        return False

    if piece is not None:
        file: Any = PieceFile(source, piece, ends)
    else:
        file = SplitFile(source, _finder(kind, source.peek(_ALIKE)), _ALIKE, REACH)

    def opened() -> Decoder:
        whole = Spool(file) if spooled else file
        at_end = _packets_are_whole(kind, lambda: source.position - begin)
        decoder = AvDecoder(lambda: whole, AV_FORMATS[kind], track, spooled, claimed=claimed, at_end=at_end)
        _note_tracks(decoder.tracks, track, note)
        return decoder

    yield Sound(kind, opened)
    _drain(file)


def _packets_are_whole(kind: str, size: Callable[[], int]) -> Callable[[float], Exception | None] | None:
    """What tells at the end that an MPEG transport stream was cut: all its packets are of one size."""
    if kind != "MPEG-TS":
        return None
    return lambda _: BreaksOff(None) if all(size() % each for each in _TS_PACKETS) else None


_TS_PACKETS = (188, 192, 204)  # bytes; of cameras with a time code, of broadcasts with error correction
_FINAL_BLOCK = 0x1000  # flag of WavPack: no more channels follow
_ASF_HEAD = 4096  # bytes in which an ASF file says how long it plays
_HEAD = 64  # bytes that tell what begins
_LOOK = 1 << 16  # bytes that are looked at at once


def _must_be_whole(source: ByteInput, kind: str) -> bool:
    """Whether FFmpeg must seek in a container: in a CAF, whose packet table may follow the sound, and in a WavPack of
    more than two channels, which are in several blocks."""
    if kind == "WavPack":
        flags = int.from_bytes(source.peek(28)[24:], "little")
        return not flags & _FINAL_BLOCK
    return kind == "CAF" or (kind == "MP4" and _index_at_end(source))


def _index_at_end(source: ByteInput) -> bool:
    """Whether an MP4's sound comes before what is needed to decode it."""
    at = 0
    while len(head := source.peek(at + 16)[at:]) >= 16:
        size, name = int.from_bytes(head[:4], "big"), head[4:8]
        if name in (b"moov", b"moof"):
            return False
        if name == b"mdat" or size < 8 or at + size > _BEFORE_INDEX:
            return True
        at += size
    return True


class Spool(SeekableSegmentFile):
    """All of one container in a pipe, in a temporary file."""

    def __init__(self, source: PieceFile) -> None:
        kept = tempfile.NamedTemporaryFile(prefix="instrec-live-")  # noqa: SIM115 - closed when this is forgotten
        weakref.finalize(self, kept.close)
        while data := source.read(1 << 16):
            kept.write(data)
        kept.flush()
        whole = FileInput(Path(kept.name))
        weakref.finalize(self, whole.close)
        super().__init__(whole, 0)


def _note_tracks(tracks: int, track: int | None, note: Note) -> None:
    if track is None and tracks > 1:
        note(f"it has {tracks} sound tracks; one of them is used (--track)")


def _unknown_in_pipe(source: ByteInput) -> NotSound:
    head = source.peek(64)
    if (what := foreign(head)) is not None:
        what, _, advice = what.partition(": ")
        return NotSound(f"the piped data is {what}, not sound", advice or "did the program before it fail?")
    return NotSound(
        "the piped data does not begin like any known sound file",
        "raw PCM must be described: --format s16le --rate 44100 --channels 2",
    )


class _Recorded(ByteInput):
    """An input that keeps what was read from it, for another reader."""

    def __init__(self, source: ByteInput) -> None:
        super().__init__()
        self._source, self.taken = source, b""

    def _fetch(self, most: int) -> bytes:
        data = self._source.some(most)
        if len(self.taken) < 1 << 24:
            self.taken += data
        return data


class _Prefixed(ByteInput):
    """Bytes that were read already, and the rest of their input."""

    def __init__(self, before: bytes, source: ByteInput) -> None:
        super().__init__()
        self._ahead, self._source = before, source

    def _fetch(self, most: int) -> bytes:
        return self._source.some(most)
