"""The signs the screen is drawn with: full, without colour, and for terminals that know only ASCII."""

import locale
import os
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Glyphs:
    """One character per sign, except the scales, which run from empty to full, and names of keys."""

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
    left_right: str = "←→"
    play: str = "▶"
    pause: str = "❚❚"
    label: str = "◆"
    rule: str = "─"
    knob: str = "●"
    shades: str = " ░▒▓█"  # from nothing to everything, where colour cannot say it
    tinted: bool = True  # colours say how much, beside the shape


UNICODE = Glyphs()
PLAIN = replace(UNICODE, left="▕", right="▏", track="·", tinted=False)  # no colour: the track must be drawn
ASCII = Glyphs(
    eighths=" #", spark="_.:-=+*#", left="[", right="]", track=" ", threshold=":", peak="|", active=">",
    cursor="|", dot="o", ring=".", gone="-", arrow=">", ellipsis="~", up_down="up/down", left_right="left/right",
    play=">", pause="||", label="*", rule="-", knob="o", shades=" .:*#", tinted=False,
)  # fmt: skip


def for_terminal() -> Glyphs:
    """The richest set that this process's locale, TERM and NO_COLOR allow."""
    # The console of a bare Linux has no eighth blocks; an ASCII locale has none of the signs.
    if os.environ.get("TERM") in {"linux", "dumb"} or "UTF" not in locale.getencoding().upper():
        return ASCII
    return PLAIN if "NO_COLOR" in os.environ else UNICODE
