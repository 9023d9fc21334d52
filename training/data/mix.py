"""Mixtures of two to four labelled solo clips, with exact labels: a test of several simultaneous voices.

    python -m training.data mix CLIPS --to DIR [--count 240] [--seed 1]

CLIPS is a folder with a labels.csv (training/data/clips.py). The voices of a mixture come from different
recordings and are different instruments, each instrument as often as any other; each has the same loudness over its
sounding frames, then a gain of -9 to 0 dB. They were not played together, so keys and beats clash.
"""

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile

from instrec_live.models.arrays import FloatArray
from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import SAMPLE_RATE
from instrec_live.training.data.clips import group_of, recording_of
from instrec_live.training.data.sounds import load
from instrec_live.training.data.table import Row, read_rows
from instrec_live.training.staging import exclusive_folder

_SAMPLES = 10 * SAMPLE_RATE


def loudness(samples: FloatArray) -> float:
    """RMS over the frames of 50 ms within 30 dB of the loudest."""
    power = np.square(samples.reshape(-1, SAMPLE_RATE // 20)).mean(1)
    return float(np.sqrt(power[power >= 1e-3 * power.max()].mean()))


def solos(folder: Path) -> dict[str, list[Row]]:
    """Rows of the clips in which one instrument alone is known to sound, by instrument."""
    out: dict[str, list[Row]] = {}
    for _, row in read_rows(folder / "labels.csv", ("file", "labels", "absent", "kind", "source"))[1]:
        if row["kind"] == "solo" and row["labels"] in INSTRUMENTS:
            out.setdefault(row["labels"], []).append(row)
    if len(out) < 4:
        raise InputFileError(f"{folder}: solos of {len(out)} instruments, mixtures take 4", "give more clips")
    return out


def mix(folder: Path, to: Path, count: int, seed: int) -> None:
    """Write `count` mixtures and their labels.csv into a new folder.

    Raises:
        InputFileError: too few solos, or an unreadable or silent clip.
        UsageError: `to` is there already.
    """
    rng, by_name = np.random.default_rng(seed), solos(folder)
    names = sorted(by_name)
    with exclusive_folder(to) as partial, (partial / "labels.csv").open("w", newline="", encoding="utf-8") as table:
        writer = csv.writer(table, lineterminator="\n")
        writer.writerow(["file", "labels", "absent", "kind", "source", "group"])
        for i in range(count):
            voices = 2 + i % 3
            chosen = sorted(str(name) for name in rng.choice(names, voices, replace=False))
            rows = [by_name[name][int(rng.integers(len(by_name[name])))] for name in chosen]
            total = np.zeros(_SAMPLES, np.float32)
            for row in rows:
                samples = load(folder / row["file"])[:_SAMPLES]
                samples = np.pad(samples, (0, _SAMPLES - len(samples)))
                if not samples.any():
                    raise InputFileError(f"{folder / row['file']}: silent, though it is labelled {row['labels']}")
                total += samples * np.float32(10 ** (rng.uniform(-9, 0) / 20) / max(loudness(samples), 1e-9))
            file = f"mix_{i:04d}.flac"
            soundfile.write(partial / file, 0.5 * total / np.abs(total).max(), SAMPLE_RATE)
            absent = "|".join(name for name in INSTRUMENTS if name not in chosen)
            source = "mix " + " + ".join(recording_of(row["source"]) for row in rows)
            group = " + ".join(group_of(row) for row in rows)
            writer.writerow([file, "|".join(chosen), absent, f"mix{voices}", source, group])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.data mix", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("clips", type=Path)
    parser.add_argument("--to", type=Path, required=True, help="a new folder")
    parser.add_argument("--count", type=int, default=240)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    if args.count < 1:
        raise UsageError(f"--count must be at least 1, not {args.count}")
    mix(args.clips, args.to, args.count, args.seed)
