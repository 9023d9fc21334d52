"""How much sound it takes: the bundled networks on excerpts of 2, 3, 5 and 10 s of labelled clips.

    python benchmarks/spans.py CLIPS

CLIPS is a folder of clips with a labels.csv (training/datasets/clips.py). Of every clip, as many excerpts of a length
are heard as fit side by side; a clip that is shorter is heard whole, and every clip counts once, however many excerpts
it gives. An instrument may pause: an excerpt more than 20 dB below its clip is left out. The networks are calibrated
as they ship, which flatters the ECE where they were calibrated on these clips. Writes benchmarks/results/spans.json.
"""

import argparse
import datetime
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from instrec_live.models import Tagger
from instrec_live.models.calibration import sigmoid
from instrec_live.models.logmel import SAMPLE_RATE, log_mel
from instrec_live.models.tagger import windows
from instrec_live.training.command import entry
from instrec_live.training.datasets.clips import Clips, read_clips
from instrec_live.training.datasets.sounds import load
from instrec_live.training.evaluation import metrics
from instrec_live.training.evaluation.scorecard import macro

FloatArray = NDArray[np.float32]

RESULTS = Path(__file__).parent / "results"
SPANS = (2.0, 3.0, 5.0, 10.0)
QUIET_DB = 20.0


def cut(samples: FloatArray, seconds: float) -> list[FloatArray]:
    """As many excerpts as fit side by side, each from the middle of its share of the clip; a shorter clip whole.

    Args:
        samples: float32 [n] at 32 kHz.
    """
    length = round(seconds * SAMPLE_RATE)
    parts = np.array_split(samples, max(1, len(samples) // length))
    return [part[max(0, len(part) - length) // 2 :][:length] for part in parts]


def sounding(excerpts: Sequence[FloatArray], samples: FloatArray) -> list[FloatArray]:
    """The excerpts no more than 20 dB below their clip."""
    least = np.mean(np.square(samples)) * 10 ** (-QUIET_DB / 10)
    return [excerpt for excerpt in excerpts if np.mean(np.square(excerpt)) >= least]


def tagged(tagger: Tagger, excerpt: FloatArray) -> dict[str, FloatArray]:
    """Probabilities float32 [20] of the ensemble and of each network for at most 10 s."""
    (window,) = windows(excerpt)  # silence after less than 2 s
    logits = tagger.calibrated(log_mel(window))
    return {name: sigmoid(z) for name, z in {"ensemble": tagger.ensemble(logits), **logits}.items()}


def measure(clips: Clips, heard: Sequence[Sequence[Mapping[str, FloatArray]]]) -> dict[str, dict[str, float | None]]:
    """Figures of every network from what it said of every clip's excerpts; over instruments with enough clips."""
    clip = np.repeat(np.arange(len(heard)), [len(excerpts) for excerpts in heard])
    weights = 1 / np.bincount(clip)[clip]
    truth, mask, solo = clips.truth[clip], clips.mask[clip], clips.solo[clip]
    classes = metrics.measured(clips.truth, clips.mask, metrics.enough(clips.truth, clips.mask) or 1)
    said = [excerpt for excerpts in heard for excerpt in excerpts]
    out = {}
    for name in said[0]:
        p = np.stack([probabilities[name] for probabilities in said])
        figures = {
            "mAP": macro(metrics.average_precision(truth, p, mask, 1, weights), classes),
            "micro-AP": metrics.micro_average_precision(truth, p, mask, weights),
            "top-1": metrics.top1(truth, p, solo, weights),
            "ECE": metrics.calibration_error(metrics.reliability(truth, p, mask, weights=weights)),
        }
        out[name] = {key: round(float(x), 3) if np.isfinite(x) else None for key, x in figures.items()}
    return out


def compare(tagger: Tagger, folder: Path, clips: Clips) -> list[dict[str, Any]]:
    """For every span how many excerpts were heard and left out, and each network's figures."""
    heard: dict[float, list[list[dict[str, FloatArray]]]] = {seconds: [] for seconds in SPANS}
    left_out = dict.fromkeys(SPANS, 0)
    for file in tqdm(clips.files, unit="clip"):
        samples = load(folder / file)
        for seconds in SPANS:
            excerpts = cut(samples, seconds)
            kept = sounding(excerpts, samples)
            heard[seconds].append([tagged(tagger, excerpt) for excerpt in kept])
            left_out[seconds] += len(excerpts) - len(kept)
    return [
        {
            "seconds": seconds,
            "excerpts": sum(map(len, heard[seconds])),
            "left_out": left_out[seconds],
            "networks": measure(clips, heard[seconds]),
        }
        for seconds in SPANS
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, help="a folder with labels.csv")
    args = parser.parse_args()
    clips, tagger = read_clips(args.clips), Tagger.load()
    spans = compare(tagger, args.clips, clips)
    for span in spans:
        for name, figures in span["networks"].items():
            print(f"{span['seconds']:g} s, {name}: {figures}", file=sys.stderr)
    record = {
        "command": f"python benchmarks/spans.py {args.clips.resolve().name}",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "clips": len(clips.files),
        "recordings": len(np.unique(clips.recording)),
        "models": tagger.sha256s,
        "spans": spans,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "spans.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    entry(main)
