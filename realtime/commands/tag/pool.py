"""A pool of processes that share files; when one dies, only its own task is lost."""

import gc
import logging
import math
import multiprocessing
import os
import signal
import threading
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instrec_live.realtime.commands.tag.find import Item
from instrec_live.realtime.commands.tag.job import ChunkResult, ChunkTask, FileTask, MergeTask, SplitResult, Task
from instrec_live.realtime.commands.tag.results import Record
from instrec_live.realtime.errors import InstrecError, ModelError, printable

if TYPE_CHECKING:
    from instrec_live.realtime.commands.tag.job import Job

log = logging.getLogger(__name__)


def cores() -> int:
    """Processors that this process may use: its affinity, and the CPU quota of its cgroups rounded up."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return allowed if quota is None else max(1, min(allowed, math.ceil(quota)))


def cpu_quota(proc: Path = Path("/proc/self/cgroup"), mount: Path = Path("/sys/fs/cgroup")) -> float | None:
    """The lowest CPU quota of this process's cgroup (v1 or v2) and those above it, in processors; None without one.

    Args:
        proc: the file that names the cgroups of the process.
        mount: where cgroups are mounted; in a container its root is often the process's own cgroup.
    """
    try:
        lines = proc.read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    quotas: list[float] = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        roots = [mount] if not controllers else [mount / controllers, mount / "cpu"]
        if controllers and "cpu" not in controllers.split(","):
            continue
        for root in roots:
            own = root / path.lstrip("/")
            for folder in (own, *own.parents):
                if folder == root or root in folder.parents:
                    quotas += _quota_of(folder)
    return min(quotas, default=None)


def _quota_of(folder: Path) -> list[float]:
    """The quota of one cgroup, in processors, or nothing."""
    try:
        if (folder / "cpu.max").exists():
            limit, period = (folder / "cpu.max").read_text().split()
        else:
            limit = (folder / "cpu.cfs_quota_us").read_text()
            period = (folder / "cpu.cfs_period_us").read_text()
        return [int(limit) / int(period)] if int(limit) > 0 else []
    except (OSError, ValueError, ZeroDivisionError):  # none, "max", or no cgroup of this kind
        return []


_END_WITHIN = 5.0  # s that a process may take to end once it is told to

_CONTEXT = multiprocessing.get_context("spawn")  # on every system alike; a forked ONNX Runtime may hang


@dataclass(frozen=True, slots=True)
class Ready:
    """The networks are loaded; `facts` is what the results depend on."""

    facts: dict[str, Any]


@dataclass(frozen=True, slots=True)
class LogRecord:
    """A log record."""

    level: int
    text: str


class Worker:
    """A process with the networks loaded, and its current task.

    Attributes:
        facts: what the results depend on, None until it is ready.
        task: the current one, or None.
        pipe: to wait for, along with others.
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
        """Give it a task. If it has died, `receive` raises."""
        self.task = task
        with suppress(OSError):
            self.pipe.send(task)

    def receive(self) -> "Result | None":
        """Wait for its next message: the result of its task, or None for any other.

        Raises:
            EOFError: it has died.
            InstrecError: it cannot load the networks.
        """
        try:
            answer = self.pipe.recv()
        except OSError as error:
            raise EOFError from error
        match answer:
            case Ready(facts):
                self.facts = facts
            case LogRecord(level, text):
                log.log(level, "%s", text)
            case InstrecError():
                raise answer
            case _:
                self.task = None
                result: Result = answer
                return result
        return None

    def death(self) -> str:
        """How it died, once it has: "signal 11", "exit code 1"."""
        self._process.join(_END_WITHIN)
        code = self._process.exitcode
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"

    def terminate(self) -> None:
        """Tell it to end; does not wait for it. Its current task is lost."""
        self._process.terminate()

    def stop(self) -> None:
        """End it at once; its current task is lost."""
        self.terminate()
        self._process.join(_END_WITHIN)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        self.pipe.close()


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Hold SIGINT back: processes started in this block never get it, and this one gets it later."""
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
        self._pipe.send(LogRecord(record.levelno, record.getMessage()))


class _Terminated(BaseException):
    """SIGTERM: whatever the process is doing ends, and its temporary files are removed."""


def _terminate(number: int, frame: object) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a second one must not interrupt the removal
    raise _Terminated


def _work(pipe: Connection, job: "Job") -> None:
    """The process: do its tasks until the pipe ends, or until SIGTERM, of which it dies once it has tidied up."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # where it could not be held off before
    signal.signal(signal.SIGTERM, _terminate)
    try:
        _do_tasks(pipe, job)
    except _Terminated:
        pass
    else:
        return
    gc.collect()  # a copy that was not complete goes with the object that was making it
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.raise_signal(signal.SIGTERM)


def _do_tasks(pipe: Connection, job: "Job") -> None:
    """Load the networks, then do one task after another until the pipe ends."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    logger = logging.getLogger("instrec_live")
    logger.addHandler(_Tell(pipe))
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    try:
        tagger = job.load()
        answer: object = Ready(job.facts(tagger))
    except InstrecError as error:
        answer = error
    while True:
        pipe.send(answer)
        try:
            task = pipe.recv()
        except EOFError:
            return
        answer = job.do(task, tagger)


def _die_with_parent() -> None:
    """End this process when its parent is killed."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        if hasattr(signal, "pthread_kill"):
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)  # to tidy up
            time.sleep(_END_WITHIN)
        os._exit(1)


Result = Record | SplitResult | ChunkResult


class Plan:
    """Hands out tasks and collects their results until there is one record for each item.

    Args:
        items: files to tag.
        tries: how many processes may die on a file before it is given up.
    """

    def __init__(self, items: Iterable[Item], tries: int) -> None:
        self._waiting: deque[Task] = deque(FileTask(item) for item in items)
        self._tries, self._tried = tries, Counter[str]()
        self._parts: dict[str, list[ChunkResult | None]] = {}  # of files in parts, by name

    @property
    def waiting(self) -> int:
        """Number of tasks that can be taken now."""
        return len(self._waiting)

    def next_task(self, processes: int) -> Task:
        """The next task, for one of so many processes. A file that others would have to wait for may be split."""
        task = self._waiting.popleft()
        if isinstance(task, FileTask):
            return FileTask(task.item, math.ceil(processes / (len(self._waiting) + 1)))
        return task

    def done(self, task: Task, result: Result) -> Record | None:
        """Note the result of a task; returns the record of its file if that is complete."""
        name = task.item.name
        match result:
            case Record():
                return result
            case SplitResult(spans):
                self._parts[name] = [None] * len(spans)
                self._waiting.extendleft(
                    reversed([ChunkTask(task.item, number, span) for number, span in enumerate(spans)])
                )
            case ChunkResult() if isinstance(task, ChunkTask) and (parts := self._parts.get(name)) is not None:
                parts[task.number] = result
                whole = tuple(part for part in parts if part is not None)
                if len(whole) == len(parts):
                    del self._parts[name]
                    self._waiting.appendleft(MergeTask(task.item, whole))
        return None

    def lost(self, task: Task, death: str) -> Record | None:
        """The process of a task has died: the task is retried, or its file is given up and recorded."""
        name = task.item.name
        if isinstance(task, ChunkTask) and name not in self._parts:
            return None  # of a file that was given up
        self._tried[name] += 1
        if self._tried[name] < self._tries:
            log.warning("%s: the process that read it died (%s); trying once more", printable(name), death)
            self._waiting.appendleft(task)
            return None
        self._parts.pop(name, None)
        self._waiting = deque(each for each in self._waiting if each.item.name != name)
        return Record(name, None, None, (), f"crashes the process that reads it ({death})")


def unlike(facts: Mapping[str, Any], first: Mapping[str, Any]) -> str | None:
    """Why a process must not join the first one, by what the results of each depend on; None if it may."""
    other = [key for key in facts if facts[key] != first.get(key)]
    return f"its {' and '.join(other)} would be different (choose one with --engine)" if other else None


_TRIES = 2  # one death may have another cause; two with the same file are due to the file


class Pool:
    """A number of processes, each of which loads the networks once, until `close` ends them.

    The first starts at once, so that it alone chooses engine "auto"; the others start with the work. Where that
    choice cannot be remembered they may choose otherwise: then they are left out.

    Attributes:
        facts: what the results depend on, as the first process found it.

    Raises:
        ModelError, UsageError: the networks cannot be loaded.
    """

    def __init__(self, job: "Job", jobs: int) -> None:
        self._job, self._jobs = job, jobs
        self._workers = [Worker(job)]
        self.facts: dict[str, Any] = {}
        try:
            first = self._workers[0]
            while first.facts is None:
                try:
                    first.receive()
                except EOFError:
                    raise ModelError(f"the process that loads the networks died ({first.death()})") from None
            self.facts = first.facts
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End all processes at once."""
        for worker in self._workers:
            worker.terminate()
        for worker in self._workers:
            worker.stop()

    def records(self, items: Iterable[Item]) -> Iterator[Record]:
        """A record for each item, in the order in which they are done.

        Raises:
            ModelError: the processes die as soon as they start, or none can continue.
        """
        plan = Plan(items, _TRIES)
        while plan.waiting or any(worker.task for worker in self._workers):
            lacking = min(self._jobs - len(self._workers), plan.waiting - self._free())
            self._workers += [Worker(self._job) for _ in range(lacking)]
            for worker in self._workers:
                if worker.idle and plan.waiting:
                    worker.give(plan.next_task(self._jobs))
            ready = wait([worker.pipe for worker in self._workers])
            for worker in [each for each in self._workers if each.pipe in ready]:
                task = worker.task
                try:
                    result = worker.receive()
                except EOFError:
                    record = self._reap(worker, plan)
                else:
                    record = plan.done(task, result) if task is not None and result is not None else None
                    if worker.facts is not None and (why := unlike(worker.facts, self.facts)) is not None:
                        self._leave_out(worker, why)
                if record is not None:
                    yield record

    def _free(self) -> int:
        """Number of processes that are idle or still loading."""
        return sum(worker.task is None for worker in self._workers)

    def _leave_out(self, worker: Worker, why: str) -> None:
        worker.stop()
        self._workers.remove(worker)
        self._jobs -= 1
        if not self._jobs:
            raise ModelError(f"no process can continue: {why}")
        log.warning("continuing without one process: %s", why)

    def _reap(self, worker: Worker, plan: Plan) -> Record | None:
        """Remove a process that died; its file is retried, or given up and recorded."""
        death, task = worker.death(), worker.task
        worker.stop()
        self._workers.remove(worker)
        if worker.facts is None:
            self._jobs -= 1
            if not self._jobs:
                raise ModelError(f"the processes that load the networks died ({death})", "is there enough memory?")
            log.warning("a process died while loading the networks (%s); continuing with %d", death, self._jobs)
        return None if task is None else plan.lost(task, death)
