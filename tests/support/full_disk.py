"""A full disk, played by a limit on the size of files."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def full_disk(largest: int = 4096) -> Iterator[None]:
    """No file may grow beyond so many bytes: writing more fails as it does on a full disk."""
    resource = pytest.importorskip("resource", reason="needs a Unix")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (largest, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
