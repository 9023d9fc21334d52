"""Sounds of one's own become a source to learn from."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.training.data import __main__ as datasets
from instrec_live.training.data.sounds import read_sources

RATE = 44_100


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    folder = tmp_path / "My Banjo, 1923"
    (folder / "open G").mkdir(parents=True)
    tone = 0.3 * np.sin(2 * np.pi * 196 * np.arange(RATE) / RATE)
    soundfile.write(folder / "a.wav", tone, RATE)
    soundfile.write(folder / "open G" / "a.FLAC", tone, RATE, format="FLAC")
    (folder / "notes.txt").write_text("played on the porch")
    return folder


def add(folder: Path, to: Path, *options: str) -> None:
    required = ["--instrument", "banjo", "--kind", "notes", "--licence", "CC0-1.0"]
    datasets.main(["add", str(folder), "--to", str(to), *required, *options])


def test_a_folder_becomes_a_source(mine: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    to = tmp_path / "sounds"
    add(mine, to)
    assert capsys.readouterr().out == f"{to}: 2 files, 2 s of banjo as my_banjo_1923\n"
    (source,) = read_sources(to)
    assert (source.instrument, source.name, source.kind, source.licence) == (
        "banjo", "my_banjo_1923", "notes", "CC0-1.0"
    )  # fmt: skip
    assert [path.name for path in source.files] == ["a.wav", "open G_a.FLAC"]
    assert source.files[0].read_bytes() == (mine / "a.wav").read_bytes()


def test_a_stranger_is_welcome_and_what_is_there_stays(mine: Path, tmp_path: Path) -> None:
    to = tmp_path / "sounds"
    add(mine, to)
    add(mine, to, "--instrument", "bassoon", "--name", "fagott", "--package", "of my own")
    assert [(s.instrument, s.package) for s in read_sources(to)] == [
        ("banjo", "my_banjo_1923"), ("bassoon", "of my own")
    ]  # fmt: skip
    before = sorted((path, path.stat().st_mtime_ns) for path in to.rglob("*") if path.is_file())
    with pytest.raises(UsageError, match="already there"):
        add(mine, to)
    assert sorted((path, path.stat().st_mtime_ns) for path in to.rglob("*") if path.is_file()) == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--instrument", "kazoo"], "unknown instrument 'kazoo'"),
        (["--licence", " "], "licence is empty"),
        (["--name", "../x"], "--name"),
    ],
)
def test_a_wrong_option_is_named(mine: Path, tmp_path: Path, options: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        add(mine, tmp_path / "sounds", *options)
    assert not (tmp_path / "sounds").exists()


def test_files_that_would_have_one_name_are_refused(mine: Path, tmp_path: Path) -> None:
    (mine / "open g_A.flac").write_bytes((mine / "open G" / "a.FLAC").read_bytes())
    with pytest.raises(UsageError, match="would have the same name"):
        add(mine, tmp_path / "sounds")
    assert not (tmp_path / "sounds" / "banjo").exists()


def test_what_macos_hides_is_no_sound(mine: Path, tmp_path: Path) -> None:
    (mine / "._a.wav").write_bytes(b"Mac OS X        ")
    (mine / ".Trashes").mkdir()
    (mine / ".Trashes" / "b.wav").write_bytes((mine / "a.wav").read_bytes())
    (mine / "folder.wav").mkdir()
    add(mine, tmp_path / "sounds")
    assert [path.name for path in read_sources(tmp_path / "sounds")[0].files] == ["a.wav", "open G_a.FLAC"]


def test_what_cannot_be_read_leaves_nothing(mine: Path, tmp_path: Path) -> None:
    (mine / "z.ogg").write_bytes(b"no sound")
    with pytest.raises(InputFileError, match=r"z\.ogg: not a readable sound file"):
        add(mine, tmp_path / "sounds")
    assert not (tmp_path / "sounds").exists()
    (tmp_path / "empty").mkdir()
    for folder, words in (("empty", "no sound files in it"), ("gone", "no such folder")):
        with pytest.raises(InputFileError, match=words):
            add(tmp_path / folder, tmp_path / "sounds")
