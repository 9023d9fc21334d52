"""The predictions of models for clips on disk; every clip is read once, for all models."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from instrec_live.models.arrays import FloatArray
from instrec_live.models.calibration import sigmoid
from instrec_live.models.errors import InputFileError, ModelError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import DcBlocker, log_mel
from instrec_live.models.tagger import windows
from instrec_live.training.data.sounds import load
from instrec_live.training.evaluation.candidates import Candidate, Joint


@dataclass(frozen=True, eq=False)
class Predictions:
    """The predictions of all models.

    Attributes:
        probabilities: of each candidate and ensemble, float32 [m, 20], for the clips that could be read.
        kept: bool [n], which clips could be read.
        unreadable: why the others could not, a line each.
    """

    probabilities: dict[str, FloatArray]
    kept: NDArray[np.bool_]
    unreadable: tuple[str, ...]


def listen(
    paths: Sequence[Path],
    candidates: Sequence[Candidate],
    joints: Sequence[Joint] = (),
    *,
    skip_unreadable: bool = False,
    what: str = "clips",
) -> Predictions:
    """Run all models on all clips, with a progress bar.

    Raises:
        InputFileError: a clip cannot be read, unless those are skipped; or none can be read.
        ModelError: a model gives values that are not finite.
    """
    results: list[dict[str, FloatArray]] = []
    unreadable, kept = [], np.ones(len(paths), bool)
    for i, path in enumerate(tqdm(paths, desc=what, unit="clip", leave=False, disable=None)):
        try:
            samples = load(path)
        except InputFileError as error:
            if not skip_unreadable:
                raise InputFileError(error.message, "remove it from the data, or give --skip-unreadable") from error
            unreadable.append(error.message)
            kept[i] = False
            continue
        results.append(_tags(path, samples, candidates, joints))
    if not results:
        raise InputFileError(f"{what}: none of {len(paths)} clips can be read", unreadable[0] if unreadable else None)
    return Predictions(
        {name: np.stack([tags[name] for tags in results]) for name in results[0]}, kept, tuple(unreadable)
    )


def _tags(
    path: Path, samples: FloatArray, candidates: Sequence[Candidate], joints: Sequence[Joint]
) -> dict[str, FloatArray]:
    """Probabilities float32 [20] of each candidate and ensemble, the mean over windows."""
    mels = [log_mel(window) for window in windows(DcBlocker()(samples))]
    logits = {candidate.label: [candidate.logits(mel) for mel in mels] for candidate in candidates}
    for label, per_window in logits.items():
        if not np.isfinite(per_window).all():
            raise ModelError(f"{label} gives values that are not finite for {path}", "train it again")
    for joint in joints:
        logits[joint.label] = [joint.logits(_of(joint, logits, i)) for i in range(len(mels))]
    own = len(INSTRUMENTS)
    return {label: np.mean(sigmoid(np.stack(z)[:, :own]), axis=0, dtype=np.float32) for label, z in logits.items()}


def _of(joint: Joint, logits: Mapping[str, Sequence[FloatArray]], window: int) -> dict[str, FloatArray]:
    return {name: logits[label][window] for label, name in joint.members.items()}


def write_predictions(path: Path, files: Sequence[str], probabilities: FloatArray, active: NDArray[np.bool_]) -> None:
    """Write a csv with one row per clip from probabilities and decisions [n, 20]: file, 20 probabilities, and `active`,
    the active instruments, '|'-separated."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["file", *INSTRUMENTS, "active"])
        for file, row, on in zip(files, probabilities, active, strict=True):
            shown = [name for name, yes in zip(INSTRUMENTS, on, strict=True) if yes]
            writer.writerow([file, *(f"{p:.6f}" for p in row), "|".join(shown)])
