"""Make the pictures of the screen: the program itself, having listened to the demo clip in real time.

python docs/screenshot.py [--at 47] [--size 80x24 …] [--theme dark …] [--file SOUND] [--to docs/pictures]

Writes screen-COLUMNSxLINES-THEME.svg for every size and theme, by default 80x24, 120x40 and 200x60, dark and light.
"""

import argparse
import asyncio
import re
import threading
from collections.abc import Iterator
from itertools import product
from pathlib import Path

from instrec_live import realtime
from instrec_live.realtime import Stream
from instrec_live.realtime.tui.app import InstrecApp
from instrec_live.realtime.tui.glyphs import UNICODE
from instrec_live.realtime.tui.messages import NewUpdate
from instrec_live.realtime.tui.picture import Picture
from instrec_live.realtime.update import Update

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


class StandingStill:
    """A stream that has been heard already, as far as the screen is concerned."""

    def __init__(self, stream: Stream) -> None:
        self.info, self.transport, self.recording = stream.info, stream.transport, None
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[Update]:
        self.closed.wait()
        yield from ()

    def close(self) -> None:
        self.closed.set()

    def notices(self) -> list[str]:
        return []


async def picture(stream: Stream, updates: list[Update], size: tuple[int, int], theme: str) -> str:
    """The screen as SVG at the last update."""
    app = InstrecApp(StandingStill(stream), theme=theme, glyphs=UNICODE)
    app.picture = Picture(stream.info)
    for update in updates[:-1]:
        app.picture = app.picture.after(update)
    async with app.run_test(size=size) as pilot:
        app.post_message(NewUpdate(updates[-1]))
        await pilot.pause(1.0)
        return standalone(app.export_screenshot(simplify=True))


def standalone(svg: str) -> str:
    """The SVG without the web font that Rich links to: pages that show pictures do not load it."""
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return re.sub(r"font-family: [^;]*Fira Code[^;]*;", f"font-family: {FONTS};", svg)


def main() -> None:
    """Make the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--at", type=float, default=47.0, help="second of the clip (default: 47)")
    parser.add_argument("--size", nargs="+", default=["80x24", "120x40", "200x60"], help="columns x lines")
    parser.add_argument("--theme", nargs="+", default=["dark", "light"])
    parser.add_argument("--file", type=Path, default=DEMO, help="another sound than the demo clip")
    parser.add_argument("--to", type=Path, default=Path(__file__).with_name("pictures"), metavar="FOLDER")
    options = parser.parse_args()
    with Stream(file=options.file, keep_mel=True) as stream:
        updates = heard(stream, options.at)
        for size, theme in product(options.size, options.theme):
            columns, lines = map(int, size.split("x"))
            path = options.to / f"screen-{size}-{theme}.svg"
            path.write_text(asyncio.run(picture(stream, updates, (columns, lines), theme)), encoding="utf-8")
            print(path)


if __name__ == "__main__":
    main()
