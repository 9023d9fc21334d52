"""`python -m training.data get`: from a server or a folder to an unpacked data set, or to a line with the reason."""

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from file_server import FileServer

pytest.importorskip("tqdm", reason="training needs the [train] extra")

from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.training.data import get
from instrec_live.training.data.get import DATA_SETS

CHECKOUT = Path(__file__).parents[3]
ARCHIVES = {archive.file: archive for data_set in DATA_SETS.values() for archive in data_set.parts.values()}


def pack(path: Path, members: dict[str, bytes]) -> None:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content)
        return
    with tarfile.open(path, "w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def checksums(folder: Path) -> Path:
    """Write the list that `md5sum *` prints."""
    lines = [f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.name}\n" for path in folder.glob("*.[tz]*")]
    (folder / "md5.txt").write_text("".join(lines))
    return folder / "md5.txt"


@pytest.fixture
def mirror(tmp_path: Path) -> Path:
    """Every archive under its published name, with one file in it."""
    folder = tmp_path / "mirror"
    folder.mkdir()
    for file, archive in ARCHIVES.items():
        top = archive.folder.rpartition("-")[2] if "Testing" in file else archive.folder
        pack(folder / file, {f"{top}/what.txt": archive.folder.encode()})
    checksums(folder)
    return folder


@pytest.fixture
def server(mirror: Path) -> Iterator[FileServer]:
    with FileServer(mirror) as running:
        yield running


def run(*argv: str | Path) -> None:
    get.main([str(word) for word in argv])


@pytest.mark.parametrize(
    ("name", "folders"),
    [
        ("openmic", ["openmic-2018"]),
        ("nsynth", ["nsynth-test", "nsynth-train", "nsynth-valid"]),
        ("irmas", ["IRMAS-TestingData-Part1", "IRMAS-TestingData-Part2", "IRMAS-TestingData-Part3",
                   "IRMAS-TrainingData"]),
    ],
)  # fmt: skip
def test_a_data_set_is_fetched_and_unpacked(
    tmp_path: Path, server: FileServer, capsys: pytest.CaptureFixture[str], name: str, folders: list[str]
) -> None:
    to = tmp_path / "data"
    run(name, "--to", to, "--from", server.url, "--md5", server.root / "md5.txt")
    said = capsys.readouterr()
    assert sorted(said.out.split()) == [str(to / folder) for folder in folders]
    assert "Licence: " in said.err
    assert sorted(path.name for path in to.iterdir()) == folders  # and no archive, lock or staging folder
    for folder in folders:
        assert [path.read_text() for path in (to / folder).rglob("what.txt")] == [folder]
    requests = len(server.requests)
    run(name, "--to", to, "--from", server.url, "--md5", server.root / "md5.txt")
    assert len(server.requests) == requests
    assert capsys.readouterr().err.count("exists already") == len(folders)


def test_irmas_keeps_its_inner_folder(tmp_path: Path, mirror: Path) -> None:
    run("irmas", "--to", tmp_path / "d", "--from", mirror, "--md5", mirror / "md5.txt", "--part", "test")
    assert sorted(p.relative_to(tmp_path / "d").as_posix() for p in (tmp_path / "d").rglob("what.txt")) == [
        f"IRMAS-TestingData-Part{i}/Part{i}/what.txt" for i in (1, 2, 3)
    ]


def test_parts_archives_kept_and_a_folder_as_a_mirror(tmp_path: Path, server: FileServer) -> None:
    to, options = tmp_path / "data", ("--md5", server.root / "md5.txt")
    run("nsynth", "--part", "test", "--split", "valid", "--to", to, "--from", server.url, "--keep-archive", *options)
    assert sorted(path.name for path in to.iterdir()) == [
        "nsynth-test", "nsynth-test.jsonwav.tar.gz", "nsynth-valid", "nsynth-valid.jsonwav.tar.gz",
    ]  # fmt: skip
    before = sorted(server.root.iterdir())
    run("openmic", "--to", to, "--from", server.root, *options)
    assert (to / "openmic-2018" / "what.txt").is_file()
    assert sorted(server.root.iterdir()) == before  # the user's own files


def test_the_published_checksum_is_the_law(tmp_path: Path, server: FileServer) -> None:
    for place in (server.url, server.root):
        with pytest.raises(InputFileError, match="e4ccf187e2bb5ab2e115416e8aafe7f4 was published"):
            run("openmic", "--to", tmp_path / "data", "--from", place)
    assert list((tmp_path / "data").iterdir()) == []


def test_a_dropped_connection_continues_in_the_next_run(
    tmp_path: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("instrec_live.models.fetch.download.PAUSE", 0.001)
    file = next(iter(DATA_SETS["openmic"].parts.values())).file
    server.cut_at = 100
    command = ("openmic", "--to", tmp_path / "data", "--from", server.url, "--md5", server.root / "md5.txt")
    with pytest.raises(InputFileError, match="the next run resumes there"):
        run(*command)
    assert (tmp_path / "data" / f"{file}.partial").stat().st_size == 100
    server.cut_at = None
    run(*command)
    assert server.requests[-1][1]["Range"] == "bytes=100-"
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["openmic-2018"]


@pytest.mark.parametrize(
    ("members", "words"),
    [
        ({"openmic-2018/../../evil": b"x"}, "leads out"),
        ({"openmic-2018/zeros": bytes(100)}, "holds more than"),
        ({f"openmic-2018/{i}": b"" for i in range(30)}, "more than"),
    ],
)
def test_a_wicked_archive(
    tmp_path: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch, members: dict[str, bytes], words: str
) -> None:
    from dataclasses import replace

    known = DATA_SETS["openmic"]
    small = replace(known.parts["all"], size=20, growth=2, members=10)
    monkeypatch.setitem(get.DATA_SETS, "openmic", replace(known, parts={"all": small}))
    pack(mirror / small.file, members)
    with pytest.raises(InputFileError, match=words):
        run("openmic", "--to", tmp_path / "data", "--from", mirror, "--md5", checksums(mirror))
    assert list((tmp_path / "data").iterdir()) == []
    assert not (tmp_path / "evil").exists()


def test_mistakes(tmp_path: Path, mirror: Path) -> None:
    with pytest.raises(UsageError, match=r"no part 'dev'.*train, valid, test"):
        run("nsynth", "--part", "dev")
    with pytest.raises(InputFileError, match="must hold openmic-2018-v1"):
        run("openmic", "--to", tmp_path / "data", "--from", tmp_path)
    with pytest.raises(InputFileError, match=r"none\.txt: not found"):
        run("openmic", "--from", mirror, "--md5", tmp_path / "none.txt")
    (mirror / "md5.txt").write_text("d41d8cd98f00b204e9800998ecf8427e *other.zip\n")
    with pytest.raises(InputFileError, match="no checksum of openmic"):
        run("openmic", "--from", mirror, "--md5", mirror / "md5.txt")


@pytest.mark.parametrize(("answer", "fetched"), [("y\n", True), ("n\n", False), ("", False)])
def test_whoever_sits_there_is_asked(
    tmp_path: Path, mirror: Path, monkeypatch: pytest.MonkeyPatch, answer: str, fetched: bool
) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(sys, "stdin", Terminal(answer))
    command = ("openmic", "--to", tmp_path / "data", "--from", mirror, "--md5", mirror / "md5.txt")
    if fetched:
        run(*command)
    else:
        with pytest.raises(UsageError, match="not fetched"):
            run(*command)
        assert not (tmp_path / "data").exists()
        run(*command, "--yes")
    assert (tmp_path / "data" / "openmic-2018").is_dir()


def command(*argv: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "training.data", *argv],
        cwd=CHECKOUT, env={**os.environ, "PYTHONWARNINGS": "error"}, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


def test_the_command_itself(tmp_path: Path, mirror: Path) -> None:
    helped = command("--help")
    assert helped.returncode == 0
    for name in ("get", "table", "cut", "soundfont"):
        assert f"  {name} " in helped.stdout
    done = command(
        "get", "openmic", "--to", str(tmp_path / "d"), "--from", str(mirror), "--md5", str(mirror / "md5.txt")
    )
    assert (done.returncode, done.stdout) == (0, f"{tmp_path / 'd' / 'openmic-2018'}\n")
    wrong = command("get", "openmic", "--to", str(tmp_path / "e"), "--from", str(mirror))
    assert wrong.returncode == 4
    assert wrong.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in wrong.stderr
    assert command("nonesuch").returncode == 2


def test_help_needs_nothing_heavy() -> None:
    script = (
        "import sys; from instrec_live.training.data.__main__ import main\n"
        "try: main(['get', '--help'])\n"
        "except SystemExit: pass\n"
        "sys.exit(bool({'torch', 'numpy', 'soundfile'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], capture_output=True, check=False).returncode == 0


def test_what_is_published_makes_sense() -> None:
    assert list(DATA_SETS) == ["openmic", "nsynth", "irmas"]
    for archive in ARCHIVES.values():
        assert archive.file in archive.url
        assert len(archive.checksum.removeprefix("md5:")) == 32
    assert abs(sum(a.size for a in DATA_SETS["nsynth"].parts.values()) - 25_233_566_634) < 1e8
