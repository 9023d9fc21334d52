"""Measure on OpenMIC-2018 and IRMAS as the literature does, and compare with its figures.

    python -m training.published --openmic DIR --irmas DIR --to runs/published

DIR is what python -m training.data get openmic (irmas) has extracted. Rows: the bundled networks and their ensemble as
they are, not trained on OpenMIC (zero-shot); and a head on their embeddings, fitted on OpenMIC's training part
by what `instrec-live learn` fits its heads with. OpenMIC: mAP over labelled test cells, and F1±, the mean of the F1 of
presence and absence. IRMAS: micro and macro F1 over its ten instruments, at the models' own thresholds.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

from instrec_live.models.arrays import FloatArray
from instrec_live.models.bundle import DEFAULT_MODELS, Bundle, bundled
from instrec_live.models.calibration import sigmoid
from instrec_live.models.errors import UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.learned import bases_of
from instrec_live.models.learning import FOLDS, Encoder, calibrated, ridge
from instrec_live.models.logmel import SAMPLE_RATE
from instrec_live.training.command import entry
from instrec_live.training.data.irmas import read_irmas_test
from instrec_live.training.data.openmic import read_openmic
from instrec_live.training.data.sounds import load
from instrec_live.training.data.table import Table
from instrec_live.training.evaluation.candidates import Candidate, Joint, joint, open_candidate
from instrec_live.training.evaluation.listen import listen
from instrec_live.training.evaluation.metrics import counts, enough, f1, f1_both, mean_average_precision, measured
from instrec_live.training.staging import exclusive_file

_CLIP = 10 * SAMPLE_RATE
# System, mAP, F1±, and where the figure is published. "By others": we have not seen the paper's own table.
OPENMIC = (
    ("random forest on VGGish (Humphrey et al., 2018)", None, 0.784, "recomputed from its notebook's output"),
    ("PaSST-S (Koutini et al., 2022)", 0.843, None, "arXiv:2110.05069, by others"),
    ("PaSST-S, the released checkpoint", 0.85, None, "its file's name, release v0.0.5"),
    ("MaskSpec (Chong et al., 2023)", 0.854, None, "arXiv:2204.12768, abstract"),
    ("DyMN-L (Schmid et al., 2023)", 0.855, None, "arXiv:2310.15648, by others"),
    ("BEATs, frozen, and a probe (2024)", 0.870, None, "arXiv:2312.14005, by others"),
)
# System, micro F1, macro F1, and where the figures are published.
IRMAS = (
    ("Bosch et al., 2012", 0.503, 0.432, "by Han et al., who exceed it by 19.6 and 16.4 %"),
    ("Han et al., 2017", 0.602, 0.503, "arXiv:1605.09507, abstract"),
    ("Zhong et al., 2023", 0.674, None, "arXiv:2306.08850, abstract"),
)


def embeddings(paths: tuple[Path, ...], encoder: Encoder) -> FloatArray:
    """Mean embeddings float32 [n, numbers] of the first ten seconds of each clip."""
    rows = []
    for path in tqdm(paths, unit="clip", leave=False, disable=None):
        samples = load(path)[:_CLIP]
        rows.append(encoder(np.pad(samples, (0, _CLIP - len(samples)))[None])[0][0])
    return np.stack(rows)


def head(train: FloatArray, labels: Table, test: FloatArray) -> FloatArray:
    """Probabilities float32 [m, 20] of test clips, from a ridge regression for each instrument on the training clips of
    which it is known; present and absent weigh the same. Calibrated on held-out groups."""
    mean, spread = train.mean(axis=0), train.std(axis=0) + 0.1 * train.std()
    x, y = (np.c_[(each - mean) / spread, np.ones(len(each))].astype(np.float32) for each in (train, test))
    groups = {group: number % FOLDS for number, group in enumerate(sorted(set(labels.group.tolist())))}
    folds = np.array([groups[group] for group in labels.group], np.int64)
    out = np.full((len(test), len(INSTRUMENTS)), 0.5, np.float32)
    for column in range(len(INSTRUMENTS)):
        known = labels.mask[:, column] > 0
        present = labels.labels[known, column] >= 0.5
        if not present.any() or present.all() or len(set(folds[known].tolist())) < 2:
            continue
        weights = np.where(present, 0.5 / present.mean(), 0.5 / (1 - present.mean())).astype(np.float32)
        held_out, coefficients = ridge(x[known], present[:, None], weights, folds[known])
        scale, offset = calibrated(held_out[:, 0], present, np.zeros(len(present), np.float32))
        out[:, column] = sigmoid(scale * (y @ coefficients[:, 0]) + offset)
    return out


def openmic(folder: Path, subset: bool, threads: int) -> list[dict[str, object]]:
    """Rows of the table: system, mAP, F1±."""
    table = read_openmic(folder, subset=subset, valid_share=0.0)
    test, train = table.of("test"), table.of("train")
    candidates = [open_candidate(name, threads) for name in DEFAULT_MODELS]
    joints = [each for each in [joint(candidates)] if each is not None]
    probabilities = {
        f"{name}, zero-shot": p for name, p in listen(test.paths, candidates, joints).probabilities.items()
    }
    models: list[Candidate | Joint] = [*candidates, *joints]
    thresholds = {f"{each.label}, zero-shot": each.thresholds for each in models}
    encoder = Encoder(bases_of([Bundle.load(bundled(name)) for name in DEFAULT_MODELS]), threads)
    learned = "a head learned on OpenMIC's training part"
    probabilities[learned] = head(embeddings(train.paths, encoder), train, embeddings(test.paths, encoder))
    thresholds[learned] = np.full(len(INSTRUMENTS), 0.5, np.float32)
    rows: list[dict[str, object]] = []
    least = enough(test.labels, test.mask) or 1
    for name, p in probabilities.items():
        both = f1_both(counts(test.labels, p >= thresholds[name], test.mask))[measured(test.labels, test.mask, least)]
        rows.append({
            "system": name,
            "mAP": mean_average_precision(test.labels, p, test.mask, least),
            "F1±": float(np.nanmean(both)) if np.isfinite(both).any() else None,
        })  # fmt: skip
    return rows


def irmas(folder: Path, subset: bool, threads: int) -> list[dict[str, object]]:
    """Rows of the table: system, micro F1, macro F1."""
    table = read_irmas_test(folder, subset=subset)
    candidates = [open_candidate(name, threads) for name in DEFAULT_MODELS]
    joints = [each for each in [joint(candidates)] if each is not None]
    rows: list[dict[str, object]] = []
    probabilities = listen(table.paths, candidates, joints).probabilities
    models: list[Candidate | Joint] = [*candidates, *joints]
    for each in models:
        of = counts(table.labels, probabilities[each.label] >= each.thresholds, table.mask)
        tp, fp, fn = float(of.tp.sum()), float(of.fp.sum()), float(of.fn.sum())
        rows.append({
            "system": f"{each.label}, zero-shot",
            "micro F1": 2 * tp / max(1.0, 2 * tp + fp + fn),
            "macro F1": float(np.nanmean(f1(of)[table.mask.any(axis=0)])),
        })  # fmt: skip
    return rows


def page(rows: list[dict[str, object]], published: tuple[tuple[object, ...], ...], columns: tuple[str, ...]) -> str:
    """A table in Markdown: ours, then the published figures."""
    lines = [f"| system | {' | '.join(columns)} | from |", "|---|" + "---|" * len(columns) + "---|"]
    for row in rows:
        lines.append(f"| {row['system']} | {' | '.join(_figure(row[name]) for name in columns)} | measured here |")
    for name, *figures, where in published:
        lines.append(f"| {name} | {' | '.join(map(_figure, figures))} | {where} |")
    return "\n".join(lines)


def _figure(value: object) -> str:
    return f"{value:.3f}".removeprefix("0") if isinstance(value, float) and np.isfinite(value) else "–"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--openmic", type=Path, metavar="DIR", help="the extracted openmic-2018")
    parser.add_argument("--irmas", type=Path, metavar="DIR", help="holds IRMAS-TestingData-Part1 to 3")
    parser.add_argument("--subset", action="store_true", help="accept fewer clips than were published")
    parser.add_argument("--threads", type=int, default=1, metavar="N", help="of one network (1)")
    parser.add_argument("--to", type=Path, default=Path("runs/published"), metavar="DIR", help="(runs/published)")
    args = parser.parse_args()
    if args.openmic is None and args.irmas is None:
        raise UsageError("nothing to measure on", "give --openmic DIR, --irmas DIR, or both")
    parts, data = [], {}
    if args.openmic is not None:
        data["openmic"] = openmic(args.openmic, args.subset, args.threads)
        parts += ["## OpenMIC-2018, official test part", "", page(data["openmic"], OPENMIC, ("mAP", "F1±")), ""]
    if args.irmas is not None:
        data["irmas"] = irmas(args.irmas, args.subset, args.threads)
        parts += ["## IRMAS, test part", "", page(data["irmas"], IRMAS, ("micro F1", "macro F1")), ""]
    if args.subset:
        parts += ["Measured on a subset: not to be compared with the published figures.", ""]
    args.to.mkdir(parents=True, exist_ok=True)
    for name, text in (("published.md", "\n".join(parts)), ("published.json", json.dumps(data, indent=1))):
        with exclusive_file(args.to / name) as partial:
            partial.write_text(text + "\n", encoding="utf-8")
    print("\n".join(parts))
    print(f"written: {args.to / 'published.md'}", file=sys.stderr)


if __name__ == "__main__":
    entry(main)
