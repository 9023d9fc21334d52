"""Which kind of output a file is to be, by its name."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TextIO

from instrec_live.realtime.outputs.audacity import Labels
from instrec_live.realtime.outputs.files import check_whole, check_writable, open_text
from instrec_live.realtime.outputs.json_lines import JsonLines
from instrec_live.realtime.outputs.picture import Page, Picture
from instrec_live.realtime.outputs.sink import Sink
from instrec_live.realtime.outputs.sonic_visualiser import Regions
from instrec_live.realtime.outputs.tidy_csv import Sidecar, TidyCsv
from instrec_live.realtime.outputs.web_vtt import Subtitles

#: written as it comes
FORMATS: dict[str, Callable[[TextIO, Mapping[str, Any]], Sink]] = {
    ".jsonl": JsonLines,
    ".csv": TidyCsv,
    ".svl.csv": Regions,
    ".txt": Labels,
    ".vtt": Subtitles,
}
#: written at the end
DRAWN: dict[str, Callable[[Path, Mapping[str, Any], bool], Sink]] = {".png": Picture, ".svg": Picture, ".html": Page}


def kind_of(path: Path) -> str:
    """ ".csv" of "a.CSV", ".svl.csv" of "a.svl.csv"."""
    return ".svl.csv" if path.name.lower().endswith(".svl.csv") else path.suffix.lower()


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
    """Begin an output: its name, its sink and the file to close after that; of a CSV, those of its sidecar too.

    Raises:
        UsageError: it cannot be made.
        OSError: there is no room even for its beginning.
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
    """Those that are drawn at the end come last, so that the others are safe by then."""
    return sorted(paths, key=lambda path: kind_of(path) in DRAWN)
