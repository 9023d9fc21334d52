"""A few hundred of the damaged inputs of benchmarks/fuzz.py; and that it detects each kind of defect."""

import sys
from pathlib import Path

import fuzz
import fuzz_mutants
import numpy as np
import pytest
from misbehaving import WAYS

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits and figures are Linux's")

COUNTS = {
    "files": 250, "headers": 100, "pipes": 100, "settings": 60, "thresholds": 60, "command lines": 20, "bundles": 120,
    "reports": 30,
}  # fmt: skip


@pytest.fixture(autouse=True)
def _modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent / "support"))


@pytest.mark.parametrize("kind", COUNTS)
def test_damaged_input_ends_well_or_in_one_line(kind: str, tmp_path: Path) -> None:
    if kind == "bundles":
        pytest.importorskip("onnx", reason="makes the networks whose weights lie elsewhere")
    found = fuzz.tried(kind, 7, COUNTS[kind], tmp_path)
    assert found["examples"] == []
    assert found["fine"] + found["refused"] == COUNTS[kind]
    assert found["refused"] > COUNTS[kind] / 10, "nothing was damaged; the test shows nothing"
    assert found["distinct"] > 2


@pytest.mark.timing
def test_each_kind_of_defect_is_detected(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fuzz, "PATIENCE", 1.5)
    monkeypatch.setattr(fuzz, "SLOW", 1.4)
    folder = tmp_path / "scratch"
    folder.mkdir()
    found = fuzz.tried("all", 0, len(WAYS), folder, "misbehaving")
    outcomes = {example["number"]: example["outcome"] for example in found["examples"]}
    assert (found["fine"], found["refused"], found["defects"]) == (1, 1, len(WAYS) - 2)
    for number, (_, outcome) in enumerate(WAYS[2:], 2):
        assert outcomes[number].startswith(outcome)
    assert [path.name for path in tmp_path.iterdir()] == ["scratch"]


def test_the_same_seed_is_the_same_damage() -> None:
    def all_of(seed: int) -> list[bytes]:
        rng = np.random.default_rng(seed)
        return [fuzz_mutants.damaged(bytes(range(256)) * 4, b"RIFFdata" * 40, rng) for _ in range(200)]

    assert all_of(1) == all_of(1)
    assert all_of(1) != all_of(2)
    assert sum(content == bytes(range(256)) * 4 for content in all_of(1)) < 40


def test_a_tree_is_damaged_in_one_place_and_the_good_one_is_left_alone() -> None:
    tree = {"a": [1, 2, {"b": "c"}], "d": 0.5}
    rng = np.random.default_rng(0)
    damaged = [fuzz_mutants.damaged_tree(tree, rng) for _ in range(100)]
    assert tree == {"a": [1, 2, {"b": "c"}], "d": 0.5}
    assert sum(each != tree for each in damaged) > 90
    assert sum(isinstance(each, dict) and each.get("d") == 0.5 for each in damaged) > 30
