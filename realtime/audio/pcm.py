"""Uncompressed sound: the headers of WAV and its relatives, AIFF, AU and CAF, and the samples after them."""

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from instrec_live.models.arrays import FloatArray
from instrec_live.realtime.audio.byte_input import ByteInput, FileInput

# A program that pipes does not know how many bytes come, and claims so many or more; 0 and -1 say the same.
RAW = "raw PCM"  # the kind of samples without a header
ENDLESS = 0x7FFF0000
_CHUNK_NAME = re.compile(rb"[A-Za-z0-9_(][A-Za-z0-9 _.)+\-]{3}")
_LONGEST_FORMAT = 1 << 16  # bytes
_LONGEST_CHUNK = 1 << 30  # bytes of a chunk that is passed over in a pipe
_FEW = 0.05  # s: what follows the sound for less than that, and is no chunk, is taken for no sound
_MOST = 1 << 20  # bytes of it: the header may claim any rate
_W64_RIFF = bytes.fromhex("72696666 2e91cf11 a5d628db 04c10000")
_W64_TAIL = bytes.fromhex("f3acd311 8cd100c0 4f8edb8a")
# of a chunk, by container, where it is not as in WAV: bytes before its content, and names
_HEAD = {"W64": 24, "CAF": 12}
_SOUND = {"AIFF": b"SSND"}
_FORMAT = {"AIFF": b"COMM", "CAF": b"desc"}
_TAGS = {1: "int", 3: "float", 6: "alaw", 7: "ulaw"}  # WAVE_FORMAT_…
_AU = {1: ("ulaw", 1), 2: ("int", 1), 3: ("int", 2), 4: ("int", 3), 5: ("int", 4), 6: ("float", 4), 7: ("float", 8),
       27: ("alaw", 1)}  # fmt: skip


class NotPcm(Exception):  # noqa: N818 - not an error: another decoder reads it
    """The container is valid, but its content is compressed."""


class BadHeader(Exception):  # noqa: N818 - becomes an InputFileError that names the file
    """A header that makes no sense, in words."""


@dataclass(frozen=True, slots=True)
class PcmLayout:
    """How samples lie.

    Attributes:
        kind: of the container: "WAV", "AIFF", …
        rate: Hz.
        channels: how many.
        encoding: "int", "uint", "float", "ulaw" or "alaw".
        width: bytes from one sample to the next.
        bits: that count of an int; the rest of it is zero or padding.
        big: the most significant byte comes first.
        claimed: bytes of sound that the header claims; None if it does not say.
    """

    kind: str
    rate: int
    channels: int
    encoding: str
    width: int
    bits: int
    big: bool
    claimed: int | None

    @property
    def frame_bytes(self) -> int:
        return self.width * self.channels


def raw_layout(sample_format: str, rate: int, channels: int) -> PcmLayout:
    """Samples without a header: `s16le`, `s24le`, `s32le`, `f32le`."""
    bits = int(sample_format[1:3])
    encoding = "float" if sample_format[0] == "f" else "int"
    return PcmLayout(RAW, rate, channels, encoding, bits // 8, bits, False, None)


# -- headers -----------------------------------------------------------------------------------------------------


def read_header(source: ByteInput, kind: str, before: PcmLayout | None = None) -> PcmLayout:
    """Read on to the first sample.

    Args:
        source: at the first byte of the container, or at one of its chunks, see `goes_on`.
        kind: WAV, RIFX, RF64, BW64, W64, AIFF, AU or CAF.
        before: layout of the sound before it in the same container; None: it is the first.

    Raises:
        NotPcm: the sound in it is compressed.
        BadHeader: the header makes no sense or ends before the sound begins.
    """
    if kind == "AU":
        return _au(source)
    if before is None:
        source.read({"W64": 40, "CAF": 8}.get(kind, 12))
    layout, compressed = before, False
    long_size: int | None = None
    while True:
        head = source.read(_HEAD.get(kind, 8))
        if len(head) < _HEAD.get(kind, 8):
            raise BadHeader("the file ends before its sound begins")
        name, size, padding = _chunk(head, kind)
        if name == _SOUND.get(kind, b"data"):
            if compressed:
                raise NotPcm
            if layout is None:
                raise BadHeader("its sound comes before its format description")
            return replace(layout, claimed=_claimed(source, kind, size, long_size))
        if name == _FORMAT.get(kind, b"fmt "):
            if size > _LONGEST_FORMAT:  # for which a decoder would make room
                raise BadHeader("its format description is too long")
            body = source.read(min(max(size, 0), 1 << 12))
            try:
                layout = _layout(body, kind)
            except NotPcm:
                compressed = True  # the chunks up to its sound are still looked at: another reader believes them
            source.skip(max(0, size - len(body)) + padding)
        elif name == b"ds64" and size >= 16:
            body = source.read(16)
            (long_size,) = struct.unpack_from("<Q", body, 8) if len(body) == 16 else (None,)
            source.skip(size - 16 + padding)
        elif name == b"LIST" and source.peek(4) == b"wavl":
            raise BadHeader("its sound is a list of pieces and silences (wavl), which is not read")
        elif size < 0 or source.skip(size + padding) < size:
            raise BadHeader("the file ends before its sound begins")


def goes_on(head: bytes, layout: PcmLayout) -> bool:
    """Whether bytes behind some sound begin a chunk of the same container with more of it, or with its format."""
    kind = layout.kind
    if kind in (RAW, "AU") or len(head) < 8 or (kind == "W64" and head[4:16] != _W64_TAIL):
        return False
    return head[:4] in (_SOUND.get(kind, b"data"), _FORMAT.get(kind, b"fmt "))


def _chunk(head: bytes, kind: str) -> tuple[bytes, int, int]:
    """Name, bytes and padding of the chunk with this head; -1 bytes: up to the end (in CAF)."""
    if kind == "W64":
        size = max(0, int.from_bytes(head[16:24], "little") - 24)
        return head[:4], size, -size % 8
    if kind == "CAF":
        return head[:4], int.from_bytes(head[4:12], "big", signed=True), 0
    size = int.from_bytes(head[4:8], "big" if kind in ("AIFF", "RIFX") else "little")
    return head[:4], size, size % 2


def _claimed(source: ByteInput, kind: str, size: int, long_size: int | None) -> int | None:
    """Read what stands before the samples in their chunk. Bytes of samples that it claims; None: up to the end."""
    if kind == "AIFF":
        offset = int.from_bytes(source.read(8)[:4], "big")
        source.skip(offset)
        return max(0, size - 8 - offset) if size else 0
    if kind == "CAF":
        source.read(4)  # the number of edits
        return None if size < 0 else max(0, size - 4)
    return long_size if long_size is not None and size == 0xFFFFFFFF else size


def _layout(body: bytes, kind: str) -> PcmLayout:
    """Of a format description; NotPcm and BadHeader as `read_header`."""
    least = {"AIFF": 18, "CAF": 32}.get(kind, 16)
    if len(body) < least:
        raise BadHeader("its format description is cut short")
    if kind == "AIFF":
        return _aiff_format(body)
    if kind == "CAF":
        return _caf_format(body)
    return _wave_format(body, ">" if kind == "RIFX" else "<", kind)


def _wave_format(body: bytes, order: str, kind: str) -> PcmLayout:
    tag, channels, rate, _, align, bits = struct.unpack_from(f"{order}HHIIHH", body)
    if tag == 0xFFFE and len(body) >= 26:  # extensible: the tag proper comes later
        (tag,) = struct.unpack_from(f"{order}H", body, 24)
    encoding = _TAGS.get(tag)
    if encoding is None:
        raise NotPcm
    least = (bits + 7) // 8
    width = align // channels if channels and align % channels == 0 else least
    if not least <= width <= 8:
        width = least
    if encoding == "int" and bits <= 8 and width == 1:
        encoding = "uint"
    return _checked(PcmLayout(kind, rate, channels, encoding, width, bits, order == ">", None))


def _aiff_format(body: bytes) -> PcmLayout:
    channels, _, bits = struct.unpack_from(">HIH", body)
    rate = _extended(body[8:18])
    code = body[18:22] if len(body) >= 22 else b"NONE"  # as in AIFF; that in AIFC is longer
    kinds = {b"NONE": "int", b"twos": "int", b"in24": "int", b"in32": "int", b"sowt": "int", b"fl32": "float",
             b"FL32": "float", b"fl64": "float", b"FL64": "float", b"ulaw": "ulaw", b"ULAW": "ulaw",
             b"alaw": "alaw", b"ALAW": "alaw", b"raw ": "uint"}  # fmt: skip
    if code not in kinds:
        raise NotPcm
    encoding = kinds[code]
    bits = {b"fl32": 32, b"FL32": 32, b"fl64": 64, b"FL64": 64, b"in24": 24, b"in32": 32}.get(code, bits)
    width = 1 if encoding in ("ulaw", "alaw") else (bits + 7) // 8
    return _checked(PcmLayout("AIFF", rate, channels, encoding, width, bits, code != b"sowt", None))


def _extended(ten: bytes) -> int:
    """An 80-bit floating point number, rounded; 0 if it cannot be a rate."""
    exponent, mantissa = struct.unpack(">HQ", ten)
    shift = (exponent & 0x7FFF) - 16383 - 63
    return round(mantissa * 2.0**shift) if -64 < shift < 0 else 0


def _au(source: ByteInput) -> PcmLayout:
    head = source.read(24)
    if len(head) < 24:
        raise BadHeader("the file ends before its sound begins")
    big = head[:4] == b".snd"
    offset, size, code, rate, channels = struct.unpack(">5I" if big else "<5I", head[4:])
    if code not in _AU:
        raise NotPcm
    encoding, width = _AU[code]
    source.skip(max(0, offset - 24))
    claimed = None if size == 0xFFFFFFFF else size
    return _checked(PcmLayout("AU", rate, channels, encoding, width, 8 * width, big, claimed))


def _caf_format(body: bytes) -> PcmLayout:
    rate, code, flags, packet, _, channels, bits = struct.unpack_from(">d4sIIIII", body)
    encoding = {b"lpcm": "float" if flags & 1 else "int", b"ulaw": "ulaw", b"alaw": "alaw"}.get(code)
    if encoding is None:
        raise NotPcm
    least = (bits + 7) // 8
    width = packet // channels if channels and packet % channels == 0 and packet else least
    hz = round(rate) if 0 < rate < 1e9 else 0
    return _checked(PcmLayout("CAF", hz, channels, encoding, width, bits, not flags & 2, None))


def _checked(layout: PcmLayout) -> PcmLayout:
    sizes = {"float": (4, 8), "ulaw": (1,), "alaw": (1,), "uint": (1,), "int": (1, 2, 3, 4, 8)}[layout.encoding]
    if layout.channels == 0:
        raise BadHeader("it claims 0 channels")
    if layout.width not in sizes or (layout.encoding in ("int", "uint") and not 1 <= layout.bits <= 8 * layout.width):
        raise BadHeader(f"samples of {layout.bits} bits in {layout.width} bytes are not read")
    return layout


# -- where it ends -----------------------------------------------------------------------------------------------


def what_follows(source: ByteInput, layout: PcmLayout, is_known: Callable[[bytes], bool]) -> str:
    """What stands where the claimed sound ends: "sound" that goes on, or "another" with a header or a chunk of its own,
    nothing, or what is no sound: the source then stands there. Chunks without sound are passed over.

    Args:
        source: behind the last byte that the header claims.
        layout: of the sound before.
        is_known: bytes -> whether they begin a container.
    """
    passed = False
    while True:
        head = source.peek(64)
        for padding in range(8 if layout.kind == "W64" else 2):  # of an odd size; not all programs write it
            rest = head[padding:]
            if is_known(rest) or goes_on(rest, layout):
                source.skip(padding)
                return "another"
            size = _chunk_bytes(rest, layout)
            if size is not None and (source.size is None or size <= source.size - source.position - padding + 1):
                source.skip(padding + size)
                passed = True
                break
        else:
            few = 0 if layout.claimed == 0 else min(round(_FEW * layout.rate) * layout.frame_bytes, _MOST)
            return "another" if passed or len(source.peek(few + 1)) <= few else "sound"


def _chunk_bytes(head: bytes, layout: PcmLayout) -> int | None:
    """Bytes of the chunk that begins there, with its head and padding; None where none does."""
    kind = layout.kind
    length = _HEAD.get(kind, 8)
    named = head[4:16] == _W64_TAIL if kind == "W64" else _CHUNK_NAME.match(head)
    if kind in (RAW, "AU") or len(head) < length or not named:
        return None
    _, size, padding = _chunk(head, kind)
    return length + size + padding if 0 <= size < _LONGEST_CHUNK else None


def data_end(source: FileInput, layout: PcmLayout, is_known: Callable[[bytes], bool]) -> tuple[int, int | None]:
    """Where the samples of a file end, and where there is something else behind them.

    Args:
        source: at the first sample; is left anywhere.

    Returns:
        The byte after the last sample, and that where another container or chunk with sound begins, or what is neither
        sound nor a chunk; None: nothing does.
    """
    start, size = source.position, source.size
    claimed = layout.claimed
    while claimed is not None and start + claimed <= size:
        source.seek(start + claimed)
        if claimed and (claimed == size - start):
            return size, None
        if what_follows(source, layout, is_known) == "another":
            return start + claimed, source.position if source.position < size else None
        if layout.kind not in ("WAV", "RIFX"):
            break
        claimed += 1 << 32  # a size that did not fit into 32 bits
    return size, None


# -- samples -----------------------------------------------------------------------------------------------------


class PcmSamples:
    """Bytes -> float32 in ±1.

    24 bits in 4 bytes lie in the upper three (as in WAV) or in the lower (as in ALSA's S24_LE): the first sound
    decides, because in the first case the lowest byte is always 0.
    """

    def __init__(self, layout: PcmLayout) -> None:
        self._layout = layout
        self._low: bool | None = None if layout.encoding == "int" and layout.width == 4 and layout.bits == 24 else False

    def __call__(self, data: bytes) -> FloatArray:
        """Whole frames -> float32 [m, channels]."""
        lay = self._layout
        order = ">" if lay.big else "<"
        if lay.encoding == "float":
            with np.errstate(over="ignore", invalid="ignore"):
                flat = np.frombuffer(data, f"{order}f{lay.width}").astype(np.float32)
        elif lay.encoding in ("ulaw", "alaw"):
            flat = _LAWS[lay.encoding][np.frombuffer(data, np.uint8)]
        elif lay.encoding == "uint":
            flat = (np.frombuffer(data, np.uint8).astype(np.float32) - 128) / np.float32(128)
        else:
            flat = self._integers(data, order)
        return flat.reshape(-1, lay.channels)

    def _integers(self, data: bytes, order: str) -> FloatArray:
        width = self._layout.width
        if width == 3:  # into the upper three bytes of an int32
            wide = np.zeros((len(data) // 3, 4), np.uint8)
            if order == ">":
                wide[:, :3] = np.frombuffer(data, np.uint8).reshape(-1, 3)
            else:
                wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
            data, width = wide.tobytes(), 4
        integers = np.frombuffer(data, f"{order}i{width}")
        if self._low is None and integers.any():
            self._low = bool((integers & 0xFF).any())
        if self._low:
            integers = integers.astype(np.int32) << 8
        return integers.astype(np.float32) * np.float32(2.0 ** (1 - 8 * width))


def _ulaw() -> FloatArray:
    code = ~np.arange(256, dtype=np.uint8)
    size = (((code & 15).astype(np.int32) << 3) + 132 << (code >> 4 & 7).astype(np.int32)) - 132
    return np.where(code & 128, -size, size).astype(np.float32) / np.float32(32768)


def _alaw() -> FloatArray:
    code = np.arange(256, dtype=np.uint8) ^ 0x55
    exponent, low = (code >> 4 & 7).astype(np.int32), (code & 15).astype(np.int32) << 4
    size = np.where(exponent == 0, low + 8, low + 264 << np.maximum(exponent - 1, 0))
    return np.where(code & 128, size, -size).astype(np.float32) / np.float32(32768)


_LAWS = {"ulaw": _ulaw(), "alaw": _alaw()}
