"""From trained weights to bundles and their ensemble: calibrate, weigh, choose thresholds, export, write the cards.

    python -m training.ensemble --valid clips:SOLOS --valid clips:BANDS --valid clips:MIXTURES --to models/bundles

What is fitted is fitted on labelled clips that no network was trained on: solos, ensembles and mixtures, each set
weighing the same. All figures are cross-validated over recordings (20 folds; a mixture is measured by what was
fitted without any of its solos), so they are not too good; they are in runs/figures.json, one set after another.
"""

import argparse
import datetime
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from instrec_live.models.arrays import FloatArray
from instrec_live.models.bundle import DEFAULT_MODELS, summed
from instrec_live.models.calibration import sigmoid
from instrec_live.models.errors import InputFileError, ModelError, UsageError
from instrec_live.models.export.to_onnx import Checkpoint, load_checkpoint, milliseconds, network_of, round_to_fp16
from instrec_live.models.logmel import SAMPLE_RATE, chord, log_mel
from instrec_live.training.command import entry, without_folders
from instrec_live.training.data.clips import Clips, clips_of
from instrec_live.training.data.provenance import check_unlearned
from instrec_live.training.data.sounds import load
from instrec_live.training.data.specs import open_all
from instrec_live.training.data.table import Table
from instrec_live.training.evaluation.listen import write_predictions
from instrec_live.training.evaluation.metrics import (
    average_precision,
    calibration_error,
    counts,
    enough,
    f1,
    mean_average_precision,
    measured,
    micro_average_precision,
    reliability,
    top1,
)
from instrec_live.training.evaluation.scorecard import interval, resamples
from instrec_live.training.learning.bundling import export_checked, write_network_bundle
from instrec_live.training.learning.calibrate import (
    balanced,
    choose_thresholds,
    fit_common,
    fit_platt,
    fit_weights,
    recording_weights,
    splits,
)
from instrec_live.training.learning.card import ClipScores, model_card, sources_of
from instrec_live.training.learning.options import DATA, validation_rows
from instrec_live.training.learning.validation import predict
from instrec_live.training.staging import exclusive_file

Logits = dict[str, FloatArray]


@dataclass(frozen=True)
class Sets:
    """Several sets of labelled clips [n], one after another: solos, ensembles, mixtures.

    Attributes:
        names: of the sets.
        which: int [n], the set a clip is of.
        clips: all of them.
        fitted: so many sets are fitted on; those after them are only reported.
    """

    names: tuple[str, ...]
    which: NDArray[np.int64]
    clips: Clips
    fitted: int

    @classmethod
    def joined(cls, sets: Mapping[str, Clips]) -> "Sets":
        each = list(sets.values())
        which = np.repeat(np.arange(len(each)), [len(clips.files) for clips in each])
        both = Clips(
            [file for clips in each for file in clips.files],
            np.concatenate([clips.truth for clips in each]),
            np.concatenate([clips.mask for clips in each]),
            np.concatenate([clips.recording for clips in each]),
            np.concatenate([clips.solo for clips in each]),
            [mel for clips in each for mel in clips.log_mels],
        )
        return cls(tuple(sets), which, both, len(each))

    def weights(self, rows: NDArray[np.bool_]) -> FloatArray:
        """What each cell of some clips weighs in a fit: sets alike, recordings by the root of their clips."""
        return balanced(recording_weights(self.clips.mask[rows], self.clips.recording[rows]), self.which[rows])


class Fitted:
    """Everything fitted on some of the clips: each network's calibration and thresholds, and the ensemble's."""

    def __init__(self, logits: Logits, sets: Sets, rows: NDArray[np.bool_]) -> None:
        rows = rows & (sets.which < sets.fitted)
        truth, mask = sets.clips.truth[rows], sets.weights(rows)
        some = {name: z[rows] for name, z in logits.items()}
        self.calibration = {name: fit_platt(z, truth, mask) for name, z in some.items()}
        calibrated = {name: self.calibration[name](z) for name, z in some.items()}
        self.thresholds = {name: choose_thresholds(sigmoid(z), truth, mask) for name, z in calibrated.items()}
        weights = fit_weights(list(calibrated.values()), truth, mask)
        self.weights = {name: round(float(weight), 3) for name, weight in zip(calibrated, weights, strict=True)}
        mean = self._mean(calibrated)
        self.together = fit_common(mean, truth, mask)
        self.threshold_together = choose_thresholds(sigmoid(self.together(mean)), truth, mask)

    def _mean(self, calibrated: Logits) -> FloatArray:
        total = sum(self.weights.values())
        mean = np.sum([self.weights[name] / total * z for name, z in calibrated.items()], axis=0)
        return np.asarray(mean, np.float32)

    def __call__(self, logits: Logits) -> dict[str, tuple[FloatArray, FloatArray]]:
        """Logits [n, 20] by network -> (probabilities [n, 20], thresholds [20]) by network and for "ensemble"."""
        calibrated = {name: self.calibration[name](z) for name, z in logits.items()}
        out = {name: (sigmoid(z), self.thresholds[name]) for name, z in calibrated.items()}
        out["ensemble"] = (sigmoid(self.together(self._mean(calibrated))), self.threshold_together)
        return out


def cross_validated(logits: Logits, sets: Sets) -> dict[str, tuple[FloatArray, NDArray[np.bool_]]]:
    """(probabilities, active) [n, 20] of every clip, from what was fitted on recordings that are not in it."""
    out: dict[str, tuple[FloatArray, NDArray[np.bool_]]] = {}
    for inside, apart in splits(sets.clips.recording):
        fitted = Fitted(logits, sets, apart)
        for name, (p, thresholds) in fitted({n: z[inside] for n, z in logits.items()}).items():
            shape = sets.clips.truth.shape
            probabilities, active = out.setdefault(name, (np.zeros(shape, np.float32), np.zeros(shape, bool)))
            probabilities[inside], active[inside] = p, p >= thresholds
    return out


def check_measurable(tables: Mapping[str, Table]) -> None:
    """Check that sets of clips can be cross-validated, and each of them measured.

    Raises:
        UsageError: they cannot.
    """
    for name, table in tables.items():
        if enough(table.labels, table.mask) is None:
            raise UsageError(f"{name} measures nothing: of no instrument are a clip with it and one without it known",
                             "say what is absent, too")  # fmt: skip
    usable = [inside for inside, _ in splits(np.concatenate([table.group for table in tables.values()]))]
    if not np.any(usable, axis=0).all():
        raise UsageError("the clips are of one recording: they cannot be cross-validated", "give clips of others, too")


def as_they_are(logits: Logits) -> dict[str, tuple[FloatArray, NDArray[np.bool_]]]:
    """(probabilities, active from .5 on) of networks that nothing was fitted for, and of their mean logits."""
    if len(logits) > 1:
        logits = logits | {" + ".join(logits): np.asarray(np.mean(list(logits.values()), axis=0), np.float32)}
    return {name: (sigmoid(z), sigmoid(z) >= 0.5) for name, z in logits.items()}


def figures_of(sets: Sets, answers: Mapping[str, tuple[FloatArray, NDArray[np.bool_]]]) -> dict[str, Any]:
    """Per network and set: mAP with its interval by recording, micro-AP, top-1, F1 shown, calibration error; and the
    mean mAP of the sets."""
    out: dict[str, Any] = {}
    for name, (probabilities, active) in answers.items():
        rows: dict[str, Any] = {}
        for k, one in enumerate(sets.names):
            of = sets.which == k
            c = sets.clips
            truth, mask, p = c.truth[of], c.mask[of], probabilities[of]
            least = enough(truth, mask) or 1
            draws = average_precision(truth, p, mask, least, resamples(c.recording[of], 200))
            low, high = interval(np.nanmean(draws, axis=1))
            shown = f1(counts(truth, active[of], mask))[measured(truth, mask, least)]
            figures = {
                "clips": int(of.sum()),
                "mAP": mean_average_precision(truth, p, mask, least),
                "mAP_low": float(low),
                "mAP_high": float(high),
                "micro_AP": float(micro_average_precision(truth, p, mask)),
                "F1_shown": float(np.mean(shown)),
                "ECE": float(calibration_error(reliability(truth, p, mask))),
            }
            if c.solo[of].any():
                figures["top1"] = float(top1(truth, p, c.solo[of], mask=mask))
            rows[one] = {key: round(value, 4) for key, value in figures.items()}
        rows["mean_mAP"] = round(float(np.mean([rows[one]["mAP"] for one in sets.names])), 4)
        out[name] = rows
    return out


def _checkpoint(path: Path, name: str) -> Checkpoint:
    """The checkpoint of a run, which must be called as its network: bundle, card and ensemble know it by that name.

    Raises:
        ModelError: it is not there, or another network's.
    """
    checkpoint = load_checkpoint(path)
    if checkpoint["name"] != name:
        raise ModelError(f"{path}: holds a {checkpoint['name']}, not a {name}",
                         "--models takes names of networks, each also the name of its run's folder")  # fmt: skip
    return checkpoint


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--valid", action="append", required=True, metavar="SPEC", help=f"a set to fit on: {DATA}; "
                        "all sets have the same weight")  # fmt: skip
    parser.add_argument("--test", action="append", default=[], metavar="SPEC", help="a set to report only")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="holds <model>/weights.pt")
    parser.add_argument("--to", type=Path, default=Path("runs/ensemble"), help="the bundles' folder (runs/ensemble)")
    parser.add_argument("--bank", type=Path, default=Path("runs/unions"), help="whose sources the cards name")
    parser.add_argument("--compare", action="append", default=[], type=Path, metavar="CHECKPOINT", help="also report a "
                        "network as it is, uncalibrated, and the mean of all such")  # fmt: skip
    parser.add_argument("--golden", type=Path, help="a sound; its seconds 10 to 20 become the bundles' golden input")
    parser.add_argument("--models", default=",".join(DEFAULT_MODELS), metavar="A,B,…",
                        help="names of the runs to make an ensemble of (passt,cbam_cnn,ms_crnn)")  # fmt: skip
    args = parser.parse_args()
    if args.to.exists() and not args.to.is_dir():
        raise UsageError(f"{args.to}: is a file", "--to takes a folder")
    golden = chord(10.0)
    if args.golden:
        sound = load(args.golden)[10 * SAMPLE_RATE : 20 * SAMPLE_RATE]
        if len(sound) < 2 * SAMPLE_RATE:
            raise InputFileError(f"{args.golden}: ends before second 12", "--golden takes a sound of 12 s or more")
        golden = log_mel(sound)
    torch.set_num_threads(1)  # under other load a second thread makes it slower
    names = args.models.split(",")
    specs = {_name(spec): spec for spec in [*args.valid, *args.test]}
    if len(specs) < len(args.valid) + len(args.test):
        raise UsageError("two sets of clips have the same name, the last folder of their path", "rename one")
    tables = {name: validation_rows(open_all([spec])) for name, spec in specs.items()}
    check_measurable(tables)
    checkpoints = {name: _checkpoint(args.runs / name / "weights.pt", name) for name in names}
    for name, checkpoint in checkpoints.items():
        record = checkpoint["provenance"].get("trained_on")
        for of, table in tables.items() if record else ():
            check_unlearned(record, table, of, name, "give other clips")
    sets = replace(Sets.joined({name: clips_of(table) for name, table in tables.items()}), fitted=len(args.valid))
    networks = {name: round_to_fp16(network_of(checkpoint)) for name, checkpoint in checkpoints.items()}
    logits = {name: predict(network, sets.clips) for name, network in networks.items()}
    unseen = cross_validated(logits, sets) | as_they_are(
        {path.stem: predict(network_of(load_checkpoint(path)), sets.clips) for path in args.compare}
    )
    figures = figures_of(sets, unseen)
    fitted = Fitted(logits, sets, np.ones(len(sets.which), bool))
    files = [f"{sets.names[k]}/{Path(file).name}" for k, file in zip(sets.which, sets.clips.files, strict=True)]
    for name, (probabilities, active) in unseen.items():
        write_predictions(args.runs / "cross_validated" / f"{name}.csv", files, probabilities, active)
        rows = [(one, figures[name][one]) for one in sets.names]
        each = ", ".join(
            f"{one} mAP {row['mAP']:.3f} F1 {row['F1_shown']:.3f} ECE {row['ECE']:.3f}" for one, row in rows
        )
        print(f"{name}: {each}; mean mAP {figures[name]['mean_mAP']:.3f}")
    command = without_folders("python -m training.ensemble " + " ".join(sys.argv[1:]))
    index = args.bank / "index.json"
    bank = json.loads(index.read_text(encoding="utf-8"))["sources"] if index.is_file() else []
    for name, network in networks.items():
        checkpoint = checkpoints[name]
        sources = sources_of(checkpoint["provenance"], bank)
        provenance = {
            "command": f"{without_folders(checkpoint['provenance'].get('command', name))}; {command}",
            "validation": f"{len(files)} clips of {len(np.unique(sets.clips.recording))} recordings",
            "data": sorted({f"{s['source']}: {s['licence']}" for s in sources}),
        }
        model = export_checked(network, golden)
        card = model_card(
            name,
            sum(p.numel() for p in network.parameters()),
            network(torch.from_numpy(golden[None])).shape[1],
            {seconds: milliseconds(model, seconds) for seconds in (10.0, 2.5)},
            checkpoint["provenance"],
            sources,
            figures[name],
            ClipScores(sets.clips, unseen[name][0]),
        )
        calibration, thresholds = fitted.calibration[name], fitted.thresholds[name]
        write_network_bundle(
            network, model, checkpoint, args.to / name, calibration, thresholds, golden, provenance, card
        )
    today = datetime.date.today().isoformat()
    together = {
        "weights": fitted.weights,
        "calibration": fitted.together.as_json(),
        "thresholds": fitted.threshold_together.tolist(),
        "provenance": {"command": command, "date": today},
    }
    together = summed(together)
    report = {"command": command, "date": today, "cross-validated": "20 folds of recordings", "figures": figures}
    for path, content in ((args.to / "ensemble.json", together), (args.runs / "figures.json", report)):
        with exclusive_file(path) as partial:
            partial.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")


def _name(spec: str) -> str:
    """What a set of clips is called: the last folder of its path."""
    return Path(spec.partition(":")[2]).name


if __name__ == "__main__":
    entry(main)
