"""Output that is not read does not keep the program from ending."""

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fakes import music
from tiny_bundle import write_tiny

pytestmark = pytest.mark.skipif(os.name != "posix", reason="terminals of POSIX")
RUN = [sys.executable, "-m", "instrec_live.realtime", "--models", "./one", "--engine", "onnx", "--file", "good.wav"]
OUTPUT = ["--output", "run.jsonl", "--force"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("unread")
    write_tiny(here / "one", "one")
    soundfile.write(here / "good.wav", np.tile(music(6), 40), 32_000)
    return here


def started(place: Path, arguments: list[str], screen: bool) -> tuple["subprocess.Popen[bytes]", int]:
    """The program with a terminal, or a pipe, of which nothing is ever read; and the other end of that."""
    if screen:
        main, other = pty.openpty()
        process = subprocess.Popen(
            [*RUN, *arguments, *OUTPUT],
            cwd=place, stdin=other, stdout=other, stderr=other, env=os.environ | {"TERM": "xterm-256color"},
            start_new_session=True,
        )  # fmt: skip
    else:
        main, other = os.pipe()
        process = subprocess.Popen([*RUN, *arguments, *OUTPUT], cwd=place, stdout=other, stdin=subprocess.DEVNULL)
    os.close(other)
    return process, main


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("arguments", "screen"), [([], True), (["--json", "--pace", "max", "--hop", "0.1"], False)])
def test_a_signal_ends_it_with_the_summary(
    place: Path, arguments: list[str], screen: bool, number: signal.Signals
) -> None:
    run = place / "run.jsonl"
    run.unlink(missing_ok=True)
    process, unread = started(place, arguments, screen)
    try:
        size, since = -1, time.monotonic()
        # Until nothing more is written (the pipe is full), or long enough for a screen to fill a terminal's buffer.
        while time.monotonic() < since + 60:
            time.sleep(1.0 if not screen else 2.0)
            now = run.stat().st_size if run.exists() else 0
            if now and (now == size or screen):
                break
            size = now
        process.send_signal(number)
        process.wait(60)
    finally:
        process.kill()
        process.wait()
        os.close(unread)
    assert process.returncode in (128 + number, -number)
    assert '"type": "summary"' in run.read_text().splitlines()[-1]
