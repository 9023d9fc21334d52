"""No module is ever imported from the current folder: a folder of sounds may hold a file named json.py."""

import os
import sys


def secure_children() -> None:
    """Keep the current folder off the import path of every Python process that this one starts, through any library."""
    os.environ["PYTHONSAFEPATH"] = "1"


def python_command(*arguments: str) -> list[str]:
    """The command line of a Python process of our own; what it imports never comes from the current folder."""
    return [sys.executable, "-P", *arguments]


def _runs_ours() -> bool:
    """Whether `python -m` is looking for one of our modules; meanwhile it names the program "-m"."""
    words = sys.orig_argv
    module = words[words.index("-m") + 1] if "-m" in words else ""
    return sys.argv[:1] == ["-m"] and module.partition(".")[0] in ("instrec_live", "training")


def _current_folder() -> str:
    try:
        return os.getcwd()
    except OSError:  # it has been deleted
        return ""


if _runs_ours() and not sys.flags.safe_path and sys.path[:1] == [_current_folder()]:
    del sys.path[0]  # the current folder, which comes first only with `python -m`
