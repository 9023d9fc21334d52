"""The same sound gives the same probabilities, however it comes in.

    python benchmarks/same_sound.py            # runs instrec-live some forty times: about four minutes
    python benchmarks/same_sound.py --check    # runs nothing; exit 1 if docs/inputs.md is not what the result says

Twelve seconds of the demo clip go through the command line as files of many formats, rates and numbers of channels,
through pipes from sox and ffmpeg, and through a virtual microphone. Every update's 20 probabilities are compared with
those of a reference: the clip as 32 kHz mono, 32-bit float, made by soxr. A rate below 32 kHz cannot carry all of that
sound, so it is compared with a reference that went through the same rate (and with the plain one, for the record).
Writes benchmarks/results/same_sound.json and the table in docs/inputs.md.
Exits 1 if a lossless way in, at 32 kHz or more, differs by more than 0.03 in any probability.
"""

import argparse
import datetime
import importlib.metadata
import json
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
from demo_sound import FORMATS, RATE, SECONDS, Way, lag_of, reference, write
from pages import filled

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "support"))
from virtual_microphone import NAME, VirtualMicrophone, why_not

CHECKOUT = Path(__file__).resolve().parent.parent
RESULT = CHECKOUT / "benchmarks" / "results" / "same_sound.json"
PAGE = CHECKOUT / "docs" / "inputs.md"
TOLERANCE = 0.03  # what rounding to 16 bits may do; 24 bits and floats stay far below it
NEAR_S = 0.05  # updates this close in time are of the same moment: an mp3 may end a little later than its sound

PIPES = {  # the command that writes into the pipe, what --stdin has to be told, and whether the sound stays as it is
    "sox s16le": ("sox -D {} -t raw -e signed -b 16 -", "--rate 44100 --channels 2 --format s16le", True),
    "sox s16le, dithered": ("sox -R {} -t raw -e signed -b 16 -", "--rate 44100 --channels 2 --format s16le", False),
    "sox f32le": ("sox {} -t raw -e float -b 32 -", "--rate 44100 --channels 2 --format f32le", True),
    "ffmpeg s16le": ("ffmpeg -v error -i {} -f s16le -ar 48000 -", "--rate 48000 --channels 2 --format s16le", True),
    "ffmpeg f32le": ("ffmpeg -v error -i {} -f f32le -", "--rate 44100 --channels 2 --format f32le", True),
    "ffmpeg s16le -ac 1": ("ffmpeg -v error -i {} -f s16le -ac 1 -ar 32000 -", "--rate 32000", True),
    "ffmpeg f32le -ac 1, 3 dB louder": (
        "ffmpeg -v error -i {} -f f32le -ac 1 -ar 32000 -",
        "--rate 32000 --format f32le",
        False,
    ),
    "ffmpeg wav": ("ffmpeg -v error -i {} -f wav -", "", True),
}
WAYS = [
    *(Way(name) for name in FORMATS),
    *(Way(name, seconds=s) for s in (5.0, 1.3) for name in ("wav 16-bit", "flac", "ogg", "mp3")),
    *(Way("wav 16-bit", rate) for rate in (8_000, 11_025, 16_000, 22_050, 32_000, 48_000, 96_000, 192_000)),
    *(Way("wav 16-bit", 48_000, channels) for channels in (1, 6, 8)),
    Way("flac", 44_100, 8),
    Way("flac", 96_000),
    Way("ogg", 8_000),
    Way("mp3", 16_000),
    Way("mp3", 48_000, 1),
]


class Heard(NamedTuple):
    """What a run said: times [n] in s, probabilities [n, 20], and who was active, n times."""

    times: np.ndarray
    probabilities: np.ndarray
    active: Sequence[frozenset[str]]


def difference(heard: Heard, wanted: Heard) -> dict[str, Any]:
    """Compare each wanted update with the nearest heard one.

    Returns:
        updates: how many could be compared; missing: how many had none within 0.05 s.
        max, mean: |difference| of the probabilities. same_active: share of updates with the same instruments active.
    """
    nearest = [int(np.argmin(np.abs(heard.times - time))) for time in wanted.times]
    met = [(i, j) for j, i in enumerate(nearest) if abs(heard.times[i] - wanted.times[j]) <= NEAR_S]
    if not met:
        return {"updates": 0, "missing": len(nearest), "max": 1.0, "mean": 1.0, "same_active": 0.0}
    gaps = np.abs([heard.probabilities[i] - wanted.probabilities[j] for i, j in met])
    same = np.mean([heard.active[i] == wanted.active[j] for i, j in met])
    figures = {"max": float(gaps.max()), "mean": float(gaps.mean()), "same_active": float(same)}
    return {"updates": len(met), "missing": len(nearest) - len(met)} | {k: round(v, 5) for k, v in figures.items()}


def read_run(lines: Iterable[str]) -> tuple[Heard, dict[str, Any]]:
    """What the JSON lines of a run say, and their header."""
    records = [json.loads(line) for line in lines]
    updates = [record for record in records if record["type"] == "update"]
    times = np.array([update["time"] for update in updates])
    probabilities = np.array([list(update["probabilities"].values()) for update in updates])
    return Heard(times, probabilities, [frozenset(update["active"]) for update in updates]), records[0]


class Bench:
    """Runs the program on one way in after the other, in a folder of its own."""

    def __init__(self, folder: Path, more: Sequence[str] = ()) -> None:
        self.folder, self.header = folder, dict[str, Any]()
        self._program = [sys.executable, "-m", "instrec_live.realtime", "--no-ui", "--json", "-q", *more]
        self._wanted: dict[tuple[float, int], Heard] = {}

    def listen(self, *options: str, **how: Any) -> Heard:
        """One run's answer; raises CalledProcessError if it fails, and SystemExit if the networks changed meanwhile."""
        call = [*self._program, *options]
        done = subprocess.run(call, stdout=subprocess.PIPE, check=True, **how)
        return self._answer(done.stdout)

    def _answer(self, output: bytes) -> Heard:
        heard, header = read_run(output.decode().splitlines())
        if self.header and header["models"] != self.header["models"]:
            raise SystemExit("the networks were replaced while this ran: run it again")
        self.header = header
        return heard

    def wanted(self, seconds: float, through: int = RATE) -> Heard:
        """What the reference gives."""
        key = seconds, min(through, RATE)
        if key not in self._wanted:
            self._wanted[key] = self.listen_to(reference(*key))
        return self._wanted[key]

    def listen_to(self, sound: np.ndarray, *options: str) -> Heard:
        """What a sound [n] at 32 kHz gives, from a float file."""
        path = self.folder / "reference.wav"
        soundfile.write(path, sound, RATE, "FLOAT")
        return self.listen("--file", str(path), "--pace", "max", *options)

    def file(self, way: Way) -> dict[str, Any]:
        path = write(way, self.folder)
        heard = self.listen("--file", str(path), "--pace", "max")
        path.unlink()
        return self._row(way, FORMATS[way.format][2], heard)

    def pipe(self, name: str) -> dict[str, Any]:
        """A pipe from another program, fed with a 24-bit wav; {"skipped": why} without that program."""
        writer, told, lossless = PIPES[name]
        if shutil.which(writer.split()[0]) is None:
            return {"format": f"pipe, {name}", "skipped": f"{writer.split()[0]} is not installed"}
        path = write(Way("wav 24-bit"), self.folder)
        with subprocess.Popen(writer.format(path).split(), stdout=subprocess.PIPE) as process:
            heard = self.listen("--stdin", *told.split(), "--pace", "max", stdin=process.stdout)
        rate, channels = self.header["rate"], self.header["channels"]
        return self._row(Way(f"pipe, {name}", rate, channels), lossless, heard)

    def microphone(self) -> dict[str, Any]:
        """The clip played into a virtual microphone, in real time; {"skipped": why} where there is none.

        It starts at any moment of the program's clock. The recording says when; the reference gets as much silence, and
        no look-ahead either.
        """
        if reason := why_not():
            return {"format": "microphone", "skipped": reason}
        path, take = write(Way("wav float", 48_000), self.folder), self.folder / "take.wav"
        virtual = VirtualMicrophone()
        try:
            options = ["--device", NAME, "--duration", str(SECONDS + 4), "--record", str(take)]
            with subprocess.Popen([*self._program, *options], env=virtual.env, stdout=subprocess.PIPE) as process:
                assert process.stdout is not None
                output = process.stdout.readline() + process.stdout.readline()  # an update: it hears
                virtual.play(path).wait(60)
                output += process.stdout.read()
        finally:
            virtual.stop()
        heard = self._answer(output)
        way = Way("microphone", self.header["rate"], self.header["channels"])
        recorded, sound = soundfile.read(take, dtype="float32")[0], reference()
        lag = lag_of(sound, recorded)
        same = np.concatenate([np.zeros(lag, np.float32), sound, np.zeros(len(recorded), np.float32)])
        gaps = difference(heard, self.listen_to(same[: len(recorded)], "--causal"))
        skipped = json.loads(output.splitlines()[-1])["skipped"]
        return {**way._asdict(), "lossless": False, **gaps, "skipped_windows": skipped}

    def _row(self, way: Way, lossless: bool, heard: Heard) -> dict[str, Any]:
        row = {**way._asdict(), "lossless": lossless, **difference(heard, self.wanted(way.seconds, way.rate))}
        if way.rate < RATE:
            row["plain"] = difference(heard, self.wanted(way.seconds))
        return row


def fault(row: Mapping[str, Any]) -> bool:
    """Whether a way in that keeps the sound as it is changes the answer."""
    bound = row.get("lossless", False) and row["rate"] >= RATE
    return bool(bound and (row["max"] > TOLERANCE or row["missing"]))


def table(record: Mapping[str, Any]) -> str:
    """The rows of docs/inputs.md."""
    lines = [
        f"`{record['command']}`, {record['date'][:10]}",
        "",
        "| way in | Hz | channels | s | greatest difference | mean difference | same instruments shown |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in record["ways"]:
        if "skipped" in row:
            lines.append(f"| {row['format']} | – | – | – | not run: {row['skipped']} | – | – |")
            continue
        cells = [f"{row['max']:.4f}", f"{row['mean']:.4f}", f"{row['same_active']:.0%}"]
        if plain := row.get("plain"):
            old = [f"{plain['max']:.2f}", f"{plain['mean']:.3f}", f"{plain['same_active']:.0%}"]
            cells = [f"{cell} ({lost})" for cell, lost in zip(cells, old, strict=True)]
        if row["missing"]:
            cells[-1] += f", {row['missing']} updates missing"
        way = f"{row['format']} | {row['rate']} | {row['channels']} | {row['seconds']:g}"
        lines.append(f"| {way} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _versions() -> dict[str, str]:
    packages = ("instrec-live", "numpy", "onnxruntime", "soxr", "soundfile")
    found = {"python": platform.python_version(), "libsndfile": soundfile.__libsndfile_version__}
    return found | {package: importlib.metadata.version(package) for package in packages}


def measure(more: Sequence[str]) -> dict[str, Any]:
    """Every way in, compared."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), more)
        for way in WAYS:
            rows.append(bench.file(way))
            print(rows[-1], flush=True)
        for name in PIPES:
            rows.append(bench.pipe(name))
            print(rows[-1], flush=True)
        rows.append(bench.microphone())
        print(rows[-1], flush=True)
        header = bench.header
    return {
        "command": " ".join(["python benchmarks/same_sound.py", *(["--", *more] if more else [])]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "versions": _versions(),
        "engine": header["engine"],
        "models": header["models"],
        "tolerance": TOLERANCE,
        "ways": rows,
    }


def main(argv: Sequence[str] | None = None) -> int:
    argv = list(sys.argv[1:] if argv is None else argv)
    more = argv[argv.index("--") + 1 :] if "--" in argv else []
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="run nothing; exit 1 if the page is out of date")
    args = parser.parse_args(argv[: argv.index("--")] if "--" in argv else argv)
    old = PAGE.read_text(encoding="utf-8")
    if args.check:
        return int(old != filled(old, table(json.loads(RESULT.read_text(encoding="utf-8")))))
    record = measure(more)
    RESULT.parent.mkdir(parents=True, exist_ok=True)
    RESULT.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    PAGE.write_text(filled(old, table(record)), encoding="utf-8")
    faults = [row for row in record["ways"] if fault(row)]
    for row in faults:
        print(f"not the same: {row}", file=sys.stderr)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main())
