"""Averages of the weights along a run: steadier than the last ones, and better."""

import copy

import torch
from torch import nn

from instrec_live.training.learning.recipe import Recipe


class Average:
    """A copy of a network whose weights are a mean over the run's steps.

    "ema": an exponential mean, its memory growing with the run at first. "swa": the plain mean of the weights at the
    end of every epoch from one on (Izmailov et al., "Averaging weights leads to wider optima", UAI 2018). "none": the
    newest weights.

    Attributes:
        network: the average, in eval mode.
        taken: how many weights are in it ("swa").
    """

    def __init__(self, network: nn.Module, recipe: Recipe) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self.recipe = recipe
        self.taken = 0

    @torch.no_grad()
    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after `step` steps."""
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
