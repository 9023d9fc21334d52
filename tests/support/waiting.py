"""Waiting for something that another thread or process does.

Tests measure no time: a machine may be busy. To show that something does not wait, give it a patience longer than any
test may take (`FOREVER`), so that returning at all is the proof; a test that hangs is ended by pytest's timeout.
"""

import time
from collections.abc import Callable

import pytest

FOREVER = 3600.0  # s


def wait_for(condition: Callable[[], object], what: str = "", patience: float = 120.0) -> None:
    """Return as soon as the condition holds; fail after so many seconds, which only a hang takes."""
    give_up = time.monotonic() + patience
    while not condition():
        if time.monotonic() > give_up:
            pytest.fail(f"waited {patience:g} s for {what or 'a condition'}")
        time.sleep(0.002)
