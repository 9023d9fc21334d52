"""The kinds of input that fuzz.py damages, each with the part of the program that a user's input reaches."""

import sys
from pathlib import Path
from typing import Protocol

from numpy.random import Generator

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))

from fuzz_bundles import Bundles
from fuzz_sounds import Files, Headers, Pipes
from fuzz_structures import Structures
from fuzz_texts import CommandLines, Reports, SettingsFiles, ThresholdFiles


class Kind(Protocol):
    def prepare(self) -> None:
        """Make what is damaged later, in the current folder, and import what is needed."""

    def run(self, rng: Generator) -> str | None:
        """Make one input and use it; returns how it ended if that is not simply fine."""


KINDS: dict[str, Kind] = {
    "files": Files(),
    "headers": Headers(),
    "pipes": Pipes(),
    "structures": Structures(),
    "settings": SettingsFiles(),
    "thresholds": ThresholdFiles(),
    "command lines": CommandLines(),
    "bundles": Bundles(),
    "reports": Reports(),
}
