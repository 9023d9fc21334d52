"""A list of the microphones that are connected now, to go on with another one."""

from collections.abc import Callable
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, Static
from textual.widgets.option_list import Option

from instrec_live.realtime.devices import InputDevice
from instrec_live.realtime.errors import AudioDeviceError
from instrec_live.realtime.tui.fitting import printable

LOOK_AGAIN = 2.0  # s; devices come and go


class DevicePicker(ModalScreen[InputDevice | None]):
    """Gives the microphone chosen, None for none.

    Args:
        look: lists what is connected now; may take its time, it is asked in a thread of its own.
        present: what the stream listens to, as `StreamInfo.source` calls it.
        mark: the sign beside it.
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
            yield OptionList(Option("looking …", disabled=True))

    def on_mount(self) -> None:
        self.refresh_list()
        self.set_interval(LOOK_AGAIN, self.refresh_list)

    @work(thread=True, exclusive=True, exit_on_error=False)
    def refresh_list(self) -> None:
        """Look which microphones there are; runs in a thread of its own."""
        try:
            found, trouble = self.look(), ""
        except AudioDeviceError as error:
            found, trouble = [], str(error)
        self.app.call_from_thread(self.show, found, trouble)

    def show(self, found: list[InputDevice], trouble: str) -> None:
        """Put what was found on the list; the mark stays on the device it stood on."""
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
        """Whether the stream listens to it now: by name, since numbers change when devices come and go."""
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
