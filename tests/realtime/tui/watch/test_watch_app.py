"""The screen of many sources: what its keys do, pressed by a pilot, once with a real hub and once in a terminal."""

import asyncio
import time

import pytest
import soundfile
from fake_hub import FakeHub, summary
from fake_stream import FakeTransport, info, update
from fakes import ArraySource, FakeTagger, music
from screen import lines
from tiny_bundle import write_tiny

from instrec_live.models.errors import AudioDeviceError, InputFileError, UsageError
from instrec_live.realtime.audio.devices import InputDevice
from instrec_live.realtime.stream.hub import Hub
from instrec_live.realtime.stream.update import State
from instrec_live.realtime.tui import state as screen_state
from instrec_live.realtime.tui.drawing import ASCII, UNICODE
from instrec_live.realtime.tui.help import Help
from instrec_live.realtime.tui.watch.app import WatchApp, run

THREE = ("news", "jazz", "talk")
GONE = InputFileError("talk.wav does not exist", "check the path")


def named(number):
    return [f"channel {n + 1}" for n in range(number)]


def play(body, names=THREE, said=None, size=(80, 24), hub=None, glyphs=UNICODE, **options):
    """Run `body(app, pilot, hub)` against the list; by default every source has said one thing."""

    async def go():
        what = [(name, update(60)) for name in names] if said is None else said
        given = hub or FakeHub(list(names), what)
        app = WatchApp(given, glyphs=glyphs, **options)
        async with app.run_test(size=size, notifications=True) as pilot:
            if hub is None:
                await until(app, pilot, lambda: given.waiting.empty() and not app.waiting)
            await body(app, pilot, given)
        return app

    return asyncio.run(go())


async def until(app, pilot, ready, seconds=60.0):
    """Wait until `ready()` holds and is drawn."""
    for _ in range(round(seconds / 0.02)):
        await pilot.pause(0.02)
        if ready() and not app.drawing and not app.notified:
            break
    assert ready()
    await pilot.pause()


async def say(app, pilot, hub, name, said):
    before = app.sources[name]
    hub.say(name, said)
    await until(app, pilot, lambda: app.sources[name] is not before)


async def press(pilot, *keys):
    await pilot.press(*keys)
    await pilot.pause()


def row_of(app, name):
    return next(line for line in lines(app)[2:] if line[2:].startswith(name))


def notices(app):
    return [note.message for note in app._notifications]


def test_the_list_is_two_lines_titles_a_row_each_and_keys():
    async def body(app, pilot, hub):
        shown = lines(app)
        assert len(shown) == 24
        assert all(len(line) == 80 for line in shown)
        assert "● 3 sources" in shown[0]
        assert shown[0].rstrip().endswith("worst age 0.3s")
        assert shown[1].strip() == "3 well"
        assert shown[2].split() == ["source", "state", "level", "sounds", "now", "skip", "age"]
        assert shown[3].startswith("▌ news   OK ")
        assert "drums 1.0  piano 1.0  voice .87 +2" in shown[4]
        assert "q quit  ? help  enter open" in shown[23]

    play(body)


def test_a_failed_source_shows_why_and_the_others_continue():
    async def body(app, pilot, hub):
        await say(app, pilot, hub, "talk", GONE)
        await say(app, pilot, hub, "news", update(61, age_s=1.2))
        assert lines(app)[1].strip() == "2 well  1 failed"
        assert row_of(app, "talk").split() == ["talk", "FAILED", "talk.wav", "does", "not", "exist"]
        assert row_of(app, "news").rstrip().endswith("1.2s")
        await say(app, pilot, hub, "jazz", update(61, state=State.DEVICE_LOST, age_s=75.0, active=()))
        assert "DEVICE LOST no sound from the device" in row_of(app, "jazz")
        assert lines(app)[1].strip() == "1 well  1 lost  1 failed"
        assert lines(app)[0].rstrip().endswith("worst age 1.2s")  # not the lost one's
        await say(app, pilot, hub, "news", update(62, state=State.CATCHING_UP, skipped=12))
        assert row_of(app, "news").split()[-2] == "12"
        assert "1 late" in lines(app)[1]

    play(body)


def test_a_source_is_opened_and_left_again():
    async def body(app, pilot, hub):
        await press(pilot, "down", "enter")
        await until(app, pilot, lambda: "LIVE" in lines(app)[0])
        assert lines(app)[0].startswith(" jazz  ● LIVE  jazz.wav")
        assert "esc list" in lines(app)[23]
        await say(app, pilot, hub, "jazz", update(61))
        assert "00:00:31" in lines(app)[0]
        assert len(app.state.mel) == 50
        await say(app, pilot, hub, "news", update(70))
        assert "00:00:31" in lines(app)[0]
        await press(pilot, "escape")
        assert lines(app)[4].startswith("▌ jazz")
        assert app.sources["jazz"].state.update.time == update(61).time

    play(body)


def test_the_keys_act_on_the_source_that_is_open_and_on_no_other():
    async def body(app, pilot, hub):
        jazz, news = hub.streams["jazz"], hub.streams["news"]
        before = dict(jazz.info.thresholds)
        await press(pilot, "down", "enter", "down", "plus", "l", *"solo", "enter", "r")
        assert jazz.info.thresholds["accordion"] == pytest.approx(before["accordion"] + 0.05)
        assert news.info.thresholds == before
        assert [label for _, label in jazz.labels] == ["solo"]
        assert jazz.recording is not None
        assert (news.labels, news.recording) == ([], None)
        await press(pilot, "escape", "escape")
        assert [line[:7] for line in lines(app)[3:6]] == ["  news ", "▌●jazz ", "  talk "]

    play(body)


def test_thresholds_are_as_they_were_when_a_source_was_first_opened():
    async def body(app, pilot, hub):
        before = dict(hub.streams["news"].info.thresholds)
        await press(pilot, "enter", "plus", "escape", "enter", "plus")
        app.action_reset_thresholds()
        assert hub.streams["news"].info.thresholds == before

    play(body)


def test_escape_clears_the_selection_then_returns_to_the_list():
    async def body(app, pilot, hub):
        await press(pilot, "enter", "s", "2", "down", "escape")
        assert (app.opened, app.view.selected, app.view.solo) == ("news", None, "cbam_cnn")
        await press(pilot, "escape")
        assert (app.opened, app.view.solo) == ("news", None)
        await press(pilot, "escape")
        assert app.opened is None
        await press(pilot, "enter")
        assert "sort:score" in lines(app)[23]
        await press(pilot, "space", "escape", "enter")
        assert not app.view.frozen

    play(body)


def test_keys_of_a_stream_only_say_so_in_the_list():
    async def body(app, pilot, hub):
        await press(pilot, *"m1vrldp+-0", "left", "right", "less_than_sign")
        assert set(notices(app)) == {"this key is for one source: enter opens the selected one"}
        assert all(stream.recording is None and not stream.labels for stream in hub.streams.values())

    play(body)


def test_a_source_without_updates_is_not_opened_and_a_message_says_why():
    async def body(app, pilot, hub):
        assert "OPENING     no sound yet" in row_of(app, "talk")
        assert lines(app)[1].strip() == "2 well  1 opening"
        await press(pilot, "end", "enter")
        assert app.opened is None
        assert notices(app) == ["talk: no sound yet"]

    play(body, said=[("news", update(60)), ("jazz", update(60))])


def test_s_sorts_slash_filters_and_the_selection_is_kept():
    async def body(app, pilot, hub):
        await press(pilot, "end", "s")
        assert "sort:trouble" in lines(app)[23]
        assert [line[2:6] for line in lines(app)[3:6]] == ["jazz", "news", "talk"]
        assert lines(app)[5].startswith("▌ talk")
        await press(pilot, "s")
        assert "sort:loudness" in lines(app)[23]
        assert [line[2:6] for line in lines(app)[3:6]] == ["talk", "jazz", "news"]
        await press(pilot, "s", "slash", *"ne", "enter")
        assert lines(app)[3].startswith("▌ news")
        assert lines(app)[4].strip() == ""
        assert "1 shown (ne)" in lines(app)[1]
        await press(pilot, "escape")
        assert "shown" not in lines(app)[1]
        assert lines(app)[3].startswith("▌ news")

    lost = update(60, state=State.DEVICE_LOST, level_db=-50.0)
    play(body, said=[("news", update(60, level_db=-50.0)), ("jazz", lost), ("talk", update(60, level_db=-9.0))])


def test_sixty_sources_scroll():
    async def body(app, pilot, hub):
        assert "● 60 sources" in lines(app)[0]
        await press(pilot, "pagedown")
        assert app.listing.view.selected == "channel 7"
        await press(pilot, "end")
        assert any("channel 60" in line for line in lines(app)) or "channel…" in lines(app)[8]
        assert app.listing.rows.scroll_offset.y == 60 - app.listing.rows.size.height
        await press(pilot, "home", "pageup", "k")
        assert app.listing.view.selected == "channel 1"
        assert app.listing.rows.scroll_offset.y == 0

    play(body, names=named(60), size=(40, 10))


def test_a_click_selects_and_another_opens():
    async def body(app, pilot, hub):
        await pilot.click(app.listing.rows, offset=(5, 2))
        await pilot.pause()
        assert (app.listing.view.selected, app.opened) == ("talk", None)
        await pilot.click(app.listing.rows, offset=(5, 9))
        assert app.listing.view.selected == "talk"
        await pilot.click(app.listing.rows, offset=(5, 2))
        await pilot.pause()
        assert app.opened == "talk"

    play(body)


def test_space_freezes_the_list_and_not_the_sources():
    async def body(app, pilot, hub):
        await press(pilot, "space")
        before = lines(app)
        assert before[1].rstrip().endswith("FROZEN")
        await say(app, pilot, hub, "jazz", update(90, age_s=2.2))
        assert lines(app) == before
        await press(pilot, "down")
        assert lines(app)[4].startswith("▌ jazz")
        assert lines(app)[4][2:] == before[4][2:]
        await press(pilot, "space")
        assert row_of(app, "jazz").rstrip().endswith("2.2s")

    play(body)


def test_only_rows_that_changed_are_drawn_again():
    async def body(app, pilot, hub):
        before = list(app.listing.rows.strips)
        await say(app, pilot, hub, "jazz", update(61))
        after = app.listing.rows.strips
        assert [now is then for now, then in zip(after, before, strict=True)] == [True, False, True]

    play(body)


def test_missing_updates_are_detected_without_events(monkeypatch):
    monkeypatch.setattr(screen_state, "PATIENCE", 0.0)

    async def body(app, pilot, hub):
        await until(app, pilot, lambda: lines(app)[1].strip() == "3 late")
        assert "NO UPDATE" in row_of(app, "news")
        await press(pilot, "enter")
        await until(app, pilot, lambda: "NO UPDATE" in lines(app)[1])

    hub = FakeHub(list(THREE), [(name, update(60)) for name in THREE], facts=info(hop=0.1))
    play(body, hub=hub)


def test_the_list_stays_when_all_is_over_and_nothing_is_done_to_what_is_over():
    async def body(app, pilot, hub):
        hub.streams["news"].transport = FakeTransport()
        await press(pilot, "enter")
        await say(app, pilot, hub, "news", summary(48.0, piano=12.0))
        assert lines(app)[1].rstrip().endswith("ENDED")
        assert not {"pause", "seek"} & set(lines(app)[-1].split())
        await press(pilot, "r", "l", "home", "p")
        assert hub.streams["news"].recording is None
        assert not hub.streams["news"].transport.paused
        assert set(notices(app)) == {"this source has ended"}
        await press(pilot, "escape")
        await say(app, pilot, hub, "jazz", summary(48.0))
        await say(app, pilot, hub, "talk", GONE)
        assert app.is_running
        assert lines(app)[1].split() == ["1", "failed", "2", "ended", "ALL", "ENDED"]
        assert "ENDED       until 00:00:48: piano 12.0 s" in row_of(app, "news")
        assert "no instrument recognised" in row_of(app, "jazz")
        await press(pilot, "q")

    assert play(body).return_code in (0, None)


def test_an_error_of_the_source_that_is_open_is_shown_there():
    async def body(app, pilot, hub):
        await press(pilot, "end", "enter")
        await say(app, pilot, hub, "talk", AudioDeviceError("the microphone is gone", "plug it in"))
        assert lines(app)[1].rstrip().endswith("ENDED")
        assert notices(app) == ["the microphone is gone — plug it in"]

    play(body)


def test_a_failed_output_is_reported_with_the_sources_name():
    async def body(app, pilot, hub):
        hub.streams["jazz"].news = ["disk full"]
        await say(app, pilot, hub, "jazz", update(61))
        await pilot.pause()
        assert notices(app) == ["jazz: disk full"]

    play(body)


def test_another_microphone_for_one_source():
    async def body(app, pilot, hub):
        await press(pilot, "enter", "d")
        await until(app, pilot, lambda: app.screen.query("OptionList").first().option_count == 1)
        await press(pilot, "enter")
        await until(app, pilot, lambda: hub.streams["news"].info.source == "[7] Scarlett")
        assert hub.streams["jazz"].info.source == "jazz.wav"

    play(body, look=lambda: [InputDevice(2, "Scarlett", 2, 48_000, False, "ALSA")])


def test_help_of_the_list_and_of_a_source():
    async def body(app, pilot, hub):
        await press(pilot, "question_mark")
        assert isinstance(app.screen, Help)
        assert any("How to read the list" in line for line in lines(app))
        await press(pilot, "escape", "enter", "question_mark")
        assert any("back to the list" in line for line in lines(app))

    play(body, size=(80, 60))


def test_the_palette_offers_what_is_possible_there():
    async def body(app, pilot, hub):
        titles = {command.title for command in app.get_system_commands(app.screen)}
        assert {"Filter the sources", "Sort", "Quit"} <= titles
        assert "Label" not in titles
        await press(pilot, "enter")
        titles = {command.title for command in app.get_system_commands(app.screen)}
        assert {"List", "Label", "Record or stop"} <= titles

    play(body)


def test_an_ascii_list_is_ascii():
    async def body(app, pilot, hub):
        for keys in ((), ("question_mark",)):
            await press(pilot, *keys)
            assert all(line.isascii() for line in lines(app))

    play(body, names=named(60), glyphs=ASCII)


def test_a_storm_of_sizes():
    sizes = [(40, 10), (300, 80), (80, 24), (1, 1), (41, 9), (120, 40), (79, 23), (20, 3), (200, 15), (32, 7)]

    async def body(app, pilot, hub):
        for number, size in enumerate(sizes):
            await pilot.resize_terminal(*size)
            await say(app, pilot, hub, "jazz", update(61 + number))
            shown = lines(app)
            assert len(shown) == size[1]
            assert all(len(line) == size[0] for line in shown)
            small = size[0] < 32 or size[1] < 7
            assert shown[0].startswith(("too small", "needs"[: size[0]])) == small
            assert small or any("jazz" in line for line in shown)

    play(body)


def test_ctrl_c_and_a_defect_of_the_hub():
    async def body(app, pilot, hub):
        await press(pilot, "ctrl+c")

    assert play(body).return_code == 130

    async def broken(app, pilot, hub):
        for _ in range(100):
            await pilot.pause(0.02)
            if app.error:
                break

    trouble = RuntimeError("broken")
    app = play(broken, hub=FakeHub(["a"], error=trouble))
    assert app.error is trouble
    assert app.return_code == 1


def test_an_unknown_theme_is_a_usage_error():
    with pytest.raises(UsageError, match="there is no theme 'plaid'"):
        run(FakeHub(["a"]), theme="plaid")


class FakeHubTagger(FakeTagger):
    """What a hub needs beside."""

    def prepare(self, wanted):
        for inference, windows in wanted:
            inference.prepare(windows)


class EndlessSource(ArraySource):
    """A live source that repeats its sound, faster than time but never all at once, until it is closed."""

    def read(self):
        time.sleep(0.01)
        if not self.closed and self._at >= len(self._samples):
            self._at = 0
        return super().read()


def test_a_real_hub():
    dies = AudioDeviceError("unplugged", "plug it in")
    arrays = {
        "long": EndlessSource(music(6.0), live=True),
        "short": ArraySource(music(1.5, seed=1)),
        "dies": ArraySource(music(9.0, seed=2), error=dies, error_at=16_000),
    }
    hub = Hub({name: {"source": each} for name, each in arrays.items()}, hop=0.5, tagger=FakeHubTagger(), keep_mel=True)

    async def body(app, pilot, hub):
        await until(app, pilot, lambda: app.sources["short"].end and app.sources["dies"].end)
        assert "unplugged" in row_of(app, "dies")
        assert "ENDED" in row_of(app, "short")
        await until(app, pilot, lambda: app.sources["long"].update is not None)
        await press(pilot, "home", "enter")
        await until(app, pilot, lambda: len(app.state.mel) > 0 or app.state.ended)
        assert lines(app)[0].startswith(" long")

    play(body, hub=hub)
    assert all(each.closed for each in arrays.values())


def test_the_command_in_a_terminal(tmp_path):
    pytest.importorskip("pty", reason="pseudo terminals are POSIX's")
    from pseudo_terminal import in_terminal

    write_tiny(tmp_path / "one", "one")
    soundfile.write(tmp_path / "good.wav", music(6), 32_000)
    arguments = ["-m", "instrec_live.realtime", "watch", "a=good.wav", "b=gone.wav", "--models", "./one"]
    arguments += ["--output", "all.jsonl"]
    code, shown = in_terminal(arguments, lambda process, write: write(b"q"), ready=b"WARMING", cwd=tmp_path)
    assert code == 4
    after = shown.rsplit("\x1b[?1049l", 1)[1].strip()
    assert after.endswith("instrec-live: b: gone.wav does not exist — check the path")
    assert after.count("instrec-live: ") == 1
    records = (tmp_path / "all.jsonl").read_text().splitlines()
    assert sum('"type": "update", "channel": "a"' in line for line in records) > 0
    assert '"type": "summary", "channel": "a"' in records[-1]


def test_a_source_through_stdin_leaves_the_keyboard_to_the_screen(tmp_path):
    pytest.importorskip("pty", reason="pseudo terminals are POSIX's")
    import subprocess

    from pseudo_terminal import in_terminal

    write_tiny(tmp_path / "one", "one")
    soundfile.write(tmp_path / "good.wav", music(6), 32_000)
    sound = subprocess.Popen(["cat", "good.wav", "-"], cwd=tmp_path, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    arguments = ["-m", "instrec_live.realtime", "watch", "a=-", "b=good.wav", "--models", "./one"]
    try:
        act = lambda process, write: write(b"q")  # noqa: E731
        code, shown = in_terminal(arguments, act, ready=b"WARMING", stdin=sound.stdout, cwd=tmp_path)
    finally:
        sound.kill()
        sound.wait()
    assert code == 0
    assert "\x1b[?1049h" in shown
