"""Raw PCM and WAV through a pipe, cut anywhere."""

import io
import os
import subprocess
import sys
import threading
from contextlib import nullcontext

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from instrec_live.realtime.audio import PipeSource
from instrec_live.realtime.errors import InputFileError, UsageError

SAMPLE_BYTES = {"s16le": 2, "s24le": 3, "s32le": 4, "f32le": 4}
SUBTYPES = {"s16le": "PCM_16", "s24le": "PCM_24", "s32le": "PCM_32", "f32le": "FLOAT"}


class Dribble(io.RawIOBase):
    """A pipe that gives its bytes in pieces of the given sizes."""

    def __init__(self, data: bytes, sizes: list[int]) -> None:
        self.data, self.sizes, self.turn = data, sizes, 0

    def read(self, most: int = -1) -> bytes:
        size = min(most, self.sizes[self.turn % len(self.sizes)])
        self.turn += 1
        piece, self.data = self.data[:size], self.data[size:]
        return piece


def sound(frames: int, channels: int) -> np.ndarray:
    return np.random.default_rng(frames).uniform(-1, 1, (frames, channels)).astype(np.float32)


def encode(samples: np.ndarray, sample_format: str, container: str = "RAW") -> bytes:
    out = io.BytesIO()
    soundfile.write(out, samples, 8_000, SUBTYPES[sample_format], "LITTLE" if container == "RAW" else None, container)
    return out.getvalue()


def read_all(source: PipeSource) -> np.ndarray:
    blocks = []
    while (block := source.read()) is not None:
        assert block.dtype == np.float32
        assert 0 < len(block) <= round(source.rate * 0.1)
        blocks.append(block)
    return np.concatenate(blocks) if blocks else np.empty((0, source.channels), np.float32)


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(SAMPLE_BYTES)),
    st.integers(1, 5),
    st.integers(2, 3_000),
    st.lists(st.integers(1, 5_000), min_size=1, max_size=4),
    st.integers(0, 30),
)
def test_every_format_cut_anywhere_is_the_sound_that_libsndfile_wrote(fmt, channels, frames, sizes, torn):
    samples = sound(frames, channels)
    rest = bytes(min(torn, channels * SAMPLE_BYTES[fmt] - 1))  # a frame that the end cuts short
    source = PipeSource(Dribble(encode(samples, fmt) + rest, sizes), 8_000, channels, fmt)
    heard = read_all(source)
    assert heard.shape == samples.shape
    step = {"s16le": 2.0**-15, "s24le": 2.0**-23, "s32le": 2.0**-23, "f32le": 0}[fmt]
    assert np.abs(heard - samples).max() <= step
    assert source.read() is None


@pytest.mark.parametrize("fmt", SAMPLE_BYTES)
@pytest.mark.parametrize("container", ["WAV", "WAVEX"])
def test_the_format_is_read_from_the_wav_and_its_trailer_is_not_sound(fmt, container):
    samples = sound(900, 3)
    data = encode(samples, fmt, container) + b"LIST" + bytes(400)
    source = PipeSource(Dribble(data, [7, 100]), 44_100, 1, "s16le")
    assert (source.rate, source.channels) == (8_000, 3)
    heard = read_all(source)
    assert heard.shape == samples.shape
    assert np.abs(heard - samples).max() <= 2.0**-15


@pytest.mark.parametrize("size", [0, 0x7FFFFFFF, 0xFFFFFFFF])
def test_a_wav_of_unknown_length_is_read_to_the_end(size):
    data = bytearray(encode(sound(900, 1), "s16le", "WAV"))
    at = data.index(b"data")
    data[at + 4 : at + 8] = size.to_bytes(4, "little")
    assert len(read_all(PipeSource(io.BytesIO(bytes(data)), 44_100, 1))) == 900


@pytest.mark.parametrize(("size", "known"), [(0x7FFEFFFF, True), (0x7FFFF000, False), (0x80000000, False)])
def test_what_is_claimed_by_programs_that_do_not_know_ends_no_stream(size, known):
    """sox, arecord and ffmpeg write such numbers: of 48 kHz stereo, three or six hours, after which there is more."""
    data = encode(sound(900, 1), "s16le", "WAV")
    at = data.index(b"data") + 4
    source = PipeSource(io.BytesIO(data[:at] + size.to_bytes(4, "little") + data[at + 4 :]))
    with pytest.raises(InputFileError, match="ends early") if known else nullcontext():
        assert len(read_all(source)) == 900


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "nothing came"),
        (b"RIFF", "RIFF file"),
        (b"RIFF\0\0\0\0WAVEfmt \xff\xff\xff\xff", "damaged WAV"),
        (b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + bytes(16) + b"data\0\0\0\0", "cannot be read"),
        (b"RIFF\0\0\0\0WAVEdata\0\0\0\0", "damaged WAV"),
        (b"fLaC" + bytes(100), "cannot be read"),
        (b"OggS" + bytes(100), "cannot be read"),
        (b"ID3\x04" + bytes(100), "does not begin like any known sound"),
        (b"<!DOCTYPE html><html><body>not found", "the piped data is a web page .*, not sound — did the program"),
        (b"\x1f\x8b\x08" + bytes(100), "the piped data is compressed with gzip, not sound — unpack it first"),
        (bytes(100_000), "--format"),
    ],
)
def test_input_that_is_not_sound_is_one_clear_line(data, reason):
    with pytest.raises(InputFileError, match=reason) as error:
        PipeSource(io.BytesIO(data))
    assert str(error.value).isprintable()


@given(st.binary(max_size=200))
def test_no_header_is_a_traceback(data):
    try:
        heard = read_all(PipeSource(io.BytesIO(b"RIFF" + data), 8_000, 1))
    except (InputFileError, UsageError):
        return
    assert np.isfinite(heard).all()


@pytest.mark.parametrize(
    ("rate", "channels", "fmt"),
    [(0, 1, "s16le"), (-8_000, 1, "s16le"), (10**9, 1, "s16le"), (8_000, 0, "s16le"), (8_000, 1, "mp3")],
)
def test_settings_that_make_no_sense_are_usage_errors(rate, channels, fmt):
    with pytest.raises(UsageError):
        PipeSource(io.BytesIO(bytes(100)), rate, channels, fmt)


def test_text_is_a_usage_error():
    with pytest.raises(UsageError, match=r"binary stream.*sys\.stdin\.buffer"):
        PipeSource(io.TextIOWrapper(io.BytesIO(bytes(100))))


def test_a_terminal_is_a_usage_error():
    controller, terminal = os.openpty()
    with open(terminal, "rb") as stream, pytest.raises(UsageError, match="ffmpeg"):
        PipeSource(stream, 8_000, 1)
    os.close(controller)


def test_invalid_samples_are_zeroed_and_counted():
    samples = np.array([0.5, np.nan, -np.inf, 1e30, 0.25], "<f4")
    source = PipeSource(io.BytesIO(samples.tobytes()), 8_000, 1, "f32le")
    assert read_all(source)[:, 0].tolist() == [0.5, 0, 0, 0, 0.25]
    assert source.bad_samples == 3


def test_a_waiting_read_ends_when_the_source_is_closed():
    reader, writer = os.pipe()
    with open(reader, "rb") as stream, open(writer, "wb", buffering=0) as out:
        out.write(bytes(8))
        source = PipeSource(stream, 8_000, 1)
        assert len(source.read()) >= 2
        threading.Timer(0.1, source.close).start()
        while source.read() is not None:
            pass


def test_a_thread_that_waits_for_stdin_does_not_crash_the_exit():
    program = (
        "import sys, threading, time; from instrec_live.realtime.audio import PipeSource\n"
        "source = PipeSource(sys.stdin.buffer, 8000, 1)\n"
        "threading.Thread(target=lambda: [source.read() for _ in range(9)], daemon=True).start()\n"
        "time.sleep(0.3)\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stderr is not None
    child.stdin.write(bytes(8))
    child.stdin.flush()
    assert child.wait(120) == 0
    assert child.stderr.read() == b""
    child.stdin.close()
