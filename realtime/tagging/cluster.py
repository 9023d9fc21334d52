"""Processes on a Ray cluster that share files among them; a machine that dies costs nobody's work but its own."""

import logging
import os
import signal
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instrec_live.realtime.errors import InstrecError, ModelError, UsageError, printable
from instrec_live.realtime.tagging.find import Item
from instrec_live.realtime.tagging.hand import Hand
from instrec_live.realtime.tagging.options import cores
from instrec_live.realtime.tagging.plan import Plan, unlike
from instrec_live.realtime.tagging.tally import Record
from instrec_live.realtime.tagging.task import Task

# Before Ray is imported, for it reads them.
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
import ray
import ray._private.worker
from ray.exceptions import RayError, RayTaskError

if TYPE_CHECKING:
    from instrec_live.realtime.tagging.job import Job

log = logging.getLogger(__name__)

_TRIES = 3  # machines die for other reasons than a file, but not three times with the same one
_KNOCK_SECONDS = 5.0
_SETTINGS = bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))  # a frame of HTTP/2, which each side sends first
_LOOK_SECONDS = 5.0  # between looks at how large the cluster is
_STORE_BYTES = 200_000_000  # what passes between processes is small


@dataclass(eq=False)
class _Worker:
    """A process of the cluster, as it is seen from here.

    Attributes:
        actor: Ray's handle of it.
        due: what it will answer next; None if it has nothing to do.
        ready: it has loaded the networks.
        task: what it has in work.
    """

    actor: Any
    due: Any
    ready: bool = False
    task: Task | None = None


class Cluster:
    """As many processes as there are processors, or as asked for, each with the networks loaded once, until `close`
    ends them. Has the face of `Pool`.

    A process that dies, alone or with its machine, is replaced as soon as there is a place for another; a machine that
    joins is used.

    Args:
        job: the work.
        address: of the cluster; "auto" for the one that this machine belongs to, "" for what RAY_ADDRESS says, or else
            one begun here for the purpose.
        jobs: how many processes at most.
        folder: where relative paths begin, which must be there on every machine.

    Attributes:
        facts: what the results depend on, as the first process found it. Processes that find other facts are left out.

    Raises:
        UsageError: there is no such cluster, or no machine of it has processors enough for one process.
        ModelError: the networks cannot be loaded.
    """

    def __init__(self, job: "Job", address: str, jobs: int | None, folder: Path | None) -> None:
        self._job, self._jobs, self._folder = job, jobs, folder
        self._workers: list[_Worker] = []
        self._left_out: set[str] = set()  # machines
        self._deaths = 0  # while loading, in a row
        self.facts: dict[str, Any] = {}
        _connect(address or os.environ.get("RAY_ADDRESS", "") or "local", jobs, job.threads)
        try:
            _check_size(job.threads)
            self._actor: Any = ray.remote(num_cpus=job.threads, max_restarts=0)(Hand)
            self._hire()
            while not any(worker.ready for worker in self._workers):
                if not self._workers:
                    self._hire()
                self._wait(None)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End all processes at once, and the cluster too if it was begun here."""
        if ray.is_initialized():
            for worker in self._workers:
                ray.kill(worker.actor)
        ray.shutdown()

    def records(self, items: Iterable[Item]) -> Iterator[Record]:
        """A record for each item, in the order in which they are done.

        Raises:
            ModelError: the processes die as soon as they are started.
            UsageError: the cluster is gone.
        """
        plan = Plan(items, _TRIES)
        while plan.waiting or any(worker.task for worker in self._workers):
            room = self._room()
            while len(self._workers) < room and self._free() < plan.waiting:
                self._hire()
            for worker in self._workers:
                if worker.ready and worker.task is None and plan.waiting:
                    worker.task = plan.take(room)
                    worker.due = worker.actor.do.remote(worker.task)
            yield from self._wait(plan)

    def _free(self) -> int:
        return sum(worker.task is None for worker in self._workers)

    def _room(self) -> int:
        """How many processes there may be now."""
        try:
            resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        except RayError as error:
            raise UsageError(f"the cluster is gone: {_first_line(error)}") from error
        processors = int(resources.get("CPU", 0)) // self._job.threads
        return max(1, processors if self._jobs is None else min(self._jobs, processors))

    def _hire(self) -> None:
        actor: Any = self._actor.remote(self._job, self._folder)
        self._workers.append(_Worker(actor, actor.load.remote()))

    def _wait(self, plan: Plan | None) -> list[Record]:
        """What comes next from the processes, for a few seconds at most."""
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
            return self._bury(worker, plan, error)
        worker.due = None
        if not worker.ready:
            self._welcome(worker, *answer)
            return None
        assert plan is not None
        assert worker.task is not None
        task, worker.task = worker.task, None
        result, said = answer
        for level, text in said:
            log.log(level, "%s", text)
        return plan.done(task, result)

    def _welcome(self, worker: _Worker, machine: str, facts: dict[str, Any] | InstrecError) -> None:
        """Take a process in, if its results would be those of the others."""
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
        self._dismiss(worker)
        if not self._workers:
            raise ModelError(f"no machine of the cluster is left that can go on: on {machine} {why}")
        if machine not in self._left_out:
            log.warning("%s is left out: %s", machine, why)
        self._left_out.add(machine)
        self._jobs = max(1, self._room() - 1)

    def _bury(self, worker: _Worker, plan: Plan | None, error: RayError) -> Record | None:
        """Without a process that died, or that nothing is heard of any more."""
        self._dismiss(worker)
        if not worker.ready:
            self._deaths += 1
            if self._deaths >= _TRIES:
                raise ModelError(
                    f"the processes that load the networks die: {_first_line(error)}",
                    "is instrec-live installed there?",
                )
        if worker.task is None or plan is None:
            return None
        return plan.lost(worker.task, type(error).__name__)  # the same words whichever process it was

    def _dismiss(self, worker: _Worker) -> None:
        ray.kill(worker.actor)
        self._workers.remove(worker)


def _connect(address: str, jobs: int | None, threads: int) -> None:
    """Join a cluster, or begin one here that has room for so many processes of so many threads.

    Raises:
        UsageError: there is none at the address.
    """
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    # Else Ray tells of machines that die on stdout, among the data.
    ray._private.worker._worker_logs_enabled = False
    handler = signal.getsignal(signal.SIGTERM)
    try:
        if address == "local":
            room = threads * (jobs or max(1, cores() // threads))
            ray.init("local", num_cpus=room, include_dashboard=False, object_store_memory=_STORE_BYTES, **quiet)
            return
        if address != "auto":
            _knock(address)
        ray.init(address, **quiet)
    except (OSError, RuntimeError, ValueError, RayError) as error:
        ray.shutdown()
        where = "on this machine" if address in ("auto", "local") else f"at {address}"
        raise UsageError(
            f"no Ray cluster answers {where}: {_first_line(error)}", "ray start --head begins one"
        ) from error
    finally:
        signal.signal(signal.SIGTERM, handler or signal.SIG_DFL)  # Ray takes it for itself


def _check_size(threads: int) -> None:
    """Whether a process finds a place at all: Ray would wait for a larger machine for ever, and say nothing.

    Raises:
        UsageError: it finds none.
    """
    machines = [node["Resources"].get("CPU", 0.0) for node in ray.nodes() if node["Alive"]]  # type: ignore[no-untyped-call]
    largest = int(max(machines, default=0.0))
    if largest < threads:
        raise UsageError(f"--threads {threads}: the largest machine of the cluster has {largest} processors")


def _knock(address: str) -> None:
    """Whether somebody is there who speaks HTTP/2, as Ray does: it would wait for minutes to find out.

    Raises:
        OSError: nobody, or somebody else.
    """
    host, _, port = address.rpartition(":")
    with socket.create_connection((host.strip("[]"), int(port)), _KNOCK_SECONDS) as knock:
        knock.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + _SETTINGS)
        if knock.recv(9)[3:4] != _SETTINGS[3:4]:
            raise ConnectionError("what listens there is no Ray")


def _first_line(error: Exception) -> str:
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return printable(text.strip().splitlines()[0])


def _last_line(error: Exception) -> str:
    """Of a traceback: what it was."""
    return printable(str(error).strip().splitlines()[-1])
