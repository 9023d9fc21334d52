"""Excerpts of clips are cut as said and measured so that every clip counts once; the pictures of the figures are drawn,
and the same figures give the same pictures."""

import csv
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="pictures need the [train] extra")
pytest.importorskip("tqdm", reason="training needs the [train] extra")

import recognition_page as page
import recognition_pictures as pictures
from spans import SPANS, cut, measure, sounding

from instrec_live.models.errors import InputFileError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import SAMPLE_RATE
from instrec_live.training.datasets.clips import Clips
from instrec_live.training.evaluation.predictions import write_predictions

HEAD = {"command": "python benchmarks/x.py", "date": "2000-01-01T00:00:00"}


def ramp(seconds: float) -> np.ndarray:
    """Every sample says when it is, s."""
    return (np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE).astype(np.float32)


@pytest.mark.parametrize(
    ("seconds", "starts"), [(2, [0, 2, 4, 6, 8]), (3, [1 / 6, 3.5, 41 / 6]), (5, [0, 5]), (10, [0])]
)
def test_excerpts_lie_side_by_side(seconds: float, starts: list[float]) -> None:
    excerpts = cut(ramp(10.0), seconds)
    assert {len(excerpt) for excerpt in excerpts} == {seconds * SAMPLE_RATE}
    assert [float(excerpt[0]) for excerpt in excerpts] == pytest.approx(starts, abs=1e-3)


def test_of_a_clip_that_is_too_short_all_is_heard() -> None:
    (whole,) = cut(ramp(3.8), 5.0)
    assert np.array_equal(whole, ramp(3.8))
    (middle,) = cut(ramp(9.0), 5.0)
    assert middle[0] == pytest.approx(2.0)


def test_silence_is_left_out() -> None:
    hiss = np.random.default_rng(0).standard_normal(10 * SAMPLE_RATE).astype(np.float32)
    hiss[2 * SAMPLE_RATE : 4 * SAMPLE_RATE] *= 0.05  # -26 dB
    hiss[4 * SAMPLE_RATE : 6 * SAMPLE_RATE] *= 0.2  # -14 dB
    kept = sounding(cut(hiss, 2.0), hiss)
    assert [float(excerpt[0]) for excerpt in kept] == [float(hiss[s * SAMPLE_RATE]) for s in (0, 4, 6, 8)]
    silence = np.zeros(2 * SAMPLE_RATE, np.float32)
    assert len(sounding([silence], silence)) == 1


def test_every_clip_counts_once_and_what_is_unknown_not_at_all() -> None:
    truth, mask = np.zeros((2, 20), np.float32), np.zeros((2, 20), np.float32)
    truth[0, 0] = truth[1, 1] = mask[:, :2] = 1
    clips = Clips(["a", "b"], truth, mask, np.array(["a", "b"]), np.ones(2, bool), [])
    right, wrong = np.full(20, 0.1, np.float32), np.full(20, 0.2, np.float32)
    right[0] = wrong[0] = 0.9
    heard = [[{"x": right}], [{"x": wrong}, {"x": wrong}, {"x": wrong}]]
    figures = measure(clips, heard)["x"]
    assert figures["top-1"] == 0.5
    assert figures["mAP"] == pytest.approx((0.5 + 1.0) / 2)
    heard[0][0]["x"][2:] = 0.5
    assert measure(clips, heard)["x"] == figures


def results(folder: Path) -> Path:
    """Small files of every kind that is drawn, one with a figure that there is not."""
    figures = {"mAP": 0.8, "micro-AP": 0.7, "top-1": None, "ECE": 0.1}
    spans = [{"seconds": s, "excerpts": 4, "left_out": 0, "networks": dict.fromkeys(pictures.NETWORKS, figures)}
             for s in SPANS]  # fmt: skip
    point = {"median_detection_s": 1.2, "median_release_s": None, "tolerant": {"f1": 0.7}}
    sweep = {name: [{"value": x, **point} for x in (0.1, 0.4)] for name in list(pictures.PARAMETERS)[:5]}
    bins = [{"told": 0.05, "true": 0.02, "count": 90}, {"told": None, "true": None, "count": 0},
            {"told": 0.9, "true": 1.0, "count": 3}]  # fmt: skip
    networks = {name: {"ECE": 0.0123, "bins": bins} for name in pictures.NETWORKS}
    records: dict[str, dict[str, Any]] = {
        "spans": {"clips": 5, "spans": spans},
        "timing_sweep": {"seed": 0, "timelines": 1, "smoothing": dict.fromkeys(sweep, 0.2), "sweep": sweep},
        "reliability": {"clips": 5, "labels": 93, "networks": networks},
    }
    folder.mkdir()
    for name, record in records.items():
        (folder / f"{name}.json").write_text(json.dumps(HEAD | record))
    return folder


def test_the_same_figures_give_the_same_pictures(tmp_path: Path) -> None:
    of = results(tmp_path / "results")
    once, again = (pictures.draw(of, tmp_path / name) for name in ("once", "again"))
    assert [path.read_bytes() for path in once] == [path.read_bytes() for path in again]
    shown = re.findall(r"\]\(pictures/(.+)\)", page.figures_of(of))
    assert sorted(shown) == sorted(path.name for path in once)
    (of / "timing_sweep.json").unlink()
    (of / "reliability.json").unlink()
    assert [path.name for path in pictures.draw(of, tmp_path / "fewer")] == ["spans.svg"]


def test_reliability_counts_labelled_cells_only(tmp_path: Path) -> None:
    rows = [["a.ogg", "piano", "banjo|bass", "solo", "x"], ["b.ogg", "banjo", "", "poly", "y"]]
    with (tmp_path / "labels.csv").open("w", newline="") as handle:
        csv.writer(handle).writerows([["file", "labels", "absent", "kind", "source"], *rows])
    p = np.full((2, 20), 0.25, np.float32)
    p[0, INSTRUMENTS.index("piano")] = 1.0
    for name in pictures.NETWORKS:
        write_predictions(tmp_path / f"{name}.csv", ["a.ogg", "b.ogg"], p, p > 0.5)
    found = pictures.reliability(tmp_path, tmp_path)
    assert (found["clips"], found["labels"]) == (2, 4)
    bins = found["networks"]["ensemble"]["bins"]
    assert [b["count"] for b in bins] == [0, 0, 3, 0, 0, 0, 0, 0, 0, 1]
    assert bins[2] == {"told": 0.25, "true": 0.3333, "count": 3}
    write_predictions(tmp_path / "passt.csv", ["a.ogg"], p[:1], p[:1] > 0.5)
    with pytest.raises(InputFileError, match=r"passt\.csv: b\.ogg is missing"):
        pictures.reliability(tmp_path, tmp_path)
