"""docs/reliability.md names tests that there are, leaves no scenario out, and has the figures that were measured."""

import json
import re
from pathlib import Path

import fuzz_page
import pytest
import ring_page
from fuzz import COUNTS

TESTS = Path(__file__).parent
PAGE = fuzz_page.PAGE.read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(test_\w+\.py)::(\w+)`", PAGE)))
ROWS = re.findall(r"^\| (\d+) \| (.*) \| (.*) \| (.*) \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("file", "name"), NAMED)
def test_a_test_that_is_named_exists(file: str, name: str) -> None:
    assert re.search(rf"^(async def|def|class)? ?{name}\b", (TESTS / file).read_text(encoding="utf-8"), re.MULTILINE)


def test_every_scenario_is_proved_or_open() -> None:
    assert [int(number) for number, *_ in ROWS] == list(range(1, 41))
    assert len(NAMED) > 80
    for number, _, _, proof in ROWS:
        assert "`test_" in proof or proof.startswith("**Open"), number
        assert len(re.findall(r"test_\w+\.py", proof)) == len(re.findall(r"`test_\w+\.py::\w+`", proof)), number


def test_the_figures_are_those_of_the_result() -> None:
    result = json.loads(fuzz_page.RESULT.read_text(encoding="utf-8"))
    assert fuzz_page.main(["--check"]) == 0
    assert {name: kind["inputs"] for name, kind in result["kinds"].items()} == COUNTS
    assert result["defects"] == 0
    assert result["inputs"] == sum(COUNTS.values()) >= 10_000
    assert result["slowest_s"] < 5


def test_the_figures_of_the_ring_are_those_measured() -> None:
    assert ring_page.main(["--check"]) == 0
