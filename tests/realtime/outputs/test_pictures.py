"""Pictures of a run: its history, the timeline as PNG and SVG, the page."""

import io
import os
import re
import signal
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile
from fakes import music
from full_disk import full_disk
from hypothesis import given
from hypothesis import strategies as st
from played import a_head, an_update, play, session_of, written
from tiny_bundle import write_tiny

from instrec_live.models.instruments import DISPLAY_NAMES, INSTRUMENTS
from instrec_live.realtime.outputs import HtmlReport, SummaryBuilder, TimelineImage
from instrec_live.realtime.outputs.files import write_whole
from instrec_live.realtime.outputs.history import CELLS, MOST_EVENTS, History
from instrec_live.realtime.outputs.sink import day_of
from instrec_live.realtime.outputs.timeline import draw, moment, runs, spells
from instrec_live.realtime.stream.update import State

PIANO, VOICE = INSTRUMENTS.index("piano"), INSTRUMENTS.index("voice")
CONCERT = [
    an_update(0.5 * i, *(["piano"] if 20 < i < 60 else []), p=0.9 if 20 < i < 60 else 0.1) for i in range(1, 121)
]
NASTY = "$\\frac{1}$ <b>&amp;</b> _x^ \N{MUSICAL SYMBOL G CLEF} 琴"


def test_a_short_run_is_kept_as_it_was() -> None:
    history = History(0.5)
    for update in (an_update(10.5, "piano", p=0.75), an_update(11.0, p=0.25)):
        history.write(update)
    history.label(11.0, "end")
    history.finish()
    assert (history.origin, history.cell, history.end, history.heard) == (10.0, 0.5, 11.0, 1.0)
    np.testing.assert_allclose(history.probabilities[:, VOICE], [0.75, 0.25], atol=1 / 508)
    assert history.active[:, PIANO].tolist() == [True, False]
    assert history.entries[PIANO] == history.entries.sum() == 1
    assert history.highest[VOICE] == np.float32(0.75)
    assert [(s.name, s.onset, s.offset) for s in history.segments] == [("piano", 10.5, 11.0)]
    assert history.labels == [(11.0, "end")]


def test_a_device_that_is_lost_is_not_analysed_but_ends_what_sounded() -> None:
    history = History(0.5)
    history.write(an_update(10.5, "piano", p=0.75))
    for _ in range(3):
        history.write(an_update(10.5, p=0.0, state=State.DEVICE_LOST))
    assert (history.end, history.heard, len(history.probabilities)) == (10.5, 0.5, 1)
    assert [(s.name, s.onset, s.offset) for s in history.segments] == [("piano", 10.5, 10.5)]
    history.write(an_update(70.5, "piano", p=0.75, jumped=True))
    assert np.isnan(history.probabilities[1:-1]).all()


def test_eight_hours_take_no_more_room_than_one() -> None:
    history = History(0.5)
    size = history._shades.nbytes + history._active.nbytes
    hours = 8
    for i in range(1, hours * 7200 + 1):
        history.write(an_update(0.5 * i, *(["piano"] if i % 4 == 0 else []), p=0.9 if i == 40_000 else 0.1))
    assert history._shades.nbytes + history._active.nbytes == size < 200_000
    assert len(history.segments) == MOST_EVENTS < history.entries[PIANO] == hours * 1800 - 1
    assert history.cell == 8.0  # 0.5 doubled until 28800 s are at most 4096 cells
    assert history.end >= hours * 3600
    assert len(history.probabilities) <= CELLS
    (loud,) = np.flatnonzero(history.probabilities[:, VOICE] > 0.5)
    assert loud == int(19_999.5 // 8)
    assert history.heard == hours * 3600


@given(st.lists(st.tuples(st.integers(1, 200_000), st.booleans()), min_size=1, max_size=60))
def test_wherever_one_seeks_what_came_before_is_there_and_nothing_else(visits: list[tuple[int, bool]]) -> None:
    history, heard = History(0.1), []
    for tenths, loud in visits:
        history.write(an_update(tenths / 10, *(["voice"] if loud else []), p=0.9 if loud else 0.2, jumped=True))
        heard.append((tenths / 10 - 0.05, loud))
    assert history.heard == pytest.approx(0.1 * len(visits))
    probabilities, cells = history.probabilities[:, VOICE], {}
    for middle, loud in heard:
        cell = int((middle - history.origin) // history.cell)
        cells[cell] = cells.get(cell, False) or loud
    for cell, loud in cells.items():
        assert probabilities[cell] == pytest.approx(0.9 if loud else 0.2, abs=0.01)
        assert history.active[cell, VOICE] == loud
    assert np.isfinite(probabilities).sum() == len(cells)


def a_history() -> tuple[History, SummaryBuilder]:
    history, tally = History(0.5), SummaryBuilder(0.5)
    for update in CONCERT:
        history.write(update)
        tally.note(update)
    history.label(15.0, NASTY)
    history.finish()
    return history, tally


def test_the_bars_say_what_the_labels_say() -> None:
    history = History(0.5)
    for number in range(1, 9):
        history.write(an_update(0.5 * number, *(["piano"] if 3 <= number < 6 else [])))
    history.finish()
    assert spells(history) == [(INSTRUMENTS.index("piano"), 1.5, 3.0)]


def test_of_very_many_the_bars_are_those_of_the_grid() -> None:
    history = History(0.5)
    for number in range(1, 2 * MOST_EVENTS + 10):
        history.write(an_update(0.5 * number, *(["piano"] if number % 2 else [])))
    history.finish()
    assert {row for row, _, _ in spells(history)} == {INSTRUMENTS.index("piano")}


def test_the_day_of_a_run_is_for_people() -> None:
    assert day_of({"created": "2026-11-24T21:13:50+01:00"}) == "2026-11-24 20:13 UTC"
    assert day_of({"created": "once"}) == "once"
    assert day_of({}) == ""


def png(content: bytes) -> np.ndarray:
    """Pixels [height, width, channels] of an 8-bit PNG that is not interlaced, checksums checked."""
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    at, data = 8, b""
    while at < len(content):
        (length,) = struct.unpack(">I", content[at : at + 4])
        kind, body = content[at + 4 : at + 8], content[at + 8 : at + 8 + length]
        assert struct.unpack(">I", content[at + 8 + length : at + 12 + length])[0] == zlib.crc32(kind + body)
        if kind == b"IHDR":
            width, height, depth, colour, *_, interlaced = struct.unpack(">IIBBBBB", body)
            assert (depth, interlaced) == (8, 0)
        data += body if kind == b"IDAT" else b""
        at += 12 + length
    channels = {2: 3, 6: 4}[colour]
    lines = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, 1 + width * channels)
    assert lines.shape == (height, 1 + width * channels)
    from matplotlib import image

    return image.imread(io.BytesIO(content))


def test_the_png_is_a_picture_of_the_run() -> None:
    history, tally = a_history()
    pixels = png(draw(history, a_head(), tally.summary("end"), "png"))
    height, width = pixels.shape[:2]
    assert 1500 < width < 2000
    assert 700 < height < 900
    blue = (pixels[..., 2] > pixels[..., 0] + 0.3).mean(axis=0)  # how much of each column is dark blue
    quiet, sounds = blue[int(width * 0.15) : int(width * 0.2)], blue[int(width * 0.35) : int(width * 0.45)]
    assert quiet.max() < 0.1 < sounds.min()


def test_the_svg_has_the_names_and_the_label_as_they_are() -> None:
    (history, tally), head = a_history(), a_head()
    first, again = (draw(history, head, tally.summary("end"), "svg") for _ in range(2))
    assert first == again
    words = [" ".join("".join(each.itertext()).split()) for each in ElementTree.fromstring(first).iter() if each.text]
    for name in INSTRUMENTS:
        assert DISPLAY_NAMES[name] in words
    assert NASTY in words
    assert any("piano 19.5 s" in line for line in words)


@pytest.mark.parametrize("suffix", [".png", ".svg", ".html"])
def test_a_run_of_nothing_is_drawn_too(tmp_path: Path, suffix: str) -> None:
    kind = HtmlReport if suffix == ".html" else TimelineImage
    written(kind(tmp_path / f"x{suffix}", a_head(), False))
    assert (tmp_path / f"x{suffix}").stat().st_size > 1000


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("where", [0.0, 30.0, 3600.0])
def test_a_label_where_nothing_was_heard_is_in_the_picture(where: float) -> None:
    history, summary = History(0.5), SummaryBuilder(0.5)
    for number in range(1, 10):
        history.write(an_update(1000 + 0.5 * number, "piano"))
    history.label(where, "sought to, and paused")
    picture = draw(history, a_head(), summary.summary("end"), "svg").decode()  # matplotlib warns if there is no room
    assert "sought to, and paused" in picture


def test_the_page_is_whole_and_needs_nothing_else(tmp_path: Path) -> None:
    head = a_head() | {"source": '<script>alert("x")</script>.wav'}
    written(HtmlReport(tmp_path / "x.html", head, False), *CONCERT, labels={15.0: NASTY})
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    page = ElementTree.fromstring(text)  # every tag closed, every sign escaped
    tags = [each.tag.rpartition("}")[2] for each in page.iter()]
    assert "script" not in tags
    assert "svg" in tags
    for each in page.iter():
        for name, value in each.attrib.items():
            assert not (name.rpartition("}")[2] in ("src", "href") and not value.startswith(("#", "data:"))), value
    assert page.findtext("body/h1") == head["source"]
    totals, events, parameters = page.findall("body/table")
    rows = [["".join(cell.itertext()) for cell in row] for row in totals.iter("tr")]
    assert rows[0] == ["instrument", "seconds", "share", "entries", "highest probability"]
    assert rows[1] == ["piano", "19.5", "32 %", "1", "0.90"]
    assert len(rows) == 21
    listed = [["".join(cell.itertext()) for cell in row] for row in events.iter("tr")]
    assert listed[1:] == [
        ["00:10.5", "00:30.0", "19.5", "piano", "0.90"],
        ["00:15.0", "00:15.0", "0.0", f"“{NASTY}”", ""],
    ]
    assert {"thresholds", "models", "smoothing"} <= {row[0].text for row in parameters.iter("tr")}


def test_long_tables_say_what_they_leave_out(tmp_path: Path) -> None:
    updates = [an_update(0.5 * i, *(["piano"] if i % 2 else [])) for i in range(1, 2 * MOST_EVENTS + 21)]
    written(HtmlReport(tmp_path / "x.html", a_head(), False), *updates)
    text = (tmp_path / "x.html").read_text(encoding="utf-8")
    assert f"The first {MOST_EVENTS} of them; 10 more are in the data." in text


def test_a_report_of_a_part_of_a_file_says_how_much_was_heard(tmp_path: Path) -> None:
    updates = [an_update(40 + 0.5 * i) for i in range(1, 11)]
    written(HtmlReport(tmp_path / "x.html", a_head(), False), *updates)
    assert "; 00:05.0 of sound, " in (tmp_path / "x.html").read_text(encoding="utf-8")


def test_nothing_is_there_before_the_end_and_all_of_it_after(tmp_path: Path) -> None:
    path = tmp_path / "x.svg"
    sink = TimelineImage(path, a_head(), False)
    sink.write(CONCERT[0])
    assert list(tmp_path.iterdir()) == []
    sink.close(SummaryBuilder(0.5).summary("stopped"))
    assert [each.name for each in tmp_path.iterdir()] == ["x.svg"]


def test_a_file_that_came_meanwhile_is_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    session = session_of(*CONCERT[:3])
    session.add("x.svg", TimelineImage(tmp_path / "x.svg", a_head(), False))
    (tmp_path / "x.svg").write_text("precious")
    play(session)
    assert session.failed
    assert "File exists" in caplog.text
    assert (tmp_path / "x.svg").read_text() == "precious"


def test_a_write_that_fails_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "x.svg").write_text("old")
    with full_disk(), pytest.raises(OSError, match="File too large"):
        write_whole(tmp_path / "x.svg", b"new" * 4096, force=True)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("x.svg", "old")]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_device_is_one_output_less(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "full.png").symlink_to("/dev/full")
    session = session_of(*CONCERT[:3])
    session.add("full.png", TimelineImage(tmp_path / "full.png", a_head(), True))
    session.add("fine.svg", TimelineImage(tmp_path / "fine.svg", a_head(), True))
    play(session)
    assert session.failed
    assert "cannot write full.png (No space left on device)" in caplog.text
    assert (tmp_path / "fine.svg").exists()
    assert (tmp_path / "full.png").is_symlink()


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_ctrl_c_draws_them_all(tmp_path: Path) -> None:
    write_tiny(tmp_path / "one", "one")
    soundfile.write(tmp_path / "good.wav", music(20.0), 32_000)
    outputs = [word for suffix in ("png", "svg", "html") for word in ("-o", f"x.{suffix}")]
    run = [sys.executable, "-m", "instrec_live.realtime", "--models", "./one", "--file", "good.wav", "--json", "-q"]
    process = subprocess.Popen(
        [*run, *outputs], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    for _ in range(3):
        process.stdout.readline()
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert (process.returncode, stderr) == (130, "")
    png((tmp_path / "x.png").read_bytes())
    ElementTree.fromstring((tmp_path / "x.svg").read_bytes())
    assert "stopped by the user" in (tmp_path / "x.html").read_text()
    again = subprocess.run(
        [*run, "-o", "x.png"], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert (again.returncode, again.stdout) == (2, "")
    assert "x.png exists already" in again.stderr


def test_matplotlib_is_loaded_only_by_what_draws() -> None:
    code = (
        "import sys\nfrom instrec_live.realtime.outputs.session import Session\nimport instrec_live.realtime.outputs\n"
        "sys.exit('matplotlib' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_times_and_runs() -> None:
    assert [moment(s) for s in (0, 90, 3723)] == ["0:00", "1:30", "1:02:03"]
    assert moment(90.5, tenths=True) == "1:30.5"
    assert runs(np.array([True, True, False, True])) == [(0, 2), (3, 4)]
    assert runs(np.zeros(3, np.bool_)) == []
    assert re.fullmatch(r"\d+:\d\d", moment(61))


def test_with_its_sound_the_page_plays_a_segment(tmp_path: Path) -> None:
    written(HtmlReport(tmp_path / "x.html", a_head() | {"sound": "a%20b.wav"}, False), *CONCERT)
    page = ElementTree.fromstring((tmp_path / "x.html").read_text(encoding="utf-8"))
    (audio,) = page.iter("audio")
    assert audio.attrib["src"] == "a%20b.wav"
    buttons = list(page.iter("button"))
    assert [(each.attrib["data-from"], each.attrib["data-to"]) for each in buttons] == [("10.500", "30.000")]
    assert buttons[0].attrib["aria-label"] == "piano, 00:10.5 to 00:30.0, probability 0.90"
