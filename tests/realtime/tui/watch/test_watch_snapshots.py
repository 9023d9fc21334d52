"""The list of sources as a picture, compared with one that was reviewed."""

import math

import pytest
from fake_hub import FakeHub, summary
from fake_stream import update
from test_watch_app import until

from instrec_live.models.errors import InputFileError
from instrec_live.realtime.stream.update import State
from instrec_live.realtime.tui.drawing import ASCII, PLAIN, UNICODE
from instrec_live.realtime.tui.watch.app import WatchApp

pytest.importorskip("pytest_textual_snapshot")

SAID = {
    "news": [update(82)],
    "jazz": [update(60)],
    "hall, left": [update(12)],
    "hall, right": [update(30, state=State.CATCHING_UP, skipped=44, age_s=2.4)],
    "cellar": [update(20, state=State.QUIET, active=(), level_db=-64.0, peak_db=-58.0)],
    "studio": [update(20, state=State.DEVICE_LOST, active=(), level_db=-120.0, age_s=312.0)],
    "door": [update(52, gap=True, peak_db=0.0, level_db=-3.0)],
    "balcony": [update(50, no_signal=True, active=(), level_db=-120.0)],
    "concert.wav": [update(60), summary(70.5, piano=62.5, voice=31.0, bass=20.0)],
    "Mittelwelle 1107 kHz, aus dem Archiv": [InputFileError("tape.wav is not a sound file that can be read")],
    "later": [],
}


def screen(glyphs=UNICODE, theme="dark", more=0):
    said = [(name, each) for name, every in SAID.items() for each in every]
    said += [(f"channel {n}", update(40 + n)) for n in range(more)]
    return WatchApp(FakeHub([*SAID, *(f"channel {n}" for n in range(more))], said), theme, glyphs)


async def arrived(pilot):
    app = pilot.app
    await until(app, pilot, lambda: app.hub.waiting.empty() and not app.waiting)


async def opened(pilot):
    """The second source, all bars at rest."""
    await arrived(pilot)
    await pilot.press("down", "enter")
    app = pilot.app
    await until(app, pilot, lambda: app.state is not None and not app.drawing and math.isinf(app.since))
    await pilot.pause()


@pytest.mark.parametrize("size", [(80, 24), (120, 40), (40, 10)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_list(snap_compare, size):
    assert snap_compare(screen(more=40), terminal_size=size, run_before=arrived)


def test_light_sorted_by_trouble(snap_compare):
    assert snap_compare(screen(theme="light"), press=["s", "down"], run_before=arrived)


def test_ascii(snap_compare):
    assert snap_compare(screen(glyphs=ASCII, more=40), run_before=arrived)


def test_no_colours_frozen(snap_compare):
    assert snap_compare(screen(glyphs=PLAIN), press=["space"], run_before=arrived)


def test_help(snap_compare):
    assert snap_compare(screen(), press=["question_mark"], terminal_size=(80, 32), run_before=arrived)


def test_a_source_that_is_open(snap_compare):
    assert snap_compare(screen(), run_before=opened)
