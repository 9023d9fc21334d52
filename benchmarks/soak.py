"""Observes hours of listening from outside: does anything grow, is any sound lost?

    python benchmarks/soak.py max  [--hours 8]    [--sounds FOLDER]    # a pipe, as fast as it goes: about half an hour
    python benchmarks/soak.py live [--minutes 60] [--sounds FOLDER]    # a virtual microphone (PulseAudio)

Runs the program as a user does, with its own networks, on endless music: of the demo clip and the files in a
folder, alone and in pairs, loud and soft, with pauses (soak_sound.py). Every few seconds it looks at the process in
/proc (vitals.py: memory, open files, threads; Linux only), and reads every update (soak_updates.py: time, age, losses).
"live" listens twice to one microphone: with lines of JSON on stdout, and with the screen on a pseudo terminal.

Writes benchmarks/results/soak_max.json and soak_live.json, or --to, at the end of the run; every minute the
figures so far, in a file next to it (.part). Then pictures.py and pages.py put it into docs/reliability.md.
"""

import argparse
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import soak_sound
from soak_run import Run, on_a_pipe, on_a_terminal

from instrec_live.realtime.commands.benchmark.measurement import facts

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))
from virtual_microphone import VirtualMicrophone, why_not

CHECKOUT = Path(__file__).resolve().parent.parent
DEMO = CHECKOUT / "realtime" / "demo" / "demo.ogg"
RESULTS = CHECKOUT / "benchmarks" / "results"
SUFFIXES = {".ogg", ".wav", ".flac", ".mp3"}
RAW = ["--rate", str(soak_sound.RATE), "--channels", str(soak_sound.CHANNELS), "--format", "s16le"]
ENGINE = ["--engine", "onnx"]  # not whichever is fastest here, which would have to be measured first
LIVE_EVERY, MAX_EVERY = 5.0, 1.0  # s of wall clock between two looks
KEEP_EVERY = 60.0  # s

Keep = Callable[[Sequence[Run]], None]


def watch(runs: Sequence[Run], every: float, keep: Keep) -> None:
    """Look at the runs until all have ended."""
    kept = time.monotonic()
    while not all(run.ended() for run in runs):
        time.sleep(every)
        for run in runs:
            run.look()
        if time.monotonic() - kept > KEEP_EVERY:
            keep(runs)
            kept = time.monotonic()


def at_most(sounds: Sequence[Path], hours: float, keep: Keep) -> list[Run]:
    """A pipe, as fast as it goes."""
    words = [*ENGINE, "--stdin", *RAW, "--pace", "max", "--no-ui", "--json"]
    run = on_a_pipe("max", words, soak_sound.cut(soak_sound.endless(sounds), 3600 * hours))
    try:
        watch([run], MAX_EVERY, keep)
    finally:
        run.kill()
    return [run]


def live(sounds: Sequence[Path], minutes: float, keep: Keep) -> list[Run]:
    """One microphone, heard twice."""
    if (why := why_not()) is not None:
        raise SystemExit(f"no virtual microphone: {why}")
    microphone = VirtualMicrophone()
    music = soak_sound.cut(soak_sound.endless(sounds), 60 * minutes + 60)
    play = ["paplay", "--raw", "--rate=44100", "--channels=2", "--format=s16le", "--device=vspk"]
    player = Run("player", play, env=microphone.env, stdin=music)
    runs: list[Run] = []
    try:
        with tempfile.TemporaryDirectory() as folder:
            words, lines = [*ENGINE, "--duration", str(60 * minutes)], Path(folder) / "screen.jsonl"
            runs.append(on_a_pipe("lines", [*words, "--no-ui", "--json"], env=microphone.env))
            on_screen = [*words, "--output", str(lines)]
            runs.append(on_a_terminal("screen", on_screen, lines, 60 * minutes, microphone.env))
            watch(runs, LIVE_EVERY, keep)
    finally:
        for run in (*runs, player):
            run.kill()
        microphone.stop()
    return runs


def main() -> None:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # and nothing started here stays behind
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=("max", "live"))
    parser.add_argument("--hours", type=float, default=8.0, help="of sound, for max (8)")
    parser.add_argument("--minutes", type=float, default=60.0, help="for live (60)")
    parser.add_argument("--sounds", type=Path, help="a folder of recordings to play in addition to the demo clip")
    parser.add_argument("--to", type=Path, help="where the figures go (benchmarks/results/soak_….json)")
    args = parser.parse_args()
    sounds = [DEMO, *sorted(path for path in (args.sounds or DEMO).rglob("*") if path.suffix in SUFFIXES)]
    length = f"--hours {args.hours:g}" if args.mode == "max" else f"--minutes {args.minutes:g}"
    head = {
        "command": f"python benchmarks/soak.py {args.mode} {length}" + " --sounds CLIPS" * (args.sounds is not None),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": facts(),
        "recordings": len(sounds),
    }
    to: Path = args.to or RESULTS / f"soak_{args.mode}.json"
    part = to.with_suffix(".part")

    def write(runs: Sequence[Run], path: Path = part) -> None:
        record: dict[str, Any] = head | {"load_at_end": round(os.getloadavg()[0], 1)}
        record["runs"] = {run.name: run.record() for run in runs}
        path.write_text(json.dumps(record) + "\n", encoding="utf-8")

    runs = at_most(sounds, args.hours, write) if args.mode == "max" else live(sounds, args.minutes, write)
    write(runs, to)
    part.unlink(missing_ok=True)
    for run in runs:
        print(run.name, {name: value for name, value in run.record().items() if name != "curves"})
    if any(run.record()["exit"] for run in runs):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
