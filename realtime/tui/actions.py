"""What the keys do."""

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import ClassVar

from textual import work
from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType

from instrec_live.models.errors import InstrecError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.devices import InputDevice
from instrec_live.realtime.transport import Transport
from instrec_live.realtime.tui.board import Board
from instrec_live.realtime.tui.device_picker import DevicePicker
from instrec_live.realtime.tui.glyphs import Glyphs
from instrec_live.realtime.tui.help import Help, chapters
from instrec_live.realtime.tui.messages import Noticed, RowChosen, Sought, Updates
from instrec_live.realtime.tui.picture import Picture
from instrec_live.realtime.tui.prompt import Prompt
from instrec_live.realtime.tui.row import HEAT_FROM, columns
from instrec_live.realtime.tui.themes import DARK, LIGHT
from instrec_live.realtime.tui.view import Minute, Sorting, View

STEP = 0.05  # of a threshold
LOWEST, HIGHEST = 0.05, 0.95  # how far the keys move one
SPEEDS = (0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)


class Actions(App[None]):
    """The keys of the program's screen, and their actions; what they act on is in `InstrecApp`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("q", "quit", "Quit"),
        Binding("ctrl+c", "interrupt", "Interrupt", show=False, priority=True),
        Binding("space", "freeze", "Freeze the picture, or resume"),
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
        Binding("v", "minute", "Last minute as a line or as a heat map"),
        Binding("slash", "filter", "Filter the rows"),
        Binding("l", "label", "Write a label into the outputs"),
        Binding("r", "record", "Record, or stop"),
        Binding("d", "devices", "Another microphone"),
        Binding("p", "pause", "Pause the file, or play it"),
        Binding("right", "seek(10)", "10 s on"),
        Binding("left", "seek(-10)", "10 s back"),
        Binding("shift+right", "seek(60)", "A minute on"),
        Binding("shift+left", "seek(-60)", "A minute back"),
        Binding("home", "seek(-1e9)", "To the beginning"),
        Binding("greater_than_sign,full_stop", "speed(1)", "Faster"),
        Binding("less_than_sign,comma", "speed(-1)", "Slower"),
        Binding("t", "light_or_dark", "Dark or light"),
    ]

    board: Board
    glyphs: Glyphs
    look: Callable[[], list[InputDevice]]
    picture: Picture
    stream: Updates
    view: View
    visitor: bool

    first_thresholds: dict[str, float]
    labelled_at = 0.0  # s, when a label was asked for

    def look_at(self, view: View) -> None:
        """Show the picture another way."""
        raise NotImplementedError

    def draw(self) -> None:
        """Show the present picture."""
        raise NotImplementedError

    def commands(self) -> Iterable[SystemCommand]:
        """What the command palette offers beside Textual's own."""
        yield SystemCommand("Freeze or resume", "Hold the picture; listening goes on", self.action_freeze)
        yield SystemCommand("Thresholds as they were", "Undo every + and -", self.action_reset_thresholds)
        yield SystemCommand("Filter the rows", "Show some instruments only", self.action_filter)
        yield SystemCommand("Label", "Write a label into the outputs, at this moment", self.action_label)
        yield SystemCommand("Record or stop", "Keep the sound, with the seconds before", self.action_record)
        if self.stream.info.live:
            yield SystemCommand("Device", "Listen to another microphone", self.action_devices)

    async def action_quit(self) -> None:
        self.exit()

    def action_interrupt(self) -> None:
        """Ctrl-C."""
        self.exit(return_code=130)

    def action_freeze(self) -> None:
        """Hold the picture, or let it go on; the stream is listened to all the time."""
        self.look_at(replace(self.view, frozen=not self.view.frozen))

    def action_sort(self) -> None:
        """The next order of the rows."""
        orders = list(Sorting)
        self.look_at(replace(self.view, sorting=orders[(orders.index(self.view.sorting) + 1) % len(orders)]))

    def action_help(self) -> None:
        """Explain the screen."""
        playable = self.stream.transport is not None
        self.push_screen(Help(chapters(self.glyphs, self.stream.info, playable, self.board.listed)))

    def action_clear_peaks(self) -> None:
        """Let every peak hold down."""
        self.picture = self.picture.without_peaks()
        self.draw()

    def action_move(self, steps: int) -> None:
        """Select another row."""
        self.action_select(self.board.rows.neighbour(steps))

    def action_select(self, name: str | None = None) -> None:
        """Select an instrument's row; or none, which also ends a solo and, at last, the filter."""
        view = replace(self.view, selected=name)
        if name is None and self.view.selected is None:
            view = replace(view, solo=None) if self.view.solo else replace(view, words="")
        self.look_at(view)

    def on_row_chosen(self, message: RowChosen) -> None:
        self.action_select(message.name)

    def action_threshold(self, steps: int) -> None:
        """Move the selected instrument's threshold, or all of them."""
        names = INSTRUMENTS if self.view.selected is None else (self.view.selected,)
        now = self.stream.info.thresholds
        self.set_thresholds({name: moved(now[name], steps) for name in names})

    def action_reset_thresholds(self) -> None:
        """As they were at the beginning."""
        self.set_thresholds(self.first_thresholds)

    def set_thresholds(self, levels: dict[str, float]) -> None:
        """From now on, for the outputs too."""
        self.stream.set_thresholds(levels)
        self.picture = self.picture.with_info(self.stream.info)
        self.draw()

    def action_networks(self) -> None:
        """A bar for every network, below the selected row; of none, below what sounds most surely."""
        rows, heard = self.board.rows, self.picture.probabilities
        view = replace(self.view, opened=not rows.opened)
        if view.opened and view.selected not in rows.order:
            view = replace(view, selected=max(rows.order, key=lambda name: float(heard[INSTRUMENTS.index(name)])))
        self.look_at(view)

    def action_solo(self, number: int) -> None:
        """One network alone, or all together again."""
        models = self.stream.info.models
        if number <= len(models):
            model = models[number - 1]
            self.look_at(replace(self.view, solo=None if self.view.solo == model else model))

    def action_minute(self) -> None:
        """The last minute the other way."""
        cells = columns(self.board.rows.scrollable_content_region.width, len(self.stream.info.models)).minute
        heat = cells >= HEAT_FROM if self.view.minute is Minute.AUTO else self.view.minute is Minute.HEAT
        self.look_at(replace(self.view, minute=Minute.LINE if heat else Minute.HEAT))

    def action_filter(self) -> None:
        """Ask for words; rows that hold none of them are hidden while they are typed."""
        self.board.prompt.ask(
            "filter", "instruments to show, e.g. piano voice; enter keeps, esc shows all", self.view.words
        )

    def action_label(self) -> None:
        """Ask for a label; it is written at the moment of asking."""
        if self.allowed("labels"):
            self.labelled_at = self.picture.update.time if self.picture.update else 0.0
            self.board.prompt.ask("label", "a label for this moment; enter writes it into the outputs")

    def on_prompt_typed(self, message: Prompt.Typed) -> None:
        if message.purpose == "filter":
            self.look_at(replace(self.view, words=message.text))
        elif message.purpose == "label" and message.done:
            text = " ".join(message.text.split()) or f"label at {self.labelled_at:.1f} s"
            self.stream.label(text, self.labelled_at)
            self.picture = self.picture.labelled(text, self.labelled_at)
            self.draw()

    def action_record(self) -> None:
        """Begin a recording with the seconds before, or end it."""
        if not self.allowed("recordings"):
            return
        on = self.stream.recording is None
        try:
            path = self.stream.record(on)
        except InstrecError as error:
            self.post_message(Noticed(str(error)))
            return
        self.notify(f"{'recording' if on else 'recorded'}: {path}", markup=False)
        self.draw()

    def action_devices(self) -> None:
        """Offer the microphones that are connected now."""
        if not self.stream.info.live:
            self.post_message(Noticed("a file is being heard, not a microphone"))
        elif self.allowed("other microphones"):
            picker = DevicePicker(self.look, self.stream.info.source, self.glyphs.active)
            self.push_screen(picker, self.on_device)

    def on_device(self, device: InputDevice | None) -> None:
        """What the list of microphones gave."""
        if device is not None:
            self.listen_to(device)

    @work(thread=True, exit_on_error=False)
    def listen_to(self, device: InputDevice) -> None:
        """Go on with another microphone; runs in a thread of its own, since opening one takes time."""
        try:
            self.stream.listen_to(device.name)
        except InstrecError as error:
            self.post_message(Noticed(str(error)))

    def allowed(self, what: str) -> bool:
        """Whether whoever looks may do that; a visitor in a browser may not, and is told."""
        if self.visitor:
            self.post_message(Noticed(f"{what} are not for visitors"))
        return not self.visitor

    @property
    def transport(self) -> Transport | None:
        """How the file is played; None, and said so, where there is none."""
        transport = self.stream.transport
        if transport is None:
            self.post_message(Noticed("only a file that is played can be paused, sought in or sped up"))
        return transport

    def action_pause(self) -> None:
        """Stand still, or go on."""
        if transport := self.transport:
            transport.pause(not transport.paused)
            self.draw()

    def action_seek(self, seconds: float) -> None:
        """Go on so many seconds later, or earlier."""
        if transport := self.transport:
            self.go_to(transport.position + seconds)

    def on_sought(self, message: Sought) -> None:
        self.go_to(message.time)

    def go_to(self, time: float) -> None:
        """Go on from another second of the file."""
        if transport := self.transport:
            transport.seek(max(0.0, time))
            self.picture = replace(self.picture, ended=False)
            self.draw()

    def action_speed(self, steps: int) -> None:
        """Faster or slower."""
        if transport := self.transport:
            nearest = min(range(len(SPEEDS)), key=lambda n: abs(SPEEDS[n] - transport.speed))
            transport.go(SPEEDS[min(len(SPEEDS) - 1, max(0, nearest + steps))])
            self.draw()

    def action_light_or_dark(self) -> None:
        """The program's other theme."""
        self.theme = LIGHT.name if self.current_theme.dark else DARK.name


def moved(threshold: float, steps: int) -> float:
    """A threshold so many steps higher, within 0.05…0.95; one that is beyond already does not turn back."""
    return max(min(LOWEST, threshold), min(max(HIGHEST, threshold), round(threshold + steps * STEP, 4)))
