"""docs/session.svg, the moving picture of the README, shows the program's results at that second of the demo."""

import re
from xml.etree import ElementTree

import pytest
from docs_pages import CHECKOUT
from inputs import DEMO

from instrec_live import Stream
from instrec_live.models.instruments import DISPLAY_NAMES
from instrec_live.realtime.stream.activity import Activity
from instrec_live.realtime.tui.drawing import UNICODE, probability
from instrec_live.realtime.tui.help import entries
from instrec_live.realtime.tui.state import PlaybackState, ScreenState, View

SVG = "{http://www.w3.org/2000/svg}"
SIGNS = {"▸": Activity.ON, "▹": Activity.HELD, "◃": Activity.LEAVING, " ": Activity.OFF}
ROW = re.compile(r"^ *([▸▹◃]?) *([a-z ]+?) +((?:\.\d\d|1\.0))")


def drawn() -> dict[float, list[str]]:
    """The lines of each frame by its time."""
    root = ElementTree.fromstring((CHECKOUT / "docs" / "session.svg").read_text(encoding="utf-8"))
    lines = {
        each.get("id"): " ".join(text.text or "" for text in each.iter(f"{SVG}text")) for each in root.iter(f"{SVG}g")
    }
    return {
        float(frame.get("data-time", "")): [lines[use.get("href", "#")[1:]] for use in frame.iter(f"{SVG}use")]
        for frame in root.iter(f"{SVG}g")
        if frame.get("data-time")
    }


def rows_of(lines: list[str]) -> dict[str, tuple[Activity, str]]:
    """Sign and number of each row."""
    found = (ROW.match(line) for line in lines[3:])
    return {each[2]: (SIGNS[each[1] or " "], each[3]) for each in found if each}


def test_every_frame_is_true() -> None:
    frames = drawn()
    assert len(frames) > 20
    picture: ScreenState | None = None
    with Stream(file=DEMO, pace="max", lookahead=None) as stream:
        for update in stream:
            picture = (picture or ScreenState(stream.info)).after(update)
            if update.time not in frames:
                continue
            shown = rows_of(frames.pop(update.time))
            said = {shown_as: picture.decision(name) for name, shown_as in DISPLAY_NAMES.items()}
            assert {name: sign for name, (sign, _) in shown.items()} == {
                name: each.activity for name, each in said.items()
            }, f"at {update.time:g} s; run: python docs/session.py"
            for name, (_, number) in shown.items():
                assert float(number) == pytest.approx(float(probability(said[name].probability)), abs=0.02)
    assert not frames


def test_the_clock_and_the_keys_are_those_of_a_file() -> None:
    keys = " ".join(f"{key} {what}" for key, what, _ in entries(View(), PlaybackState(playable=True), False, UNICODE))
    for time, lines in drawn().items():
        assert lines[0].split()[:4] == ["instrec-live", UNICODE.play, "FILE", "demo.ogg"]
        assert f"00:{time:02.0f}/01:12" in lines[0] or f"01:{time - 60:02.0f}/01:12" in lines[0]
        bar = lines[-1].split("also:")[0]  # on its right: likely instruments that are none of the 20
        assert keys.startswith(" ".join(bar.split()))


def test_something_happens_in_it() -> None:
    shown = [rows_of(lines) for lines in drawn().values()]
    assert all(len(rows) == 20 for rows in shown)
    on = {name for rows in shown for name, (activity, _) in rows.items() if activity is Activity.ON}
    assert len(on) >= 5
