"""What runs in a process of a cluster. Knows nothing of the cluster."""

import logging
import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instrec_live.realtime.errors import InstrecError, ModelError
from instrec_live.realtime.tagging.task import Task

if TYPE_CHECKING:
    from instrec_live.realtime.tagging.job import Job
    from instrec_live.realtime.tagging.plan import Result


class Hand:
    """What runs in a process of the cluster: the networks, loaded once, and one task after another."""

    def __init__(self, job: "Job", folder: Path | None) -> None:
        self._job, self._folder = job, folder
        self._tagger: Any = None

    def load(self) -> tuple[str, dict[str, Any] | InstrecError]:
        """The machine's name, and what the results depend on, or why there can be none."""
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
        """What comes of a task, and what is to be said of it in the log."""
        with _Warnings() as warnings:
            return self._job.do(task, self._tagger), warnings.said


class _Warnings(logging.Handler):
    """Keeps the log's warnings, for whoever asked for the work."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.said: list[tuple[int, str]] = []
        self._logger = logging.getLogger("instrec_live")

    def emit(self, record: logging.LogRecord) -> None:
        self.said.append((record.levelno, record.getMessage()))

    def __enter__(self) -> "_Warnings":
        self._logger.addHandler(self)
        return self

    def __exit__(self, *error: object) -> None:
        self._logger.removeHandler(self)
