"""Instruments that a user taught: a linear head on the embeddings of bundled networks, in its own folder.

Such a folder has `manifest.json` (the classes, the networks whose embeddings they use, thresholds, how good they
are, where they come from), `head.npz` (the numbers) and `MODEL_CARD.md`.
"""

import hashlib
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import normalize

import numpy as np

from instrec_live.models.arrays import FloatArray
from instrec_live.models.audioset import NOT_MUSIC
from instrec_live.models.bundle import MALFORMED, Bundle, bundled, malformed
from instrec_live.models.errors import ModelError
from instrec_live.models.files import atomic_folder, read_regular
from instrec_live.models.instruments import INSTRUMENTS

KIND = "learned"  # of the manifest; that of a network has none
MOST_CLASSES = 100
_SCHEMA = 1
_LARGEST = 20_000_000  # bytes of one of its files
MOST_CORRECTED = 3.0  # logits: a correction helps the networks to decide, it does not replace them
# PaSST's embedding ends with the mean of mn04's maps; what precedes are its tokens, which are made of the same maps.
_ENDS = {"passt": 384}
_NAME = re.compile(r"[^\W_]\w{0,39}")


@dataclass(frozen=True)
class Base:
    """A network whose embeddings a head reads.

    Attributes:
        name: of the bundled network.
        sha256: of its ONNX file: another network's embeddings would mean nothing to the head.
        numbers: how many, the last of its embedding.
    """

    name: str
    sha256: str
    numbers: int


def bases_of(bundles: Sequence[Bundle]) -> tuple[Base, ...]:
    """Those of the networks that have embeddings, as bases."""
    return tuple(
        Base(bundle.name, bundle.sha256, _ENDS.get(bundle.name, bundle.width)) for bundle in bundles if bundle.width
    )


def class_name(text: str) -> str:
    """The name of a class, as in data: "French Horn" -> "french_horn".

    Raises:
        ValueError: no letters, digits and spaces, or longer than 40 characters.
    """
    name = re.sub(r"[\s\-_]+", "_", normalize("NFC", text).strip().lower())  # macOS spells "ä" in two characters
    if not _NAME.fullmatch(name):
        raise ValueError(f"{text!r} cannot be the name of an instrument: use up to 40 letters, digits and spaces")
    return name


@dataclass(frozen=True, eq=False)
class LearnedBundle:
    """A verified head.

    Attributes:
        name: of the model: the folder's.
        path: of the folder.
        sha256: of head.npz.
        bases: the networks whose embeddings it reads, in the order of its inputs.
        classes: their names. Those of `INSTRUMENTS` correct the networks; all others are new.
        weight: float32 [classes, numbers], bias: float32 [classes]: logits of a window are
            weight @ (mean embedding of its patches) + bias.
        thresholds: float32 [classes], probabilities from which a class is active; of corrections the ensemble's.
        held_back_by: of each new class, the kinds of `NOT_MUSIC` that hold it back, as they do the 20 instruments: all
            but those that lead in its own sounds.
        provenance: data, date, versions, licences.
        evaluation: by class, what cross-validation found.
    """

    name: str
    path: Path
    sha256: str
    bases: tuple[Base, ...]
    classes: tuple[str, ...]
    weight: FloatArray
    bias: FloatArray
    thresholds: FloatArray
    held_back_by: Mapping[str, tuple[str, ...]]
    provenance: Mapping[str, Any]
    evaluation: Mapping[str, Any]

    @property
    def new(self) -> tuple[str, ...]:
        """The classes that no bundled network has."""
        return tuple(name for name in self.classes if name not in INSTRUMENTS)

    @property
    def corrected(self) -> tuple[str, ...]:
        """The instruments that it corrects."""
        return tuple(name for name in self.classes if name in INSTRUMENTS)

    def logits(self, embeddings: Mapping[str, FloatArray]) -> FloatArray:
        """Embeddings float32 [patches, width] of each base -> logits float32 [classes]; those of corrections are
        added to the networks'."""
        means = [embeddings[base.name][:, -base.numbers :].mean(axis=0) for base in self.bases]
        logits: FloatArray = self.weight @ np.concatenate(means) + self.bias
        corrected = [name in INSTRUMENTS for name in self.classes]
        return np.where(corrected, np.clip(logits, -MOST_CORRECTED, MOST_CORRECTED), logits).astype(np.float32)

    def base_bundles(self) -> list[Bundle]:
        """The bundled networks that it reads.

        Raises:
            ModelError: this version of the program has other networks.
        """
        found = []
        for base in self.bases:
            bundle = Bundle.load(bundled(base.name))
            if bundle.sha256 != base.sha256 or bundle.width < base.numbers:
                raise ModelError(
                    f"{self.path}: learned with another version of the network {base.name}",
                    "learn it again from the same sounds: instrec-live learn FOLDER --to BUNDLE",
                )
            found.append(bundle)
        return found

    @classmethod
    def load(cls, path: Path) -> "LearnedBundle":
        """Read and verify a folder.

        Raises:
            ModelError: a file is missing, altered or malformed.
        """
        try:
            manifest = json.loads(read_regular(path / "manifest.json", _LARGEST))
            if (manifest["kind"], manifest["schema"]) != (KIND, _SCHEMA):
                raise ValueError(f"schema {manifest['schema']!r} of {manifest['kind']!r} is not known to this version")
            content = read_regular(path / "head.npz", _LARGEST)
            sha256 = hashlib.sha256(content).hexdigest()
            if sha256 != manifest["sha256"]["head.npz"]:
                raise ValueError("head.npz is altered or cut short")
            with np.load(io.BytesIO(content), allow_pickle=False) as head:
                weight, bias = np.array(head["weight"], np.float32), np.array(head["bias"], np.float32)
            bases = tuple(Base(str(b["name"]), str(b["sha256"]), int(b["numbers"])) for b in manifest["bases"])
            classes = tuple(map(str, manifest["classes"]))
            thresholds = np.array(manifest["thresholds"], np.float32)
            held_back_by = {str(name): tuple(map(str, kinds)) for name, kinds in manifest["held_back_by"].items()}
            _check(bases, classes, weight, bias, thresholds, held_back_by)
            return cls(
                name=path.resolve().name,
                path=path,
                sha256=sha256,
                bases=bases,
                classes=classes,
                weight=weight,
                bias=bias,
                thresholds=thresholds,
                held_back_by=held_back_by,
                provenance=dict(manifest["provenance"]),
                evaluation=dict(manifest["evaluation"]),
            )
        except MALFORMED as e:
            raise ModelError(
                f"{path}: not a valid learned bundle: {malformed(e)}",
                "learn it again: instrec-live learn FOLDER --to BUNDLE",
            ) from e


def _check(
    bases: Sequence[Base],
    classes: Sequence[str],
    weight: FloatArray,
    bias: FloatArray,
    thresholds: FloatArray,
    held_back_by: Mapping[str, Sequence[str]],
) -> None:
    if not 0 < len(classes) <= MOST_CLASSES or len(set(classes)) < len(classes):
        raise ValueError(f"it must have 1 to {MOST_CLASSES} different classes")
    if wrong := [name for name in classes if not _NAME.fullmatch(name) or name != name.lower()]:
        raise ValueError(f"{wrong[0]!r} cannot be the name of a class")
    if not bases or any(base.numbers < 1 for base in bases):
        raise ValueError("it reads no network")
    numbers = sum(base.numbers for base in bases)
    if (weight.shape, bias.shape, thresholds.shape) != ((len(classes), numbers), (len(classes),), (len(classes),)):
        raise ValueError(f"its numbers do not fit {len(classes)} classes of {numbers} inputs")
    if not (np.isfinite(weight).all() and np.isfinite(bias).all()):
        raise ValueError("not all of its numbers are finite")
    if not ((thresholds > 0) & (thresholds < 1)).all():
        raise ValueError("its thresholds are not between 0 and 1")
    if held_back_by.keys() != {name for name in classes if name not in INSTRUMENTS}:
        raise ValueError("held_back_by must have its new classes")
    if unknown := {kind for kinds in held_back_by.values() for kind in kinds} - set(NOT_MUSIC):
        raise ValueError(f"{min(unknown)!r} holds nothing back")


def write_learned(
    path: Path,
    *,
    bases: Sequence[Base],
    classes: Sequence[str],
    weight: FloatArray,
    bias: FloatArray,
    thresholds: FloatArray,
    held_back_by: Mapping[str, Sequence[str]],
    provenance: Mapping[str, Any],
    evaluation: Mapping[str, Any],
    model_card: str,
) -> LearnedBundle:
    """Write a folder completely or not at all, in place of an older one; arguments as `LearnedBundle`'s attributes.

    Raises:
        OSError: it cannot be written.
        ModelError: it would not load again.
    """
    packed = io.BytesIO()
    np.savez_compressed(packed, weight=np.asarray(weight, np.float32), bias=np.asarray(bias, np.float32))
    content = packed.getvalue()
    manifest = {
        "schema": _SCHEMA,
        "kind": KIND,
        "bases": [{"name": base.name, "sha256": base.sha256, "numbers": base.numbers} for base in bases],
        "classes": list(classes),
        "thresholds": np.round(np.asarray(thresholds, np.float64), 4).tolist(),
        "held_back_by": {name: list(kinds) for name, kinds in held_back_by.items()},
        "sha256": {"head.npz": hashlib.sha256(content).hexdigest()},
        "evaluation": dict(evaluation),
        "provenance": dict(provenance),
    }
    with atomic_folder(path) as fresh:
        (fresh / "head.npz").write_bytes(content)
        (fresh / "manifest.json").write_text(json.dumps(manifest, indent=1, allow_nan=False) + "\n", encoding="utf-8")
        (fresh / "MODEL_CARD.md").write_text(model_card, encoding="utf-8")
        LearnedBundle.load(fresh)
    return LearnedBundle.load(path)


def is_learned(path: Path) -> bool:
    """Whether a bundle folder holds a learned head; False if it cannot be read."""
    try:
        manifest = json.loads(read_regular(path / "manifest.json", _LARGEST))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(manifest, dict) and manifest.get("kind") == KIND
