"""A run that a signal ends has decided and written all of its sound, in every output."""

import array
import csv
import fcntl
import io
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fakes import music
from tiny_bundle import write_tiny
from waiting import wait_for

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
RUN = [sys.executable, "-m", "instrec_live.realtime", "--models", "./one", "--engine", "onnx", "-q", "--json"]
OUTPUTS = ("run.jsonl", "run.csv", "run.txt", "run.vtt", "run.html", "run.textgrid")
CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}
HEARD = 60.25  # s


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("stopped")
    write_tiny(here / "one", "one", threshold=0.05)
    soundfile.write(here / "hours.wav", np.tile(sound(), 120), 32_000)
    return here


def sound() -> np.ndarray:
    """Half a minute that is loud now and then, float32 [n]."""
    loud = np.repeat([0.001, 1.0, 0.1, 0.0, 0.6, 0.002], 5 * 32_000).astype(np.float32)
    return loud * music(30.0)


def started(place: Path, *argv: str, stdin: Any = subprocess.DEVNULL) -> "subprocess.Popen[bytes]":
    """A run that has written updates, if it needs no sound for that."""
    outputs = [word for name in OUTPUTS for word in ("-o", name)]
    with open(place / "stdout", "wb") as out, open(place / "stderr", "wb") as err:
        process = subprocess.Popen([*RUN, "--force", *argv, *outputs], cwd=place, stdin=stdin, stdout=out, stderr=err)
    if stdin == subprocess.DEVNULL:
        wait_for(lambda: b'"update"' in (place / "stdout").read_bytes(), "updates")
    return process


def ended(place: Path, process: "subprocess.Popen[bytes]", number: signal.Signals) -> list[dict[str, Any]]:
    """The updates of a run that a signal ends now."""
    process.send_signal(number)
    assert (process.wait(120), (place / "stderr").read_text()) == (CODES[number], "")
    _header, *updates, summary = map(json.loads, (place / "stdout").read_text().splitlines())
    assert (summary["type"], summary["ended"], summary["updates"]) == ("summary", "stopped", len(updates))
    return updates


def facts(update: dict[str, Any]) -> tuple[Any, ...]:
    return update["time"], update["state"], update["active"], update["probabilities"]


def check_outputs(place: Path, updates: list[dict[str, Any]]) -> None:
    """All outputs reach the end of what was heard."""
    end = updates[-1]["time"]
    written = [json.loads(line) for line in (place / "run.jsonl").read_text().splitlines()]
    assert [facts(each) for each in written if each["type"] == "update"] == [facts(each) for each in updates]
    rows = list(csv.DictReader((place / "run.csv").read_text().splitlines()))
    assert len(rows) == 20 * len(updates)
    assert float(rows[-1]["time"]) == end
    last = [each for each in updates if each["active"]][-1]["time"]
    labels = [line.split("\t") for line in (place / "run.txt").read_text().splitlines()]
    assert max(float(label[1]) for label in labels) == pytest.approx(last, abs=1e-3)
    assert (place / "run.vtt").read_text().count("-->") > 0
    assert "stopped by the user" in (place / "run.html").read_text()
    xmax = re.search(r"xmax = ([\d.]+)", (place / "run.textgrid").read_text())
    assert xmax is not None
    assert float(xmax[1]) == pytest.approx(end, abs=1e-3)


@pytest.mark.parametrize("number", CODES)
def test_a_file(place: Path, number: signal.Signals) -> None:
    process = started(place, "--file", "hours.wav", "--pace", "max")
    updates = ended(place, process, number)
    end = updates[-1]["time"]
    check_outputs(place, updates)
    whole = subprocess.run(
        [*RUN, "--file", "hours.wav", "--pace", "max", "--duration", str(end)],
        cwd=place, capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    assert [facts(each) for each in map(json.loads, whole.stdout.splitlines()[1:-1])] == list(map(facts, updates))


@pytest.mark.parametrize("number", CODES)
@pytest.mark.parametrize("pace", ["max", "realtime"])
def test_a_pipe(place: Path, number: signal.Signals, pace: str) -> None:
    heard = HEARD if pace == "max" else 3.25
    pcm = (np.tile(sound(), 3)[: round(heard * 32_000)] * 32_767).astype("<i2").tobytes()
    hop = "0.5" if pace == "max" else "60"  # the only one is not over
    process = started(place, "--stdin", "--rate", "32000", "--pace", pace, "--hop", hop, stdin=subprocess.PIPE)
    pipe: io.BufferedWriter = process.stdin  # type: ignore[assignment]
    pipe.write(pcm)
    pipe.flush()
    wait_for((place / "stdout").read_bytes, "its first line")
    waits = array.array("i", [1])
    wait_for(lambda: fcntl.ioctl(pipe.fileno(), 0x541B, waits) == 0 and waits[0] == 0, "the pipe is read")  # FIONREAD
    updates = ended(place, process, number)
    assert updates[-1]["time"] == pytest.approx(heard, abs=0.11 if pace == "realtime" else 0)
    if pace == "max":
        check_outputs(place, updates)
        whole = subprocess.run(
            [*RUN, "--stdin", "--rate", "32000", "--pace", "max"],
            cwd=place, input=pcm, capture_output=True, timeout=120, check=True,
        )  # fmt: skip
        assert [facts(each) for each in map(json.loads, whole.stdout.splitlines()[1:-1])] == list(map(facts, updates))
