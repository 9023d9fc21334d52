"""Do the networks keep their accuracy in 8 bits, and are they faster on this processor?

    python benchmarks/int8.py CLIPS --phrases DIR [--models A,B,…] [--scenes 48] [--seed 0]

Each network is quantised (models/quantise.py) in several ways, calibrated on scenes mixed from --phrases, never on
CLIPS; CLIPS is a folder of clips with a labels.csv (training/datasets/clips.py). A way is kept if the mAP on CLIPS
falls by at most 0.005, no probability of the bundle's golden clip moves by more than 0.03, and a stream costs at least
a tenth less CPU time. The ensemble of the networks is measured too. Writes benchmarks/results/int8.json.
"""

import argparse
import datetime
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from instrec_live.models.bundle import DEFAULT_MODELS, Bundle, bundled
from instrec_live.models.calibration import sigmoid
from instrec_live.models.engines import AGREEMENT, Engine, open_engine
from instrec_live.models.engines.probe import cost
from instrec_live.models.engines.probe_memory import processor
from instrec_live.models.ensemble import Ensemble
from instrec_live.models.quantise import to_int8
from instrec_live.training.command import entry
from instrec_live.training.datasets.clips import Clips, read_clips
from instrec_live.training.evaluation import metrics
from instrec_live.training.evaluation.scorecard import macro
from instrec_live.training.scenes.mixer import Phrases, Scenes

FloatArray = NDArray[np.float32]

RESULTS = Path(__file__).parent / "results"
WAYS: dict[str, dict[str, Any]] = {
    "convolutions": {"operators": ("Conv",), "depthwise": True},
    "convolutions but depthwise": {"operators": ("Conv",), "depthwise": False},
    "matrices": {"operators": ("MatMul", "Gemm")},
    "convolutions but depthwise, matrices": {"operators": ("Conv", "MatMul", "Gemm"), "depthwise": False},
    "convolutions, matrices": {"operators": ("Conv", "MatMul", "Gemm"), "depthwise": True},
}
MOST_FALL = 0.005  # of mAP
LEAST_GAIN = 0.1  # of CPU time
REPEATS = 5


def calibration_sound(phrases: Path, scenes: int, seed: int) -> list[FloatArray]:
    """Log-mels [1, 128, T] of scenes of 4 to 10 s."""
    supply = Scenes(Phrases(phrases))
    examples = [supply.example(i, np.random.default_rng((seed, i)), 400 + 100 * (i % 7)) for i in range(scenes)]
    return [example.log_mel[None] for example in examples]


def answers(engine: Engine, bundle: Bundle, mels: Sequence[FloatArray]) -> FloatArray:
    """Calibrated logits float32 [n, 20]."""
    return np.stack([bundle.calibration(engine.logits(log_mel[None])[0]) for log_mel in tqdm(mels, leave=False)])


def mean_average_precision(clips: Clips, logits: FloatArray) -> float:
    """Over the instruments with enough clips."""
    classes = metrics.measured(clips.truth, clips.mask, metrics.enough(clips.truth, clips.mask) or 1)
    p = sigmoid(logits)
    return float(macro(metrics.average_precision(clips.truth, p, clips.mask, 1), classes))


def compare(clips: Clips, logits: FloatArray, fp32: FloatArray) -> dict[str, Any]:
    """How the answers of 8 bits differ on the clips."""
    moved = np.abs(sigmoid(logits) - sigmoid(fp32))
    return {
        "mAP_fall": round(mean_average_precision(clips, fp32) - mean_average_precision(clips, logits), 4),
        "clips_difference": {
            "mean": round(float(moved.mean()), 4),
            "p99": round(float(np.percentile(moved, 99)), 4),
            "max": round(float(moved.max()), 4),
        },
    }


def costs(pairs: Mapping[str, tuple[Engine, Bundle]]) -> dict[str, float]:
    """CPU time in ms for a second of sound: the least of some rounds, in turn, so that load strikes all alike."""
    rounds = [{name: 1000 * cost(*pair) for name, pair in pairs.items()} for _ in range(REPEATS)]
    return {name: round(min(one[name] for one in rounds), 2) for name in pairs}


def golden_difference(engine: Engine, bundle: Bundle) -> float:
    """The greatest |difference| of probabilities on the bundle's golden clip."""
    log_mel, golden = bundle.golden
    (logits,) = engine.logits(log_mel[None])
    moved = np.abs(sigmoid(bundle.calibration(logits)) - sigmoid(bundle.calibration(golden)))
    return round(float(moved.max()), 4)


def study(bundle: Bundle, clips: Clips, heard: Sequence[FloatArray]) -> tuple[dict[str, Any], dict[str, FloatArray]]:
    """The record of one network, and its answers in fp32 ("") and each way."""
    light = {way: replace(bundle, onnx=to_int8(bundle.onnx, heard, **options)) for way, options in WAYS.items()}
    pairs = {way: (open_engine(b, "onnx"), b) for way, b in {"": bundle, **light}.items()}
    logits = {way: answers(*pair, clips.log_mels) for way, pair in pairs.items()}
    taken = costs(pairs)
    record: dict[str, Any] = {"mAP": round(mean_average_precision(clips, logits[""]), 4), "ms": taken[""], "ways": {}}
    for way, changed in light.items():
        figures = compare(clips, logits[way], logits[""])
        golden = golden_difference(pairs[way][0], bundle)
        accurate = figures["mAP_fall"] <= MOST_FALL and golden <= AGREEMENT["int8"]
        record["ways"][way] = {
            **figures,
            "golden_difference": golden,
            "ms": taken[way],
            "of_fp32": round(taken[way] / taken[""], 2),
            "bytes": len(changed.onnx),
            "accurate": accurate,
            "kept": accurate and taken[way] <= (1 - LEAST_GAIN) * taken[""],
        }
        print(f"{bundle.name}, {way}: {record['ways'][way]}", file=sys.stderr)
    return record, logits


def ensembles(
    bundles: Sequence[Bundle], clips: Clips, logits: Mapping[str, Mapping[str, FloatArray]]
) -> dict[str, Any]:
    """The same of the ensemble, all of whose networks are quantised one way."""
    ensemble = Ensemble.of(bundles)

    def together(way: str) -> FloatArray:
        rows = zip(*(logits[bundle.name][way] for bundle in bundles), strict=True)
        names = [bundle.name for bundle in bundles]
        return np.stack([ensemble(dict(zip(names, row, strict=True))) for row in rows])

    fp32 = together("")
    ways = {way: compare(clips, together(way), fp32) for way in WAYS}
    return {"mAP": round(mean_average_precision(clips, fp32), 4), "ways": ways}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path, help="a folder with labels.csv")
    parser.add_argument("--phrases", type=Path, required=True, metavar="DIR", help="what training.phrases wrote")
    parser.add_argument("--models", default=",".join(DEFAULT_MODELS), metavar="A,B,…", help="bundled names or folders")
    parser.add_argument("--scenes", type=int, default=48, metavar="N", help="to calibrate on (48)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of the scenes (0)")
    args = parser.parse_args()
    names = args.models.split(",")
    bundles = [Bundle.load(name if Path(name).is_dir() else bundled(name)) for name in names]
    clips, heard = read_clips(args.clips), calibration_sound(args.phrases, args.scenes, args.seed)
    records, logits = {}, {}
    for bundle in bundles:
        records[bundle.name], logits[bundle.name] = study(bundle, clips, heard)
    record = {
        "command": f"python benchmarks/int8.py {args.clips.resolve().name} --phrases {args.phrases.name} "
        f"--models {args.models} --scenes {args.scenes} --seed {args.seed}",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "cores": os.cpu_count(),
        "engine": open_engine(bundles[0], "onnx").name,
        "clips": len(clips.files),
        "sha256": {bundle.name: bundle.sha256 for bundle in bundles},
        "networks": records,
        "ensemble": ensembles(bundles, clips, logits),
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "int8.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    entry(main)
