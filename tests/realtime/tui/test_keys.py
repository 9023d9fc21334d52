"""What each key does: pressed by a pilot, and looked for on the screen and in the stream."""

import asyncio
from pathlib import Path

import pytest
from fake_stream import FakeStream, FakeTransport, info, update
from screen import lines, send_update, settled
from textual.events import Key

from instrec_live.models.errors import AudioDeviceError, UsageError
from instrec_live.models.instruments import DISPLAY_NAMES, INSTRUMENTS
from instrec_live.realtime.audio.devices import InputDevice
from instrec_live.realtime.stream.update import State
from instrec_live.realtime.tui.app import InstrecApp
from instrec_live.realtime.tui.device_picker import DevicePicker
from instrec_live.realtime.tui.drawing import UNICODE
from instrec_live.realtime.tui.state import Minute, Sorting

MICROPHONES = [
    InputDevice(0, "Built-in", 2, 44_100, True, "ALSA"),
    InputDevice(2, "Scarlett 2i2", 2, 48_000, False, "ALSA"),
]


class Told(InstrecApp):
    """Remembers its notices."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.said = []

    def notify(self, message, **options):
        self.said.append(message)
        super().notify(message, **options)


def play(body, size=(80, 24), file=False, refusal=None, **options):
    """Run `body(app, pilot, stream)` against a microphone's screen, or that of a file that is played."""

    async def go():
        facts = {"live": False, "source": "concert.wav", "duration": 70.0} if file else {}
        stream = FakeStream([update(60)], info(hop=3600.0, **facts), hold=True)
        stream.transport, stream.refusal = FakeTransport() if file else None, refusal
        app = Told(stream, glyphs=UNICODE, **options)
        async with app.run_test(size=size, notifications=True) as pilot:
            await settled(app, pilot, lambda: app.state.update is not None)
            await body(app, pilot, stream)

    asyncio.run(go())


def row_of(app, name):
    return next(line for line in lines(app)[3:] if line[3:].startswith(name))


def said(app):
    """The notices so far, also those that are gone from the screen."""
    return app.said


def test_plus_and_minus_move_the_selected_threshold_and_the_mark():
    async def body(app, pilot, stream):
        before = stream.info.thresholds["accordion"]
        mark = row_of(app, "accordion").index("┊")
        await pilot.press("down", *["plus"] * 4)
        await pilot.pause()
        assert stream.info.thresholds["accordion"] == pytest.approx(before + 0.2)
        assert stream.info.thresholds["banjo"] == info().thresholds["banjo"]
        assert row_of(app, "accordion").index("┊") > mark
        assert "threshold .60" in lines(app)[2]
        await pilot.press(*["minus"] * 30)
        assert stream.info.thresholds["accordion"] == pytest.approx(0.05)

    play(body)


def test_plus_moves_all_where_no_row_is_selected_and_the_palette_undoes_it():
    async def body(app, pilot, stream):
        await pilot.press("plus")
        moved = stream.info.thresholds
        assert all(moved[name] == pytest.approx(info().thresholds[name] + 0.05) for name in INSTRUMENTS)
        app.action_reset_thresholds()
        assert stream.info.thresholds == info().thresholds

    play(body)


@pytest.mark.parametrize(("threshold", "key"), [(0.97, "plus"), (0.02, "minus")])
def test_a_threshold_beyond_the_keys_range_does_not_turn_back(threshold, key):
    async def body(app, pilot, stream):
        stream.set_thresholds({"accordion": threshold})
        await pilot.press("down", key)
        assert stream.info.thresholds["accordion"] == threshold
        await pilot.press("minus" if key == "plus" else "plus")
        assert stream.info.thresholds["accordion"] == pytest.approx(threshold + (-0.05 if key == "plus" else 0.05))

    play(body)


def test_m_opens_a_bar_for_every_network_below_the_selected_row():
    async def body(app, pilot, stream):
        await pilot.press("down", "m")
        await pilot.pause()
        names = [line[3:].split()[0] for line in lines(app)[3:8]]
        assert names == ["accordion", "passt", "cbam_cnn", "ms_crnn", "banjo"]
        await pilot.press("m")
        await pilot.pause()
        assert "passt" not in lines(app)[4]

    play(body)


def test_m_without_a_selection_opens_what_sounds_most_surely():
    async def body(app, pilot, stream):
        await pilot.press("m")
        await pilot.pause()
        assert app.view.selected == INSTRUMENTS[int(update(60).probabilities.argmax())]

    play(body)


def test_m_opens_bars_whenever_there_are_none_to_be_seen():
    async def body(app, pilot, stream):
        await pilot.press("m", "escape", "m")  # with the row its bars went too
        await pilot.pause()
        assert sum("passt" in line for line in lines(app)[3:]) == 1
        await pilot.press("slash", *"bass", "enter", "m")  # the row is hidden
        await pilot.pause()
        assert app.view.selected == "bass"
        assert "passt" in lines(app)[4]

    play(body)


def test_one_network_alone_has_neither_an_onset_nor_the_threshold_of_all():
    async def body(app, pilot, stream):
        app.action_select("piano")
        await pilot.pause()
        assert " since 00:" in "".join(lines(app))
        await pilot.press("3")
        await pilot.pause()
        assert " since " not in "".join(lines(app))
        await pilot.press("plus")
        assert said(app)[-1] == "changed for all networks together; ms_crnn alone keeps its own"

    play(body, size=(140, 30))


def test_a_digit_shows_one_network_alone_and_again_all():
    async def body(app, pilot, stream):
        together = row_of(app, "piano")
        await pilot.press("3")
        await pilot.pause()
        assert "ms_crnn alone" in lines(app)[0]
        quieter = update(60).by_model["ms_crnn"][INSTRUMENTS.index("piano")]
        assert f"{quieter:.2f}"[1:] in row_of(app, "piano")
        assert said(app)[-1] == "ms_crnn alone; press 3 or esc for all networks"
        await pilot.press("9")
        await pilot.pause()
        assert said(app)[-1] == "there is no network 9: 3 networks, passt, cbam_cnn, ms_crnn"
        assert "ms_crnn alone" in lines(app)[0]
        await pilot.press("3")
        await pilot.pause()
        assert row_of(app, "piano") == together

    play(body)


def test_v_shows_the_last_minute_the_other_way():
    async def body(app, pilot, stream):
        line = row_of(app, "voice")
        assert line[-2] in UNICODE.spark[1:-1]
        await pilot.press("v")
        await pilot.pause()
        assert app.view.minute is Minute.HEAT
        assert row_of(app, "voice")[-2] == "█"  # over its threshold
        await pilot.press("v")
        await pilot.pause()
        assert row_of(app, "voice") == line

    play(body)


def test_slash_filters_while_it_is_typed_enter_keeps_it_and_esc_shows_all():
    async def body(app, pilot, stream):
        await pilot.press("slash", *"bass v")
        await pilot.pause()
        assert app.stream_view.rows.order == ("bass", "violin", "voice")
        await pilot.press("enter")
        await pilot.pause()
        assert app.stream_view.rows.order == ("bass", "violin", "voice")
        await pilot.press("down", "down")
        assert app.view.selected == "violin"
        await pilot.press("escape", "escape")
        await pilot.pause()
        assert app.stream_view.rows.order == INSTRUMENTS

    play(body)


def test_a_filter_that_is_given_up_or_fits_nothing_hides_nothing():
    async def body(app, pilot, stream):
        await pilot.press("slash", *"xyzzy")
        await pilot.pause()
        assert app.stream_view.rows.order == INSTRUMENTS
        await pilot.press("escape", "slash", *"harp", "escape")
        await pilot.pause()
        assert app.stream_view.rows.order == INSTRUMENTS
        assert not app.stream_view.prompt.display

    play(body)


def test_l_writes_a_label_at_the_moment_of_asking():
    async def body(app, pilot, stream):
        await pilot.press("l")
        await send_update(app, pilot, update(70))
        await pilot.press(*"solo", "enter")
        await pilot.pause()
        assert stream.labels == [(update(60).time, "solo")]
        assert any("◆ solo" in line for line in lines(app))
        await pilot.press("l", "escape")
        assert len(stream.labels) == 1
        await pilot.press("l", "enter")
        assert stream.labels[1] == (update(70).time, "label at 35.5 s")

    play(body, size=(80, 40))


def test_r_records_and_shows_a_message():
    async def body(app, pilot, stream):
        await pilot.press("r")
        await pilot.pause()
        assert stream.recording == Path("take.wav")
        assert "● REC" in lines(app)[0]
        assert said(app) == ["recording: take.wav"]
        await pilot.press("r")
        await pilot.pause()
        assert "REC" not in lines(app)[0]

    play(body)


def test_a_recording_that_cannot_be_made_is_a_notice():
    async def body(app, pilot, stream):
        await pilot.press("r")
        await pilot.pause()
        assert said(app) == ["cannot write take.wav: permission denied"]
        assert "REC" not in lines(app)[0]

    play(body, refusal=UsageError("cannot write take.wav: permission denied"))


def test_what_the_stream_has_to_say_is_a_notice():
    async def body(app, pilot, stream):
        stream.news.append("cannot write out.csv: No space left on device")
        await send_update(app, pilot, update(61))
        await pilot.pause()
        assert said(app) == ["cannot write out.csv: No space left on device"]

    play(body)


async def listed(app, pilot):
    picker = app.screen
    for _ in range(100):
        await pilot.pause(0.02)
        if picker.devices is not None:
            return
    raise AssertionError("no list of devices came")


def test_d_lists_the_microphones_and_switches_to_another():
    async def body(app, pilot, stream):
        await pilot.press("d")
        await listed(app, pilot)
        shown = "\n".join(lines(app))
        assert "▸ Scarlett 2i2   2 ch, 48000 Hz, ALSA" in shown  # what it listens to now
        await pilot.press("up", "enter")
        for _ in range(100):
            await pilot.pause(0.02)
            if "Built-in" in stream.info.source:
                break
        await send_update(app, pilot, update(61, jumped=True))
        assert "Built-in" in lines(app)[0]

    play(body, look=lambda: MICROPHONES)


def test_the_list_of_microphones_follows_what_is_plugged_in(monkeypatch):
    monkeypatch.setattr("instrec_live.realtime.tui.device_picker.LOOK_AGAIN", 0.05)
    found = MICROPHONES[:1]

    async def body(app, pilot, stream):
        await pilot.press("d")
        await listed(app, pilot)
        assert "Scarlett 2i2   2 ch" not in "\n".join(lines(app))
        found.append(MICROPHONES[1])
        for _ in range(100):
            await pilot.pause(0.02)
            if "Scarlett 2i2   2 ch" in "\n".join(lines(app)):
                break
        else:
            raise AssertionError("the new microphone is not on the list")
        await pilot.press("escape")
        assert not isinstance(app.screen, DevicePicker)

    play(body, look=lambda: list(found))


def test_a_microphone_that_cannot_be_opened_is_a_notice_and_the_old_one_stays():
    async def body(app, pilot, stream):
        await pilot.press("d")
        await listed(app, pilot)
        await pilot.press("enter")
        for _ in range(100):
            await pilot.pause(0.02)
            if said(app):
                break
        assert said(app) == ["it is held by another program"]
        assert "Scarlett" in lines(app)[0]

    play(body, look=lambda: MICROPHONES, refusal=AudioDeviceError("it is held by another program"))


def test_the_list_of_microphones_shows_a_missing_portaudio():
    def look():
        raise AudioDeviceError("PortAudio is not installed")

    async def body(app, pilot, stream):
        await pilot.press("d")
        await listed(app, pilot)
        await pilot.pause()
        assert "PortAudio is not installed" in "\n".join(lines(app))

    play(body, look=look)


def test_names_and_troubles_are_read_as_they_are():
    found = iter([[InputDevice(0, "USB [/b] Audio", 2, 48_000, True, "ALSA")], None])

    def look():
        if (devices := next(found, None)) is None:
            raise AudioDeviceError("the devices cannot be listed: Internal [PaErrorCode -9986] [/")
        return devices

    async def body(app, pilot, stream):
        await pilot.press("d")
        await listed(app, pilot)
        await pilot.pause()
        assert "USB [/b] Audio   2 ch" in "\n".join(lines(app))
        app.screen.refresh_list()
        await settled(app, pilot, lambda: "[PaErrorCode -9986] [/" in "\n".join(lines(app)))

    play(body, look=look)


def test_a_notice_leaves_the_prompt_free():
    async def body(app, pilot, stream):
        app.notify("the source is a file, not a microphone", markup=False, timeout=300)
        await pilot.press("l", *"second song")
        await pilot.pause()
        shown = lines(app)
        assert shown[-2].strip().rstrip("▌") == "second song"
        assert any("not a microphone" in line for line in shown[-4:-2])

    play(body)


def test_a_file_is_paused_sought_in_and_sped_up():
    async def body(app, pilot, stream):
        playback = stream.transport
        await pilot.press("p")
        await pilot.pause()
        assert playback.paused
        assert "PAUSED" in lines(app)[0]
        assert lines(app)[1].rstrip().endswith("PAUSED")
        await pilot.press("p", "right")
        assert not playback.paused
        assert playback.position == 30.0
        await pilot.press("left", "left", "left", "left")
        assert playback.position == 0.0
        await pilot.press("full_stop")
        await pilot.pause()
        assert playback.speed == 1.5
        assert "1.5x" in lines(app)[0]
        await pilot.press(*["comma"] * 9)
        assert playback.speed == 0.25
        await pilot.press("shift+right")
        assert playback.position == 60.0
        await pilot.press("home")
        assert playback.position == 0.0

    play(body, file=True)


def test_a_click_on_the_line_seeks():
    async def body(app, pilot, stream):
        await pilot.click(app.stream_view.seekbar, offset=(40, 0))
        await pilot.pause()
        assert stream.transport.position == pytest.approx(35, abs=1)

    play(body, size=(80, 30), file=True)


def test_a_microphone_cannot_be_paused_nor_a_file_exchanged_for_one():
    async def live(app, pilot, stream):
        await pilot.press("p")
        await pilot.pause()
        assert "only a file" in said(app)[0]

    async def file(app, pilot, stream):
        await pilot.press("d")
        await pilot.pause()
        assert "not a microphone" in said(app)[0]

    play(live)
    play(file, file=True)


def test_a_frozen_picture_can_still_be_looked_at():
    async def body(app, pilot, stream):
        await pilot.press("space")
        before = row_of(app, "piano")
        await send_update(app, pilot, update(90))
        await pilot.press("s", "down")
        await pilot.pause()
        assert lines(app)[1].rstrip().endswith("FROZEN")
        assert row_of(app, "piano")[3:] == before[3:]
        assert app.view.selected is not None

    play(body)


def test_keys_that_act_behind_a_frozen_picture_say_so():
    async def body(app, pilot, stream):
        await pilot.press("f", "plus")
        assert said(app)[-1] == "all thresholds moved; the screen is frozen"
        await pilot.press("greater_than_sign")
        assert said(app)[-1] == "speed 1.5; the screen is frozen"
        await pilot.press("home")
        assert said(app)[-1] == "at 00:00; the screen is frozen"
        await pilot.press("down", "minus")
        assert said(app)[-1].endswith("; the screen is frozen")
        assert ": threshold 0." in said(app)[-1]

    play(body, file=True)


def test_a_label_while_the_microphone_is_lost_has_the_time_of_its_key():
    async def body(app, pilot, stream):
        await send_update(app, pilot, update(90, time=8.0, state=State.DEVICE_LOST, age_s=2.5))
        await pilot.press("l", "x", "enter")
        assert 10.5 <= stream.labels[-1][0] < 70
        assert stream.labels[-1][1] == "x"

    play(body)


@pytest.mark.parametrize("size", [(40, 10), (80, 24), (120, 40), (300, 80)])
def test_every_key_on_every_size(size):
    keys = ["down", "m", "1", "v", "plus", "s", "slash", "a", "enter", "l", "x", "enter", "r", "0", "p", "right",
            "question_mark", "escape", "space", "t", "minus", "space", "escape", "escape", "escape"]  # fmt: skip

    async def body(app, pilot, stream):
        for key in keys:
            await pilot.press(key)
            await pilot.pause()
            assert all(len(line) == size[0] for line in lines(app))

    play(body, size=size, file=True)


def test_keys_that_need_sound_say_that_it_has_ended():
    async def body(app, pilot, stream):
        stream.closed.set()
        await settled(app, pilot, lambda: app.state.ended)
        for key in ("r", "l", "d"):
            await pilot.press(key)
            assert said(app)[-1] == "the sound has ended"
            app.said.clear()
        assert (stream.recording, app.stream_view.prompt.display, len(app.screen_stack)) == (None, False, 1)
        await pilot.press("e")
        assert said(app)[-1].startswith("events: ")

    play(body, look=lambda: MICROPHONES)


def test_space_pauses_a_file_plays_it_and_at_its_end_plays_it_again():
    async def body(app, pilot, stream):
        await pilot.press("space")
        assert stream.transport.paused
        await pilot.press("f")
        assert app.view.frozen
        await pilot.press("f", "space")
        assert not stream.transport.paused
        assert not app.view.frozen
        await send_update(app, pilot, update(61, state=State.ENDED))
        assert lines(app)[23].split()[4:8] == ["home", "play", "it", "again"]
        await pilot.press("r")
        assert said(app)[-1] == "the file has ended: nothing to record; home plays it again"
        assert stream.recording is None
        for key in ("space", "p"):
            stream.transport.position = 70.0
            await pilot.press(key)
            assert stream.transport.position == 0.0
            assert not stream.transport.paused

    play(body, file=True)


def test_a_key_without_effect_says_why():
    async def body(app, pilot, stream):
        for key, words in {
            "p": "only a file that is played can be paused, sought in or sped up",
            "w": "there is no settings file to save the thresholds in",
        }.items():
            await pilot.press(key)
            assert said(app)[-1] == words
        await pilot.press("down", *["plus"] * 20)
        assert said(app)[-1] == "this threshold is at the highest value that keys can set"
        await pilot.press("slash", *"horn", "enter")
        await pilot.pause()
        assert said(app)[-1] == (
            "no such instrument: horn; French horn is shown after “also:”, if likely; all rows are shown"
        )
        assert app.stream_view.rows.order == INSTRUMENTS

    play(body)


def test_a_label_of_a_paused_file_is_where_it_was_sought_to():
    async def body(app, pilot, stream):
        await pilot.press("space", "right", "l", "enter")
        await pilot.pause()
        assert stream.labels == [(30.0, "label at 30.0 s")]
        assert said(app)[-1] == "labelled at 00:30"
        assert app.state.events[0].start == 30.0

    play(body, file=True)


def test_seeking_and_speed_while_a_file_is_paused():
    async def body(app, pilot, stream):
        await pilot.press("space", "right")
        await pilot.pause()
        assert said(app)[-1] == "at 00:30; space resumes from here"
        assert app.state.update is None
        assert ".93" not in row_of(app, "piano")
        assert lines(app)[1].split()[:3] == ["in", UNICODE.gone, "dB"]  # nothing was heard there
        await pilot.press("greater_than_sign")
        await pilot.pause()
        assert said(app)[-1] == "speed 1.5 when playback resumes"
        assert "PAUSED 1.5x" in lines(app)[0]

    play(body, file=True)


class Kept:
    path = Path("settings.toml")

    def __init__(self):
        self.thresholds = {}

    def write(self, thresholds):
        self.thresholds = dict(thresholds)


def test_w_saves_changed_thresholds_after_asking():
    kept = Kept()

    async def body(app, pilot, stream):
        await pilot.press("w")
        assert said(app)[-1] == "no threshold has been changed; + and - change them"
        stream.set_thresholds({"accordion": 0.40003})
        app.first_thresholds = dict(stream.info.thresholds)
        await pilot.press("down", "plus", "minus", "w")
        assert said(app)[-1] == "no threshold has been changed; + and - change them"
        await pilot.press("plus", "w")
        assert app.stream_view.prompt.placeholder.strip() == (
            "enter saves accordion 0.45 in settings.toml; esc cancels"
        )
        await pilot.press("escape")
        assert kept.thresholds == {}
        await pilot.press("w", "enter")
        await pilot.pause()
        assert kept.thresholds == pytest.approx({"accordion": 0.45})
        assert said(app)[-1] == "saved in settings.toml"

    play(body, keep=kept)


def test_events_and_pictures_go_into_files():
    async def body(app, pilot, stream):
        await pilot.press("e")
        assert said(app)[-1] == "events: events.txt"
        stream.refusal = UsageError("cannot write events.txt: no space")
        await pilot.press("e")
        assert said(app)[-1] == "cannot write events.txt: no space"

    play(body)


def test_a_key_in_one_write_with_enter_is_for_the_screen():
    async def body(app, pilot, stream):
        await pilot.press("l", "a")
        for name in ("enter", "s"):
            app.post_message(Key(name, "\r" if name == "enter" else name))
        await pilot.pause()
        assert stream.labels == [(update(60).time, "a")]
        assert app.view.sorting is Sorting.SCORE

    play(body)


def test_a_small_screen_shows_active_instruments_first():
    async def body(app, pilot, stream):
        shown = lines(app)[2:9]
        sounding = [name for name in INSTRUMENTS if name in update(60).active]
        for name, line in zip(sounding, shown, strict=False):
            assert line[1:].startswith(f"▸ {DISPLAY_NAMES[name]}"[:8])
        await pilot.press(*["down"] * 20)
        await pilot.pause()
        assert lines(app)[9].rstrip().endswith("also: drums 1.0 piano 1.0 voice .87 bass .68")

    play(body, size=(60, 10))


def test_other_instruments_and_the_kind_of_sound_are_shown():
    async def body(app, pilot, stream):
        await send_update(app, pilot, update(61, kind="music", also={"harp": 0.62, "french_horn": 0.7}))
        assert lines(app)[23].rstrip().endswith("also: French horn .70 harp .62")
        assert lines(app)[1].split()[-2:] == ["music", "OK"]

    play(body, size=(120, 24))


def test_only_selected_instruments_have_rows():
    async def go():
        stream = FakeStream([update(60)], info(hop=3600.0, instruments=("piano", "voice")), hold=True)
        app = Told(stream, glyphs=UNICODE)
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            await settled(app, pilot, lambda: app.state.update is not None)
            assert app.stream_view.rows.order == ("piano", "voice")
            assert "2 of 20" in lines(app)[0]
            await pilot.press("slash", *"violin", "enter")
            await pilot.pause()
            assert app.said[-1] == "violin: not listened for (--only); all rows are shown"
            assert app.stream_view.rows.order == ("piano", "voice")

    asyncio.run(go())
