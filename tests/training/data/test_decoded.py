"""Decoded audio, kept once."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("tqdm", reason="training needs the [train] extra")

from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.training.data import decoded
from instrec_live.training.data.decoded import DecodedClips, expected_bytes
from instrec_live.training.data.sounds import load


def write(folder: Path, count: int = 3) -> list[Path]:
    rng = np.random.default_rng(0)
    paths = []
    for k in range(count):
        path = folder / f"{k}.wav"
        soundfile.write(path, rng.normal(0, 0.1 * (k + 1), 16_000 + k), 32_000, subtype="FLOAT")
        paths.append(path)
    return paths


def test_the_clips_are_what_they_were_and_are_read_once(tmp_path: Path) -> None:
    paths, calls = write(tmp_path), []

    def read(path: Path) -> np.ndarray:
        calls.append(path)
        return load(path)

    for _ in range(2):
        clips = DecodedClips(paths, tmp_path / "cache", read, quiet=True)
        for place, path in enumerate(paths):
            samples = load(path)
            assert len(clips[place]) == len(samples)
            np.testing.assert_allclose(clips[place], samples, atol=np.abs(samples).max() / 32_000)
    assert calls == paths
    assert abs(expected_bytes(paths) - sum(len(load(path)) for path in paths) * 2) < 100


def test_an_altered_clip_is_decoded_again(tmp_path: Path) -> None:
    paths = write(tmp_path)
    DecodedClips(paths, tmp_path / "cache", load, quiet=True)
    soundfile.write(paths[1], np.zeros(8_000), 32_000)
    assert not DecodedClips(paths, tmp_path / "cache", load, quiet=True)[1].any()


def test_a_cache_that_does_not_fit_is_refused_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = write(tmp_path)
    with pytest.raises(InputFileError, match="gone"):
        DecodedClips([*paths, tmp_path / "gone.wav"], tmp_path / "cache", load, quiet=True)
    monkeypatch.setattr(decoded, "expected_bytes", lambda paths: 10**18)
    with pytest.raises(UsageError, match="GB are needed"):
        DecodedClips(paths, tmp_path / "cache", load, quiet=True)
    assert not list((tmp_path / "cache").glob("*.i16"))
