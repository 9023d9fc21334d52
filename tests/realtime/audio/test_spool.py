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
    unclosed: list[str] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda args: unclosed.append(str(args.exc_value)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del spool
        gc.collect()
    of_it = [text for text in unclosed if str(name) in text]  # not of the garbage of other tests
    assert (of_it, name.exists()) == ([], False)
