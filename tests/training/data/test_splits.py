"""The reference's four splits, by key and seed: sizes and overlaps as they were counted in its notebooks' results."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="training needs the [train] extra")

from instrec_live.models.errors import UsageError
from instrec_live.training.data.splits import paper_split
from instrec_live.training.data.table import Table


def clips(source: str, keys: list[str]) -> Table:
    n = len(keys)
    paths = tuple(Path(source) / f"{key}.wav" for key in keys)
    cells = np.zeros((n, 20), np.float32)
    return Table(paths, np.full(n, source), np.array(keys), np.full(n, "train"), cells, cells)


@pytest.fixture(scope="module")
def everything() -> Table:
    """2,200 mixtures and 20,000 clips, in an order that is not the reference's."""
    mixtures = clips("synthetic", [f"mix_{i:05d}" for i in range(2200)])
    real = clips("openmic", [f"{7 * i:06d}_{i % 11}" for i in range(20_000)])
    rows = np.random.default_rng(0).permutation(22_200)
    return Table.join([real, mixtures])[rows]


@pytest.fixture(scope="module")
def splits(everything: Table) -> dict[str, dict[str, set[str]]]:
    """Keys by split by variant."""
    found = {variant: paper_split(everything, variant) for variant in "ABCD"}
    return {
        variant: {split: {path.stem for path in table.of(split).paths} for split in ("train", "valid", "test")}
        for variant, table in found.items()
    }


def mixtures(keys: set[str]) -> int:
    return sum(key.startswith("mix") for key in keys)


def test_sizes(splits: dict[str, dict[str, set[str]]]) -> None:
    sizes = {variant: tuple(len(keys) for keys in split.values()) for variant, split in splits.items()}
    assert sizes == {
        "A": (17_760, 2_220, 2_220),
        "B": (16_000, 2_000, 2_000),
        "C": (18_200, 2_000, 2_000),
        "D": (18_200, 2_000, 2_000),
    }


def test_where_synthetic_clips_went(splits: dict[str, dict[str, set[str]]]) -> None:
    went = {variant: tuple(mixtures(keys) for keys in split.values()) for variant, split in splits.items()}
    assert went == {"A": (1_781, 202, 217), "B": (0, 0, 0), "C": (2_200, 0, 0), "D": (2_200, 0, 0)}


@pytest.mark.parametrize(
    ("one", "other", "shared"),
    [
        ("A test", "B test", 220),
        ("B test", "A train", 1_586),
        ("D test", "A train", 1_573),
        ("D test", "C train", 1_595),
        ("D valid", "A train", 1_596),
        ("D valid", "C train", 1_605),
    ],
)
def test_overlaps(splits: dict[str, dict[str, set[str]]], one: str, other: str, shared: int) -> None:
    first, second = (splits[variant][split] for variant, split in (one.split(), other.split()))
    assert len(first & second) == shared


def test_c_tests_on_the_clips_of_b(splits: dict[str, dict[str, set[str]]]) -> None:
    assert splits["C"]["test"] == splits["B"]["test"]
    assert splits["C"]["valid"] == splits["B"]["valid"]
    assert splits["D"]["test"] != splits["B"]["test"]


def test_another_seed_is_another_split(everything: Table, splits: dict[str, dict[str, set[str]]]) -> None:
    other = paper_split(everything, "A", seed=43).of("test")
    assert {path.stem for path in other.paths} != splits["A"]["test"]


def test_order_is_the_references_whatever_came_in(everything: Table) -> None:
    table = paper_split(everything, "A")
    assert [path.stem for path in table.paths[:3]] == ["mix_00000", "mix_00001", "mix_00002"]
    assert table.paths[2200].stem == "000000_0"
    np.testing.assert_array_equal(table.split, paper_split(table, "A").split)


def test_another_number_of_clips_is_reported(everything: Table, caplog: pytest.LogCaptureFixture) -> None:
    paper_split(everything, "C")
    assert not caplog.text
    paper_split(everything[100:], "B")
    assert "not the paper's 20000" in caplog.text


def test_what_the_reference_did_not_have_is_refused(everything: Table) -> None:
    with pytest.raises(UsageError, match="no split 'E'"):
        paper_split(everything, "E")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="irmas-test"):
        paper_split(clips("irmas-test", ["a", "b", "c", "d", "e"]), "A")
    with pytest.raises(UsageError, match="too few"):
        paper_split(clips("openmic", ["a", "b"]), "B")
