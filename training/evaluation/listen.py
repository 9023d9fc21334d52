"""What models say of clips on disk: every clip is read once, for all models."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from instrec_live.models.calibration import sigmoid
from instrec_live.models.errors import InputFileError, ModelError
from instrec_live.models.logmel import log_mel
from instrec_live.models.tagger import windows
from instrec_live.training.datasets.sounds import load
from instrec_live.training.evaluation.candidates import Candidate, Joint

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Heard:
    """Attributes:
    probabilities: of each candidate and ensemble, float32 [m, 20], of the clips that could be read.
    kept: bool [n], which could.
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
) -> Heard:
    """Ask all models about all clips, with a progress bar.

    Raises:
        InputFileError: a clip cannot be read, unless those are to be skipped; or none can.
        ModelError: a model gives numbers that are not finite.
    """
    told: list[dict[str, FloatArray]] = []
    unreadable, kept = [], np.ones(len(paths), bool)
    for i, path in enumerate(tqdm(paths, desc=what, unit="clip", leave=False, disable=None)):
        try:
            samples = load(path)
        except InputFileError as error:
            if not skip_unreadable:
                raise InputFileError(error.message, "take it out of the data, or --skip-unreadable") from error
            unreadable.append(error.message)
            kept[i] = False
            continue
        told.append(_tags(path, samples, candidates, joints))
    if not told:
        raise InputFileError(f"{what}: none of {len(paths)} clips can be read", unreadable[0] if unreadable else None)
    return Heard({name: np.stack([tags[name] for tags in told]) for name in told[0]}, kept, tuple(unreadable))


def _tags(
    path: Path, samples: FloatArray, candidates: Sequence[Candidate], joints: Sequence[Joint]
) -> dict[str, FloatArray]:
    """Probabilities float32 [20], the mean of the windows', of each candidate and ensemble."""
    mels = [log_mel(window) for window in windows(samples)]
    logits = {candidate.label: [candidate.logits(mel) for mel in mels] for candidate in candidates}
    for label, per_window in logits.items():
        if not np.isfinite(per_window).all():
            raise ModelError(f"{label} gives numbers that are not finite for {path}", "it is broken: train it again")
    for joint in joints:
        logits[joint.label] = [joint.logits(_of(joint, logits, i)) for i in range(len(mels))]
    return {label: np.mean(sigmoid(np.stack(z)), axis=0, dtype=np.float32) for label, z in logits.items()}


def _of(joint: Joint, logits: Mapping[str, Sequence[FloatArray]], window: int) -> dict[str, FloatArray]:
    return {name: logits[label][window] for label, name in joint.members.items()}
