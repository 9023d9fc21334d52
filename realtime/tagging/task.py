"""One piece of work for a process: a whole file, a part of a long one, or what its parts come to."""

from dataclasses import dataclass

from instrec_live.realtime.tagging.find import Item
from instrec_live.realtime.tagging.part import Heard, Span


@dataclass(frozen=True, slots=True)
class Whole:
    """Hear a file from beginning to end; or, where `share` processes have nothing else to do and the file is long, say
    in which parts they may hear it."""

    item: Item
    share: int = 1


@dataclass(frozen=True, slots=True)
class Part:
    """Ask the networks about a part of a file."""

    item: Item
    number: int
    span: Span


@dataclass(frozen=True, slots=True)
class Joined:
    """Make one record of what was heard of all the parts."""

    item: Item
    parts: tuple[Heard, ...]


@dataclass(frozen=True, slots=True)
class Cut:
    """The answer to `Whole` that says: in these parts."""

    spans: tuple[Span, ...]


Task = Whole | Part | Joined
