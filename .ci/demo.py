"""Runs the README's demo command and checks what a newcomer sees. Needs nothing beyond the standard library.

python .ci/demo.py terminal COMMAND   on a terminal: the screen is drawn, and q quits
python .ci/demo.py plain COMMAND      stdin, stdout and stderr are no terminal: a line for each change, to the end
"""

import os
import re
import select
import struct
import subprocess
import sys
from contextlib import suppress

with suppress(ImportError):  # Windows has none of them
    import fcntl
    import pty
    import termios

SILENCE_S = 300.0  # a command that writes nothing for so long hangs
FULL_SCREEN, LEFT = b"\x1b[?1049h", b"\x1b[?1049l"  # a full-screen program begins, and ends
ENTRY = re.compile(r"^\d\d:\d\d\.\d  \+ (.+) \.\d\d$", re.MULTILINE)


def on_terminal(command: list[str]) -> str:
    """Run it on a terminal of 80 x 24 and press q once the screen lists the instruments; what is wrong, or ""."""
    if os.name != "posix":
        print("no pseudo-terminals on this system: not checked")
        return ""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    before = termios.tcgetattr(theirs)

    def take_terminal() -> None:
        os.setsid()
        fcntl.ioctl(theirs, termios.TIOCSCTTY, 0)

    environment = os.environ | {"TERM": "xterm-256color"}
    process = subprocess.Popen(
        command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment, preexec_fn=take_terminal
    )
    shown, pressed, waited = b"", False, 0.0
    while process.poll() is None and waited < SILENCE_S:
        if not select.select([ours], [], [], 0.2)[0]:
            waited += 0.2
            continue
        waited = 0.0
        shown += os.read(ours, 65_536)
        if not pressed and FULL_SCREEN in shown and b"voice" in shown:
            os.write(ours, b"q")
            pressed = True
    process.kill()
    code = process.wait()
    while select.select([ours], [], [], 0.2)[0]:
        shown += os.read(ours, 65_536)
    restored = termios.tcgetattr(theirs) == before
    if code == 0 and pressed and LEFT in shown and restored:
        return ""
    return f"exit {code}, q pressed: {pressed}, screen left: {LEFT in shown}, terminal restored: {restored}\n" + (
        shown[-2000:].decode(errors="replace")
    )


def without_terminal(command: list[str]) -> str:
    """Run it with no terminal anywhere; what is wrong, or ""."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, start_new_session=True)
    seen = sorted(set(ENTRY.findall(done.stdout)))
    print(f"{len(done.stdout.splitlines())} lines, instruments: {', '.join(seen) or 'none'}")
    if done.returncode != 0 or "\x1b" in done.stdout or len(seen) < 4:  # the clip has twelve instruments
        return f"exit {done.returncode}, stdout:\n{done.stdout[-1000:]}\nstderr:\n{done.stderr[-1000:]}"
    return ""


def main() -> int:
    variant, line = sys.argv[1:]
    wrong = {"terminal": on_terminal, "plain": without_terminal}[variant](["bash", "-euo", "pipefail", "-c", line])
    print(wrong or f"{variant}: as expected")
    return bool(wrong)


if __name__ == "__main__":
    raise SystemExit(main())
