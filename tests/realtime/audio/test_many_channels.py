"""Sound of more channels than PyAV's frames can list: read, and no crash where damage claims them."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from instrec_live.realtime.audio.file import FileSource


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
    source, blocks = FileSource(path), []
    while (block := source.read()) is not None:
        blocks.append(block)
    source.close()
    np.testing.assert_allclose(np.concatenate(blocks), wanted, atol=0.004)  # WavPack is written with 8 bits
