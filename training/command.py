"""The end of every training command: a user's mistake is one line on stderr and an exit code."""

import errno
import os
import sys
from collections.abc import Callable
from pathlib import Path

from instrec_live.models.errors import InputFileError, InstrecError, UsageError
from instrec_live.models.safe_path import secure_children

# Errors of the operating system that are the user's mistake: no such file, a file where a folder is expected.
_CODES: dict[type[OSError], int] = {
    FileNotFoundError: InputFileError.exit_code,
    IsADirectoryError: UsageError.exit_code,
    NotADirectoryError: UsageError.exit_code,
    FileExistsError: UsageError.exit_code,
}
_HINTS = {
    errno.ENOSPC: "free some disk space, then run it again",
    errno.EDQUOT: "free some disk space, then run it again",
    errno.EACCES: "change its permissions, or give another path",
    errno.EPERM: "change its permissions, or give another path",
    errno.EROFS: "give another path",
}


def without_folders(command: str) -> str:
    """A command line for provenance, without folders of this machine: absolute paths, and those that start with `..`,
    are reduced to their last name."""
    words = []
    for word in command.split(" "):
        kind, colon, path = word.rpartition(":")
        outside = path.startswith(("/", "~", ".."))
        words.append(f"{kind}{colon}{Path(path).name}" if outside else word)
    return " ".join(words)


def entry(main: Callable[[], None]) -> None:
    """Run a command. Exit codes: 0 done, or the reader of its output has gone (`| head`); 1 an error of the system
    (full disk, no permission), 2 a wrong option, 4 bad data, 5 a bad model, 130 Ctrl-C. Any other exception is a defect
    and shows its traceback."""
    secure_children()
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
        cause = error if isinstance(error, OSError) else error.__context__  # torch raises its own error for a full disk
        if not isinstance(cause, OSError):
            raise
        where = f"{cause.filename}: " if cause.filename else ""
        hint = f" — {_HINTS[cause.errno]}" if cause.errno in _HINTS else ""
        _end(f"{where}{cause.strerror or cause}{hint}", _CODES.get(type(cause), 1))
    except KeyboardInterrupt:
        _close_bars()
        sys.exit(130)


def _flush() -> None:
    if sys.stdout is not None:  # it may be closed
        try:
            sys.stdout.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, "stdout") from error


def _end(line: str, code: int) -> None:
    _close_bars()
    print(f"error: {line}", file=sys.stderr)
    try:
        _flush()
    except OSError:  # the error just printed is that stdout cannot be written
        _abandon_stdout()
    sys.exit(code)


def _close_bars() -> None:
    """End the line of an open progress bar."""
    if "tqdm" in sys.modules:
        from tqdm import tqdm

        for bar in list(getattr(tqdm, "_instances", ())):
            bar.close()


def _abandon_stdout() -> None:
    """Redirect stdout to the null device, so that the flush at exit does not fail again."""
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, sys.stdout.fileno())
    os.close(nothing)
