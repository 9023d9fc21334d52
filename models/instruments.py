"""The 20 instruments of OpenMIC-2018, in the order of its class-map.json, and the choice of some of them."""

from collections.abc import Iterable, Sequence
from os import PathLike
from typing import Any
from unicodedata import normalize

from instrec_live.models.errors import UsageError

INSTRUMENTS: tuple[str, ...] = (
    "accordion", "banjo", "bass", "cello", "clarinet", "cymbals", "drums", "flute", "guitar",
    "mallet_percussion", "mandolin", "organ", "piano", "saxophone", "synthesizer", "trombone",
    "trumpet", "ukulele", "violin", "voice",
)  # fmt: skip


class _DisplayNames(dict[str, str]):
    """Those of instruments that a user taught follow the same rule, without an entry."""

    def __missing__(self, name: str) -> str:
        return name.replace("_", " ")


DISPLAY_NAMES: dict[str, str] = _DisplayNames({name: name.replace("_", " ") for name in INSTRUMENTS})


def instrument(word: str, known: Sequence[str] = INSTRUMENTS) -> str:
    """The name of an instrument as people type it: "Mallet Percussion" is mallet_percussion. `known`: all there are.

    Raises:
        UsageError: there is no such instrument; the hint has the nearest name.
    """
    name = "_".join(normalize("NFC", word).lower().replace("-", " ").replace("_", " ").split())
    if name not in known:
        raise UsageError(f"there is no instrument {word!r}", nearest(name, known) or f"they are {', '.join(known)}")
    return name


def chosen(
    only: Iterable[str] | None = None, exclude: Iterable[str] | None = None, known: Sequence[str] = INSTRUMENTS
) -> tuple[str, ...]:
    """The instruments named by `only` (None: all) and not by `exclude` (None: none), in the order of all there are,
    `known`. A string is one name.

    Raises:
        UsageError: an unknown name, or none is left.
    """
    wanted = known if only is None else [instrument(each, known) for each in names(only)]
    unwanted = [instrument(each, known) for each in names(exclude or ())]
    left = tuple(name for name in known if name in wanted and name not in unwanted)
    if not left:
        raise UsageError("no instrument is left to listen for", "choose at least one")
    return left


def names(given: Any) -> tuple[Any, ...]:
    """Several names or paths, or one, as a tuple: ("piano",) also for "piano", whose letters are no names."""
    return (given,) if isinstance(given, str | PathLike) else tuple(given)


def nearest(word: str, words: Iterable[str]) -> str | None:
    """ "did you mean …?", or None if nothing is near."""
    import difflib

    near = difflib.get_close_matches(word, list(words), n=1)
    return f"did you mean {near[0]}?" if near else None
