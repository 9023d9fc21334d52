"""Sound whose structure is right and whose content is a lie: chunk sizes, ds64, Ogg pages with right checksums, FLAC's
metadata, MP3 frames, boxes of an MP4; as a file and through a pipe, which must not part."""

import io
import struct
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
from numpy.random import Generator

SIZES = (0, 1, 2, 7, 255, 65_535, 1 << 20, 0x7FFF0000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)


@cache
def encoded(container: str, subtype: str | None = None) -> bytes:
    from fuzz_sounds import sound

    out = io.BytesIO()
    soundfile.write(out, np.stack([sound(), sound() / 2], 1), 44_100, subtype, format=container)
    return out.getvalue()


def _size(true: int, rng: Generator) -> int:
    """A size that is true, nearly so, or of those that programs write."""
    match int(rng.integers(4)):
        case 0:
            return true
        case 1:
            return max(0, true + int(rng.integers(-40, 40)))
        case 2:
            return int(true * rng.uniform(0, 3)) & 0xFFFFFFFF
    return SIZES[int(rng.integers(len(SIZES)))]


def riff(rng: Generator) -> bytes:
    """RIFF, RIFX, RF64 or BW64 of any chunks in any order, each with an arbitrary size."""
    name = (b"RIFF", b"RIFX", b"RF64", b"BW64")[int(rng.integers(4))]
    order = ">" if name == b"RIFX" else "<"
    data = rng.bytes(int(rng.integers(0, 20_000)))
    bits = int(rng.choice((8, 12, 16, 20, 24, 32, 64)))
    channels = int(rng.choice((1, 2, 6, 64)))
    align = int(rng.choice((channels * ((bits + 7) // 8), channels * 4, channels * 3, 0, 1, 65_535)))
    tag = int(rng.choice((1, 1, 1, 3, 6, 7, 2, 17, 85, 0xFFFE)))
    fmt = struct.pack(f"{order}HHIIHH", tag, channels, 44_100, 44_100 * align & 0xFFFFFFFF, align, bits)
    if tag == 0xFFFE:
        fmt += struct.pack(f"{order}HHIH", 22, bits, 3, int(rng.choice((1, 3, 2)))) + rng.bytes(14)
    chunks = [(b"fmt ", fmt), (b"data", data)]
    fact = struct.pack("<I", SIZES[int(rng.integers(12))])
    others = ((b"LIST", b"INFO" + rng.bytes(30)), (b"fact", fact), (b"id3 ", b"x"),
              (b"JUNK", bytes(int(rng.integers(3_000)))), (b"bext", rng.bytes(602)))  # fmt: skip
    for _ in range(int(rng.integers(4))):
        chunks.insert(int(rng.integers(len(chunks) + 1)), others[int(rng.integers(5))])
    if name in (b"RF64", b"BW64"):
        ds64 = struct.pack("<QQQI", _size(len(data), rng), _size(len(data), rng) << int(rng.integers(33)), 0, 0)
        chunks.insert(0, (b"ds64", ds64))
    body = b"WAVE" + b"".join(
        each + struct.pack(f"{order}I", _size(len(content), rng) if rng.integers(2) else len(content)) + content
        + bytes(len(content) % 2) for each, content in chunks
    )  # fmt: skip
    return (name + struct.pack(f"{order}I", _size(len(body), rng)) + body) * int(rng.integers(1, 3))


def ogg(rng: Generator) -> bytes:
    """Pages taken out, given twice, moved, renumbered, with other granules, flags and serials; checksums are valid."""
    data = encoded("OGG", "VORBIS")
    pages = []
    while data:
        lacing = data[27 : 27 + data[26]]
        size = 27 + len(lacing) + sum(lacing)
        pages.append(bytearray(data[:size]))
        data = data[size:]
    for _ in range(int(rng.integers(1, 5))):
        at = int(rng.integers(len(pages)))
        match int(rng.integers(7)):
            case 0 if len(pages) > 1:
                del pages[at]
            case 1:
                pages.insert(int(rng.integers(len(pages) + 1)), bytearray(pages[at]))
            case 2:
                pages[at][5] = int(rng.integers(8))
            case 3:
                pages[at][6:14] = struct.pack(
                    "<q", int(rng.choice((0, -1, 1 << 40, (1 << 63) - 1, -(1 << 63), 44_100)))
                )
            case 4:
                pages[at][14:18] = rng.bytes(4)
            case 5:
                pages[at][18:22] = rng.bytes(4)
            case 6 if len(pages[at]) > 60:
                place = int(rng.integers(27 + pages[at][26], len(pages[at])))
                pages[at][place] ^= 1 << int(rng.integers(8))
    out = b"".join(bytes(_sealed(page)) for page in pages) * int(rng.integers(1, 3))
    return out[: int(rng.integers(1, len(out) + 1))] if not rng.integers(4) else out


def _sealed(page: bytearray) -> bytearray:
    page[22:26] = bytes(4)
    crc = 0
    for byte in page:
        crc = (crc << 8 & 0xFFFFFFFF) ^ _CRC[crc >> 24 ^ byte]
    page[22:26] = struct.pack("<I", crc)
    return page


def _table() -> list[int]:
    table = []
    for byte in range(256):
        crc = byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ (0x04C11DB7 if crc & 0x80000000 else 0)) & 0xFFFFFFFF
        table.append(crc)
    return table


_CRC = _table()


def flac(rng: Generator) -> bytes:
    """Another STREAMINFO, more metadata, frames left out."""
    data = bytearray(encoded("FLAC", "PCM_16"))
    info = int.from_bytes(data[18:26], "big")
    rate, channels, bits = info >> 44, info >> 41 & 7, info >> 36 & 31
    match int(rng.integers(4)):
        case 0:
            rate = int(rng.choice((0, 1, 8_000, 655_350, 1_048_575)))
        case 1:
            channels = int(rng.integers(8))
        case 2:
            bits = int(rng.integers(32))
    total = int(rng.choice((0, 1, 100, 8_000, 80_000, (1 << 36) - 1)))
    data[18:26] = (rate << 44 | channels << 41 | bits << 36 | total).to_bytes(8, "big")
    blocks = b""
    for _ in range(int(rng.integers(4))):
        body = rng.bytes(int(rng.integers(200)))
        length = len(body) if rng.integers(3) else int(rng.integers(1 << 24))
        blocks += bytes([int(rng.integers(127))]) + length.to_bytes(3, "big") + body
    data[4] &= 0x7F
    out = bytes(data[:42]) + blocks + bytes(data[42:])
    if not rng.integers(3):
        place = int(rng.integers(42, len(out)))
        out = out[:place] + out[place + int(rng.integers(2_000)) :]
    return out * int(rng.integers(1, 3))


def mp3(rng: Generator) -> bytes:
    """Frames in another order, of other rates and channels, tags and junk between them, any Xing count."""
    from instrec_live.realtime.audio.framing import mpeg_frame

    data, at, frames = encoded("MP3"), 0, []
    while (frame := mpeg_frame(data, at)) is not None:
        frames.append(data[at : at + frame.size])
        at += frame.size
    for _ in range(int(rng.integers(1, 6))):
        place = int(rng.integers(len(frames)))
        match int(rng.integers(6)):
            case 0 if len(frames) > 1:
                del frames[place]
            case 1:
                frames.insert(place, rng.bytes(int(rng.integers(500))))
            case 2:
                frames.insert(place, b"ID3\x04\0\0" + bytes(int(rng.integers(128)) for _ in range(4)) + rng.bytes(50))
            case 3:
                new = bytearray(frames[place])
                new[1:4] = bytes((0xE0 | int(rng.integers(32)), int(rng.integers(256)), int(rng.integers(256))))
                frames[place] = bytes(new)
            case 4:
                frames[0] = frames[0].replace(b"Xing", b"Info")
                tag = frames[0].find(b"Info")
                if tag >= 0:
                    frames[0] = frames[0][: tag + 8] + rng.bytes(4) + frames[0][tag + 12 :]
            case 5:
                frames.insert(place, frames[0])
    out = b"".join(frames)
    return bytes(int(rng.integers(3_000))) + out if not rng.integers(4) else out


def mp4(rng: Generator) -> bytes:
    """Boxes with other sizes, left out, given twice."""
    data = _m4a()
    out, at = b"", 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 4], "big") or len(data) - at
        box = data[at : at + size]
        match int(rng.integers(8)):
            case 0:
                box = b""
            case 1:
                box = box * 2
            case 2:
                box = struct.pack(">I", _size(size, rng)) + box[4:]
            case 3 if len(box) > 50:
                new = bytearray(box)
                for _ in range(int(rng.integers(1, 9))):
                    place = int(rng.integers(8, len(new) - 4))
                    new[place : place + 4] = struct.pack(">I", SIZES[int(rng.integers(12))])
                box = bytes(new)
        out, at = out + box, at + size
    return out


@cache
def _m4a() -> bytes:
    from inputs import muxed

    return muxed("mp4", "aac")


MAKERS = (riff, ogg, flac, mp3, mp4)


class Structures:
    """Each read as a file and through a pipe: as many seconds, or refused by both."""

    def prepare(self) -> None:
        import instrec_live.realtime.audio.av_decoder
        import instrec_live.realtime.audio.file
        import instrec_live.realtime.audio.pipe  # noqa: F401

        for container in ("OGG", "FLAC", "MP3"):
            encoded(container)
        _m4a()

    def run(self, rng: Generator) -> str | None:
        from instrec_live.realtime.audio.file import FileSource
        from instrec_live.realtime.audio.pipe import PipeSource
        from instrec_live.realtime.errors import InstrecError

        data = MAKERS[int(rng.integers(len(MAKERS)))](rng)
        path = Path("structure.bin")
        path.write_bytes(data)
        fault: InstrecError | None = None
        heard = []
        try:
            for opened in (lambda: FileSource(path), lambda: PipeSource(io.BytesIO(data))):
                seconds = 0.0
                try:
                    source = opened()
                    while (block := source.read()) is not None:
                        assert np.isfinite(block).all(), "what is no number came through"
                        assert block.shape[1] == source.channels
                        seconds += len(block) / source.rate
                    source.close()
                except InstrecError as error:
                    fault = error
                heard.append(seconds)
        finally:
            path.unlink()
        if abs(heard[0] - heard[1]) > 0.2:
            return f"file and pipe part: {round(heard[0] - heard[1], 1)} s"
        if fault is not None:
            raise fault
        return None
