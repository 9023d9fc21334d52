"""The page of costs says what the result files say."""

import performance_page as page

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


def test_a_missed_budget_says_so() -> None:
    table = "\n".join(page.budgets(BUDGETS))
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
    table = "\n".join(page.passt_s(record))
    assert "| onnx, fp32 | 1.50 | 5.00 | 700 | keeps up at 6 s |" in table
    assert "| tensorrt, fp16 | – | – | – | cannot be used: no GPU |" in table
    assert "CATCHING UP by itself and counts what it skips: 30 of 40 hops" in table


def test_the_page_is_up_to_date() -> None:
    assert page.main(["--check"]) == 0
