"""Completion in real shells: Tab is pressed, and the word is finished."""

import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from instrec_live.models.errors import UsageError
from instrec_live.realtime.commands.report import parser as report_parser
from instrec_live.realtime.commands.tag.command import parser as tag_parser
from instrec_live.realtime.config.options import show_completion
from instrec_live.realtime.config.settings import parse, parser

pty = pytest.importorskip("pty", reason="pseudo terminals are POSIX's")
RUN = [sys.executable, "-m", "instrec_live.realtime"]
SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "PS1='READY%%'; source {script}\n"),
    "zsh": (
        ["zsh", "-f", "-i"],
        "PS1='READY%%%%'; fpath=({script.parent} $fpath); autoload -U compinit; compinit -u -d {script}.dump\n",
    ),
}
LINES = [
    ("instrec-live --mo\t", "--models"),
    ("instrec-live --print-comp\t", "--print-completion"),
    ("instrec-live --pace re\t", "--pace realtime"),
    ("instrec-live --file conc\t", "--file concert.wav"),
    ("instrec-live -o conc\t", "-o concert.wav"),
    ("instrec-live ta\t", "instrec-live tag"),
    ("instrec-live tag --per\t", "--per-hop"),
    ("instrec-live report --cha\t", "--channel"),
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sound file in it and a script for each shell."""
    here = tmp_path_factory.mktemp("completion")
    (here / "concert.wav").touch()
    return here


def script(place: Path, shell: str, capsys: pytest.CaptureFixture[str]) -> Path:
    assert show_completion(shell, parser(), {"tag": tag_parser(), "report": report_parser()}) == 0
    path = place / shell / "_instrec-live"  # the name that zsh looks for
    path.parent.mkdir(exist_ok=True)
    path.write_text(capsys.readouterr().out)
    return path


def typed(shell: str, path: Path, line: str, enough: Callable[[str], bool]) -> str:
    """What stands on the terminal after the prompt once `line` has been typed into the shell."""
    arguments, start = SHELLS[shell]
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(path.parent.parent)
        os.environ.update(TERM="dumb", LC_ALL="C.UTF-8", HISTFILE="/dev/null")
        os.execvp(arguments[0], arguments)
    try:
        os.write(terminal, start.format(script=path).encode())
        read_until(terminal, lambda text: "READY%" in text.rpartition("\n")[2].rpartition("\r")[2])
        os.write(terminal, line.encode())
        return read_until(terminal, enough)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        os.close(terminal)


def read_until(terminal: int, enough: Callable[[str], bool]) -> str:
    text, deadline = "", time.monotonic() + 120
    while not enough(text) and time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.1)[0]:
            text += os.read(terminal, 65536).decode(errors="replace")
    return text


@pytest.mark.parametrize(("line", "finished"), LINES, ids=[line.strip() for line, _ in LINES])
@pytest.mark.parametrize("shell", SHELLS)
def test_tab_finishes_the_word(place: Path, shell: str, line: str, finished: str, capsys) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = lambda text: finished in text.replace("\b", "")  # noqa: E731
    assert done(typed(shell, script(place, shell, capsys), line, done))


@pytest.mark.skipif(shutil.which("fish") is None, reason="fish is not installed")
@pytest.mark.parametrize(("line", "finished"), LINES, ids=[line.strip() for line, _ in LINES])
def test_fish_offers_the_word(place: Path, line: str, finished: str, capsys) -> None:
    path = script(place, "fish", capsys)
    ask = f"source {path}; complete --do-complete '{line.strip()}'"
    done = subprocess.run(
        ["fish", "--no-config", "-c", ask], cwd=place, capture_output=True, text=True, timeout=60, check=False
    )
    assert finished.split()[-1] in [offer.split("\t")[0] for offer in done.stdout.splitlines()], done


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "tcsh", "powershell"])
def test_every_long_option_is_in_every_script(shell: str, capsys) -> None:
    show_completion(shell, parser(), {"tag": tag_parser(), "report": report_parser()})
    text = capsys.readouterr().out
    for action in parser()._actions:
        assert action.option_strings[-1].removeprefix("--") in text


@pytest.mark.skipif(shutil.which("tcsh") is None, reason="tcsh is not installed")
def test_tcsh_understands_its_script(place: Path, capsys) -> None:
    path = script(place, "tcsh", capsys)
    done = subprocess.run(["tcsh", "-f", str(path)], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_it_is_a_command() -> None:
    done = subprocess.run([*RUN, "--print-completion", "bash"], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "complete " in done.stdout
    with pytest.raises(UsageError, match="invalid choice"):
        parse(["--print-completion", "dos"])
