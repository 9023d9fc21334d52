"""Every kind of input as a file and through a pipe: the same samples, length and message."""

import io
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from inputs import INPUTS, RATE, SECONDS, Input, encoded, fmt, music, muxed, pcm16, wav

from instrec_live.realtime.audio import FileSource, PipeSource, Source, av_decoder
from instrec_live.realtime.audio.av_decoder import AvDecoder
from instrec_live.realtime.errors import InputFileError, UsageError


class Dribble(io.RawIOBase):
    """A pipe whose writer is slow: at most 1,000 bytes at a time."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    def read(self, most: int = -1) -> bytes:
        data = self._data[self._at : self._at + (1_000 if most < 0 else min(most, 1_000))]
        self._at += len(data)
        return data


def heard(source: Source) -> tuple[np.ndarray, str | None]:
    """All sound, float32 [n, channels], and the error after it."""
    blocks, error = [], None
    try:
        while (block := source.read()) is not None:
            assert 0 < len(block) <= round(0.1 * source.rate)
            blocks.append(block)
    except InputFileError as fault:
        error = str(fault)
        assert error.isprintable()
    source.close()
    return np.concatenate(blocks), error


@pytest.mark.parametrize("name", INPUTS)
def test_file_and_pipe_give_the_same(
    name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    given = INPUTS[name]
    data = given.make()
    path = tmp_path / f"a{given.suffix}"
    path.write_bytes(data)
    source = FileSource(path)
    in_file, error = heard(source)
    if given.said is not None:
        assert re.search(given.said, caplog.text)
    caplog.clear()
    assert len(in_file) / source.rate == pytest.approx(given.seconds, abs=given.within)
    if source.duration is not None and given.error is None:
        assert source.duration == pytest.approx(len(in_file) / source.rate, abs=max(0.06, given.within))
    piped = PipeSource(Dribble(data))
    assert (piped.rate, piped.channels) == (source.rate, source.channels)
    in_pipe, piped_error = heard(piped)
    if given.said is not None:
        assert re.search(given.said, caplog.text)
    assert len(in_pipe) == len(in_file)
    known = len(in_file) if name == "floats-of-24-bits" else 0  # a pipe has to learn their scale
    np.testing.assert_allclose(in_pipe[known:], in_file[known:], atol=0.02)  # two decoders of Opus differ so much
    if given.error is None:
        assert error is None
        assert piped_error is None
    else:
        assert error is not None
        assert piped_error is not None
        assert re.search(given.error, error)
        assert re.search(given.error, piped_error)
    assert capfd.readouterr().err == ""  # no library speaks


NOT_ALIKE = ("opposed", "opposed-with-an-offset", "one-of-64", "nan", "junk-inside-mp3")


def test_the_samples_are_the_music(tmp_path: Path) -> None:
    """Not only as long: of everything that holds the whole music, once or several times, the sound itself is right."""
    for name, given in INPUTS.items():
        if given.seconds % SECONDS or given.error or name in NOT_ALIKE:
            continue
        path = tmp_path / f"{name}{given.suffix}"
        path.write_bytes(given.make())
        source = FileSource(path)
        sound, _ = heard(source)
        if source.rate != RATE:
            continue
        times = round(given.seconds / SECONDS)
        for part in np.array_split(sound, times):
            count = min(len(part), len(music())) - 4_000
            exact = given.within <= 0.001 and times == 1
            best = max(_alike(part, music(), lag, count) for lag in ((0,) if exact else _near(part, count)))
            assert best > 0.93, name


def _alike(a: np.ndarray, b: np.ndarray, lag: int, count: int) -> float:
    x, y = (each - each.mean() for each in (a[2_400 + lag : count + lag, 0], b[2_400:count, 0]))
    return float(np.dot(x, y) / np.sqrt(np.dot(x, x) * np.dot(y, y)))


def _near(sound: np.ndarray, count: int) -> range:
    """Lags around the best one, by correlation."""
    x, y = sound[:count, 0], music()[:count, 0]
    size = 1 << (2 * count - 1).bit_length()
    correlation = np.fft.irfft(np.fft.rfft(x, size) * np.conj(np.fft.rfft(y, size)), size)
    lags = np.r_[correlation[:2_401], correlation[-2_400:]]
    best = int(lags.argmax())
    lag = best if best <= 2_400 else best - len(lags)
    return range(lag, lag + 1)


REFUSED = {
    "html": (b"<!DOCTYPE html>\n<html><head><title>404</title></head></html>", "a web page"),
    "xml": (b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>", "XML"),
    "text": (b"just some words, one after the other\n" * 10, "text"),
    "json": (b'{"error": "not found"}', "text"),
    "playlist": (b"#EXTM3U\nhttp://example.org/a.mp3\n", "playlist"),
    "zip": (b"PK\x03\x04" + bytes(100), "ZIP"),
    "gzip": (b"\x1f\x8b\x08" + bytes(100), "gzip"),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(100), "PNG"),
    "pdf": (b"%PDF-1.4\n" + bytes(100), "PDF"),
    "midi": (b"MThd\0\0\0\6" + bytes(100), "MIDI"),
    "zeros": (bytes(200_000), "any known sound file|not a sound file"),
    "noise": (np.random.default_rng(0).bytes(200_000), "any known sound file|not a sound file"),
    "list of waves": (
        b"RIFF\x40\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\0\x7d\0\0\0\xfa\0\0\2\0\x10\0LIST\x10\0\0\0wavldata" + bytes(8),
        "list of pieces",
    ),
    "pictures only": (b"", "it holds only pictures"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_other_content_is_refused_with_its_kind(name: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data, reason = REFUSED[name]
    if name == "pictures only":
        data = _film()
    (tmp_path / "a.wav").write_bytes(data)
    for opened in (lambda: FileSource(tmp_path / "a.wav"), lambda: PipeSource(Dribble(data))):
        with pytest.raises(InputFileError, match=reason) as error:
            opened()
        assert str(error.value).isprintable()
    assert capfd.readouterr().err == ""


def _film() -> bytes:
    import av

    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("mpeg4", rate=5)
        stream.width = stream.height = 64
        stream.pix_fmt = "yuv420p"
        for _ in range(10):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")))
        container.mux(stream.encode(None))
    return out.getvalue()


def test_a_wav_of_more_than_four_gigabytes_is_analysed_to_its_end(tmp_path: Path) -> None:
    """Its size is kept in 32 bits, and has wrapped; the file is sparse. Behind the sound there is a chunk."""
    path = tmp_path / "long.wav"
    size = (1 << 32) + 17_640_000
    head = wav(b"", fmt(2, RATE, 16), size & 0xFFFFFFFF)
    with open(path, "wb") as file:
        file.write(head)
        file.seek(len(head) + size - len(pcm16(music())))
        file.write(pcm16(music()))
        file.write(b"LIST\4\0\0\0INFO")
    source = FileSource(path)
    assert source.duration == pytest.approx(size / (4 * RATE))
    source.seek(source.duration - SECONDS)
    sound, error = heard(source)
    assert error is None
    np.testing.assert_allclose(sound, music(), atol=1e-4)


# Where another sound follows, a place in it is only as exact as what the first one's container says of its length.
INEXACT = ("two-adpcm", "two-webm", "two-wma", "flv-then-wav")
SEEKABLE = [name for name, given in INPUTS.items() if given.error is None and name not in INEXACT]


@pytest.mark.parametrize("name", SEEKABLE)
def test_a_seek_lands_on_the_sample(name: str, tmp_path: Path) -> None:
    given = INPUTS[name]
    path = tmp_path / f"a{given.suffix}"
    path.write_bytes(given.make())
    whole, _ = heard(FileSource(path))
    source = FileSource(path)
    for second in (4.0, 1.25, 0.0, given.seconds - 1):
        source.read()
        landed = round(source.seek(min(second, given.seconds - 1)) * source.rate)
        block = source.read()
        assert block is not None
        wanted = whole[landed : landed + len(block)]
        # A resampler begins anew behind a seek, and Opus's decoder needs a moment.
        resampled = name == "chained-rates" or name.endswith("48k")
        within = 0.05 if given.suffix == ".opus" else 0.02 if resampled else 1e-3
        np.testing.assert_allclose(block[: len(wanted)], wanted, atol=within)
    source.close()


SOUGHT = (
    "wav-adpcm",
    "wav-adpcm-ms",
    "wav-adpcm-yamaha",
    "wav-adpcm-swf",
    "wma",
    "m4a",
    "mkv-flac",
    "webm",
    "mp4-late-sound",
)


@pytest.mark.parametrize("name", SOUGHT)
def test_a_seek_into_a_long_file_lands_there(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Further than what is decoded and passed over, to a millisecond, which is as fine as Matroska's clock is."""
    monkeypatch.setattr(av_decoder, "_NEAR", 0.5)
    path = tmp_path / f"a{INPUTS[name].suffix}"
    path.write_bytes(INPUTS[name].make())
    whole, _ = heard(FileSource(path))
    source = FileSource(path)
    for second in (4.0, 1.25, 5.0):
        landed = round(source.seek(second) * source.rate)
        part = np.concatenate([block for _ in range(5) if (block := source.read()) is not None])
        if not part.any():
            assert second < 4.0
            assert name.endswith("late-sound")
            continue
        size = 1 << len(whole).bit_length() + 1
        spectrum = np.fft.rfft(whole[:, 0], size) * np.conj(np.fft.rfft(part[:, 0], size))
        assert abs(int(np.fft.irfft(spectrum, size).argmax()) - landed) <= 0.001 * source.rate
    source.close()


OF_UNKNOWN_LENGTH = ("adts", "mpeg-ts", "ac3", "mpeg-ps", "voc", "ogg-flac", "flac-of-unknown-length",
                     "mp3-bare", "wav-then-endless-flac")  # fmt: skip


@pytest.mark.parametrize("name", OF_UNKNOWN_LENGTH)
@pytest.mark.parametrize("near", [60.0, 0.5])
def test_a_seek_beyond_an_end_that_was_not_known_lands_there(
    name: str, near: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(av_decoder, "_NEAR", near)
    path = tmp_path / f"a{INPUTS[name].suffix}"
    path.write_bytes(INPUTS[name].make())
    whole, _ = heard(FileSource(path))
    source = FileSource(path)
    end = len(whole) / source.rate
    assert source.seek(end + 60) == pytest.approx(end - 0.01, abs=0.001)
    assert source.end == pytest.approx(end, abs=0.001)
    rest = source.read()
    assert rest is not None
    assert len(rest) / source.rate == pytest.approx(0.01, abs=0.001)
    assert source.read() is None
    landed = round(source.seek(end - 5) * source.rate)
    block = source.read()
    assert block is not None
    np.testing.assert_allclose(block, whole[landed : landed + len(block)], atol=0.02)
    source.close()


@pytest.mark.parametrize("name", [name for name in INPUTS if name.endswith("late-sound")])
def test_times_are_those_of_the_film(name: str, tmp_path: Path) -> None:
    """Sound that begins four seconds after its picture, or behind an empty edit, is heard four seconds later."""
    path = tmp_path / f"a{INPUTS[name].suffix}"
    path.write_bytes(INPUTS[name].make())
    source = FileSource(path)
    sound, error = heard(source)
    assert error is None
    begin = round(3.97 * RATE)
    assert not sound[:begin].any()
    part = sound[4 * RATE : 8 * RATE]
    lags = _near(part, len(part))
    assert abs(lags[0]) <= 0.03 * RATE
    assert _alike(sound[4 * RATE :], music(), lags[0], 4 * RATE) > 0.93


def test_one_of_several_tracks(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "a.mkv"
    path.write_bytes(muxed("matroska", "flac", tracks=2))
    first, _ = heard(FileSource(path, track=1))
    second, _ = heard(FileSource(path, track=2))
    assert np.abs(first).max() > 0.1
    assert np.abs(second).max() == 0.0
    assert not caplog.records
    heard(FileSource(path))
    assert "2 sound tracks" in caplog.text
    with pytest.raises(UsageError, match="no track 3: it has 2"):
        FileSource(path, track=3)
    (tmp_path / "a.wav").write_bytes(encoded("WAV", "PCM_16"))
    with pytest.raises(UsageError, match="no track 2"):
        FileSource(tmp_path / "a.wav", track=2)


@pytest.mark.parametrize("name", ["wav", "mp3", "flac", "ogg", "mkv-flac"])
def test_a_track_that_a_pipe_has_not_is_refused_as_of_a_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(INPUTS[name].make())
    with pytest.raises(UsageError, match=r"no track 3: .* has 1") as of_file:
        FileSource(path, track=3)
    with pytest.raises(UsageError, match=r"no track 3: .* has 1") as of_pipe:
        PipeSource(Dribble(INPUTS[name].make()), track=3)
    assert str(of_file.value).endswith(str(of_pipe.value))


def test_raw_samples_have_one_track() -> None:
    with pytest.raises(UsageError, match="no track 2: raw PCM has 1"):
        PipeSource(Dribble(pcm16(music())), rate=RATE, channels=2, track=2)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("claims-half", "its header claims 3.00 s"),
        ("floats-of-16-bits", "instead of ±1"),
        ("nan", "58 % of its samples are not numbers"),
    ],
)
def test_what_is_odd_is_reported_once(name: str, said: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    given: Input = INPUTS[name]
    (tmp_path / "a.wav").write_bytes(given.make())
    for opened in (lambda: FileSource(tmp_path / "a.wav"), lambda: PipeSource(Dribble(given.make()))):
        caplog.clear()
        source = opened()
        heard(source)
        assert len(caplog.records) == 1
        if name != "claims-half" or isinstance(source, FileSource):
            assert said in caplog.text
    caplog.clear()
    heard(FileSource(tmp_path / "a.wav", quiet=True))
    assert not caplog.records


def claims_a_second() -> bytes:
    """An M4A of six seconds whose header claims one."""
    data = bytearray(muxed("ipod", "aac"))
    scale, length = (data.index(b"mdhd") + at for at in (16, 20))
    data[length : length + 4] = data[scale : scale + 4]
    return bytes(data)


def test_an_mp4_longer_than_its_header_claims_is_read_to_its_end(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a.m4a").write_bytes(claims_a_second())
    for source in (FileSource(tmp_path / "a.m4a"), PipeSource(Dribble(claims_a_second()))):
        caplog.clear()
        samples, error = heard(source)
        assert (len(samples) / source.rate, error) == (pytest.approx(6.0, abs=0.05), None)
        assert "its header claims 1.00 s of sound, but there is more" in caplog.text


@pytest.mark.parametrize(
    ("make", "suffix"), [(claims_a_second, ".m4a"), (lambda: encoded("AIFF", "IMA_ADPCM"), ".aiff")]
)
def test_a_start_beyond_the_claimed_end_is_no_mistake(make: Callable[[], bytes], suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    path.write_bytes(make())
    source = FileSource(path, start=4.0)
    assert source.duration is None
    samples, error = heard(source)
    assert (len(samples) / source.rate, error) == (pytest.approx(2.0, abs=0.05), None)
    with pytest.raises(UsageError, match=r"--start 6\.5 lies beyond the end"):
        FileSource(path, start=6.5)


def test_what_an_encoder_adds_is_not_heard_after_a_seek_either(tmp_path: Path) -> None:
    (tmp_path / "a.mp3").write_bytes(encoded("MP3"))
    source = FileSource(tmp_path / "a.mp3", start=4.0)
    samples, _ = heard(source)
    assert len(samples) == 2 * source.rate


def test_a_title_that_is_not_utf8_is_no_obstacle() -> None:
    plain = muxed("matroska", "aac", options="title=cafe")
    latin = plain.replace(b"cafe", b"caf\xe9")
    assert latin != plain
    decoder = AvDecoder(lambda: io.BytesIO(latin), "matroska", None, True)
    assert decoder.title == "caf\ufffd"
    assert decoder.read(RATE) is not None
    decoder.close()
