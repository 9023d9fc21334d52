"""From an exception to one line on stderr and an exit code."""

import errno
import os
import sys
import traceback
from enum import IntEnum

from instrec_live.models.errors import (
    FULL,
    AudioDeviceError,
    InputFileError,
    InstrecError,
    InternalError,
    ModelError,
    OutputError,
    UsageError,
    write_failed,
)

__all__ = [
    "AudioDeviceError",
    "ExitCode",
    "InputFileError",
    "InstrecError",
    "InternalError",
    "ModelError",
    "OutputError",
    "UsageError",
    "printable",
    "report",
]


class ExitCode(IntEnum):
    """The exit codes; `words` is the line of --help."""

    words: str

    def __new__(cls, value: int, words: str) -> "ExitCode":
        code = int.__new__(cls, value)
        code._value_ = value
        code.words = words
        return code

    OK = 0, "done"
    INTERNAL = 1, "a defect of the program, too little memory, or an output that could not be written to its end"
    USAGE = 2, "an invalid option or setting"
    AUDIO_DEVICE = 3, "no such microphone, no PortAudio, or a device that was lost (only with --on-loss exit)"
    INPUT_FILE = 4, "a sound file that is missing, unreadable, empty or cut short"
    MODEL = 5, "a model that is missing, damaged or does not fit"
    TOO_SLOW = 6, "the networks cannot keep up with the sound (only with --strict)"
    HUNG_UP = 129, "the terminal was closed (SIGHUP)"
    INTERRUPTED = 130, "stopped with Ctrl-C"
    QUIT = 131, "stopped with Ctrl-\\ (SIGQUIT)"
    TERMINATED = 143, "stopped by another program (SIGTERM)"


# Invisible, but part of Persian and Indian words, of some emoji, and of text in two directions. Other format characters
# can make a line look like another one.
_JOINERS = "\N{ZERO WIDTH NON-JOINER}\N{ZERO WIDTH JOINER}\N{LEFT-TO-RIGHT MARK}\N{RIGHT-TO-LEFT MARK}"


def printable(text: str) -> str:
    """The text on one line, without control characters or anything that cannot be encoded."""
    line = " ".join(text.split())
    return "".join(c if c.isprintable() or c in _JOINERS else "\N{REPLACEMENT CHARACTER}" for c in line)


def report(error: BaseException, debug: bool = False) -> int:
    """Print an error to stderr in one line; the traceback only on request.

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
    elif isinstance(error, OSError) and error.errno in FULL:
        # Errors of output files have messages of their own; this one is of stdout.
        line, code = str(write_failed(error.filename or "stdout", error)), OutputError.exit_code
    elif isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        line, code = "too many open files — raise the limit with ulimit -n, or read fewer at once", UsageError.exit_code
    elif isinstance(error, MemoryError):
        line, code = "there is not enough memory — close other programs, or raise its limit", int(ExitCode.INTERNAL)
    else:
        hint = "" if debug else " — this is a defect; run again with -vv or INSTREC_DEBUG=1 for the traceback"
        line, code = f"{type(error).__name__}: {error}{hint}", int(ExitCode.INTERNAL)
    print(f"instrec-live: error: {printable(line)}", file=sys.stderr)
    try:
        sys.stdout.flush()
    except (AttributeError, OSError, ValueError):  # the message may be that stdout is full
        _abandon_stdout()
    return code


def _abandon_stdout() -> None:
    """Redirect stdout to nowhere, so that the flush at exit does not fail again."""
    try:
        descriptor = sys.stdout.fileno()
    except (AttributeError, OSError, ValueError):  # None, replaced or closed: nothing will be flushed
        return
    nothing = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nothing, descriptor)
    os.close(nothing)
