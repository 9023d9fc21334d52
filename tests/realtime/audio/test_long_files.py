"""Twelve hours in a file: opened at once, sought in, read in constant memory."""

import json
import struct
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fakes import FloatArray, music
from tiny_bundle import write_tiny

from instrec_live.realtime.audio import FileSource

HOURS = 12
SECONDS = HOURS * 3600
LAST = 5.0  # s of music at the end


def ending(rate: int, channels: int) -> FloatArray:
    """Its last seconds, as 16 bits hold them, float32 [n, channels]."""
    sound = np.round(music(LAST, rate)[:, None] * 32_768) / 32_768
    return np.repeat(sound, channels, axis=1).astype(np.float32)


def wav(path: Path, rate: int = 32_000, channels: int = 1) -> None:
    """12 h of which all but the end is a hole in the disk; beyond 4 GiB as RF64."""
    size = SECONDS * rate * channels * 2
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, channels, rate, rate * channels * 2, channels * 2, 16)
    if size < 1 << 32:
        head = struct.pack("<4sI4s", b"RIFF", size + 36, b"WAVE") + form + struct.pack("<4sI", b"data", size)
    else:
        sizes = struct.pack("<4sIQQQI", b"ds64", 28, size + 72, size, SECONDS * rate, 0)
        head = (
            struct.pack("<4sI4s", b"RF64", 0xFFFFFFFF, b"WAVE")
            + sizes
            + form
            + struct.pack("<4sI", b"data", 0xFFFFFFFF)
        )
    last = (ending(rate, channels) * 32_768).astype("<i2").tobytes()
    with open(path, "wb") as file:
        file.write(head)
        file.seek(len(head) + size - len(last))
        file.write(last)


def flac(path: Path) -> None:
    rate = 2_000
    with soundfile.SoundFile(path, "w", rate, 1, "PCM_16") as file:
        for _ in range(SECONDS // 3600):
            file.write(
                np.zeros(3600 * rate - (round(LAST * rate) if file.frames > (HOURS - 2) * 3600 * rate else 0), np.int16)
            )
        file.write(ending(rate, 1))


FILES = {
    "long.wav": lambda path: wav(path),
    "long.rf64": lambda path: wav(path, 44_100, 2),  # 7.6 GB
    "long.flac": flac,
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("long")
    for name, write in FILES.items():
        write(here / name)
        if (here / name).stat().st_blocks * 512 > 100e6:
            pytest.skip("this file system has no holes")
    write_tiny(here / "one", "one")
    return here


@pytest.mark.parametrize("name", FILES)
def test_it_is_sought_in_and_takes_no_memory(name: str, place: Path) -> None:
    tracemalloc.start()
    try:
        source = FileSource(place / name)
        assert source.duration == pytest.approx(SECONDS)
        for hour in (3.0, 11.5, 0.25):
            assert source.seek(hour * 3600) == hour * 3600
            for _ in range(10):
                block = source.read()
                assert block is not None
                assert not block.any()
        assert source.seek(SECONDS - LAST) == SECONDS - LAST
        heard = []
        while (block := source.read()) is not None:
            heard.append(block)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(np.concatenate(heard), ending(source.rate, source.channels))
    assert peak < 4_000_000  # the end alone is 1.8 MB; the whole, 15 GB, which nobody reads in this test's time


LISTEN = """
import resource, sys
from instrec_live.realtime.cli import main
code = main(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.parametrize("name", ["long.rf64", "long.flac"])
def test_the_program_listens_to_its_end(name: str, place: Path) -> None:
    argv = ["-q", "--models", "./one", "--pace", "max", "--json", "--file", name]
    memory = []
    for start in (0, SECONDS - LAST):
        done = subprocess.run(
            [sys.executable, "-c", LISTEN, *argv, "--start", str(start), "--duration", "4"],
            cwd=place,
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        memory.append(int(done.stderr))
        updates = [line for line in map(json.loads, done.stdout.splitlines()) if line["type"] == "update"]
        assert [u["time"] for u in updates] == [start + 0.5 * k for k in range(1, 9)]
        assert (updates[-1]["state"] == "QUIET") == (start == 0)
    assert memory[1] - memory[0] < 20_000  # kB
