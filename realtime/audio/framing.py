"""Sound in frames or pages (MP3, ADTS, Ogg, FLAC): is it that, where does another one begin, and is it whole?

Pure functions of bytes, or of anything that is indexed and searched like bytes (a memory map).
"""

import mmap
import re
import struct
import zlib
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


# -- sounds that follow each other -----------------------------------------------------------------------------------

# Beginnings that are long enough to be no chance.
_WAV = re.compile(rb"RIFF.{4}WAVE(?:fmt |JUNK|bext|LIST|fact)", re.DOTALL)
_FLAC = re.compile(rb"fLaC[\x00\x80]\x00\x00\x22")
_OGG = re.compile(rb"OggS\x00[\x02\x03\x06\x07]")
_MP4 = re.compile(rb"\x00\x00\x00[\x10-\x80]ftyp[A-Za-z0-9 _]{4}")
_ID3 = re.compile(rb"ID3[\x02-\x04]\x00[\x00\x40\x80\xc0][\x00-\x7f]{4}(?!PRIV)[A-Z][A-Z0-9]{2}")  # PRIV: of HLS
_CONTAINERS = (_WAV, _FLAC, _OGG, _MP4)
_MATROSKA = re.compile(rb"\x1a\x45\xdf\xa3[\x01-\xff].{0,40}\x42\x82.(?:matroska|webm)", re.DOTALL)
_ASF = re.compile(re.escape(bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")))
_XING = re.compile(rb"(?:Xing|Info)\x00\x00\x00[\x00-\x0f]")
REACH = 48 + 8  # bytes that must be seen together for a beginning to be found

#: What uncompressed sound begins with, if it is found inside another of the same kind, whose length is not known.
AGAIN: dict[str, re.Pattern[bytes]] = {
    "WAV": _WAV,
    **{name: re.compile(name.encode() + rb".{4}WAVE[A-Za-z0-9 ]{4}", re.DOTALL) for name in ("RIFX", "RF64", "BW64")},
    "W64": re.compile(rb"riff\x2e\x91\xcf\x11\xa5\xd6\x28\xdb"),
    "AIFF": re.compile(rb"FORM.{4}AIF[FC][A-Z]{4}", re.DOTALL),
    "AU": re.compile(rb"\.snd\x00\x00..[^\x00].{3}\x00\x00\x00[\x01-\x1b]\x00...\x00\x00\x00.", re.DOTALL),
    "CAF": re.compile(rb"caff\x00.\x00.desc\x00{7}\x20", re.DOTALL),
}


def _first(data: Bytes, start: int, *patterns: re.Pattern[bytes]) -> int | None:
    """Where the first of some patterns begins. One after the other, as a literal prefix is found fast."""
    found = [match.start() for pattern in patterns if (match := pattern.search(data, start)) is not None]
    return min(found, default=None)


def next_sound(data: Bytes, start: int) -> int | None:
    """Where another sound begins in a row of frames or pages: a WAV, FLAC, Ogg or MP4, the tag of an MP3, or its frame
    that only describes what follows (Xing, Info)."""
    other = _first(data, start, *_CONTAINERS, _ID3)
    for match in _XING.finditer(data, start, len(data) if other is None else other):
        for before in (36, 21, 13):
            at = match.start() - before
            if at >= start and mpeg_frame(data, at) is not None:
                return at
    return other


def next_container(data: Bytes, start: int) -> int | None:
    """As `next_sound`, with all containers, which takes longer, but without MP3: a film may hold tags."""
    return _first(data, start, *_CONTAINERS, *AGAIN.values(), _MATROSKA, _ASF)


def next_alike(head: bytes) -> Callable[[Bytes, int], int | None]:
    """A finder, as `next_container`, that also finds another file with this beginning, of a kind without frames."""

    def found(data: Bytes, start: int) -> int | None:
        other, same = next_container(data, start), data.find(head, start)
        return other if same < 0 else same if other is None else min(same, other)

    return found


# -- MP3 ---------------------------------------------------------------------------------------------------------


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


def flac_samples(head: Bytes) -> tuple[int, int] | None:
    """Rate, Hz, and samples of a channel, 0 if unknown, that a FLAC's first 42 bytes claim; None if they are none."""
    if len(head) < 42 or _FLAC.match(head) is None:
        return None
    word = int.from_bytes(head[18:26], "big")
    return word >> 44, word & (1 << 36) - 1


# -- ASF ---------------------------------------------------------------------------------------------------------

_ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def asf_seconds(head: bytes) -> float | None:
    """How long the header of an ASF file (WMA) says that it plays; FFmpeg takes what is there of a cut one for all."""
    at = head.find(_ASF_PROPERTIES)
    if at < 0 or len(head) < at + 92:
        return None
    plays, _, preroll, flags = struct.unpack_from("<QQQI", head, at + 64)
    seconds: float = plays / 1e7 - preroll / 1e3
    return seconds if seconds > 0 and not flags & 1 else None  # 1: a broadcast, of no length


# -- Ogg ---------------------------------------------------------------------------------------------------------

_PAGE = 27  # bytes of a page's head, before its lacing
_NO_PACKET = 0xFFFFFFFFFFFFFFFF  # the granule of a page on which no packet ends
_BITS = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_OGG_SOUND = (b"\x01vorbis", b"OpusHead", b"\x7fFLAC", b"fLaC", b"Speex")


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


class OggPages:
    """Follows the pages of one link of an Ogg: is its sound all there, in order and undamaged?

    Attributes:
        rate: Hz of a first stream of Vorbis or Opus; 0 of others.
        channels: of that stream.
        frames: of that stream, up to its last whole page.
    """

    def __init__(self) -> None:
        self.rate = self.channels = self.frames = 0
        self._ahead = b""
        self._silent: set[int] = set()  # serials of streams that are no sound
        self._next: dict[int, int] = {}  # of each stream with sound, the number of the page that should come
        self._ended: set[int] = set()
        self._serial = self._skipped = 0  # of the first stream: its serial, and samples that are dropped at first
        self._played: set[int] = set()  # streams of which sound has come, not only their heads
        self._faults = {"missing": 0, "damaged": 0, "repeated": 0}
        self._first_fault: float | None = None
        self._odd = False  # junk between pages, several streams, a beginning in the middle

    def __call__(self, data: bytes) -> None:
        """The next bytes."""
        data, at = self._ahead + data, 0
        while len(data) - at >= _PAGE:
            if data[at : at + 5] != b"OggS\0":
                self._odd = True
                found = data.find(b"OggS\0", at + 1)
                at = found if found >= 0 else len(data) - 4
                continue
            body = at + _PAGE + data[at + 26]
            size = body - at + sum(data[at + _PAGE : body])
            if len(data) < body or len(data) < at + size:
                break
            page = data[at : at + size]
            whole = _ogg_checksum(page) == int.from_bytes(page[22:26], "little")
            self._see(page, page[_PAGE + page[26] :], whole)
            at += size if whole else 4
        self._ahead = data[at:]

    def _see(self, page: bytes, body: bytes, whole: bool) -> None:
        granule, serial, number = struct.unpack_from("<QII", page, 6)
        if serial in self._silent:
            return
        if not whole:
            self._fault("damaged", 1)
            if self._next.get(serial) == number:
                self._next[serial] += 1
            return
        expected = self._next.get(serial)
        if expected is None and page[5] & 2 and not body.startswith(_OGG_SOUND):
            self._silent.add(serial)
            self._odd = True
            return
        if expected is None:
            self._begin(serial, body)
        elif number < expected:
            self._fault("repeated", 1)
            return
        elif number > expected and serial in self._played:
            self._fault("missing", number - expected)
        elif number > expected:  # a dump of a radio: its head, and what comes from then on
            self._odd = True
        self._next[serial] = number + 1
        if granule not in (0, _NO_PACKET):
            self._played.add(serial)
            if serial == self._serial:
                self.frames = max(0, granule - self._skipped)
        if page[5] & 4:
            self._ended.add(serial)

    def _begin(self, serial: int, body: bytes) -> None:
        self._odd = self._odd or bool(self._next)
        if self._next:
            return
        self._serial = serial
        if body[1:7] == b"vorbis":
            self.rate, self.channels = int.from_bytes(body[12:16], "little"), body[11]
        elif body[:8] == b"OpusHead":
            self.rate, self.channels, self._skipped = 48_000, body[9], int.from_bytes(body[10:12], "little")

    def _fault(self, kind: str, count: int) -> None:
        self._faults[kind] += count
        if self._first_fault is None and self.rate and not self._odd:
            self._first_fault = self.frames / self.rate

    @property
    def cut(self) -> bool:
        """Whether the last page is not whole."""
        return bool(self._ahead) and self._ahead[:4] == b"OggS"[: len(self._ahead)]

    @property
    def plain(self) -> bool:
        """Whether it is one stream, of Vorbis or Opus, from its first page to its last, with nothing else."""
        return self.rate > 0 and not self._odd and not self._ahead and self.fault is None

    @property
    def fault(self) -> str | None:
        """A sentence on what is wrong with the pages up to the last whole one, or None."""
        if any(self._faults.values()):
            counts = ", ".join(f"{count:,} {kind}" for kind, count in self._faults.items() if count)
            where = "" if self._first_fault is None else f", the first at {self._first_fault:.2f} s"
            return f"its pages are not in order ({counts}{where}): sound is lost or repeated there"
        if set(self._next) - self._ended and not self.cut:
            return "it has no end mark, so its end may be missing"
        return None


def _ogg_checksum(page: bytes) -> int:
    """CRC-32 of a page with its own checksum as zeros. Ogg's has zlib's polynomial, but takes each byte's highest bit
    first and begins with 0."""
    mirrored = (page[:22] + bytes(4) + page[26:]).translate(_BITS)
    return int(f"{zlib.crc32(mirrored, 0xFFFFFFFF) ^ 0xFFFFFFFF:032b}"[::-1], 2)
