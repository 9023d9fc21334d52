"""From trained weights to a bundle that `instrec-live --models` runs."""

import datetime
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from instrec_live.models.bundle import Bundle, write_bundle
from instrec_live.models.calibration import Platt, sigmoid
from instrec_live.models.errors import ModelError
from instrec_live.models.export import TOLERANCE, Checkpoint, difference_from_torch, network_of, to_onnx
from instrec_live.models.golden import chord
from instrec_live.models.half_weights import pack_half_weights, round_to_half
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.training.datasets.clips import Clips
from instrec_live.training.evaluation.metrics import mean_average_precision, measured
from instrec_live.training.learning.calibrate import choose_thresholds, fit_platt, weighed
from instrec_live.training.learning.validation import predict

FloatArray = NDArray[np.float32]


def bundle_of(
    checkpoint: Checkpoint, to: Path, clips: Clips | None = None, device: torch.device | str = "cpu"
) -> Bundle:
    """A checkpoint's network as a bundle, calibrated and given thresholds on the clips (heard on the device); without
    any, 0.5 for all.

    Raises:
        ModelError: the weights do not fit, or the ONNX file differs from torch.
    """
    network = round_to_half(network_of(checkpoint))
    calibration, thresholds = Platt.identity(), np.full(len(INSTRUMENTS), 0.5, np.float32)
    said = "Not calibrated: no clips to validate on were given. Thresholds are 0.5."
    if clips is not None:
        logits = predict(network.to(device), clips)
        network.cpu()
        known = weighed(clips.mask, clips.recording)
        calibration = fit_platt(logits, clips.truth, known)
        calibrated = sigmoid(calibration(logits))
        thresholds = choose_thresholds(calibrated, clips.truth, known)
        figure = "not measured"
        if measured(clips.truth, clips.mask, 1).any():
            figure = f"{mean_average_precision(clips.truth, calibrated, clips.mask, min_positives=1):.3f}"
        said = (
            f"Calibrated, and its thresholds chosen, on {len(clips.files)} clips of "
            f"{len(np.unique(clips.recording))} recordings; masked mAP there {figure} (the run may have been "
            "chosen on them too: measure elsewhere with `python -m training.evaluate`)."
        )
    name = checkpoint["name"]
    card = f"# {name}\n\nTrained on {_today()} by `{checkpoint['provenance'].get('command', 'unknown')}`.\n\n{said}\n"
    golden = chord(10.0)
    model = exported(network, golden)
    return keep(network, model, checkpoint, to, calibration, thresholds, golden, {"validation": said}, card)


def exported(network: nn.Module, golden: FloatArray) -> bytes:
    """A network, rounded to half precision already, as the bytes of its ONNX file.

    Raises:
        ModelError: it differs from torch, on noise or on the golden log-mel [128, T].
    """
    model = pack_half_weights(to_onnx(network))
    difference = difference_from_torch(network, model, [golden])
    if not difference <= TOLERANCE:
        raise ModelError(f"{type(network).__name__}: the ONNX file's logits are {difference:.2g} off torch's")
    print(f"{type(network).__name__}: {len(model) / 1e6:.1f} MB, {difference:.1e} from torch", file=sys.stderr)
    return model


def keep(
    network: nn.Module,
    model: bytes,
    checkpoint: Checkpoint,
    to: Path,
    calibration: Platt,
    thresholds: FloatArray,
    golden: FloatArray,
    provenance: Mapping[str, Any],
    card: str,
) -> Bundle:
    """Write a network as a bundle.

    Args:
        network: rounded to half precision already.
        model: its ONNX file.
        golden: the log-mel [128, T] whose logits are kept to be checked.
    """
    name = checkpoint["name"]
    with torch.no_grad():
        answer = network(torch.from_numpy(golden[None]))[0].numpy()
    described: dict[str, Any] = {"name": name, "config": checkpoint["config"]}
    described["parameters"] = sum(p.numel() for p in network.parameters())
    if width := getattr(network, "width", 0):
        described["width"] = width
    return write_bundle(
        to,
        name=name,
        onnx=model,
        network=described,
        calibration=calibration,
        thresholds=thresholds,
        golden=(golden, answer),
        provenance={"date": _today(), **checkpoint["provenance"], **provenance},
        model_card=card,
    )


def _today() -> str:
    return datetime.date.today().isoformat()
