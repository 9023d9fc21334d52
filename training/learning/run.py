"""Carries out a recipe: opens the data, trains the network, writes the bundle."""

import argparse
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from instrec_live.models.errors import UsageError
from instrec_live.models.export.to_onnx import load_checkpoint
from instrec_live.training.data.provenance import non_commercial, record_of
from instrec_live.training.learning.bundling import bundle_of
from instrec_live.training.learning.distributed import process_group
from instrec_live.training.learning.loop import train
from instrec_live.training.learning.losses import Teacher
from instrec_live.training.learning.options import check_device, open_data, workers_of
from instrec_live.training.learning.recipe import Recipe
from instrec_live.training.learning.recordings import log_odds, positive_weights
from instrec_live.training.learning.validation import tagging

PATIENCE = 8  # evaluations without a better mAP


def carry_out(
    args: argparse.Namespace,
    recipe: Recipe,
    network: nn.Module,
    teacher: Teacher | None = None,
    finish: Callable[[nn.Module], None] | None = None,
) -> None:
    """Train with the options and the recipe, and write a bundle to `--to`/bundle.

    Raises:
        InstrecError: see `open_data`, `train` and `bundle_of`.
    """
    with process_group(args.device) as group:
        check_device(args, recipe, group)
        data = open_data(args, recipe)
        recipe = recipe.resolved(data.epoch, group.device)
        # A run on recordings can overfit, so the best evaluation counts; scenes are unlimited.
        if recipe.select == "last" and data.ranked and (args.patience or (data.epoch and args.patience is None)):
            recipe = replace(recipe, select="mAP", patience=recipe.patience or PATIENCE)
        if args.patience and recipe.select == "last":
            raise UsageError("--patience needs validation clips with positive and negative labels of an instrument",
                             "give --valid")  # fmt: skip
        weights = None
        if data.table is not None and recipe.positive_weight != (1.0, 1.0):
            weights = torch.from_numpy(positive_weights(data.table, recipe.positive_weight))
        if data.table is not None and recipe.prior_bias:
            head: Any = network.head
            with torch.no_grad():
                head.bias.copy_(torch.from_numpy(log_odds(data.table)))
        record = record_of(args, data.table, data.valid)
        if group.is_main and (excluded := non_commercial(record)):
            print(f"not for commercial use: it learns from {', '.join(excluded)}", file=sys.stderr)
        train(
            recipe,
            network,
            data.loader,
            args.to,
            teacher,
            tagging(data.clips, weights) if data.clips is not None else None,
            weights,
            group,
            workers_of(args),
            args.threads,
            args.checkpoint_every,
            args.tensorboard,
            args.wandb,
            args.accumulate,
            args.compile,
            finish,
            record=record,
        )
        if group.is_main and not args.no_bundle:
            checkpoint = load_checkpoint(args.to / "weights.pt")
            bundle = bundle_of(checkpoint, args.to / "bundle", data.clips, group.device)
            print(f"{bundle.path}: run it with instrec-live --models {bundle.path}", file=sys.stderr)
