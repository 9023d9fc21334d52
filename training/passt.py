"""Train PaSST.

    python -m training.passt --unions runs/unions --init mn04_as.npz --valid clips:DIR
    python -m training.passt --profile authors --data openmic:DIR
    python -m training.passt --profile paper --protocol paper --data openmic:DIR --data table:DIR/table.csv

Profiles:
    ours     the small one that ships: begins with mn04_as and learns from mixtures what the teachers recognise in each
             voice
    authors  PaSST-S from AudioSet as its authors tune it to OpenMIC (Koutini et al., Interspeech 2022, ex_openmic.py)
    paper    PaSST-S from AudioSet as Özel & İskender did: a constant rate of 1e-4, no patchout, no mixup, no averaging
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch

from instrec_live.models.bundle import Bundle
from instrec_live.models.errors import UsageError
from instrec_live.models.networks.registry import build
from instrec_live.training.command import entry
from instrec_live.training.learning.initial_weights import audioset, begin_with_bundle, is_mn04, take_over, way_back
from instrec_live.training.learning.options import add_keep, add_options, recipe_of
from instrec_live.training.learning.recipe import Recipe
from instrec_live.training.learning.run import carry_out
from instrec_live.training.learning.teachers import begin_with_mn04

PROFILES = {
    "ours": Recipe(
        "passt",
        {"size": "tiny"},
        dropped={"s_patchout_t": 6},
        steps=3000,
        batch=32,
        lr=9e-4,
        low_lr_layers=("trunk", "audioset.hidden", "audioset.out"),
        low_lr_factor=1 / 3,
        clip=2.0,
        precision="fp32",
        windows=((1, 0.25), (2, 0.1), (5, 0.3), (10, 0.35)),
        smoothing=0.0,
        spec_masks=(0, 0),
    ),
    "authors": Recipe(
        "passt",
        {"size": "passt_s"},
        dropped={"s_patchout_t": 40, "s_patchout_f": 4},
        epochs=10,
        batch=6,
        lr=1e-5,
        weight_decay=1e-4,
        schedule="exponential",
        warmup_epochs=5,
        clip=0.0,
        seconds=(10.0, 10.0),
        channel=False,
        gain_db=(-7.0, 6.0),
        roll=50 / 32_000,
        wavmix=0.5,
        jitter=True,
        smoothing=0.0,
        mixup=0.3,
        spec_masks=(48, 192),
        average="swa",
        swa_from=2,
        select="mAP",
        patience=5,
    ),
    "paper": Recipe(
        "passt",
        {"size": "passt_s"},
        epochs=20,
        batch=32,
        lr=1e-4,
        weight_decay=1e-2,
        schedule="constant",
        clip=0.0,
        seconds=(10.0, 10.0),
        channel=False,
        gain_db=(0.0, 0.0),
        jitter=True,
        smoothing=0.0,
        spec_masks=(48, 192),
        average="none",
        select="loss",
        patience=6,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, "passt", PROFILES)
    parser.add_argument("--init", metavar="FROM", help="audioset (the default of PaSST-S: fetched once), a checkpoint "
                        "(.pt, also as published: PaSST's, mn04_as), a bundle of this network, or none")  # fmt: skip
    add_keep(parser)
    args = parser.parse_args()
    recipe = recipe_of(args, PROFILES)
    if args.init == "audioset" and recipe.network["size"] != "passt_s":
        raise UsageError(f"the AudioSet checkpoint is a PaSST-S, and the profile {args.profile} is not",
                         "--profile authors or paper")  # fmt: skip
    torch.manual_seed(args.seed)
    network = build("passt", **recipe.network, **recipe.dropped)
    if args.init is None:
        args.init = "audioset" if recipe.network["size"] == "passt_s" else "none"
    pretrained = Path(args.init).is_dir() or is_mn04(Path(args.init))
    if args.init == "audioset":
        print(audioset(network), file=sys.stderr)
    elif Path(args.init).is_dir():
        begin_with_bundle(network, Bundle.load(args.init))
    elif pretrained:
        begin_with_mn04(network, Path(args.init))
    elif args.init != "none":
        print(take_over(network, Path(args.init)), file=sys.stderr)
    if not pretrained:
        recipe = replace(recipe, low_lr_layers=())  # all must be trained
    carry_out(args, recipe, network, finish=way_back(network, args.keep))


if __name__ == "__main__":
    entry(main)
