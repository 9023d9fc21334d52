"""What the screen itself costs, in a real (pseudo) terminal: for docs/performance.md.

    python benchmarks/screen_cost.py [--seconds 20] [--list]

The demo clip is heard once beforehand; its updates are then given to the screen every half second, as a stream gives
them, so that all CPU time is the screen's own. "music": the clip's updates, with all bars in motion. "nothing changes":
the same update again and again, as in a pause. Writes benchmarks/results/screen_cost.json.

With --list, the list of `instrec-live watch` in its place: 60 sources, each of which gives the clip's updates twice a
second, at different moments. Writes benchmarks/results/list_cost.json.
"""

import argparse
import fcntl
import json
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from types import SimpleNamespace

from instrec_live import Stream
from instrec_live.models.engine_selection import processor
from instrec_live.realtime.stream.update import Update
from instrec_live.realtime.tui.app import InstrecApp
from instrec_live.realtime.tui.base_app import BaseApp
from instrec_live.realtime.tui.watch.app import WatchApp

CHECKOUT = Path(__file__).parent.parent
DEMO = CHECKOUT / "realtime" / "demo" / "demo.ogg"
RESULTS = CHECKOUT / "benchmarks" / "results"
SIZES = ("80x24", "120x40", "200x60")
MANY = 60
KINDS = ("music", "nothing changes")
LIST = f"{MANY} sources"
WARM = 3.0  # s before measuring


class Given:
    """A stream that gives updates every half second, whatever they are."""

    transport = recording = None

    def __init__(self, kind: str) -> None:
        with Stream(file=DEMO, pace="max", keep_mel=True) as stream:
            updates, self.info = list(stream), replace(stream.info, pace="realtime")
        if kind != "music":
            updates = [replace(updates[60], time=0.5 * number) for number in range(1, 200)]
        self.updates, self.closed = updates, threading.Event()

    def __iter__(self) -> Iterator[Update]:
        for update in self.updates * 9:
            yield update
            if self.closed.wait(0.5):
                return

    def close(self) -> None:
        self.closed.set()

    stop = close

    def notices(self) -> list[str]:
        return []


class ManyGiven:
    """A hub of sources, each of which gives the clip's updates every half second, begun at another one."""

    engine_name = "onnxruntime cpu"

    def __init__(self) -> None:
        given = Given("music")
        self.updates, self.closed = given.updates, given.closed
        self.workers = {f"channel {number + 1}": SimpleNamespace(session=given) for number in range(MANY)}

    def __iter__(self) -> Iterator[tuple[str, Update]]:
        start = time.monotonic()
        for turn in count():
            for number, name in enumerate(self.workers):
                if self.closed.wait(max(0.0, start + 0.5 * (turn + number / MANY) - time.monotonic())):
                    return
                newest = self.updates[(turn + 7 * number) % len(self.updates)]
                yield name, replace(newest, time=0.5 * (turn + 1))

    def close(self) -> None:
        self.closed.set()

    stop = close


class Watched(BaseApp):
    """A screen, and what it costs once it has begun; written to `to` after so many `seconds`."""

    seconds: float
    to: Path
    frames = 0

    def draw(self) -> None:
        self.frames += 1
        super().draw()

    def on_mount(self) -> None:
        self.set_timer(WARM, self.begin)

    def begin(self) -> None:
        """Start measuring."""
        self.before = time.process_time(), time.monotonic(), self.frames
        self.set_timer(self.seconds, self.finish)

    def finish(self) -> None:
        """Write down what was measured, and leave."""
        cpu, wall, frames = self.before
        share = (time.process_time() - cpu) / (time.monotonic() - wall)
        found = {"share": round(share, 4), "frames": round((self.frames - frames) / self.seconds, 1)}
        self.to.write_text(json.dumps(found))
        self.exit()


class WatchedStream(Watched, InstrecApp):
    """The screen of one."""


class WatchedList(Watched, WatchApp):
    """The list of many."""


def measure(kind: str, seconds: float, to: Path) -> None:
    """Run the screen on this process's terminal, and write what it cost."""
    app = WatchedList(ManyGiven()) if kind == LIST else WatchedStream(Given(kind))
    app.seconds, app.to = seconds, to
    app.run()
    if app._exception is not None:
        raise app._exception


def in_terminal(size: str, kind: str, seconds: float, to: Path) -> dict[str, float]:
    """What the screen costs on a terminal of that size."""
    columns, lines = map(int, size.split("x"))
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    arguments = [sys.executable, __file__, "--child", kind, "--seconds", str(seconds), "--to", str(to)]
    environment = os.environ | {"TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8"}
    child = subprocess.Popen(arguments, stdin=other, stdout=other, stderr=other, env=environment)
    os.close(other)
    written = 0
    while child.poll() is None:
        if select.select([main], [], [], 0.2)[0]:
            try:
                written += len(os.read(main, 65536))
            except OSError:
                break
    child.wait()
    os.close(main)
    return {**json.loads(to.read_text()), "bytes_a_second": round(written / (seconds + WARM))}


def main() -> None:
    """Measure all sizes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--list", action="store_true", help="the list of many sources")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--to", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        measure(options.child, options.seconds, options.to)
        return
    found = []
    results = RESULTS / ("list_cost.json" if options.list else "screen_cost.json")
    scratch = results.with_suffix(".part")
    for size in SIZES:
        for kind in (LIST,) if options.list else KINDS:
            found.append({"size": size, "kind": kind, **in_terminal(size, kind, options.seconds, scratch)})
            print(f"{size:>7}  {kind:<16} {found[-1]['share']:.1%} of a core, {found[-1]['frames']} frames a second")
    scratch.unlink()
    record = {
        "command": "python benchmarks/screen_cost.py" + f" --seconds {options.seconds:g}" + " --list" * options.list,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": processor(),
        "seconds": options.seconds,
        "screens": found,
    }
    results.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
