"""IRMAS as it lies on disk: names in all their ways, recordings kept together, label files with a tab at the end."""

import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("sklearn", reason="training needs the [train] extra")
pytest.importorskip("tqdm", reason="training needs the [train] extra")

from fake_irmas import write_fake_irmas_test, write_fake_irmas_train

from instrec_live.models.errors import InputFileError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.training.data import irmas
from instrec_live.training.data.clips import clips_of
from instrec_live.training.data.irmas import (
    CLASSES,
    TEST_COUNT,
    TRAIN_COUNTS,
    read_irmas_test,
    read_irmas_train,
    recording_of,
)


def unpacked(archive: Path) -> Path:
    with zipfile.ZipFile(archive) as pack:
        pack.extractall(archive.parent)
    archive.unlink()
    return archive.with_suffix("")


@pytest.fixture
def train(tmp_path: Path) -> Path:
    return unpacked(write_fake_irmas_train(tmp_path, recordings=3, seconds=0.1))


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    for part in (1, 2, 3):
        unpacked(write_fake_irmas_test(tmp_path, part, recordings=3, seconds=0.1))
    return tmp_path


def test_training_clips_know_their_predominant_instrument_alone(train: Path) -> None:
    found = read_irmas_train(train, subset=True)
    assert len(found.table) == 11 * 3 * 2
    np.testing.assert_array_equal(np.bincount(found.classes), np.full(11, 6))
    np.testing.assert_array_equal(found.table.labels, found.table.mask)
    assert (found.table.mask.sum(1) == 1).all()
    for path, kind, labels in zip(found.table.paths, found.classes, found.table.labels, strict=True):
        assert list(CLASSES)[kind] == path.parent.name
        assert INSTRUMENTS[labels.argmax()] == CLASSES[path.parent.name]
    assert set(found.table.split) == {"train"}
    assert read_irmas_train(train.parent, subset=True).table.paths == found.table.paths


def test_what_the_names_tell_is_read(train: Path) -> None:
    found = read_irmas_train(train, subset=True)
    assert any(re.match(r"\d+__\[", path.name) for path in found.table.paths)
    for path, genre, drums, group in zip(found.table.paths, found.genre, found.drums, found.table.group, strict=True):
        assert f"[{genre}]{group.split()[1]}__" in path.name
        assert drums == next((flag for flag in ("dru", "nod") if f"[{flag}]" in path.name), "")
    assert set(found.drums) == {"", "dru", "nod"}
    assert (np.unique(found.table.group, return_counts=True)[1] == 2).all()


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("[cla][cla]0189__2", ("cla", "", "0189")),
        ("[cla][nod][jaz_blu]1701__2", ("jaz_blu", "nod", "1701")),
        ("008__[cla][dru][pop_roc]0058__1", ("pop_roc", "dru", "0058")),
        ("12[cla][lat_sou]0003__11", ("lat_sou", "", "0003")),
        ("[cla]0042__3", ("", "", "0042")),
    ],
)
def test_every_way_of_a_name(name: str, told: tuple[str, str, str]) -> None:
    assert irmas._parts_of(Path(f"{name}.wav"), "cla") == told


def test_the_published_counts_are_held_to(train: Path, parts: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sum(TRAIN_COUNTS.values()) == 6_705
    assert tuple(TRAIN_COUNTS) == tuple(CLASSES)
    with pytest.raises(InputFileError, match="6 excerpts, not the published 388"):
        read_irmas_train(train)
    with pytest.raises(InputFileError, match=f"18 excerpts, not the published {TEST_COUNT}"):
        read_irmas_test(parts)
    monkeypatch.setattr(irmas, "TRAIN_COUNTS", dict.fromkeys(CLASSES, 6))
    monkeypatch.setattr(irmas, "TEST_COUNT", 18)
    assert len(read_irmas_train(train).table) == 66
    assert len(read_irmas_test(parts)) == 18


def test_test_clips_know_the_ten_instruments_that_irmas_has(parts: Path) -> None:
    table = read_irmas_test(parts, subset=True)
    assert len(table) == 18
    known = {INSTRUMENTS[i] for i in np.flatnonzero(table.mask[0])}
    assert known == set(CLASSES.values())
    assert (table.mask == table.mask[0]).all()
    for path, labels in zip(table.paths, table.labels, strict=True):
        text = path.with_suffix(".txt").read_text()
        assert text.endswith("\t\n")
        assert {INSTRUMENTS[i] for i in np.flatnonzero(labels)} == {CLASSES[code] for code in text.split()}
    assert set(table.split) == {"test"}


def test_excerpts_of_one_recording_stay_together(parts: Path) -> None:
    table = read_irmas_test(parts, subset=True)
    assert (np.unique(table.group, return_counts=True)[1] == 2).all()
    assert recording_of("(02) dont kill the whale-1") == "(02) dont kill the whale"
    assert recording_of("08 - Mercury Falling-12") == "08 - Mercury Falling"
    assert recording_of("no number") == "no number"


def test_one_part_is_enough_for_a_subset(parts: Path) -> None:
    assert len(read_irmas_test(parts / "IRMAS-TestingData-Part2", subset=True)) == 6
    shadow = parts / "IRMAS-TestingData-Part2" / "__MACOSX" / "Part2"
    shadow.mkdir(parents=True)
    (shadow / "._song.wav").write_bytes(b"")
    assert len(read_irmas_test(parts / "IRMAS-TestingData-Part2", subset=True)) == 6


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda text: text.unlink(), "txt: not found, though its excerpt is there"),
        (lambda text: text.with_suffix(".wav").unlink(), "its excerpt .* is missing"),
        (lambda text: text.write_text("gel\t\nkaz\t\n"), "unknown instrument 'kaz'"),
        (lambda text: text.write_text("\t\n"), "no label in it"),
    ],
)
def test_a_damaged_test_part_is_one_clear_line(parts: Path, spoil, words: str) -> None:
    spoil(sorted(path for path in parts.rglob("*.txt") if path.name != "README.txt")[3])
    with pytest.raises(InputFileError, match=words):
        read_irmas_test(parts, subset=True)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda wav: wav.rename(wav.with_name("flute.wav")), "not a name of IRMAS"),
        (lambda wav: wav.rename(wav.with_name("[voi][cla]0007__1.wav")), "its name says voi, its folder flu"),
        (lambda wav: wav.parent.rename(wav.parent.with_name("xyz")), "flu: no .wav files"),
    ],
)
def test_a_damaged_training_folder_is_one_clear_line(train: Path, spoil, words: str) -> None:
    spoil(sorted((train / "flu").glob("*.wav"))[0])
    with pytest.raises(InputFileError, match=words):
        read_irmas_train(train, subset=True)


def test_nothing_there_is_reported(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"no \.wav files"):
        read_irmas_test(tmp_path, subset=True)
    with pytest.raises(InputFileError, match=r"no \.wav files"):
        read_irmas_train(tmp_path, subset=True)


def test_a_clip_that_is_not_numbers_is_refused(parts: Path) -> None:
    table = read_irmas_test(parts, subset=True)
    samples, rate = soundfile.read(table.paths[4])
    samples[100] = np.nan
    soundfile.write(table.paths[4], samples, rate, subtype="FLOAT")
    assert len(clips_of(table[:4], quiet=True).files) == 4
    with pytest.raises(InputFileError, match=re.escape(table.paths[4].name)):
        clips_of(table, quiet=True)
