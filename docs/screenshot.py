"""Make docs/screen.svg: the program's own screen, playing the demo clip in real time, at a given second.

python docs/screenshot.py [--at 28] [--size 80x24] [--theme dark] [--file SOUND] [--output docs/screen.svg]
"""

import argparse
import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

from instrec_live import realtime
from instrec_live.realtime import Stream
from instrec_live.realtime.tui.app import InstrecApp, Updates
from instrec_live.realtime.tui.glyphs import UNICODE
from instrec_live.realtime.update import Update

DEMO = Path(realtime.__file__).parent / "demo" / "demo.ogg"
FONTS = "'DejaVu Sans Mono', Menlo, Consolas, monospace"


class Until:
    """A stream that stands still after `at` seconds of sound, as long as it takes to draw it."""

    def __init__(self, stream: Updates, at: float) -> None:
        self.stream, self.at, self.info = stream, at, stream.info
        self.reached, self.drawn = asyncio.Event(), asyncio.Event()
        self.loop = asyncio.get_running_loop()

    def __iter__(self) -> Iterator[Update]:
        try:
            for update in self.stream:
                yield update
                if update.time >= self.at:
                    break
        finally:
            self.loop.call_soon_threadsafe(self.reached.set)
        asyncio.run_coroutine_threadsafe(self.drawn.wait(), self.loop).result()

    def close(self) -> None:
        self.drawn.set()
        self.stream.close()


async def picture(stream: Updates, at: float, size: tuple[int, int], theme: str) -> str:
    """The screen as SVG once `at` seconds of the stream have been heard."""
    until = Until(stream, at)
    app = InstrecApp(until, theme=theme, glyphs=UNICODE)
    async with app.run_test(size=size) as pilot:
        await until.reached.wait()
        await pilot.pause(0.3)
        svg = app.export_screenshot(simplify=True)
    if app.error is not None:
        raise app.error
    return standalone(svg)


def standalone(svg: str) -> str:
    """The SVG without the web font that Rich links to: pages that show pictures do not load it."""
    svg = re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL)
    return re.sub(r"font-family: [^;]*Fira Code[^;]*;", f"font-family: {FONTS};", svg)


def main() -> None:
    """Make the picture."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--at", type=float, default=28.0, help="second of the clip (default: 28)")
    parser.add_argument("--size", default="80x24", help="columns x lines (default: 80x24)")
    parser.add_argument("--theme", default="dark")
    parser.add_argument("--file", type=Path, default=DEMO, help="another sound than the demo clip")
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("screen.svg"))
    options = parser.parse_args()
    columns, lines = map(int, options.size.split("x"))
    with Stream(file=options.file) as stream:
        svg = asyncio.run(picture(stream, options.at, (columns, lines), options.theme))
    options.output.write_text(svg, encoding="utf-8")
    print(options.output)


if __name__ == "__main__":
    main()
