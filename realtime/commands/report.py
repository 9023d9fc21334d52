"""instrec-live report: from the JSON lines of an earlier run to all other formats of --output."""

import argparse
import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.files import identity
from instrec_live.realtime.config.options import Parser, borrow

if TYPE_CHECKING:
    from instrec_live.realtime.outputs import SinkGroup
    from instrec_live.realtime.outputs.jsonl_reader import Run

log = logging.getLogger(__name__)

_EPILOG = """\
examples:
  instrec-live report concert.jsonl                     concert.html and concert.png next to it
  instrec-live report concert.jsonl -o concert.vtt      subtitles for its video
  instrec-live report concert.jsonl -o concert.html --sound concert.wav   a click on a segment plays it
"""


def parser() -> Parser:
    """The options of this command."""
    from instrec_live.realtime.config.settings import parser as main_parser

    p = Parser(
        prog="instrec-live report",
        usage="instrec-live report FILE.jsonl [--output FILE]… [--force]",
        description="Makes pictures, reports, labels and subtitles from an earlier run.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument("run", type=Path, metavar="FILE.jsonl", help="the output of --json or --output FILE.jsonl")
    p.add_argument(
        "-o",
        "--output",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="FILE.html, .png, .svg, .csv, .txt (Audacity labels), .svl.csv (Sonic Visualiser), .selections.txt "
        "(Raven), .TextGrid (Praat, ELAN), .vtt, .srt (subtitles) or .jsonl; may be repeated (FILE.html and FILE.png "
        "next to the run)",
    )
    p.add_argument(
        "--sound", type=Path, metavar="FILE", help="the run's sound file: a click on a segment of the page plays it"
    )
    p.add_argument("--channel", metavar="NAME", help="the source, for a run of `watch`")
    p.add_argument("--force", action="store_true", help="replace files that exist")
    borrow(main_parser(), p, "analysis", ("--only", "--not"))
    p.add_argument("-q", "--quiet", action="store_true", help="log only warnings and errors")
    return p


def run(argv: Sequence[str]) -> int:
    """Write the outputs; returns 0, or 1 if one could not be written to its end.

    Raises:
        UsageError, InputFileError: what cannot be written or read.
    """
    given = parser().parse_args(argv)
    from instrec_live.realtime.config.settings import parse
    from instrec_live.realtime.logs import configure_logging
    from instrec_live.realtime.outputs import SinkGroup, check_output, open_output, streamed_first

    settings = parse(["--no-config", *(["--quiet"] if given.quiet else [])])
    configure_logging(settings, screen=False)
    earlier: Path = given.run
    found = _opened(earlier, given)
    paths = tuple(given.output) or tuple(earlier.with_suffix(suffix) for suffix in (".html", ".png"))
    _check(paths, earlier)
    for path in paths:
        check_output(path, given.force)
    if given.sound is not None and not os.path.isfile(given.sound):
        raise InputFileError(f"{given.sound}: there is no such file", "--sound names the sound of the run")
    sinks = SinkGroup()
    for path in streamed_first(paths):
        try:
            begun = open_output(path, _head_for(path, found.head, given.sound), given.force)
        except OSError as error:
            from instrec_live.models.errors import write_failed

            raise write_failed(path, error) from error
        for each in begun:
            sinks.add(*each)
    replay(found, sinks)
    if found.cut_off:
        log.warning(
            "%s ends within %s: the run was interrupted; everything before that line is complete",
            earlier,
            found.cut_off,
        )
    if not sinks.failed:
        log.info("written: %s", ", ".join(map(str, paths)))
    return int(sinks.failed)


def _opened(earlier: Path, given: argparse.Namespace) -> "Run":
    """The run, with the instruments asked for: those it has, learned ones too.

    Raises:
        UsageError, InputFileError: a mistake in --only or --not, or no such run.
    """
    from instrec_live.realtime.config.settings import name_list
    from instrec_live.realtime.outputs.jsonl_reader import Run

    only = name_list("--only", getattr(given, "only", None), "piano,voice")
    exclude = name_list("--not", getattr(given, "exclude", None), "drums,bass")
    if only and exclude:
        raise UsageError("--not and --only exclude each other", "leave one of them out")
    try:
        return Run(earlier, given.channel, only, exclude or ())
    except UsageError as error:
        raise UsageError(f"{'--not' if exclude else '--only'}: {error.message}", error.hint) from None


def _head_for(path: Path, head: dict[str, Any], sound: Path | None) -> dict[str, Any]:
    """The header that an output gets: a page that is to play the sound gets its address, as seen from there."""
    if sound is None or path.suffix.lower() != ".html":
        return head
    relative = os.path.relpath(os.path.realpath(sound), os.path.realpath(path.parent))
    return {**head, "sound": quote(Path(relative).as_posix())}


def replay(run: "Run", sinks: "SinkGroup") -> None:
    """Hand a run on to sinks as it came, and close them.

    Raises:
        InputFileError: a line is damaged; the sinks have been closed after what came before.
    """
    from instrec_live.realtime.outputs import SummaryBuilder, instruments_of
    from instrec_live.realtime.outputs.jsonl_reader import drift_of, line_of, moment, update_of

    tally, ended, drift = SummaryBuilder(run.hop), "failed", None
    instruments = instruments_of(run.head)
    try:
        for record in run:
            try:
                match record["type"]:
                    case "update":
                        update = update_of(record, instruments, run.others)
                        tally.note(update)
                        sinks.write(update)
                    case "label":
                        sinks.label(moment(record["time"]), line_of(record["text"]))
                    case "summary":
                        ended, drift = str(record["ended"]), drift_of(record)
                    case "header":
                        raise ValueError("a second run starts here")
                    case "thresholds":
                        some = {name: each for name, each in record["thresholds"].items() if name in instruments}
                        sinks.change({**record, "thresholds": some})
                    case _:
                        sinks.change(record)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise run.damaged(f"not as instrec-live writes it ({type(error).__name__}: {error})") from error
    finally:
        sinks.close(tally.summary(ended, drift))


def _check(paths: Sequence[Path], earlier: Path) -> None:
    from instrec_live.realtime.outputs import DRAWN, FORMATS, kind_of

    for path in paths:
        if kind_of(path) not in (*FORMATS, *DRAWN):
            kinds = ", ".join((*FORMATS, *DRAWN))
            raise UsageError(f"--output {path}: the suffix gives the kind of output", f"end it in {kinds}")
    written = {identity(path) for path in paths}
    if len(written) < len(paths):
        raise UsageError("two outputs have the same name")
    if identity(earlier) in written:
        raise UsageError(f"{earlier} cannot be read and written at the same time")
