"""Sound kept elsewhere and lists of paths: found, fetched and named like files in a folder; tables as Parquet."""

import io
import json
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import soundfile
from fakes import FakeTagger, music
from tiny_bundle import write_tiny
from waiting import wait_for

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.commands.tag import find as find_module
from instrec_live.realtime.commands.tag import results as results_module
from instrec_live.realtime.commands.tag.find import Item, find, path_of
from instrec_live.realtime.commands.tag.job import ChunkResult, ChunkTask, Job, Span
from instrec_live.realtime.commands.tag.results import Record, ResultsFile, Tag
from instrec_live.realtime.errors import InputFileError, UsageError
from instrec_live.realtime.stream.analysis import AnalysisConfig

TAG = [sys.executable, "-m", "instrec_live.realtime", "tag", "--models", "./one"]
TAGS = tuple(Tag(name, 0.25, 0.5, 2.5, 1.0, None) for name in INSTRUMENTS)


def wav(seconds: float, seed: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, music(seconds, seed=seed), 32_000, format="WAV")
    return file.getvalue()


@pytest.fixture(scope="module")
def memory() -> str:
    """An address of a folder in memory with two sound files, one that is none, and what is left out."""
    fsspec = pytest.importorskip("fsspec")
    files = fsspec.filesystem("memory")
    for name, content in {
        "b.wav": wav(3, 0),
        "deep/ü 1.wav": wav(4, 1),
        "deep/text.wav": b"no sound",
        "film.ra": b"x",
        "notes.txt": b"x",
        ".hidden/c.wav": wav(3, 2),
    }.items():
        files.pipe_file(f"/tapes/{name}", content)
    return "memory://tapes"


def tag(item: Item, **job: object) -> Record:
    return Job(AnalysisConfig(models=()), **job).tag(item, FakeTagger())  # type: ignore[arg-type]


def test_a_folder_elsewhere_is_like_one_here(memory: str, tmp_path: Path) -> None:
    found = find([path_of(memory)])
    assert [item.name for item in found.items] == ["b.wav", "deep/text.wav", "deep/ü 1.wav"]
    assert found.unread == {".ra": 1}
    for name, content in (("b.wav", wav(3, 0)), ("deep/ü 1.wav", wav(4, 1)), ("deep/text.wav", b"no sound")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    here = find([tmp_path]).items
    assert [tag(item, labels=tmp_path / "r") for item in found.items] == [
        tag(item, labels=tmp_path / "l") for item in here
    ]
    trees = [sorted(path.relative_to(tmp_path / side) for path in (tmp_path / side).rglob("*.txt")) for side in "rl"]
    assert trees[0] == trees[1] != []


def test_addresses_among_paths_are_distinguished(memory: str, tmp_path: Path) -> None:
    (tmp_path / "b.wav").write_bytes(wav(3, 0))
    found = find([tmp_path / "b.wav", path_of(f"{memory}/b.wav"), path_of(f"{memory}/deep/")])
    assert [item.name for item in found.items] == [
        (tmp_path / "b.wav").as_posix(),
        "memory://tapes/b.wav",
        "memory://tapes/deep/text.wav",
        "memory://tapes/deep/ü 1.wav",
    ]
    assert tag(found.items[0]).tags == tag(found.items[1]).tags != ()
    assert tag(found.items[2]).error == tag(find([path_of(memory)]).items[1]).error
    assert not isinstance(path_of("C:/x"), str)


def test_what_is_not_there_is_named(memory: str) -> None:
    with pytest.raises(InputFileError, match="memory://nowhere does not exist"):
        find([path_of("memory://nowhere")])
    with pytest.raises(UsageError, match="gramophone://x/y cannot be reached"):
        find([path_of("gramophone://x/y")])
    gone = Item("x", Path("x"), Path("x"), url=f"{memory}/gone.wav")
    assert tag(gone) == Record("x", None, None, (), "does not exist")


def test_storage_that_fails_costs_its_file_only(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec = pytest.importorskip("fsspec")

    def refused(*_: object) -> None:
        raise ConnectionError("connection reset by peer\nin the middle")

    monkeypatch.setattr(type(fsspec.filesystem("memory")), "get_file", refused)
    assert tag(find([path_of(memory)]).items[0]).error == "cannot be fetched: connection reset by peer in the middle"


def test_no_room_for_a_copy_costs_its_file_only(memory: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(**_: object) -> None:
        raise OSError(28, "No space left on device")

    item = find([path_of(memory)]).items[0]
    monkeypatch.setattr("tempfile.TemporaryDirectory", full)
    assert tag(item).error == "cannot be fetched: No space left on device"
    part = Job(AnalysisConfig(models=())).do(ChunkTask(item, 0, Span(0, None)), FakeTagger())  # type: ignore[arg-type]
    assert isinstance(part, ChunkResult)
    assert part.fault == "cannot be fetched: No space left on device"


class Endless(BaseHTTPRequestHandler):
    """Sends sound without end and without a length."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "audio/mpeg")
        self.end_headers()
        with suppress(OSError):
            self.wfile.write(bytes(4_000_000))
            self.server.released.wait()  # type: ignore[attr-defined]

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.fixture
def endless() -> Iterator[Item]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Endless) as server:
        server.daemon_threads, server.released = True, threading.Event()  # type: ignore[attr-defined]
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}/a.mp3"
        yield find([path_of(url)]).items[0]
        server.released.set()  # type: ignore[attr-defined]
        server.shutdown()


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder, here and in processes begun here."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("limit", ["size", "disk"])
def test_a_stream_without_end_does_not_fill_the_disk(
    limit: str, endless: Item, copies: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if limit == "size":
        monkeypatch.setattr(find_module, "LARGEST", 3_000_000)
    else:
        left = SimpleNamespace(free=3_000_000)
        monkeypatch.setattr(find_module, "shutil", SimpleNamespace(disk_usage=lambda path: left))
    assert tag(endless).error == "is a stream, not a file, or too large: 3 MB came without an end"
    assert not list(copies.iterdir())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("lists")
    write_tiny(here / "one", "one")
    (here / "archive" / "deep").mkdir(parents=True)
    for number, name in enumerate(("a.wav", "b b.wav", "deep/c.wav")):
        (here / "archive" / name).write_bytes(wav(3 + number, number))
    return here


def run(place: Path, *argv: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TAG, *argv], cwd=place, capture_output=True, text=True, timeout=120, check=False, **options
    )  # fmt: skip


@pytest.mark.skipif(sys.platform == "win32", reason="there a process that is ended can do nothing more")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_a_run_that_is_ended_leaves_no_copy(number: int, place: Path, endless: Item, copies: Path) -> None:
    run = subprocess.Popen([*TAG, str(endless.url), "-j", "1"], cwd=place, stdout=subprocess.DEVNULL)
    wait_for(lambda: any(path.stat().st_size for path in copies.glob("instrec-live-*/*")), "the copy to begin")
    run.send_signal(number)
    assert run.wait(60) == (-number if number == signal.SIGKILL else 128 + number)
    wait_for(lambda: not list(copies.iterdir()), "its process to remove the copy")


def test_a_list_continues_after_a_missing_file(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = "archive/b b.wav\r\n\narchive/gone.wav\narchive/deep\narchive/b b.wav\n"
    (place / "list.txt").write_text(lines)
    (place / "long.txt").write_text(f"{300 * 'x'}.wav\n")
    monkeypatch.chdir(place)
    assert [item.name for item in find([Path("long.txt")]).items] == [f"{300 * 'x'}.wav"]
    listed = find([Path("list.txt")]).items
    assert [item.name for item in listed] == ["archive/b b.wav", "archive/gone.wav", "archive/deep/c.wav"]
    piped = run(place, "-", "-q", "-o", "p.jsonl", "--jobs", "1", input=lines)
    assert piped.returncode == 4
    results = [json.loads(line) for line in (place / "p.jsonl").read_text().splitlines()]
    assert [(each["file"], each["error"]) for each in results] == [
        (item.name, "does not exist" if "gone" in item.name else None) for item in listed
    ]


def test_a_list_may_name_addresses_and_the_local_file_system_is_one(place: Path) -> None:
    pytest.importorskip("fsspec")
    (place / "urls.lst").write_text(f"file://{place}/archive/deep\narchive/a.wav\n")
    done = run(place, "urls.lst", "-q", "--jobs", "1")
    table = pd.read_csv(io.StringIO(done.stdout))
    assert (done.returncode, done.stderr) == (0, "")
    assert set(table.file) == {f"file://{place}/archive/deep/c.wav", "archive/a.wav"}
    assert table.duration_s.tolist() == [5.0] * 20 + [3.0] * 20


@pytest.mark.parametrize(
    ("content", "code", "words"),
    [(b"\n \n", 4, "x.txt is empty"), (b"RIFF\0\0", 4, "not a list of paths"), (None, 4, "no sound file")],
)
def test_a_list_that_is_none_is_one_line(
    place: Path, tmp_path: Path, content: bytes | None, code: int, words: str
) -> None:
    path = tmp_path / "x.txt"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    done = run(place, str(path))
    assert (done.returncode, done.stderr.count("\n")) == (code, 1)
    assert words in done.stderr


def results(path: Path, records: list[Record], force: bool = False) -> frozenset[str]:
    """Write records as a run does; the names of those that were there."""
    file = ResultsFile(path, {"hop": 0.5}, force)
    for record in records:
        file.add(record)
    file.close(["a.wav", "ü.wav", "z.wav"])
    return file.done


def test_parquet_has_the_rows_of_the_csv_and_is_resumed(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    records = [
        Record("ü.wav", 3.0, 0.0, TAGS),
        Record("z.wav", None, None, (), "is no sound"),
        Record("a.wav", 2.0, 0.5, TAGS),
    ]
    for name in ("r.csv", "r.parquet"):
        results(tmp_path / name, records)
    table, wanted = pd.read_parquet(tmp_path / "r.parquet"), pd.read_csv(tmp_path / "r.csv")
    pd.testing.assert_frame_equal(table, wanted, check_dtype=False)
    assert list(dict.fromkeys(table.file)) == ["a.wav", "ü.wav", "z.wav"]
    assert (table.dtypes["mean"], table.dtypes["first_s"]) == ("float64", "float64")
    assert results(tmp_path / "r.parquet", [Record("z.wav", 1.0, 0.0, TAGS)]) == {"a.wav", "ü.wav"}
    assert len(pd.read_parquet(tmp_path / "r.parquet")) == 60
    before = (tmp_path / "r.parquet").read_bytes()
    (tmp_path / "r.parquet.jsonl").unlink()
    with pytest.raises(UsageError, match=r"cannot resume .*r\.parquet: there is no r\.parquet\.jsonl"):
        results(tmp_path / "r.parquet", [])
    assert (tmp_path / "r.parquet").read_bytes() == before
    results(tmp_path / "r.parquet", records[:1], force=True)
    assert len(pd.read_parquet(tmp_path / "r.parquet")) == 20


def test_a_killed_run_with_labels_is_resumed(place: Path) -> None:
    pytest.importorskip("pyarrow")
    argv = ["archive", "-o", "killed.parquet", "--labels", "tracks", "--jobs", "1"]
    assert run(place, *argv).returncode == 0
    (place / "killed.parquet").unlink()  # it is made at the end, which a killed run does not reach
    done = run(place, *argv)
    assert done.returncode == 0, done.stderr
    assert "3 of 3 files are done already" in done.stderr
    assert (place / "killed.parquet").exists()


def test_parquet_takes_its_name_only_when_it_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pyarrow")
    first = ResultsFile(tmp_path / "r.parquet", {"hop": 0.5}, force=False)
    first.add(Record("a.wav", 3.0, 0.0, TAGS))
    monkeypatch.setattr(results_module, "_rows", lambda content: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        first.close(["a.wav"])
    assert not (tmp_path / "r.parquet").exists()
    assert not list(tmp_path.glob(".*.partial"))
    monkeypatch.undo()
    again = ResultsFile(tmp_path / "r.parquet", {"hop": 0.5}, force=False)
    assert again.done == {"a.wav"}
    again.close(["a.wav"])
    assert len(pd.read_parquet(tmp_path / "r.parquet")) == 20


@pytest.mark.parametrize(
    ("argv", "package"),
    [(["archive", "-o", "n.parquet"], "pyarrow"), (["s3://x/y"], "fsspec"), (["archive", "--ray"], "ray")],
)
def test_what_is_not_installed_is_named_with_what_to_do(place: Path, argv: list[str], package: str) -> None:
    script = (
        "import sys\n"
        "import importlib.util as u\nreal = u.find_spec\n"
        f"u.find_spec = lambda name, *a: None if name == {package!r} else real(name, *a)\n"
        "from instrec_live.realtime.cli import main\n"
        f"sys.argv = ['instrec-live', 'tag', '--models', './one', *{argv!r}]\nsys.exit(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=place, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert f"needs {package}, which is not installed — pip install 'instrec-live[cluster]'" in done.stderr
