"""Sound in frames or pages (MP3, ADTS, Ogg, FLAC): is it that, where does another one begin, and is it whole?

Pure functions of bytes, or of anything that is indexed and searched like bytes (a memory map).
"""

import mmap
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field

Bytes = bytes | mmap.mmap

SEARCHED = 1 << 16  # bytes within which the first frame must lie
_BIT_RATES = {  # kbit/s by (version is 1, layer)
    (True, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (True, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (True, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (False, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (False, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (False, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_FRAMES_IN_A_ROW = 3  # that make an MP3; chance makes one in a few thousand bytes


@dataclass(frozen=True, slots=True)
class MpegFrame:
    """A frame's header: bytes of the frame, samples of a channel in it, Hz, channels."""

    size: int
    samples: int
    rate: int
    channels: int


_headers: dict[int, MpegFrame | None] = {}


def mpeg_frame(data: Bytes, at: int) -> MpegFrame | None:
    """The header of an MPEG audio frame (layers I to III) at an index, or None where there is none."""
    if at + 4 > len(data) or data[at] != 0xFF:
        return None
    key = data[at + 1] << 16 | data[at + 2] << 8 | data[at + 3] & 0xC0
    if key not in _headers:
        _headers[key] = _parsed(data[at + 1], data[at + 2], data[at + 3])
    return _headers[key]


def _parsed(second: int, third: int, fourth: int) -> MpegFrame | None:
    version, layer = second >> 3 & 3, 4 - (second >> 1 & 3)
    bit_rate, rate = third >> 4, third >> 2 & 3
    if second & 0xE0 != 0xE0 or version == 1 or layer == 4 or bit_rate in (0, 15) or rate == 3:
        return None
    first = version == 3
    hz = (44_100, 48_000, 32_000)[rate] >> (0 if first else 1 if version == 2 else 2)
    bits = _BIT_RATES[first, layer][bit_rate - 1] * 1000
    samples = 384 if layer == 1 else 1152 if layer == 2 or first else 576
    padding = third >> 1 & 1
    size = (12 * bits // hz + padding) * 4 if layer == 1 else samples // 8 * bits // hz + padding
    return MpegFrame(size, samples, hz, 1 if fourth >> 6 == 3 else 2)


def id3_size(head: Bytes, at: int = 0) -> int:
    """Bytes of the ID3v2 tag that begins there, 0 where none does."""
    if head[at : at + 3] != b"ID3" or len(head) < at + 10 or head[at + 3] > 4 or max(head[at + 6 : at + 10]) > 127:
        return 0
    a, b, c, d = head[at + 6 : at + 10]
    return 10 + (a << 21 | b << 14 | c << 7 | d) + (10 if head[at + 5] & 0x10 else 0)


def first_mpeg_frame(data: Bytes, at: int = 0, stop: int | None = None) -> int | None:
    """Where MPEG audio begins: the first of three consecutive frames, or of all there are; None if there is none."""
    last = min(len(data), at + SEARCHED if stop is None else stop)
    while (at := data.find(b"\xff", at)) >= 0 and at < last:
        place, rows = at, 0
        first = frame = mpeg_frame(data, at)
        while frame is not None and first is not None and frame.rate == first.rate:
            rows, place = rows + 1, place + frame.size
            if rows == _FRAMES_IN_A_ROW or (place >= len(data) and rows > 1):
                return at
            frame = mpeg_frame(data, place)
        at += 1
    return None


def first_adts_frame(data: Bytes) -> int | None:
    """Where AAC in ADTS frames begins, as `first_mpeg_frame`."""
    at, last = 0, min(len(data), SEARCHED)
    while (at := data.find(b"\xff", at)) >= 0 and at < last:
        place, rows = at, 0
        while place + 7 <= len(data) and data[place] == 0xFF and data[place + 1] & 0xF6 == 0xF0:
            size = (data[place + 3] & 3) << 11 | data[place + 4] << 3 | data[place + 5] >> 5
            if size < 8 or data[place + 2] >> 2 & 15 > 12:
                break
            rows, place = rows + 1, place + size
            if rows == _FRAMES_IN_A_ROW or (place >= len(data) and rows > 1):
                return at
        at += 1
    return None


def is_transport_stream(data: Bytes) -> bool:
    """Whether these are MPEG-TS packets, of 188 bytes or, as cameras write them, of 192."""
    for first, packet in ((0, 188), (4, 192)):
        places = range(first, min(len(data), first + 5 * packet), packet)
        if len(places) >= 3 and all(data[at] == 0x47 for at in places):
            return True
    return False


# -- MP3 ---------------------------------------------------------------------------------------------------------

# What may follow another kind of sound in one file: WAV and FLAC, whose beginnings are long enough to be no chance.
_WAV = re.compile(rb"RIFF.{4}WAVE(?:fmt |JUNK|bext|LIST|fact)", re.DOTALL)
_FLAC = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
_XING = re.compile(rb"(?:Xing|Info)\x00\x00\x00[\x00-\x0f]")
XING_REACH = 48 + 8


def _first(data: Bytes, start: int, *patterns: re.Pattern[bytes]) -> int | None:
    """Where the first of some patterns begins. One after the other, as a literal prefix is found fast."""
    found = [match.start() for pattern in patterns if (match := pattern.search(data, start)) is not None]
    return min(found, default=None)


def next_mp3(data: Bytes, start: int) -> int | None:
    """Where another MP3 begins: the next frame that only describes what follows (Xing, Info); or a WAV or FLAC."""
    other = _first(data, start, _WAV, _FLAC)
    stop = len(data) if other is None else other
    for match in _XING.finditer(data, start, stop):
        for before in (36, 21, 13):
            at = match.start() - before
            if at >= start and mpeg_frame(data, at) is not None:
                return at
    return other


@dataclass(slots=True)
class Mp3:
    """What the frames of an MP3 contain. `claimed` is the Xing frame's count of all frames but itself.

    Attributes:
        frames: that carry sound.
        seconds: that they last.
        rate: Hz of the first.
        claimed: number of frames according to the Xing frame; None without one.
        delay: samples per channel before the sound (encoder and decoder delay), by the Xing frame; 0 without one.
        padding: samples after it.
        missing: bytes that the last frame lacks.
        steady: all frames have one rate and number of samples.
        samples: per channel and frame.
    """

    frames: int = 0
    seconds: float = 0.0
    rate: int = 0
    claimed: int | None = None
    delay: int = 0
    padding: int = 0
    missing: int = 0
    steady: bool = True
    samples: int = 0
    _seen: set[tuple[int, int]] = field(default_factory=set)


def walk_mp3(data: Bytes, start: int, stop: int) -> Mp3:
    """Go from frame to frame, over tags and junk, and see what there is."""
    mp3, at = Mp3(), start
    while at + 4 <= stop:
        frame = mpeg_frame(data, at)
        if frame is None:
            at = _next_frame(data, at, stop)
            continue
        if mp3.frames == 0 and mp3.claimed is None and _read_xing(data, at, frame, mp3):
            at += frame.size
            continue
        if at + frame.size > stop:
            mp3.missing = at + frame.size - stop
            break
        mp3.frames += 1
        mp3.seconds += frame.samples / frame.rate
        mp3._seen.add((frame.rate, frame.samples))
        if not mp3.rate:
            mp3.rate, mp3.samples = frame.rate, frame.samples
        at += frame.size
    mp3.steady = len(mp3._seen) <= 1
    return mp3


def _next_frame(data: Bytes, at: int, stop: int) -> int:
    """The index of the next frame after other bytes."""
    if (tag := id3_size(data, at)) > 0:
        return at + tag
    if data[at : at + 3] == b"TAG" and at + 128 >= stop:
        return stop
    if data[at : at + 8] == b"APETAGEX" and len(data) >= at + 16:
        size = int.from_bytes(data[at + 12 : at + 16], "little") + 32
        return at + size
    found = first_mpeg_frame(data, at + 1, stop)
    return stop if found is None else found


def _read_xing(data: Bytes, at: int, frame: MpegFrame, mp3: Mp3) -> bool:
    for before in (36, 21, 13):
        tag = at + before
        if data[tag : tag + 4] in (b"Xing", b"Info"):
            flags = int.from_bytes(data[tag + 4 : tag + 8], "big")
            mp3.claimed = int.from_bytes(data[tag + 8 : tag + 12], "big") if flags & 1 else None
            lame = tag + 8 + 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1) + 4 * (flags >> 3 & 1)
            if data[lame : lame + 4] in (b"LAME", b"Lavf", b"Lavc") and lame + 24 <= at + frame.size:
                gap = int.from_bytes(data[lame + 21 : lame + 24], "big")
                mp3.delay, mp3.padding = (gap >> 12) + 529, max(0, (gap & 0xFFF) - 529)
            return True
    if data[at + 36 : at + 40] == b"VBRI":
        mp3.claimed = int.from_bytes(data[at + 50 : at + 54], "big")
        return True
    return False


# -- FLAC --------------------------------------------------------------------------------------------------------

FLAC_REACH = 20


def next_flac(data: Bytes, start: int) -> int | None:
    """Where another FLAC begins, or a WAV."""
    return _first(data, start, _FLAC, _WAV)


def flac_samples(head: Bytes) -> tuple[int, int] | None:
    """Rate, Hz, and samples of a channel, 0 if unknown, that a FLAC's first 42 bytes claim; None if they are none."""
    if len(head) < 42 or _FLAC.match(head) is None:
        return None
    word = int.from_bytes(head[18:26], "big")
    return word >> 44, word & (1 << 36) - 1


# -- Ogg ---------------------------------------------------------------------------------------------------------

_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def asf_seconds(head: bytes) -> float | None:
    """How long the header of an ASF file (WMA) says that it plays; FFmpeg takes what is there of a cut one for all."""
    at = head.find(_ASF_PROPERTIES)
    if at < 0 or len(head) < at + 92:
        return None
    plays, _, preroll, flags = struct.unpack_from("<QQQI", head, at + 64)
    seconds: float = plays / 1e7 - preroll / 1e3
    return seconds if seconds > 0 and not flags & 1 else None  # 1: a broadcast, of no length


_OGG_BEGINS = re.compile(rb"OggS\x00[\x02\x03\x06\x07]")
OGG_REACH = 27


def ogg_page(data: Bytes, at: int) -> int | None:
    """Size of the Ogg page there, according to its header; None if there is none."""
    if data[at : at + 5] != b"OggS\x00" or at + 27 > len(data):
        return None
    lacing = data[at + 27 : at + 27 + data[at + 26]]
    return 27 + data[at + 26] + sum(lacing)


def ogg_beginning(data: Bytes, at: int = 0) -> int:
    """Bytes of the pages with which the streams of one Ogg begin together."""
    place = at
    while data[place + 5 : place + 6] and data[place + 5] & 2 and (size := ogg_page(data, place)) is not None:
        place += size
    return max(4, place - at)


def next_ogg(data: Bytes, start: int) -> int | None:
    """Where another Ogg begins, or a WAV."""
    return _first(data, start, _OGG_BEGINS, _WAV)  # a FLAC may lie inside an Ogg


@dataclass(frozen=True, slots=True)
class Ogg:
    """What the pages of one link of an Ogg contain.

    Attributes:
        plain: one stream, of Vorbis or Opus, from its first page to its last, with nothing left out.
        missing: bytes of the last page that are not there.
        ended: its last page is marked as the last.
        rate, frames: of a plain one, Hz and frames in all; 0 of others.
    """

    plain: bool
    missing: int
    ended: bool
    rate: int = 0
    frames: int = 0


def walk_ogg(data: Bytes, start: int, stop: int) -> Ogg:
    """Go from page to page."""
    at, number, plain, ended, missing = start, 0, True, False, 0
    serial = data[start + 14 : start + 18]
    body = start + 27 + data[start + 26] if start + 27 <= len(data) else start
    rate = before = granule = 0
    if data[body + 1 : body + 7] == b"vorbis":
        rate = int.from_bytes(data[body + 12 : body + 16], "little")
    elif data[body : body + 8] == b"OpusHead":
        rate, before = 48_000, int.from_bytes(data[body + 10 : body + 12], "little")
    plain = rate > 0
    while at < stop:
        size = ogg_page(data, at)
        if size is None:
            missing = stop - at if data[at : at + 4] == b"OggS"[: stop - at] else 0
            found = data.find(b"OggS\x00", at + 1)
            plain = False
            if missing or not 0 <= found < stop:
                break
            at = found
            continue
        if at + size > stop:
            missing = at + size - stop
            break
        own = data[at + 14 : at + 18] == serial
        plain = plain and own and int.from_bytes(data[at + 18 : at + 22], "little") == number
        ended = ended or (own and bool(data[at + 5] & 4))
        if own and data[at + 6 : at + 14] != b"\xff" * 8:  # on this page a packet ends
            granule = int.from_bytes(data[at + 6 : at + 14], "little")
        number, at = number + 1, at + size
    if not plain or not ended or missing:
        return Ogg(False, missing, ended)
    return Ogg(True, 0, True, rate, max(0, granule - before))


class PageCounter:
    """Follows the pages of an Ogg in a pipe, to know at the end whether the last one is whole."""

    def __init__(self) -> None:
        self._head, self._left = b"", 0
        self._lost = False

    def __call__(self, data: bytes) -> None:
        """The next bytes."""
        at = 0
        while at < len(data) and not self._lost:
            if self._left:
                passed = min(self._left, len(data) - at)
                self._left, at = self._left - passed, at + passed
                continue
            wanted = 27 if len(self._head) < 27 else 27 + self._head[26]
            more = data[at : at + wanted - len(self._head)]
            self._head, at = self._head + more, at + len(more)
            if len(self._head) >= 27 and len(self._head) == 27 + self._head[26]:
                size = ogg_page(self._head, 0)
                self._lost = size is None
                self._left, self._head = (size or 0) - len(self._head), b""

    @property
    def cut(self) -> bool:
        """Whether the last page is not whole."""
        return not self._lost and (bool(self._head) or self._left > 0)


#: What may be concatenated, the bytes that identify it, and how many of them must be seen together.
NEXT: dict[str, tuple[Callable[[Bytes, int], int | None], int]] = {
    "MP3": (next_mp3, XING_REACH),
    "FLAC": (next_flac, FLAC_REACH),
    "Ogg": (next_ogg, OGG_REACH),
}
