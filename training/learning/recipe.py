"""The hyperparameters of a training run."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import torch

from instrec_live.training.learning.distributed import check_precision, fast_precision


@dataclass(frozen=True)
class Recipe:
    """Everything that determines the result of a run except the data.

    A run's length is given in steps, or in epochs of the training recordings: `resolved` converts epochs to steps.
    """

    name: str  # of the network: "passt", "cbam_cnn", "ms_crnn"
    network: dict[str, Any] = field(default_factory=dict)  # its configuration
    dropped: dict[str, Any] = field(default_factory=dict)  # patchout and dropout, for training only

    # length and pace
    steps: int = 3000
    epochs: float = 0.0  # if not 0, it determines the steps
    batch: int = 24  # over all processes
    lr: float = 1e-3
    low_lr_factor: float = 0.1  # factor of lr for `low_lr_layers`
    low_lr_layers: tuple[str, ...] = ()
    fixed: tuple[str, ...] = ()  # parts that are not trained
    schedule: Literal["cosine", "exponential", "constant"] = "cosine"  # after the warm-up
    warmup: int = 200  # steps
    warmup_epochs: float = 0.0
    weight_decay: float = 0.02
    clip: float = 1.0  # maximum norm of the gradient; 0: no limit
    precision: Literal["auto", "fp32", "tf32", "bf16", "fp16"] = "auto"  # of the arithmetic; weights are fp32

    # input
    seconds: tuple[float, float] = (2.0, 6.0)
    windows: tuple[tuple[int, float], ...] = ()  # instead: (patches of 0.96 s, share of the batches)
    channel: bool = True  # recordings pass the random microphone channel, as scenes do
    gain_db: tuple[float, float] = (-7.0, 6.0)  # of recordings
    roll: float = 0.0  # maximum shift of recordings, s
    wavmix: float = 0.0  # share of recordings mixed with another one
    jitter: bool = False  # of the mel scale's ends
    synthetic_weight: float = 1.0  # sampling weight of synthetic clips, against 1 for recordings

    # loss
    loss: Literal["bce", "ce"] = "bce"  # ce: exactly one class, for IRMAS
    smoothing: float = 0.02  # of hard labels
    positive_weight: tuple[float, float] = (1.0, 1.0)  # bounds of negatives / positives per instrument; (1, 1): none
    prior_bias: bool = False  # the last bias starts with the recordings' log-odds
    mixup: float = 0.0  # Beta parameter; 0: none
    spec_masks: tuple[int, int] = (24, 60)  # SpecAugment: maximum width in bands and in frames
    distil: float = 0.0  # weight of the teacher's probabilities
    imitate: float = 0.0  # weight of the teacher's features
    centred: bool = False  # subtract the batch's mean from the teacher's features: learns faster
    music_only: bool = False  # use the teacher on real music only

    # result
    average: Literal["ema", "swa", "none"] = "ema"
    ema: float = 0.998
    swa_from: float = 2.0  # epochs; from then on, the mean of the weights at the end of each epoch
    select: Literal["mAP", "loss", "accuracy", "last"] = "last"  # the evaluation whose weights are the result
    patience: int = 0  # evaluations without improvement until the run stops early; 0: never
    evaluate_every: int = 250  # steps; with epochs, after each epoch
    seed: int = 0

    def resolved(self, examples: int, device: torch.device) -> "Recipe":
        """The recipe in steps, for `examples` examples per epoch, and in the device's fastest precision.

        Raises:
            UsageError: the device does not have the precision that was asked for.
        """
        check_precision(self.precision, device)
        recipe = replace(self, precision=fast_precision(device)) if self.precision == "auto" else self
        if not self.epochs:
            return recipe
        epoch = max(1, examples // self.batch)
        steps = max(1, round(self.epochs * epoch))
        warmup = round(self.warmup_epochs * epoch) if self.warmup_epochs else min(self.warmup, steps // 4)
        return replace(recipe, steps=steps, warmup=warmup, evaluate_every=epoch)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
