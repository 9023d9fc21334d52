"""Does the program keep its budgets on this machine? Runs it as a user does, and counts.

    python benchmarks/budgets.py [--seconds 60]

Writes benchmarks/results/budgets.json: for each budget its limit, what was measured, and the command behind it. The
share of a core is CPU time by the clock, start-up included; the age is what every line of --json says of itself; the
ratio to whole windows in torch is that of peers.json, and delays are those of timing.json, if they were written.
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from typing import Any

import soundfile
from cost import CHECKOUT, RESULTS

from instrec_live.models.bundle import BUNDLES
from instrec_live.models.engine_selection import processor

sys.path.insert(0, str(CHECKOUT / "tests" / "support"))
from pseudo_terminal import in_terminal

PROGRAM = [sys.executable, "-m", "instrec_live.realtime"]


def run(*options: str) -> tuple[list[str], float, float, float]:
    """The program's lines on stdout, seconds by the clock, seconds of CPU, and its greatest size in MB."""
    with tempfile.TemporaryFile("w+") as out:
        began = time.monotonic()
        process = subprocess.Popen([*PROGRAM, *options], stdout=out, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.monotonic() - began
        if status:
            raise SystemExit(f"instrec-live {' '.join(options)}: exit {os.waitstatus_to_exitcode(status)}")
        out.seek(0)
        return out.read().splitlines(), wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def first_screen() -> float:
    """Seconds from the start until the screen names the last instrument."""
    shown: list[float] = []

    def quit_(_: Any, write: Any) -> None:
        shown.append(time.monotonic())
        write(b"q")

    began = time.monotonic()
    in_terminal(["-m", "instrec_live.realtime", "--demo"], quit_)
    return shown[0] - began


def budget(limit: float, measured: float, command: str) -> dict[str, Any]:
    return {"limit": limit, "measured": round(measured, 3), "command": command}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0, help="of listening live (60)")
    args = parser.parse_args()
    live = ("--demo", "--json", "--duration", f"{args.seconds:g}")
    lines, wall, cpu, size = run(*live)
    ages = [json.loads(line)["age_s"] for line in lines if '"type": "update"' in line]
    fast = ("--demo", "--json", "--pace", "max")
    seconds = soundfile.info(str(CHECKOUT / "realtime/demo/demo.ogg")).duration
    called = "instrec-live"
    found = {
        "share of a core, live, updates every 0.5 s": budget(0.25, cpu / wall, " ".join([called, *live])),
        "age of the newest sound, p95, s": budget(
            0.65, statistics.quantiles(ages, n=20)[-1], " ".join([called, *live])
        ),
        "memory while live, MB": budget(300, size, " ".join([called, *live])),
        "--pace max, times real time, at least": budget(
            10, seconds / statistics.median(run(*fast)[1] for _ in range(3)), " ".join([called, *fast])
        ),
        "first screen, s": budget(1.5, statistics.median(first_screen() for _ in range(5)), f"{called} --demo"),
        "--help, s": budget(0.15, statistics.median(run("--help")[1] for _ in range(9)), f"{called} --help"),
        "bundles together, MB": budget(
            40, sum(f.stat().st_size for f in BUNDLES.rglob("*") if f.is_file()) / 1e6, "du models/bundles"
        ),
    }
    for name, key, limit, figure in (
        ("peers.json", "cost, relative to torch on whole windows", 1 / 3, lambda r: 1 / r["ratio_to_ours"]["naive"]),
        ("timing.json", "delay until shown, median, s", 1.5, lambda r: r["median_detection_s"]),
        ("timing.json", "delay until hidden, median, s", 3.0, lambda r: r["median_release_s"]),
    ):
        if (RESULTS / name).exists():
            record = json.loads((RESULTS / name).read_text(encoding="utf-8"))
            found[key] = budget(limit, figure(record), record["command"])
    record = {
        "command": " ".join(["python benchmarks/budgets.py", *sys.argv[1:]]),
        "date": datetime.datetime.now().isoformat(timespec="seconds"),
        "machine": processor(),
        "budgets": found,
    }
    (RESULTS / "budgets.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
