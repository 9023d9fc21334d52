"""The temporary file of a pipe whose container must be read as a whole."""

import gc
import io
import sys
import warnings
from pathlib import Path

import pytest

from instrec_live.realtime.audio.reader import Spool


def test_it_is_removed_even_if_it_is_forgotten_in_a_cycle(monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is after an error, whose traceback refers to it."""
    spool = Spool(io.BytesIO(b"sound"))  # type: ignore[arg-type]
    name = Path(spool._source.path)  # type: ignore[attr-defined]
    assert name.read_bytes() == b"sound"
    spool.itself = spool  # type: ignore[attr-defined]
    unclosed: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", unclosed.append)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del spool
        gc.collect()
    assert (unclosed, name.exists()) == ([], False)
