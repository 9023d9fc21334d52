"""Invalid samples on the command line never lead to invalid numbers in the output."""

import csv
import json
import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fakes import ArraySource, FloatArray, music
from tiny_bundle import write_tiny

from instrec_live.models import Tagger
from instrec_live.realtime.stream.stream import Stream
from instrec_live.realtime.stream.update import Update

RUN = [sys.executable, "-m", "instrec_live.realtime", "-q", "--pace", "max", "--json"]
WORTHLESS = (np.nan, np.inf, -np.inf, 3e38)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("numbers")
    write_tiny(here / "one", "one")
    return here


def spoilt() -> FloatArray:
    """Three seconds in which 12 samples are none, float32 [96000]."""
    sound = music(3.0)
    for number, value in enumerate(WORTHLESS):
        sound[[100 + number, 40_000 + number, 95_000 + number]] = value
    return sound


def listened(place: Path, *argv: str, sound: bytes = b"") -> list[dict[str, Any]]:
    """The records of a run; JSON proper, which knows no NaN."""
    done = subprocess.run([*RUN, *argv], cwd=place, input=sound, capture_output=True, timeout=60, env=dict(os.environ))
    assert (done.returncode, done.stderr) == (0, b"")

    def refuse(word: str) -> float:
        raise AssertionError(f"{word} came out")

    return [json.loads(line, parse_constant=refuse) for line in done.stdout.splitlines()]


def test_a_float_wav_with_nan(place: Path) -> None:
    soundfile.write(place / "spoilt.wav", spoilt(), 32_000, subtype="FLOAT")
    argv = ["--models", "./one", "--file", "spoilt.wav", "--output", "o.csv", "--force"]
    _head, *updates, summary = listened(place, *argv)
    assert [u["bad_samples"] for u in updates][-1] == summary["bad_samples"] == 12
    assert len(updates) == 6
    rows = list(csv.DictReader((place / "o.csv").read_text().splitlines()))
    assert len(rows) == 6 * 20
    assert all(0 <= float(row["probability"]) <= 1 for row in rows)


def test_a_raw_pipe_with_nan(place: Path) -> None:
    argv = ["--models", "./one", "--stdin", "--rate", "32000", "--format", "f32le"]
    _head, *updates, summary = listened(place, *argv, sound=spoilt().astype("<f4").tobytes())
    assert summary["bad_samples"] == 12
    assert [u["bad_samples"] for u in updates] == sorted(u["bad_samples"] for u in updates)
    assert all(math.isfinite(u["level_db"]) and -120 <= u["peak_db"] < 10 for u in updates)


def test_the_networks_that_ship_on_all_of_it_one_after_the_other(place: Path) -> None:
    """Two seconds each: clipped, four times too loud, an offset, denormals, zeros, and nothing but NaN."""
    two = music(2.0)
    tiny = np.where(np.arange(len(two)) % 2, 1e-40, -1e-40).astype(np.float32)
    zeros, none = np.zeros_like(two), np.full_like(two, np.nan)
    parts = [np.clip(20 * two, -1, 1), 20 * two, two + 0.5, tiny, zeros, none]
    soundfile.write(place / "all.wav", np.concatenate(parts).astype(np.float32), 32_000, subtype="FLOAT")
    _head, *updates, summary = listened(place, "--file", "all.wav", "--engine", "onnx")
    assert len(updates) == 24
    for update in updates:
        every = [update["probabilities"], *update["by_model"].values()]
        assert len(every) == 4
        assert all(0 <= p <= 1 for each in every for p in each.values())
    assert updates[2]["peak_db"] == 0.0  # the screen says CLIP from -0.1 dB on
    assert updates[6]["peak_db"] > 6.0
    assert [u["level_db"] for u in updates[13:]] == [-120.0] * 11  # the resampler's echo of the offset is over
    assert {u["state"] for u in updates[16:]} == {"QUIET"}
    assert not any(u["active"] for u in updates[16:])
    assert summary["bad_samples"] == len(two)


def test_an_offset_neither_shows_nor_hides_an_instrument() -> None:
    """A cheap microphone's: half of full scale, under the demo's playing and under nothing."""
    demo = Path(__file__).parents[3] / "realtime" / "demo" / "demo.ogg"
    samples, rate = soundfile.read(demo, dtype="float32", always_2d=True, frames=12 * 44_100)
    sound, tagger = samples.mean(axis=1), Tagger.load(engine="onnx")

    def updates_of(sound: FloatArray) -> list[Update]:
        return list(Stream(source=ArraySource(sound, rate), pace="max", tagger=tagger))

    plain, offset = updates_of(sound), updates_of(sound + np.float32(0.5))
    assert any(u.active for u in plain)
    differ = max(np.abs(a.probabilities - b.probabilities).max() for a, b in zip(plain, offset, strict=True))
    assert differ < 0.02  # not 0: the resampler rings at the step with which the offset begins
    assert [u.active for u in plain] == [u.active for u in offset]
    assert not any(u.active for u in updates_of(np.full(6 * rate, 0.5, np.float32)))
