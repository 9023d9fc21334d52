"""A link that another user has put where the program writes is not followed; the user's own link stays a link."""

import os
from pathlib import Path

import pytest

from instrec_live.models.files import atomic_bytes, atomic_file
from instrec_live.realtime.commands.tag.job import atomic_text
from instrec_live.realtime.commands.tag.results import Record, ResultsFile

pytestmark = pytest.mark.skipif(os.name != "posix", reason="links")
RECORD = Record("a.wav", None, None, (), "no sound")


@pytest.fixture
def precious(tmp_path: Path) -> Path:
    (tmp_path / "precious").write_text("mine")
    return tmp_path / "precious"


@pytest.mark.parametrize(
    "name", ["r.csv.part", "r.csv.json", "r.csv.json.part", ".r.csv.partial", ".r.csv.json.partial"]
)
def test_of_the_results(tmp_path: Path, precious: Path, name: str) -> None:
    (tmp_path / name).symlink_to(precious)
    results = ResultsFile(tmp_path / "r.csv", {"hop": 0.5}, force=False)
    results.add(RECORD)
    results.close(["a.wav"])
    assert precious.read_text() == "mine"
    assert "no sound" in (tmp_path / "r.csv").read_text()


def test_of_their_lock(tmp_path: Path, precious: Path) -> None:
    (tmp_path / ".r.csv.lock").symlink_to(tmp_path / "new")
    with pytest.raises(Exception, match=r"cannot write .*r\.csv"):
        ResultsFile(tmp_path / "r.csv", {"hop": 0.5}, force=False)
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("name", ["a.wav.txt", "a.wav.txt.part", ".a.wav.txt.partial"])
def test_of_the_labels(tmp_path: Path, precious: Path, name: str) -> None:
    (tmp_path / name).symlink_to(precious)
    with atomic_text(tmp_path, Path("a.wav"), ".txt") as file:
        file.write("0\t1\tpiano\n")
    assert precious.read_text() == "mine"
    assert (tmp_path / "a.wav.txt").read_text() == "0\t1\tpiano\n"
    assert not (tmp_path / "a.wav.txt").is_symlink()


def test_a_link_of_the_user_stays_one(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "r.csv").symlink_to(tmp_path / "disk" / "r.csv")
    results = ResultsFile(tmp_path / "r.csv", {"hop": 0.5}, force=False)
    results.add(RECORD)
    results.close(["a.wav"])
    assert (tmp_path / "r.csv").is_symlink()
    assert "no sound" in (tmp_path / "disk" / "r.csv").read_text()


def test_what_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    with pytest.raises(TypeError), atomic_file(tmp_path / "a") as file:
        file.write("no bytes")  # type: ignore[arg-type]
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]


def test_the_longest_name_that_the_system_takes(tmp_path: Path) -> None:
    path = tmp_path / ("日" * 85)  # 255 bytes
    atomic_bytes(path, b"x")
    assert path.read_bytes() == b"x"
