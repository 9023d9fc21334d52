"""Real files of every format, rate and channel count; and every way a file can be wrong, each in one line."""

import errno
import io
import os
import struct
import threading
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from inputs import INPUTS

from instrec_live.realtime.audio import FileSource, PipeSource, Source, decoders
from instrec_live.realtime.audio.byte_input import FileInput
from instrec_live.realtime.audio.resampler import Resampler
from instrec_live.realtime.audio.source import LOUDEST, zero_bad_samples
from instrec_live.realtime.errors import InputFileError, UsageError

SECONDS = 2.0


def chord(rate: int, channels: int) -> np.ndarray:
    """Sines below 3 kHz, another mixture in every channel, float32 [n, channels]."""
    t = np.arange(round(SECONDS * rate))[:, None] / rate
    sines = np.hstack([np.sin(2 * np.pi * hz * t + hz) for hz in (220, 523.25, 1046.5, 2960)])
    mixture = np.random.default_rng(3).uniform(0.02, 0.2, (4, 8))[:, :channels]
    return (sines @ mixture).astype(np.float32)


def write(path: Path, samples: np.ndarray, rate: int, **how: str) -> Path:
    soundfile.write(path, samples, rate, **how)
    return path


def read_all(source: Source) -> np.ndarray:
    blocks = []
    while (block := source.read()) is not None:
        assert block.dtype == np.float32
        assert block.shape[1] == source.channels
        assert 0 < len(block) <= round(source.rate * 0.1)
        blocks.append(block)
    assert source.read() is None
    return np.concatenate(blocks) if blocks else np.empty((0, source.channels), np.float32)


def at_32_khz(source: Source) -> np.ndarray:
    resampler, parts = Resampler(source.rate), []
    while (block := source.read()) is not None:
        parts.append(resampler.push(block))
    return np.concatenate([*parts, resampler.flush()])


def error_db(heard: np.ndarray, wanted: np.ndarray) -> float:
    """Energy of the difference below the signal, without the resampler's edges."""
    n = min(len(heard), len(wanted))
    inner = slice(3_200, n - 3_200)
    return float(10 * np.log10(np.mean((heard - wanted)[inner] ** 2) / np.mean(wanted[inner] ** 2) + 1e-30))


ALL_RATES = [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000]
MP3_RATES = [8_000, 11_025, 16_000, 22_050, 32_000, 44_100, 48_000]
# Format, subtype, rates, channels, dB: PCM's quantisation, soxr HQ's own error, or what a codec leaves.
FORMATS = [
    ("wav", "PCM_16", ALL_RATES, [1, 2, 3, 8], -75),
    ("wav", "PCM_24", ALL_RATES, [1, 2, 8], -120),
    ("wav", "FLOAT", ALL_RATES, [1, 2, 8], -120),
    ("wav", "PCM_U8", [44_100], [2], -30),
    ("aiff", "PCM_16", ALL_RATES, [1, 2, 8], -75),
    ("flac", "PCM_16", ALL_RATES, [1, 2, 8], -75),
    ("flac", "PCM_24", [44_100, 192_000], [1, 8], -120),
    ("caf", "PCM_24", [48_000], [2], -120),
    ("w64", "PCM_24", [48_000], [2], -120),
    ("ogg", "VORBIS", [8_000, 44_100, 192_000], [1, 2, 8], -25),
    ("ogg", "OPUS", [8_000, 16_000, 48_000], [1, 2], -18),
    ("mp3", None, MP3_RATES, [1, 2], -30),
]


@pytest.mark.parametrize(
    ("ext", "subtype", "rate", "channels", "limit_db"),
    [
        pytest.param(ext, subtype, rate, channels, db, id=f"{ext}-{subtype}-{rate}-{channels}")
        for ext, subtype, rates, counts, db in FORMATS
        for rate in rates
        for channels in counts
    ],
)
def test_every_format_rate_and_channel_count_gives_the_same_sound(ext, subtype, rate, channels, limit_db, tmp_path):
    path = write(tmp_path / f"chord.{ext}", chord(rate, channels), rate, subtype=subtype)
    source = FileSource(path)
    assert (source.label, source.rate, source.channels, source.live) == (path.name, rate, channels, False)
    assert source.duration == pytest.approx(SECONDS, abs=0.001)
    heard, wanted = at_32_khz(source), chord(32_000, 8)[:, :channels].mean(axis=1)
    assert abs(len(heard) - len(wanted)) <= 1
    assert error_db(heard, wanted) < limit_db


def test_a_part_is_exactly_that_part(tmp_path):
    samples = chord(44_100, 2)
    path = write(tmp_path / "a.wav", samples, 44_100, subtype="FLOAT")
    source = FileSource(path, start=0.5, duration=0.75)
    assert source.duration == pytest.approx(0.75)
    assert np.array_equal(read_all(source), samples[22_050 : 22_050 + 33_075])
    assert np.array_equal(read_all(FileSource(path, start=1.9, duration=60)), samples[83_790:])


def test_memory_does_not_grow_with_the_file(tmp_path):
    path = write(tmp_path / "long.wav", np.zeros((8_000 * 600, 1), np.int16), 8_000)
    source = FileSource(path)
    tracemalloc.start()
    frames = 0
    while (block := source.read()) is not None:
        frames += len(block)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert frames == 8_000 * 600
    assert peak < 100_000  # the file is 9.6 MB


@pytest.mark.parametrize("worthless", [np.nan, np.inf, -np.inf, 3e38])
def test_invalid_samples_are_zeroed_and_counted(worthless, tmp_path):
    samples = chord(32_000, 2)
    samples[[5, 700, 63_999], [0, 1, 0]] = worthless
    source = FileSource(write(tmp_path / "a.wav", samples, 32_000, subtype="FLOAT"))
    heard = read_all(source)
    assert source.bad_samples == 3
    assert np.isfinite(heard).all()
    assert heard[5, 0] == heard[700, 1] == heard[63_999, 0] == 0
    assert np.count_nonzero(heard != samples) == 3


def test_loud_sound_is_still_sound():
    block = np.array([[-LOUDEST, LOUDEST, 32_768.0]], np.float32)
    assert zero_bad_samples(block) == 0
    assert block.tolist() == [[-LOUDEST, LOUDEST, 32_768.0]]


def test_closing_ends_the_sound_from_any_thread(tmp_path):
    source = FileSource(write(tmp_path / "a.wav", chord(32_000, 1), 32_000))
    assert source.read() is not None
    closer = threading.Thread(target=source.close)
    closer.start()
    closer.join()
    source.close()
    assert source.read() is None


def one_line(error: pytest.ExceptionInfo[Exception], *parts: str) -> None:
    line = str(error.value)
    assert line.isprintable()
    for part in parts:
        assert part in line


def wav_header(channels: int, rate: int, data_bytes: int) -> bytes:
    fmt = struct.pack("<IHHIIHH", 16, 1, channels, rate, rate * channels * 2, channels * 2, 16)
    return b"RIFF" + struct.pack("<I", 36) + b"WAVEfmt " + fmt + b"data" + struct.pack("<I", data_bytes)


WRONG = {
    "zero.wav": (b"", "0 bytes"),
    "text.wav": (b"this is a shopping list\n" * 20, "not a sound file"),
    "text.mp3": (b"this is a shopping list\n" * 2_000, "not a sound file"),
    "noise.mp3": (bytes(100_000), "not a sound file"),
    "video.mp4": (b"\0\0\0\x20ftypisom" + bytes(500), "cannot be read"),
    "page.mp3": (b"<!DOCTYPE html>\n<html><title>404 Not Found</title>", "a web page"),
    "zipped.wav": (b"PK\x03\x04" + bytes(100), "ZIP"),
    "notes.wav": (b"MThd\0\0\0\6\0\1\0\1" + bytes(100), "MIDI"),
    "headless.raw": (bytes(1_000), "--stdin"),
    "header_only.wav": (wav_header(2, 44_100, 0), "0 seconds"),
    "no_channels.wav": (wav_header(0, 44_100, 0) + bytes(1_000), "0 channels"),
    "no_rate.wav": (wav_header(1, 0, 1_000) + bytes(1_000), ""),
    "slow.wav": (wav_header(1, 3, 1_000) + bytes(1_000), "3 Hz"),
    "fast.wav": (wav_header(1, 2_000_000_000, 1_000) + bytes(1_000), "2000000000 Hz"),
    "wide.wav": (wav_header(1_000, 44_100, 2_000) + bytes(2_000), "1000 channels"),
    "cut.flac.wav": (b"fLaC" + bytes(8), "cannot be read"),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_file_is_one_clear_line(name, tmp_path, capfd):
    content, reason = WRONG[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputFileError) as error:
        FileSource(tmp_path / name)
    one_line(error, name, reason)
    assert capfd.readouterr().err == ""  # nor does a C library add lines of its own


def test_a_path_that_is_not_a_file_is_one_clear_line(tmp_path):
    os.mkfifo(tmp_path / "fifo.wav")
    for path, reason in [
        (tmp_path / "missing.wav", "does not exist"),
        (tmp_path, "is a folder"),
        (tmp_path / "fifo.wav", "not a regular file"),
        (Path("/dev/zero"), "not a regular file"),
        (Path("nul\0.wav"), "null"),
        (tmp_path / ("x" * 300), "too long"),
        (tmp_path / "esc\x1b[2J\n.wav", "does not exist"),
    ]:
        with pytest.raises(InputFileError) as error:
            FileSource(path)
        one_line(error, reason)


@pytest.mark.skipif(os.geteuid() != 0 if hasattr(os, "geteuid") else True, reason="root must step down to test it")
def test_a_file_that_may_not_be_read_is_one_clear_line(tmp_path):
    path = write(tmp_path / "secret.wav", chord(32_000, 1), 32_000)
    path.chmod(0)
    os.seteuid(65_534)
    try:
        with pytest.raises(InputFileError) as error:
            FileSource(path)
    finally:
        os.seteuid(0)
    one_line(error, "secret.wav", "permission denied")


def test_a_truncated_flac_names_the_second_reached(tmp_path):
    path = write(tmp_path / "long.flac", np.random.default_rng(0).uniform(-0.1, 0.1, 44_100 * 10), 44_100)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    source = FileSource(path)
    with pytest.raises(InputFileError) as error:
        read_all(source)
    one_line(error, "long.flac", "ends early, at", " of 10.00 s", "incomplete")
    second = float(str(error.value).split("early, at ")[1].split(" of")[0])
    assert 4 < second < 6


@pytest.mark.parametrize("ext", ["mp3", "ogg", "flac"])
def test_blocks_are_the_same_sound_as_the_whole(ext, tmp_path):
    """soundfile's own block reads garble a mono MP3. FFmpeg's decoders, where they read, agree to the sample."""
    path = write(tmp_path / f"a.{ext}", chord(44_100, 1), 44_100)
    whole = soundfile.read(path, dtype="float32", always_2d=True)[0]
    np.testing.assert_allclose(read_all(FileSource(path)), whole, atol=1e-5)


def test_an_mp3_that_does_not_tell_its_length_is_read_to_its_end(tmp_path):
    """Variable bit rate, high at first, without the Xing frame: libsndfile guesses less than half of it."""
    samples = np.random.default_rng(0).uniform(-0.3, 0.3, 44_100 * 12).astype(np.float32)
    samples[44_100:-88_200] = chord(44_100, 1)[:1, 0]
    path = write(tmp_path / "a.mp3", samples, 44_100)
    whole = read_all(FileSource(path))
    content = path.read_bytes()
    path.write_bytes(content[content.index(b"\xff\xfb", 10) :])
    assert soundfile.info(path).frames < 44_100 * 6  # or this test shows nothing
    source = FileSource(path)
    assert source.duration == pytest.approx(12, abs=0.1)
    heard = read_all(source)
    assert len(heard) == round(source.duration * 44_100)
    assert len(heard) == pytest.approx(len(whole), abs=3_000)
    tail = heard[-44_100:, 0]
    assert np.sqrt(np.mean(tail**2)) == pytest.approx(0.3 / np.sqrt(3), rel=0.1)
    assert len(read_all(FileSource(path, start=6, duration=2))) == 88_200
    with pytest.raises(UsageError, match="beyond the end"):
        FileSource(path, start=600).read()
    path.write_bytes(path.read_bytes()[:-100])  # a stream that was recorded until somebody cut it off
    assert len(read_all(FileSource(path))) == pytest.approx(len(whole), abs=9_000)


def test_a_truncated_mp3_names_the_second_reached(tmp_path):
    path = write(tmp_path / "long.mp3", np.random.default_rng(0).uniform(-0.1, 0.1, 44_100 * 10), 44_100)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(InputFileError, match=r"ends early, at [45]\.\d\d of 10\.\d\d s") as error:
        read_all(FileSource(path))
    one_line(error, "long.mp3", "incomplete")


@pytest.mark.parametrize(
    ("start", "duration"), [(-1, None), (float("nan"), None), (2.5, None), (0, 0), (0, -1), (0, float("nan"))]
)
def test_a_part_that_makes_no_sense_is_a_usage_error(start, duration, tmp_path):
    path = write(tmp_path / "a.wav", chord(32_000, 1), 32_000)
    with pytest.raises(UsageError) as error:
        FileSource(path, start=start, duration=duration)
    one_line(error, "--start" if duration is None else "--duration")


def test_a_library_that_hangs_on_a_header_is_given_up(tmp_path, monkeypatch):
    path = write(tmp_path / "hostile.ogg", chord(32_000, 1), 32_000)
    release = threading.Event()
    monkeypatch.setattr(decoders, "OPEN_SECONDS", 0.1)
    monkeypatch.setattr(decoders, "SequentialSoundFile", lambda _: release.wait())
    with pytest.raises(InputFileError) as error:
        FileSource(path)
    release.set()
    one_line(error, "hostile.ogg", "reasonable time")


def seconds_until(source: Source, fault: str) -> float:
    """Seconds heard until the one line that names the fault and the second."""
    frames, said = 0, ""
    try:
        while (block := source.read()) is not None:
            frames += len(block)
    except InputFileError as error:
        said = str(error)
    assert f"cannot be read beyond {frames / source.rate:.2f} s: {fault}" in said
    return frames / source.rate


@pytest.mark.parametrize("name", ["wav", "wav-float", "two-wav", "m4a", "flac-of-unknown-length"])
def test_a_file_that_cannot_be_read_to_its_end_is_heard_up_to_there(name, tmp_path, monkeypatch):
    """A stick that is pulled, a bad sector: one line names the second, also where it is looked into before."""
    path = tmp_path / f"a{INPUTS[name].suffix}"
    path.write_bytes(INPUTS[name].make())
    end, fetch = path.stat().st_size // 2, FileInput._fetch

    def failing(source, most):
        if broken and source.position > end:
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        return fetch(source, most)

    broken = name == "wav-float"
    monkeypatch.setattr(FileInput, "_fetch", failing)
    source = FileSource(path)
    broken = True
    assert seconds_until(source, "Input/output error") > INPUTS[name].seconds / 4
    source.close()


def test_a_pipe_that_cannot_be_read_to_its_end_is_heard_up_to_there():
    data = INPUTS["wav"].make()

    class Failing(io.BytesIO):
        def read(self, most=-1):
            if self.tell() > len(data) // 2:
                raise OSError(errno.EIO, os.strerror(errno.EIO))
            return super().read(min(most, 10_000))

    assert seconds_until(PipeSource(Failing(data)), "Input/output error") > INPUTS["wav"].seconds / 4
