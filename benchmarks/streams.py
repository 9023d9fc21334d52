"""How many live streams one process carries, and what each costs: for docs/watch.md.

    python benchmarks/streams.py [--streams 1,2,4,8,16,32,64,128] [--seconds 30] [--hop 1]

Runs `instrec-live watch` over so many files (the demo clip, each begun elsewhere), one thread for the networks, as a
user does, and watches the process from outside once all have been heard for twelve seconds. Writes
benchmarks/results/streams.json.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from vitals import look_at

from instrec_live.models.engine_selection import processor

CHECKOUT = Path(__file__).parent.parent
DEMO = CHECKOUT / "realtime" / "demo" / "demo.ogg"
RESULTS = CHECKOUT / "benchmarks" / "results" / "streams.json"
WARM = 12.0  # s of sound that each has heard before it counts


def main(argv: Sequence[str] | None = None) -> int:
    p = argparse.ArgumentParser(description="What live streams cost, many at a time.")
    p.add_argument("--streams", default="1,2,4,8,16,32,64,128")
    p.add_argument("--seconds", type=float, default=30.0, help="to measure for")
    p.add_argument("--hop", type=float, default=1.0)
    p.add_argument("--output", type=Path, default=RESULTS)
    given = p.parse_args(argv)
    cases = []
    with tempfile.TemporaryDirectory() as folder:
        for count in map(int, given.streams.split(",")):
            files = sounds(Path(folder), count, given.seconds + WARM + 10)
            cases.append(measured(files, given.seconds, given.hop))
            print(json.dumps(cases[-1]), flush=True)
    command = f"python benchmarks/streams.py --seconds {given.seconds:g} --hop {given.hop:g}"
    record = {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor(),
        "hop_s": given.hop,
        "seconds": given.seconds,
        "cases": cases,
    }
    given.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return 0


def sounds(folder: Path, count: int, seconds: float) -> list[Path]:
    """So many WAV files of the demo clip, as long as asked, each begun elsewhere in it."""
    clip, rate = soundfile.read(DEMO, dtype="int16", always_2d=True)
    paths = []
    for number in range(count):
        path = folder / f"{number:03}.wav"
        if not path.exists():
            turned = np.roll(clip, -number * 7 * rate, axis=0)
            times = int(np.ceil(seconds * rate / len(clip)))
            soundfile.write(path, np.tile(turned, (times, 1))[: round(seconds * rate)], rate)
        paths.append(path)
    return paths


def measured(files: Sequence[Path], seconds: float, hop: float) -> dict[str, Any]:
    """What the process uses, and how old its updates are, between two moments."""
    command = [sys.executable, "-m", "instrec_live.realtime", "watch", "--no-config", "--json", f"--hop={hop:g}"]
    command += ["--engine", "onnx", *map(str, files)]
    ages: list[float] = []
    skipped: dict[str, tuple[int, int]] = {}  # by channel, at first and now
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        began: tuple[float, float] | None = None  # time and CPU time, s
        for line in process.stdout:
            record = json.loads(line)
            if record["type"] != "update":
                continue
            now = time.monotonic()
            if began is None:
                if record["time"] < WARM:
                    continue
                began = now, _vitals(process.pid).cpu_s
            ages.append(record["age_s"])
            first = skipped.get(record["channel"], (record["skipped"], 0))[0]
            skipped[record["channel"]] = first, record["skipped"]
            if now - began[0] >= seconds:
                break
        assert began is not None
        took, vitals = time.monotonic() - began[0], _vitals(process.pid)
        process.kill()
    lost = [now - first for first, now in skipped.values()]
    cpu = (vitals.cpu_s - began[1]) / took
    return {
        "streams": len(files),
        "cpu": round(cpu, 4),
        "cpu_each": round(cpu / len(files), 5),
        "memory_mb": round(vitals.memory_mb, 1),
        "age_p50_s": round(float(np.percentile(ages, 50)), 3),
        "age_p95_s": round(float(np.percentile(ages, 95)), 3),
        "updates": len(ages),
        "skipped_least": min(lost),
        "skipped_most": max(lost),
        "skipped_share": round(sum(lost) / (sum(lost) + len(ages)), 4),
    }


def _vitals(pid: int):
    vitals = look_at(pid)
    assert vitals is not None, "it has ended"
    return vitals


if __name__ == "__main__":
    raise SystemExit(main())
