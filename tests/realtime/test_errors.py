"""One line, one code, and no traceback unless it is asked for."""

import errno
import re
import subprocess
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from instrec_live.realtime import errors
from instrec_live.realtime.errors import ExitCode, InstrecError, UsageError, printable, report

KINDS = {
    errors.InternalError: ExitCode.INTERNAL,
    errors.UsageError: ExitCode.USAGE,
    errors.OutputError: ExitCode.INTERNAL,
    errors.AudioDeviceError: ExitCode.AUDIO_DEVICE,
    errors.InputFileError: ExitCode.INPUT_FILE,
    errors.ModelError: ExitCode.MODEL,
}


@pytest.fixture(autouse=True)
def _no_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("INSTREC_DEBUG", raising=False)


@pytest.mark.parametrize("kind", KINDS)
def test_a_known_error_is_one_line_with_its_hint_and_its_code(kind, capsys):
    assert report(kind("no such\nmicrophone", "try -l")) == KINDS[kind] == kind.exit_code
    out, err = capsys.readouterr()
    assert (out, err) == ("", "instrec-live: error: no such microphone — try -l\n")


def test_the_table_is_the_documented_one():
    assert {int(code) for code in ExitCode} == {0, 1, 2, 3, 4, 5, 6, 129, 130, 131, 143}
    assert all(code.words for code in ExitCode)
    assert {kind.exit_code for kind in InstrecError.__subclasses__()} <= {int(code) for code in ExitCode}


def test_ctrl_c_is_130_and_silent(capsys):
    assert report(KeyboardInterrupt()) == 130
    assert capsys.readouterr() == ("", "")


def test_too_little_memory_is_no_defect(capsys):
    assert report(MemoryError("Unable to allocate 125. KiB")) == 1
    line = "instrec-live: error: there is not enough memory — close other programs, or raise its limit\n"
    assert capsys.readouterr().err == line


def test_too_many_open_files_are_no_defect(capsys):
    assert report(OSError(errno.EMFILE, "Too many open files", "METADATA")) == UsageError.exit_code
    assert "too many open files — raise the limit with ulimit -n" in capsys.readouterr().err


def test_an_unexpected_exception_is_one_line_with_a_hint(capsys):
    assert report(ZeroDivisionError("division\nby zero")) == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "ZeroDivisionError: division by zero" in err
    assert "-vv" in err
    assert "INSTREC_DEBUG=1" in err


@pytest.mark.parametrize("switch", ["argument", "environment"])
def test_the_traceback_is_printed_when_asked_for(switch, capsys, monkeypatch):
    if switch == "environment":
        monkeypatch.setenv("INSTREC_DEBUG", "1")
    with pytest.raises(ZeroDivisionError) as caught:
        raise ZeroDivisionError("here")
    assert report(caught.value, debug=switch == "argument") == 1
    err = capsys.readouterr().err
    assert "Traceback (most recent call last)" in err
    assert err.splitlines()[-1] == "instrec-live: error: ZeroDivisionError: here"


def test_a_reader_that_exits_is_not_a_failure():
    program = (
        "import sys; from instrec_live.realtime.errors import report\n"
        "try:\n"
        "    while True: print('x' * 1000)\n"
        "except BaseException as error: sys.exit(report(error))\n"
    )
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.read(10)
    child.stdout.close()
    assert child.stderr.read() == b""
    assert child.wait(120) == 0


@given(st.text())
def test_what_is_printed_is_one_line_that_every_terminal_survives(text):
    line = printable(text)
    assert re.sub("[\u200c-\u200f]", "", line).isprintable()
    line.encode()  # no lone surrogates


@pytest.mark.parametrize("text", ["نمی\u200cدانم", "👩\u200d🎤 👁️\u200d🗨️", "\u200eaudio 2026.opus", "אבג\u200f (live)"])
def test_words_and_emoji_stay_whole(text):
    assert printable(text) == text


def test_what_makes_a_line_look_like_another_is_replaced():
    assert printable("song\u202evaw.exe\u2066\u200b") == "song\ufffdvaw.exe\ufffd\ufffd"


def test_errors_load_nothing_heavy():
    program = "import sys, instrec_live.realtime.errors; print({'numpy', 'soundfile'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
