"""What the program says of labelled clips, as csv files for a scorer.

    python -m training.evaluate CLIPS --to runs/predictions [--models passt,cbam_cnn,ms_crnn] [--seconds 10]

Writes one csv for each network and one for their ensemble: file, 20 calibrated probabilities, and `active`, the
instruments over their thresholds. CLIPS is a folder with a labels.csv (see training.datasets.clips).
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from instrec_live.models import Tagger
from instrec_live.models.bundle import DEFAULT_MODELS
from instrec_live.models.calibration import sigmoid
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.training.command import entry
from instrec_live.training.datasets.clips import Clips, read_clips

FloatArray = NDArray[np.float32]


def write_predictions(path: Path, files: list[str], probabilities: FloatArray, active: NDArray[np.bool_]) -> None:
    """A csv row a clip from probabilities and decisions [n, 20]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["file", *INSTRUMENTS, "active"])
        for file, row, on in zip(files, probabilities, active, strict=True):
            shown = [name for name, yes in zip(INSTRUMENTS, on, strict=True) if yes]
            writer.writerow([file, *(f"{p:.6f}" for p in row), "|".join(shown)])


def calibrated(tagger: Tagger, clips: Clips, seconds: float) -> list[dict[str, FloatArray]]:
    """Calibrated logits per clip and model, of each clip's last `seconds`."""
    frames = round(seconds * 100)
    return [
        dict(tagger.calibrated(np.ascontiguousarray(mel[:, -frames:])))
        for mel in tqdm(clips.log_mels, unit="clip", leave=False)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--to", type=Path, default=Path("runs/predictions"))
    parser.add_argument("--models", default=",".join(DEFAULT_MODELS))
    parser.add_argument("--seconds", type=float, default=10.0)
    args = parser.parse_args()
    clips, names = read_clips(args.clips), tuple(args.models.split(","))
    tagger = Tagger.load(models=names)
    logits = calibrated(tagger, clips, args.seconds)
    for name in names:
        alone = sigmoid(np.stack([z[name] for z in logits]))
        shown = alone >= Tagger.load(models=(name,)).thresholds
        write_predictions(args.to / f"{name}.csv", clips.files, alone, shown)
    together = sigmoid(np.stack([tagger.ensemble(z) for z in logits]))
    write_predictions(args.to / "ensemble.csv", clips.files, together, together >= tagger.thresholds)


if __name__ == "__main__":
    entry(main)
