"""What native libraries write to stderr by themselves."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryFile

_OURS = b"instrec-live: "


@contextmanager
def hushed() -> Iterator[None]:
    """Leave it out meanwhile; the program's own lines come out after.

    PortAudio and ALSA say in several lines that a device cannot be opened: once that is told, but not at every attempt
    of a night.
    """
    with TemporaryFile() as aside:
        try:
            kept = os.dup(2)
        except OSError:  # there is no stderr
            yield
            return
        os.dup2(aside.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
            aside.seek(0)
            for line in aside:
                if line.startswith(_OURS):
                    os.write(2, line)
