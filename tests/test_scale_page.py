"""The page of scale says what the result files say, and reckons rightly."""

import scale_page as page

STREAMS = {
    "hop_s": 1.0,
    "cases": [
        {"streams": 1, "cpu": 0.02, "cpu_each": 0.02, "memory_mb": 200.0, "skipped_share": 0.0},
        {"streams": 40, "cpu": 0.4, "cpu_each": 0.01, "memory_mb": 590.0, "skipped_share": 0.0},
        {"streams": 100, "cpu": 1.1, "cpu_each": 0.011, "memory_mb": 1200.0, "skipped_share": 0.2},
    ],
}
CLUSTER = {"a long file": {"minutes": 10.0, "whole, one process": {"seconds": 30.0}}}


def test_the_plan_is_reckoned_from_what_kept_up() -> None:
    plan = "\n".join(page.plan(STREAMS, CLUSTER))
    assert "| one core | 80 streams, 80 % full (1.0 % each, as with 40) | 20 × real time |" in plan
    assert "| in all | 125 cores, 2 machines of 64 | 25,000 core-hours: 39 h on ten machines of 64 |" in plan
    assert "| memory | 62 GB a machine, 80 streams a process |" in plan  # 125 processes of 590 + 40 * 10 MB, on two
    assert "158 TB of FLAC" in plan


def test_the_page_is_up_to_date() -> None:
    assert page.main(["--check"]) == 0
