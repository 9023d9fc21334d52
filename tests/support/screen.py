"""Drives the screen of one stream with Textual's pilot."""

import asyncio

from fake_stream import FakeStream, info, update

from instrec_live.realtime.tui.app import InstrecApp
from instrec_live.realtime.tui.drawing import UNICODE
from instrec_live.realtime.tui.messages import NewUpdate


def lines(app):
    """What stands on the screen, as text."""
    return ["".join(segment.text for segment in strip) for strip in app.screen._compositor.render_strips()]


def play(body, updates=None, size=(80, 24), **options):
    """Run `body(app, pilot, stream)` against the screen of a stream that holds after its updates."""

    async def go():
        stream = FakeStream(updates or [update(60)], options.pop("facts", None) or info(hop=3600.0), hold=True)
        app = InstrecApp(stream, glyphs=options.pop("glyphs", UNICODE), **options)
        async with app.run_test(size=size) as pilot:
            await settled(app, pilot, lambda: app.state.update is not None)
            await body(app, pilot, stream)
        assert stream.closed.is_set()
        return app

    return asyncio.run(go())


async def settled(app, pilot, ready):
    """Wait until `ready()` holds and is drawn."""
    for _ in range(100):
        await pilot.pause(0.02)
        if ready() and not app.drawing:
            break
    assert ready()
    await pilot.pause()


async def send_update(app, pilot, new):
    app.post_message(NewUpdate(new))
    await settled(app, pilot, lambda: app.state.update is new)
