"""How the training commands end: a user's mistake is one line on stderr and an exit code."""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

from instrec_live.models.errors import InputFileError, InstrecError, UsageError

# What the system says that is not its own misfortune: no such file to read, a file where a folder is wanted.
_CODES: dict[type[OSError], int] = {
    FileNotFoundError: InputFileError.exit_code,
    IsADirectoryError: UsageError.exit_code,
    NotADirectoryError: UsageError.exit_code,
    FileExistsError: UsageError.exit_code,
}
_HINTS = {
    errno.ENOSPC: "make room, then run it again",
    errno.EDQUOT: "make room, then run it again",
    errno.EACCES: "change its rights, or give another place",
    errno.EPERM: "change its rights, or give another place",
    errno.EROFS: "give another place",
}


def without_folders(command: str) -> str:
    """A command line to be kept with what it made, without the folders of the machine it ran on: of absolute paths, and
    of those that lead up and out, only the last name stays."""
    words = []
    for word in command.split(" "):
        kind, colon, path = word.rpartition(":")
        outside = path.startswith(("/", "~", ".."))
        words.append(f"{kind}{colon}{Path(path).name}" if outside else word)
    return " ".join(words)


def entry(main: Callable[[], None]) -> None:
    """Run a command. Exit codes: 0 done, or whoever read its output has gone (`| head`); 1 the machine refused (a full
    disk, no rights), 2 a wrong option, 4 bad data, 5 a bad model, 130 Ctrl-C. Anything else is a defect and shows its
    traceback."""
    try:
        try:
            main()
        finally:
            _flush()
    except InstrecError as error:
        _end(str(error), error.exit_code)
    except BrokenPipeError:
        _abandon_stdout()
    except (OSError, RuntimeError) as error:
        befell = error if isinstance(error, OSError) else error.__context__  # torch hides a full disk behind its own
        if not isinstance(befell, OSError):
            raise
        where = f"{befell.filename}: " if befell.filename else ""
        hint = f" — {_HINTS[befell.errno]}" if befell.errno in _HINTS else ""
        _end(f"{where}{befell.strerror or befell}{hint}", _CODES.get(type(befell), 1))
    except KeyboardInterrupt:
        _close_bars()
        sys.exit(130)


def _flush() -> None:
    if sys.stdout is not None:  # it may be closed from the start
        try:
            sys.stdout.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, "stdout") from error


def _end(line: str, code: int) -> None:
    _close_bars()
    print(f"error: {line}", file=sys.stderr)
    try:
        _flush()
    except OSError:  # that stdout is full is what has just been said
        _abandon_stdout()
    sys.exit(code)


def _close_bars() -> None:
    """Leave the line of a progress bar that an error has cut short."""
    if "tqdm" in sys.modules:
        from tqdm import tqdm

        for bar in list(getattr(tqdm, "_instances", ())):
            bar.close()


def _abandon_stdout() -> None:
    """Point stdout at nothing, so that the flush at exit does not complain once more."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)
