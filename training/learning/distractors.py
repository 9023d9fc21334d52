"""Teaches networks the instruments that are none of the 20 (`models.audioset.FITTED`): bassoon, harp, tuba, …

    python -m training.learning.distractors BUNDLES --bank runs/unions

A network that lacks a name for an instrument calls it what it resembles. Of every network on mn04 in BUNDLES, this fits
the rows that come after AudioSet's classes and leaves all other weights as they are: a logistic regression on what
AudioSet's rows read too, over windows of the bank, alone and mixed. Their biases are such that in one window in a
hundred without the instrument the mean of the networks takes it for likely, cross-validated over sources.
"""

import argparse
import json
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import nn
from tqdm import tqdm

from instrec_live.models.arrays import FloatArray
from instrec_live.models.audioset import FITTED
from instrec_live.models.bundle import DEFAULT_MODELS, Bundle
from instrec_live.models.calibration import logit
from instrec_live.models.errors import InputFileError
from instrec_live.models.logmel import PATCH
from instrec_live.models.networks.mn04 import Mn04Head
from instrec_live.models.networks.registry import build
from instrec_live.models.tagger import LIKELY
from instrec_live.training.command import entry, without_folders
from instrec_live.training.learning.bundling import export_checked, write_network_bundle
from instrec_live.training.learning.initial_weights import begin_with_bundle
from instrec_live.training.staging import exclusive_file
from instrec_live.training.synthesis.channel import log_of, power_of
from instrec_live.training.synthesis.unions import HalfArray, Track, coloured, in_a_room, read_bank

LENGTHS = (1, 2, 5, 10)  # patches of a window
SHARE = 0.4  # of the windows have a distractor
ALARMS = 0.01
FOLDS = 5
STRENGTH = 0.03  # of the logistic regression (its C)
_SILENCE = 3.0  # mel power, summed over the bands, of a frame without sound

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Windows:
    """Windows [n] of a bank.

    Attributes:
        mels: log-mels float32 [128, T].
        truth: bool [n, 6], which of `FITTED` sounds.
        voices: int [n].
        fold: int [n], by the source of the distractor, or of the first voice.
    """

    mels: list[FloatArray]
    truth: NDArray[np.bool_]
    voices: IntArray
    fold: IntArray


def draw(frames: HalfArray, tracks: list[Track], count: int, seed: int = 0) -> Windows:
    """Windows of one to three voices, of which all instruments are known.

    Raises:
        InputFileError: the bank has no distractors, or nothing else.
    """
    rng = np.random.default_rng(seed)
    groups: dict[str, dict[str, list[Track]]] = {}
    for track in tracks:
        if track.complete and track.group not in ("song", "music"):
            groups.setdefault(track.labels[0], {}).setdefault(track.source, []).append(track)
    distractors = [name for name in groups if name in FITTED]
    others = [name for name in groups if name not in FITTED]
    if not distractors or not others:
        raise InputFileError("the bank needs sounds of the 20 instruments, and of others", f"such as {FITTED[0]}")

    def voice(name: str, patches: int) -> tuple[FloatArray, str]:
        """Mel powers [T, 128] of a window at one loudness, and its source."""
        sources = sorted(groups[name])
        for _ in range(1000):
            source = sources[rng.integers(len(sources))]
            track = groups[name][source][rng.integers(len(groups[name][source]))]
            start = track.start + PATCH * int(rng.integers(max(track.patches - patches, 0) + 1))
            power = power_of(frames[start : start + min(patches, track.patches) * PATCH])
            loudness = power.sum(1)
            sounding = loudness > 1e-3 * loudness.max()
            if loudness.max() >= _SILENCE and sounding.mean() >= 0.25:
                power = np.resize(power, (patches * PATCH, power.shape[1]))  # a short sound is repeated
                return coloured(power / np.float32(loudness[sounding].mean()), rng), source
        raise InputFileError(f"no window in which {name} sounds", "give longer sounds")

    mels, truth = [], np.zeros((count, len(FITTED)), bool)
    voices, fold = np.zeros(count, np.int64), np.zeros(count, np.int64)
    for i in range(count):
        patches = int(rng.choice(LENGTHS))
        voices[i] = rng.choice(3, p=(0.6, 0.25, 0.15)) + 1
        names = [str(name) for name in rng.choice(others, voices[i])]
        if rng.random() < SHARE:
            names[0] = str(rng.choice(distractors))
            truth[i, FITTED.index(names[0])] = True
        chosen = [voice(name, patches) for name in names]
        gains = 10 ** rng.uniform(-0.6, 0.0, len(chosen)) if len(chosen) > 1 else np.ones(1)
        total = in_a_room(np.sum([np.float32(g) * p for g, (p, _) in zip(gains, chosen, strict=True)], axis=0), rng)
        mels.append(log_of(total * np.float32(10 ** rng.uniform(1.0, 2.8))).T)
        fold[i] = zlib.crc32(chosen[0][1].encode()) % FOLDS
    return Windows(mels, truth, voices, fold)


@torch.inference_mode()
def features_of(network: Any, windows: Windows) -> FloatArray:
    """float32 [n, 512]: what AudioSet's rows read of each window."""
    rows = [
        network.audioset.features(network.means(torch.from_numpy(np.ascontiguousarray(mel[None], np.float32))))[0]
        for mel in tqdm(windows.mels, unit="window", disable=None)
    ]
    return torch.stack(rows).numpy()


def fit(features: FloatArray, truth: NDArray[np.bool_]) -> tuple[FloatArray, FloatArray]:
    """Features [n, 512], truth [n, classes] -> weight [classes, 512] and bias [classes] of their logits."""
    mean, deviation = features.mean(0), features.std(0) + 1e-3
    weight = np.zeros((truth.shape[1], features.shape[1]), np.float32)
    bias = np.full(truth.shape[1], -10, np.float32)
    for k in np.flatnonzero(truth.any(0)):
        found = LogisticRegression(C=STRENGTH, max_iter=500).fit((features - mean) / deviation, truth[:, k])
        weight[k] = found.coef_[0] / deviation
        bias[k] = found.intercept_[0] - weight[k] @ mean
    return weight, bias


def unseen(features: list[FloatArray], windows: Windows) -> FloatArray:
    """The mean of the networks' logits [n, classes], each fitted on other sources."""
    logits = np.zeros(windows.truth.shape, np.float32)
    for k in range(FOLDS):
        inside = windows.fold == k
        for each in features:
            weight, bias = fit(each[~inside], windows.truth[~inside])
            logits[inside] += (each[inside] @ weight.T + bias) / len(features)
    return logits


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bundles", type=Path, help="folder of bundles, changed in place")
    parser.add_argument("--bank", type=Path, default=Path("runs/unions"), help="a bank of sounds (runs/unions)")
    parser.add_argument("--count", type=int, default=6000, help="windows (6000)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--report", type=Path, metavar="FILE", help="also write what was found, as JSON, at the end")
    args = parser.parse_args()
    torch.set_num_threads(1)
    frames, tracks, sources = read_bank(args.bank)
    bundles = [Bundle.load(args.bundles / name) for name in DEFAULT_MODELS]
    networks: dict[str, nn.Module] = {}
    for bundle in bundles:
        network = build(bundle.name, **bundle.network["config"]).eval()
        if isinstance(getattr(network, "audioset", None), Mn04Head):
            begin_with_bundle(network, bundle, calibrated=False)
            networks[bundle.name] = network.eval()
    windows = draw(frames, tracks, args.count, args.seed)
    features = {name: features_of(network, windows) for name, network in networks.items()}
    logits = unseen([*features.values()], windows)
    limits = np.array([np.quantile(logits[~windows.truth[:, k], k], 1 - ALARMS) for k in range(len(FITTED))])
    found: dict[str, dict[str, float]] = {}
    for k, name in enumerate(FITTED):
        likely, sounds = logits[:, k] >= limits[k], windows.truth[:, k]
        parts = {"alone": sounds & (windows.voices == 1), "mixed": sounds & (windows.voices > 1)}
        found[name] = {part: round(float(likely[which].mean()), 3) for part, which in parts.items() if which.any()}
        print(f"{name}: likely in {', '.join(f'{p:.0%} {part}' for part, p in found[name].items())}", file=sys.stderr)
    record = {
        "command": without_folders("python -m training.learning.distractors " + " ".join(sys.argv[1:])),
        "false_alarms": ALARMS,
        "found": found,
        "data": sorted({f"{s['source']}: {s['licence']}" for s in sources if s["class"] in FITTED}),
    }
    for bundle in bundles:
        if bundle.name not in networks:
            continue
        network = networks[bundle.name]
        weight, bias = fit(features[bundle.name], windows.truth)
        head: Any = network.audioset
        with torch.no_grad():
            head.fitted.weight.copy_(torch.from_numpy(weight).half().float())
            head.fitted.bias.copy_(torch.from_numpy(bias - limits + logit(LIKELY)))
        golden = bundle.golden[0].copy()
        checkpoint: Any = {"name": bundle.name, "config": bundle.network["config"], "provenance": bundle.provenance}
        card = (bundle.path / "MODEL_CARD.md").read_text(encoding="utf-8")
        write_network_bundle(
            network, export_checked(network, golden), checkpoint, bundle.path, bundle.calibration, bundle.thresholds,
            golden, {"distractors": record}, _with_section(card, record),
        )  # fmt: skip
    if args.report is not None:
        with exclusive_file(args.report) as partial:
            partial.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


HEADING = "## Instruments that are none of the 20"


def _with_section(card: str, record: dict[str, Any]) -> str:
    """A model card with a section on the distractors, in place of an earlier one."""
    rows = [
        f"| {name.replace('_', ' ')} | {' | '.join(f'{f[p]:.0%}' if p in f else '–' for p in ('alone', 'mixed'))} |"
        for name, f in record["found"].items()
    ]
    section = [
        HEADING,
        "",
        f"Fitted by `{record['command']}` on windows of 1 to 10 s of the sources below, alone and mixed. The "
        "share of the windows with the instrument in which it is found, in sources that it was not fitted on, where "
        f"{record['false_alarms']:.0%} of the windows without it are false alarms:",
        "",
        "| instrument | alone | mixed |",
        "|---|---|---|",
        *rows,
        "",
        *(f"- {each}" for each in record["data"]),
        "",
    ]
    return "\n".join([card.partition(HEADING)[0].rstrip(), "", *section])


if __name__ == "__main__":
    entry(main)
