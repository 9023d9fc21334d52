"""Processes that share files among them; one that dies costs nobody else's work."""

import logging
from collections.abc import Iterable, Iterator
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from instrec_live.realtime.errors import ModelError
from instrec_live.realtime.tagging.find import Item
from instrec_live.realtime.tagging.plan import Plan, unlike
from instrec_live.realtime.tagging.tally import Record
from instrec_live.realtime.tagging.worker import Worker

if TYPE_CHECKING:
    from instrec_live.realtime.tagging.job import Job

log = logging.getLogger(__name__)

_TRIES = 2  # a process may have been killed for another's sake; twice with the same file is that file's doing


class Pool:
    """As many processes as asked for, each with the networks loaded once, until `close` ends them.

    The first is there at once, so that engine "auto" is chosen by it alone; the others come with the work. Where that
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
                    first.take()
                except EOFError:
                    raise ModelError(f"the process that loads the networks died ({first.death()})") from None
            self.facts = first.facts
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End all processes at once."""
        for worker in self._workers:
            worker.stop()

    def records(self, items: Iterable[Item]) -> Iterator[Record]:
        """A record for each item, in the order in which they are done.

        Raises:
            ModelError: the processes die as soon as they are started, or are none that may go on.
        """
        plan = Plan(items, _TRIES)
        while plan.waiting or any(worker.task for worker in self._workers):
            lacking = min(self._jobs - len(self._workers), plan.waiting - self._free())
            self._workers += [Worker(self._job) for _ in range(lacking)]
            for worker in self._workers:
                if worker.idle and plan.waiting:
                    worker.give(plan.take(self._jobs))
            ready = wait([worker.pipe for worker in self._workers])
            for worker in [each for each in self._workers if each.pipe in ready]:
                task = worker.task
                try:
                    result = worker.take()
                except EOFError:
                    record = self._bury(worker, plan)
                else:
                    record = plan.done(task, result) if task is not None and result is not None else None
                    if worker.facts is not None and (why := unlike(worker.facts, self.facts)) is not None:
                        self._leave_out(worker, why)
                if record is not None:
                    yield record

    def _free(self) -> int:
        """How many processes have nothing to do, or will have when they are loaded."""
        return sum(worker.task is None for worker in self._workers)

    def _leave_out(self, worker: Worker, why: str) -> None:
        worker.stop()
        self._workers.remove(worker)
        self._jobs -= 1
        if not self._jobs:
            raise ModelError(f"no process is left that can go on: {why}")
        log.warning("a process is left out: %s", why)

    def _bury(self, worker: Worker, plan: Plan) -> Record | None:
        """Without a process that died; its file gets another try, or the record that says so."""
        death, task = worker.death(), worker.task
        worker.stop()
        self._workers.remove(worker)
        if worker.facts is None:
            self._jobs -= 1
            if not self._jobs:
                raise ModelError(f"the processes that load the networks die ({death})", "is there memory enough?")
            log.warning("a process died while it loaded the networks (%s); going on with %d", death, self._jobs)
        return None if task is None else plan.lost(task, death)
