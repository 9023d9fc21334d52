"""The page of figures says what the result files say."""

import importlib
import json
import re
from pathlib import Path

import pytest
import recognition_page as page

from instrec_live.models.instruments import INSTRUMENTS

REPORT = {
    "runs/ensemble.csv": {
        "all": {
            "clips": 3,
            "mAP": 0.5,
            "top-1": float("nan"),
            "F1 shown": 0.25,
            "interval": {"mAP": [0.4, 0.6]},
            "AP": {INSTRUMENTS[0]: 0.75},
        }
    }
}


def test_the_table_shows_figures_intervals_and_gaps() -> None:
    table = "\n".join(page.tagging(REPORT))
    assert "| ensemble | all, 3 | 0.50 [0.40–0.60] | – | – | 0.25 | – |" in table
    assert "| accordion | 0.75 |" in table
    assert "nan" not in table


def test_only_what_stands_between_the_marks_changes() -> None:
    text = f"before\n{page.BEGIN}\nold\n{page.END}\nafter"
    assert page.filled(text, "new") == f"before\n{page.BEGIN}\nnew\n{page.END}\nafter"
    assert page.filled(page.filled(text, "new"), "new") == page.filled(text, "new")


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks"):
        page.filled("no marks", "new")


def test_no_results_no_figures(tmp_path: Path) -> None:
    assert "No result files" in page.figures_of(tmp_path)


def test_the_committed_page_is_what_the_committed_results_say() -> None:
    assert page.main(["--check"]) == 0, "run: python benchmarks/recognition_page.py"


def test_the_demo_table_reads_what_the_demo_benchmark_writes(tmp_path: Path) -> None:
    demo = importlib.import_module("demo_timeline")
    events, duration = demo.read_timeline()
    updates = [demo.Shown(t / 2, frozenset(e.instrument for e in events)) for t in range(int(2 * duration))]
    record = {
        "command": "x",
        "date": "2000-01-01T00:00:00",
        "release_tolerance_s": 3.0,
        "within_s": 3.0,
        **demo.score(events, updates, duration),
    }
    (tmp_path / "demo_timeline.json").write_text(json.dumps(record))
    figures = page.figures_of(tmp_path)
    assert f"{len(events)} of {len(events)} entries" in figures
    assert "of those heard, 100% were shown" in figures


def test_spans_are_told_in_a_table_with_a_picture(tmp_path: Path) -> None:
    def span(seconds: float, top1: float | None) -> dict[str, object]:
        figures = {"mAP": 0.804, "micro-AP": 0.7, "top-1": top1, "ECE": 0.1}
        return {"seconds": seconds, "excerpts": 9, "left_out": 1, "networks": {"ensemble": figures, "passt": figures}}

    record = {"command": "python benchmarks/spans.py dev", "date": "2000-01-01T00:00:00", "clips": 5, "recordings": 4,
              "spans": [span(2.0, 0.751), span(10.0, None)]}  # fmt: skip
    (tmp_path / "spans.json").write_text(json.dumps(record))
    figures = page.figures_of(tmp_path)
    assert "| mAP / top-1 | ensemble | passt |" in figures
    assert "| 2 s | 0.80 / 0.75 | 0.80 / 0.75 |" in figures
    assert "| 10 s | 0.80 / – | 0.80 / – |" in figures
    assert "`spans.py`, 2000-01-01: excerpts of 5 clips, every clip counting once; 2 of 20 left out" in figures
    assert re.findall(r"!\[.+\]\((.+)\)", figures) == ["pictures/spans.svg"], "no other picture has its figures there"
