"""The kind of output of a file, by its suffix."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from instrec_live.realtime.outputs.files import check_whole, check_writable, open_text
from instrec_live.realtime.outputs.html_report import HtmlReport, TimelineImage
from instrec_live.realtime.outputs.labels import Labels, Regions, Selections, Srt, Subtitles, TextGrid
from instrec_live.realtime.outputs.sink import Sink
from instrec_live.realtime.outputs.tables import JsonLines, Sidecar, TidyCsv

#: written as it comes
FORMATS: dict[str, Callable[[TextIO, Mapping[str, Any]], Sink]] = {
    ".jsonl": JsonLines,
    ".csv": TidyCsv,
    ".svl.csv": Regions,
    ".txt": Labels,
    ".selections.txt": Selections,
    ".vtt": Subtitles,
    ".srt": Srt,
}
#: written at the end
DRAWN: dict[str, Callable[[Path, Mapping[str, Any], bool], Sink]] = {
    ".png": TimelineImage,
    ".svg": TimelineImage,
    ".html": HtmlReport,
    ".textgrid": TextGrid,
}


def kind_of(path: Path) -> str:
    """ ".csv" of "a.CSV", ".svl.csv" of "a.svl.csv"."""
    double = (kind for kind in (".svl.csv", ".selections.txt") if path.name.lower().endswith(kind))
    return next(double, path.suffix.lower())


def sidecar_of(path: Path) -> Path:
    """ "a.csv.json" of "a.csv"."""
    return path.with_name(f"{path.name}.json")


def check_output(path: Path, force: bool) -> None:
    """Refuse early an output that could not be written later; creates nothing.

    Raises:
        UsageError: see `check_writable`.
    """
    if kind_of(path) in DRAWN:
        check_whole(path, force)
        return
    check_writable(path, force)
    if kind_of(path) == ".csv":
        check_whole(sidecar_of(path), force)


def open_output(path: Path, head: Mapping[str, Any], force: bool) -> list[tuple[str, Sink, TextIO | None]]:
    """Open an output: its name, its sink and the file to close after it; for a CSV, those of its sidecar too.

    Raises:
        UsageError: it cannot be created.
        OSError: there is no space for its header.
    """
    kind = kind_of(path)
    if kind in DRAWN:
        return [(str(path), DRAWN[kind](path, head, force), None)]
    file = open_text(path, force)
    begun: list[tuple[str, Sink, TextIO | None]] = [(str(path), FORMATS[kind](file, head), file)]
    if kind == ".csv":
        side = sidecar_of(path)
        begun.append((str(side), Sidecar(side, head, force), None))
    return begun


def streamed_first(paths: tuple[Path, ...]) -> list[Path]:
    """Outputs drawn at the end come last, so that the others are complete by then."""
    return sorted(paths, key=lambda path: kind_of(path) in DRAWN)
