"""Make docs/session.svg, the moving picture of the README: the screen at every second second of the demo.

python docs/session.py [--file SOUND] [--every 2] [--to docs/session.svg]

The program itself hears the sound, at --pace max, so that the picture is the same from run to run; age and time of
the networks, which are of the machine, are written in. Each frame carries its time (`data-time`, s); a test compares
what is drawn there with what the program says then.
"""

import argparse
import asyncio
import time
from dataclasses import dataclass, replace
from html import escape
from itertools import groupby
from pathlib import Path

from idle_stream import IdleStream
from rich.cells import cell_len
from rich.color import Color
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from instrec_live import Stream, realtime
from instrec_live.realtime.stream.update import Update
from instrec_live.realtime.tui.app import InstrecApp
from instrec_live.realtime.tui.drawing import UNICODE
from instrec_live.realtime.tui.messages import NewUpdate, Updates
from instrec_live.realtime.tui.state import SETTLED, ScreenState

DEMO = Path(realtime.__file__).parent / "demo" / "demo.ogg"
SIZE = (80, 24)
CELL = (8.43, 17.0)  # of DejaVu Sans Mono at 14 px
SECONDS_EACH = 1.0  # that a frame stays: twice the speed of the sound, with one frame every 2 s
AGE_S, TOOK_S = 0.08, 0.03  # as of a machine that does nothing else (docs/performance.md): here they would not be
PAPER, INK = "#16181c", "#d9d5cc"  # of the dark theme
FONTS = "'DejaVu Sans Mono', Menlo, Consolas, monospace"


@dataclass
class Playback:
    """A file that is played at its own pace; no key is pressed."""

    duration: float | None
    position: float = 0.0
    paused: bool = False
    speed: float = 1.0
    audible: bool = False


def frames_of(file: Path, every: float) -> list[tuple[Update, list[Strip]]]:
    """The screen at every so many seconds of a sound, with the update that it shows."""

    async def go() -> list[tuple[Update, list[Strip]]]:
        frames = []
        with Stream(file=file, pace="max", lookahead=None) as stream:
            playback = Playback(stream.info.end)
            heard: Updates = IdleStream(replace(stream.info, pace="realtime"), playback)  # type: ignore[assignment, arg-type]
            app = InstrecApp(heard, glyphs=UNICODE)
            app.state = ScreenState(heard.info)
            async with app.run_test(size=SIZE) as pilot:
                for heard_update in stream:
                    update = replace(heard_update, age_s=AGE_S, inference_s=TOOK_S)
                    playback.position = update.time
                    if update.time % every < stream.info.hop / 2:
                        app.post_message(NewUpdate(update))
                        while app.state.update is not update:
                            await pilot.pause(0.01)
                        app.arrived = time.monotonic() - SETTLED  # its bars have arrived
                        app.draw()
                        await pilot.pause()
                        frames.append((update, app.screen._compositor.render_strips()))
                    else:
                        app.state = app.state.after(update)
        return frames

    return asyncio.run(go())


def svg(frames: list[tuple[Update, list[Strip]]]) -> str:
    """The frames as one SVG that moves without scripts; equal lines are drawn once."""
    (columns, rows), (wide, high) = SIZE, CELL
    width, height = round(columns * wide), round(rows * high)
    looks: dict[tuple[str, bool, bool], str] = {}
    lines: dict[str, str] = {}
    shown = []
    for number, (update, strips) in enumerate(frames):
        uses = []
        for row, strip in enumerate(strips):
            drawn = line(strip, looks)
            name = lines.setdefault(drawn, f"l{len(lines)}")
            uses.append(f'<use href="#{name}" y="{row * high:g}"/>')
        shown.append(f'<g data-time="{update.time:g}" transform="translate(0 {number * height})">{"".join(uses)}</g>')
    steps = [f"{100 * n / len(frames):.3f}% {{ transform: translateY({-n * height}px) }}" for n in range(len(frames))]
    classes = [
        f".{name} {{ fill: {colour}; font-weight: {'bold' if bold else 'normal'}; "
        f"font-style: {'italic' if slanted else 'normal'} }}"
        for (colour, bold, slanted), name in looks.items()
    ]
    style = [
        f"text {{ font: 14px {FONTS}; white-space: pre; dominant-baseline: text-before-edge }}",
        *classes,
        f"@keyframes roll {{ {' '.join(steps)} }}",
        f"#film {{ animation: roll {len(frames) * SECONDS_EACH:g}s steps(1) infinite }}",
    ]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}">',
            "<title>instrec-live, listening to its demo</title>",
            f"<style>{' '.join(style)}</style>",
            f"<defs>{''.join(f'<g id={name!r}>{drawn}</g>' for drawn, name in lines.items())}</defs>",
            f'<rect width="{width}" height="{height}" fill="{PAPER}"/>',
            f'<svg width="{width}" height="{height}"><g id="film">{"".join(shown)}</g></svg>',  # one frame is visible
            "</svg>\n",
        ]
    )


def line(strip: Strip, looks: dict[tuple[str, bool, bool], str]) -> str:
    """One line of the screen; `looks` collects colours and weights as classes."""
    wide = CELL[0]
    grounds, letters, column = [], [], 0
    for (ground, colour, bold, slanted), run in groupby(strip, key=look_of):
        text = "".join(segment.text for segment in run)
        cells = cell_len(text)
        if ground != PAPER:
            grounds.append(f'<rect x="{column * wide:g}" width="{cells * wide:g}" height="17.3" fill="{ground}"/>')
        if text.strip():
            name = looks.setdefault((colour, bold, slanted), f"c{len(looks)}")
            before = len(text) - len(text.lstrip())
            x, text = (column + before) * wide, text.strip()
            letters.append(
                f'<text class="{name}" x="{x:g}" textLength="{cell_len(text) * wide:g}">{escape(text)}</text>'
            )
        column += cells
    return "".join([*grounds, *letters])


def look_of(segment: Segment) -> tuple[str, str, bool, bool]:
    """Ground and letters as "#rrggbb", bold, italic."""
    style = segment.style or Style()
    ground, colour = colour_of(style.bgcolor) or PAPER, colour_of(style.color) or INK
    return *((colour, ground) if style.reverse else (ground, colour)), bool(style.bold), bool(style.italic)


def colour_of(colour: Color | None) -> str | None:
    return None if colour is None or colour.triplet is None else colour.triplet.hex


def main() -> None:
    """Make the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--file", type=Path, default=DEMO, help="another sound than the demo clip")
    parser.add_argument("--every", type=float, default=2.0, help="seconds of sound from frame to frame")
    parser.add_argument("--to", type=Path, default=Path(__file__).with_name("session.svg"))
    options = parser.parse_args()
    options.to.write_text(svg(frames_of(options.file, options.every)), encoding="utf-8")
    print(options.to)


if __name__ == "__main__":
    main()
