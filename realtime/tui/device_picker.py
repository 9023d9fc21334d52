"""The list of connected microphones, to switch to another one; and the line for typing."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from textual import events, work
from textual.app import ComposeResult
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.message import Message
from textual.screen import ModalScreen, Screen
from textual.widgets import Button, Input, OptionList, Static
from textual.widgets.option_list import Option

from instrec_live.realtime.audio.devices import InputDevice
from instrec_live.realtime.errors import AudioDeviceError
from instrec_live.realtime.tui.drawing import printable

if TYPE_CHECKING:
    _Mixin = Screen[Any]
else:
    _Mixin = object  # Textual takes the styles of the first base that is a widget


class ClosesOnce(_Mixin):
    """Of a dialog: it is answered once. Two keys may come in one write, the second before the screen has gone."""

    _answered = False

    def dismiss(self, result: Any = None) -> AwaitComplete:
        if self._answered or not self.is_current:
            return AwaitComplete()
        self._answered = True
        return super().dismiss(result)

    async def _dispatch_message(self, message: Message) -> None:
        if self._answered and isinstance(message, _ANSWERS):
            return
        await super()._dispatch_message(message)


_ANSWERS = (events.InputEvent, Button.Pressed, Input.Submitted, OptionList.OptionSelected)


class Prompt(Input):
    """A line of input, hidden until `ask`; `enter` confirms, `escape` cancels."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "give_up", "Never mind", show=False)]

    class Typed(Message):
        """The text typed so far; `done` once confirmed, `given_up` once cancelled."""

        def __init__(self, purpose: str, text: str, done: bool = False, given_up: bool = False) -> None:
            super().__init__()
            self.purpose, self.text, self.done, self.given_up = purpose, text, done, given_up

    def __init__(self) -> None:
        super().__init__(compact=True, select_on_focus=False)
        self.purpose = ""
        self.display = False

    def ask(self, purpose: str, placeholder: str, text: str = "") -> None:
        """Show the line; `text` can be edited."""
        self.purpose, self.placeholder, self.display = purpose, f" {placeholder}", True
        self.value = text
        self.cursor_position = len(text)
        self.focus()

    def close(self) -> None:
        """Hide it."""
        self.display = False
        self.screen.set_focus(None)

    async def _on_key(self, event: events.Key) -> None:
        """Answer at once: keys that come in one write with Enter are for the screen, not for this line."""
        if event.key in ("enter", "escape") and (self.display or event.key == "enter"):
            event.stop()
            event.prevent_default()
            done = event.key == "enter"
            self.finish(self.value if done else "", done=done, given_up=not done)
        elif not self.display:
            event.prevent_default()  # of the input; the screen then gets the key

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self.display:
            self.post_message(self.Typed(self.purpose, event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.finish(event.value, done=True)

    def action_give_up(self) -> None:
        self.finish("", given_up=True)

    def finish(self, text: str, done: bool = False, given_up: bool = False) -> None:
        """Hide it and say what was typed; once, for a second Enter may come in the same write."""
        if self.display:
            self.close()
            self.post_message(self.Typed(self.purpose, text, done, given_up))


LOOK_AGAIN = 2.0  # s; devices come and go


class DevicePicker(ClosesOnce, ModalScreen[InputDevice | None]):
    """Gives the microphone chosen, None for none.

    Args:
        look: lists the connected devices; called in another thread, since it may be slow.
        present: the current source, as in `StreamInfo.source`.
        mark: the sign in front of it.
    """

    AUTO_FOCUS = "OptionList"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,d,q", "dismiss(None)", "close"),
        Binding("j", "move(1)", "down"),
        Binding("k", "move(-1)", "up"),
    ]

    def __init__(self, look: Callable[[], list[InputDevice]], present: str, mark: str) -> None:
        super().__init__()
        self.look, self.present, self.mark = look, present, mark
        self.devices: list[InputDevice] | None = None

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static("Microphones connected now   enter chooses, esc closes", id="title")
            yield OptionList(Option("searching …", disabled=True))

    def on_mount(self) -> None:
        self.refresh_list()
        self.set_interval(LOOK_AGAIN, self.refresh_list)

    @work(thread=True, exclusive=True, exit_on_error=False)
    def refresh_list(self) -> None:
        """List the microphones; runs in another thread."""
        try:
            found, trouble = self.look(), ""
        except AudioDeviceError as error:
            found, trouble = [], str(error)
        self.app.call_from_thread(self.show, found, trouble)

    def show(self, found: list[InputDevice], trouble: str) -> None:
        """Show the devices found; the mark stays on its device."""
        if not self.is_current or (found == self.devices and not trouble):
            return
        options = self.query_one(OptionList)
        at = options.highlighted
        kept = self.devices[at].name if self.devices and at is not None and at < len(self.devices) else None
        self.devices = found
        options.clear_options()
        options.add_options([Option(Content(self.line(device))) for device in found])
        if not found:
            options.add_option(Option(Content(trouble or "no microphone is connected"), disabled=True))
            return
        names = [device.name for device in found]
        here = [number for number, device in enumerate(found) if self.is_present(device)]
        options.highlighted = names.index(kept) if kept in names else (here or [0])[0]

    def is_present(self, device: InputDevice) -> bool:
        """Whether it is the current device: by name, since indices change when devices come and go."""
        return self.present.split("] ", 1)[-1] == device.name

    def line(self, device: InputDevice) -> str:
        """ "▸ Scarlett 2i2   2 ch, 48000 Hz, ALSA"."""
        sign = self.mark if self.is_present(device) else " "
        return f"{sign} {printable(device.name)}   {device.channels} ch, {device.rate} Hz, {device.host_api}"

    def action_move(self, steps: int) -> None:
        """Go a line down (1) or up (-1)."""
        options = self.query_one(OptionList)
        options.action_cursor_down() if steps > 0 else options.action_cursor_up()

    def on_option_list_option_selected(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if self.devices:
            self.dismiss(self.devices[event.option_index])
