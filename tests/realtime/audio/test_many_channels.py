"""Sound of more channels than PyAV's frames can list: read, and no crash where damage claims them. And of too few."""

import io
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from fakes import ArraySource, music

from instrec_live.realtime.audio import FileSource, PipeSource, Source
from instrec_live.realtime.errors import UsageError
from instrec_live.realtime.stream.capture import MonoReader


def all_of(source: Source) -> np.ndarray:
    blocks = []
    while (block := source.read()) is not None:
        blocks.append(block)
    source.close()
    return np.concatenate(blocks)


@pytest.mark.parametrize(
    ("container", "subtype"),
    [("OGG", "VORBIS"), ("OGG", "OPUS"), ("FLAC", "PCM_16"), ("WAVEX", "PCM_16"), ("CAF", "PCM_16"), ("WAV", "PCM_16")],
)
def test_six_channels_come_in_one_order(container: str, subtype: str, tmp_path: Path) -> None:
    """Of Ogg, libsndfile keeps Xiph's own order and FFmpeg gives its: a file and a pipe must not differ."""
    rate = 48_000
    tones = 0.3 * np.sin(2 * np.pi * np.outer(np.arange(rate) / rate, (300, 500, 700, 60, 1_100, 1_300)))
    out = io.BytesIO()
    soundfile.write(out, tones, rate, subtype, format=container)
    path = tmp_path / "a"
    path.write_bytes(out.getvalue())
    in_file, in_pipe = all_of(FileSource(path)), all_of(PipeSource(io.BytesIO(out.getvalue())))
    heard = [np.abs(np.fft.rfft(each, axis=0)).argmax(axis=0).tolist() for each in (in_file, in_pipe)]
    assert len(set(heard[0])) == 6
    assert heard[0] == heard[1]


@pytest.mark.parametrize("channels", [7, 8])
def test_as_many_channels_of_vorbis_as_a_frame_lists(channels: int) -> None:
    out = io.BytesIO()
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (48_000, channels))
    soundfile.write(out, noise, 48_000, "VORBIS", format="OGG")
    for _ in range(5):  # it did not crash each time
        assert all_of(PipeSource(io.BytesIO(out.getvalue()))).shape == noise.shape


@pytest.mark.parametrize("codec", ["wavpack", "pcm_s16le"])
def test_sixteen_channels_in_matroska(codec: str, tmp_path: Path) -> None:
    path, layout, rate = tmp_path / "a.mka", "hexadecagonal", 32_000
    wanted = np.random.default_rng(0).uniform(-0.5, 0.5, (rate, 16)).astype(np.float32)
    with av.open(str(path), "w", format="matroska") as container:
        stream = container.add_stream(codec, rate=rate, layout=layout)
        stream.codec_context.open()
        frame = av.AudioFrame.from_ndarray(wanted.reshape(1, -1), format="flt", layout=layout)
        frame.rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        context = stream.codec_context
        resampler = av.AudioResampler(context.format, layout, rate, context.frame_size or 1024)
        for piece in resampler.resample(frame) + resampler.resample(None):
            container.mux(stream.encode(piece))
        container.mux(stream.encode(None))
    np.testing.assert_allclose(all_of(FileSource(path)), wanted, atol=0.004)  # WavPack is written with 8 bits


def test_a_source_that_comes_back_with_fewer_channels_is_one_clear_line() -> None:
    with pytest.raises(UsageError, match="array has 1 channels: there is no channel right"):
        list(MonoReader(ArraySource(music(1.0)), channel="right"))
