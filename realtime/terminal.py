"""Who gets the terminal: the screen is drawn on stdout and its keys come from stdin, or from /dev/tty beside a pipe."""

import errno
import io
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

SERVED = "INSTREC_SERVED"  # the environment of a process whose screen a browser shows
OWN, PUBLIC = "loopback", "1"  # that only this machine can reach, or that others can


def served() -> bool:
    """Whether a browser shows the screen: stdin and stdout then lead to the server that started this process."""
    return os.environ.get(SERVED) in (OWN, PUBLIC)


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a standard stream is a terminal; Python has None where there is no such stream at all."""
    return stream is not None and stream.isatty()


def can_draw() -> bool:
    """Whether a screen can be drawn: in a browser, or stdout is a terminal that can move its cursor."""
    return served() or (is_terminal(sys.stdout) and os.environ.get("TERM") != "dumb")


def keyboard_apart() -> tuple[BinaryIO, bool]:
    """For sound that comes through stdin: a copy of it, and whether stdin is the terminal's keyboard from now on."""
    sound = os.fdopen(os.dup(0), "rb", buffering=0)
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
    except OSError:
        return sound, False
    os.dup2(terminal, 0)
    os.close(terminal)
    return sound, True


class Screen(io.FileIO):
    """A terminal to draw on. One that is closed does not fail, but is a SIGHUP, once, whether the system sends one or
    not: the thread that draws for Textual would die of an error, and at its end Textual would wait for it."""

    _gone = False

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            if error.errno != errno.EIO or sys.platform == "win32":
                raise
            if not self._gone:
                self._gone = True
                os.kill(os.getpid(), signal.SIGHUP)
            return memoryview(data).nbytes


@contextmanager
def drawing_apart(noise: Path | None = None) -> Iterator[None]:
    """While the screen is up, Textual alone draws on the terminal.

    Native libraries (PortAudio, ALSA) write what they think to file descriptor 2, where Textual draws too, for it
    takes `sys.__stderr__`. So that becomes a copy of stdout, and descriptor 2, unless the user has sent it elsewhere
    already, leads to the file `noise`, or to nowhere.
    """
    if not is_terminal(sys.stdout) or sys.stderr is None:
        yield
        return
    sys.stderr.flush()
    kept, own = os.dup(2), sys.__stderr__
    drawing = io.BufferedWriter(Screen(os.dup(1), "w"))
    with io.TextIOWrapper(drawing, encoding=sys.stdout.encoding, errors="replace") as screen:
        if os.isatty(2):
            aside = os.open(noise or os.devnull, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            os.dup2(aside, 2)
            os.close(aside)
        sys.__stderr__ = screen  # type: ignore[misc]
        try:
            yield
        finally:
            sys.__stderr__ = own  # type: ignore[misc]
            os.dup2(kept, 2)
            os.close(kept)
