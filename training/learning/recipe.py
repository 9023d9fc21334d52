"""What a training run is, apart from its data."""

from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import torch

from instrec_live.training.learning.distributed import fast_precision


@dataclass(frozen=True)
class Recipe:
    """All that decides a run's result but the data; two runs of one recipe on the same data end alike.

    A run's length is given in steps, or in epochs of the recordings it is trained on: `resolved` turns the latter into
    the former.
    """

    name: str  # of the network: "passt", "cbam_cnn", "ms_crnn"
    network: dict[str, Any] = field(default_factory=dict)  # its configuration
    dropped: dict[str, Any] = field(default_factory=dict)  # patchout and dropout, which only training has

    # length and pace
    steps: int = 3000
    epochs: float = 0.0  # if not 0, the steps follow from it
    batch: int = 24  # of all processes together
    lr: float = 1e-3
    slow_lr: float = 0.1  # factor of lr for the parts that `slow` names
    slow: tuple[str, ...] = ()
    schedule: Literal["cosine", "exponential", "constant"] = "cosine"  # after the warm-up
    warmup: int = 200  # steps
    warmup_epochs: float = 0.0
    weight_decay: float = 0.02
    clip: float = 1.0  # greatest norm of the gradient; 0: any
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"  # of the arithmetic; weights are fp32

    # what is heard
    seconds: tuple[float, float] = (2.0, 6.0)
    channel: bool = True  # recordings go through the random microphone that scenes go through
    gain_db: tuple[float, float] = (-7.0, 6.0)  # of recordings
    roll: float = 0.0  # greatest shift of recordings, s
    wavmix: float = 0.0  # share of recordings that are mixed with another
    jitter: bool = False  # of the mel scale's ends
    synthetic_weight: float = 1.0  # how much likelier synthetic clips are drawn than recorded ones

    # what is learnt from
    loss: Literal["bce", "ce"] = "bce"  # ce: one right class, for IRMAS
    smoothing: float = 0.02  # of hard labels
    positive_weight: tuple[float, float] = (1.0, 1.0)  # bounds of negatives / positives per instrument; (1, 1): none
    prior_bias: bool = False  # the last bias begins with the recordings' log-odds
    mixup: float = 0.0  # Beta parameter; 0: none
    stripes: tuple[int, int] = (24, 60)  # SpecAugment: widest blank of bands and of frames
    distil: float = 0.0  # weight of the teacher's probabilities
    imitate: float = 0.0  # weight of the teacher's features
    centred: bool = False  # imitate what sets a scene's features apart from the batch's mean: learns sooner
    music_only: bool = False  # heed the teacher on real music only

    # what is kept
    average: Literal["ema", "swa", "none"] = "ema"
    ema: float = 0.998
    swa_from: float = 2.0  # epochs; from then on the mean of the weights at each epoch's end
    select: Literal["mAP", "loss", "accuracy", "last"] = "last"  # which evaluation's weights are the result
    patience: int = 0  # evaluations without a better one until the run ends early; 0: never
    evaluate_every: int = 250  # steps; with epochs, once an epoch
    seed: int = 0

    def resolved(self, examples: int, device: torch.device) -> "Recipe":
        """The recipe in steps, for so many examples an epoch, and in the arithmetic that the device is fast at."""
        recipe = replace(self, precision=fast_precision(device)) if self.precision == "auto" else self
        if not self.epochs:
            return recipe
        epoch = max(1, examples // self.batch)
        steps = max(1, round(self.epochs * epoch))
        warmup = round(self.warmup_epochs * epoch) if self.warmup_epochs else min(self.warmup, steps // 4)
        return replace(recipe, steps=steps, warmup=warmup, evaluate_every=epoch)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)
