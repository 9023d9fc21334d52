"""`instrec-live tag`: its command line, its progress, and the run."""

import argparse
import logging
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from instrec_live.models.errors import cannot_write
from instrec_live.models.files import identity
from instrec_live.realtime.commands.tag.find import Item, find, kinds, path_of
from instrec_live.realtime.config.options import Parser, borrow, retyped
from instrec_live.realtime.config.settings import Settings, parse
from instrec_live.realtime.config.settings import parser as main_parser
from instrec_live.realtime.errors import ExitCode, UsageError, printable
from instrec_live.realtime.logs import configure_logging
from instrec_live.realtime.terminal import is_terminal

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from instrec_live.realtime.commands.tag.cluster import Cluster
    from instrec_live.realtime.commands.tag.job import Job
    from instrec_live.realtime.commands.tag.pool import Pool
    from instrec_live.realtime.commands.tag.results import Record

log = logging.getLogger(__name__)


# The command line of `instrec-live tag`: its own few options, and those of listening from the main one.

_LISTENING = (
    "--hop",
    "--channel",
    "--track",
    "--models",
    "--weights",
    "--engine",
    "--url",
    "--threads",
    "--threshold",
    "--thresholds",
    "--only",
    "--not",
    "--gate",
    "--smoothing",
)

_PROGRAM = ("--config", "--no-config", "--log-file", "--verbose", "--quiet", "--version", "--help")

_SUFFIXES = (".csv", ".jsonl", ".parquet")

_ADDRESS = re.compile(r"auto|local|[\w.-]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")

_EPILOG = """\
The results have, for each file and instrument, its mean and peak probability, the seconds it was active,
and its first onset and last offset. With --output the run is resumable: stopped at any time, the same
command resumes it and retries files with errors.

examples:
  instrec-live tag song.flac                        the table on stdout
  instrec-live tag archive --output results.csv     a folder and all below it, resumable
  instrec-live tag archive -o results.csv --segments segments.csv
  instrec-live tag a b.wav -o r.jsonl --labels tracks --jobs 4
  instrec-live tag list.txt -o results.parquet --ray the paths in a list, on a local Ray

The exit code is 4 if a file could not be read to its end (the results name it), else as for instrec-live.
"""


@dataclass(frozen=True, slots=True)
class TagSettings:
    """What to tag, and how.

    Attributes:
        paths: files, folders and lists; addresses like s3://bucket/folder as str.
        output: the results, or None for stdout.
        segments: the table of segments, or None.
        wide: the table with one row a file, or None.
        jobs: how many processes; None: as many as the cluster has processors.
        ray: address of a Ray cluster, "" for one to be found or started; None without Ray.
        labels, per_hop: folders for a file's label track and JSON lines.
        force: start over.
        listening: all other options, as the main command has them.
    """

    paths: tuple[Path | str, ...]
    output: Path | None
    segments: Path | None
    wide: Path | None
    jobs: int | None
    ray: str | None
    labels: Path | None
    per_hop: Path | None
    force: bool
    listening: Settings


def parse_tag(argv: Sequence[str]) -> TagSettings:
    """Parse and check a command line. --help and --version print and raise SystemExit.

    Raises:
        UsageError: a mistake in it, in one line.
    """
    grammar, shared = _grammar()
    given = grammar.parse_intermixed_args(argv)
    from instrec_live.realtime.commands.tag.pool import cores  # not for --help, which ends before

    if given.jobs is not None and not 1 <= given.jobs <= 1_000:
        raise UsageError(f"--jobs must be a whole number from 1 to 1000, not {given.jobs}")
    if given.ray and not _ADDRESS.fullmatch(given.ray):
        raise UsageError(
            f"--ray {given.ray}: not an address of a cluster",
            "use HOST:PORT or auto; without an address, put --ray after the paths",
        )
    if not given.paths:
        raise UsageError("no PATH to tag", "instrec-live tag --help shows all options")
    output: Path | None = given.output
    if output is not None and output.suffix.lower() not in _SUFFIXES:
        raise UsageError(
            f"--output {output}: the suffix gives the kind of output", "end it in .csv, .jsonl or .parquet"
        )
    # os.path finds nothing where Path raises: names that are too long, folders that are closed.
    if output is not None and os.path.isdir(output):
        raise UsageError(f"{output} is a folder", "give the name of a file in it")
    if output is not None and not os.path.isdir(output.parent):
        raise cannot_write(output, f"there is no folder {output.parent}")
    for name, table in (("--segments", given.segments), ("--wide", given.wide)):
        if table is not None and table.suffix.lower() != ".csv":
            raise UsageError(f"{name} {table}: the table is a CSV file", "end its name in .csv")
        if table is not None and not os.path.isdir(table.parent):
            raise cannot_write(table, f"there is no folder {table.parent}")
    log_file = getattr(given, "log_file", None)
    tables = [identity(each) for each in (output, given.segments, given.wide, log_file) if each is not None]
    if len(set(tables)) < len(tables):
        raise UsageError("two outputs have the same name")
    for name, folder in (("--labels", given.labels), ("--per-hop", given.per_hop)):
        if folder is not None and os.path.exists(folder) and not os.path.isdir(folder):
            raise UsageError(f"{name} {folder}: not a folder")
    return TagSettings(
        paths=tuple(given.paths),
        output=output,
        segments=given.segments,
        wide=given.wide,
        jobs=given.jobs or (cores() if given.ray is None else None),
        ray=given.ray,
        labels=given.labels,
        per_hop=given.per_hop,
        force=given.force,
        # `causal` in a settings file is for the main command: here files are always decided with look-ahead.
        listening=replace(parse([word for action in shared for word in retyped(action, given)]), causal=False),
    )


def parser() -> Parser:
    """The command line of this command."""
    return _grammar()[0]


def _grammar() -> tuple[Parser, list[argparse.Action]]:
    """The parser, and the actions borrowed from the main command."""
    p = Parser(
        prog="instrec-live tag",
        usage="instrec-live tag PATH... [--output FILE] [options]",
        description="Tags whole files and folders in one run, using all processors.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    p.add_argument(
        "paths", nargs="*", type=path_of, metavar="PATH",
        help="sound files, folders with all below them, lists (.txt, or - for stdin), s3://BUCKET/FOLDER and the like",
    )  # fmt: skip
    group = p.add_argument_group("results")
    group.add_argument(
        "-o", "--output", type=Path, metavar="FILE", help="FILE.csv, .jsonl or .parquet, instead of stdout"
    )
    group.add_argument(
        "--segments", type=Path, metavar="FILE.csv", help="also write when each instrument sounds, a row a segment"
    )
    group.add_argument("--wide", type=Path, metavar="FILE.csv", help="also write one row a file, at the end")
    group.add_argument("--labels", type=Path, metavar="DIR", help="also write an Audacity label track of each file")
    group.add_argument("--per-hop", type=Path, metavar="DIR", help="also write JSON lines of each file, large")
    group.add_argument("--force", action="store_true", help="start over, replacing what is there")
    group.add_argument("-j", "--jobs", type=int, metavar="N", help="processes (one per processor)")
    group.add_argument(
        "--ray", nargs="?", const="", metavar="ADDRESS",
        help="on a Ray cluster: HOST:PORT, auto for one that runs here; without: RAY_ADDRESS, or a local one",
    )  # fmt: skip
    main = main_parser()
    return p, borrow(main, p, "analysis", _LISTENING) + borrow(main, p, "the program itself", _PROGRAM)


class Progress(Protocol):
    def note(self, record: "Record") -> None:
        """One more file is done."""


@contextmanager
def progress(total: int, quiet: bool) -> Iterator[Progress]:
    """Show how many of `total` files are done, until the end of the block."""
    if quiet or not is_terminal(sys.stderr):
        yield _Lines(total)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    console = Console(stderr=True)
    columns = (TextColumn("tagging"), BarColumn(), MofNCompleteColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Bar(*columns, TextColumn("{task.fields[speed]}"), console=console, redirect_stdout=False) as bar:
        # While the bar is drawn, sys.stderr puts lines above it.
        handlers = [each for each in logging.getLogger("instrec_live").handlers if type(each) is logging.StreamHandler]
        before = [handler.setStream(sys.stderr) for handler in handlers]
        try:
            yield _Drawn(bar, bar.add_task("", total=total, speed=""))
        finally:
            for handler, stream in zip(handlers, before, strict=True):
                if stream is not None:
                    handler.setStream(stream)


class _Drawn:
    """Moves the bar."""

    def __init__(self, bar: "Bar", task: "TaskID") -> None:
        self._bar, self._task = bar, task
        self._began, self._seconds = monotonic(), 0.0

    def note(self, record: "Record") -> None:
        from instrec_live.realtime.commands.tag.segments import in_words

        if record.error is None:  # an error has its own line
            self._bar.console.print(f"{printable(record.name)}: {in_words(record)}", markup=False, highlight=False)
        self._seconds += record.duration_s or 0.0
        speed = f"{self._seconds / max(monotonic() - self._began, 1e-9):.0f} × real time"
        self._bar.update(self._task, advance=1, speed=speed)


class _Lines:
    """A line per file."""

    def __init__(self, total: int) -> None:
        self._total, self._done = total, 0

    def note(self, record: "Record") -> None:
        from instrec_live.realtime.commands.tag.segments import in_words

        self._done += 1
        if record.error is not None:  # which has its own line
            return
        log.info("%d/%d %s: %s", self._done, self._total, printable(record.name), in_words(record))


def run(argv: Sequence[str]) -> int:
    """Tag the files; returns 0, or 4 if one of them could not be read to its end.

    Raises:
        UsageError, InputFileError, ModelError: the run could not start.
        OutputError: the results cannot be written.
    """
    settings = parse_tag(argv)
    configure_logging(settings.listening, screen=False)
    far = [
        path for path in settings.paths if isinstance(path, str) and not path.lower().startswith(("http:", "https:"))
    ]
    if far:
        _check_there("fsspec", far[0])
    found = find(settings.paths)
    if found.unread:
        log.warning("skipped, because they cannot be read here: %s (see docs/archive.md)", kinds(found.unread))
    return _tag(settings, found.items)


def _tag(settings: TagSettings, items: Sequence[Item]) -> int:
    from instrec_live.realtime.commands.tag.results import PARQUET, Printed, Results, ResultsFile
    from instrec_live.realtime.commands.tag.segments import SegmentsFile, write_wide

    order = [item.name for item in items]
    job = _job(settings)
    if settings.output is not None and settings.output.suffix.lower() == PARQUET:
        _check_there("pyarrow", f"--output {settings.output}")
    with closing(_workers(job, settings, items)) as workers:
        results: Results
        if settings.output is None:
            results = Printed(order, workers.facts["instruments"])
        else:
            paths = [path if isinstance(path, str) else path.as_posix() for path in settings.paths]
            facts = {**workers.facts, "paths": paths, "segments": settings.segments is not None}
            results = ResultsFile(settings.output, facts, settings.force)
        segments = None
        if settings.segments is not None:
            segments = SegmentsFile(settings.segments, results.done, settings.force)
        left = [item for item in items if item.name not in results.done]
        if len(left) < len(items):
            log.info("%d of %d files are done already", len(items) - len(left), len(items))
        count = _Count()
        try:
            with progress(len(left), settings.listening.verbosity < 0) as shown:
                for record in workers.records(left):
                    if segments is not None:
                        segments.add(record)
                    results.add(record)
                    count.note(record)
                    shown.note(record)
        finally:
            results.close(order)
            if segments is not None:
                segments.close(order)
            if settings.wide is not None:
                write_wide(settings.wide, results.rows(), workers.facts["instruments"])
            if left:
                resumes = "; the same command resumes" if settings.output and count.done < len(left) else ""
                log.info("%s%s", count.in_words(len(left)), resumes)
    return ExitCode.INPUT_FILE if count.failed else ExitCode.OK


def _workers(job: "Job", settings: TagSettings, items: Sequence[Item]) -> "Pool | Cluster":
    """Processes here, or those of a cluster."""
    if settings.ray is None:
        from instrec_live.realtime.commands.tag.pool import Pool

        return Pool(job, settings.jobs or 1)
    _check_there("ray", "--ray")
    from instrec_live.realtime.commands.tag.cluster import Cluster

    local_files = settings.labels is not None or settings.per_hop is not None
    here = Path.cwd() if local_files or any(item.url is None for item in items) else None
    return Cluster(job, settings.ray, settings.jobs, here)


def _check_there(package: str, what: str) -> None:
    if find_spec(package) is None:
        raise UsageError(f"{what} needs {package}, which is not installed", "pip install 'instrec-live[cluster]'")


class _Count:
    """Totals of this run."""

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
    from instrec_live.realtime.commands.tag.job import Job

    _check_begun(settings)
    return Job(settings.listening.analysis, labels=settings.labels, per_hop=settings.per_hop)


def _check_begun(settings: TagSettings) -> None:
    """Labels and tables may be overwritten only by a run that resumes, or with --force."""
    from instrec_live.realtime.commands.tag.results import growing
    from instrec_live.realtime.commands.tag.segments import filled

    going_on = settings.output is not None and os.path.exists(growing(settings.output))
    for name, table in (("--segments", settings.segments), ("--wide", settings.wide)):
        if table is not None and not (going_on or settings.force) and filled(table):
            raise UsageError(f"{table} exists", f"choose another {name}, or replace it with --force")
    for folder in {settings.labels, settings.per_hop} - {None}:
        assert folder is not None
        if not (going_on or settings.force) and _filled(folder):
            raise UsageError(f"{folder} is not empty", "choose another folder, or replace its labels with --force")


def _filled(folder: Path) -> bool:
    try:
        return any(folder.iterdir())
    except FileNotFoundError:
        return False
    except OSError as error:
        raise UsageError(f"{folder} cannot be read: {error.strerror}") from error
