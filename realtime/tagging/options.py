"""The command line of `instrec-live tag`: its own few options, and those of listening from the main one."""

import argparse
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from instrec_live.realtime.errors import UsageError
from instrec_live.realtime.options import Parser, borrow, retyped
from instrec_live.realtime.settings import Settings, parse
from instrec_live.realtime.tagging.find import path_of

_LISTENING = (
    "--hop",
    "--models",
    "--weights",
    "--engine",
    "--url",
    "--threads",
    "--threshold",
    "--thresholds",
    "--gate",
    "--smoothing",
)
_PROGRAM = ("--config", "--no-config", "--log-file", "--verbose", "--quiet", "--version", "--help")
_SUFFIXES = (".csv", ".jsonl", ".parquet")
_ADDRESS = re.compile(r"auto|local|[\w.-]+:\d{1,5}|\[[0-9a-fA-F:]+\]:\d{1,5}")
_EPILOG = """\
The results have, for each file and instrument, its mean and peak probability, the seconds it was active,
and when it came in first and went out last. With --output the run is resumable: stopped at any time, the same
command goes on from there, and tries files with errors again.

examples:
  instrec-live tag song.flac                        the table on stdout
  instrec-live tag archive --output results.csv     a folder and all below it, resumable
  instrec-live tag a b.wav -o r.jsonl --labels tracks --jobs 4
  instrec-live tag list.txt -o results.parquet --ray the paths in a list, on a local Ray

The exit code is 4 if a file could not be heard to its end (the results name it), else as of instrec-live.
"""


@dataclass(frozen=True, slots=True)
class TagSettings:
    """What to tag, and how.

    Attributes:
        paths: files, folders and lists; addresses like s3://bucket/folder as str.
        output: the results, or None for stdout.
        jobs: how many processes; None: as many as the cluster has processors.
        ray: where the processes run: a Ray cluster's address, "" for one to be found or begun; None without Ray.
        labels, per_hop: folders for a file's label track and JSON lines.
        force: begin anew.
        listening: everything else, as the main command has it.
    """

    paths: tuple[Path | str, ...]
    output: Path | None
    jobs: int | None
    ray: str | None
    labels: Path | None
    per_hop: Path | None
    force: bool
    listening: Settings


def parse_tag(argv: Sequence[str]) -> TagSettings:
    """The settings that a command line asks for. --help and --version print and raise SystemExit.

    Raises:
        UsageError: anything that makes no sense, in one line.
    """
    grammar, shared = _grammar()
    given = grammar.parse_intermixed_args(argv)
    if given.jobs is not None and not 1 <= given.jobs <= 1_000:
        raise UsageError(f"--jobs must be a whole number from 1 to 1000, not {given.jobs}")
    if given.ray and not _ADDRESS.fullmatch(given.ray):
        raise UsageError(
            f"--ray {given.ray}: that is no address of a cluster",
            "HOST:PORT, or auto; without one, name the paths first",
        )
    if not given.paths:
        raise UsageError("no PATH to tag", "instrec-live tag --help shows all options")
    output: Path | None = given.output
    if output is not None and output.suffix.lower() not in _SUFFIXES:
        raise UsageError(
            f"--output {output}: the kind of output is told by the name", "end it in .csv, .jsonl or .parquet"
        )
    # os.path finds nothing where Path raises: names that are too long, folders that are closed.
    if output is not None and os.path.isdir(output):
        raise UsageError(f"{output} is a folder", "name a file in it")
    if output is not None and not os.path.isdir(output.parent):
        raise UsageError(f"{output} cannot be written: there is no folder {output.parent}")
    for name, folder in (("--labels", given.labels), ("--per-hop", given.per_hop)):
        if folder is not None and os.path.exists(folder) and not os.path.isdir(folder):
            raise UsageError(f"{name} {folder}: it is no folder")
    return TagSettings(
        paths=tuple(given.paths),
        output=output,
        jobs=given.jobs or (cores() if given.ray is None else None),
        ray=given.ray,
        labels=given.labels,
        per_hop=given.per_hop,
        force=given.force,
        listening=parse([word for action in shared for word in retyped(action, given)]),
    )


def cores() -> int:
    """How many processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _grammar() -> tuple[Parser, list[argparse.Action]]:
    """The parser, and the actions of it that the main command's parser has too."""
    p = Parser(
        prog="instrec-live tag",
        usage="instrec-live tag PATH... [--output FILE] [options]",
        description="Tags many files and folders in one run, on all processors.",
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
    group.add_argument("--labels", type=Path, metavar="DIR", help="also write an Audacity label track of each file")
    group.add_argument("--per-hop", type=Path, metavar="DIR", help="also write JSON lines of each file, large")
    group.add_argument("--force", action="store_true", help="begin anew, replacing what is there")
    group.add_argument("-j", "--jobs", type=int, metavar="N", help="processes (as many as there are processors)")
    group.add_argument(
        "--ray", nargs="?", const="", metavar="ADDRESS",
        help="on a Ray cluster: HOST:PORT, or auto for the one that runs here; without, RAY_ADDRESS, or one of its own",
    )  # fmt: skip
    return p, borrow(p, "listening", _LISTENING) + borrow(p, "the program itself", _PROGRAM)
