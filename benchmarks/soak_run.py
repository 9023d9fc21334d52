"""A run of the program under watch: what it says is read as it comes, how it is doing is written down."""

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from soak_updates import UpdateCheck
from vitals import WARM_UP, look_at, slope, thinned

PROGRAM = [sys.executable, "-m", "instrec_live.realtime"]
POINTS = 200  # of each curve that is kept
_ROWS, _COLUMNS = 40, 120
_PATIENCE = 30.0  # s


class Run:
    """One process, watched until it ends.

    Args:
        name: of the run.
        command: its words.
        env: its environment; None for this one's.
        stdin: what another thread writes there.
        terminal: the other end of the terminal it runs on, for stdin and stdout.
        lines: waits for its lines of JSON; None for a process that says none.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        env: Mapping[str, str] | None = None,
        stdin: Iterable[bytes] | None = None,
        terminal: int | None = None,
        lines: "Callable[[Run], Iterator[str]] | None" = None,
    ) -> None:
        self.name, self.heard = name, UpdateCheck()
        self._samples: list[dict[str, float]] = []
        self.began = time.monotonic()
        self.process = subprocess.Popen(
            command,
            env=env,
            stdin=subprocess.PIPE if stdin is not None else terminal or subprocess.DEVNULL,
            stdout=subprocess.PIPE if lines is not None and terminal is None else terminal or subprocess.DEVNULL,
            start_new_session=terminal is not None,
            preexec_fn=None if terminal is None else lambda: _take(terminal),
        )
        self._threads: list[threading.Thread] = []
        if stdin is not None:
            self._start(_feed, self.process.stdin, stdin)
        if lines is not None:
            self._start(self._read, lines(self))

    def _start(self, target: Callable[..., None], *arguments: Any) -> None:
        self._threads.append(threading.Thread(target=target, args=arguments, daemon=True))
        self._threads[-1].start()

    def _read(self, lines: Iterator[str]) -> None:
        for line in lines:
            self.heard.note(json.loads(line), time.monotonic() - self.began)

    def ended(self) -> bool:
        """Whether it has ended, and all it said has been read."""
        return self.process.poll() is not None and not any(thread.is_alive() for thread in self._threads)

    def kill(self) -> None:
        """End it at once."""
        self.process.kill()
        self.process.wait()

    def look(self) -> None:
        """Write down how it is doing."""
        now = look_at(self.process.pid)
        late, oldest = self.heard.reset()
        if now is None or late is None:  # before the first update, or after the last
            return
        self._samples.append(
            {
                "wall_h": (time.monotonic() - self.began) / 3600,
                "heard_h": self.heard.time / 3600,
                "memory_mb": round(now.memory_mb, 2),
                "own_mb": round(now.own_mb, 2),
                "files": now.files,
                "threads": now.threads,
                "age_s": oldest,
                "late_s": late,
                "skipped": self.heard.skipped,
                "cpu_s": now.cpu_s,
            }
        )

    def record(self) -> dict[str, Any]:
        """All figures so far, and the curves, thinned."""
        heard, exit_ = self.heard, self.process.poll()
        seen = self._samples if exit_ is None else self._samples[:-1]  # the last look may see it leave
        curves = {key: [sample[key] for sample in seen] for key in seen[0]} if seen else {}
        warm = seen[int(WARM_UP * len(seen)) :]
        return {
            "exit": exit_,
            "heard_h": round(heard.time / 3600, 4),
            "wall_h": round(seen[-1]["wall_h"], 4) if seen else 0.0,
            "cpu_s": seen[-1]["cpu_s"] if seen else 0.0,
            "samples": len(seen),
            "updates": heard.updates,
            "wrong_times": heard.wrong,
            "skipped": heard.skipped,
            "xruns": heard.xruns,
            "bad_samples": heard.bad_samples,
            "summary_agrees": heard.summary.get("updates") == heard.updates and heard.summary.get("time") == heard.time,
            "ended": heard.summary.get("ended"),
            "states": dict(heard.states),
            "instruments_shown": len(heard.shown),
            "age_s": heard.ages(),
            "slopes": _slopes(curves),
            "ranges": {
                key: [min(values), max(values)]
                for key in ("memory_mb", "own_mb", "files", "threads")
                if (values := [sample[key] for sample in warm])
            },
            "curves": {key: [round(values[i], 5) for i in thinned(values, POINTS)] for key, values in curves.items()},
        }


def on_a_pipe(
    name: str, words: list[str], stdin: Iterable[bytes] | None = None, env: Mapping[str, str] | None = None
) -> Run:
    """The program with its lines of JSON on stdout."""
    return Run(name, [*PROGRAM, *words], env, stdin, lines=lambda run: map(bytes.decode, run.process.stdout or ()))


def on_a_terminal(name: str, words: list[str], output: Path, seconds: float, env: Mapping[str, str]) -> Run:
    """The program with its screen on a terminal that is read, and its lines of JSON in a file.

    At the end of the sound the screen stays; some time after `seconds`, q is pressed.
    """
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", _ROWS, _COLUMNS, 0, 0))
    run = Run(
        name,
        [*PROGRAM, *words],
        {**env, "TERM": "xterm-256color", "COLORTERM": "truecolor", "LC_ALL": "C.UTF-8"},
        terminal=other,
        lines=lambda run: _followed(output, lambda: run.process.poll() is not None),
    )
    os.close(other)
    threading.Thread(target=_drain, args=(main,), daemon=True).start()
    leave = threading.Timer(seconds + _PATIENCE, os.write, (main, b"q"))
    leave.daemon = True
    leave.start()
    return run


def _take(terminal: int) -> None:
    """Make it the terminal of this process's session, so that its end is a SIGHUP."""
    fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)


def _feed(pipe: IO[bytes], blocks: Iterable[bytes]) -> None:
    try:
        with pipe:
            for block in blocks:
                pipe.write(block)
    except BrokenPipeError:  # it has ended, which its exit code tells
        pass


def _drain(terminal: int) -> None:
    try:
        while os.read(terminal, 65_536):
            pass
    except OSError:  # what Linux says when the other end is closed
        os.close(terminal)


def _followed(path: Path, ended: Callable[[], bool]) -> Iterator[str]:
    """The lines of a file as they are written, until its writer has ended."""
    while not path.exists():
        if ended():
            return
        time.sleep(0.1)
    begun = ""
    with path.open(encoding="utf-8") as file:
        while True:
            last = ended()
            begun += file.readline()
            if begun.endswith("\n"):
                yield begun
                begun = ""
            elif last:
                return
            else:
                time.sleep(0.02)


def _slopes(curves: Mapping[str, list[float]]) -> dict[str, float]:
    """MB an hour, of sound and of wall clock; what an update is later each hour, in parts per million."""
    found = {}
    try:
        for clock in ("heard_h", "wall_h"):
            found[f"memory_mb_per_{clock[:-2]}_hour"] = round(slope(curves[clock], curves["memory_mb"]), 3)
            found[f"own_mb_per_{clock[:-2]}_hour"] = round(slope(curves[clock], curves["own_mb"]), 3)
        found["drift_ppm"] = round(slope(curves["wall_h"], curves["late_s"]) / 3600 * 1e6, 1)
    except (KeyError, ValueError):  # too short for a slope
        pass
    return found
