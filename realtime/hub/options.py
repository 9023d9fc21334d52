"""The command line of `instrec-live watch`: its own few options, and those of listening from the main one."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from instrec_live.realtime.errors import UsageError
from instrec_live.realtime.hub.listed import Listed, listed, read_list
from instrec_live.realtime.options import Parser, borrow, retyped
from instrec_live.realtime.settings import Settings, parse

_LISTENING = (
    "--hop", "--duration", "--on-loss", "--models", "--weights", "--engine", "--url", "--threads", "--threshold",
    "--thresholds", "--gate", "--smoothing",
)  # fmt: skip
_RAW = ("--rate", "--channels", "--format")
_SCREEN = ("--no-ui", "--json", "--theme", "--force")
_PROGRAM = ("--config", "--no-config", "--log-file", "--verbose", "--quiet", "--version", "--help")
_EPILOG = """\
A SOURCE is device:N, device:NAME or device:system, a file, a pipe, or - for stdin. Before it stands its name, if it
is not to be called as it is. All go through one set of networks, together: that costs less than one by one.

examples:
  instrec-live watch left=device:0 right=device:2
  instrec-live watch news=<(ffmpeg -nostdin -v error -i URL -f wav -) jazz=<(ffmpeg -nostdin -v error -i URL -f wav -)
  instrec-live watch --list channels.txt --hop 1 --no-ui --output today.jsonl

The exit code is 0 if every source was heard to its end, else that of the first that was not.
"""


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """What to watch, and how.

    Attributes:
        sources: each with its name.
        output: the JSON lines of all, or None.
        listening: everything else, as the main command has it.
    """

    sources: tuple[Listed, ...]
    output: Path | None
    listening: Settings


def parse_watch(argv: Sequence[str]) -> WatchSettings:
    """The settings that a command line asks for. --help and --version print and raise SystemExit.

    Raises:
        UsageError: anything that makes no sense, in one line.
    """
    grammar, shared, raw = _grammar()
    given = grammar.parse_intermixed_args(argv)
    sources = listed([*given.sources, *(read_list(given.list) if given.list is not None else ())])
    if given.list == Path("-") and any(source.place == "-" for source in sources):
        raise UsageError("stdin cannot be both the --list and a source (-)", "keep the list in a file")
    if not sources:
        raise UsageError("nothing to watch", "name sources, or a --list of them")
    if given.output is not None and given.output.suffix.lower() != ".jsonl":
        raise UsageError(f"--output {given.output}: the sources' updates are JSON lines", "end its name in .jsonl")
    words = [word for action in shared for word in retyped(action, given)]
    described = [word for action in raw for word in retyped(action, given)]
    # What a pipe without a header holds is said once for all; the main command knows it of stdin.
    listening = parse([*words, *(["--stdin", *described] if described else ["--channels", "1", "--stdin"])])
    return WatchSettings(sources, given.output, listening)


def _grammar() -> tuple[Parser, list[argparse.Action], list[argparse.Action]]:
    """The parser, and the actions of it that the main command's parser has too: of listening, and of raw sound."""
    p = Parser(
        prog="instrec-live watch",
        usage="instrec-live watch [NAME=]SOURCE... [--list FILE] [options]",
        description="Listens to many sources at a time: one screen that lists them, one stream of data.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    p.add_argument("sources", nargs="*", metavar="[NAME=]SOURCE", help="what to listen to, see below")
    group = p.add_argument_group("sources and data")
    group.add_argument("--list", type=Path, metavar="FILE", help="more of them, one a line; # begins a remark")
    group.add_argument("-o", "--output", type=Path, metavar="FILE", help="FILE.jsonl: the updates of all")
    shared = borrow(p, "the screen", _SCREEN) + borrow(p, "listening", _LISTENING)
    raw = borrow(p, "pipes of raw sound, all alike", _RAW)
    return p, shared + borrow(p, "the program itself", _PROGRAM), raw
