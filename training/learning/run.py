"""A recipe carried out: data opened, network trained, and the result made a bundle that goes live."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from instrec_live.models.cbam_cnn import CbamCnn
from instrec_live.models.errors import ModelError, UsageError
from instrec_live.models.export import load_checkpoint, network_of
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.training.learning.bundling import bundle_of
from instrec_live.training.learning.distributed import crew
from instrec_live.training.learning.loop import train
from instrec_live.training.learning.losses import Teacher
from instrec_live.training.learning.options import open_data
from instrec_live.training.learning.priors import log_odds, positive_weights
from instrec_live.training.learning.recipe import Recipe
from instrec_live.training.learning.validation import tagging

PATIENCE = 8  # evaluations without a better mAP


def carry_out(
    args: argparse.Namespace,
    recipe: Recipe,
    network: nn.Module,
    teacher: Teacher | None = None,
    finish: Callable[[nn.Module], None] | None = None,
) -> None:
    """Train as the options and the recipe say, and end in a bundle at `--to`/bundle.

    Raises:
        InstrecError: see `open_data`, `train` and `bundle_of`.
    """
    with crew(args.device) as together:
        together.check(recipe.batch)
        data = open_data(args, recipe)
        recipe = recipe.resolved(data.epoch, together.device)
        # Recordings run out and are learnt by heart; scenes do not.
        if recipe.select == "last" and data.ranked and (args.patience or (data.epoch and args.patience is None)):
            recipe = replace(recipe, select="mAP", patience=recipe.patience or PATIENCE)
        if args.patience and recipe.select == "last":
            raise UsageError("--patience needs clips to validate on, that know where instruments sound and where not",
                             "give --valid")  # fmt: skip
        weights = None
        if data.table is not None and recipe.positive_weight != (1.0, 1.0):
            weights = torch.from_numpy(positive_weights(data.table, recipe.positive_weight))
        if data.table is not None and recipe.prior_bias:
            with torch.no_grad():
                network.head.bias.copy_(torch.from_numpy(log_odds(data.table)))
        train(
            recipe,
            network,
            data.feed,
            args.to,
            teacher,
            tagging(data.clips, weights) if data.clips is not None else None,
            weights,
            together,
            args.workers,
            args.threads,
            args.checkpoint_every,
            args.tensorboard,
            finish,
        )
        if together.leads and not args.no_bundle:
            checkpoint = load_checkpoint(args.to / "weights.pt")
            bundle = bundle_of(checkpoint, args.to / "bundle", data.clips, together.device)
            print(f"{bundle.path}: try it with instrec-live --models {bundle.path}", file=sys.stderr)


def open_teacher(path: Path | None, recipe: Recipe) -> Teacher | None:
    """The CBAM-CNN in a checkpoint as a teacher, or none.

    Raises:
        ModelError: another network, or one that tells other classes.
        UsageError: the recipe heeds no teacher.
    """
    if path is None:
        return None
    if not recipe.distil and not recipe.imitate:
        raise UsageError("this profile learns from no teacher", "leave out --teacher")
    network = network_of(load_checkpoint(path))
    if not isinstance(network, CbamCnn) or network.head.out_features != len(INSTRUMENTS):
        raise ModelError(f"{path}: cannot teach", "give the weights.pt of training.cbam_cnn, profile ours or resnet")
    return Teacher(network)
