"""Many files in one run: the same table whoever makes it and however often it is stopped, and every fault is named."""

import ast
import csv
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from docs_pages import CHECKOUT, blocks
from fakes import FakeTagger, music
from full_disk import full_disk
from hypothesis import given
from hypothesis import strategies as st
from tiny_bundle import write_tiny
from waiting import wait_for

from instrec_live.models import Tagger
from instrec_live.models.instruments import DISPLAY_NAMES, INSTRUMENTS
from instrec_live.models.segments import Segment
from instrec_live.realtime.commands.tag import results as results_module
from instrec_live.realtime.commands.tag.command import parse_tag
from instrec_live.realtime.commands.tag.find import Item, find, name_of
from instrec_live.realtime.commands.tag.job import Job, output_path
from instrec_live.realtime.commands.tag.pool import Pool, cores, cpu_quota
from instrec_live.realtime.commands.tag.results import COLUMNS, FORMATS, Record, ResultsFile, Tag
from instrec_live.realtime.commands.tag.segments import COLUMNS as SEGMENT_COLUMNS
from instrec_live.realtime.commands.tag.segments import SegmentsFile, text_of, write_wide
from instrec_live.realtime.errors import InputFileError, ModelError, OutputError, UsageError
from instrec_live.realtime.stream.analysis import AnalysisConfig
from instrec_live.realtime.stream.stream import Stream

TAG = [sys.executable, "-m", "instrec_live.realtime", "tag"]
posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, and an archive: five good files in folders, a broken one, one that ends early, other things."""
    here = tmp_path_factory.mktemp("tag")
    write_tiny(here / "one", "one")
    write_tiny(here / "two", "two", bias=0.3)
    for number, name in enumerate(["b.wav", "a 1.flac", "deep/er/ü.ogg", "deep/c.wav", "deep.wav"]):
        (here / "archive" / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(here / "archive" / name, music(4 + number, 32_000, seed=number), 32_000)
    (here / "archive" / "text.wav").write_text("no sound")
    whole = (here / "archive" / "a 1.flac").read_bytes()
    (here / "archive" / "cut.flac").write_bytes(whole[: len(whole) * 3 // 4])
    for name in ("film.ra", "notes.txt", "._b.wav"):
        (here / "archive" / name).write_text("x")
    return here


NAMES = ["a 1.flac", "b.wav", "cut.flac", "deep/c.wav", "deep/er/ü.ogg", "deep.wav", "text.wav"]


def run(place: Path, *argv: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*TAG, "--models", "./one", *argv],
        cwd=place, capture_output=True, text=True, timeout=120, check=False, **options,
    )  # fmt: skip


def rows(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(text.splitlines()))


def test_an_archive_becomes_a_tidy_table_in_its_order(place: Path) -> None:
    done = run(place, "archive", "--jobs", "2")
    assert done.returncode == 4
    table = rows(done.stdout)
    assert tuple(table[0]) == COLUMNS
    assert list(dict.fromkeys(row["file"] for row in table)) == NAMES
    whole = [row for row in table if row["file"] == "b.wav"]
    assert [row["instrument"] for row in whole] == list(INSTRUMENTS)
    assert {row["duration_s"] for row in whole} == {"4.0"}
    errors = {row["file"]: row["error"] for row in table if row["error"]}
    assert errors["text.wav"].startswith("is not a sound file")
    assert re.match(r"ends early, at \d\.\d\d of 5\.00 s", errors["cut.flac"])
    assert len(errors) == 2
    assert sum(row["file"] == "cut.flac" for row in table) == 20  # what came before is kept
    assert sum(row["file"] == "text.wav" for row in table) == 1
    for words in ("text.wav is not a sound file", "cut.flac ends early", "1 .ra", "7 files, 2 with errors"):
        assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_one_process_and_several_write_the_same_bytes_as_does_stdout(place: Path) -> None:
    for jobs, name in [(1, "one.csv"), (3, "three.csv")]:
        assert run(place, "archive", "-q", "-o", name, "--jobs", str(jobs)).returncode == 4
    printed = run(place, "archive", "-q").stdout
    assert (place / "one.csv").read_text() == (place / "three.csv").read_text() == printed


def test_the_figures_are_those_of_the_stream(place: Path, tmp_path: Path) -> None:
    job = Job(
        AnalysisConfig(models=("./one",), thresholds={"piano": 0.45}),
        labels=tmp_path / "tracks",
        per_hop=tmp_path / "hops",
    )
    item = Item("x", place / "archive" / "deep.wav", Path("deep.wav"))
    record = job.tag(item, FakeTagger())  # type: ignore[arg-type]
    with Stream(item.path, pace="max", tagger=FakeTagger(), thresholds={"piano": 0.45}) as stream:  # type: ignore[arg-type]
        updates = list(stream)
    p = np.stack([update.probabilities for update in updates]).astype(np.float64)
    assert record.error is None
    assert record.duration_s == 8.0
    np.testing.assert_allclose([each.mean for each in record.tags], p.mean(axis=0), atol=1e-4)
    np.testing.assert_allclose([each.peak for each in record.tags], p.max(axis=0), atol=1e-4)
    spans: dict[str, list[tuple[float, float]]] = {}
    for line in (tmp_path / "tracks" / "deep.wav.txt").read_text().splitlines():
        onset, offset, words = line.split("\t")
        name = words.rpartition(" ")[0]
        spans.setdefault(name, []).append((float(onset), float(offset)))
    for each in record.tags:
        found = spans.get(DISPLAY_NAMES[each.instrument], [])
        assert each.first_s == (min(found)[0] if found else None)
        assert each.last_s == (max(end for _, end in found) if found else None)
        active = sum(0.5 for update in updates if each.instrument in update.active)
        assert each.active_seconds == pytest.approx(active)
    assert any(each.active_seconds for each in record.tags)
    lines = [json.loads(line) for line in (tmp_path / "hops" / "deep.wav.jsonl").read_text().splitlines()]
    assert [line["type"] for line in lines] == ["header", *["update"] * 16, "summary"]


def test_silence_does_not_lower_the_mean(tmp_path: Path) -> None:
    sound = music(6)
    soundfile.write(tmp_path / "short.wav", sound, 32_000)
    soundfile.write(tmp_path / "long.wav", np.concatenate([sound, np.zeros(20 * 32_000, np.float32)]), 32_000)
    soundfile.write(tmp_path / "none.wav", np.zeros(5 * 32_000, np.float32), 32_000)
    short, long, none = (
        Job(AnalysisConfig(models=())).tag(Item(name, tmp_path / name, Path(name)), FakeTagger())  # type: ignore[arg-type]
        for name in ("short.wav", "long.wav", "none.wav")
    )
    assert long.silence_s == pytest.approx(20.0, abs=0.6)
    assert (short.silence_s, long.duration_s) == (0.0, 26.0)
    for one, other in zip(short.tags, long.tags, strict=True):
        assert one.peak is not None
        assert other.mean is not None
        assert other.mean > 0.8 * (one.mean or 0)
    silent_tags = [each for each in none.tags if each.mean is None]
    assert len(silent_tags) in (0, 20)
    assert not any(each.active_seconds for each in none.tags)


@posix
def test_a_killed_run_is_resumed(place: Path, tmp_path: Path) -> None:
    for number in range(12):
        soundfile.write(tmp_path / f"{number:02d}.wav", music(20, seed=number), 32_000)
    argv = [*TAG, "--models", str(place / "one"), ".", "--jobs", "2", "-o", "r.csv"]
    process = subprocess.Popen(argv, cwd=tmp_path, stderr=subprocess.DEVNULL)
    wait_for(lambda: (tmp_path / "r.csv").exists() and (tmp_path / "r.csv").read_text().count("\n") > 3 * 20)
    children = [int(each) for each in subprocess.run(
        ["pgrep", "-P", str(process.pid)], capture_output=True, text=True
    ).stdout.split()] if shutil.which("pgrep") else []  # fmt: skip
    process.kill()
    process.wait()
    before = (tmp_path / "r.csv").read_text()
    finished = len(before.splitlines()) // 20
    assert finished < 12
    with open(tmp_path / "r.csv", "a") as file:  # as a machine that lost its power may leave it
        file.write("".join(f"11.wav,20.0,0.0,,,,,{name},0.5,0.5,0.0,,,,\n" for name in INSTRUMENTS[:7]) + "11.wav,20.")
    wait_for(lambda: not any(Path(f"/proc/{child}").exists() for child in children))  # nobody works for the dead
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(rf"{finished} of 12 files are done already", done.stderr)
    fresh = subprocess.run([*argv[:-2], "-q"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True)
    assert (tmp_path / "r.csv").read_text() == fresh.stdout
    again = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True)
    assert "12 of 12" in again.stderr
    assert (tmp_path / "r.csv").read_text() == fresh.stdout


@posix
def test_segments_are_those_of_the_stream_and_survive_a_kill(place: Path, tmp_path: Path) -> None:
    for number in range(10):
        soundfile.write(tmp_path / f"{number:02d}.wav", music(16, seed=number), 32_000)
    tables = ["-o", "r.csv", "--segments", "s.csv", "--wide", "w.csv"]
    argv = [*TAG, "--models", str(place / "one"), "--threshold", "0.5", ".", "--jobs", "1"]
    process = subprocess.Popen([*argv, *tables], cwd=tmp_path, stderr=subprocess.DEVNULL)
    wait_for(lambda: (tmp_path / "r.csv").exists() and (tmp_path / "r.csv").read_text().count("\n") > 3 * 20)
    process.kill()
    process.wait()
    with open(tmp_path / "s.csv", "a") as file:
        file.write("09.wav,piano,,0.0,1.0,0.5,0.6\n09.wav,vio")  # of a file whose record never came
    done = subprocess.run([*argv, *tables], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    fresh = ["-o", "r2.csv", "--segments", "s2.csv", "--wide", "w2.csv", "-q"]
    subprocess.run([*argv, *fresh], cwd=tmp_path, timeout=120, check=True)
    for name in "rsw":
        assert (tmp_path / f"{name}.csv").read_text() == (tmp_path / f"{name}2.csv").read_text(), name
    with open(tmp_path / "s.csv", newline="") as file:
        told = [row for row in csv.DictReader(file) if row["file"] == "03.wav" and row["instrument"]]
    updates = subprocess.run(
        [*TAG[:-1], *argv[4:8], "--file", "03.wav", "--pace", "max", "--no-ui", "-q", "-o", "03.txt"],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    assert updates.returncode == 0
    live = {tuple(line.rpartition(" ")[0].split("\t")) for line in (tmp_path / "03.txt").read_text().splitlines()}
    assert live == {
        (f"{float(row['start']):.3f}", f"{float(row['end']):.3f}", DISPLAY_NAMES[row["instrument"]]) for row in told
    }
    assert live
    with open(tmp_path / "w.csv", newline="") as file:
        wide = list(csv.DictReader(file))
    assert [row["file"] for row in wide] == [f"{number:02d}.wav" for number in range(10)]
    assert set(INSTRUMENTS) < set(wide[0])
    refused = subprocess.run([*argv, "-o", "r2.csv"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    assert "different --segments" in refused.stderr


def test_the_python_of_the_page_runs(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: pip install '.[test]'")
    tables = ["-o", str(tmp_path / "results.csv"), "--segments", str(tmp_path / "segments.csv")]
    assert run(place, "archive", "--threshold", "0.5", "-q", *tables).returncode == 4
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    shown = []  # the value of each line that is an expression
    for line in ast.parse(blocks((CHECKOUT / "docs" / "archive.md").read_text(encoding="utf-8"), "python")[0]).body:
        if isinstance(line, ast.Expr):
            shown.append(eval(compile(ast.Expression(line.value), "archive.md", "eval"), names))
        else:
            exec(compile(ast.Module([line], []), "archive.md", "exec"), names)
    faults, cello, wide, seconds, speech = shown
    assert faults["file"].tolist() == ["cut.flac", "text.wav"]
    told = pandas.read_csv("results.csv").dropna(subset="instrument")
    assert set(wide.index) == {*NAMES} - {"text.wav"}
    assert (wide.to_numpy().sum(), len(cello)) == (told.active_seconds.sum(), 0)
    written = rows((tmp_path / "segments.csv").read_text(encoding="utf-8"))
    sure = [row for row in written if row["instrument"] and float(row["mean"]) >= 0.7]
    assert sure
    assert seconds.sum() == sum(float(row["end"]) - float(row["start"]) for row in sure)
    assert len(speech) == sum(row["kind"] == "speech" for row in written)


@posix
def test_ctrl_c_ends_it_tidily_and_it_continues(place: Path, tmp_path: Path) -> None:
    for number in range(8):
        soundfile.write(tmp_path / f"{number}.wav", music(30, seed=number), 32_000)
    argv = [*TAG, "--models", str(place / "one"), ".", "--jobs", "2", "-o", "r.jsonl"]
    process = subprocess.Popen(argv, cwd=tmp_path, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for(lambda: (tmp_path / "r.jsonl").exists() and (tmp_path / "r.jsonl").read_text().count("\n") > 1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: all processes hear it
    _, stderr = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "Traceback" not in stderr
    assert re.search(r"\d files? of 8: .*; the same command resumes$", stderr.splitlines()[-1])
    files = [json.loads(line)["file"] for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert files == sorted(files)
    assert 1 < len(files) < 8
    assert subprocess.run([*argv, "-q"], cwd=tmp_path, timeout=120, check=False).returncode == 0
    files = [json.loads(line)["file"] for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert files == [f"{number}.wav" for number in range(8)]


@posix
def test_under_nohup_it_outlives_its_terminal(place: Path, tmp_path: Path) -> None:
    for number in range(4):
        soundfile.write(tmp_path / f"{number}.wav", music(15, seed=number), 32_000)
    argv = ["nohup", *TAG, "--models", str(place / "one"), ".", "--jobs", "1", "-o", "r.jsonl", "-q"]
    process = subprocess.Popen(
        argv, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True
    )
    wait_for(lambda: (tmp_path / "r.jsonl").exists())
    os.killpg(process.pid, signal.SIGHUP)
    assert process.wait(60) == 0
    assert len((tmp_path / "r.jsonl").read_text().splitlines()) == 4


def test_results_of_another_job_are_not_mixed(place: Path) -> None:
    argv = ["archive/b.wav", "-q", "-o", "mixed.csv"]
    assert run(place, *argv).returncode == 0
    before = (place / "mixed.csv").read_text()
    done = run(place, "archive/deep.wav", *argv, "--threshold", "0.3")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "different thresholds and paths — choose another --output, or start over with --force" in done.stderr
    assert (place / "mixed.csv").read_text() == before
    assert run(place, *argv, "--hop", "1", "--force").returncode == 0
    assert (place / "mixed.csv").read_text() != before
    assert json.loads((place / "mixed.csv.json").read_text())["hop"] == 1.0


@pytest.mark.parametrize(
    ("other", "words"),
    [
        ({"hop": 1.0}, "different hop: 0.5, not 1.0"),
        ({"version": "9"}, 'different version: "0.1", not "9"'),
        ({"models": {"two": "abc"}}, "different models"),
        ({"labels": "new"}, 'different --labels: null, not "new"'),
        ({"engine": "other"}, "different engine"),
    ],
)
def test_a_run_is_resumed_only_with_the_same_parameters(other: dict, words: str, tmp_path: Path) -> None:
    facts = {"version": "0.1", "hop": 0.5, "models": {"one": "abc"}, "labels": None, "engine": "some"}
    first = ResultsFile(tmp_path / "r.csv", facts, force=False)
    first.add(Record("a.wav", None, None, (), "is broken"))
    first.close(["a.wav"])
    before = (tmp_path / "r.csv").read_bytes()
    with pytest.raises(UsageError, match=re.escape(words)):
        ResultsFile(tmp_path / "r.csv", facts | other, force=False)
    assert (tmp_path / "r.csv").read_bytes() == before
    same = ResultsFile(tmp_path / "r.csv", facts, force=False)
    assert same.done == frozenset()  # what has failed is tried again
    same.close([])


def test_an_altered_row_is_reported(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = ResultsFile(tmp_path / "r.csv", {"hop": 0.5}, force=False)
    first.add(Record("a.wav", 12.0, 0.0, (), "breaks off"))
    first.close(["a.wav"])
    again = ResultsFile(tmp_path / "r.csv", {"hop": 0.5}, force=False)
    again.add(Record("a.wav", 13.0, 0.0, ()))
    again.close([])
    assert caplog.messages == []
    text = (tmp_path / "r.csv").read_text()
    (tmp_path / "r.csv").write_text(text.replace("13.0", "18.0"))
    last = ResultsFile(tmp_path / "r.csv", {"hop": 0.5}, force=False)
    last.close([])
    assert [line for line in caplog.messages if "altered" in line] != []
    assert "18.0" in (tmp_path / "r.csv").read_text()


MISTAKES = [
    (["nowhere"], 4, "nowhere does not exist"),
    (["empty"], 4, "no sound file in empty"),
    ([], 2, "PATH"),
    (["archive", ""], 2, "PATH: must not be empty"),
    (["archive", "--labels", ""], 2, "--labels: must not be empty"),
    (["archive", "-o", "r.txt"], 2, ".csv, .jsonl or .parquet"),
    (["archive", "-o", "no/where.csv"], 2, "no folder"),
    (["archive", "-o", "precious.csv"], 2, "precious.csv.json"),
    (["archive", "--hop", "0"], 2, "--hop"),
    (["archive", "--jobs", "0"], 2, "--jobs"),
    (["archive", "--device", "1"], 2, "--device 1 — instrec-live tag --help"),
    (["archive", "-o", f"{300 * 'r'}.csv"], 2, "r.csv: File name too long\n"),
    (["archive", "-o", f"{300 * 'r'}/r.csv"], 2, "no folder"),
    (["archive", "--labels", 300 * "l"], 2, "File name too long"),
    (["archive", "--labels", "archive"], 2, "not empty"),
    (["archive", "--models", "./missing"], 5, "no such model folder"),
    (["archive", "--engine", "abacus"], 2, "abacus"),
]


@pytest.mark.parametrize(("argv", "code", "words"), MISTAKES, ids=[" ".join(argv) for argv, _, _ in MISTAKES])
def test_a_mistake_is_one_line(place: Path, argv: list[str], code: int, words: str) -> None:
    (place / "empty").mkdir(exist_ok=True)
    (place / "precious.csv").write_text("precious")
    done = run(place, "-q", *argv)
    assert (done.returncode, done.stderr.count("\n")) == (code, 1), done.stderr
    assert done.stderr.startswith("instrec-live: error: ")
    assert words in done.stderr
    assert (place / "precious.csv").read_text() == "precious"


@pytest.mark.parametrize("suffix", FORMATS)
def test_rows_are_in_the_order_of_the_file(suffix: str, tmp_path: Path) -> None:
    file = ResultsFile(tmp_path / f"r{suffix}", {}, force=False)
    for name in ("b.wav", "gone.wav", "a.wav"):
        file.add(Record(name, 3.0, 0.0, ()))
    file.close(["a.wav", "b.wav"])
    assert [row["file"] for row in file.rows()] == ["a.wav", "b.wav", "gone.wav"]


@pytest.mark.parametrize(("encoding", "more"), [("utf-16", ""), ("latin-1", ""), ("utf-8", 200_000 * "\0")])
def test_segments_changed_by_another_program_are_one_line(encoding: str, more: str, tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    rows = [SEGMENT_COLUMNS, ("ü.wav", "piano", None, 0.0, 1.0, 0.5, 0.6)]
    path.write_bytes((text_of(rows) + more).encode(encoding))
    before = path.read_bytes()
    with pytest.raises(UsageError, match=re.escape(f"cannot resume {path}: ")) as raised:
        SegmentsFile(path, ["ü.wav"], force=False)
    assert "\n" not in raised.value.message
    assert path.read_bytes() == before


def test_segments_of_files_that_are_done_are_missed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"s\.csv: there is no such file — start over with --force"):
        SegmentsFile(tmp_path / "s.csv", ["a.wav"], force=False)
    assert not os.listdir(tmp_path)


def test_a_run_stopped_before_its_first_file_is_resumed(place: Path, tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.csv" for name in "rsw"}
    argv = ["archive/b.wav", "-q", "-o", str(files["r"]), "--segments", str(files["s"]), "--wide", str(files["w"])]
    ResultsFile(files["r"], {}, force=False).close([])
    SegmentsFile(files["s"], (), force=False).close([])
    write_wide(files["w"], (), INSTRUMENTS)
    done = run(place, *argv)
    assert (done.returncode, done.stderr) == (0, "")
    assert all("b.wav" in file.read_text() for file in files.values())


@pytest.mark.parametrize("option", ["--segments", "--wide"])
def test_a_table_that_exists_is_refused_before_anything_is_written(place: Path, tmp_path: Path, option: str) -> None:
    table = tmp_path / "t.csv"
    table.write_text("precious")
    for output in ([], ["-o", str(tmp_path / "r.csv")]):
        done = run(place, "archive/b.wav", "-q", *output, option, str(table))
        assert (done.returncode, done.stdout) == (2, "")
        assert f"t.csv exists — choose another {option}" in done.stderr
    assert os.listdir(tmp_path) == ["t.csv"]
    assert table.read_text() == "precious"


def test_two_runs_do_not_write_one_file(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    first = ResultsFile(tmp_path / "r.csv", {"hop": 0.5}, force=False)
    with pytest.raises(UsageError, match="another run"):
        ResultsFile(tmp_path / "r.csv", {"hop": 0.5}, force=False)
    first.close([])
    ResultsFile(tmp_path / "r.csv", {"hop": 0.5}, force=False).close([])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["r.csv", "r.csv.json"]


def test_nor_before_the_first_has_put_all_in_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("fcntl")
    first, refused = ResultsFile(tmp_path / "r.csv", {"hop": 0.5}, force=False), []

    def replace(path: Path, text: str) -> None:
        with pytest.raises(UsageError, match="another run"):
            ResultsFile(tmp_path / "r.csv", {"hop": 0.5}, force=False)
        refused.append(path)

    monkeypatch.setattr(results_module, "atomic_text", replace)
    first.close([])
    assert refused == [tmp_path / "r.csv", tmp_path / "r.csv.json"]


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
def test_any_name_is_one_line_and_its_own_file(place: Path, tmp_path: Path) -> None:
    names = [b"a b.wav", b"line\nbreak.wav", b"\xff\xfe.wav", b"\\xff\\xfe.wav", "日本.wav".encode(), b'"quo,ted".wav']
    for name in names:
        shutil.copy(place / "archive" / "b.wav", os.path.join(os.fsencode(tmp_path), name))
    argv = [*TAG, "--models", str(place / "one"), ".", "-o", "../names.csv", "--labels", "../names"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    table = rows((tmp_path.parent / "names.csv").read_text(encoding="utf-8"))
    assert len(table) == 20 * len(names)
    assert {row["file"] for row in table} == {
        "a b.wav", "line\\x0abreak.wav", "\\xff\\xfe.wav", "\\x5cxff\\x5cxfe.wav", "日本.wav", '"quo,ted".wav',
    }  # fmt: skip
    assert set(os.listdir(os.fsencode(tmp_path.parent / "names"))) == {name + b".txt" for name in names}
    assert "6 of 6" in subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60).stderr


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_links_that_go_in_circles_end(place: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    shutil.copy(place / "archive" / "b.wav", tmp_path / "in" / "b.wav")
    (tmp_path / "in" / "loop").symlink_to("..")
    (tmp_path / "self").symlink_to("self")
    (tmp_path / "gone.wav").symlink_to("nowhere")
    names = [item.name for item in find([tmp_path]).items]
    assert names == ["gone.wav", "in/b.wav"]
    record = Job(AnalysisConfig(models=())).tag(find([tmp_path]).items[0], FakeTagger())  # type: ignore[arg-type]
    assert record.error == "does not exist"


@posix
def test_folders_may_be_very_deep(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    try:
        for _ in range(1200):
            os.mkdir("d")
            os.chdir("d")
        shutil.copy(place / "archive" / "b.wav", "b.wav")
        os.chdir(tmp_path)
        assert [item.name for item in find([Path(".")]).items] == ["d/" * 1200 + "b.wav"]
    finally:
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)  # which Python's own may be too deep for


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may read everything")
def test_a_closed_folder_is_named(place: Path, tmp_path: Path) -> None:
    shutil.copy(place / "archive" / "b.wav", tmp_path / "b.wav")
    (tmp_path / "shut").mkdir(mode=0)
    assert [(item.name, item.fault) for item in find([tmp_path]).items] == [
        ("b.wav", None),
        ("shut/", "cannot be read: Permission denied"),
    ]


def test_a_folder_may_be_called_like_a_list(place: Path, tmp_path: Path) -> None:
    (tmp_path / "mix.txt").mkdir()
    shutil.copy(place / "archive" / "b.wav", tmp_path / "mix.txt" / "b.wav")
    assert [item.name for item in find([tmp_path / "mix.txt"]).items] == ["b.wav"]


def test_several_paths_are_distinguished_and_none_is_read_twice(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place / "archive")
    names = [item.name for item in find([Path("deep"), Path("b.wav"), Path("./deep/c.wav")]).items]
    assert names == ["deep/c.wav", "deep/er/ü.ogg", "b.wav"]
    (place / "films").mkdir(exist_ok=True)
    shutil.copy("film.ra", place / "films")
    with pytest.raises(InputFileError, match=r"1 \.ra"):
        find([place / "films"])


PATHS = st.lists(st.sampled_from(["..", "_up", "__up", "_root", "a", "_upper"]), min_size=1, max_size=4).map(
    lambda parts: Path(*parts, "x.wav")
) | st.lists(st.sampled_from(["_root", "a"]), max_size=3).map(lambda parts: Path("/", *parts, "x.wav"))


@given(PATHS, PATHS)
def test_labels_stay_in_their_folder_and_apart(one: Path, other: Path) -> None:
    target = output_path(Path("tracks"), one, ".txt")
    assert target.parts[0] == "tracks"
    assert ".." not in target.parts
    assert (target == output_path(Path("tracks"), other, ".txt")) == (one == other)


@given(st.binary(min_size=1).filter(lambda b: not set(b) & set(b"\0/")), st.binary(min_size=1))
def test_names_are_one_line_and_apart(one: bytes, other: bytes) -> None:
    first = name_of(Path(os.fsdecode(one)))
    assert "\n" not in first
    first.encode("utf-8")
    back = re.sub(rb"\\x([0-9a-f]{2})", lambda found: bytes([int(found[1], 16)]), first.encode())
    assert back == os.fsencode(Path(os.fsdecode(one)))


NUMBERS = st.none() | st.floats(0, 1e6).map(lambda x: round(x, 2))
RECORDS = st.builds(
    Record,
    name=st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1).map(lambda t: t + ".wav"),
    duration_s=NUMBERS,
    silence_s=NUMBERS,
    tags=st.just(()) | st.builds(
        lambda x: tuple(Tag(name, x, x, x or 0.0, x, x) for name in INSTRUMENTS), NUMBERS
    ),
    error=st.none() | st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1),
)  # fmt: skip


@pytest.mark.parametrize("suffix", [".csv", ".jsonl"])
@given(records=st.lists(RECORDS, max_size=3), cut=st.integers(0, 400))
def test_what_is_written_is_read_back_and_a_piece_is_left_out(suffix: str, records: list[Record], cut: int) -> None:
    form = FORMATS[suffix](INSTRUMENTS)
    written = [form.write(record) for record in records]
    text = "".join(each.text for each in written)
    assert list(form.read(text.split("\n")[:-1])) == written
    kept = list(form.read(text[: max(0, len(text) - cut)].split("\n")[:-1]))
    assert kept == written[: len(kept)]


class Deadly(Job):
    """A job whose process dies of some files."""

    def load(self) -> FakeTagger:  # type: ignore[override]
        return FakeTagger()

    def tag(self, item: Item, tagger: object) -> Record:
        tried = item.path.with_suffix(".tried")
        if "deadly" in item.name or ("unlucky" in item.name and not tried.exists()):
            tried.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().tag(item, tagger)  # type: ignore[arg-type]


@posix
def test_a_process_that_dies_costs_its_file_only(place: Path, tmp_path: Path) -> None:
    for name in ("a.wav", "deadly.wav", "unlucky.wav", "z.wav"):
        shutil.copy(place / "archive" / "b.wav", tmp_path / name)
    with closing(Pool(Deadly(AnalysisConfig(models=())), 2)) as pool:
        records = {record.name: record for record in pool.records(find([tmp_path]).items)}
    assert {name: record.error for name, record in records.items()} == {
        "a.wav": None,
        "deadly.wav": "crashes the process that reads it (signal 9)",
        "unlucky.wav": None,
        "z.wav": None,
    }
    assert records["unlucky.wav"].tags == records["z.wav"].tags


class Moody(Job):
    """A job whose results would be others in every process; the first waits for all three."""

    def load(self) -> FakeTagger:  # type: ignore[override]
        Path(self.config.models[0], str(os.getpid())).touch()
        return FakeTagger()

    def tag(self, item: Item, tagger: object) -> Record:
        wait_for(lambda: len(os.listdir(self.config.models[0])) == 3)
        time.sleep(0.3)
        return super().tag(item, tagger)  # type: ignore[arg-type]

    def facts(self, tagger: Tagger) -> dict[str, object]:
        return super().facts(tagger) | {"engine": f"that of {os.getpid()}"}


def test_a_process_with_another_engine_is_left_out(
    place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    items = find([place / "archive"]).items
    with closing(Pool(Moody(AnalysisConfig(models=(str(tmp_path),))), 3)) as pool:
        (first,) = pool._workers
        records = list(pool.records(items))
        assert pool._workers == [first]
    assert sorted(record.name for record in records) == sorted(item.name for item in items)
    assert caplog.text.count("continuing without one process: its engine would be different") == 2


def test_facts_are_the_same_after_json_and_tell_jobs_apart() -> None:
    tagger = FakeTagger()
    one = Job(AnalysisConfig(models=("x",))).facts(tagger)  # type: ignore[arg-type]
    assert json.loads(json.dumps(one)) == one
    assert one != Job(AnalysisConfig(models=("x",), thresholds={"piano": 0.9})).facts(tagger)  # type: ignore[arg-type]


def test_a_full_disk_is_reported_and_keeps_what_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    results = ResultsFile(tmp_path / "r.csv", {"hop": 0.5}, force=False)
    tags = tuple(Tag(name, 0.5, 0.5, 0.0, None, None) for name in INSTRUMENTS)
    results.add(Record("a.wav", 1.0, 0.0, tags))

    def full(file: object, text: str) -> None:
        results._file.write(text.encode()[:50])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("instrec_live.realtime.commands.tag.results._append", full)
    with pytest.raises(OutputError, match="No space left"):
        results.add(Record("b.wav", 1.0, 0.0, tags))
    monkeypatch.undo()
    results._held.close()
    again = ResultsFile(tmp_path / "r.csv", {"hop": 0.5}, force=False)
    assert again.done == {"a.wav"}
    assert len((tmp_path / "r.csv").read_text().splitlines()) == 21


def test_a_table_that_cannot_be_written_to_its_end_is_no_mistake_of_the_user(tmp_path: Path) -> None:
    segments = SegmentsFile(tmp_path / "s.csv", (), force=False)
    row = {"file": "a.wav", "instrument": "piano", "active_seconds": 1.0}
    results = ResultsFile(tmp_path / "r.csv", {"hop": 0.5}, force=False)
    segments.add(Record("a.wav", 1.0, 0.0, (), segments=(Segment("piano", 0.0, 1.0, 0.5, 0.9),) * 10))
    with full_disk(10):
        for kind, facts in ((ResultsFile, {"hop": 0.5}), (SegmentsFile, ())):
            with pytest.raises(OutputError, match="File too large"):
                kind(tmp_path / f"{kind.__name__}.csv", facts, force=False)  # type: ignore[operator]
    with full_disk(100):
        for write in (
            lambda: segments.add(Record("b.wav", 1.0, 0.0, (), segments=(Segment("piano", 0.0, 1.0, 0.5, 0.9),))),
            lambda: segments.close(["a.wav"]),
            lambda: results.close([]),
            lambda: write_wide(tmp_path / "w.csv", [row], INSTRUMENTS),
        ):
            with pytest.raises(OutputError, match=r"cannot write .*csv: File too large") as raised:
                write()
            assert raised.value.exit_code == 1


@posix
@pytest.mark.parametrize("argv", ["-o r.csv", "> r.csv"])
def test_its_exit_code_is_1(argv: str, place: Path, tmp_path: Path) -> None:
    tag = " ".join([*TAG, "--models", str(place / "one"), "-q", "-j", "1", str(place / "archive"), argv])
    shell = ["bash", "-c", f"ulimit -f 4; {tag}"]  # of 1024 bytes
    done = subprocess.run(shell, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    name = "r.csv" if "-o" in argv else "stdout"
    assert done.stderr.splitlines()[-1].startswith(f"instrec-live: error: cannot write {name}: File too large")
    assert done.returncode == 1


def test_labels_that_cannot_be_written_are_an_error_of_the_file(place: Path, tmp_path: Path) -> None:
    (tmp_path / "tracks").mkdir()
    (tmp_path / "tracks" / "deep").write_text("a file where a folder should be")
    job = Job(AnalysisConfig(models=()), labels=tmp_path / "tracks")
    item = Item("deep/c.wav", place / "archive" / "deep" / "c.wav", Path("deep/c.wav"))
    record = job.tag(item, FakeTagger())  # type: ignore[arg-type]
    assert record.error is not None
    assert f"{tmp_path / 'tracks'} could not be written" in record.error
    assert record.duration_s == pytest.approx(soundfile.info(item.path).duration)
    assert len(record.tags) == len(INSTRUMENTS)


def test_a_file_that_cannot_be_read_is_not_called_an_output(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> None:
        raise OSError(5, "Input/output error")

    job = Job(AnalysisConfig(models=()), labels=tmp_path / "tracks")
    item = Item("b.wav", place / "archive" / "b.wav", Path("b.wav"))
    monkeypatch.setattr("instrec_live.realtime.audio.file.FileSource.read", failing)
    record = job.tag(item, FakeTagger())  # type: ignore[arg-type]
    assert record.error is not None
    assert "Input/output error" in record.error
    assert "could not be written" not in record.error


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
def test_labels_that_cannot_be_written_for_a_name_that_is_not_text_are_an_error(place: Path, tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff" + 248 * b"a" + b".wav")  # too long for its labels
    shutil.copy(place / "archive" / "b.wav", tmp_path / name)
    (item,) = find([tmp_path]).items
    record = Job(AnalysisConfig(models=()), labels=tmp_path / "tracks").tag(item, FakeTagger())  # type: ignore[arg-type]
    assert record.error is not None
    assert "could not be written: File name too long" in record.error
    for kind in FORMATS.values():
        kind(INSTRUMENTS).write(record).text.encode()


def test_a_library_that_fails_is_a_model_that_does_not_load(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(**_: object) -> Tagger:
        raise RuntimeError("no such\ninstruction")

    monkeypatch.setattr(Tagger, "load", load)
    with pytest.raises(ModelError, match="the networks cannot be loaded: RuntimeError"):
        Job(AnalysisConfig(models=("x",))).load()


def test_all_processors_are_used_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2}, raising=False)
    monkeypatch.setattr("instrec_live.realtime.commands.tag.pool.cpu_quota", lambda: None)
    assert parse_tag(["x"]).jobs == 3
    assert parse_tag(["x", "-j", "2"]).jobs == 2
    settings = parse_tag(
        ["x", "y", "--hop", "2", "--models", "a,b", "--weights=1,2", "-vv", "--threads", "2"]
    ).listening
    assert (settings.hop, settings.models, settings.weights, settings.verbosity, settings.threads) == (
        2.0, ("a", "b"), (1.0, 2.0), 2, 2,
    )  # fmt: skip


def test_the_settings_file_counts_here_too(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("hop = 2.0\nthreads = 3\n")
    listening = parse_tag(["x", "--config", str(tmp_path / "c.toml"), "--threads", "2"]).listening
    assert (listening.hop, listening.threads) == (2.0, 2)


def test_help_is_whole() -> None:
    done = subprocess.run([*TAG, "--help"], capture_output=True, text=True, timeout=120, check=True)
    for words in ("--output", "--labels", "--jobs", "--hop", "--models", "--thresholds", "--quiet", "resumable"):
        assert words in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 110


@posix
def test_a_terminal_sees_a_bar_and_errors_above_it(place: Path) -> None:
    terminal, theirs = pty.openpty()
    process = subprocess.Popen(
        [*TAG, "--models", "./one", "archive"], cwd=place, stdout=subprocess.DEVNULL, stderr=theirs, close_fds=True,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "120"},
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    try:
        while piece := os.read(terminal, 65_536):
            seen += piece
    except OSError:  # so Linux says that nobody writes any more
        pass
    assert process.wait(60) == 4
    text = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", seen.decode())
    assert "7/7" in text
    assert "× real time" in text
    assert "text.wav is not a sound file" in text


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "50000 100000\n"}, 0.5),  # a container with a cgroup namespace of its own
        ("0::/a/b\n", {"a/cpu.max": "150000 100000\n", "a/b/cpu.max": "max 100000\n"}, 1.5),
        ("0::/a\n", {"a/cpu.max": "max 100000\n"}, None),
        ("4:memory:/x\n3:cpu,y:/x\n", {"cpu/x/cpu.cfs_quota_us": "200000", "cpu/x/cpu.cfs_period_us": "100000"}, 2.0),
        ("3:cpu,cpuacct:/gone\n", {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3.0),
        ("3:cpu:/x\n", {"cpu/x/cpu.cfs_quota_us": "-1", "cpu/x/cpu.cfs_period_us": "100000"}, None),
        ("0::/\n", {"cpu.max": "nonsense\n"}, None),
        ("", {}, None),
    ],
)  # fmt: skip
def test_a_cpu_quota_is_counted(groups: str, files: dict[str, str], quota: float | None, tmp_path: Path) -> None:
    (tmp_path / "cgroup").write_text(groups)
    for name, content in files.items():
        (tmp_path / "mount" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mount" / name).write_text(content)
    assert cpu_quota(tmp_path / "cgroup", tmp_path / "mount") == quota


def test_there_are_as_many_processes_as_the_quota_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3}, raising=False)
    for quota, count in ((None, 4), (0.5, 1), (1.5, 2), (8.0, 4)):
        monkeypatch.setattr("instrec_live.realtime.commands.tag.pool.cpu_quota", lambda quota=quota: quota)
        assert cores() == count


def test_a_link_in_the_place_of_a_temporary_file_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    for name in ("r.csv.part", "r.csv.json.part", ".r.csv.partial"):
        (tmp_path / name).symlink_to(precious)
    file = ResultsFile(tmp_path / "r.csv", {"hop": 0.5}, force=True)
    file.add(Record("a.wav", 3.0, 0.0, ()))
    file.close(["a.wav"])
    assert precious.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir() if not path.is_symlink()) == [
        "precious", "r.csv", "r.csv.json",
    ]  # fmt: skip
