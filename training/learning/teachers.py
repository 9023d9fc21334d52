"""The teachers' probabilities of every window of a bank of sounds: the targets of `synthesis.unions`.

    python -m training.learning.teachers runs/unions --mn04 mn04_as.npz [--teacher models/bundles/cbam_cnn …]

The teacher is the weighted mean of the calibrated logits of bundles (those that ship, if none are given) and of mn04_as
(AudioSet's 527 classes, unchanged), scaled to the right probabilities on real music. Known labels override it: if all
instruments of a sound are known, a soloist gets at least .93 and others a fifth of the teacher's probability (at most
.015, if the soloist is none of the 20); in a song, a listed instrument gets at least .5.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from tqdm import tqdm

from instrec_live.models.arrays import FloatArray
from instrec_live.models.audioset import CLASSES
from instrec_live.models.bundle import BUNDLES, DEFAULT_MODELS, Bundle
from instrec_live.models.calibration import sigmoid
from instrec_live.models.engines import onnx_runtime
from instrec_live.models.engines.base import CachingEngine
from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.export.public_passt import read_state_dict
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import N_MELS, PATCH
from instrec_live.models.networks.mn04 import Mn04Head, Mn04Trunk, load_mn04
from instrec_live.training.command import entry
from instrec_live.training.staging import exclusive_file
from instrec_live.training.synthesis.unions import LENGTHS, Track, read_bank, windows

MN04_WEIGHT = 0.15  # of mn04 in the teacher; the bundles share the rest as in their ensemble
MN04_BIAS = 1.5  # its probabilities are too low: AudioSet's labels are incomplete
SCALE, BIAS = 1.4, 0.3  # of the mean's logits: on real ensembles 1.6 and 2.4 fit best, on solos 1.4 and 0.2


def read_mn04(path: Path) -> tuple[Mn04Trunk, Mn04Head]:
    """EfficientAT's mn04_as out of its state dict (.pt), or an .npz of it.

    Raises:
        InputFileError, ModelError: missing, or something else.
    """
    trunk, head = Mn04Trunk(), Mn04Head()
    try:
        if path.suffix == ".npz":
            with np.load(path) as stored:
                load_mn04(trunk, head, {name: torch.from_numpy(stored[name]) for name in stored.files})
        else:  # as EfficientAT publishes it
            load_mn04(trunk, head, read_state_dict(path))
    except FileNotFoundError as error:
        raise InputFileError(f"{path}: not found", "give the .npz of mn04_as") from error
    except (OSError, EOFError, ValueError, KeyError, RuntimeError, BadZipFile) as error:
        raise InputFileError(f"{path}: not the weights of mn04_as: {str(error)[:160]}") from error
    return trunk.eval(), head.eval()


def begin_with_mn04(network: nn.Module, path: Path) -> None:
    """Give an MS-CRNN or the small PaSST the weights of mn04_as; the layers that correct them are unchanged.

    Raises:
        InputFileError: see `read_mn04`.
        UsageError: a network without mn04.
    """
    if not isinstance(getattr(network, "trunk", None), Mn04Trunk):
        raise UsageError("mn04's weights do not fit this profile's network", "--profile ours")
    trunk, head = read_mn04(path)
    weights = {f"trunk.{name}": value for name, value in trunk.state_dict().items()}
    weights |= {f"audioset.{name}": value for name, value in head.state_dict().items() if "." in name}
    network.load_state_dict(weights, strict=False)


Answers = dict[int, list[FloatArray]]  # by a window's length in patches: the logits of each window, in order


def mn04_answers(frames: NDArray[np.float16], tracks: Sequence[Track], path: Path) -> Answers:
    """AudioSet's logits [527] of each window of the tracks."""
    trunk, head = read_mn04(path)
    out: Answers = {length: [] for length in LENGTHS}
    with torch.inference_mode():
        for track in tqdm(tracks, unit="track", desc="mn04", disable=None):
            for length, answers in out.items():
                for start, patches in windows(track, length):
                    mel = torch.from_numpy(_mel(frames, start, patches))
                    answers.append(head(trunk(mel[None]).mean((2, 3)))[0, :CLASSES].numpy())
    return out


def bundle_answers(frames: NDArray[np.float16], tracks: Sequence[Track], bundle: Bundle) -> Answers:
    """A network's calibrated logits [20] of each window of the tracks. A patchwise network computes the embedding of a
    patch once for all windows that it is in."""
    engine = onnx_runtime.open_engine(bundle, 1, "fp32")
    nothing = np.empty((1, N_MELS, 0), np.float32)
    out: Answers = {length: [] for length in LENGTHS}
    for track in tqdm(tracks, unit="track", desc=bundle.name, disable=None):
        if isinstance(engine, CachingEngine):
            none = np.empty((0, engine.width), np.float32)
            pieces = windows(track, LENGTHS[-1])
            rest = sum(patches for _, patches in pieces)
            if rest < track.patches:
                pieces.append((track.start + rest * PATCH, track.patches - rest))
            embeddings = np.concatenate([engine.run(_mel(frames, *piece)[None], none)[1] for piece in pieces])
        for length, answers in out.items():
            for start, patches in windows(track, length):
                if isinstance(engine, CachingEngine):
                    first = (start - track.start) // PATCH
                    logits, _ = engine.run(nothing, np.ascontiguousarray(embeddings[first : first + patches]))
                else:
                    logits = engine.logits(_mel(frames, start, patches)[None])
                answers.append(bundle.calibration(logits[0, : len(INSTRUMENTS)]))
    return out


def _mel(frames: NDArray[np.float16], start: int, patches: int) -> FloatArray:
    return np.ascontiguousarray(frames[start : start + patches * PATCH].T, np.float32)


def combined(bundles: Sequence[tuple[float, FloatArray]], mn04: FloatArray) -> FloatArray:
    """(weight, calibrated logits [W, 20]) of bundles and AudioSet's logits [W, 527] -> probabilities [W, 20]."""
    total = sum(weight for weight, _ in bundles)
    taught = sum((weight / total * logits for weight, logits in bundles), np.zeros((len(mn04), len(INSTRUMENTS))))
    named = Mn04Head().rows[: len(INSTRUMENTS)].numpy()
    of_mn04 = mn04[:, named].max(-1) + MN04_BIAS
    mean = (1 - MN04_WEIGHT) * taught + MN04_WEIGHT * of_mn04 if bundles else of_mn04
    return sigmoid(SCALE * mean + BIAS)


def with_what_is_known(probabilities: FloatArray, track: Track) -> FloatArray:
    """Probabilities [W, 20] of a track's windows, overridden by its labels."""
    out = probabilities.copy()
    named = [INSTRUMENTS.index(name) for name in track.labels if name in INSTRUMENTS]
    if track.complete:
        others = np.ones(len(INSTRUMENTS), bool)
        others[named] = False
        out[:, others] *= np.float32(0.2)
        if track.group == "distractor":
            np.minimum(out, np.float32(0.015), out=out)
        least = 0.93 if len(named) == 1 else 0.65
    else:
        least = 0.5
    out[:, named] = np.maximum(out[:, named], least)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("bank", type=Path, help="a folder made by training.synthesis.unions")
    parser.add_argument("--mn04", type=Path, required=True, metavar="FILE", help="weights of mn04_as (.npz)")
    parser.add_argument("--teacher", type=Path, action="append", metavar="BUNDLE", help="(the bundles that ship)")
    args = parser.parse_args()
    make_targets(args.bank, args.mn04, args.teacher or [BUNDLES / name for name in DEFAULT_MODELS])


def make_targets(bank: Path, mn04: Path, teachers: Sequence[Path]) -> None:
    """Write `bank`/targets.npz; every teacher's results are kept in the same folder, so that a killed run resumes.

    Raises:
        InputFileError: no bank, or no weights.
        ModelError: a bundle that cannot teach.
    """
    frames, tracks, _ = read_bank(bank)
    said = []
    for folder in teachers:
        bundle = Bundle.load(folder)
        answers = _kept(bank / f"{bundle.name}.npz", partial(bundle_answers, frames, tracks, bundle))
        said.append((_weight(folder, bundle.name), answers))
    of_mn04 = _kept(bank / "mn04.npz", partial(mn04_answers, frames, tracks, mn04))
    content: dict[str, NDArray[np.float16]] = {}
    for length in LENGTHS:
        probabilities = combined([(weight, answers[length]) for weight, answers in said], of_mn04[length])
        counts = [len(windows(track, length)) for track in tracks]
        parts = np.split(probabilities, np.cumsum(counts)[:-1])
        overruled = np.concatenate([with_what_is_known(p, track) for p, track in zip(parts, tracks, strict=True)])
        content[f"instruments{length}"] = overruled.astype(np.float16)
        content[f"audioset{length}"] = sigmoid(of_mn04[length]).astype(np.float16)
    with exclusive_file(bank / "targets.npz") as staged, staged.open("wb") as out:
        np.savez(out, **content)  # type: ignore[arg-type]  # its stub takes the arrays for its own option


def _weight(folder: Path, name: str) -> float:
    """Of a bundle in the ensemble of its release, whose file lies beside it; 1 where there is none."""
    path = folder.parent / "ensemble.json"
    return float(json.loads(path.read_text(encoding="utf-8"))["weights"].get(name, 1.0)) if path.is_file() else 1.0


def _kept(path: Path, compute: Callable[[], Answers]) -> dict[int, FloatArray]:
    """Logits [W, classes] by length, out of a file that an earlier run wrote, or computed and written."""
    if not path.is_file():
        rows = {str(length): np.stack(answers).astype(np.float16) for length, answers in compute().items()}
        with exclusive_file(path) as partial, partial.open("wb") as out:
            np.savez(out, **rows)  # type: ignore[arg-type]  # its stub takes the arrays for its own option
    with np.load(path) as stored:
        return {length: stored[str(length)].astype(np.float32) for length in LENGTHS}


if __name__ == "__main__":
    entry(main)
