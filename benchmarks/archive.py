"""A long file and many short ones through `instrec-live tag`: memory, time, and whether all ways agree.

    python benchmarks/archive.py [--hours 10] [--files 200] [--hop 0.5]   # writes benchmarks/results/archive.json

The demo clip again and again as FLAC, of one hour and of many: the most memory of any process, the rows, and whether
`--file … --pace max` finds the same segments. Then short files in four formats: one run that is killed halfway and
resumed, and one that is not; both must write the same bytes.
"""

import argparse
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

from instrec_live.models.engine_selection import processor
from instrec_live.models.instruments import DISPLAY_NAMES
from instrec_live.realtime.commands.tag.pool import cores

PROGRAM = [sys.executable, "-m", "instrec_live.realtime"]
ALIKE = ("--engine", "onnx", "-q")


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


def segments(path: Path) -> set[tuple[str, str, str]]:
    """Onset, offset and name of the instruments' segments in a table of `tag`."""
    with open(path, newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["instrument"]]
    return {(f"{float(r['start']):.3f}", f"{float(r['end']):.3f}", DISPLAY_NAMES[r["instrument"]]) for r in rows}


def labels(path: Path) -> set[tuple[str, str, str]]:
    """The same of an Audacity label track."""
    lines = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
    return {(start, end, words.rpartition(" ")[0]) for start, end, words in lines}


def long_file(hours: float, hop: float, where: Path) -> dict[str, Any]:
    """One file, by `tag` and by --file."""
    clip, rate = soundfile.read(CHECKOUT / "realtime" / "demo" / "demo.ogg", dtype="int16", always_2d=True)
    with soundfile.SoundFile(where / "long.flac", "w", rate, clip.shape[1], compression_level=0.0) as file:
        for _ in range(round(hours * 3600 * rate / len(clip))):
            file.write(clip)
    tables = ("-o", "long.csv", "--segments", "long.segments.csv", "--hop", str(hop), "--force")
    record: dict[str, Any] = {"hours": hours, "hop": hop}
    record["tag"] = ran("tag", "long.flac", *tables, where=where)
    say = ("--file", "long.flac", "--pace", "max", "--no-ui", "--hop", str(hop), "-o", "long.txt", "--force")
    record["--file --pace max"] = ran(*say, where=where)
    found = segments(where / "long.segments.csv")
    record |= {"segments": len(found), "same_segments": found == labels(where / "long.txt")}
    (where / "long.flac").unlink()
    return record


def many_files(count: int, where: Path) -> dict[str, Any]:
    """Short files: a run that is killed and resumed, and one that is not."""
    clip, rate = soundfile.read(CHECKOUT / "realtime" / "demo" / "demo.ogg", dtype="int16", always_2d=True)
    rng, folder = np.random.default_rng(0), where / "archive"
    folder.mkdir()
    for number in range(count):
        length, suffix = round(rng.uniform(3, 12) * rate), ("wav", "flac", "ogg", "mp3")[number % 4]
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
    parser.add_argument("--hop", type=float, default=0.5)
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
        record["long files"] = [long_file(hours, args.hop, Path(made)) for hours in (1.0, args.hours)]
    (RESULTS / "archive.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
