"""A kind of input of which each misbehaves in its own way, to see that the fuzz notices."""

import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.random import Generator

from instrec_live.models.errors import InstrecError, UsageError


class Opened:
    """What runs something when its pickle is opened."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (os.getenv, ("HOME",))


def raise_(error: Exception) -> None:
    raise error


def two_lines() -> None:
    error = UsageError("one")
    error.args = ("one\ntwo",)
    raise error


def outside() -> Path:
    return Path(sys.argv[6]).parent / "outside"


#: what it does -> how the fuzz must call it
WAYS: list[tuple[Callable[[], object], str]] = [
    (lambda: None, "fine"),
    (lambda: raise_(UsageError("not 'this' 17 times", "say it again")), "UsageError (2): not … # times"),
    (lambda: [][1], "IndexError: list index out of range"),
    (two_lines, "UsageError (2): one"),
    (lambda: raise_(InstrecError("a defect")), "InstrecError (1): a defect"),
    (os.abort, "crash: exit -6"),
    (lambda: time.sleep(60), "hang"),
    (lambda: np.ones(40_000_000), "greedy: fine"),
    (lambda: np.ones(400_000_000), "MemoryError: "),
    (lambda: outside().write_text("x"), "breach: open …"),
    (lambda: outside().mkdir(), "breach: os.mkdir …"),
    (lambda: subprocess.run(["true"], check=False), "breach: subprocess.Popen (…,)"),
    (lambda: pickle.loads(pickle.dumps(Opened())), "breach: pickle.find_class (…,)"),
]


class Misbehaving:
    """Does one of `WAYS` after the other, and swallows what it is forbidden."""

    def prepare(self) -> None:
        self._number = int(sys.argv[4])

    def run(self, rng: Generator) -> str | None:
        it = WAYS[self._number][0]
        self._number += 1
        with suppress(PermissionError):
            it()
        return None


KINDS = {"all": Misbehaving()}
