"""The same five seconds give the same probabilities, however they come in. The long version is a benchmark."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
import same_sound as bench
import soundfile
from demo_sound import RATE, Way, at_rate, clip, lag_of, reference, spread, write
from same_sound import Heard, difference
from tiny_bundle import write_tiny

from instrec_live.models.bundle import BUNDLES, DEFAULT_MODELS
from instrec_live.models.tagger import Tagger
from instrec_live.realtime.stream.stream import Stream

SECONDS = 5.0
# Greatest and mean |difference| of the probabilities.
RESAMPLED = 0.005, 0.0005  # another resampler, and rounding
LOSSLESS = 0.02, 0.001  # 16 bits, whose rounding is heard where the treble is empty; the edge of a low rate's band
LOSSY = 0.15, 0.004  # ogg and mp3 leave out some of what networks hear


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Tagger:
    """The bundled networks; where none are there, a tiny one."""
    if all((BUNDLES / name).is_dir() for name in DEFAULT_MODELS):
        return Tagger.load()
    write_tiny(folder := tmp_path_factory.mktemp("models") / "tiny")
    return Tagger.load([folder])


def listen(tagger: Tagger, **source: object) -> Heard:
    with Stream(tagger=tagger, pace="max", **source) as stream:  # type: ignore[arg-type]
        updates = list(stream)
    times = np.array([update.time for update in updates])
    return Heard(times, np.stack([u.probabilities for u in updates]), [frozenset(u.active) for u in updates])


@pytest.fixture(scope="module")
def wanted(tagger: Tagger, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Heard]:
    """What the reference gives: as it is (32 kHz), and having gone through 8 kHz."""
    folder, heard = tmp_path_factory.mktemp("wanted"), {}
    for through in (RATE, 8_000):
        soundfile.write(folder / "reference.wav", reference(SECONDS, through), RATE, "FLOAT")
        heard[through] = listen(tagger, file=folder / "reference.wav")
    return heard


@pytest.mark.parametrize(
    ("way", "tolerance"),
    [
        (Way("wav 24-bit", 48_000, 2, SECONDS), RESAMPLED),
        (Way("wav 24-bit", 192_000, 2, SECONDS), RESAMPLED),
        (Way("wav 24-bit", 8_000, 2, SECONDS), LOSSLESS),
        (Way("wav 16-bit", 48_000, 2, SECONDS), LOSSLESS),
        (Way("flac", 44_100, 8, SECONDS), LOSSLESS),
        (Way("ogg", 44_100, 2, SECONDS), LOSSY),
        (Way("mp3", 44_100, 2, SECONDS), LOSSY),
    ],
    ids=lambda value: f"{value.format} {value.rate} Hz {value.channels} ch" if isinstance(value, Way) else "",
)
def test_a_file(
    way: Way, tolerance: tuple[float, float], tagger: Tagger, wanted: dict[int, Heard], tmp_path: Path
) -> None:
    assert_same(listen(tagger, file=write(way, tmp_path)), wanted[min(way.rate, RATE)], tolerance)


def test_a_pipe(tagger: Tagger, wanted: dict[int, Heard]) -> None:
    pcm = np.rint(clip(SECONDS) * 32_767).astype("<i2").tobytes()
    assert_same(listen(tagger, stdin=io.BytesIO(pcm), rate=44_100, channels=2), wanted[RATE], LOSSLESS)


def assert_same(heard: Heard, wanted: Heard, tolerance: tuple[float, float]) -> None:
    gaps = difference(heard, wanted)
    assert (gaps["updates"], gaps["missing"]) == (10, 0)
    assert gaps["max"] <= tolerance[0], gaps
    assert gaps["mean"] <= tolerance[1], gaps


def test_another_sound_is_not_the_same(tagger: Tagger, wanted: dict[int, Heard], tmp_path: Path) -> None:
    """The tolerances above would notice a wrong rate, and the loss of the treble."""
    sound = clip(SECONDS)
    soundfile.write(tmp_path / "fast.wav", sound, 48_000)
    assert difference(listen(tagger, file=tmp_path / "fast.wav"), wanted[RATE])["max"] > 2 * LOSSLESS[0]
    assert difference(wanted[8_000], wanted[RATE])["max"] > 2 * LOSSLESS[0]


def heard(*rows: float, start: float = 0.5) -> Heard:
    times = start + 0.5 * np.arange(len(rows))
    return Heard(times, np.array([[p] * 20 for p in rows]), [frozenset({"piano"} if p > 0.5 else ()) for p in rows])


def test_the_comparison_pairs_updates_by_time() -> None:
    gaps = difference(heard(0.1, 0.6, 0.9), heard(0.1, 0.4))
    assert gaps == {"updates": 2, "missing": 0, "max": 0.2, "mean": 0.1, "same_active": 0.5}
    assert difference(heard(0.1, start=0.53), heard(0.1))["missing"] == 0
    assert difference(heard(0.1), heard(0.1, 0.1))["missing"] == 1
    assert difference(heard(0.1, start=9), heard(0.1)) == {
        "updates": 0, "missing": 1, "max": 1.0, "mean": 1.0, "same_active": 0.0,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "bad"),
    [
        ({}, False),
        ({"max": 0.031}, True),
        ({"missing": 1}, True),
        ({"max": 0.031, "rate": 22_050}, False),
        ({"max": 0.031, "lossless": False}, False),
    ],
)
def test_what_counts_as_a_fault(changes: dict[str, object], bad: bool) -> None:
    assert bench.fault({"lossless": True, "rate": 32_000, "max": 0.019, "missing": 0} | changes) == bad
    assert not bench.fault({"format": "microphone", "skipped": "none here"})


def test_the_clip_in_other_shapes() -> None:
    stereo = clip(1.0)
    assert stereo.shape == (44_100, 2)
    for channels in (1, 2, 6, 8):
        many = spread(stereo, channels)
        assert many.shape == (44_100, channels)
        np.testing.assert_allclose(many.mean(axis=1), stereo.mean(axis=1), atol=1e-6)
    assert at_rate(stereo, 96_000).shape == (96_000, 2)
    late = np.concatenate([np.zeros(1_234, np.float32), reference(1.0), np.zeros(500, np.float32)])
    assert lag_of(reference(1.0), late) == 1_234


def test_the_table_says_what_was_not_run_and_what_was_lost() -> None:
    row = {"format": "wav", "rate": 8_000, "channels": 2, "seconds": 12.0, "lossless": True, "missing": 1}
    row |= {"max": 0.01, "mean": 0.001, "same_active": 1.0}
    row["plain"] = {"max": 0.5, "mean": 0.02, "same_active": 0.9}
    ways = [row, {"format": "pipe, sox", "skipped": "sox is not installed"}]
    lines = bench.table({"command": "x", "date": "2000-01-01T00:00:00", "ways": ways}).splitlines()
    assert "| wav | 8000 | 2 | 12 | 0.0100 (0.50) | 0.0010 (0.020) | 100% (90%), 1 updates missing |" in lines
    assert "| pipe, sox | – | – | – | not run: sox is not installed | – | – |" in lines


def test_the_committed_page_is_what_the_result_gives() -> None:
    assert bench.main(["--check"]) == 0, "run: python benchmarks/same_sound.py"
    assert not any(map(bench.fault, json.loads(bench.RESULT.read_text(encoding="utf-8"))["ways"]))
