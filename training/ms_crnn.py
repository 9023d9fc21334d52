"""Train the MS-CRNN.

    python -m training.ms_crnn --unions runs/unions --init mn04_as.npz --valid clips:DIR
    python -m training.ms_crnn --data openmic:DIR --init runs/pretrain/ms_crnn/weights.pt
    python -m training.ms_crnn --profile paper --protocol paper --data openmic:DIR --data table:DIR/table.csv

Profiles:
    ours   the one that ships: begins with mn04_as and learns from mixtures what the teachers recognise in each voice
    paper  the network and the recipe of Özel & İskender's notebook; begin with --init to do what their paper says
           and their notebook does not: load the weights pretrained on IRMAS
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch

from instrec_live.models.bundle import Bundle
from instrec_live.models.networks.registry import build
from instrec_live.training.command import entry
from instrec_live.training.learning.initial_weights import begin_with_bundle, is_mn04, take_over, way_back
from instrec_live.training.learning.options import add_keep, add_options, recipe_of
from instrec_live.training.learning.recipe import Recipe
from instrec_live.training.learning.run import carry_out
from instrec_live.training.learning.teachers import begin_with_mn04

PROFILES = {
    "ours": Recipe(
        "ms_crnn",
        {},
        steps=3000,
        batch=32,
        lr=9e-4,
        low_lr_layers=("trunk", "audioset.hidden", "audioset.out"),
        low_lr_factor=1 / 3,
        clip=2.0,
        precision="fp32",
        windows=((2, 0.2), (5, 0.4), (10, 0.4)),
        smoothing=0.0,
        spec_masks=(0, 0),
    ),
    "paper": Recipe(
        "ms_crnn",
        {"size": "paper"},
        epochs=30,
        batch=128,
        lr=2e-4,
        weight_decay=1e-4,
        schedule="constant",
        clip=1.0,
        seconds=(10.0, 10.0),
        channel=False,
        gain_db=(0.0, 0.0),
        positive_weight=(1.0, 50.0),
        smoothing=0.0,
        spec_masks=(0, 0),
        average="none",
        select="loss",
        patience=5,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, "ms_crnn", PROFILES)
    parser.add_argument(
        "--init",
        type=Path,
        metavar="FILE",
        help="a bundle of this network, weights of mn04_as (.pt as published, or .npz), or a checkpoint of the same "
        "network",
    )
    add_keep(parser)
    args = parser.parse_args()
    recipe = recipe_of(args, PROFILES)
    torch.manual_seed(args.seed)
    network = build("ms_crnn", **recipe.network)
    pretrained = args.init is not None and (args.init.is_dir() or is_mn04(args.init))
    if pretrained and args.init.is_dir():
        begin_with_bundle(network, Bundle.load(args.init))
    elif pretrained:
        begin_with_mn04(network, args.init)
    elif args.init:
        print(take_over(network, args.init), file=sys.stderr)
    if not pretrained:
        recipe = replace(recipe, low_lr_layers=())  # all must be trained
    carry_out(args, recipe, network, finish=way_back(network, args.keep))


if __name__ == "__main__":
    entry(main)
