"""instrec-live report: from the JSON lines of an earlier run to whatever else --output can write."""

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from instrec_live.models.errors import UsageError
from instrec_live.realtime.options import Parser

if TYPE_CHECKING:
    from instrec_live.realtime.outputs import Outlets
    from instrec_live.realtime.report.run import Run

log = logging.getLogger(__name__)

_EPILOG = """\
examples:
  instrec-live report concert.jsonl                     concert.html and concert.png beside it
  instrec-live report concert.jsonl -o concert.vtt      subtitles for its video
"""


def parser() -> Parser:
    """The options of this command."""
    p = Parser(
        prog="instrec-live report",
        usage="instrec-live report FILE.jsonl [--output FILE]… [--force]",
        description="Makes pictures, reports, labels and subtitles of an earlier run.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument("run", type=Path, metavar="FILE.jsonl", help="what --json or --output FILE.jsonl has made")
    p.add_argument(
        "-o",
        "--output",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="FILE.html, .png, .svg, .csv, .txt (Audacity labels), .svl.csv (Sonic Visualiser), .vtt (subtitles) or "
        ".jsonl; may be repeated (FILE.html and FILE.png beside the run)",
    )
    p.add_argument("--channel", metavar="NAME", help="of a run of `watch`: which of its sources")
    p.add_argument("--force", action="store_true", help="replace files that exist")
    p.add_argument("-q", "--quiet", action="store_true", help="say only what went wrong")
    return p


def run(argv: Sequence[str]) -> int:
    """Write the outputs; returns 0, or 1 if one could not be written to its end.

    Raises:
        UsageError, InputFileError: what cannot be written or read.
    """
    given = parser().parse_args(argv)
    from instrec_live.realtime.narration import narrate
    from instrec_live.realtime.outputs import Outlets, check_output, open_output, streamed_first
    from instrec_live.realtime.report.run import Run
    from instrec_live.realtime.settings import parse

    narrate(parse(["--no-config", *(["--quiet"] if given.quiet else [])]), screen=False)
    earlier: Path = given.run
    found = Run(earlier, given.channel)
    paths = tuple(given.output) or tuple(earlier.with_suffix(suffix) for suffix in (".html", ".png"))
    _check(paths, earlier)
    for path in paths:
        check_output(path, given.force)
    outlets = Outlets()
    for path in streamed_first(paths):
        try:
            begun = open_output(path, found.head, given.force)
        except OSError as error:
            raise UsageError(f"{path} cannot be written: {error.strerror}") from error
        for each in begun:
            outlets.add(*each)
    replay(found, outlets)
    if found.cut_off:
        log.warning(
            "%s ends within %s: the run was broken off; what came before it is all there", earlier, found.cut_off
        )
    if not outlets.failed:
        log.info("written: %s", ", ".join(map(str, paths)))
    return int(outlets.failed)


def replay(run: "Run", outlets: "Outlets") -> None:
    """Hand a run on to sinks as it came, and close them.

    Raises:
        InputFileError: a line is damaged; the sinks have been closed after what came before.
    """
    from instrec_live.realtime.outputs import Tally
    from instrec_live.realtime.report.run import drift_of, line_of, moment, update_of

    tally, ended, drift = Tally(run.hop), "failed", None
    try:
        for record in run:
            try:
                match record["type"]:
                    case "update":
                        update = update_of(record)
                        tally.note(update)
                        outlets.write(update)
                    case "label":
                        outlets.label(moment(record["time"]), line_of(record["text"]))
                    case "summary":
                        ended, drift = str(record["ended"]), drift_of(record)
                    case "header":
                        raise ValueError("a second run begins here")
                    case _:
                        outlets.change(record)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise run.damaged(f"not as instrec-live writes it ({type(error).__name__}: {error})") from error
    finally:
        outlets.close(tally.summary(ended, drift))


def _check(paths: Sequence[Path], earlier: Path) -> None:
    from instrec_live.realtime.outputs import DRAWN, FORMATS, kind_of

    for path in paths:
        if kind_of(path) not in (*FORMATS, *DRAWN):
            kinds = ", ".join((*FORMATS, *DRAWN))
            raise UsageError(f"--output {path}: the kind of output is told by the name", f"end it in {kinds}")
    resolved = {path.resolve() for path in paths}
    if len(resolved) < len(paths):
        raise UsageError("two outputs have the same name")
    if earlier.resolve() in resolved:
        raise UsageError(f"{earlier} cannot be read and written at the same time")
