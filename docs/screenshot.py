"""Make the pictures of the screen: the program itself, having listened to the demo clip in real time.

python docs/screenshot.py [--at 56] [--size 80x24 …] [--theme dark …] [--file SOUND] [--to docs/pictures] [--watch]

Writes screen-COLUMNSxLINES-THEME.svg for every size and theme, by default 80x24, 120x40 and 200x60, dark and light.
With --watch: watch-COLUMNSxLINES-THEME.svg, the list of many sources, each of which plays the clip from another second;
by default 100x16, dark.
"""

import argparse
import asyncio
import re
from itertools import product
from pathlib import Path

from idle_stream import IdleStream

from instrec_live import Stream, realtime
from instrec_live.realtime.stream.hub import Hub
from instrec_live.realtime.stream.update import Update
from instrec_live.realtime.tui.app import InstrecApp
from instrec_live.realtime.tui.drawing import UNICODE
from instrec_live.realtime.tui.messages import NewUpdate
from instrec_live.realtime.tui.state import ScreenState
from instrec_live.realtime.tui.watch.app import WatchApp

DEMO = Path(realtime.__file__).parent / "demo" / "demo.ogg"
FONTS = "'DejaVu Sans Mono', Menlo, Consolas, monospace"


def heard(stream: Stream, at: float) -> list[Update]:
    """Its updates in the first `at` seconds."""
    updates = []
    for update in stream:
        updates.append(update)
        if update.time >= at:
            break
    return updates


async def picture(stream: Stream, updates: list[Update], size: tuple[int, int], theme: str) -> str:
    """The screen as SVG at the last update."""
    app = InstrecApp(IdleStream(stream.info, stream.transport), theme=theme, glyphs=UNICODE)
    app.state = ScreenState(stream.info)
    for update in updates[:-1]:
        app.state = app.state.after(update)
    async with app.run_test(size=size) as pilot:
        app.post_message(NewUpdate(updates[-1]))
        await pilot.pause(1.0)
        return standalone(app.export_screenshot(simplify=True))


ROOMS = ("main stage", "church", "rehearsal 1", "rehearsal 2", "street", "radio", "hall, left", "hall, right")


async def list_picture(file: Path, size: tuple[int, int], theme: str) -> str:
    """The list of sources as SVG, 21 s after they began: one had a short file, one none at all."""
    sources = {name: {"file": file, "start": 3.0 * number} for number, name in enumerate(ROOMS)}
    sources |= {"jingle": {"file": file, "start": 4.0, "duration": 6.0}, "tape": {"file": "tape.wav"}}
    with Hub(sources, hop=1.0, keep_mel=True) as hub:
        app = WatchApp(hub, theme=theme, glyphs=UNICODE)
        async with app.run_test(size=size) as pilot:
            await pilot.pause(21.0)
            return standalone(app.export_screenshot(simplify=True))


def standalone(svg: str) -> str:
    """The SVG without the web font that Rich links to: pages that show pictures do not load it."""
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return re.sub(r"font-family: [^;]*Fira Code[^;]*;", f"font-family: {FONTS};", svg)


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--at", type=float, default=56.0, help="second of the clip (default: 56)")
    parser.add_argument("--size", nargs="+", help="columns x lines")
    parser.add_argument("--theme", nargs="+")
    parser.add_argument("--watch", action="store_true", help="the list of many sources")
    parser.add_argument("--file", type=Path, default=DEMO, help="another sound than the demo clip")
    parser.add_argument("--to", type=Path, default=Path(__file__).with_name("pictures"), metavar="FOLDER")
    options = parser.parse_args()
    if options.watch:
        for size, theme in product(options.size or ["100x16"], options.theme or ["dark"]):
            columns, lines = map(int, size.split("x"))
            path = options.to / f"watch-{size}-{theme}.svg"
            path.write_text(asyncio.run(list_picture(options.file, (columns, lines), theme)), encoding="utf-8")
            print(path)
        return
    with Stream(file=options.file, keep_mel=True) as stream:
        updates = heard(stream, options.at)
        for size, theme in product(options.size or ["80x24", "120x40", "200x60"], options.theme or ["dark", "light"]):
            columns, lines = map(int, size.split("x"))
            path = options.to / f"screen-{size}-{theme}.svg"
            path.write_text(asyncio.run(picture(stream, updates, (columns, lines), theme)), encoding="utf-8")
            print(path)


if __name__ == "__main__":
    main()
