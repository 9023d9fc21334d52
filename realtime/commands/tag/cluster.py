"""Processes on a Ray cluster that share files; when a machine dies, only its own tasks are lost."""

import logging
import os
import signal
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray
import ray._private.worker
from ray.exceptions import RayError, RayTaskError
from ray.job_config import JobConfig

from instrec_live.realtime.commands.tag.find import Item
from instrec_live.realtime.commands.tag.job import Task
from instrec_live.realtime.commands.tag.pool import Plan, cores, unlike
from instrec_live.realtime.commands.tag.results import Record
from instrec_live.realtime.errors import InstrecError, ModelError, UsageError, printable
from instrec_live.realtime.logs import Warnings

if TYPE_CHECKING:
    from instrec_live.realtime.commands.tag.job import Job
    from instrec_live.realtime.commands.tag.pool import Result

log = logging.getLogger(__name__)


class RayWorker:
    """Runs in a process of the cluster: loads the networks once, then does one task after another."""

    def __init__(self, job: "Job", folder: Path | None) -> None:
        self._job, self._folder = job, folder
        self._tagger: Any = None

    def load(self) -> tuple[str, dict[str, Any] | InstrecError]:
        """The machine's name, and what the results depend on, or the error."""
        machine = socket.gethostname()
        try:
            if self._folder is not None:
                os.chdir(self._folder)  # so that a path means here what it means there
        except OSError as error:
            return machine, ModelError(f"{self._folder} is not there: {error.strerror}", "all machines need the files")
        try:
            self._tagger = self._job.load()
            return machine, self._job.facts(self._tagger)
        except InstrecError as error:
            return machine, error

    def do(self, task: Task) -> tuple["Result", list[tuple[int, str]]]:
        """The result of a task, and its log records."""
        with Warnings() as warnings:
            return self._job.do(task, self._tagger), warnings.records


# Before Ray is imported, for it reads them.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")


_TRIES = 3  # machines die for other reasons, but not three times with the same file

_PING_SECONDS = 5.0

_SETTINGS = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))  # a frame of HTTP/2, which each side sends first

_LOOK_SECONDS = 5.0  # between looks at how large the cluster is

_STORE_BYTES = 200_000_000  # what passes between processes is small


@dataclass(eq=False)
class _Worker:
    """The local view of a process of the cluster.

    Attributes:
        actor: Ray's handle of it.
        due: its next result; None if it is idle.
        ready: it has loaded the networks.
        task: the current one.
    """

    actor: Any
    due: Any
    ready: bool = False
    task: Task | None = None


class Cluster:
    """Processes on a cluster, each of which loads the networks once, until `close` ends them. Same interface as `Pool`.

    A process that dies, alone or with its machine, is replaced as soon as there is room; machines that join are used.

    Args:
        job: the work.
        address: of the cluster; "auto" for the one that this machine belongs to, "" for what RAY_ADDRESS says, or else
            one begun here for the purpose.
        jobs: how many processes at most.
        folder: base of relative paths, which must exist on every machine.

    Attributes:
        facts: what the results depend on, as the first process found it. Processes with other facts are not used.

    Raises:
        UsageError: there is no such cluster, or no machine of it has enough processors for one process.
        ModelError: the networks cannot be loaded.
    """

    def __init__(self, job: "Job", address: str, jobs: int | None, folder: Path | None) -> None:
        self._job, self._jobs, self._folder = job, jobs, folder
        self._workers: list[_Worker] = []
        self._left_out: set[str] = set()  # machines
        self._deaths = 0  # consecutive deaths while loading
        self.facts: dict[str, Any] = {}
        _connect(address or os.environ.get("RAY_ADDRESS", "") or "local", jobs, job.config.threads)
        try:
            _check_size(job.config.threads)
            self._actor: Any = ray.remote(num_cpus=job.config.threads, max_restarts=0)(RayWorker)
            self._start_worker()
            while not any(worker.ready for worker in self._workers):
                if not self._workers:
                    self._start_worker()
                self._wait(None)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End all processes at once, and the cluster too if it was started here."""
        if ray.is_initialized():
            for worker in self._workers:
                ray.kill(worker.actor)
        ray.shutdown()

    def records(self, items: Iterable[Item]) -> Iterator[Record]:
        """A record for each item, in the order in which they are done.

        Raises:
            ModelError: the processes die as soon as they start.
            UsageError: the cluster is gone.
        """
        plan = Plan(items, _TRIES)
        while plan.waiting or any(worker.task for worker in self._workers):
            room = self._room()
            while len(self._workers) < room and self._free() < plan.waiting:
                self._start_worker()
            for worker in self._workers:
                if worker.ready and worker.task is None and plan.waiting:
                    worker.task = plan.next_task(room)
                    worker.due = worker.actor.do.remote(worker.task)
            yield from self._wait(plan)

    def _free(self) -> int:
        return sum(worker.task is None for worker in self._workers)

    def _room(self) -> int:
        """Number of processes that fit now."""
        try:
            resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        except RayError as error:
            raise UsageError(f"lost the cluster: {_first_line(error)}") from error
        processors = int(resources.get("CPU", 0)) // self._job.config.threads
        return max(1, processors if self._jobs is None else min(self._jobs, processors))

    def _start_worker(self) -> None:
        actor: Any = self._actor.remote(self._job, self._folder)
        self._workers.append(_Worker(actor, actor.load.remote()))

    def _wait(self, plan: Plan | None) -> list[Record]:
        """Wait for results, for a few seconds at most."""
        due = {worker.due: worker for worker in self._workers if worker.due is not None}
        ready, _ = ray.wait(list(due), num_returns=1, timeout=_LOOK_SECONDS)
        records = (self._take(due[each], plan) for each in ready)
        return [record for record in records if record is not None]

    def _take(self, worker: _Worker, plan: Plan | None) -> Record | None:
        try:
            answer = ray.get(worker.due)
        except RayTaskError as error:  # a defect: every fault of a file is caught where it is found
            raise ModelError(f"a process of the cluster failed: {_last_line(error)}") from error
        except RayError as error:  # it died, or its machine did with the answer
            return self._reap(worker, plan, error)
        worker.due = None
        if not worker.ready:
            self._registered(worker, *answer)
            return None
        assert plan is not None
        assert worker.task is not None
        task, worker.task = worker.task, None
        result, warnings = answer
        for level, text in warnings:
            log.log(level, "%s", text)
        return plan.done(task, result)

    def _registered(self, worker: _Worker, machine: str, facts: dict[str, Any] | InstrecError) -> None:
        """Admit a process if its results would equal those of the others."""
        self._deaths = 0
        if isinstance(facts, InstrecError):
            if not self.facts:
                raise facts
            why = facts.message
        elif (unlikeness := unlike(facts, self.facts or facts)) is None:
            self.facts, worker.ready = facts, True
            return
        else:
            why = unlikeness
        self._stop_worker(worker)
        if not self._workers:
            raise ModelError(f"no machine of the cluster can continue: on {machine} {why}")
        if machine not in self._left_out:
            log.warning("%s is skipped: %s", machine, why)
        self._left_out.add(machine)
        self._jobs = max(1, self._room() - 1)

    def _reap(self, worker: _Worker, plan: Plan | None, error: RayError) -> Record | None:
        """Remove a process that died or does not respond."""
        self._stop_worker(worker)
        if not worker.ready:
            self._deaths += 1
            if self._deaths >= _TRIES:
                raise ModelError(
                    f"the processes that load the networks died: {_first_line(error)}",
                    "is instrec-live installed there?",
                )
        if worker.task is None or plan is None:
            return None
        return plan.lost(worker.task, type(error).__name__)  # the same words whichever process it was

    def _stop_worker(self, worker: _Worker) -> None:
        ray.kill(worker.actor)
        self._workers.remove(worker)


def _connect(address: str, jobs: int | None, threads: int) -> None:
    """Join a cluster, or start a local one with room for so many processes of so many threads.

    Raises:
        UsageError: there is none at the address.
    """
    # Marked as a client's: for any other job, Ray puts the current folder first on the import path of its processes.
    job = JobConfig(_client_job=True)
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL, "job_config": job}
    # Otherwise Ray prints lost machines to stdout, into the data.
    ray._private.worker._worker_logs_enabled = False
    handler = signal.getsignal(signal.SIGTERM)
    try:
        if address == "local":
            room = threads * (jobs or max(1, cores() // threads))
            ray.init("local", num_cpus=room, include_dashboard=False, object_store_memory=_STORE_BYTES, **quiet)
            return
        if address != "auto":
            _ping(address)
        ray.init(address, **quiet)
    except (OSError, RuntimeError, ValueError, RayError) as error:
        ray.shutdown()
        where = "on this machine" if address in ("auto", "local") else f"at {address}"
        raise UsageError(
            f"no Ray cluster answers {where}: {_first_line(error)}", "start one with: ray start --head"
        ) from error
    finally:
        signal.signal(signal.SIGTERM, handler or signal.SIG_DFL)  # Ray takes it for itself


def _check_size(threads: int) -> None:
    """Check that a process fits on a machine: Ray would wait for a larger one for ever, silently.

    Raises:
        UsageError: it finds none.
    """
    machines = [node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    largest = int(max(machines, default=0.0))
    if largest < threads:
        raise UsageError(f"--threads {threads}: the largest machine of the cluster has {largest} processors")


def _ping(address: str) -> None:
    """Check that the address speaks HTTP/2, as Ray does; Ray itself would wait for minutes.

    Raises:
        OSError: it does not.
    """
    host, _, port = address.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), _PING_SECONDS) as connection:
        connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _SETTINGS)
        if connection.recv(9)[3:4] != _SETTINGS[3:4]:
            raise ConnectionError("the program at that address is not Ray")


def _first_line(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return printable(text.strip().splitlines()[0])


def _last_line(error: Exception) -> str:
    """Of a traceback: what it was."""
    return printable(str(error).strip().splitlines()[-1])
