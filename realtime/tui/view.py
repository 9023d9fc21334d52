"""How a picture is looked at: what the keys change. Immutable, as the picture is."""

from dataclasses import dataclass
from enum import Enum

from instrec_live.models.instruments import DISPLAY_NAMES


class Sorting(Enum):
    """The order of the rows."""

    FIXED = "fixed"
    SCORE = "score"
    RECENT = "recent"


class Minute(Enum):
    """How a row shows its last minute."""

    AUTO = "auto"  # as the width allows
    LINE = "line"  # a sparkline
    HEAT = "heat"  # one strip of the heat map


@dataclass(frozen=True, slots=True)
class View:
    """What is chosen.

    Attributes:
        sorting: the order of the rows.
        selected: the instrument whose numbers are shown, None for none.
        solo: the network that is shown alone, None for their ensemble.
        opened: every network has a bar of its own below the selected row.
        minute: how the last minute is drawn.
        words: only rows whose name holds one of these words are shown; "" shows all.
        frozen: the picture is held.
    """

    sorting: Sorting = Sorting.FIXED
    selected: str | None = None
    solo: str | None = None
    opened: bool = False
    minute: Minute = Minute.AUTO
    words: str = ""
    frozen: bool = False

    def admits(self, name: str) -> bool:
        """Whether an instrument's row is shown; words that fit none show all."""
        words = self.words.casefold().replace(",", " ").split()
        fitting = [each for each in DISPLAY_NAMES if any(word in DISPLAY_NAMES[each].casefold() for word in words)]
        return name in fitting or not fitting
