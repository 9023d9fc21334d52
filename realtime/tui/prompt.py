"""A line to type on: words to filter the rows by, or a label."""

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.message import Message
from textual.widgets import Input


class Prompt(Input):
    """Hidden until it is asked something; `enter` answers, `escape` takes it back."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "give_up", "Never mind", show=False)]

    class Typed(Message):
        """What stands on the line now; `done` once it has been confirmed, `given_up` once it has been taken back."""

        def __init__(self, purpose: str, text: str, done: bool = False, given_up: bool = False) -> None:
            super().__init__()
            self.purpose, self.text, self.done, self.given_up = purpose, text, done, given_up

    def __init__(self) -> None:
        super().__init__(compact=True, select_on_focus=False)
        self.purpose = ""
        self.display = False

    def ask(self, purpose: str, words: str, text: str = "") -> None:
        """Show the line; `words` stand on it until something is typed."""
        self.purpose, self.placeholder, self.display = purpose, f" {words}", True
        self.value = text
        self.cursor_position = len(text)
        self.focus()

    def close(self) -> None:
        """Hide it."""
        self.display = False
        self.screen.set_focus(None)

    def on_input_changed(self, event: Input.Changed) -> None:
        event.stop()
        if self.display:
            self.post_message(self.Typed(self.purpose, event.value))

    def on_input_submitted(self, event: Input.Submitted) -> None:
        event.stop()
        self.close()
        self.post_message(self.Typed(self.purpose, event.value, done=True))

    def action_give_up(self) -> None:
        self.close()
        self.post_message(self.Typed(self.purpose, "", given_up=True))
