"""A window with the program in it is closed: it ends with 129, whether the system sends SIGHUP or not."""

import os
import select
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

fcntl = pytest.importorskip("fcntl", reason="pseudo terminals are POSIX's")

import pty
import termios

from test_terminal import FILE, place  # noqa: F401


def shown_until(terminal: int, text: bytes) -> None:
    shown, deadline = b"", time.monotonic() + 120
    while text not in shown:
        assert time.monotonic() < deadline, shown[-500:]
        if select.select([terminal], [], [], 0.1)[0]:
            shown += os.read(terminal, 65_536)


@pytest.mark.parametrize(
    ("controlling", "narration"), [(True, "terminal"), (False, "file")], ids=["its own terminal", "somebody else's"]
)
def test_a_terminal_that_is_closed_ends_it(place: Path, tmp_path: Path, controlling: bool, narration: str) -> None:  # noqa: F811
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    log = tmp_path / "stderr.txt"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, *FILE],
            stdin=other,
            stdout=other,
            stderr=other if narration == "terminal" else file,
            cwd=place,
            env=os.environ | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"},
            start_new_session=True,
            preexec_fn=(lambda: fcntl.ioctl(other, termios.TIOCSCTTY, 0)) if controlling else None,
        )
    try:
        os.close(other)
        shown_until(main, b"voice")
        os.close(main)
        assert process.wait(120) == 129
    finally:
        process.kill()
        process.wait()
    assert "Traceback" not in log.read_text()
    assert "error" not in log.read_text()
