"""Containers made of pieces that say how long they are (boxes, elements, chunks, blocks): where does one end?

What stands behind the last piece may be another sound; FFmpeg, which decodes these containers, would pass it over.
"""

import re
import struct
from collections.abc import Callable

from instrec_live.realtime.audio.byte_input import ByteInput

#: (the bytes at its beginning, whether it is the container's first) -> bytes of a piece; 0: no piece of this container.
Piece = Callable[[bytes, bool], int]

HEAD = 64  # bytes of a piece that are looked at
_TO_THE_END = 1 << 62
_ENDLESS = 0x7FFF0000
_BOX = re.compile(rb"[A-Za-z0-9_\xa9][A-Za-z0-9_ -]{3}")
_EBML = bytes.fromhex("1a45dfa3")
# Segment and what is in it, cluster and what is in it: a live stream does not know the lengths of the two.
_ELEMENTS = frozenset(
    number.to_bytes((number.bit_length() + 7) // 8, "big")
    for number in (
        *(0x18538067, 0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1F43B675, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367),
        *(0xEC, 0xBF, 0xE7, 0x5854, 0xA7, 0xAB, 0xA3, 0xA0, 0xAF),
    )
)
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_DATA = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c")


def _box(head: bytes, first: bool) -> int:
    """MP4 and QuickTime."""
    if len(head) < 16 or _BOX.match(head, 4) is None or (head[4:8] == b"ftyp" and not first):
        return 0
    size = int.from_bytes(head[:4], "big")
    if size == 0:
        return _TO_THE_END
    if size == 1:
        size = int.from_bytes(head[8:16], "big")
    return size if size >= 8 else 0


def _element(head: bytes, first: bool) -> int:
    """Matroska and WebM. Of an element of unknown length only the head: its content follows as pieces."""
    name = head[: 9 - head[0].bit_length()] if head else b""
    if name not in _ELEMENTS and not (first and name == _EBML):
        return 0
    rest = head[len(name) :]
    width = 9 - rest[0].bit_length() if rest else 9
    if width > 8 or len(rest) < width:
        return 0
    size = int.from_bytes(rest[:width], "big") & ((1 << 7 * width) - 1)
    return len(name) + width + (0 if size == (1 << 7 * width) - 1 else size)


def _object(head: bytes, first: bool) -> int:
    """ASF: WMA, WMV."""
    if len(head) < 24 or (head[:16] == _ASF_HEADER and not first):
        return 0
    (size,) = struct.unpack_from("<Q", head, 16)
    if head[:16] == _ASF_DATA and size <= 50:  # of a broadcast
        return _TO_THE_END
    return size if 24 <= size < 1 << 40 else 0


def _riff(head: bytes, first: bool) -> int:
    """AVI, which continues in further ones, and WAV with compressed sound."""
    if head[:4] not in (b"RIFF", b"RIFX", b"RF64", b"BW64") or len(head) < 12 or not (first or head[8:12] == b"AVIX"):
        return 0
    size = int.from_bytes(head[4:8], "big" if head[:4] == b"RIFX" else "little")
    return 8 + size + size % 2 if 0 < size < _ENDLESS else _TO_THE_END


def _block(head: bytes, first: bool) -> int:
    """WavPack. A block with the first samples is another file's."""
    if head[:4] != b"wvpk" or len(head) < 32:
        return 0
    index, samples, flags = struct.unpack_from("<III", head, 16)
    if not first and samples and not index and not head[10] and flags & 0x800:
        return 0
    return 8 + int.from_bytes(head[4:8], "little")


def _tag(head: bytes, first: bool) -> int:
    """FLV."""
    if first:
        return 13
    return 15 + int.from_bytes(head[1:4], "big") if len(head) >= 15 and head[0] in (8, 9, 18) else 0


PIECES: dict[str, Piece] = {
    "MP4": _box, "Matroska": _element, "ASF": _object, "WavPack": _block, "FLV": _tag, "AVI": _riff,
    "WAV": _riff, "RIFX": _riff, "RF64": _riff, "BW64": _riff,
}  # fmt: skip


def _next(source: ByteInput, piece: Piece, first: bool) -> int:
    """Bytes of the piece, or of the tag behind one, that begins there; 0 where neither does."""
    head = source.peek(HEAD)
    if (size := piece(head, first)) > 0 or first:
        return size
    if head[:8] == b"APETAGEX" and len(head) >= 24:
        is_head = bool(head[23] & 0x20)
        return 32 + (int.from_bytes(head[12:16], "little") if is_head else 0)
    return 128 if head[:3] == b"TAG" else 0


def skip_piece(source: ByteInput, piece: Piece) -> None:
    """Go on from the beginning of a container to its end, or to where it is damaged or cut."""
    first = True
    while (size := _next(source, piece, first)) > 0:
        source.skip(size)
        first = False


class PieceFile:
    """The bytes of one container in a pipe, in order.

    Args:
        source: at its beginning; after its end it stands behind the last piece.
        piece: of this kind of container.
        ends: whether what stands behind a piece, and is none, is no longer of this container. If it still is, the
            container is damaged there, and has all that comes.
    """

    def __init__(self, source: ByteInput, piece: Piece, ends: Callable[[], bool]) -> None:
        self._source, self._piece, self._ends = source, piece, ends
        self._left, self._first, self._ended = 0, True, False

    def read(self, count: int = -1) -> bytes:
        if self._ended:
            return b""
        if self._left <= 0:
            self._left = _next(self._source, self._piece, self._first)
            if self._left <= 0 and not self._first and self._ends():
                self._ended = True
                return b""
            self._first, self._left = False, self._left or _TO_THE_END
        data = self._source.some(min(count if count > 0 else 1 << 15, self._left))
        self._left -= len(data)
        return data
