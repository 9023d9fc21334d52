"""Damaged sound: files of every format, headers that lie, pipes."""

import io
import struct
from pathlib import Path

import numpy as np
import soundfile
from fuzz_mutants import damaged
from numpy.random import Generator

RATES = (8_000, 44_100, 48_000, 11_025, 16_000)  # Hz; not every format takes the first


def sound() -> np.ndarray:
    """A second of notes, 8 kHz, float32 [8000]."""
    from fakes import music

    return music(1.0, 8_000)


def every_format() -> dict[str, bytes]:
    """The second in each format and coding that libsndfile writes and, with a header, reads; by extension.coding."""
    files = {}
    for kind in soundfile.available_formats():
        for coding in soundfile.available_subtypes(kind):
            for rate in RATES:
                out = io.BytesIO()
                try:
                    soundfile.write(out, sound(), rate, coding, format=kind)
                    soundfile.read(io.BytesIO(out.getvalue()))
                except (soundfile.SoundFileError, TypeError, ValueError):
                    continue
                files[f"{kind.lower()}.{coding.lower()}"] = out.getvalue()
                break
    for kind in ("WAV", "MP3"):
        stereo = io.BytesIO()
        soundfile.write(stereo, np.stack([sound(), -sound()], 1), 44_100, format=kind)
        files[f"{kind.lower()}.stereo"] = stereo.getvalue()
    mp3 = files["mp3.stereo"]
    files["mp3.endless"] = mp3[mp3.index(b"\xff\xfb", 10) :]  # without the frame that tells its length
    for kind in ("WAV", "AIFF", "CAF", "FLAC", "OGG"):
        tagged = io.BytesIO()
        with soundfile.SoundFile(tagged, "w", 8_000, 1, format=kind) as file:
            file.title = file.artist = file.comment = "a title"
            file.write(sound())
        files[f"{kind.lower()}.tagged"] = tagged.getvalue()
    return files


class Files:
    """Sound files, opened, read to the end or sought in by the program's own source."""

    def prepare(self) -> None:
        import instrec_live.realtime.audio.file  # noqa: F401

        self._files = every_format()
        self._names = sorted(self._files)

    def run(self, rng: Generator) -> str | None:
        from instrec_live.realtime.audio.file import FileSource

        name, other = (self._names[int(rng.integers(len(self._names)))] for _ in range(2))
        path = Path(f"sound.{name.split('.')[0] if rng.integers(8) else other.split('.')[0]}")
        path.write_bytes(damaged(self._files[name], self._files[other], rng))
        part = {"start": 0.3, "duration": 0.4} if not rng.integers(5) else {}
        try:
            source = FileSource(path, **part)
            seeks = int(rng.integers(4))
            while (block := source.read()) is not None:
                assert np.isfinite(block).all(), "what is no number came through"
                assert block.shape[1] == source.channels
                if seeks and not rng.integers(10):
                    seeks -= 1
                    source.seek(float(rng.uniform(-1, 3)))
            source.close()
        finally:
            path.unlink()
        return None


class Headers:
    """WAV, AU and AIFF files whose headers claim any rate, width, size and number of channels."""

    def prepare(self) -> None:
        import instrec_live.realtime.audio.file  # noqa: F401

    def run(self, rng: Generator) -> str | None:
        from instrec_live.realtime.audio.file import FileSource

        def any_of(bits: int) -> int:
            return (
                int((0, 1, 2, 8, 16, 255, 44_100, 384_000, 2**31 - 1, 2**31, 2**32 - 12, 2**32 - 1)[rng.integers(12)])
                % 2**bits
            )

        tag, channels, bits, rate, size = any_of(16) % 120, any_of(16), any_of(16) % 130, any_of(32), any_of(32)
        for _ in range(int(rng.integers(4))):  # some are as they should be
            which = int(rng.integers(5))
            tag, channels, bits = (1, channels, 16) if which == 0 else (tag, 2 if which == 1 else channels, bits)
            rate, size = (44_100, size) if which == 2 else (rate, 1_000 if which == 3 else size)
        body = rng.bytes(int(rng.integers(2_000)))
        fmt = struct.pack("<HHIIHH", tag, channels, rate, any_of(32), any_of(16), bits)
        names = (b"INAM", b"junk", b"labl", b"INFO")
        items = (
            b"LIST" + struct.pack("<I", any_of(32)) + b"INFO" + names[rng.integers(4)] + struct.pack("<I", any_of(32))
        )
        long = any_of(32) if not rng.integers(6) else len(fmt)
        files = {
            "wav": b"RIFF" + struct.pack("<I", size) + b"WAVEfmt " + struct.pack("<I", long) + fmt
            + (items if not rng.integers(8) else b"") + b"data" + struct.pack("<I", size) + body,
            "au": b".snd" + struct.pack(">IIIII", 24, size, tag % 30, rate, channels) + body,
            "aiff": b"FORM" + struct.pack(">I", size) + b"AIFFCOMM" + struct.pack(">IHIH", 18, channels, size, bits)
            + struct.pack(">H", any_of(16)) + rng.bytes(8) + b"SSND" + struct.pack(">III", size, 0, 0) + body,
        }  # fmt: skip
        kind = sorted(files)[int(rng.integers(3))]
        path = Path(f"header.{kind}")
        path.write_bytes(files[kind])
        try:
            source = FileSource(path)
            while (block := source.read()) is not None:
                assert np.isfinite(block).all(), "what is no number came through"
        finally:
            path.unlink()
        return None


class Pipes:
    """The same files, and raw sound, through stdin."""

    def prepare(self) -> None:
        import instrec_live.realtime.audio.pipe  # noqa: F401

        self._files = every_format()

    def run(self, rng: Generator) -> str | None:
        from instrec_live.realtime.audio.pipe import PipeSource

        one, two = (sorted(self._files)[int(rng.integers(len(self._files)))] for _ in range(2))
        stream = io.BytesIO(damaged(self._files[one], self._files[two], rng))
        raw = (44_100, 1 + int(rng.integers(2)), ("s16le", "s24le", "f32le")[int(rng.integers(3))])
        source = PipeSource(stream, *raw) if rng.integers(2) else PipeSource(stream)
        while (block := source.read()) is not None:
            assert np.isfinite(block).all(), "what is no number came through"
        return None
