"""The screen as a picture, compared with one that was reviewed: `pytest --snapshot-update` after a change."""

import math

import pytest
from fake_stream import FakeStream, FakeTransport, info, update

from instrec_live.realtime.stream.update import State
from instrec_live.realtime.tui.app import InstrecApp
from instrec_live.realtime.tui.drawing import ASCII, PLAIN, UNICODE

pytest.importorskip("pytest_textual_snapshot")


def screen(count=82, theme="dark", glyphs=UNICODE, facts=None, transport=None, **changes):
    """The app at its `count`-th update. All but the last are given beforehand: the queue keeps only the latest."""
    last = update(count - 1, **changes)
    # So long a hop that no update is ever late.
    stream = FakeStream([last], facts or info(hop=3600.0), hold=True)
    stream.transport = transport
    app = InstrecApp(stream, theme=theme, glyphs=glyphs)
    for number in range(count - 1):
        app.state = app.state.after(update(number))
    app.last = last
    return app


async def arrived(pilot):
    for _ in range(100):
        await pilot.pause(0.02)
        app = pilot.app
        if app.state.update is app.last and not app.drawing and math.isinf(app.since):
            break
    await pilot.pause()


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (40, 10), (200, 60)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_screen(snap_compare, size):
    assert snap_compare(screen(), terminal_size=size, run_before=arrived)


def test_light(snap_compare):
    assert snap_compare(screen(theme="light"), run_before=arrived)


def test_ascii(snap_compare):
    assert snap_compare(screen(glyphs=ASCII), run_before=arrived)


def test_trouble(snap_compare):
    app = screen(100, state=State.CATCHING_UP, skipped=44, xruns=2, gap=True, peak_db=0.0, level_db=-4.0)
    assert snap_compare(app, run_before=arrived)


def test_selected_and_frozen(snap_compare):
    assert snap_compare(screen(), press=["down", "down", "down", "space"], run_before=arrived)


def test_help(snap_compare):
    assert snap_compare(screen(), press=["question_mark"], run_before=arrived)


def test_networks_and_a_label(snap_compare):
    keys = ["p", "i", "enter"]
    pressed = [*["down"] * 13, "m", "plus", "plus", "l", *keys]
    assert snap_compare(screen(), press=pressed, terminal_size=(120, 40), run_before=arrived)


def test_a_file_that_stands_still(snap_compare):
    transport = FakeTransport()
    transport.paused, transport.speed = True, 1.5
    facts = info(hop=3600.0, live=False, source="concert.wav", duration=70.0)
    app = screen(facts=facts, transport=transport, theme="light")
    assert snap_compare(app, terminal_size=(120, 30), run_before=arrived)


def test_no_colours(snap_compare):
    assert snap_compare(screen(glyphs=PLAIN), terminal_size=(120, 40), run_before=arrived)


def test_one_network_alone_filtered(snap_compare):
    assert snap_compare(screen(), press=["2", "slash", *"a", "enter"], run_before=arrived)
