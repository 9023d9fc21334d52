"""A process that does one task after another: what runs in it, and the end of the pipe that leads to it."""

import logging
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from instrec_live.realtime.errors import InstrecError
from instrec_live.realtime.tagging.task import Task

if TYPE_CHECKING:
    from instrec_live.realtime.tagging.job import Job
    from instrec_live.realtime.tagging.plan import Result

log = logging.getLogger(__name__)

_CONTEXT = multiprocessing.get_context("spawn")  # on every system alike; a forked ONNX Runtime may hang


@dataclass(frozen=True, slots=True)
class Ready:
    """The networks are loaded, and this is what the results depend on."""

    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Said:
    """A word for the log."""

    level: int
    text: str


class Worker:
    """A process with the networks loaded, and the one task that it works on.

    Attributes:
        facts: what the results depend on, None until it is ready.
        task: what it has in work, None if nothing.
        pipe: to wait for, beside others.
    """

    def __init__(self, job: "Job") -> None:
        self.facts: dict[str, Any] | None = None
        self.task: Task | None = None
        self.pipe, end = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_work, args=(end, job), name="instrec-live tag", daemon=True)
        with _without_interrupts():
            self._process.start()
        end.close()  # so that the pipe ends when the process does

    @property
    def idle(self) -> bool:
        return self.facts is not None and self.task is None

    def give(self, task: Task) -> None:
        """Let it do a task. If it has died meanwhile, `take` will say so."""
        self.task = task
        with suppress(OSError):
            self.pipe.send(task)

    def take(self) -> "Result | None":
        """Wait for what it says next: what has come of its task, or None for anything else.

        Raises:
            EOFError: it has died.
            InstrecError: it cannot load the networks.
        """
        try:
            said = self.pipe.recv()
        except OSError as error:
            raise EOFError from error
        match said:
            case Ready(facts):
                self.facts = facts
            case Said(level, text):
                log.log(level, "%s", text)
            case InstrecError():
                raise said
            case _:
                self.task = None
                result: Result = said
                return result
        return None

    def death(self) -> str:
        """How it died, once it has: "signal 11", "exit code 1"."""
        self._process.join(5)
        code = self._process.exitcode
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"

    def stop(self) -> None:
        """End it at once; what it has in work is lost."""
        self._process.terminate()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self.pipe.close()


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Ctrl-C reaches the whole terminal; who is started in here never hears it, and we hear it a little later."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    from multiprocessing import resource_tracker

    resource_tracker.ensure_running()  # else `start` starts it, and clears the mask
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class _Tell(logging.Handler):
    """Sends the log up the pipe."""

    def __init__(self, pipe: Connection) -> None:
        super().__init__()
        self._pipe = pipe

    def emit(self, record: logging.LogRecord) -> None:
        self._pipe.send(Said(record.levelno, record.getMessage()))


def _work(pipe: Connection, job: "Job") -> None:
    """What the process does: load, then one task after another, until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it could not be held off before
    threading.Thread(target=_die_with_parent, daemon=True).start()
    logger = logging.getLogger("instrec_live")
    logger.addHandler(_Tell(pipe))
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        tagger = job.load()
        told: object = Ready(job.facts(tagger))
    except InstrecError as error:
        told = error
    while True:
        pipe.send(told)
        try:
            task = pipe.recv()
        except EOFError:
            return
        told = job.do(task, tagger)


def _die_with_parent() -> None:
    """Nobody waits for a long file's end when the one who asked has been killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
