"""A program in a pseudo terminal of 80 x 24, from its start to its end."""

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

Act = Callable[["subprocess.Popen[bytes]", Callable[[bytes], object]], object]


def in_terminal(
    arguments: list[str],
    act: Act,
    ready: bytes = b"voice",
    stdin: int | IO[bytes] | None = None,
    stdout: int | IO[bytes] | None = None,
    stderr: int | IO[bytes] | None = None,
    cwd: Path = Path(__file__).parent,
    **environment: str,
) -> tuple[int, str]:
    """Run Python with `arguments` on a terminal of its own, all but the streams given; its code, what it showed.

    `act(process, write)` once `ready` is on the terminal. The terminal must be left in the mode it was in.
    """
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    settings = termios.tcgetattr(other)

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(other, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        [sys.executable, *arguments],
        stdin=stdin or other,
        stdout=stdout or other,
        stderr=stderr or other,
        cwd=cwd,
        env=os.environ | {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8"} | environment,
        preexec_fn=take_terminal,
    )
    output, acted, deadline = b"", False, time.monotonic() + 240
    try:
        while process.poll() is None and time.monotonic() < deadline:
            if select.select([main], [], [], 0.1)[0]:
                output += os.read(main, 65536)
            if not acted and ready in output:
                act(process, lambda keys: os.write(main, keys))
                acted = True
        while select.select([main], [], [], 0.1)[0]:
            output += os.read(main, 65536)
        assert termios.tcgetattr(other) == settings, "the terminal was left in another mode"
    finally:
        process.kill()
        code = process.wait()
        os.close(main)
        os.close(other)
    return code, output.decode(errors="replace")
