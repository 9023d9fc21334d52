"""benchmarks/pages.py: every page of docs/ shows the figures of the result files."""

import importlib
import json
from pathlib import Path

import pages
import pytest

BUDGETS = {
    "command": "python benchmarks/budgets.py",
    "date": "2026-01-02T03:04:05",
    "machine": "a processor",
    "budgets": {
        "first screen, s": {"limit": 1.5, "measured": 1.0, "command": "instrec-live --demo"},
        "age, s": {"limit": 0.65, "measured": 0.9, "command": "instrec-live"},
        "--pace max, times real time, at least": {"limit": 10, "measured": 8.0, "command": "instrec-live"},
    },
}
ROW = {"clips": 3, "mAP": 0.5, "mAP_low": 0.4, "mAP_high": 0.6, "micro_AP": 0.75, "F1_shown": 0.25, "ECE": 0.1}
REPORT = {"date": "2000-01-01", "figures": {"ensemble": dict.fromkeys([*pages.SETS, "mixtures_fitted"], ROW)}}
STREAMS = {
    "hop_s": 1.0,
    "cases": [
        {"streams": 1, "cpu": 0.02, "cpu_each": 0.02, "memory_mb": 200.0, "skipped_share": 0.0},
        {"streams": 40, "cpu": 0.4, "cpu_each": 0.01, "memory_mb": 590.0, "skipped_share": 0.0},
        {"streams": 100, "cpu": 1.1, "cpu_each": 0.011, "memory_mb": 1200.0, "skipped_share": 0.2},
    ],
}
CLUSTER = {"a long file": {"minutes": 10.0, "whole, one process": {"seconds": 30.0}}}


@pytest.mark.parametrize("name", pages.PAGES)
def test_the_page_is_up_to_date(name: str) -> None:
    assert pages.main([name, "--check"]) == 0, "run: python benchmarks/pages.py"


def test_a_page_is_checked_or_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "engines.md"
    page.write_text("ü\n<!-- triton -->\nold\n<!-- end of triton -->\n", encoding="utf-8")
    assert pages.main(["engines", "--check"], tmp_path) == 1
    assert "engines.md is out of date" in capsys.readouterr().out
    assert "old" in page.read_text("utf-8")
    assert pages.main(["engines"], tmp_path) == 0
    assert page.read_text("utf-8").startswith("ü\n<!-- triton -->\n| ms a window |")
    assert pages.main(["engines", "--check"], tmp_path) == 0
    for wrong in ("--chekc", "engine"):
        with pytest.raises(SystemExit):
            pages.main([wrong], tmp_path)


def test_only_the_text_between_the_marks_changes() -> None:
    text = "before\n<!-- a -->\nold\n<!-- end of a -->\nafter"
    assert pages.filled(text, "new", "a") == "before\n<!-- a -->\nnew\n<!-- end of a -->\nafter"
    assert pages.filled(pages.filled(text, "new", "a"), "new", "a") == pages.filled(text, "new", "a")


def test_a_page_without_marks_is_refused() -> None:
    with pytest.raises(ValueError, match="lacks"):
        pages.filled("no marks", "new")


def test_a_missed_budget_is_marked() -> None:
    table = "\n".join(pages.budgets(BUDGETS))
    assert "| first screen, s | 1.5 | 1 | `instrec-live --demo` |" in table
    assert "| age, s | 0.65 | 0.9 **(missed)** |" in table
    assert "| 10 | 8 **(missed)** |" in table  # where more is better
    assert "2026-01-02, a processor" in table


def test_an_engine_that_cannot_run_is_a_row_too() -> None:
    record = BUDGETS | {
        "engines": [
            {"engine": "onnx", "precision": "fp32", "ok": True, "p50_ms": 1500.0, "p95_ms": 5000.0,
             "resident_mb": 700.0, "verdict": "keeps up at 6 s"},
            {"engine": "tensorrt", "precision": "fp16", "ok": False, "verdict": "cannot be used: no GPU"},
        ],
        "asked_for_less": {"hop": 0.5, "state": "CATCHING UP", "skipped": 30, "hops": 40},
    }  # fmt: skip
    table = "\n".join(pages.passt_s(record))
    assert "| onnx, fp32 | 1.50 | 5.00 | 700 | keeps up at 6 s |" in table
    assert "| tensorrt, fp16 | – | – | – | cannot be used: no GPU |" in table
    assert "CATCHING UP and counts what it skips: 30 of 40 hops" in table


def test_the_table_shows_figures_intervals_and_gaps() -> None:
    table = "\n".join(pages.tagging(REPORT))
    assert "| ensembles, 3 | ensemble | 0.50 [0.40–0.60] | 0.75 | – | 0.25 | 0.10 |" in table
    assert table.index("ensembles, 3") < table.index("mixtures, 3") < table.index("solos and others, 3")


def test_the_demo_table_reads_what_the_demo_benchmark_writes() -> None:
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
    figures = "\n".join(pages.following(json.loads(json.dumps(record))))
    assert f"{len(events)} of {len(events)} entries" in figures
    assert "recall: 100%" in figures


def test_the_plan_uses_the_largest_case_that_kept_up() -> None:
    plan = "\n".join(pages.plan(STREAMS, CLUSTER))
    assert "| one core | 80 streams, 80 % loaded (1.0 % each, as with 40) | 20 × real time |" in plan
    assert "| in all | 125 cores, 2 machines of 64 | 25,000 core-hours: 39 h on ten machines of 64 |" in plan
    assert "| memory | 62 GB a machine, 80 streams a process |" in plan  # 125 processes of 590 + 40 * 10 MB, on two
    assert "158 TB of FLAC" in plan
