"""From trained weights to a bundle for `instrec-live --models`."""

import datetime
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from instrec_live.models.arrays import FloatArray
from instrec_live.models.bundle import Bundle, write_bundle
from instrec_live.models.calibration import Platt, sigmoid
from instrec_live.models.errors import ModelError
from instrec_live.models.export.to_onnx import (
    TOLERANCE,
    Checkpoint,
    difference_from_torch,
    network_of,
    pack_fp16_weights,
    round_to_fp16,
    to_onnx,
)
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import chord
from instrec_live.training.data.clips import Clips
from instrec_live.training.data.provenance import card_section, non_commercial
from instrec_live.training.evaluation.metrics import mean_average_precision, measured
from instrec_live.training.learning.calibrate import choose_thresholds, fit_platt, recording_weights
from instrec_live.training.learning.validation import predict


def bundle_of(
    checkpoint: Checkpoint, to: Path, clips: Clips | None = None, device: torch.device | str = "cpu"
) -> Bundle:
    """Write a checkpoint's network as a bundle. Calibration and thresholds are fitted on the clips (on the device);
    without clips there is no calibration, and all thresholds are 0.5.

    Raises:
        ModelError: the weights do not fit, or the ONNX file differs from torch.
    """
    network = round_to_fp16(network_of(checkpoint))
    calibration, thresholds = Platt.identity(), np.full(len(INSTRUMENTS), 0.5, np.float32)
    validation = "Not calibrated: no clips to validate on were given. Thresholds are 0.5."
    if clips is not None:
        logits = predict(network.to(device), clips)
        network.cpu()
        known = recording_weights(clips.mask, clips.recording)
        calibration = fit_platt(logits, clips.truth, known)
        calibrated = sigmoid(calibration(logits))
        thresholds = choose_thresholds(calibrated, clips.truth, known)
        figure = "not measured"
        if measured(clips.truth, clips.mask, 1).any():
            figure = f"{mean_average_precision(clips.truth, calibrated, clips.mask, min_positives=1):.3f}"
        validation = (
            f"Calibrated, and its thresholds chosen, on {len(clips.files)} clips of "
            f"{len(np.unique(clips.recording))} recordings; masked mAP there {figure} (the run may have been "
            "chosen on them too: measure elsewhere with `python -m training.evaluate`)."
        )
    name = checkpoint["name"]
    command = checkpoint["provenance"].get("command", "unknown")
    card = f"# {name}\n\nTrained on {_today()} by `{command}`.\n\n{validation}\n"
    card += "\n" + "\n".join(card_section(checkpoint["provenance"])) + "\n"
    golden = chord(10.0)
    model = export_checked(network, golden)
    return write_network_bundle(
        network, model, checkpoint, to, calibration, thresholds, golden, {"validation": validation}, card
    )


def export_checked(network: nn.Module, golden: FloatArray) -> bytes:
    """The ONNX file of a network whose weights are float16 values.

    Raises:
        ModelError: it differs from torch, on noise or on the golden log-mel [128, T].
    """
    model = pack_fp16_weights(to_onnx(network))
    difference = difference_from_torch(network, model, [golden])
    if not difference <= TOLERANCE:
        raise ModelError(f"{type(network).__name__}: the ONNX file's logits are {difference:.2g} off torch's")
    print(f"{type(network).__name__}: {len(model) / 1e6:.1f} MB, {difference:.1e} from torch", file=sys.stderr)
    return model


def write_network_bundle(
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
        network: with float16 values as weights.
        model: its ONNX file.
        golden: log-mel [128, T] of the golden clip.
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
        provenance={"date": _today(), **checkpoint["provenance"], **provenance, **_restrictions(checkpoint)},
        model_card=card,
    )


def _restrictions(checkpoint: Checkpoint) -> dict[str, Any]:
    excluded = non_commercial(checkpoint["provenance"].get("trained_on") or {})
    return {"non_commercial": excluded} if excluded else {}


def _today() -> str:
    return datetime.date.today().isoformat()
