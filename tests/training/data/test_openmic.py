"""OpenMIC-2018 as it lies on disk, and what is wrong with a folder that only resembles it."""

import csv
import json
import os
import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="training needs the [train] extra")
pytest.importorskip("tqdm", reason="training needs the [train] extra")

from fake_openmic import COLUMNS, lay_out_openmic, write_fake_openmic

from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.training.data import openmic
from instrec_live.training.data.clips import clips_of
from instrec_live.training.data.openmic import CORRUPTED_TRACKS, OPENMIC_COUNTS, PARTITION_SIZES, read_openmic

LABELS = "openmic-2018-aggregated-labels.csv"


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out_openmic(tmp_path_factory.mktemp("whole") / "openmic-2018", clips=48, seconds=0.1)


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    """A copy to spoil. Its audio is the same files: take one away before writing another in its place."""

    def copy(source: str, to: str) -> None:
        (os.link if source.endswith(".ogg") else shutil.copy)(source, to)

    unread = shutil.ignore_patterns("vggish", "checksums")
    return Path(shutil.copytree(whole, tmp_path / "openmic-2018", ignore=unread, copy_function=copy))


def rewrite(path: Path, change) -> None:
    """Change an npz's arrays."""
    with np.load(path, allow_pickle=True) as file:
        arrays = dict(file)
    np.savez(path, **change(arrays))


def replace(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def aggregated(folder: Path) -> list[dict[str, str]]:
    with (folder / LABELS).open(newline="") as handle:
        return list(csv.DictReader(handle))


def test_labels_are_the_judged_cells_and_nothing_else(whole: Path) -> None:
    table = read_openmic(whole, subset=True)
    judged = {(row["sample_key"], row["instrument"]): float(row["relevance"]) for row in aggregated(whole)}
    assert len(table) == 48
    assert table.mask.sum() == len(judged)
    for path, labels, mask in zip(table.paths, table.labels, table.mask, strict=True):
        for name, y, m in zip(INSTRUMENTS, labels, mask, strict=True):
            assert m == ((path.stem, name) in judged)
            assert y == (m and judged[path.stem, name] >= 0.5)
    assert [path.stem for path in table.paths] == sorted(path.stem for path in table.paths)
    assert all(path.is_file() for path in table.paths)
    assert read_openmic(whole.parent, subset=True).paths == table.paths


def test_soft_labels_are_the_relevance(whole: Path) -> None:
    table = read_openmic(whole, subset=True, soft=True)
    row = {path.stem: i for i, path in enumerate(table.paths)}
    for cell in aggregated(whole):
        found = table.labels[row[cell["sample_key"]], INSTRUMENTS.index(cell["instrument"])]
        assert found == pytest.approx(float(cell["relevance"]), abs=1e-6)


def test_the_papers_labels_know_everything(whole: Path) -> None:
    table, masked = read_openmic(whole, subset=True, unlabelled="negative"), read_openmic(whole, subset=True)
    assert (table.mask == 1).all()
    np.testing.assert_array_equal(table.labels, masked.labels * masked.mask)


def test_validation_is_carved_from_the_official_train_part_by_artist(whole: Path) -> None:
    table = read_openmic(whole, subset=True, valid_share=0.25, seed=3)
    official = set((whole / "partitions" / "split01_test.csv").read_text().split())
    assert {path.stem for path in table.of("test").paths} == official
    sides = {split: set(table.of(split).group) for split in ("train", "valid", "test")}
    assert all(sides.values())
    assert not sides["train"] & sides["valid"]
    assert not (sides["train"] | sides["valid"]) & sides["test"]
    assert 0.15 < len(table.of("valid")) / len(table.of("train", "valid")) < 0.35
    again, other = (read_openmic(whole, subset=True, valid_share=0.25, seed=seed) for seed in (3, 4))
    np.testing.assert_array_equal(table.split, again.split)
    assert (table.split != other.split).any()
    assert not len(read_openmic(whole, subset=True, valid_share=0).of("valid"))
    with pytest.raises(UsageError, match="share"):
        read_openmic(whole, subset=True, valid_share=1.5)


def test_the_published_counts_are_the_publishers() -> None:
    counts = np.array(list(OPENMIC_COUNTS.values()))
    assert tuple(OPENMIC_COUNTS) == INSTRUMENTS
    assert counts.sum() == 41_268
    assert counts[:, ::2].sum() == 17_614
    assert sum(PARTITION_SIZES.values()) == 20_000


def test_a_whole_set_must_have_the_published_counts(whole: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = read_openmic(whole, subset=True, valid_share=0)
    sizes = {split: len(table.of(split)) for split in ("train", "test")}
    cells = [
        ((of.labels == value) & (of.mask > 0)).sum(0)
        for of in (table.of("train"), table.of("test"))
        for value in (1, 0)
    ]
    counts = {name: tuple(int(four[i]) for four in cells) for i, name in enumerate(INSTRUMENTS)}
    with pytest.raises(InputFileError, match="32 clips in the train partition, not the published 14915"):
        read_openmic(whole)
    monkeypatch.setattr(openmic, "PARTITION_SIZES", sizes)
    monkeypatch.setattr(openmic, "OPENMIC_COUNTS", counts)
    assert len(read_openmic(whole)) == 48
    monkeypatch.setitem(counts, "violin", (counts["violin"][0] + 1, *counts["violin"][1:]))
    with pytest.raises(InputFileError, match="violin is labelled"):
        read_openmic(whole)


def test_without_metadata_clips_are_grouped_by_track(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "openmic-2018-metadata.csv").unlink()
    table = read_openmic(folder, subset=True)
    assert len(set(table.group)) == 48
    assert "grouped by track" in caplog.text


def test_a_subset_leaves_out_what_has_no_audio(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    first, second = sorted((folder / "audio").rglob("*.ogg"))[:2]
    first.unlink()
    second.unlink()
    table = read_openmic(folder, subset=True)
    assert len(table) == 46
    assert "2 of 48 clips have no audio" in caplog.text
    shutil.rmtree(folder / "audio")
    with pytest.raises(InputFileError, match="48 of 48 clips have no audio"):
        read_openmic(folder, subset=True)


@pytest.mark.parametrize("what_is_left", [None, b""])
def test_a_track_known_to_be_corrupted_may_be_missing(folder: Path, monkeypatch, caplog, what_is_left) -> None:
    assert len(CORRUPTED_TRACKS) == 10
    monkeypatch.setattr(openmic, "_check_counts", lambda *_: None)
    victim = sorted((folder / "audio").rglob("*.ogg"))[5]
    victim.unlink()
    if what_is_left is not None:
        victim.write_bytes(what_is_left)
    monkeypatch.setattr(openmic, "CORRUPTED_TRACKS", {victim.stem.split("_")[0]})
    assert len(read_openmic(folder)) == 47
    assert "known to be corrupted" in caplog.text


def test_a_whole_set_misses_no_audio(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openmic, "_check_counts", lambda *_: None)
    victim = sorted((folder / "audio").rglob("*.ogg"))[5]
    victim.unlink()
    with pytest.raises(InputFileError, match=f"1 of 48 clips have no audio, the first is .*{victim.name}"):
        read_openmic(folder)


def test_a_few_corrected_labels_are_no_contradiction(folder: Path, caplog, monkeypatch) -> None:
    def flip(count: int) -> None:
        def change(arrays: dict) -> dict:
            cells = np.argwhere(arrays["Y_mask"])[:count]
            arrays["Y_true"][tuple(cells.T)] = 1 - arrays["Y_true"][tuple(cells.T)]
            return arrays

        rewrite(folder / "openmic-2018.npz", change)

    before = read_openmic(folder, subset=True)
    flip(2)
    after = read_openmic(folder, subset=True)
    assert (before.labels != after.labels).sum() == 2
    assert "differ in 2 labels" in caplog.text
    flip(40)
    with pytest.raises(InputFileError, match="from the same release"):
        read_openmic(folder, subset=True)


@pytest.mark.parametrize("name", [
    "class-map.json", "openmic-2018.npz", LABELS, "partitions/split01_train.csv", "partitions/split01_test.csv",
])  # fmt: skip
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(InputFileError, match=f"{Path(name).name}: not found"):
        read_openmic(folder, subset=True)


def swapped(folder: Path) -> None:
    order = {name: i for i, name in enumerate(INSTRUMENTS)}
    order["piano"], order["organ"] = order["organ"], order["piano"]
    (folder / "class-map.json").write_text(json.dumps(order))


def into_both(folder: Path) -> None:
    key = (folder / "partitions" / "split01_test.csv").read_text().split()[0]
    with (folder / "partitions" / "split01_train.csv").open("a") as handle:
        handle.write(f"{key}\n")


def into_neither(folder: Path) -> None:
    path = folder / "partitions" / "split01_test.csv"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))


def without(name: str):
    def change(arrays: dict) -> dict:
        del arrays[name]
        return arrays

    return lambda folder: rewrite(folder / "openmic-2018.npz", change)


def changed(name: str, value):
    return lambda folder: rewrite(
        folder / "openmic-2018.npz", lambda arrays: {**arrays, name: value(arrays[name].copy())}
    )


def set_first(value):
    def change(array: np.ndarray) -> np.ndarray:
        array[0] = value
        return array

    return change


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: replace(folder / LABELS, "relevance", "relevanze"), "column 'relevance' is missing"),
        (lambda folder: replace(folder / LABELS, "violin", "kazoo"), "line .*unknown instrument 'kazoo'"),
        (lambda folder: replace(folder / LABELS, "0.", "x0."), "relevance must be 0 to 1"),
        (lambda folder: replace(folder / LABELS, "000137_", "999999_"), "line .*unknown sample key '999999_"),
        (lambda folder: (folder / LABELS).write_bytes(b"\xff\xfe\x00"), "not a csv file"),
        (lambda folder: replace(folder / LABELS, ",3\n", "\n"), "shorter than the header"),
        (swapped, "in their order"),
        (lambda folder: (folder / "class-map.json").write_text("{"), "not a json file"),
        (lambda folder: replace(folder / "partitions" / "split01_train.csv", "000137_", "7_"), "unknown sample key"),
        (into_both, "is in the other partition too"),
        (into_neither, "1 clips are in no partition"),
        (lambda folder: (folder / "openmic-2018.npz").write_bytes(b"no zip"), "not an npz"),
        (without("Y_mask"), "'Y_mask' is missing"),
        (changed("Y_mask", lambda mask: mask[:-1]), "do not fit"),
        (changed("Y_true", lambda y: y + 3), "outside 0 to 1"),
        (changed("Y_true", lambda y: np.full(y.shape, np.nan)), "outside 0 to 1"),
        (changed("Y_true", lambda y: y.astype(object)), "damaged"),
        (changed("sample_key", lambda keys: np.arange(len(keys))), "expected strings"),
        (changed("sample_key", set_first(7)), "other objects"),
        (changed("sample_key", set_first("../../x_1")), "not a valid sample key"),
        (changed("sample_key", lambda keys: keys[[0, 0, *range(2, len(keys))]]), "appears twice"),
    ],
)
def test_damage_is_one_clear_line(folder: Path, spoil, words: str) -> None:
    spoil(folder)
    with pytest.raises(InputFileError, match=words) as raised:
        read_openmic(folder, subset=True)
    assert "\n" not in str(raised.value)


class Trap:
    """Pickled, a call of Path.touch."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_nothing_in_the_npz_is_run(folder: Path, tmp_path: Path) -> None:
    changed("sample_key", set_first(Trap(tmp_path / "trapped")))(folder)
    with np.load(folder / "openmic-2018.npz", allow_pickle=True) as file:
        assert len(file["sample_key"])
    (tmp_path / "trapped").unlink()  # the trap works
    with pytest.raises(InputFileError, match="would run"):
        read_openmic(folder, subset=True)
    assert not (tmp_path / "trapped").exists()


def test_keys_may_be_plain_strings(folder: Path) -> None:
    before = read_openmic(folder, subset=True)
    changed("sample_key", lambda keys: keys.astype(str))(folder)
    assert read_openmic(folder, subset=True).paths == before.paths


def test_an_unreadable_clip_among_good_ones_is_named(folder: Path) -> None:
    victim = sorted((folder / "audio").rglob("*.ogg"))[3]
    victim.unlink()
    victim.write_bytes(b"OggS, it says, and is none")
    table = read_openmic(folder, subset=True)
    with pytest.raises(InputFileError, match=victim.name):
        clips_of(table, quiet=True)


def test_the_archive_has_the_layout_of_the_real_one(tmp_path: Path) -> None:
    archive = write_fake_openmic(tmp_path, clips=4, seconds=0.1)
    assert [path.name for path in tmp_path.iterdir()] == ["openmic-2018-v1.0.0.tgz"]
    with tarfile.open(archive) as tar:
        names = set(tar.getnames())
        npz = tar.extractfile("openmic-2018/openmic-2018.npz")
        with np.load(npz, allow_pickle=True) as file:
            assert set(file) == {"X", "Y_true", "Y_mask", "sample_key"}
            assert file["sample_key"].dtype == object
            key = file["sample_key"][0]
    assert {f"openmic-2018/audio/{key[:3]}/{key}.ogg", f"openmic-2018/vggish/{key[:3]}/{key}.json"} <= names
    assert COLUMNS[-2:] == ("sample_key", "start_time")
