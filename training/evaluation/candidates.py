"""The models under evaluation: bundles, and training checkpoints."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from instrec_live.models import Tagger
from instrec_live.models.arrays import FloatArray
from instrec_live.models.bundle import Bundle
from instrec_live.models.calibration import Platt
from instrec_live.models.catalog import bundle_folder
from instrec_live.models.ensemble import Ensemble
from instrec_live.models.errors import UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.tagger import OTHERS

ENSEMBLE = "ensemble"


@dataclass(frozen=True, eq=False)
class Candidate:
    """A model under evaluation.

    Attributes:
        label: its name in the report.
        origin: the argument it was opened with.
        sha256: of its ONNX file or checkpoint.
        bundle: the name of the model in its bundle; None for a checkpoint, which is not calibrated.
        thresholds: float32 [20], its own; of a checkpoint, 0.5.
        logits: log-mel float32 [128, T], T 200…1000 -> calibrated logits float32 [20]; after them those of other
            sounds, if the model has them, which the ensemble needs.
        record: what it was trained on (data/provenance.py); None: that was not recorded.
    """

    label: str
    origin: str
    sha256: str
    bundle: str | None
    thresholds: FloatArray
    logits: Callable[[FloatArray], FloatArray]
    record: Mapping[str, Any] | None = None


@dataclass(frozen=True, eq=False)
class Joint:
    """The ensemble of some candidates: `Tagger`'s if all are bundles, otherwise the mean of their logits.

    Attributes:
        label: its name in the report.
        members: label -> name in `weights` and `logits`.
        weights: of each member.
        thresholds: float32 [20].
        logits: the members' logits, as candidates give them -> those of the ensemble, float32 [20].
    """

    label: str
    members: Mapping[str, str]
    weights: Mapping[str, float]
    thresholds: FloatArray
    logits: Callable[[Mapping[str, FloatArray]], FloatArray]


def open_candidate(text: str, threads: int = 1) -> Candidate:
    """Open a bundled name, the folder of a bundle or a checkpoint (.pt); a prefix NAME= sets its label.

    Raises:
        ModelError: missing, damaged, or not a model.
    """
    name, equals, origin = text.partition("=")
    if not equals:
        name, origin = "", text
    opened = _checkpoint(origin, threads) if Path(origin).suffix == ".pt" else _bundle(origin, threads)
    return replace(opened, label=name or opened.label)


def joint(candidates: Sequence[Candidate], label: str = ENSEMBLE) -> Joint | None:
    """The ensemble of several candidates; None for a single one."""
    if len(candidates) < 2:
        return None
    names = [candidate.bundle for candidate in candidates if candidate.bundle is not None]
    if len(set(names)) == len(candidates):
        tagger = Tagger.load([candidate.origin for candidate in candidates])
        members = {candidate.label: name for candidate, name in zip(candidates, names, strict=True)}
        return Joint(label, members, tagger.weights, tagger.thresholds, lambda logits: _by_tagger(tagger, logits))
    thresholds = np.stack([candidate.thresholds for candidate in candidates]).mean(axis=0, dtype=np.float32)
    mean = Ensemble({candidate.label: 1.0 for candidate in candidates}, Platt.identity(), thresholds)
    own = len(INSTRUMENTS)
    return Joint(label, {name: name for name in mean.weights}, mean.weights, thresholds,
                 lambda logits: mean({name: z[:own] for name, z in logits.items()}))  # fmt: skip


def _by_tagger(tagger: Tagger, logits: Mapping[str, FloatArray]) -> FloatArray:
    """The members' logits -> those of the tagger's ensemble, float32 [20]; other sounds hold instruments back."""
    own = len(INSTRUMENTS)
    calibrated = {name: z[:own] for name, z in logits.items()}
    if others := [z[own:] for z in logits.values() if len(z) > own]:
        calibrated[OTHERS] = np.mean(others, axis=0, dtype=np.float32)
    return tagger.ensemble(calibrated)


def check_labels(candidates: Sequence[Candidate]) -> None:
    """Check that all labels differ.

    Raises:
        UsageError: two are the same.
    """
    labels = [candidate.label for candidate in candidates]
    for label in labels:
        if labels.count(label) > 1 or label == ENSEMBLE:
            raise UsageError(f"{'two models are' if label != ENSEMBLE else 'a model is'} called {label}",
                             "name them: NAME=PATH")  # fmt: skip


def _bundle(origin: str, threads: int) -> Candidate:
    tagger = Tagger.load([origin], threads=threads)
    name = tagger.models[0]

    def logits(log_mel: FloatArray) -> FloatArray:
        calibrated = tagger.calibrated(log_mel)
        own = calibrated.get(name, np.full(len(INSTRUMENTS), np.nan, np.float32))
        return np.append(own, calibrated.get(OTHERS, np.empty(0, np.float32)))

    record = Bundle.load(bundle_folder(origin)).provenance.get("trained_on")
    return Candidate(Path(origin).name, origin, tagger.sha256s[name], name, tagger.thresholds_of(name), logits, record)


def _checkpoint(origin: str, threads: int) -> Candidate:
    import torch  # not needed for bundles

    from instrec_live.models.export.to_onnx import load_checkpoint, network_of

    checkpoint = load_checkpoint(origin)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = network_of(checkpoint).to(device)
    torch.set_num_threads(threads)

    def logits(log_mel: FloatArray) -> FloatArray:
        with torch.inference_mode():
            out = network(torch.from_numpy(np.ascontiguousarray(log_mel[None])).to(device))
        return np.asarray(out[0, : len(INSTRUMENTS)].float().cpu().numpy(), np.float32)

    path = Path(origin)
    label = path.resolve().parent.name if path.stem in ("weights", "checkpoint") else path.stem
    with path.open("rb") as handle:
        sha256 = hashlib.file_digest(handle, "sha256").hexdigest()
    record = checkpoint["provenance"].get("trained_on")
    return Candidate(label, origin, sha256, None, np.full(len(INSTRUMENTS), 0.5, np.float32), logits, record)
