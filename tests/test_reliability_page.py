"""docs/reliability.md names tests that there are, leaves no scenario out, and has the figures that were measured."""

import json
import re
from pathlib import Path

import pages
import pytest
from fuzz import COUNTS

TESTS = Path(__file__).parent
PAGE = (pages.DOCS / "reliability.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(test_\w+\.py)::(\w+)`", PAGE)))
ROWS = re.findall(r"^\| (\d+) \| (.*) \| (.*) \| (.*) \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_is_named_exists(file: str, name: str) -> None:
    (path,) = TESTS.rglob(file)
    assert re.search(rf"^(async def|def|class)? ?{name}\b", path.read_text(encoding="utf-8"), re.MULTILINE)


def test_every_scenario_is_proved_or_open() -> None:
    assert [int(number) for number, *_ in ROWS] == list(range(1, 41))
    assert len(NAMED) > 80
    for number, _, _, proof in ROWS:
        assert "`test_" in proof or proof.startswith("**Open"), number
        assert len(re.findall(r"test_\w+\.py", proof)) == len(re.findall(r"`test_\w+\.py::\w+`", proof)), number


def test_the_fuzz_results_have_no_defects() -> None:
    result = json.loads((pages.RESULTS / "fuzz.json").read_text(encoding="utf-8"))
    assert {name: kind["inputs"] for name, kind in result["kinds"].items()} == COUNTS
    assert result["defects"] == 0
    assert result["inputs"] == sum(COUNTS.values()) >= 10_000
    assert result["slowest_s"] < 5
