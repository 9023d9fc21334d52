"""instrec-live tag: from the command line to the results of many files, and an exit code."""

import logging
import os
from collections.abc import Sequence
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from instrec_live.realtime.errors import ExitCode, UsageError, printable
from instrec_live.realtime.narration import narrate
from instrec_live.realtime.tagging.find import Item, find, kinds
from instrec_live.realtime.tagging.formats import PARQUET
from instrec_live.realtime.tagging.options import TagSettings, parse_tag

if TYPE_CHECKING:
    from instrec_live.realtime.tagging.cluster import Cluster
    from instrec_live.realtime.tagging.job import Job
    from instrec_live.realtime.tagging.pool import Pool
    from instrec_live.realtime.tagging.tally import Record

log = logging.getLogger(__name__)


def run(argv: Sequence[str]) -> int:
    """Tag the files; returns 0, or 4 if one of them could not be heard to its end.

    Raises:
        UsageError, InputFileError, ModelError: nothing could be begun, or there is no more room for results.
    """
    settings = parse_tag(argv)
    narrate(settings.listening, screen=False)
    if any(isinstance(path, str) for path in settings.paths):
        _check_there("fsspec", next(path for path in settings.paths if isinstance(path, str)))
    found = find(settings.paths)
    if found.unread:
        log.warning("left out, for they are not read here: %s (docs/archive.md says what to do)", kinds(found.unread))
    return _tag(settings, found.items)


def _tag(settings: TagSettings, items: Sequence[Item]) -> int:
    from instrec_live.realtime.tagging.progress import progress
    from instrec_live.realtime.tagging.results import Printed, Results, ResultsFile

    order = [item.name for item in items]
    job = _job(settings)
    if settings.output is not None and settings.output.suffix.lower() == PARQUET:
        _check_there("pyarrow", f"--output {settings.output}")
    with closing(_workers(job, settings, items)) as workers:
        results: Results
        if settings.output is None:
            results = Printed(order)
        else:
            paths = [path if isinstance(path, str) else path.as_posix() for path in settings.paths]
            facts = {**workers.facts, "paths": paths}
            results = ResultsFile(settings.output, facts, settings.force)
        left = [item for item in items if item.name not in results.done]
        if len(left) < len(items):
            log.info("%d of %d files are done already", len(items) - len(left), len(items))
        count = _Count()
        try:
            with progress(len(left), settings.listening.verbosity < 0) as shown:
                for record in workers.records(left):
                    results.add(record)
                    count.note(record)
                    shown.note(record)
        finally:
            results.close(order)
            if left:
                log.info("%s", count.in_words(len(left)))
    return ExitCode.INPUT_FILE if count.failed else ExitCode.OK


def _workers(job: "Job", settings: TagSettings, items: Sequence[Item]) -> "Pool | Cluster":
    """Processes here, or those of a cluster."""
    if settings.ray is None:
        from instrec_live.realtime.tagging.pool import Pool

        return Pool(job, settings.jobs or 1)
    _check_there("ray", "--ray")
    from instrec_live.realtime.tagging.cluster import Cluster

    beside = settings.labels is not None or settings.per_hop is not None
    here = Path.cwd() if beside or any(item.url is None for item in items) else None
    return Cluster(job, settings.ray, settings.jobs, here)


def _check_there(package: str, what: str) -> None:
    if find_spec(package) is None:
        raise UsageError(f"{what} needs {package}, which is not installed", "pip install 'instrec-live[cluster]'")


class _Count:
    """What has been done in this run."""

    def __init__(self) -> None:
        self.done = self.failed = 0
        self._seconds, self._began = 0.0, monotonic()

    def note(self, record: "Record") -> None:
        self.done += 1
        self._seconds += record.duration_s or 0.0
        if record.error is not None:
            self.failed += 1
            log.error("%s %s", printable(record.name), record.error)

    def in_words(self, total: int) -> str:
        """ "40 files, 2 with errors: 1920 s of sound in 52 s, 37 × real time"."""
        took = max(monotonic() - self._began, 1e-9)  # a coarse clock may not have moved
        files = f"{self.done} file{'' if self.done == 1 else 's'}" + (f" of {total}" if self.done < total else "")
        errors = f", {self.failed} with errors" if self.failed else ""
        return (
            f"{files}{errors}: {self._seconds:.0f} s of sound in {took:.0f} s, {self._seconds / took:.0f} × real time"
        )


def _job(settings: TagSettings) -> "Job":
    from instrec_live.realtime.tagging.job import Job

    _check_begun(settings)
    return Job(**settings.listening.hearing, labels=settings.labels, per_hop=settings.per_hop)


def _check_begun(settings: TagSettings) -> None:
    """Labels may be written over only by the run that goes on with them, or by force."""
    from instrec_live.realtime.tagging.results import growing

    going_on = settings.output is not None and os.path.exists(growing(settings.output))
    for folder in {settings.labels, settings.per_hop} - {None}:
        assert folder is not None
        if not (going_on or settings.force) and _filled(folder):
            raise UsageError(
                f"{folder} is not empty", "name another folder, or let labels in it be replaced with --force"
            )


def _filled(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UsageError(f"{folder} cannot be looked into: {error.strerror}") from error
