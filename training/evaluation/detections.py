"""Detections in single clips: every hit, miss and false positive."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from instrec_live.models.arrays import FloatArray
from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.training.data.sounds import audio_files
from instrec_live.training.data.specs import open_data
from instrec_live.training.data.table import Table


@dataclass(frozen=True)
class Detections:
    """Names of instruments, in tag order, at a threshold; `unknown` were detected and are not labelled."""

    hits: tuple[str, ...]
    misses: tuple[str, ...]
    false: tuple[str, ...]
    unknown: tuple[str, ...]


def detections(truth: FloatArray, mask: FloatArray, probabilities: FloatArray, threshold: float) -> Detections:
    """Of one clip; truth, mask and probabilities are [20]."""
    found, known, sounds = probabilities >= np.float32(threshold), mask > 0, truth > 0.5
    return Detections(
        *(
            tuple(name for name, yes in zip(INSTRUMENTS, cells, strict=True) if yes)
            for cells in (found & known & sounds, ~found & known & sounds, found & known & ~sounds, found & ~known)
        )
    )


def micro(parts: Iterable[Detections]) -> tuple[float, float, float]:
    """Precision, recall and F1 over all labelled cells of several clips; NaN where undefined."""
    parts = list(parts)
    tp, fn, fp = (sum(len(getattr(part, kind)) for part in parts) for kind in ("hits", "misses", "false"))
    share = [part / whole if whole else float("nan") for part, whole in
             ((tp, tp + fp), (tp, tp + fn), (2 * tp, 2 * tp + fp + fn if tp + fn else 0))]  # fmt: skip
    return share[0], share[1], share[2]


def open_clips(items: Sequence[str]) -> Table:
    """The clips of --clips: FILE=piano+violin, where the other instruments are known to be absent; FILE, without
    labels; a folder, with its labels.csv if it has one; or a table (.csv).

    Raises:
        UsageError: an unknown instrument, or a clip given twice.
        InputFileError: no such file, a folder without audio, or bad labels.
    """
    clips = Table.join([_open(item) for item in items])
    seen: set[Path] = set()
    for path in clips.paths:
        if path.resolve() in seen:
            raise UsageError(f"--clips has {path} twice", "name each clip once")
        seen.add(path.resolve())
    return clips


def _open(item: str) -> Table:
    path = Path(item)
    if path.is_dir():
        if (path / "labels.csv").is_file():
            return open_data(f"clips:{item}")
        files = audio_files(path)
        if not files:
            raise InputFileError(f"{path}: no sound files in it")
        return Table.join([_clip(file, None) for file in files])
    if path.is_file():
        return open_data(f"table:{item}") if path.suffix == ".csv" else _clip(path, None)
    name, equals, instruments = item.rpartition("=")
    if not equals or not Path(name).is_file():
        raise InputFileError(f"{name or item}: no such file", "--clips takes files, folders and FILE=piano+violin")
    return _clip(Path(name), instruments.split("+"))


def _clip(path: Path, instruments: Sequence[str] | None) -> Table:
    labels = np.zeros((1, len(INSTRUMENTS)), np.float32)
    for name in instruments or ():
        if name not in INSTRUMENTS:
            raise UsageError(f"unknown instrument {name!r} in {path}={'+'.join(instruments or ())}",
                             f"known: {', '.join(INSTRUMENTS)}")  # fmt: skip
        labels[0, INSTRUMENTS.index(name)] = 1.0
    mask = np.full_like(labels, instruments is not None)
    return Table((path,), np.array(["clip"]), np.array([str(path)]), np.array([""]), labels, mask)
