"""Measures a network on clips it is not trained on."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from instrec_live.models.arrays import FloatArray
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.training.data.clips import Clips
from instrec_live.training.evaluation.metrics import average_precision, enough, mean_average_precision, top1
from instrec_live.training.learning.losses import masked_bce


@torch.no_grad()
def logits_of(network: nn.Module, log_mels: Sequence[FloatArray], seconds: float = 10.0, batch: int = 1) -> FloatArray:
    """Logits float32 [n, classes] of the last `seconds` of every log-mel [128, T]; neighbours of equal length share a
    batch of at most `batch`."""
    network.eval()
    device = next(network.parameters()).device
    frames, out, waiting = round(seconds * 100), [], list[FloatArray]()

    def flush() -> None:
        if waiting:
            out.append(network(torch.from_numpy(np.stack(waiting)).float().to(device)).float().cpu().numpy())
            waiting.clear()

    for mel in log_mels:
        last = np.ascontiguousarray(mel[:, -frames:])
        if len(waiting) == batch or (waiting and waiting[0].shape != last.shape):
            flush()
        waiting.append(last)
    flush()
    return np.concatenate(out)


def predict(network: nn.Module, clips: Clips, seconds: float = 10.0) -> FloatArray:
    """Logits float32 [n, 20] of the last `seconds` of every clip."""
    on_gpu = next(network.parameters()).device.type == "cuda"
    return logits_of(network, clips.log_mels, seconds, batch=16 if on_gpu else 1)[:, : clips.truth.shape[1]]


def tagging(clips: Clips, positive_weight: torch.Tensor | None = None) -> Callable[[nn.Module], dict[str, float]]:
    """A validation function of a tagging network: masked loss, as in training; mAP, and top-1 on solos, if the clips
    allow them."""
    truth, mask = torch.from_numpy(clips.truth), torch.from_numpy(clips.mask)
    positives = enough(clips.truth, clips.mask)

    def figures(network: nn.Module) -> dict[str, float]:
        scores = predict(network, clips)
        line = {"valid_loss": float(masked_bce(torch.from_numpy(scores), truth, mask, None, positive_weight))}
        if positives:
            line["valid_mAP"] = mean_average_precision(clips.truth, scores, clips.mask, positives)
            each = average_precision(clips.truth, scores, clips.mask, positives)
            line |= {f"AP {name}": float(ap) for name, ap in zip(INSTRUMENTS, each, strict=True) if np.isfinite(ap)}
        return line | (
            {"valid_top1": float(top1(clips.truth, scores, clips.solo, mask=clips.mask))} if clips.solo.any() else {}
        )

    return figures


def classifying(log_mels: Sequence[FloatArray], classes: NDArray[np.int64]) -> Callable[[nn.Module], dict[str, float]]:
    """A validation function of a network that classifies the predominant instrument: loss, accuracy, and mean accuracy
    over classes.

    Args:
        log_mels: float32 [128, T] each.
        classes: int [n].
    """

    def figures(network: nn.Module) -> dict[str, float]:
        scores = logits_of(network, log_mels, batch=16)
        right = scores.argmax(1) == classes
        return {
            "valid_loss": float(F.cross_entropy(torch.from_numpy(scores), torch.from_numpy(classes))),
            "valid_accuracy": float(right.mean()),
            "valid_macro_accuracy": float(np.mean([right[classes == c].mean() for c in np.unique(classes)])),
        }

    return figures
