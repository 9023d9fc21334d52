"""The signs the screen is drawn with: full, without colour, and for terminals that know only ASCII."""

import locale
import os
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One character per sign, except the two scales, which run from empty to full."""

    eighths: str = " ▏▎▍▌▋▊▉█"  # one cell of a bar
    spark: str = "▁▂▃▄▅▆▇█"  # one moment of the last minute
    left: str = " "  # the bar's ends
    right: str = " "
    track: str = " "  # the unlit part of a bar; a tinted background shows it
    threshold: str = "┊"
    peak: str = "│"
    active: str = "▸"
    cursor: str = "▌"
    dot: str = "●"
    ring: str = "○"
    gone: str = "–"  # a network that gives no numbers
    arrow: str = "→"
    ellipsis: str = "…"
    up_down: str = "↑↓"


UNICODE = Glyphs()
PLAIN = replace(UNICODE, left="▕", right="▏", track="·")  # no colour: the track must be drawn
ASCII = Glyphs(
    eighths=" #", spark="_.:-=+*#", left="[", right="]", track=" ", threshold=":", peak="|", active=">",
    cursor="|", dot="o", ring=".", gone="-", arrow=">", ellipsis="~", up_down="up/down",
)  # fmt: skip


def for_terminal() -> Glyphs:
    """The richest set that this process's locale, TERM and NO_COLOR allow."""
    # The console of a bare Linux has no eighth blocks; an ASCII locale has none of the signs.
    if os.environ.get("TERM") in {"linux", "dumb"} or "UTF" not in locale.getencoding().upper():
        return ASCII
    return PLAIN if "NO_COLOR" in os.environ else UNICODE
