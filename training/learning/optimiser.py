"""The optimiser: parameter groups, learning-rate schedule, and averages of the weights."""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from instrec_live.training.learning.losses import Student
from instrec_live.training.learning.recipe import Recipe


def optimiser_of(student: Student, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter, ICLR 2019) over the student's parameters."""
    return torch.optim.AdamW(_groups(student, recipe), lr=recipe.lr)


def set_rate(optimiser: torch.optim.Optimizer, step: int, recipe: Recipe) -> None:
    """Set the learning rate of every group for a step."""
    for group in optimiser.param_groups:
        group["lr"] = group["base"] * schedule(step, recipe)


def schedule(step: int, recipe: Recipe) -> float:
    """The factor of the learning rate at a step.

    "cosine": a linear warm-up, then half a cosine down to 2 %. "exponential": exp(-5 (1 - step / warmup)²) up to 1,
    then 1 (PaSST's OpenMIC recipe). "constant": 1.
    """
    if recipe.schedule == "constant":
        return 1.0
    if step < recipe.warmup:
        if recipe.schedule == "exponential":
            return math.exp(-5 * (1 - step / recipe.warmup) ** 2)
        return (step + 1) / recipe.warmup
    if recipe.schedule == "exponential":
        return 1.0
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))


def _groups(student: Student, recipe: Recipe) -> list[dict[str, Any]]:
    """Parameters by learning rate and weight decay (none for biases and norms); those at rate 0 are frozen."""
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in student.named_parameters():
        own = name.removeprefix("network.")
        slow = own.startswith(recipe.low_lr_layers)
        if own.startswith(recipe.fixed) or (slow and not recipe.low_lr_factor):
            parameter.requires_grad_(False)  # this saves its backward pass too
            continue
        groups.setdefault((slow, parameter.dim() > 1), []).append(parameter)
    return [
        {"params": params, "base": recipe.lr * (recipe.low_lr_factor if slow else 1.0),
         "weight_decay": recipe.weight_decay if decays else 0.0}
        for (slow, decays), params in groups.items()
    ]  # fmt: skip


class Average:
    """A copy of a network with averaged weights.

    "ema": an exponential mean, with a shorter memory at the start. "swa": the plain mean of the weights at the
    end of every epoch from one on (Izmailov et al., "Averaging weights leads to wider optima", UAI 2018). "none": the
    newest weights.

    Attributes:
        network: the average, in eval mode.
        taken: number of weights in the mean ("swa").
    """

    def __init__(self, network: nn.Module, recipe: Recipe) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.recipe = recipe
        self.taken = 0

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Add the weights after `step` steps."""
        recipe = self.recipe
        keep = 0.0
        if recipe.average == "ema":
            keep = min(recipe.ema, step / (step + 9))
        elif recipe.average == "swa" and step >= recipe.swa_from * recipe.evaluate_every:
            if step % recipe.evaluate_every:
                return
            self.taken += 1
            keep = 1 - 1 / self.taken
        for mean, now in zip(self.network.state_dict().values(), network.state_dict().values(), strict=True):
            if mean.is_floating_point() and keep:
                mean.lerp_(now, 1 - keep)
            else:
                mean.copy_(now)
