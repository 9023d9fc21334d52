"""The terminal: when there is a screen, where it is drawn, and what must not disturb it."""

import os
import signal
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fakes import music
from tiny_bundle import write_tiny

pytest.importorskip("pty", reason="pseudo terminals are POSIX's")
from pseudo_terminal import in_terminal

ALTERNATE = "\x1b[?1049h"  # a full screen begins

NOISY = """
import ctypes, sys
from pathlib import Path
from fake_stream import FakeStream, update
from instrec_live.realtime.tui.app import InstrecApp, run
draw = InstrecApp.draw
def noisy(self):
    ctypes.CDLL(None).dprintf(2, b"ALSA lib: underrun!\\n")
    draw(self)
InstrecApp.draw = noisy
noise = Path(sys.argv[1]) if len(sys.argv) > 1 else None
code = run(FakeStream([update(60)], hold=True), noise=noise)
ctypes.CDLL(None).dprintf(2, b"after the screen\\n")
sys.exit(code)
"""


def press_q(process, write):
    write(b"q")


def test_what_libraries_write_to_stderr_does_not_reach_the_screen():
    code, output = in_terminal(["-c", NOISY], press_q)
    assert code == 0
    assert ALTERNATE in output
    assert "underrun" not in output
    assert output.rstrip().endswith("after the screen")


def test_it_goes_to_the_log_file_where_there_is_one(tmp_path):
    (tmp_path / "log").write_text("before\n")
    code, output = in_terminal(["-c", NOISY, str(tmp_path / "log")], press_q)
    assert (code, "underrun" in output) == (0, False)
    assert (tmp_path / "log").read_text().splitlines()[:2] == ["before", "ALSA lib: underrun!"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and half a minute of sound."""
    here = tmp_path_factory.mktemp("terminal")
    write_tiny(here / "one", "one")
    soundfile.write(here / "good.wav", np.tile(music(6), 5), 32_000)
    return here


FILE = ["-m", "instrec_live.realtime", "--models", "./one", "--file", "good.wav"]


def test_stderr_sent_to_a_log_leaves_the_screen_and_no_escape_codes_in_the_log(place):
    with open(place / "log", "wb") as log:
        code, output = in_terminal(FILE, press_q, stderr=log, cwd=place)
    assert code == 0
    assert ALTERNATE in output
    said = (place / "log").read_text()
    assert "listening to good.wav" in said
    assert "\x1b" not in said


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_stdout_sent_to_a_file_means_no_screen(place, options):
    with open(place / "out", "wb") as out:
        arguments = [*FILE, *options, "--pace", "max", "--duration", "4"]
        code, output = in_terminal(arguments, press_q, stdout=out, cwd=place)
    assert code == 0
    assert "\x1b" not in output
    assert "listening to good.wav" in output
    assert "\x1b" not in (place / "out").read_text()


@pytest.mark.parametrize(("options", "term"), [(["--no-ui"], "xterm"), (["--json"], "xterm"), ([], "dumb")])
def test_no_screen_where_none_is_wanted_or_possible(place, options, term):
    code, output = in_terminal([*FILE, *options, "--pace", "max", "--duration", "4"], press_q, cwd=place, TERM=term)
    assert code == 0
    assert "\x1b" not in output


def test_sound_through_stdin_and_keys_from_the_terminal(place):
    pcm = subprocess.Popen(["cat", "good.wav", "-"], cwd=place, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    arguments = ["-m", "instrec_live.realtime", "--models", "./one", "--stdin"]
    try:
        code, output = in_terminal(arguments, press_q, stdin=pcm.stdout, cwd=place)
    finally:
        pcm.kill()
        pcm.wait()
    assert code == 0
    assert ALTERNATE in output


def test_a_theme_by_name(place):
    code, output = in_terminal([*FILE, "--theme", "light"], press_q, cwd=place, COLORTERM="truecolor")
    assert code == 0
    assert "48;2;251;249;244" in output  # the light theme's paper


def test_a_theme_that_does_not_exist_is_reported_before_anything_is_made(place):
    arguments = [*FILE, "--theme", "drak", "-o", "never.csv"]
    code, output = in_terminal(arguments, press_q, cwd=place)
    assert code == 2
    assert output.strip() == "instrec-live: error: there is no theme 'drak' — did you mean dark?"
    assert not (place / "never.csv").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_give_the_terminal_back(place, number, code):
    ended, output = in_terminal(FILE, lambda process, write: os.kill(process.pid, number), cwd=place)
    assert ended == code
    assert output.rindex("\x1b[?1049l") > output.rindex(ALTERNATE)


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_what_went_wrong_under_the_screen_is_reported_after_it(place):
    (place / "full.txt").symlink_to("/dev/full")
    arguments = [*FILE, "-o", "full.txt", "--force", "--pace", "max"]
    code, output = in_terminal(arguments, press_q, ready=b"ENDED", cwd=place)
    assert code == 1
    assert ALTERNATE in output
    after = output.rsplit("\x1b[?1049l", 1)[1]
    assert "cannot write full.txt (No space left" in after
    assert "listening to" not in after
