"""Unlabelled music, as log-mels of 10 s windows: what networks learn real music from, through a teacher.

python -m training.datasets.music FOLDER --to runs/music.npy
"""

import argparse
import os
from pathlib import Path

import numpy as np
from tqdm import tqdm

from instrec_live.models.errors import InputFileError
from instrec_live.models.logmel import SAMPLE_RATE, frame_count, log_mel
from instrec_live.training.command import entry
from instrec_live.training.datasets.sounds import SUFFIXES, full_band

WINDOW = 10 * SAMPLE_RATE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--to", type=Path, default=Path("runs/music.npy"))
    args = parser.parse_args()
    windows = []
    files = sorted(path for path in args.folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    for path in tqdm(files, unit="file"):
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
    args.to.parent.mkdir(parents=True, exist_ok=True)
    mels = np.stack(windows)
    assert mels.shape[2] == frame_count(WINDOW)
    partial = args.to.with_name(f".{args.to.name}.partial")
    with partial.open("wb") as handle:
        np.save(handle, mels)
    os.replace(partial, args.to)


if __name__ == "__main__":
    entry(main)
