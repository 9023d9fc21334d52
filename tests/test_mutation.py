"""The figures of the mutants on docs/reliability.md, and the survivors' explanations, are of this code."""

import json

import mutation
import pages
import pytest

RESULT = json.loads((pages.RESULTS / "mutation.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("module", mutation.MODULES)
def test_nine_in_ten_are_detected_and_every_survivor_is_explained(module: str) -> None:
    result = RESULT["modules"][module]
    assert result["mutants"] == result["killed"] + result["timeouts"] + result["survived"] > 50
    assert result["share"] == round(1 - result["survived"] / result["mutants"], 4) >= 0.9
    assert len(result["survivors"]) == result["survived"]
    unexplained = [each for each in result["survivors"] if not mutation.why(module, each, mutation.explanations())]
    assert unexplained == []


@pytest.mark.parametrize("explained", mutation.explanations(), ids=lambda each: f"{each['function']}: {each['was']}")
def test_no_explanation_outlives_its_code(explained: dict[str, str]) -> None:
    survivors = RESULT["modules"][explained["module"]]["survivors"]
    assert [each for each in survivors if mutation.why(explained["module"], each, [explained])], "it does not survive"
    assert mutation.line_of(mutation.CHECKOUT / explained["module"], explained["was"], explained["function"])


def test_names_and_lines_of_mutants() -> None:
    assert mutation.function("instrec_live.models.bundle.x_write_bundle__mutmut_80") == "write_bundle"
    assert mutation.function("instrec_live.models.bundle.x__golden__mutmut_1") == "_golden"
    mutant = "instrec_live.realtime.stream.smoothing.xǁSmootherǁ__init____mutmut_8"
    assert mutation.function(mutant) == "Smoother.__init__"
    file = mutation.CHECKOUT / "realtime" / "audio" / "ring_buffer.py"
    lines = file.read_text(encoding="utf-8").splitlines()
    closed = mutation.line_of(file, "self._closed = True", "RingBuffer.close")
    assert lines[closed - 1].strip() == "self._closed = True"
    with pytest.raises(ValueError, match="not in list"):
        mutation.line_of(file, "self._closed = None", "RingBuffer.close")


def test_an_explanation_is_of_one_change_only() -> None:
    survivor = {"function": "f", "was": "a < b", "becomes": "a <= b"}
    explained = [{"module": "m.py", "why": "never equal", **survivor}]
    assert mutation.why("m.py", survivor, explained) == "never equal"
    assert mutation.why("n.py", survivor, explained) is None
    assert mutation.why("m.py", survivor | {"becomes": "a > b"}, explained) is None
