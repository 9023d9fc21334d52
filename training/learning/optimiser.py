"""How weights are moved: which parameters at which rate, and how the rate goes along a run."""

import math
from typing import Any

import torch
from torch import Tensor

from instrec_live.training.learning.losses import Student
from instrec_live.training.learning.recipe import Recipe


def optimiser_of(student: Student, recipe: Recipe) -> torch.optim.Optimizer:
    """AdamW (Loshchilov & Hutter, ICLR 2019) over the student's parameters."""
    return torch.optim.AdamW(_groups(student, recipe), lr=recipe.lr)


def set_rate(optimiser: torch.optim.Optimizer, step: int, recipe: Recipe) -> None:
    """Give every group its learning rate for a step."""
    for group in optimiser.param_groups:
        group["lr"] = group["base"] * schedule(step, recipe)


def schedule(step: int, recipe: Recipe) -> float:
    """What the learning rate is multiplied by at a step.

    "cosine": a linear warm-up, then half a cosine down to 2 %. "exponential": exp(-5 (1 - step / warmup)²) up to 1, and
    1 from there (PaSST's OpenMIC recipe). "constant": 1.
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
    """Parameters by learning rate and weight decay (none for biases and norms); those at rate 0 are left out."""
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in student.named_parameters():
        slow = any(name.removeprefix("network.").startswith(part) for part in recipe.slow)
        if slow and not recipe.slow_lr:
            parameter.requires_grad_(False)  # which saves its backward pass too
            continue
        groups.setdefault((slow, parameter.dim() > 1), []).append(parameter)
    return [
        {"params": params, "base": recipe.lr * (recipe.slow_lr if slow else 1.0),
         "weight_decay": recipe.weight_decay if decays else 0.0}
        for (slow, decays), params in groups.items()
    ]  # fmt: skip
