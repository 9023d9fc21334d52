"""The program in the terminal, played on by a pilot, and once in a real (pseudo) terminal."""

import asyncio
import signal
from dataclasses import replace
from types import SimpleNamespace

import pytest
from fake_stream import FakeStream, info, update
from pseudo_terminal import in_terminal
from screen import lines, play, send_update, settled
from textual.geometry import Region

from instrec_live.models.errors import AudioDeviceError, UsageError
from instrec_live.realtime.tui import base_app
from instrec_live.realtime.tui import state as screen_state
from instrec_live.realtime.tui.app import InstrecApp, run
from instrec_live.realtime.tui.drawing import ASCII, PLAIN, UNICODE, for_terminal
from instrec_live.realtime.tui.help import SIGN, Help
from instrec_live.realtime.tui.messages import NewUpdate, StreamEnded


def test_the_screen_is_header_status_heading_twenty_rows_and_keys():
    async def body(app, pilot, stream):
        shown = lines(app)
        assert len(shown) == 24
        assert all(len(line) == 80 for line in shown)
        assert "instrec-live" in shown[0]
        assert "LIVE" in shown[0]
        assert "Scarlett" in shown[0]
        assert shown[1].rstrip().endswith("OK")
        assert shown[3].startswith("   accordion ")
        assert shown[22].startswith(" ▸ voice ")
        assert "q quit" in shown[23]

    play(body)


def test_an_active_row_is_marked_without_colour():
    async def body(app, pilot, stream):
        strips = {strip.text[3:12].strip(): strip for strip in app.stream_view.rows.strips}
        for name in ("piano", "flute"):
            sounds = name in app.state.active
            style = next(segment.style for segment in strips[name] if name in segment.text)
            assert bool(style.bold) == sounds
            assert ("▸" in strips[name].text) == sounds
        assert {"piano"} <= app.state.active
        assert "flute" not in app.state.active

    play(body)


def test_space_freezes_the_picture_and_not_the_stream():
    async def body(app, pilot, stream):
        await pilot.press("space")
        before = lines(app)
        assert before[1].rstrip().endswith("FROZEN")
        await send_update(app, pilot, update(90))
        assert lines(app)[:23] == before[:23]
        assert app.state.update.time == update(90).time
        await pilot.press("space")
        await settled(app, pilot, lambda: "00:00:45" in lines(app)[0])
        assert lines(app)[1].rstrip().endswith("OK")

    play(body)


def test_s_sorts_by_score_then_by_entry_then_as_it_was():
    async def body(app, pilot, stream):
        names = []
        for _ in range(3):
            await pilot.press("s")
            await pilot.pause()
            names.append((lines(app)[3].split()[1], lines(app)[23].split("sort:")[1].split()[0]))
        assert names[0] in {("piano", "score"), ("drums", "score")}
        assert [mode for _, mode in names] == ["score", "recent", "fixed"]
        assert lines(app)[3].startswith("   accordion")

    play(body)


def test_a_network_without_finite_output_is_marked():
    without = update(60)
    heard = {model: p for model, p in without.by_model.items() if model != "cbam_cnn"}

    async def body(app, pilot, stream):
        await send_update(app, pilot, update(61, by_model=heard))
        piano = next(line for line in lines(app) if "piano" in line)
        assert "●–●" in piano
        await pilot.press("up")
        await pilot.pause()
        assert "cbam_cnn –" in lines(app)[2]

    play(body)


def test_dots_go_by_each_networks_own_threshold():
    strict = {"passt": 0.5, "cbam_cnn": 0.999, "ms_crnn": 0.5}
    own = {model: {**info().model_thresholds[model], "piano": level} for model, level in strict.items()}

    async def body(app, pilot, stream):
        piano = next(line for line in lines(app) if "piano" in line)
        assert "●○●" in piano

    play(body, facts=info(hop=3600.0, model_thresholds=own))


def test_arrows_select_a_row_and_show_its_numbers():
    async def body(app, pilot, stream):
        await pilot.press("down", "j", "up")
        await pilot.pause()
        assert app.view.selected == "accordion"
        assert lines(app)[2].split()[:2] == ["accordion", "off"]
        assert "passt" in lines(app)[2]
        assert lines(app)[3].startswith(UNICODE.cursor)
        await pilot.press("escape")
        await pilot.pause()
        assert "last minute" in lines(app)[2]

    play(body)


def test_a_click_selects_the_row_under_it():
    async def body(app, pilot, stream):
        await pilot.click(app.stream_view.rows, offset=(10, 5))
        await pilot.pause()
        assert app.view.selected == "cymbals"

    play(body)


def test_question_mark_opens_the_help_and_closes_it():
    async def body(app, pilot, stream):
        await pilot.press("question_mark")
        await pilot.pause()
        assert isinstance(app.screen, Help)
        assert any("How to read the screen" in line for line in lines(app))
        await pilot.press("question_mark")
        await pilot.pause()
        assert not isinstance(app.screen, Help)

    play(body)


def test_0_lets_the_peaks_down():
    async def body(app, pilot, stream):
        await send_update(app, pilot, update(62, probabilities=update(0).probabilities))
        assert (app.state.peaks[0] > app.state.probabilities).any()
        await pilot.press("0")
        assert (app.state.peaks[0] == app.state.probabilities).all()

    play(body)


def test_t_goes_from_dark_to_light_and_back():
    async def body(app, pilot, stream):
        dark = app.stream_view.rows.rich_style.bgcolor
        await pilot.press("t")
        await pilot.pause()
        assert app.theme == "light"
        assert app.stream_view.rows.rich_style.bgcolor != dark
        await pilot.press("t")
        assert app.theme == "dark"

    play(body)


@pytest.mark.parametrize(("key", "code"), [("q", 0), ("ctrl+q", 0), ("ctrl+c", 130)])
def test_keys_that_quit(key, code):
    async def body(app, pilot, stream):
        await pilot.press(key)

    assert play(body).return_code == code


def test_missing_updates_are_shown(monkeypatch):
    monkeypatch.setattr(screen_state, "PATIENCE", 0.0)

    async def body(app, pilot, stream):
        await asyncio.sleep(0.05)
        app.look_late()
        await pilot.pause()
        assert "NO UPDATE" in lines(app)[1]

    play(body, facts=info(hop=0.01))


def test_the_last_picture_stays_when_a_file_ends():
    async def body(app, pilot, stream):
        app.post_message(StreamEnded())
        await settled(app, pilot, lambda: "ENDED" in lines(app)[1])
        assert any("piano" in line for line in lines(app))

    play(body)


def test_it_leaves_at_the_end_where_that_is_wanted():
    async def go():
        app = InstrecApp(FakeStream([update(0)]), exit_at_end=True)
        async with app.run_test() as pilot:
            for _ in range(100):
                await pilot.pause(0.02)
                if not app.is_running:
                    break
        assert app.return_code == 0
        assert app.state.ended

    asyncio.run(go())


def test_an_error_of_the_stream_ends_the_app_and_is_kept():
    async def go():
        trouble = AudioDeviceError("the microphone is gone", "plug it in")
        app = InstrecApp(FakeStream([update(0)], error=trouble))
        async with app.run_test() as pilot:
            for _ in range(100):
                await pilot.pause(0.02)
                if app.error:
                    break
        assert app.error is trouble
        assert app.return_code == 3

    asyncio.run(go())


def test_an_unknown_theme_is_a_usage_error():
    with pytest.raises(UsageError, match=r"there is no theme 'plaid' — .*dark.*light"):
        run(FakeStream([]), theme="plaid")


def test_the_palette_offers_what_the_help_page_does_not():
    async def body(app, pilot, stream):
        titles = {command.title for command in app.get_system_commands(app.screen)}
        assert {"Theme", "Quit"} <= titles
        assert "Keys" not in titles

    play(body)


def test_updates_that_arrive_together_are_all_shown():
    async def body(app, pilot, stream):
        back = replace(update(10), jumped=True)
        for each in (update(61), back, update(11), update(12)):
            app.post_message(NewUpdate(each))
        await settled(app, pilot, lambda: app.state.update.time == update(12).time)
        assert app.state.times.tolist() == [update(number).time for number in (10, 11, 12)]
        assert len(app.state.mel) == 3 * 50

    play(body)


def test_a_picture_is_saved_in_the_present_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    async def body(app, pilot, stream):
        await pilot.press("i", "i")  # in one second
        pictures = sorted(path.name for path in tmp_path.iterdir())
        assert len(pictures) == 2
        assert {each.message for each in app._notifications} == {f"picture: {name}" for name in pictures}
        drawn = (tmp_path / pictures[0]).read_text(encoding="utf-8")
        assert "accordion" in drawn
        assert "url(" not in drawn.replace("url(#", "")  # nothing of another site's

    play(body)


def test_a_picture_that_cannot_be_saved_says_why(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")

    async def body(app, pilot, stream):
        (tmp_path / "gone").rmdir()
        await pilot.press("i")
        assert next(iter(app._notifications)).message.startswith("cannot write instrec-")

    play(body)


def test_where_there_is_no_hangup_the_screen_is_drawn_all_the_same(monkeypatch):
    monkeypatch.setattr(base_app, "sys", SimpleNamespace(platform="win32"))
    monkeypatch.setattr(InstrecApp, "is_headless", False)
    monkeypatch.delattr(signal, "SIGHUP")

    async def body(app, pilot, stream):
        assert "accordion" in lines(app)[3]

    play(body)


def test_help_that_breaks_lines_keeps_its_columns():
    async def body(app, pilot, stream):
        await pilot.press("question_mark")
        await pilot.pause()
        page = app.screen.query_one("#page").render_lines(Region(0, 0, 40, 200))
        shown = ["".join(segment.text for segment in strip).rstrip() for strip in page]
        start = shown.index("A row") + 1
        assert shown[start].startswith(f"  {UNICODE.active}".ljust(SIGN) + "sounds now")
        assert shown[start + 1].startswith(" " * SIGN + "has reached")

    play(body, size=(40, 10))


@pytest.mark.parametrize("size", [(40, 10), (80, 24)])
def test_help_pages_through_all_its_lines(size):
    async def body(app, pilot, stream):
        await pilot.press("question_mark")
        await pilot.pause()
        page = app.screen.query_one("#page")
        whole = ["".join(each.text for each in strip).strip() for strip in page.render_lines(page.size.region)]
        seen = ""
        while "space: more" in (shown := "\n".join(lines(app))):
            assert "esc closes" in shown
            seen += shown
            await pilot.press("space")
            await pilot.pause()
        assert "b: back  esc closes" in shown
        assert [line for line in whole if line not in seen + shown] == []
        await pilot.press("home")
        await pilot.pause()
        assert "Keys" in lines(app)[1]

    play(body, size=size)


def test_a_storm_of_sizes():
    sizes = [(40, 10), (300, 80), (80, 24), (1, 1), (41, 9), (120, 40), (79, 23), (20, 3), (200, 15), (36, 60)]

    async def body(app, pilot, stream):
        await pilot.press("down", "s")
        for number, size in enumerate(sizes * 2):
            await pilot.resize_terminal(*size)
            app.post_message(NewUpdate(update(61 + number)))
            await pilot.press("down")
            await pilot.pause()
            shown = lines(app)
            assert len(shown) == size[1]
            assert all(len(line) == size[0] for line in shown)

    play(body)


@pytest.mark.parametrize("size", [(31, 24), (80, 6), (20, 5), (5, 2)])
def test_a_terminal_that_is_too_small_shows_a_message_and_recovers(size):
    async def body(app, pilot, stream):
        await pilot.resize_terminal(*size)
        await pilot.pause()
        words = "too small: 32 x 7 at least" if size[0] > 25 else "needs 32 x 7"
        assert words[: size[0]] in lines(app)[0]
        await send_update(app, pilot, update(61))
        await pilot.resize_terminal(32, 7)
        await pilot.pause()
        assert "bass" in "".join(lines(app))
        assert "too small" not in "".join(lines(app))

    play(body)


def test_a_small_screen_scrolls_to_the_selected_row():
    async def body(app, pilot, stream):
        assert not any("ukulele" in line for line in lines(app))
        await pilot.press("k")
        await pilot.pause()
        assert any("ukulele" in line for line in lines(app))

    play(body, size=(40, 10))


def test_an_ascii_screen_is_ascii():
    async def body(app, pilot, stream):
        assert all(line.isascii() for line in lines(app))
        await pilot.press("question_mark")
        await pilot.pause()
        assert all(line.isascii() for line in lines(app))

    play(body, glyphs=ASCII)


def test_no_color_means_none(monkeypatch):
    monkeypatch.setenv("NO_COLOR", "1")

    async def body(app, pilot, stream):
        for strip in app.screen._compositor.render_strips():
            for line_filter in app.get_line_filters():
                strip = strip.apply_filter(line_filter, app.screen.background_colors[1])
            for segment in strip:
                assert segment.style.color is None or segment.style.color.is_default
                assert segment.style.bgcolor is None or segment.style.bgcolor.is_default

    play(body, glyphs=PLAIN)


@pytest.mark.parametrize(
    ("encoding", "environment", "glyphs"),
    [
        ("UTF-8", {}, UNICODE),
        ("utf-8", {"NO_COLOR": "1"}, PLAIN),
        ("ANSI_X3.4-1968", {}, ASCII),
        ("UTF-8", {"TERM": "linux"}, ASCII),
    ],
)
def test_signs_that_the_terminal_can_show(monkeypatch, encoding, environment, glyphs):
    monkeypatch.setattr("locale.getencoding", lambda: encoding)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert for_terminal() is glyphs


@pytest.mark.parametrize("theme", ["dark", "light", "nord", "ansi-dark"])
def test_themes_draw(theme):
    async def body(app, pilot, stream):
        assert "accordion" in lines(app)[3]

    play(body, theme=theme)


SCRIPT = """
import sys
from fake_stream import FakeStream, update
from instrec_live.models.errors import AudioDeviceError, InstrecError
from instrec_live.realtime.tui import run
error = AudioDeviceError("the microphone is gone", "plug it in") if "fail" in sys.argv else None
if "crash" in sys.argv:
    from instrec_live.realtime.tui.rows import Rows
    Rows.show = lambda self, *_: 1 / 0
try:
    sys.exit(run(FakeStream([update(60)], error=error, hold=error is None and "crash" not in sys.argv)))
except InstrecError as trouble:
    print("ended:", trouble)
    sys.exit(trouble.exit_code)
"""


@pytest.mark.parametrize(
    ("act", "arguments", "code", "said"),
    [
        (lambda process, write: write(b"q"), (), 0, ""),
        (lambda process, write: process.send_signal(signal.SIGTERM), (), 143, ""),
        (lambda process, write: process.send_signal(signal.SIGQUIT), (), 131, ""),
        (lambda process, write: process.send_signal(signal.SIGUSR1), (), 128 + 10, ""),
        (lambda process, write: None, ("fail",), 3, "ended: the microphone is gone — plug it in"),
        (lambda process, write: None, ("crash",), 1, "ended: the screen failed: ZeroDivisionError"),
    ],
    ids=["q", "SIGTERM", "SIGQUIT", "SIGUSR1", "stream error", "defect"],
)
def test_a_real_terminal_is_given_back(act, arguments, code, said):
    ended, output = in_terminal(["-c", SCRIPT, *arguments], act)
    assert ended == code
    assert "\x1b[?1049h" in output
    after = output.rsplit("\x1b[?1049l", 1)[1]  # what stands on the terminal when the screen has gone
    assert said in after
    assert "Traceback" not in output
