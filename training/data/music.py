"""Unlabelled music as log-mels of 10 s windows, for distillation from a teacher.

    python -m training.data.music FOLDER … --to runs/music.npy

A window starts every 5 s; silent ones are left out. --shortest excludes the sound effects of games.
"""

import argparse
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.logmel import SAMPLE_RATE, log_mel
from instrec_live.training.command import entry
from instrec_live.training.data.npz import write_npy
from instrec_live.training.data.sounds import audio_files, full_band
from instrec_live.training.staging import exclusive_file

WINDOW = 10 * SAMPLE_RATE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="+", help="folders of sound files, searched to any depth")
    parser.add_argument("--every", type=float, default=5.0, metavar="S", help="between the windows' beginnings (5)")
    parser.add_argument("--shortest", type=float, default=0.0, metavar="S", help="leave out shorter files (0)")
    parser.add_argument("--to", type=Path, default=Path("runs/music.npy"), metavar="FILE", help="(runs/music.npy)")
    args = parser.parse_args()
    for folder in args.folder:
        if not folder.is_dir():
            raise InputFileError(f"{folder}: no such folder", "give one with sound files in it")
    if not 0 < args.every < math.inf:
        raise UsageError(f"--every must be more than 0, not {args.every:g}")
    if not 0 <= args.shortest < math.inf:
        raise UsageError(f"--shortest must be 0 or more, not {args.shortest:g}")
    files = sorted(path for folder in args.folder for path in audio_files(folder, deep=True))
    with exclusive_file(args.to) as partial:
        windows = (window for path in tqdm(files, unit="file", disable=None) for window in windows_of(path, args))
        if not write_npy(partial, windows):
            raise InputFileError(f"{args.folder[0]}: no sound files that are not silent")


def windows_of(path: Path, args: argparse.Namespace) -> Iterator[NDArray[np.float16]]:
    """The windows of a file that are not silent, float16 [1, 128, T] each; none if it is too short."""
    samples = full_band(path)
    if len(samples) < args.shortest * SAMPLE_RATE:
        return
    for start in range(0, max(1, len(samples) - WINDOW + 1), max(1, round(args.every * SAMPLE_RATE))):
        window = samples[start : start + WINDOW]
        if np.sqrt(np.mean(np.square(window))) >= 1e-3:
            yield log_mel(np.pad(window, (0, WINDOW - len(window)))).astype(np.float16)[None]


if __name__ == "__main__":
    entry(main)
