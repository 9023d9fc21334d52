"""Base class of both apps: keys, themes and drawing; redraws at most ten times a second."""

import asyncio
import math
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path, PurePath
from typing import Any, ClassVar, Protocol

from textual import events, work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.command import CommandListItem, CommandPalette, SimpleProvider
from textual.css.query import NoMatches
from textual.errors import NoWidget
from textual.message import Message
from textual.screen import Screen
from textual.scrollbar import ScrollBar, ScrollBarRender
from textual.theme import BUILTIN_THEMES, Theme
from textual.widget import AwaitMount

from instrec_live.models.audioset import OTHER_NAMES
from instrec_live.models.errors import InstrecError, InternalError, UsageError, cannot_write
from instrec_live.models.instruments import DISPLAY_NAMES, nearest
from instrec_live.realtime.audio.devices import InputDevice, list_input_devices
from instrec_live.realtime.errors import printable
from instrec_live.realtime.outputs.files import named_by_clock, open_text
from instrec_live.realtime.stream.update import State, Transport
from instrec_live.realtime.terminal import (
    ENDING,
    ENDING_SIGNALS,
    drawing_apart,
    stop_waiting_for_readers,
    wait_for_end,
)
from instrec_live.realtime.tui import drawing as signs
from instrec_live.realtime.tui.device_picker import ClosesOnce, DevicePicker, Prompt
from instrec_live.realtime.tui.drawing import Glyphs, clock
from instrec_live.realtime.tui.help import Help, chapters
from instrec_live.realtime.tui.messages import Notice, RowChosen, SeekRequested, StreamEnded, Updates
from instrec_live.realtime.tui.rows import HEAT_FROM, columns
from instrec_live.realtime.tui.state import SETTLED, Minute, PlaybackState, ScreenState, Sorting, View, overdue
from instrec_live.realtime.tui.stream_view import StreamView, TooSmall

# The program's own two themes, dark and light. Textual's others work as well.

# accent: active; secondary: inactive; surface: an unlit bar; panel: the outer lines.
DARK = Theme(
    name="dark",
    primary="#7fb7be",
    secondary="#5b7089",
    accent="#f2b457",
    success="#8fbf7f",
    warning="#f2b457",
    error="#f0746a",
    foreground="#d9d5cc",
    background="#16181c",
    surface="#24272c",
    panel="#1d2024",
    dark=True,
    variables={"foreground-muted": "#8b8f96", "foreground-disabled": "#565d68", "primary-muted": "#2a333d"},
)

LIGHT = Theme(
    name="light",
    primary="#1f6f78",
    secondary="#8ba1b8",
    accent="#a84c06",
    success="#3f7d33",
    warning="#a85b00",
    error="#b3261e",
    foreground="#24262a",
    background="#fbf9f4",
    surface="#e8e6e2",
    panel="#efeeec",
    dark=False,
    variables={"foreground-muted": "#6a6c70", "foreground-disabled": "#a5a59f", "primary-muted": "#dfe6e6"},
)


def known_theme(name: str) -> str:
    """The name, if there is such a theme.

    Raises:
        UsageError: there is none.
    """
    names = sorted({DARK.name, LIGHT.name, *BUILTIN_THEMES})
    if name not in names:
        hint = nearest(name, names)
        raise UsageError(f"there is no theme {name!r}", hint or f"the themes are: {', '.join(names)}")
    return name


# What the keys do.

STEP = 0.05  # of a threshold

LOWEST, HIGHEST = 0.05, 0.95  # how far the keys move one

SPEEDS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)


class Keep(Protocol):
    """Keeps thresholds for the next time.

    Attributes:
        path: the settings file.
    """

    @property
    def path(self) -> Path: ...
    def write(self, thresholds: Mapping[str, float], /) -> None:
        """Write these thresholds into it, and keep all else in it.

        Raises:
            UsageError: it cannot be written, or holds its thresholds in another way.
        """


class Actions(App[None]):
    """The keys of a stream's screen and their actions."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "interrupt", "Interrupt", show=False, priority=True),
        Binding("space", "hold", "Pause the file, or freeze the screen"),
        Binding("f", "freeze", "Freeze or resume the screen"),
        Binding("s", "sort", "Sort the rows"),
        Binding("question_mark,f1", "help", "Help"),
        Binding("0", "clear_peaks", "Clear the peaks"),
        Binding("down,j", "move(1)", "Next row"),
        Binding("up,k", "move(-1)", "Previous row"),
        Binding("escape", "select", "Select no row"),
        Binding("plus,equals_sign", "threshold(1)", "Higher threshold"),
        Binding("minus", "threshold(-1)", "Lower threshold"),
        Binding("m", "networks", "Every network's bar"),
        *(Binding(str(n), f"solo({n})", f"Network {n} alone") for n in range(1, 10)),
        Binding("v", "minute", "Last minute as a line or a heat map"),
        Binding("slash", "filter", "Filter the rows"),
        Binding("l", "label", "Write a label into the outputs"),
        Binding("e", "export_events", "Write the entries and exits to a file"),
        Binding("i", "picture", "Save a picture of the screen"),
        Binding("w", "keep_thresholds", "Save the thresholds in the settings file"),
        Binding("r", "record", "Record, or stop"),
        Binding("d", "devices", "Switch the microphone"),
        Binding("p", "pause", "Pause the file, or play it"),
        Binding("right", "seek(10)", "10 s forward"),
        Binding("left", "seek(-10)", "10 s back"),
        Binding("shift+right", "seek(60)", "1 min forward"),
        Binding("shift+left", "seek(-60)", "1 min back"),
        Binding("home", "seek(-1e9)", "To the start"),
        Binding("greater_than_sign,full_stop", "speed(1)", "Faster"),
        Binding("less_than_sign,comma", "speed(-1)", "Slower"),
        Binding("t", "light_or_dark", "Dark or light"),
    ]

    stream_view: StreamView
    glyphs: Glyphs
    look: Callable[[], list[InputDevice]]
    state: ScreenState
    stream: Updates
    view: View

    arrived: float  # when the newest update did, time.monotonic
    first_thresholds: dict[str, float]
    keep: "Keep | None" = None  # writes thresholds into the settings file
    labelled_at = 0.0  # s, when a label was asked for

    def look_at(self, view: View) -> None:
        """Change the view."""
        raise NotImplementedError

    def draw(self) -> None:
        """Draw the current state."""
        raise NotImplementedError

    def commands(self) -> Iterable[SystemCommand]:
        """The commands of the palette besides Textual's own."""
        yield SystemCommand("Freeze or resume", "Freeze the screen; listening continues", self.action_freeze)
        yield SystemCommand("Reset the thresholds", "Undo all changes made with + and -", self.action_reset_thresholds)
        yield SystemCommand("Filter the rows", "Show some instruments only", self.action_filter)
        yield SystemCommand("Label", "Write a label into the outputs, at this moment", self.action_label)
        yield SystemCommand("Events", "Write the entries and exits so far to a file", self.action_export_events)
        yield SystemCommand("Save the thresholds", "Write the changed ones into the settings file",
                            self.action_keep_thresholds)  # fmt: skip
        yield SystemCommand("Record or stop", "Record the sound, including the last seconds", self.action_record)
        if self.stream.info.live:
            yield SystemCommand("Device", "Listen to another microphone", self.action_devices)

    async def action_quit(self) -> None:
        self.exit()

    def action_interrupt(self) -> None:
        """Ctrl-C."""
        self.exit(return_code=130)

    def say(self, text: str) -> None:
        """Show in one line what a key has done."""
        self.notify(text, markup=False)

    def action_hold(self) -> None:
        """Pause or play a file, and play it again at its end; freeze or unfreeze the screen of all else."""
        if self.stream.transport is None or not self.playable:
            self.action_freeze()
        else:
            self.action_pause()

    @property
    def playable(self) -> bool:
        """Whether the stream can still be played."""
        return True

    @property
    def playback(self) -> PlaybackState:
        """The state of a file that can still be played."""
        return PlaybackState.of(self.stream) if self.playable else PlaybackState()

    def action_freeze(self) -> None:
        """Freeze or unfreeze the screen; the stream continues."""
        self.look_at(replace(self.view, frozen=not self.view.frozen))

    def action_sort(self) -> None:
        """The next order of the rows."""
        orders = list(Sorting)
        self.look_at(replace(self.view, sorting=orders[(orders.index(self.view.sorting) + 1) % len(orders)]))

    def action_help(self) -> None:
        """Explain the screen."""
        facts = self.stream.info, self.playback.playable, self.stream_view.listed
        self.push_screen(Help(chapters(self.glyphs, *facts)))

    def action_clear_peaks(self) -> None:
        """Reset all peak holds."""
        self.state = self.state.without_peaks()
        self.draw()

    def action_move(self, steps: int) -> None:
        """Select another row."""
        self.action_select(self.stream_view.rows.neighbour(steps))

    def action_select(self, name: str | None = None) -> None:
        """Select an instrument's row; None also ends a solo and then the filter."""
        view = replace(self.view, selected=name)
        if name is None and self.view.selected is None:
            view = replace(view, solo=None) if self.view.solo else replace(view, words="")
        self.look_at(view)

    def on_row_chosen(self, message: RowChosen) -> None:
        self.action_select(message.name)

    def action_threshold(self, steps: int) -> None:
        """Move the selected instrument's threshold, or all of them."""
        line_up = self.stream.info.instruments
        names = line_up if self.view.selected is None else (self.view.selected,)
        now = self.stream.info.thresholds
        wanted = {name: moved(now[name], steps) for name in names}
        if all(wanted[name] == now[name] for name in names):
            whose = "this threshold is" if self.view.selected else "all thresholds are"
            self.post_message(Notice(f"{whose} at the {'highest' if steps > 0 else 'lowest'} value that keys can set"))
            return
        self.set_thresholds(wanted)
        if self.view.frozen:
            one = self.view.selected
            now_at = "all thresholds moved" if one is None else f"{DISPLAY_NAMES[one]}: threshold {wanted[one]:.2f}"
            self.say(f"{now_at}; the screen is frozen")
        elif self.view.solo:
            self.say(f"changed for all networks together; {self.view.solo} alone keeps its own")

    @property
    def moved_thresholds(self) -> dict[str, float]:
        """Those that differ from the first ones by more than rounding."""
        now = self.stream.info.thresholds
        return {name: now[name] for name in now if abs(now[name] - self.first_thresholds[name]) > 1e-4}

    def action_keep_thresholds(self) -> None:
        """Ask whether to write the thresholds that were moved into the settings file."""
        moved_ones = self.moved_thresholds
        if self.keep is None:
            self.post_message(Notice("there is no settings file to save the thresholds in"))
        elif not moved_ones:
            self.post_message(Notice("no threshold has been changed; + and - change them"))
        else:
            first = ", ".join(f"{DISPLAY_NAMES[name]} {value:.2f}" for name, value in list(moved_ones.items())[:3])
            more = f" and {len(moved_ones) - 3} more" if len(moved_ones) > 3 else ""
            question = "enter saves {} in {}; esc cancels"
            path = self.keep.path
            fits = len(question.format(first + more, path)) < self.size.width
            self.stream_view.prompt.ask("keep", question.format(first + more, path if fits else path.name))

    def action_reset_thresholds(self) -> None:
        """Reset the thresholds."""
        self.set_thresholds(self.first_thresholds)

    def set_thresholds(self, thresholds: dict[str, float]) -> None:
        """From now on, for the outputs too."""
        self.stream.set_thresholds(thresholds)
        self.state = self.state.with_info(self.stream.info)
        self.draw()

    def action_networks(self) -> None:
        """Show a bar for every network below the selected row, or below the most probable instrument."""
        rows, info, probabilities = self.stream_view.rows, self.state.info, self.state.probabilities
        view = replace(self.view, opened=not rows.opened)
        if view.opened and view.selected not in rows.order:
            view = replace(
                view,
                selected=max(rows.order, key=lambda name: float(probabilities[info.classes.index(name)])),
            )
        self.look_at(view)

    def action_solo(self, number: int) -> None:
        """Show one network alone, or the ensemble again."""
        models = self.stream.info.models
        if number > len(models):
            only = "one network" if len(models) == 1 else f"{len(models)} networks"
            self.post_message(Notice(f"there is no network {number}: {only}, {', '.join(models)}"))
            return
        model = models[number - 1]
        alone = self.view.solo != model
        self.look_at(replace(self.view, solo=model if alone else None))
        self.say(f"{model} alone; press {number} or esc for all networks" if alone else "all networks")

    def action_minute(self) -> None:
        """Change how the last minute is drawn."""
        cells = columns(self.stream_view.rows.scrollable_content_region.width, len(self.stream.info.models)).minute
        heat = cells >= HEAT_FROM if self.view.minute is Minute.AUTO else self.view.minute is Minute.HEAT
        self.look_at(replace(self.view, minute=Minute.LINE if heat else Minute.HEAT))

    def action_filter(self) -> None:
        """Ask for filter words; rows that match none are hidden while they are typed."""
        self.stream_view.prompt.ask(
            "filter", "instruments to show, e.g. piano voice; enter confirms, esc shows all", self.view.words
        )

    def action_label(self) -> None:
        """Ask for a label; its time is that of the key."""
        if self.has_sound:
            self.labelled_at = self.moment
            self.stream_view.prompt.ask("label", "a label for this moment; enter writes it into the outputs")

    @property
    def moment(self) -> float:
        """The second of the sound that is shown: of the newest update, and as much later as a microphone has been lost;
        or where a file was sought to that is paused."""
        if (update := self.state.update) is not None:
            lost = update.state is State.DEVICE_LOST  # the sound's clock continues without sound
            return update.time + (update.age_s + time.monotonic() - self.arrived if lost else 0.0)
        position = self.playback.position
        return self.stream.info.start if position is None else position

    def on_prompt_typed(self, message: Prompt.Typed) -> None:
        if message.purpose == "filter":
            self.look_at(replace(self.view, words=message.text))
            line_up = self.stream.info.instruments
            if message.done and (unmatched := self.view.unmatched(self.stream.info.classes)):
                self.no_such_instrument(unmatched)
            elif message.done and self.view.words and not self.view.fitting(line_up):
                self.post_message(Notice(f"{message.text}: not listened for (--only); all rows are shown"))
                self.look_at(replace(self.view, words=""))
        elif message.purpose == "label" and message.done:
            self.label(" ".join(message.text.split()) or f"label at {self.labelled_at:.1f} s")
        elif message.purpose == "keep" and message.done and self.keep is not None:
            if message.text.strip():
                self.post_message(Notice("not saved: press enter without typing anything"))
                return
            try:
                self.keep.write(self.moved_thresholds)
            except InstrecError as error:
                self.post_message(Notice(str(error)))
                return
            self.first_thresholds = dict(self.stream.info.thresholds)
            self.say(f"saved in {self.keep.path}")

    def no_such_instrument(self, words: Sequence[str]) -> None:
        """Show that the filter matches no row, and which other instruments it matches."""
        text = f"no such instrument: {' '.join(words)}"
        others = [name for name in OTHER_NAMES.values() if any(word in name.casefold() for word in words)]
        if others:
            text += f"; {' and '.join(others)} {'is' if len(others) == 1 else 'are'} shown after “also:”, if likely"
        if len(words) == len(self.view.words.replace(",", " ").split()):
            text += "; all rows are shown"
            self.look_at(replace(self.view, words=""))
        self.post_message(Notice(text))

    def label(self, text: str) -> None:
        """Write a label, and say so."""
        try:
            path = self.stream.label(text, self.labelled_at)
        except InstrecError as error:
            self.post_message(Notice(str(error)))
            return
        self.state = self.state.labelled(text, self.labelled_at)
        self.say(f"labelled at {clock(self.labelled_at, hours=False)}" + (f": {path}" if path else ""))
        self.draw()

    def action_export_events(self) -> None:
        """Write the entries and exits so far, and the labels, to a file."""
        try:
            self.say(f"events: {self.stream.export_events()}")
        except InstrecError as error:
            self.post_message(Notice(str(error)))

    def action_picture(self) -> None:
        """Save a picture of the screen."""
        self.deliver_screenshot()

    def action_record(self) -> None:
        """Start a recording, which includes the seconds before, or stop it."""
        if not self.has_sound:
            return
        on = self.stream.recording is None
        if on and self.state.at_end:
            self.post_message(Notice("the file has ended: nothing to record; home plays it again"))
            return
        try:
            path = self.stream.record(on)
        except InstrecError as error:
            self.post_message(Notice(str(error)))
            return
        self.notify(f"{'recording' if on else 'recorded'}: {path}", markup=False)
        self.draw()

    def action_devices(self) -> None:
        """List the connected microphones."""
        if not self.stream.info.live:
            self.post_message(Notice("the source is a file, not a microphone"))
        elif self.has_sound:
            picker = DevicePicker(self.look, self.stream.info.source, self.glyphs.active)
            self.push_screen(picker, self.on_device)

    def on_device(self, device: InputDevice | None) -> None:
        """Switch to the microphone chosen."""
        if device is not None:
            self.listen_to(device)

    @work(thread=True, exit_on_error=False)
    def listen_to(self, device: InputDevice) -> None:
        """Switch to another microphone; runs in its own thread, since opening one takes time."""
        try:
            self.stream.listen_to(device.name)
        except InstrecError as error:
            self.post_message(Notice(str(error)))

    @property
    def has_sound(self) -> bool:
        """Whether there is sound to label or record; if not, a notice is shown."""
        return True

    @property
    def transport(self) -> Transport | None:
        """The playback of the file; None, with a message, if there is none."""
        transport = self.stream.transport
        if transport is None:
            self.post_message(Notice("only a file that is played can be paused, sought in or sped up"))
        return transport

    def action_pause(self) -> None:
        """Pause or play; at the end play again."""
        if transport := self.transport:
            if self.state.at_end:
                self.go_to(0.0)
                return
            transport.pause(not transport.paused)
            if self.view.frozen:
                self.say("the file is paused" if transport.paused else "the file is playing; the screen is frozen")
            self.draw()

    def action_seek(self, seconds: float) -> None:
        """Seek by so many seconds."""
        if transport := self.transport:
            self.go_to(transport.position + seconds)

    def on_seek_requested(self, message: SeekRequested) -> None:
        self.go_to(message.time)

    def go_to(self, time: float) -> None:
        """Seek to a second of the file."""
        if transport := self.transport:
            transport.seek(max(0.0, time))
            self.state = replace(self.state, ended=False)
            if self.state.at_end and transport.paused:
                transport.pause(False)
            if transport.paused:  # results from elsewhere do not apply here
                self.state = self.state.forgotten(transport.position)
                self.say(f"at {clock(transport.position, hours=False)}; space resumes from here")
            elif self.view.frozen:
                self.say(f"at {clock(transport.position, hours=False)}; the screen is frozen")
            self.draw()

    def action_speed(self, steps: int) -> None:
        """Faster or slower."""
        if transport := self.transport:
            nearest = min(range(len(SPEEDS)), key=lambda n: abs(SPEEDS[n] - transport.speed))
            wanted = nearest + steps
            if not 0 <= wanted < len(SPEEDS):
                self.post_message(Notice(f"it cannot be played {'faster' if steps > 0 else 'slower'} than this"))
                return
            transport.go(SPEEDS[wanted])
            if transport.paused:
                self.say(f"speed {SPEEDS[wanted]:g} when playback resumes")
            elif self.view.frozen:
                self.say(f"speed {SPEEDS[wanted]:g}; the screen is frozen")
            self.draw()

    def action_light_or_dark(self) -> None:
        """The program's other theme."""
        self.theme = LIGHT.name if self.current_theme.dark else DARK.name


def moved(threshold: float, steps: int) -> float:
    """A threshold `steps` higher, within 0.05…0.95; one that is already beyond stays."""
    return max(min(LOWEST, threshold), min(max(HIGHEST, threshold), round(threshold + steps * STEP, 4)))


FRAME = 0.1  # s


class WholeCells(ScrollBarRender):
    """A scroll bar in ASCII; Textual's own ends in eighths of a block."""

    VERTICAL_BARS: ClassVar[list[str]] = [" "] * 8
    HORIZONTAL_BARS: ClassVar[list[str]] = [" "] * 8


class Palette(ClosesOnce, CommandPalette):
    """Textual's list of commands. Of two Enters in one write, the second does nothing. Textual raises errors for keys
    and clicks that arrive before the list is laid out, or when it has no room; here they do nothing."""

    def _action_command_list(self, action: str) -> None:
        with suppress(LookupError, NoMatches):
            super()._action_command_list(action)

    def _on_click(self, event: events.Click) -> None:  # type: ignore[override]
        with suppress(NoWidget):
            super()._on_click(event)


class BaseApp(Actions):
    """Shows a stream on the screen. Subclasses provide the updates.

    Args:
        theme: its name.
        glyphs: the characters to draw with; None for what the terminal can show.
        look: lists the connected microphones.

    Attributes:
        error: what ended the stream, if that was not its end.
    """

    TITLE = "instrec-live"
    CSS_PATH: ClassVar[list[str | PurePath]] = [Path(__file__).with_name("instrec.tcss")]
    AUTO_FOCUS = None

    def __init__(
        self,
        theme: str | None = None,
        glyphs: signs.Glyphs | None = None,
        look: Callable[[], list[InputDevice]] = list_input_devices,
    ) -> None:
        self.glyphs = glyphs or signs.for_terminal()  # before Textual takes NO_COLOR out of the environment
        ScrollBar.renderer = WholeCells if self.glyphs == signs.ASCII else ScrollBarRender
        # With native colours Textual obeys NO_COLOR strictly; otherwise it would write shades of grey.
        super().__init__(ansi_color=True if "NO_COLOR" in os.environ else None)
        self.look = look
        self.error: Exception | None = None
        self.listener = threading.Thread(target=self.listen_to_the_end, daemon=True)
        self.listened = threading.Event()  # to the end
        self.arrived = time.monotonic()
        self.drawn = 0.0
        self.drawing = False
        for own in (DARK, LIGHT):
            self.register_theme(own)
        self.theme = known_theme(theme or DARK.name)

    def turn_to(self, stream: Updates, state: ScreenState, view: View, stream_view: StreamView) -> None:
        """Show this stream from now on."""
        self.stream, self.state, self.view, self.stream_view = stream, state, view, stream_view
        self.first_thresholds = dict(stream.info.thresholds)

    def get_theme_variable_defaults(self) -> dict[str, str]:
        return {"foreground-disabled": "ansi_default"}  # Textual's ansi themes lack it

    def get_system_commands(self, screen: Screen[Any]) -> Iterable[SystemCommand]:
        """Our commands, and Textual's except its list of keys, which the help page has."""
        yield from self.commands()
        yield from (command for command in super().get_system_commands(screen) if command.title != "Keys")

    def deliver_screenshot(
        self, filename: str | None = None, path: str | None = None, time_format: str | None = None
    ) -> str | None:
        """Save a picture of the screen in the current folder, where recordings go, and say its name.

        The SVG uses the reader's own font; Textual's would be fetched from another site.
        """
        svg = re.sub(r"@font-face \{.*?\}\s*", "", self.export_screenshot(), flags=re.DOTALL)
        try:
            saved = named_by_clock("instrec", ".svg")
            with open_text(saved, force=False) as file:
                file.write(svg)
        except InstrecError as error:
            self.post_message(Notice(str(error)))
        except OSError as error:
            self.post_message(Notice(str(cannot_write(saved, error))))
        else:
            self.say(f"picture: {saved}")
        return None

    def on_mount(self) -> None:
        self.arrived = time.monotonic()
        if not self.is_headless:
            self.loop = asyncio.get_running_loop()
            for number in ENDING_SIGNALS:
                if signal.getsignal(number) != signal.SIG_IGN:
                    signal.signal(number, self.end_by_signal)
        self.set_interval(1.0, self.look_late)
        self.listener.start()

    def end_by_signal(self, number: int, frame: object) -> None:
        """End and restore the terminal, even if the event loop is busy or waits for the terminal."""
        stop_waiting_for_readers()
        with suppress(RuntimeError):  # it is closed
            self.loop.call_soon_threadsafe(self.exit, None, 128 + number)

    def on_notice(self, message: Notice) -> None:
        self.notify(message.text, severity="warning", markup=False)

    def on_stream_ended(self, message: StreamEnded) -> None:
        self.error = message.error
        if self.error is not None:
            self.exit(return_code=getattr(self.error, "exit_code", 1))

    @property
    def frame(self) -> float:
        """Shortest time between two frames, s."""
        return FRAME

    @property
    def since(self) -> float:
        """Seconds since the newest update while the bars still move; then infinite."""
        passed = time.monotonic() - self.arrived
        return passed if passed < SETTLED else math.inf

    @property
    def late(self) -> float:
        """By how many seconds an update is overdue; 0 if it is not."""
        if self.state.ended or self.playback.paused:
            return 0.0
        return overdue(self.state.update, time.monotonic() - self.arrived, self.stream.info.hop)

    def look_late(self) -> None:
        """Report that no update arrives."""
        if not self.view.frozen and (self.late or self.playback.playable):
            self.draw_soon()

    def draw_soon(self) -> None:
        """Draw now, or at the end of the current frame."""
        if self.drawing:
            return
        self.drawing = True
        wait = self.drawn + self.frame - time.monotonic()
        if wait <= 0:
            self.draw()
        else:
            self.set_timer(wait, self.draw)

    def draw(self) -> None:
        """Draw the current state; a frozen screen only shows that it is frozen."""
        self.drawing = False
        self.drawn = time.monotonic()
        if self.view.frozen:
            return
        since = self.since
        self.stream_view.show(self.state, self.view, self.playback, self.late, since)
        if math.isfinite(since) and self.state.lively:
            self.draw_soon()

    def look_at(self, view: View) -> None:
        """Change the view, even of a frozen screen."""
        thawed = self.view.frozen and not view.frozen
        self.view = view
        if not view.frozen or thawed:
            self.draw()
            return
        stream_view, playback = self.stream_view, self.playback
        stream_view.rows.show(stream_view.rows.state, view)
        stream_view.heading.show(stream_view.rows.state, view)
        stream_view.status.show(stream_view.status.state, True)
        stream_view.header.show(stream_view.header.state, stream_view.header.playback, view.solo)
        stream_view.keys.show(view, playback)

    def on_unmount(self) -> None:
        if self._exception is None:  # a screen that failed does not end the listening
            self.stop_listening()

    def stop_listening(self) -> None:
        """End what is listened to."""
        raise NotImplementedError

    def listen(self) -> None:
        """Pass updates on until the end, even if the screen has failed; runs in its own thread."""
        raise NotImplementedError

    def listen_to_the_end(self) -> None:
        """Run `listen`, and report how it ended."""
        error: Exception | None = None
        try:
            self.listen()
        except Exception as trouble:
            error = trouble
        if self._exception is not None:  # the screen can no longer show it
            self.error = error
        self.tell(StreamEnded(error))
        self.listened.set()

    def tell(self, message: Message) -> None:
        """Send the screen a message from the listening thread, unless the screen is gone."""
        with suppress(RuntimeError):  # its event loop has just ended
            self.post_message(message)

    def search_commands(
        self, commands: Sequence[CommandListItem], placeholder: str = "Search for commands…"
    ) -> AwaitMount:
        provider: Any = SimpleProvider(self.screen, list(commands))
        return self.push_screen(Palette(providers=[provider], placeholder=placeholder))

    def action_command_palette(self) -> None:
        """Show the commands, unless a dialog is open (they are for the screen behind it) or there is no room."""
        if not self.screen.is_modal and not any(notice.display for notice in self.screen.query(TooSmall)):
            self.push_screen(Palette(id="--command-palette"))  # the name that Textual knows it by

    def _fatal_error(self) -> None:
        # Textual would print a traceback with locals; `until_quit` raises the error instead, for the one line.
        self._close_messages_no_wait()


def until_quit(app: BaseApp, noise: Path | None = None) -> int:
    """Show it on the terminal until the user quits, and restore the terminal.

    `noise`: a file for what libraries write to stderr. Returns 0, 130 after Ctrl-C, 128 plus a signal's
    number.

    Raises:
        InternalError: a defect of the screen. The stream went on without it until its end.
        Exception: what ended the stream.
    """
    handlers = {number: signal.getsignal(number) for number in ENDING_SIGNALS}
    try:
        with drawing_apart(noise):
            app.run()
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if app.error is not None:
        raise app.error
    if app._exception is None and app.listener.ident is not None:
        app.listened.wait(ENDING)  # the networks may be in the middle of a window
    if app._exception is not None:
        trouble = app._exception
        text = f"the screen failed: {type(trouble).__name__}: {trouble}"
        print(
            f"instrec-live: error: {printable(text)}; continuing without it; Ctrl-C ends",
            file=sys.stderr,
        )
        if app.listener.ident is not None:
            wait_for_end(app.listened, app.stop_listening)
        raise app.error or InternalError(text) from trouble
    return app.return_code or 0
