"""Use of the terminal: the screen is drawn on stdout, and keys come from stdin, or from /dev/tty if stdin is a pipe."""

import atexit
import errno
import io
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer


def is_terminal(stream: TextIO | None) -> bool:
    """Whether a standard stream is a terminal; Python has None where there is no such stream at all."""
    return stream is not None and stream.isatty()


def can_draw() -> bool:
    """Whether a screen can be drawn: stdout is a terminal that can move its cursor."""
    return is_terminal(sys.stdout) and os.environ.get("TERM") != "dumb"


def keyboard_apart() -> tuple[BinaryIO, bool]:
    """With sound on stdin: a copy of that stream, and whether stdin is the terminal's keyboard from now on."""
    sound = os.fdopen(os.dup(0), "rb", buffering=0)
    try:
        terminal = os.open("/dev/tty", os.O_RDWR)
    except OSError:
        return sound, False
    os.dup2(terminal, 0)
    os.close(terminal)
    return sound, True


# What ends the program; a screen must then give its terminal back.
ENDING_SIGNALS = tuple(
    getattr(signal, name)
    for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGXCPU")
    if hasattr(signal, name)
)

ENDING = 10.0  # s that a listening thread may take to end
_PATIENCE = 2.0  # s that output may wait for its reader once the program is to end
_leaving: list[float] = []  # when that was, s of the monotonic clock


def stop_waiting_for_readers() -> None:
    """Once the program is to end, output without a reader (a stopped terminal, a pipe) is given up after two seconds.

    To be called in the main thread, where such a write may be blocked now.
    """
    _leaving.append(time.monotonic())
    if hasattr(signal, "setitimer"):
        signal.signal(signal.SIGALRM, _give_up_output)
        signal.setitimer(signal.ITIMER_REAL, _PATIENCE, 0.5)
        atexit.register(signal.setitimer, signal.ITIMER_REAL, 0)  # Python then takes its handlers away


def wait_for_end(ended: threading.Event, stop: Callable[[], None]) -> None:
    """Wait for a thread that listens. On a signal, `stop` it, and wait until its results are written.

    Not by `join`: in Python 3.11, one that a signal interrupts takes the thread for ended.

    Raises:
        KeyboardInterrupt: the signal.
    """
    try:
        while not ended.wait(1.0):  # not for ever: on Windows no signal would be handled
            pass
    except KeyboardInterrupt:
        import logging

        stop()
        if not ended.wait(ENDING):  # a second signal ends the wait
            logging.getLogger(__name__).warning("the last seconds were not written: stopping took too long")
        raise


def finish_output() -> None:
    """Before the end: what the log still holds is written, as long as that is waited for."""
    if _leaving:
        import logging

        logging.shutdown()
        if hasattr(signal, "setitimer"):
            signal.setitimer(signal.ITIMER_REAL, 0)


def _give_up_output(number: int, frame: object) -> None:
    """Redirect stdout and stderr to /dev/null if they cannot be written, so that a blocked write returns."""
    for descriptor in (1, 2):
        try:
            if select.select([], [descriptor], [], 0)[1]:
                continue
            nothing = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nothing, descriptor)
            os.close(nothing)
        except (OSError, ValueError):  # closed
            continue
        for thread in threading.enumerate():  # a write that is blocked in one of them begins again, into nothing
            if thread.ident is not None and thread is not threading.main_thread():
                with suppress(ProcessLookupError):
                    signal.pthread_kill(thread.ident, signal.SIGALRM)


class Screen(io.FileIO):
    """A terminal to draw on, which is written without being waited for for ever.

    One that is closed does not fail, but is a SIGHUP, once, whether the system sends one or not: the thread that draws
    for Textual would die of an error, and at its end Textual would wait for it. One that does not read is waited for
    until the program is to end.
    """

    _gone = False

    def write(self, data: "ReadableBuffer", /) -> int:
        view = memoryview(data).cast("B")
        length = view.nbytes
        try:
            while view and not self._hopeless():
                written = super().write(view)
                if written is None:  # it takes no more at present
                    select.select([], [self.fileno()], [], 0.2)
                else:
                    view = view[written:]
        except OSError as error:
            if error.errno != errno.EIO or sys.platform == "win32":
                raise
            if not self._gone:
                self._gone = True
                os.kill(os.getpid(), signal.SIGHUP)
        return length

    @staticmethod
    def _hopeless() -> bool:
        return bool(_leaving) and time.monotonic() > _leaving[0] + _PATIENCE


def _opened_again(descriptor: int) -> int:
    """The terminal opened once more, to write without blocking; the shell's own descriptor is unchanged."""
    try:
        return os.open(os.ttyname(descriptor), os.O_WRONLY | os.O_NOCTTY | os.O_NONBLOCK)
    except (AttributeError, OSError):  # Windows; or another user's
        return os.dup(descriptor)


@contextmanager
def drawing_apart(noise: Path | None = None) -> Iterator[None]:
    """While the screen is up, only Textual writes to the terminal.

    Native libraries (PortAudio, ALSA) print to file descriptor 2, where Textual draws too, since it
    takes `sys.__stderr__`. So that becomes a copy of stdout, and descriptor 2, unless the user has sent it elsewhere
    already, leads to the file `noise`, or to nowhere.
    """
    if not is_terminal(sys.stdout) or sys.stderr is None:
        yield
        return
    sys.stderr.flush()
    kept, own = os.dup(2), sys.__stderr__
    drawing = io.BufferedWriter(Screen(_opened_again(1), "w"))
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
