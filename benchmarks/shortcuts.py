"""Can a trivial probe tell where a training example came from, by marks that have nothing to do with instruments?

    python benchmarks/shortcuts.py --phrases DIR --notes DIR --recordings DIR [DIR …] [--count 400] [--seed 0]

The probe is a logistic regression on the cues below, read off the log-mel that a network would see. It is asked four
questions, each answered by its cross-validated area under the ROC curve (0.5: it cannot tell, 1: always):

- paper: mixtures as the paper makes them (notes in --notes looped, peak-normalised, summed) or recordings, both bare;
- bare: our scenes, or recordings, before the common channel (training.synthesis.channel);
- channel: our scenes or recordings, both through the channel, as training sees them;
- crowd: the same of scenes of three or more instruments, for recordings of bands: what differs by content, not by
  making, differs less there.

Clips of one recording (what a file's name begins with, up to its last "_") stay in one fold. Writes
benchmarks/results/shortcuts.json, a section for each folder of recordings.
"""

import argparse
import datetime
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from instrec_live.models.arrays import FloatArray
from instrec_live.models.logmel import HOP, SAMPLE_RATE, log_mel
from instrec_live.training.data.sounds import audio_files, full_band, load
from instrec_live.training.synthesis.channel import CENTRES, channel, log_of, mean_square, power_of, sounding
from instrec_live.training.synthesis.scenes.mixer import Phrases, Scenes

RESULTS = Path(__file__).parent / "results"
FRAMES = 500
FLOOR = float(log_of(np.zeros(1, np.float32))[0])
FEW, MANY = (0.0, 0.34, 0.25, 0.19, 0.12, 0.1), (0.0, 0.0, 0.0, 0.4, 0.3, 0.2, 0.1)  # chance of 0, 1, … instruments
CUES = ("reach", "treble", "cliff", "silence", "floor", "repetition", "peak", "level")


def cues(mel: FloatArray) -> list[float]:
    """What a log-mel [128, T] shows of its making, in the order of CUES.

    reach: the highest band that rises above the front end's floor; treble: power above 8 kHz, of all, dB; cliff: the
    steepest fall of the mean spectrum above 3 kHz; silence: share of frames that lie wholly at the floor; floor: share
    of all cells there; repetition: 1 where the clip repeats itself exactly at some lag of 0.5 s or more; peak and
    level: of the frames' power, dB.
    """
    power, at_floor = power_of(mel), mel < FLOOR + 0.02
    spectrum, bands = mel.mean(1), np.flatnonzero(np.quantile(mel, 0.95, axis=1) > FLOOR + 0.05)
    highest = float(bands[-1]) if len(bands) else -1.0
    edges = [b for b in range(6, 122) if CENTRES[b] > 3000]
    cliff = max(float(spectrum[b - 6 : b].mean() - spectrum[b + 1 : b + 7].mean()) for b in edges)
    total = power.sum() + 1e-9
    heard = mean_square(power)
    return [
        highest,
        float(10 * np.log10(power[CENTRES > 8000].sum() / total + 1e-9)),
        cliff,
        float(at_floor.all(0).mean()),
        float(at_floor.mean()),
        _repetition(mel),
        float(10 * np.log10(heard.max() + 1e-12)),
        float(10 * np.log10(sounding(heard) + 1e-12)),
    ]


def _repetition(mel: FloatArray, shortest: int = 50) -> float:
    """1 less the mean square difference between the clip and itself at the lag that fits best, of what is chance."""
    x = mel - mel.mean(1, keepdims=True)
    count = x.shape[1]
    spectrum = np.fft.rfft(x, 2 * count)
    across = np.fft.irfft((spectrum * spectrum.conj()).sum(0))[:count]
    energy = np.concatenate([[0.0], np.cumsum(np.square(x).sum(0))])
    lags = np.arange(shortest, count - shortest)
    overlap = energy[count - lags] + energy[-1] - energy[lags]
    return float(np.max(2 * across[lags] / (overlap + 1e-9)))


def probe(one: FloatArray, other: FloatArray, groups: list[str] | None = None, seed: int = 0) -> dict[str, float]:
    """How well cues [n, 8] of two kinds are told apart: AUC of the probe, and of each cue alone (its better side).

    Args:
        groups: of `other`; clips of a group stay in one fold. None: every clip for itself.
    """
    x, y = np.concatenate([one, other]), np.r_[np.ones(len(one)), np.zeros(len(other))]
    names = [f"one {i}" for i in range(len(one))] + (groups or [f"other {i}" for i in range(len(other))])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    told = cross_val_predict(model, x, y, groups=np.array(names), cv=folds, method="decision_function")
    alone = {name: float(roc_auc_score(y, x[:, i])) for i, name in enumerate(CUES)}
    return {"auc": float(roc_auc_score(y, told)), **{name: max(auc, 1 - auc) for name, auc in alone.items()}}


def paper_mixture(notes: list[FloatArray], rng: np.random.Generator) -> FloatArray:
    """The paper's kind of mixture: 1 to 11 notes, each looped, normalised to its peak, 0 to 10 dB down; then the sum
    normalised to its peak. Notes at 32 kHz, as are the samples returned, float32 [FRAMES * 320]."""
    mix = np.zeros(FRAMES * HOP, np.float32)
    for _ in range(int(rng.integers(1, 12))):
        note = notes[int(rng.integers(len(notes)))]
        note = np.resize(np.pad(note, (0, max(0, 4 * SAMPLE_RATE - len(note)))), len(mix))
        mix += note / (np.abs(note).max() + 1e-9) * np.float32(10 ** (rng.uniform(-10, 0) / 20))
    return mix / (np.abs(mix).max() + 1e-9)


def recordings(
    folder: Path, count: int, rng: np.random.Generator
) -> tuple[list[FloatArray], list[FloatArray], list[str]]:
    """Log-mels [128, FRAMES] of random excerpts of `count` files as they are; as training loads them; and which
    recording each is of."""
    files = [file for path in (folder, *sorted(folder.glob("*/"))) for file in audio_files(path)]
    bare, full, groups = [], [], []
    for i in tqdm(rng.permutation(len(files)), unit="file", desc="recordings"):
        samples = load(files[int(i)])
        if len(samples) < FRAMES * HOP or len(bare) == count:
            continue
        start = int(rng.integers(len(samples) - FRAMES * HOP + 1))
        bare.append(log_mel(samples[start : start + FRAMES * HOP]))
        full.append(log_mel(full_band(files[int(i)])[start : start + FRAMES * HOP]))
        groups.append(files[int(i)].stem.rsplit("_", 1)[0])
    return bare, full, groups


def measure(phrases: Path, notes: list[FloatArray], folder: Path, count: int, seed: int) -> dict[str, Any]:
    rng, folk = np.random.default_rng(seed), Phrases(phrases)
    found, full, groups = recordings(folder, count, rng)
    scenes, crowd = Scenes(folk, polyphony=FEW), Scenes(folk, polyphony=MANY)
    few, many = ([supply.mix(rng, FRAMES)[0] for _ in found] for supply in (scenes, crowd))
    heard = [channel(power_of(mel), rng) for mel in full]
    seen = {
        "paper": ([log_mel(paper_mixture(notes, rng)) for _ in found], found),
        "bare": ([log_of(power) for power in few], found),
        "channel": ([channel(power, rng) for power in few], heard),
        "crowd": ([channel(power, rng) for power in many], heard),
    }
    tables = {name: [np.array([cues(mel) for mel in side]) for side in sides] for name, sides in seen.items()}
    return {"clips_each": len(found), "recordings": len(set(groups)),
            **{name: probe(one, other, groups, seed) for name, (one, other) in tables.items()}}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phrases", type=Path, required=True, help="made by training.synthesis.phrases")
    parser.add_argument("--notes", type=Path, required=True, help="a folder of notes, or of such folders")
    parser.add_argument("--recordings", type=Path, nargs="+", required=True, help="folders of recordings")
    parser.add_argument("--count", type=int, default=400, help="clips of each kind")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    notes = [load(file) for path in (args.notes, *sorted(args.notes.glob("*/"))) for file in audio_files(path)]
    results = {}
    for folder in args.recordings:
        results[folder.name] = measure(args.phrases, notes, folder, args.count, args.seed)
        for name in ("paper", "bare", "channel", "crowd"):
            figures = " ".join(f"{cue} {auc:.2f}" for cue, auc in results[folder.name][name].items())
            print(f"{folder.name}, {name}: {figures}", file=sys.stderr)
    record = {
        "command": f"python benchmarks/shortcuts.py --phrases DIR --notes DIR --recordings DIR … --count {args.count} "
        f"--seed {args.seed}",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seed": args.seed,
        **results,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "shortcuts.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
