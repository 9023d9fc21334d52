"""The pages of the documentation: finds the commands in them, and runs them."""

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from waiting import FOREVER

CHECKOUT = Path(__file__).parents[2]
PAGES = [CHECKOUT / "README.md", CHECKOUT / "CONTRIBUTING.md", *sorted((CHECKOUT / "docs").glob("*.md"))]
_BETWEEN = ("|", "&&", "||", ";")
_BEFORE = ("while", "until", "if", "do", "then", "!")  # words of the shell that a command may follow


def blocks(page: str, language: str) -> list[str]:
    """The page's blocks of that language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)


def files(page: str) -> dict[str, str]:
    """The files that the page shows, by name: blocks whose first line is a comment with a file's name and no more."""
    shown = re.findall(r"^```[a-z]+\n# (\S+\.\w+)\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return dict(shown)


def lines(block: str) -> list[str]:
    """The lines of a block of shell, those that go on after a backslash joined; no empty ones, no mere comments."""
    joined = block.replace("\\\n", " ").splitlines()
    return [line for line in joined if line.strip() and not line.lstrip().startswith("#")]


def commands(line: str) -> list[list[str]]:
    """The words of each command in a line of shell: pipes taken apart, redirections and comments left out, and the path
    of a pipe for what the shell makes one of."""
    words = shlex.shlex(re.sub(r"<\(.*?\)", "/dev/fd/63", line), posix=True, punctuation_chars=True)
    words.whitespace_split = True
    parts: list[list[str]] = [[]]
    for word in words:
        if word in _BETWEEN:
            parts.append([])
        elif parts[-1] or word not in _BEFORE:
            parts[-1].append(word)
    parts = [part[: part.index(">")] if ">" in part else part for part in parts]
    return [part for part in parts if part]


def calls(line: str) -> list[list[str]]:
    """The arguments of each instrec-live in a line of shell."""
    return [part[1:] for part in commands(line) if part[0] == "instrec-live"]


def type_in(folder: Path, line: str, env: Mapping[str, str] | None = None) -> str:
    """Run a line of shell in the folder, as it stands, with more in its environment; returns stdout."""
    (folder / "bin").mkdir(exist_ok=True)
    for name, module in (("instrec-live", "-m instrec_live.realtime"), ("python", "")):
        script = folder / "bin" / name
        script.write_text(f'#!/bin/sh\nexec "{sys.executable}" {module} "$@"\n')
        script.chmod(0o755)
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=folder,
        env={**os.environ, **(env or {}), "PATH": path},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=FOREVER,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
