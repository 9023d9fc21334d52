"""From trained weights to bundles and their ensemble: calibrate, weigh, choose thresholds, export, write the cards.

    python -m training.ensemble --valid clips:DIR --runs runs --to models/bundles [--phrases runs/phrases]

What is fitted is fitted on the labelled clips, which no network may have been trained on; the figures in the cards are
cross-validated over recordings (five folds: fitted on four, measured on the fifth), so they do not flatter.
"""

import argparse
import datetime
import json
import sys
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from instrec_live.models.bundle import DEFAULT_MODELS
from instrec_live.models.calibration import sigmoid
from instrec_live.models.errors import InputFileError, ModelError, UsageError
from instrec_live.models.export import Checkpoint, load_checkpoint, milliseconds, network_of
from instrec_live.models.golden import chord
from instrec_live.models.half_weights import round_to_half
from instrec_live.models.logmel import SAMPLE_RATE, log_mel
from instrec_live.training.command import entry, without_folders
from instrec_live.training.datasets.clips import Clips, clips_of
from instrec_live.training.datasets.data import open_all
from instrec_live.training.datasets.sounds import load
from instrec_live.training.evaluation.metrics import enough, mean_average_precision
from instrec_live.training.evaluation.predictions import write_predictions
from instrec_live.training.learning.bundling import exported, keep
from instrec_live.training.learning.calibrate import choose_thresholds, fit_platt, folds, weighed
from instrec_live.training.learning.card import Heard, model_card
from instrec_live.training.learning.options import DATA, to_validate_on
from instrec_live.training.learning.validation import predict
from instrec_live.training.scenes.mixer import Phrases, Scenes
from instrec_live.training.staging import staged_file

FloatArray = NDArray[np.float32]
Logits = dict[str, FloatArray]


def choose_weights(calibrated: Logits, truth: FloatArray, mask: FloatArray) -> dict[str, float]:
    """Weights summing to 1, in the ratio of the networks' odds of ranking rightly, cubed: (mAP / (1 - mAP))^3; equal
    ones where no instrument is known both to sound and not to.

    Not those of the highest mAP: on a few hundred clips these are found by chance, and are worse on others.
    """
    positives = enough(truth, mask)
    if not positives:
        return dict.fromkeys(calibrated, 1 / len(calibrated))
    rightly = {name: mean_average_precision(truth, z, mask, positives) for name, z in calibrated.items()}
    odds = {name: (min(mAP, 0.99) / (1 - min(mAP, 0.99))) ** 3 for name, mAP in rightly.items()}
    return {name: round(each / sum(odds.values()), 3) for name, each in odds.items()}


class Fitted:
    """Everything fitted on some clips: each network's calibration and thresholds, and the ensemble's."""

    def __init__(self, logits: Logits, truth: FloatArray, mask: FloatArray, recording: NDArray[np.str_]) -> None:
        known, mask = mask, weighed(mask, recording)
        self.calibration = {name: fit_platt(z, truth, mask) for name, z in logits.items()}
        calibrated = {name: self.calibration[name](z) for name, z in logits.items()}
        self.thresholds = {name: choose_thresholds(sigmoid(z), truth, mask) for name, z in calibrated.items()}
        self.weights = choose_weights(calibrated, truth, known)
        mean = self._mean(calibrated)
        self.together = fit_platt(mean, truth, mask)
        self.threshold_together = choose_thresholds(sigmoid(self.together(mean)), truth, mask)

    def _mean(self, calibrated: Logits) -> FloatArray:
        return np.sum([self.weights[name] * z for name, z in calibrated.items()], axis=0, dtype=np.float32)

    def __call__(self, logits: Logits) -> dict[str, tuple[FloatArray, FloatArray]]:
        """Logits [n, 20] by network -> (probabilities [n, 20], thresholds [20]) by network and for "ensemble"."""
        calibrated = {name: self.calibration[name](z) for name, z in logits.items()}
        out = {name: (sigmoid(z), self.thresholds[name]) for name, z in calibrated.items()}
        out["ensemble"] = (sigmoid(self.together(self._mean(calibrated))), self.threshold_together)
        return out


def cross_validated(logits: Logits, clips: Clips) -> dict[str, tuple[FloatArray, NDArray[np.bool_]]]:
    """(probabilities, active) [n, 20] of every clip, from what was fitted on the other folds' recordings."""
    fold, out = folds(clips.recording), {}
    for k in np.unique(fold):
        inside, outside = fold == k, fold != k
        others = {name: z[outside] for name, z in logits.items()}
        fitted = Fitted(others, clips.truth[outside], clips.mask[outside], clips.recording[outside])
        for name, (p, thresholds) in fitted({n: z[inside] for n, z in logits.items()}).items():
            probabilities, active = out.setdefault(
                name, (np.zeros_like(clips.truth), np.zeros(clips.truth.shape, bool))
            )
            probabilities[inside], active[inside] = p, p >= thresholds
    return out


def scenes_of(folder: Path, count: int = 320, seconds: float = 5.0) -> Clips:
    """Labelled scenes of the phrases in `folder`, to measure with; masked as scenes are."""
    scenes = Scenes(Phrases(folder))
    examples = [scenes.example(i, np.random.default_rng((7, i)), round(100 * seconds)) for i in range(count)]
    labels, mask = (np.stack([getattr(e, name) for e in examples]) for name in ("labels", "mask"))
    names = [str(i) for i in range(count)]
    return Clips(names, labels, mask, np.array(names), labels.sum(1) == 1, [e.log_mel for e in examples])


def _checkpoint(path: Path, name: str) -> Checkpoint:
    """The checkpoint of a run, which must be called as its network: bundle, card and ensemble know it by that name.

    Raises:
        ModelError: it is not there, or another network's.
    """
    checkpoint = load_checkpoint(path)
    if checkpoint["name"] != name:
        raise ModelError(f"{path}: holds a {checkpoint['name']}, not a {name}",
                         "--models takes networks, and a run's folder is called as its network")  # fmt: skip
    return checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--valid", action="append", required=True, metavar="SPEC", help=f"clips to fit on: {DATA}")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="holds <model>/weights.pt")
    parser.add_argument("--to", type=Path, default=Path("runs/ensemble"), help="the bundles' folder (runs/ensemble)")
    parser.add_argument("--phrases", type=Path, default=Path("runs/phrases"), help="whose sources the cards name")
    parser.add_argument("--held-out", type=Path, default=Path("runs/held_out"), help="phrases of timbres held out")
    parser.add_argument("--golden", type=Path, help="a sound whose seconds 10 to 20 the bundles are checked with")
    parser.add_argument("--models", default=",".join(DEFAULT_MODELS), metavar="A,B,…",
                        help="names of the runs to make an ensemble of (passt,cbam_cnn,ms_crnn)")  # fmt: skip
    args = parser.parse_args()
    if args.to.exists() and not args.to.is_dir():
        raise UsageError(f"{args.to}: is a file", "--to takes a folder")
    golden = chord(10.0)
    if args.golden:
        heard = load(args.golden)[10 * SAMPLE_RATE : 20 * SAMPLE_RATE]
        if len(heard) < 2 * SAMPLE_RATE:
            raise InputFileError(f"{args.golden}: ends before second 12", "--golden takes a sound of 12 s or more")
        golden = log_mel(heard)
    torch.set_num_threads(1)  # a second thread beside any other load makes it slower, not faster
    names = args.models.split(",")
    clips = clips_of(to_validate_on(open_all(args.valid)))
    checkpoints = {name: _checkpoint(args.runs / name / "weights.pt", name) for name in names}
    networks = {name: round_to_half(network_of(checkpoint)) for name, checkpoint in checkpoints.items()}
    logits = {name: predict(network, clips) for name, network in networks.items()}
    unseen = cross_validated(logits, clips)
    fitted = Fitted(logits, clips.truth, clips.mask, clips.recording)
    held_out = scenes_of(args.held_out) if (args.held_out / "index.json").is_file() else None
    timbres = {}
    if held_out is not None:
        timbres = fitted({name: predict(network, held_out) for name, network in networks.items()})
    files = [Path(file).name for file in clips.files]
    for name, (probabilities, active) in unseen.items():
        write_predictions(args.runs / "cross_validated" / f"{name}.csv", files, probabilities, active)
        figure = mean_average_precision(clips.truth, probabilities, clips.mask, enough(clips.truth, clips.mask) or 1)
        elsewhere = ""
        if held_out is not None:
            new = mean_average_precision(held_out.truth, timbres[name][0], held_out.mask)
            elsewhere = f", on scenes of held-out timbres {new:.3f}"
        print(f"{name}: cross-validated mAP {figure:.3f}{elsewhere}")
    index = args.phrases / "index.json"
    sources = json.loads(index.read_text(encoding="utf-8"))["sources"] if index.is_file() else []
    command = without_folders("python -m training.ensemble " + " ".join(sys.argv[1:]))
    for name, network in networks.items():
        checkpoint = checkpoints[name]
        provenance = {
            "command": f"{without_folders(checkpoint['provenance'].get('command', name))}; {command}",
            "validation": f"{len(clips.files)} clips of {len(np.unique(clips.recording))} recordings",
            "data": sorted({f"{s['source']}: {s['licence']}" for s in sources}),
        }
        model = exported(network, golden)
        card = model_card(
            name,
            sum(p.numel() for p in network.parameters()),
            {seconds: milliseconds(model, seconds) for seconds in (10.0, 2.5)},
            checkpoint["provenance"]["recipe"],
            sources,
            Heard(clips, unseen[name][0]),
            Heard(held_out, timbres[name][0]) if held_out is not None else None,
        )
        calibration, thresholds = fitted.calibration[name], fitted.thresholds[name]
        keep(network, model, checkpoint, args.to / name, calibration, thresholds, golden, provenance, card)
    together = {
        "weights": fitted.weights,
        "calibration": {"scale": fitted.together.scale.tolist(), "bias": fitted.together.bias.tolist()},
        "thresholds": fitted.threshold_together.tolist(),
        "provenance": {"command": command, "date": datetime.date.today().isoformat()},
    }
    with staged_file(args.to / "ensemble.json") as partial:
        partial.write_text(json.dumps(together, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    entry(main)
