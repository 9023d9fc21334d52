"""From an exception to the one line a user reads and the code the process ends with."""

import errno
import os
import sys
import traceback
from enum import IntEnum

from instrec_live.models.errors import (
    AudioDeviceError,
    InputFileError,
    InstrecError,
    InternalError,
    ModelError,
    UsageError,
)

__all__ = [
    "AudioDeviceError",
    "ExitCode",
    "InputFileError",
    "InstrecError",
    "InternalError",
    "ModelError",
    "UsageError",
    "printable",
    "report",
]


class ExitCode(IntEnum):
    """What the process's exit code means; `words` is the line for --help and the manual."""

    words: str

    def __new__(cls, value: int, words: str) -> "ExitCode":
        code = int.__new__(cls, value)
        code._value_ = value
        code.words = words
        return code

    OK = 0, "done"
    INTERNAL = 1, "a defect of the program"
    USAGE = 2, "an option or setting that makes no sense"
    AUDIO_DEVICE = 3, "no such microphone, no PortAudio, or a device that was lost (only with --on-loss exit)"
    INPUT_FILE = 4, "a sound file that is missing, unreadable or empty"
    MODEL = 5, "a model that is missing, damaged or does not fit"
    TOO_SLOW = 6, "the networks cannot keep up with the sound (only with --strict)"
    HUNG_UP = 129, "its terminal was closed (SIGHUP)"
    INTERRUPTED = 130, "stopped with Ctrl-C"
    TERMINATED = 143, "told to stop (SIGTERM)"


def printable(text: str) -> str:
    """The text on one line, with nothing in it that could steer a terminal or fail to encode."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(text.split()))


def report(error: BaseException, debug: bool = False) -> int:
    """Say on stderr, in one line, what went wrong; the traceback only when asked for.

    Args:
        error: what ended the program.
        debug: also print the traceback, as -vv or INSTREC_DEBUG=1 ask for.

    Returns:
        The exit code. Ctrl-C and a reader that hung up (`| head`) are no failures and say nothing.
    """
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    if isinstance(error, BrokenPipeError):
        _abandon_stdout()
        return ExitCode.OK
    debug = debug or os.environ.get("INSTREC_DEBUG", "0") not in ("", "0")
    if debug:
        traceback.print_exception(error, file=sys.stderr)
    if isinstance(error, InstrecError):
        line, code = str(error), error.exit_code
    elif isinstance(error, OSError) and error.errno == errno.ENOSPC:
        # Whoever writes a file says so in words of their own; what is left is what was printed.
        line, code = f"{error.filename or 'stdout'} cannot be written: {error.strerror}", int(ExitCode.USAGE)
    else:
        hint = "" if debug else " — this is a defect; run again with -vv or INSTREC_DEBUG=1 for the traceback"
        line, code = f"{type(error).__name__}: {error}{hint}", int(ExitCode.INTERNAL)
    print(f"instrec-live: error: {printable(line)}", file=sys.stderr)
    try:
        sys.stdout.flush()
    except (AttributeError, OSError, ValueError):  # that stdout is full may be what has just been said
        _abandon_stdout()
    return code


def _abandon_stdout() -> None:
    """Point stdout at nothing, so that the flush at exit does not complain once more."""
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):  # None, replaced or closed: nothing will be flushed
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)
