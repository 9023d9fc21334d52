"""A recipe carried out: data opened, network trained, and the result made a bundle that goes live."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from instrec_live.models.errors import UsageError
from instrec_live.models.export import load_checkpoint, network_of
from instrec_live.training.learning.bundling import bundle_of
from instrec_live.training.learning.distributed import crew
from instrec_live.training.learning.loop import train
from instrec_live.training.learning.losses import Teacher
from instrec_live.training.learning.options import open_data
from instrec_live.training.learning.priors import positive_weights
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
        if recipe.batch % together.world:
            raise UsageError(
                f"{together.world} processes cannot share batches of {recipe.batch} evenly", "change --batch"
            )
        data = open_data(args, recipe)
        recipe = recipe.resolved(len(data.table) if data.table is not None else 0, together.device)
        if recipe.select == "last" and data.table is not None and data.clips is not None and args.patience != 0:
            # Recordings run out and are learnt by heart; scenes do not.
            recipe = replace(recipe, select="mAP", patience=recipe.patience or PATIENCE)
        weights = None
        if data.table is not None and recipe.positive_weight != (1.0, 1.0):
            weights = torch.from_numpy(positive_weights(data.table, recipe.positive_weight))
        train(
            recipe,
            network,
            data.feed,
            args.to,
            teacher,
            tagging(data.clips) if data.clips is not None else None,
            weights,
            together,
            args.workers,
            args.threads,
            args.checkpoint_every,
            args.tensorboard,
            finish,
        )
        if together.leads and not args.no_bundle:
            bundle = bundle_of(load_checkpoint(args.to / "weights.pt"), args.to / "bundle", data.clips)
            print(f"{bundle.path}: try it with instrec-live --models {bundle.path}", file=sys.stderr)


def open_teacher(path: Path | None) -> Teacher | None:
    """The network in a checkpoint as a teacher, or none."""
    return None if path is None else Teacher(network_of(load_checkpoint(path)))
