"""How the list is looked at: what its keys change. Immutable."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

from instrec_live.realtime.tui.watch.source import WORST_FIRST, Source

STEP_DB = 6.0  # sources no further apart in loudness keep their order: rows should not dance


class Order(Enum):
    """The order of the sources."""

    FIXED = "fixed"  # as they were named
    TROUBLE = "trouble"  # what is not well first
    LOUDNESS = "loudness"  # the loudest first


@dataclass(frozen=True, slots=True)
class ListView:
    """What is chosen.

    Attributes:
        order: of the sources.
        selected: the source that enter opens.
        words: only sources whose name holds one of these words are shown; "" shows all.
        frozen: the list is held.
    """

    order: Order = Order.FIXED
    selected: str | None = None
    words: str = ""
    frozen: bool = False

    def admitted(self, names: Iterable[str]) -> list[str]:
        """Those of the names that are shown; words that fit none show all."""
        words, names = self.words.casefold().replace(",", " ").split(), list(names)
        return [name for name in names if any(word in name.casefold() for word in words)] or names

    def arranged(self, sources: Mapping[str, Source], previous: Iterable[str], now: float) -> list[str]:
        """The names shown, from the top row down; `previous`: as they stood before."""
        match self.order:
            case Order.TROUBLE:
                rank = {name: WORST_FIRST.index(each.health(each.late(now))) for name, each in sources.items()}
                names = sorted(sources, key=lambda name: rank[name])
            case Order.LOUDNESS:
                names = sorted(previous, key=lambda name: -round(sources[name].level_db / STEP_DB))
            case _:
                names = list(sources)
        return self.admitted(names)
