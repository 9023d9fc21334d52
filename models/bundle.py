"""A trained network on disk, verified before use.

A bundle is a folder: `model.onnx` (log-mel -> logits), `manifest.json` (the network, its provenance, checksums,
calibration, thresholds), `golden.npz` (one input and the logits it must give), `MODEL_CARD.md`.
"""

import hashlib
import io
import json
import os
import tokenize
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from instrec_live.models.arrays import FloatArray
from instrec_live.models.audioset import OTHER_SOUNDS
from instrec_live.models.calibration import Platt
from instrec_live.models.errors import ModelError
from instrec_live.models.files import atomic_folder, read_regular
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import HOP, N_MELS, SAMPLE_RATE
from instrec_live.models.onnx_file import has_external_data

SCHEMA = 1
DEFAULT_MODELS = ("passt", "cbam_cnn", "ms_crnn")
BUNDLES = Path(__file__).parent / "bundles"
FRAMES = (200, 1000)  # 2 to 10 s
CACHED_EMBEDDINGS = "heard"  # the input of a patchwise model.onnx that takes embeddings of earlier patches
_LARGEST_FILE, _LARGEST_TEXT = 2_000_000_000, 20_000_000  # bytes
_LARGEST_GOLDEN = 8 << 20  # bytes; 10 s of log-mel are half a million
GOLDEN_TOLERANCE = 1e-3  # |difference| of logits that another engine or processor may show

_INPUT = {"sample_rate": SAMPLE_RATE, "hop": HOP, "n_mels": N_MELS, "frames": list(FRAMES)}
# What the readers of json, zip and npy raise for malformed files.
MALFORMED = (
    OSError, EOFError, ValueError, KeyError, TypeError, AttributeError, IndexError, OverflowError, RecursionError,
    NotImplementedError, MemoryError, SyntaxError, tokenize.TokenError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_HINT = "reinstall instrec-live, or export the bundle again with python -m instrec_live.models.export"


def malformed(error: BaseException) -> str:
    """What is wrong with a file whose reading raised one of MALFORMED."""
    if isinstance(error, KeyError):
        return f"{error} is missing"
    if isinstance(error, MemoryError):
        return "there is not enough memory to read it"
    return str(error) or type(error).__name__


@dataclass(frozen=True, eq=False)
class Bundle:
    """A verified bundle.

    Attributes:
        name: of the model, e.g. "passt".
        path: its folder.
        onnx: the bytes of model.onnx; input "log_mel" float32 [B, 128, T], output "logits" float32
            [B, 20 + K]: the instruments, then the other sounds.
        sha256: of those bytes.
        network: {"name", "config"} as `networks.registry.build` takes them, "parameters", and "width" if it is
            patchwise.
        calibration: logits -> calibrated logits.
        thresholds: float32 [20], probabilities from which an instrument is active by this model alone.
        others: names of the K other sounds it has a logit for (`audioset.OTHER_SOUNDS`, or none of them).
        golden: (log_mel float32 [128, T], logits float32 [20 + K]).
        golden_tolerance: greatest |difference| of an engine's logits from the golden ones.
        provenance: command, data, seed, date, licences, …
    """

    name: str
    path: Path
    onnx: bytes
    sha256: str
    network: Mapping[str, Any]
    calibration: Platt
    thresholds: FloatArray
    others: tuple[str, ...]
    golden: tuple[FloatArray, FloatArray]
    golden_tolerance: float
    provenance: Mapping[str, Any]

    @property
    def width(self) -> int:
        """Numbers in a patchwise network's embedding (patchwise.py); 0: the network takes whole windows."""
        width: int = self.network.get("width", 0)
        return width

    @property
    def classes(self) -> int:
        """Logits of a window: those of the 20 instruments and of the other sounds."""
        return len(INSTRUMENTS) + len(self.others)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> "Bundle":
        """Read and verify a bundle folder.

        Raises:
            ModelError: a file is missing, altered, malformed or not for this program.
        """
        path = Path(path)
        if not os.path.isdir(path):  # unlike Path.is_dir, also False for a name that is too long
            raise ModelError(f"{path}: no such model folder", "give a bundled name or the folder of a bundle")
        if not os.path.lexists(path / "manifest.json"):
            raise ModelError(
                f"{path} is not the folder of a model: manifest.json is missing in it",
                "give a bundled name or the folder of a bundle",
            )
        try:
            return cls._verified(path)
        except ModelError:
            raise
        except MALFORMED as e:
            raise ModelError(f"{path}: not a valid model bundle: {malformed(e)}", _HINT) from e

    @classmethod
    def _verified(cls, path: Path) -> "Bundle":
        manifest = json.loads(_read(path, "manifest.json"))
        if manifest.get("schema") != SCHEMA:
            raise ModelError(
                f"{path / 'manifest.json'}: schema {manifest.get('schema')!r}, this program reads {SCHEMA}",
                "use a bundle made by this version of instrec-live",
            )
        if tuple(manifest["instruments"]) != INSTRUMENTS:
            raise ValueError(f"its classes are not the {len(INSTRUMENTS)} instruments in their order")
        if manifest["input"] != _INPUT:
            raise ValueError(f"its input is {manifest['input']}, not {_INPUT}")
        sha256s = manifest["sha256"]
        onnx = _verified_onnx(path, "model.onnx", sha256s["model.onnx"])
        others = tuple(map(str, manifest.get("others", ())))
        if others not in ((), OTHER_SOUNDS):
            raise ValueError(
                f"its other sounds are not the {len(OTHER_SOUNDS)} that this version knows, in their order"
            )
        log_mel, logits = _golden(_verified(path, "golden.npz", sha256s["golden.npz"]))
        classes = len(INSTRUMENTS) + len(others)
        if log_mel.ndim != 2 or len(log_mel) != N_MELS or logits.shape != (classes,):
            raise ValueError(f"golden.npz has shapes {log_mel.shape} and {logits.shape}")
        tolerance = float(manifest["golden_tolerance"])
        if not 0.0 < tolerance < 1.0:
            raise ValueError(f"golden_tolerance {tolerance} is not between 0 and 1")
        network = dict(manifest["network"])
        if not isinstance(width := network.get("width", 0), int) or width < 0:
            raise ValueError(f"its network's width is {width!r}: it must be the size of one patch's embedding")
        bundle = cls(
            name=str(manifest["name"]),
            path=path,
            onnx=onnx,
            sha256=sha256s["model.onnx"],
            network=network,
            calibration=Platt.from_json(manifest["calibration"]),
            thresholds=checked_thresholds(manifest["thresholds"]),
            others=others,
            golden=(log_mel, logits),
            golden_tolerance=tolerance,
            provenance=dict(manifest["provenance"]),
        )
        check_sum(manifest, path / "manifest.json")
        return bundle


def bundled(name: str) -> Path:
    """Folder of a bundle that ships with the package.

    Raises:
        ModelError: there is none of that name.
    """
    path = BUNDLES / name
    if Path(name).name != name or not os.path.isfile(path / "manifest.json"):
        there = ", ".join(sorted(file.parent.name for file in BUNDLES.glob("*/manifest.json"))) or "none"
        raise ModelError(f"no bundled model {name!r}", f"bundled models: {there}; or give the folder of a bundle")
    return path


def write_bundle(
    path: str | os.PathLike[str],
    *,
    name: str,
    onnx: bytes,
    network: Mapping[str, Any],
    calibration: Platt,
    thresholds: ArrayLike,
    golden: tuple[FloatArray, FloatArray],
    provenance: Mapping[str, Any],
    model_card: str,
    golden_tolerance: float = GOLDEN_TOLERANCE,
) -> Bundle:
    """Write a bundle folder completely or not at all, in place of an older one; arguments as `Bundle`'s attributes.

    Raises:
        ModelError: the bundle would not load again.
    """
    path = Path(path)
    packed = io.BytesIO()
    log_mel, logits = golden
    np.savez_compressed(packed, log_mel=np.asarray(log_mel, np.float32), logits=np.asarray(logits, np.float32))
    files = {"model.onnx": onnx, "golden.npz": packed.getvalue()}
    others = OTHER_SOUNDS if len(logits) == len(INSTRUMENTS) + len(OTHER_SOUNDS) else ()
    manifest = {
        "schema": SCHEMA,
        "name": name,
        "network": dict(network),
        "input": _INPUT,
        "instruments": list(INSTRUMENTS),
        "others": list(others),
        "sha256": {file: _sha256(content) for file, content in files.items()},
        "calibration": calibration.as_json(),
        "thresholds": np.asarray(thresholds).tolist(),
        "golden_tolerance": golden_tolerance,
        "provenance": dict(provenance),
    }
    with atomic_folder(path) as fresh:
        texts = {"manifest.json": json.dumps(summed(manifest), indent=1) + "\n", "MODEL_CARD.md": model_card}
        for file, content in (files | {name: text.encode() for name, text in texts.items()}).items():
            (fresh / file).write_bytes(content)
        Bundle.load(fresh)
    return Bundle.load(path)


def summed(content: Mapping[str, Any]) -> dict[str, Any]:
    """The content of a JSON file with a checksum of all of it, so that a flipped digit is detected."""
    numbers = {name: value for name, value in content.items() if name != "checksum"}
    return {**numbers, "checksum": _sha256(json.dumps(numbers, sort_keys=True).encode())}


def check_sum(content: Mapping[str, Any], file: Path) -> None:
    """Compare the checksum of `summed`; older files have none.

    Raises:
        ModelError: it differs.
    """
    if content.get("checksum", "") not in ("", summed(content)["checksum"]):
        raise ModelError(f"{file}: altered (its checksum differs)", _HINT)


def checked_thresholds(values: ArrayLike) -> FloatArray:
    """float32 [20], each between 0 and 1; ValueError otherwise."""
    thresholds = _finite(values, "thresholds")
    if thresholds.shape != (len(INSTRUMENTS),) or (thresholds <= 0).any() or (thresholds >= 1).any():
        raise ValueError(f"thresholds must be {len(INSTRUMENTS)} numbers between 0 and 1")
    return thresholds


def _golden(content: bytes) -> tuple[FloatArray, FloatArray]:
    """Input and logits from golden.npz; ValueError if it would unpack to far more than these."""
    with zipfile.ZipFile(io.BytesIO(content)) as packed:
        if sum(member.file_size for member in packed.infolist()) > _LARGEST_GOLDEN:
            raise ValueError("golden.npz is too large")
    with np.load(io.BytesIO(content), allow_pickle=False) as golden:
        return _finite(golden["log_mel"], "golden"), _finite(golden["logits"], "golden")


def _finite(values: ArrayLike, what: str) -> FloatArray:
    with np.errstate(over="ignore"):  # a number too large for float32 becomes infinite
        array = np.array(values, np.float32)
    if not np.isfinite(array).all():
        raise ValueError(f"{what}: not all numbers are finite")
    array.setflags(write=False)
    return array


def _read(path: Path, file: str) -> bytes:
    try:
        return read_regular(path / file, _LARGEST_FILE if file.endswith(".onnx") else _LARGEST_TEXT)
    except FileNotFoundError:
        raise ModelError(f"{path}: {file} is missing", _HINT) from None


def _verified(path: Path, file: str, sha256: str) -> bytes:
    content = _read(path, file)
    if _sha256(content) != sha256:
        raise ModelError(f"{path / file}: altered or cut short (its sha256 differs)", _HINT)
    return content


def _verified_onnx(path: Path, file: str, sha256: str) -> bytes:
    content = _verified(path, file, sha256)
    try:
        external = has_external_data(content)
    except ValueError as e:
        raise ModelError(f"{path / file}: not a valid model bundle: {e}", _HINT) from e
    if external:
        raise ModelError(f"{path}: not a valid model bundle: {file} refers to other files for its weights", _HINT)
    return content


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
