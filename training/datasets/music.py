"""Unlabelled music, as log-mels of 10 s windows: what networks learn real music from, through a teacher.

python -m training.datasets.music FOLDER --to runs/music.npy
"""

import argparse
from pathlib import Path

import numpy as np
from tqdm import tqdm

from instrec_live.models.errors import InputFileError
from instrec_live.models.logmel import SAMPLE_RATE, frame_count, log_mel
from instrec_live.training.command import entry
from instrec_live.training.datasets.sounds import load

WINDOW = 10 * SAMPLE_RATE


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--to", type=Path, default=Path("runs/music.npy"))
    args = parser.parse_args()
    windows = []
    for path in tqdm(sorted(args.folder.rglob("*.ogg")), unit="file"):
        samples = load(path)
        starts = range(0, max(1, len(samples) - WINDOW + 1), WINDOW // 2)
        for start in starts:
            window = samples[start : start + WINDOW]
            if np.sqrt(np.mean(np.square(window))) < 1e-3:
                continue
            window = np.pad(window, (0, WINDOW - len(window)))
            windows.append(log_mel(window).astype(np.float16))
    if not windows:
        raise InputFileError(f"{args.folder}: no .ogg files with sound in them")
    args.to.parent.mkdir(parents=True, exist_ok=True)
    mels = np.stack(windows)
    assert mels.shape[2] == frame_count(WINDOW)
    np.save(args.to, mels)


if __name__ == "__main__":
    entry(main)
