"""A long file and many short ones through `instrec-live tag`: memory, time, and whether all ways agree.

    python benchmarks/archive.py [--hours 10] [--files 200]   # writes benchmarks/results/archive.json; some minutes

Short files in four formats: one run that is killed halfway and resumed, and one that is not; both must write the same
bytes. Then the demo clip again and again as FLAC. A quarter of an hour of it: whether `--file … --pace max` finds the
same segments as `tag` with one process and with two. Many hours, in mono, with one network and a hop of 2 s, which take
a fifth of the time: the memory of all processes of `tag --jobs 1` together, every few seconds.
"""

import argparse
import contextlib
import csv
import datetime
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from cost import RESULTS
from demo_timeline import CHECKOUT
from vitals import look_at, slope, thinned

from instrec_live.models.engine_selection import processor
from instrec_live.models.instruments import DISPLAY_NAMES
from instrec_live.realtime.commands.tag.pool import cores

PROGRAM = [sys.executable, "-m", "instrec_live.realtime"]
ALIKE = ("--engine", "onnx", "-q")
SHORT_HOURS = 0.25  # long enough to be divided between processes
CHEAP = ("--models", "cbam_cnn", "--hop", "2")


def ran(*argv: str, where: Path) -> dict[str, Any]:
    """What a run cost; its processes' most memory is that of the greatest."""
    began = time.perf_counter()
    process = subprocess.Popen([*PROGRAM, *argv, *ALIKE], cwd=where, env=os.environ | {"OMP_NUM_THREADS": "1"})
    _, status, used = os.wait4(process.pid, 0)
    assert os.waitstatus_to_exitcode(status) == 0, argv
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_s": round(used.ru_utime + used.ru_stime, 1),
        "most_memory_mb": round(used.ru_maxrss / 1024),
    }


def watched(*argv: str, where: Path, hours: float) -> dict[str, Any]:
    """What a run cost, and the memory of its processes together: without what files stand behind, MB."""
    began = time.perf_counter()
    process = subprocess.Popen([*PROGRAM, *argv, *ALIKE], cwd=where, env=os.environ | {"OMP_NUM_THREADS": "1"})
    memory: list[float] = []
    cpu = 0.0
    while process.poll() is None:
        looks = [look for pid in family(process.pid) if (look := look_at(pid)) is not None]
        memory.append(round(sum(look.own_mb for look in looks), 1))
        cpu = max(cpu, sum(look.cpu_s for look in looks))
        time.sleep(3.0)
    assert process.returncode == 0, argv
    steady = memory[len(memory) // 10 : -2]  # the processes load at the beginning and end one after another
    at = [hours * number / len(memory) for number in range(len(memory))]
    return {
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_s": round(cpu, 1),
        "memory_mb": [min(steady), max(steady)],
        "growth_mb_an_hour": round(slope(at[:-2], memory[:-2]), 2),
        "curve_mb": [memory[number] for number in thinned(memory, 60)],
    }


def family(pid: int) -> list[int]:
    """A process and all that it has started, from Linux's /proc."""
    parents: dict[int, int] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for each in found:
        found += [child for child, parent in parents.items() if parent == each]
    return found


def segments(path: Path) -> set[tuple[str, str, str]]:
    """Onset, offset and name of the instruments' segments in a table of `tag`."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["instrument"]]
    return {(f"{float(r['start']):.3f}", f"{float(r['end']):.3f}", DISPLAY_NAMES[r["instrument"]]) for r in rows}


def labels(path: Path) -> set[tuple[str, str, str]]:
    """The same of an Audacity label track."""
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    return {(start, end, words.rpartition(" ")[0]) for start, end, words in lines}


def write_clip(path: Path, hours: float, channels: int) -> None:
    """The demo clip again and again; its first channels."""
    clip, rate = soundfile.read(CHECKOUT / "realtime" / "demo" / "demo.ogg", dtype="int16", always_2d=True)
    clip = clip[:, :channels]
    with soundfile.SoundFile(path, "w", rate, clip.shape[1], compression_level=0.0) as file:
        for _ in range(round(hours * 3600 * rate / len(clip))):
            file.write(clip)


def same_segments(where: Path) -> dict[str, Any]:
    """One file, by `tag` with one process and with two, and by --file."""
    write_clip(where / "short.flac", SHORT_HOURS, 2)
    record: dict[str, Any] = {"hours": SHORT_HOURS}
    found = []
    for jobs in ("1", "2"):
        tables = ("-o", f"{jobs}.csv", "--segments", f"{jobs}.segments.csv", "--jobs", jobs)
        record[f"tag, {jobs}"] = ran("tag", "short.flac", *tables, where=where)
        found.append(segments(where / f"{jobs}.segments.csv"))
    say = ("--file", "short.flac", "--pace", "max", "--no-ui", "-o", "short.txt")
    record["--file --pace max"] = ran(*say, where=where)
    same_bytes = (where / "1.segments.csv").read_bytes() == (where / "2.segments.csv").read_bytes()
    same = same_bytes and found[0] == labels(where / "short.txt")
    return record | {"segments": len(found[0]), "same_segments": same}


def long_file(hours: float, where: Path) -> dict[str, Any]:
    """One file of many hours, by one process."""
    write_clip(where / "long.flac", hours, 1)
    tables = ("-o", "long.csv", "--segments", "long.segments.csv", "--jobs", "1")
    record = watched("tag", "long.flac", *tables, *CHEAP, where=where, hours=hours)
    count = len(segments(where / "long.segments.csv"))
    return {"hours": hours, "options": " ".join(CHEAP), **record, "segments": count}


def many_files(count: int, where: Path) -> dict[str, Any]:
    """Short files: a run that is killed and resumed, and one that is not."""
    clip, rate = soundfile.read(CHECKOUT / "realtime" / "demo" / "demo.ogg", dtype="int16", always_2d=True)
    rng, folder = np.random.default_rng(0), where / "archive"
    folder.mkdir()
    for number in range(count):
        length, suffix = round(rng.uniform(2, 4) * rate), ("wav", "flac", "ogg", "mp3")[number % 4]
        first = int(rng.integers(0, len(clip) - length))
        soundfile.write(folder / f"{number:03d}.{suffix}", clip[first : first + length], rate)
    whole = ran("tag", "archive", "-o", "whole.csv", "--segments", "whole.segments.csv", where=where)
    argv = [*PROGRAM, "tag", "archive", "-o", "killed.csv", "--segments", "killed.segments.csv", *ALIKE]
    process = subprocess.Popen(argv, cwd=where, start_new_session=True)
    table = where / "killed.csv"
    while process.poll() is None and (not table.exists() or table.read_bytes().count(b"\n") < 10 * count):
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = table.read_bytes().count(b"\n") // 20
    resumed = ran(*argv[len(PROGRAM) : -len(ALIKE)], where=where)
    rows = (where / "whole.csv").read_bytes().count(b"\n") - 1
    same = all(
        (where / f"killed{end}").read_bytes() == (where / f"whole{end}").read_bytes()
        for end in (".csv", ".segments.csv")
    )
    return {
        "files": count,
        "rows": rows,
        "whole": whole,
        "files_before_the_kill": before,
        "resumed": resumed,
        "same_bytes": same,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=float, default=10.0)
    parser.add_argument("--files", type=int, default=200)
    args = parser.parse_args()
    record: dict[str, Any] = {
        "command": " ".join(["python benchmarks/archive.py", *sys.argv[1:]]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": processor(),
        "processes": cores(),
        "load_before": round(os.getloadavg()[1], 1),
    }
    with tempfile.TemporaryDirectory() as made:
        record["many files"] = many_files(args.files, Path(made))
        print(json.dumps(record, indent=1), flush=True)
        record["same segments"] = same_segments(Path(made))
        print(json.dumps(record["same segments"], indent=1), flush=True)
        record["long file"] = long_file(args.hours, Path(made))
    (RESULTS / "archive.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
