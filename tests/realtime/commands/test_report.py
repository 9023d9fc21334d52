"""instrec-live report: an earlier run is restored exactly, and a file that is not a run is one line."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile
from fakes import music
from played import a_head, an_update
from tiny_bundle import write_tiny

from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.commands.report import run
from instrec_live.realtime.outputs import JsonLines, SummaryBuilder
from instrec_live.realtime.stream.capture import Drift

RUN = [sys.executable, "-m", "instrec_live.realtime"]
KINDS = ("jsonl", "csv", "txt", "svl.csv", "selections.txt", "vtt", "srt", "TextGrid", "svg", "png", "html")
UPDATES = (an_update(0.5), an_update(1.0, "piano"), an_update(7.0, "piano", jumped=True), an_update(7.5, "voice"))


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """What the command does to the program's logger is undone for the tests after it."""
    log = logging.getLogger("instrec_live")
    before = log.level, log.propagate, log.handlers[:]
    yield
    log.level, log.propagate, log.handlers = before


def a_run(path: Path, drift: Drift | None = None, **changes: object) -> Path:
    """A run of four updates, a label and a change."""
    tally = SummaryBuilder(0.5)
    with open(path, "w", encoding="utf-8") as file:
        sink = JsonLines(file, a_head() | changes)
        for update in UPDATES:
            sink.write(update)
            tally.note(update)
        sink.label(7.5, "<b> & $x")
        sink.change({"type": "thresholds", "time": 7.5, "thresholds": {"piano": 0.2}})
        sink.close(tally.summary("stopped", drift))
    return path


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_run_as_powershell_writes_it(encoding: str, tmp_path: Path) -> None:
    plain = a_run(tmp_path / "plain.jsonl").read_text(encoding="utf-8")
    (tmp_path / "run.jsonl").write_bytes(plain.replace("\n", "\r\n").encode(encoding))
    for name in ("plain", "run"):
        assert run([str(tmp_path / f"{name}.jsonl"), "-o", str(tmp_path / f"{name}.vtt")]) == 0
    assert (tmp_path / "run.vtt").read_text() == (tmp_path / "plain.vtt").read_text()
    (tmp_path / "cut.jsonl").write_bytes((tmp_path / "run.jsonl").read_bytes()[:-101])  # half a letter of UTF-16
    assert run([str(tmp_path / "cut.jsonl"), "-o", str(tmp_path / "cut.vtt")]) == 0


def test_the_report_equals_the_output_of_the_run(tmp_path: Path) -> None:
    write_tiny(tmp_path / "one", "one")
    soundfile.write(tmp_path / "good.wav", music(6.2), 32_000)
    outputs = [word for kind in KINDS for word in ("-o", f"live.{kind}")]
    argv = ["--models", "./one", "--file", "good.wav", "--pace", "max", "--no-ui", "-q", "--threshold", "0.3"]
    subprocess.run([*RUN, *argv, *outputs], cwd=tmp_path, check=True, timeout=60, stdout=subprocess.DEVNULL)
    again = [word for kind in KINDS for word in ("-o", f"again.{kind}")]
    done = subprocess.run(
        [*RUN, "report", "live.jsonl", *again], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("instrec-live: written: again.jsonl, again.csv")
    assert (tmp_path / "live.txt").read_text(), "nothing sounded; the test shows nothing"
    for kind in (*KINDS, "csv.json"):
        assert (tmp_path / f"again.{kind}").read_bytes() == (tmp_path / f"live.{kind}").read_bytes(), kind


def test_without_outputs_it_makes_a_page_and_a_picture(tmp_path: Path) -> None:
    path = a_run(tmp_path / "concert.jsonl")
    assert run([str(path), "-q"]) == 0
    assert {each.name for each in tmp_path.iterdir()} == {"concert.jsonl", "concert.html", "concert.png"}
    with pytest.raises(UsageError, match="--force"):
        run([str(path), "-q"])
    assert run([str(path), "-q", "--force"]) == 0


@pytest.mark.parametrize("drift", [None, Drift(0.01, None), Drift(-0.1234, 50.2)])
def test_labels_jumps_changes_and_drift_come_back(tmp_path: Path, drift: Drift | None) -> None:
    path = a_run(tmp_path / "a.jsonl", drift)
    assert run([str(path), "-q", "-o", str(tmp_path / "b.jsonl"), "-o", str(tmp_path / "b.txt")]) == 0
    assert (tmp_path / "b.jsonl").read_text() == path.read_text()
    assert (tmp_path / "b.txt").read_text().splitlines() == [
        "1.000\t1.000\tpiano 0.12", "7.000\t7.500\tpiano 0.12", "7.500\t7.500\t<b> & $x", "7.500\t7.500\tvoice 0.12",
    ]  # fmt: skip


@pytest.mark.parametrize("cut", [1, 300, 2000])
def test_a_run_that_was_killed_is_read_up_to_there(
    tmp_path: Path, cut: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = a_run(tmp_path / "a.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:4]) + lines[4][: cut if cut < 2000 else -2])
    assert run([str(path), "-o", str(tmp_path / "b.jsonl")]) == 0
    said = capsys.readouterr().err
    assert "a.jsonl ends within line 5: the run was interrupted" in said
    *updates, summary = map(json.loads, (tmp_path / "b.jsonl").read_text().splitlines())
    assert len(updates) == 4
    assert (summary["ended"], summary["updates"], summary["time"]) == ("failed", 3, 7.0)


def test_a_run_without_a_summary_needs_no_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = a_run(tmp_path / "a.jsonl")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:4]).rstrip("\n"))
    assert run([str(path), "-q", "-o", str(tmp_path / "b.jsonl")]) == 0
    assert capsys.readouterr().err == ""
    assert len((tmp_path / "b.jsonl").read_text().splitlines()) == 5


NO_RUNS = {
    "empty": b"",
    "text": b"this is no run\n",
    "binary": bytes(range(256)) * 9000,
    "other": b'{"type": "header", "program": "something-else"}\n',
    "list": b"[1, 2]\n",
    "deep": b"[" * 100_000,
}


@pytest.mark.parametrize("content", NO_RUNS.values(), ids=NO_RUNS)
def test_a_file_that_is_not_a_run_is_one_line(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.jsonl").write_bytes(content)
    with pytest.raises(InputFileError, match="is not a run of instrec-live") as caught:
        run([str(tmp_path / "a.jsonl"), "-q"])
    assert caught.value.exit_code == 4
    assert [each.name for each in tmp_path.iterdir()] == ["a.jsonl"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('"type": "update", "time": 1.0', '"type": "update", "time": NaN', "line 3"),
        ('"time": 1.0, "probabilities"', '"time": 1.0, "possibilities"', "line 3"),
        ('"active": ["piano"]', '"active": ["pinao"]', "line 3"),
        ('"type": "label"', '"type": "label}', "line 6: it is not JSON"),
        ('"piano": 0.1235', '"piano": 2', "line 2"),
    ],
)
def test_a_damaged_line_is_named_and_what_came_before_is_kept(tmp_path: Path, old: str, new: str, words: str) -> None:
    path = a_run(tmp_path / "a.jsonl")
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(InputFileError, match=f"a.jsonl, {words}"):
        run([str(path), "-q", "-o", str(tmp_path / "b.jsonl")])
    number = int(words.split()[1].strip(":"))
    kept = (tmp_path / "b.jsonl").read_text().splitlines()
    assert kept[: number - 1] == text.splitlines()[: number - 1]
    assert json.loads(kept[-1])["type"] == "summary"


def test_two_runs_in_one_file(tmp_path: Path) -> None:
    path = a_run(tmp_path / "a.jsonl")
    path.write_text(path.read_text() * 2)
    with pytest.raises(InputFileError, match=r"line 9: .*a second run starts here"):
        run([str(path), "-q"])


def test_other_instruments_and_a_damaged_header(tmp_path: Path) -> None:
    for names in (["<b>"], ["Kazoo"], ["kazoo", "kazoo"], ["voice", "piano"], [], "piano", [1]):
        with pytest.raises(InputFileError, match="instruments that this version does not know"):
            run([str(a_run(tmp_path / "a.jsonl", instruments=names)), "-q"])
    with pytest.raises(InputFileError, match="not as instrec-live writes it"):  # a learned one that its lines lack
        run([str(a_run(tmp_path / "a.jsonl", instruments=["kazoo"])), "-q"])
    for changes in ({"hop": "often"}, {"rate": "fast"}, {"rate": None}, {"rate": 0}):
        with pytest.raises(InputFileError, match="header is damaged"):
            run([str(a_run(tmp_path / "a.jsonl", **changes)), "-q"])


def test_names_of_the_header_are_text_in_every_page(tmp_path: Path) -> None:
    path = a_run(tmp_path / "a.jsonl", source="a\x01 <b>\nc", engine="\x02")
    assert run([str(path), "-q", "-o", str(tmp_path / "a.html"), "-o", str(tmp_path / "a.svg")]) == 0
    for name in ("a.html", "a.svg"):
        ElementTree.parse(tmp_path / name)  # raises if it is not well-formed


@pytest.mark.parametrize("created", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "someday"])
def test_any_day_is_shown(tmp_path: Path, created: str) -> None:
    path = a_run(tmp_path / "a.jsonl", created=created)
    assert run([str(path), "-q", "-o", str(tmp_path / "a.html")]) == 0
    assert created in (tmp_path / "a.html").read_text(encoding="utf-8")


def test_a_learned_instrument_can_be_chosen(tmp_path: Path) -> None:
    instruments = (*INSTRUMENTS, "kora")
    probabilities = np.append(UPDATES[0].probabilities, np.float32(0.9))
    path, head = tmp_path / "a.jsonl", a_head() | {"instruments": list(instruments)}
    with open(path, "w", encoding="utf-8") as file:
        sink = JsonLines(file, head)
        for time, active in ((0.5, ("piano", "kora")), (1.0, ())):
            sink.write(replace(UPDATES[0], time=time, probabilities=probabilities, active=active, by_model={},
                               instruments=instruments))  # fmt: skip
    for words, names in ((["--only", "kora"], ["kora"]), (["--not", "Kora"], ["piano"]), ([], ["kora", "piano"])):
        assert run([str(path), "-q", "--force", "-o", str(tmp_path / "a.txt"), *words]) == 0
        lines = (tmp_path / "a.txt").read_text().splitlines()
        assert sorted(line.split("\t")[2].split()[0] for line in lines) == names
    with pytest.raises(UsageError, match=r"--only: there is no instrument 'kor'"):
        run([str(path), "-q", "--force", "-o", str(tmp_path / "a.txt"), "--only", "kor"])
    with pytest.raises(UsageError, match="exclude each other"):
        run([str(path), "-q", "--only", "kora", "--not", "piano"])


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["nowhere.jsonl"], 4, "nowhere.jsonl: No such file"),
        (["."], 4, ".: Is a directory"),
        (["a.jsonl", "-o", "b.pdf"], 2, "end it in .jsonl, .csv"),
        (["a.jsonl", "-o", "a.jsonl"], 2, "read and written"),
        (["a.jsonl", "-o", "b.png", "-o", "./b.png"], 2, "same name"),
        (["a.jsonl", "-o", "no/b.png"], 2, "no folder"),
        ([], 2, "FILE.jsonl"),
        (["a.jsonl", "--fast"], 2, "--fast"),
    ],
)
def test_a_mistake_is_one_line_and_a_code(tmp_path: Path, argv: list[str], code: int, words: str) -> None:
    a_run(tmp_path / "a.jsonl")
    done = subprocess.run(
        [*RUN, "report", *argv], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("instrec-live: error: ")
    assert words in line
    assert [each.name for each in tmp_path.iterdir()] == ["a.jsonl"]


def test_the_only_source_of_a_run_of_watch_needs_no_name(tmp_path: Path) -> None:
    plain = a_run(tmp_path / "plain.jsonl").read_text(encoding="utf-8")
    lines = [json.dumps({**json.loads(line), "channel": "studio"}) for line in plain.splitlines()]
    (tmp_path / "one.jsonl").write_text("\n".join(lines) + "\n")
    for name in ("plain", "one"):
        assert run([str(tmp_path / f"{name}.jsonl"), "-o", str(tmp_path / f"{name}.vtt")]) == 0
    assert (tmp_path / "one.vtt").read_text() == (tmp_path / "plain.vtt").read_text()
    lines.insert(2, json.dumps({"type": "label", "time": 1.0, "text": "x", "channel": "hall"}))
    (tmp_path / "two.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(InputFileError, match="has many sources — choose one with --channel"):
        run([str(tmp_path / "two.jsonl")])


def test_another_name_of_the_run_is_not_written(tmp_path: Path) -> None:
    path = a_run(tmp_path / "a.jsonl")
    os.link(path, tmp_path / "b.jsonl")
    with pytest.raises(UsageError, match="cannot be read and written at the same time"):
        run([str(path), "-o", str(tmp_path / "b.jsonl"), "--force"])


def test_a_full_disk_costs_one_output(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("there is no /dev/full")
    path = a_run(tmp_path / "a.jsonl")
    (tmp_path / "full.html").symlink_to("/dev/full")
    outputs = ["-o", str(tmp_path / "full.html"), "-o", str(tmp_path / "b.vtt")]
    assert run([str(path), "--force", *outputs]) == 1
    assert "full.html (No space left" in capsys.readouterr().err
    assert "piano" in (tmp_path / "b.vtt").read_text()
