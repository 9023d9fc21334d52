"""Unlabelled music, as log-mels of 10 s windows: what networks learn real music from, through a teacher.

    python -m training.datasets.music FOLDER --to runs/music.npy

A window begins every 5 s; those in which nothing is heard are left out.
"""

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

from instrec_live.models.errors import InputFileError
from instrec_live.models.logmel import SAMPLE_RATE, frame_count, log_mel
from instrec_live.training.command import entry
from instrec_live.training.datasets.npz import write_npy
from instrec_live.training.datasets.sounds import SUFFIXES, full_band
from instrec_live.training.staging import staged_file

WINDOW = 10 * SAMPLE_RATE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="of sound files, in folders as deep as you like")
    parser.add_argument("--to", type=Path, default=Path("runs/music.npy"), metavar="FILE", help="(runs/music.npy)")
    args = parser.parse_args()
    if not args.folder.is_dir():
        raise InputFileError(f"{args.folder}: no such folder", "give one with sound files in it")
    files = sorted(path for path in args.folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    with staged_file(args.to) as partial:
        windows = []
        for path in tqdm(files, unit="file", disable=None):
            samples = full_band(path)
            starts = range(0, max(1, len(samples) - WINDOW + 1), WINDOW // 2)
            for start in starts:
                window = samples[start : start + WINDOW]
                if np.sqrt(np.mean(np.square(window))) < 1e-3:
                    continue
                window = np.pad(window, (0, WINDOW - len(window)))
                windows.append(log_mel(window).astype(np.float16))
        if not windows:
            raise InputFileError(f"{args.folder}: no sound files with anything to hear in them")
        write_npy(partial, (len(windows), 128, frame_count(WINDOW)), windows)


if __name__ == "__main__":
    entry(main)
