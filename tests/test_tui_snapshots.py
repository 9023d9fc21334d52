"""The screen as a picture, compared with one that somebody looked at: `pytest --snapshot-update` after a change."""

import pytest
from fake_stream import FakeStream, info, update

from instrec_live.realtime.tui.app import InstrecApp
from instrec_live.realtime.tui.glyphs import ASCII, UNICODE
from instrec_live.realtime.update import State

pytest.importorskip("pytest_textual_snapshot")


def screen(count=82, theme="dark", glyphs=UNICODE, **changes):
    """The app at its `count`-th update. All but the last are given beforehand: the queue keeps only the latest."""
    last = update(count - 1, **changes)
    # So long a hop that no update is ever late.
    app = InstrecApp(FakeStream([last], info(hop=3600.0), hold=True), theme=theme, glyphs=glyphs)
    for number in range(count - 1):
        app.picture = app.picture.after(update(number))
    app.last = last
    return app


async def arrived(pilot):
    for _ in range(100):
        await pilot.pause(0.02)
        if pilot.app.picture.update is pilot.app.last and not pilot.app.drawing:
            break
    await pilot.pause()


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (40, 10)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_screen(snap_compare, size):
    assert snap_compare(screen(), terminal_size=size, run_before=arrived)


def test_light(snap_compare):
    assert snap_compare(screen(theme="light"), run_before=arrived)


def test_ascii(snap_compare):
    assert snap_compare(screen(glyphs=ASCII), run_before=arrived)


def test_trouble(snap_compare):
    app = screen(100, state=State.CATCHING_UP, skipped=44, xruns=2, peak_db=0.0, level_db=-4.0)
    assert snap_compare(app, run_before=arrived)


def test_selected_and_frozen(snap_compare):
    assert snap_compare(screen(), press=["down", "down", "down", "space"], run_before=arrived)


def test_help(snap_compare):
    assert snap_compare(screen(), press=["question_mark"], run_before=arrived)
