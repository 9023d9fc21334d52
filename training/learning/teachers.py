"""The teachers' probabilities of every window of a bank of sounds: the targets of `synthesis.unions`.

    python -m training.learning.teachers runs/unions --mn04 mn04_as.npz [--teacher models/bundles/cbam_cnn …]

The teacher is the weighted mean of the calibrated logits of bundles (those that ship, if none are given) and of mn04_as
(AudioSet's 527 classes, unchanged), scaled to the right probabilities on real music. Known labels override it: if all
instruments of a sound are known, a soloist gets at least .93 and others a fifth of the teacher's probability (at most
.015, if the soloist is none of the 20); in a song, a listed instrument gets at least .5.
"""

import argparse
import json
from collections.abc import Iterator, Sequence
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
from instrec_live.models.calibration import Platt, sigmoid
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


def mn04_answers(frames: NDArray[np.float16], spans: Sequence[tuple[int, int]], path: Path) -> Iterator[FloatArray]:
    """AudioSet's logits [527] of each span (first frame, patches), as one window."""
    trunk, head = read_mn04(path)
    with torch.inference_mode():
        for start, patches in spans:
            mel = torch.from_numpy(frames[start : start + patches * PATCH].T.astype(np.float32))
            yield head(trunk(mel[None]).mean((2, 3)))[0, :CLASSES].numpy()


def bundle_answers(
    frames: NDArray[np.float16], spans: Sequence[tuple[int, int]], bundle: Bundle, calibration: Platt
) -> Iterator[FloatArray]:
    """A network's calibrated logits [20] of each span; spans in order share the embeddings of their patches, if the
    network is patchwise."""
    engine = onnx_runtime.open_engine(bundle, 1, "fp32")
    if not isinstance(engine, CachingEngine):
        for start, patches in spans:
            mel = np.ascontiguousarray(frames[start : start + patches * PATCH].T, np.float32)
            yield calibration(engine.logits(mel[None])[0, : len(INSTRUMENTS)])
        return
    known: dict[int, FloatArray] = {}
    nothing = np.empty((1, N_MELS, 0), np.float32)
    for start, patches in spans:
        firsts = range(start, start + patches * PATCH, PATCH)
        if any(first not in known for first in firsts):
            mel = np.ascontiguousarray(frames[start : start + patches * PATCH].T, np.float32)
            _, embeddings = engine.run(mel[None], np.empty((0, engine.width), np.float32))
            known = dict(zip(firsts, embeddings, strict=True))
        logits, _ = engine.run(nothing, np.stack([known[first] for first in firsts]))
        yield calibration(logits[0, : len(INSTRUMENTS)])


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
    content: dict[str, NDArray[np.float16]] = {}
    for length in LENGTHS:
        spans = [span for track in tracks for span in windows(track, length)]
        bundles = []
        for folder in teachers:
            bundle = Bundle.load(folder)
            answers = bundle_answers(frames, spans, bundle, bundle.calibration)
            logits = _kept(bank / f"{bundle.name}-{length}.npy", answers, len(spans), bundle.name)
            bundles.append((_weight(folder, bundle.name), logits.astype(np.float32)))
        audioset = _kept(bank / f"mn04-{length}.npy", mn04_answers(frames, spans, mn04), len(spans), "mn04")
        probabilities = combined(bundles, audioset.astype(np.float32))
        counts = [len(windows(track, length)) for track in tracks]
        parts = np.split(probabilities, np.cumsum(counts)[:-1])
        overruled = np.concatenate([with_what_is_known(p, track) for p, track in zip(parts, tracks, strict=True)])
        content[f"instruments{length}"] = overruled.astype(np.float16)
        content[f"audioset{length}"] = sigmoid(audioset.astype(np.float32)).astype(np.float16)
    with exclusive_file(bank / "targets.npz") as partial, partial.open("wb") as out:
        np.savez(out, **content)  # type: ignore[arg-type]  # its stub takes the arrays for its own option


def _weight(folder: Path, name: str) -> float:
    """Of a bundle in the ensemble of its release, whose file lies beside it; 1 where there is none."""
    path = folder.parent / "ensemble.json"
    return float(json.loads(path.read_text(encoding="utf-8"))["weights"].get(name, 1.0)) if path.is_file() else 1.0


def _kept(path: Path, answers: Iterator[FloatArray], count: int, name: str) -> NDArray[np.float16]:
    if not path.is_file():
        bar = tqdm(answers, total=count, unit="window", desc=name, disable=None)
        rows = np.stack([answer.astype(np.float16) for answer in bar])
        with exclusive_file(path) as partial, partial.open("wb") as out:
            np.save(out, rows)
    return np.asarray(np.load(path))


if __name__ == "__main__":
    entry(main)
