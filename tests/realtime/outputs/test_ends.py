"""All outputs end where the sound ends; and what a full disk cuts off ends with a whole line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from fake_stream import update
from fakes import music
from full_disk import full_disk
from played import Played, a_head, an_update
from tiny_bundle import write_tiny

from instrec_live.realtime.outputs import jsonl_reader, open_output
from instrec_live.realtime.outputs.files import cut_back, size_of
from instrec_live.realtime.outputs.labels import Subtitles
from instrec_live.realtime.outputs.session import Session
from instrec_live.realtime.outputs.sink import SinkGroup, SummaryBuilder
from instrec_live.realtime.outputs.tables import JsonLines


def test_the_only_hop_is_shorter_than_a_hop(tmp_path: Path) -> None:
    only = update(1, time=2.0, sound_s=2.0, active=("piano",))
    builder = SummaryBuilder(hop=10.0)
    builder.note(only)
    summary = builder.summary("end")
    assert summary.active_seconds == {"piano": 2.0}
    assert summary.heard_s == 2.0
    with open(tmp_path / "x.vtt", "w", encoding="utf-8") as file:
        cues = Subtitles(file, {"hop": 10.0})
        cues.write(only)
        cues.label(1.5, "late")
        cues.close(summary)
    ends = [line.split(" --> ")[1] for line in (tmp_path / "x.vtt").read_text().splitlines() if "-->" in line]
    assert ends == ["00:00:02.000"] * 2


def test_what_was_deleted_during_the_run_is_named(tmp_path: Path) -> None:
    session = Session(Played(an_update(0.5), an_update(1.0)), take=tmp_path / "take.wav")
    for name in ("run.jsonl", "run.vtt", "kept.csv"):
        for begun in open_output(tmp_path / name, a_head(), force=False):
            session.add(*begun)
    session.record(True)
    for _ in session:
        for name in ("run.jsonl", "run.vtt", "take.wav"):
            (tmp_path / name).unlink(missing_ok=True)
    session.finish()
    lines = session.notices()
    assert session.failed
    for name in ("run.jsonl", "run.vtt", "take.wav"):
        assert [line for line in lines if name in line and "it was deleted during the run" in line], lines
    assert not [line for line in lines if "kept.csv" in line]


@pytest.mark.parametrize(
    "options", [["--hop", "20"], ["--hop", "20", "--causal"], ["--start", "5", "--duration", "0.3"]]
)
def test_the_first_hop_counts_whole_and_only_its_sound(tmp_path: Path, options: list[str]) -> None:
    write_tiny(tmp_path / "one", "one")
    soundfile.write(tmp_path / "good.wav", music(25.0), 32_000)
    command = ["--no-config", "--models", "one", "--file", "good.wav", "--pace", "max", "--threshold", "0.001"]
    run = [sys.executable, "-m", "instrec_live.realtime"]
    for words in (
        [*command, *options, "-o", "run.jsonl", "-o", "run.txt"],
        ["report", "run.jsonl", "-o", "again.jsonl"],
    ):
        subprocess.run([*run, *words], cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "again.jsonl").read_text() == (tmp_path / "run.jsonl").read_text()
    summary = json.loads((tmp_path / "run.jsonl").read_text().splitlines()[-1])
    begins, ends = (5.0, 5.3) if "--start" in options else (0.0, 25.0)
    assert summary["heard_s"] == pytest.approx(ends - begins)
    if "--causal" not in options:  # else a segment begins with the update that finds it
        onsets = [float(line.split("\t")[0]) for line in (tmp_path / "run.txt").read_text().splitlines()]
        assert min(onsets, default=begins) == begins


@pytest.mark.parametrize("room", [5000, 6000, 7000])
def test_lines_are_whole_on_a_full_disk(tmp_path: Path, room: int) -> None:
    file = open(tmp_path / "run.jsonl", "w", encoding="utf-8")  # noqa: SIM115 - closed by the group
    sinks = SinkGroup()
    sinks.add("run.jsonl", JsonLines(file, {"type": "header"}), file)
    with full_disk(room):
        for number in range(1, 20):
            sinks.write(update(number))
    assert sinks.failed
    sinks.close(SummaryBuilder(0.5).summary("end"))
    del sinks, file
    lines = (tmp_path / "run.jsonl").read_bytes()
    assert lines.endswith(b"}\n")
    assert [json.loads(line)["type"] for line in lines.splitlines()][:2] == ["header", "update"]


@pytest.mark.skipif(os.name != "posix", reason="a shell that limits the size of files")
@pytest.mark.parametrize(
    "command", ["--json --file good.wav --pace max", "watch --no-ui --json good.wav other=good.wav"]
)
def test_nor_is_a_line_on_stdout_cut(tmp_path: Path, command: str) -> None:
    write_tiny(tmp_path / "one", "one")
    soundfile.write(tmp_path / "good.wav", music(6), 32_000)
    run = f"{sys.executable} -m instrec_live.realtime {command} --models ./one --engine onnx"
    shell = ["bash", "-c", f"ulimit -f 8; {run} > run.jsonl"]  # of 1024 bytes
    unbuffered = os.environ | {"PYTHONUNBUFFERED": "1"}  # as in many containers
    done = subprocess.run(shell, env=unbuffered, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "cannot write" in done.stderr
    assert "File too large" in done.stderr
    lines = (tmp_path / "run.jsonl").read_bytes()
    assert lines.endswith(b"}\n")
    assert {json.loads(line)["type"] for line in lines.splitlines()} == {"header", "update"}


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="named pipes are POSIX's")
def test_a_device_as_output_is_not_read_back(tmp_path: Path) -> None:
    """/dev/full can be read without end, and a pipe for ever."""
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with open(tmp_path / "pipe", "w") as pipe:
        assert size_of(pipe) is None
        cut_back(pipe, None)
        pipe.write("on\n")
    assert os.read(reader, 10) == b"on\n"
    os.close(reader)


def test_half_a_character_in_a_run_is_replaced(tmp_path: Path) -> None:
    assert jsonl_reader._object(b'{"source": "a\\ud800b \\ud83d\\ude00"}\n') == {"source": "a?b \U0001f600"}
