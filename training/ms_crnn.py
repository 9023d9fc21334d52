"""Train the MS-CRNN.

    python -m training.ms_crnn --music runs/music.npy --teacher runs/cbam_cnn/weights.pt --valid clips:DIR
    python -m training.ms_crnn --data openmic:DIR --init runs/pretrain/ms_crnn/weights.pt
    python -m training.ms_crnn --profile paper --protocol paper --data openmic:DIR --data table:DIR/table.csv

Profiles:
    ours   the one that ships: on scenes with exact labels and on real music, where only the teacher's word is known
           (Hinton et al., "Distilling the knowledge in a neural network", 2015)
    paper  the network and the recipe of Özel & İskender's notebook; begin with --init to do what their paper says
           and their notebook does not: load the weights pretrained on IRMAS
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch

from instrec_live.models.networks import build
from instrec_live.training.command import entry
from instrec_live.training.learning.init import take_over
from instrec_live.training.learning.options import add_options, recipe_of
from instrec_live.training.learning.recipe import Recipe
from instrec_live.training.learning.run import carry_out, open_teacher
from instrec_live.training.learning.yamnet import load_yamnet

PROFILES = {
    "ours": Recipe(
        "ms_crnn",
        {},
        steps=4000,
        batch=16,
        lr=1e-3,
        slow=("stem.bridge", "stem.conv", "stem.layers"),
        slow_lr=0.0,
        precision="fp32",
        seconds=(2.0, 6.0),
        distil=1.0,
        imitate=1.0,
    ),
    "paper": Recipe(
        "ms_crnn",
        {"size": "reference"},
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
        stripes=(0, 0),
        average="none",
        select="loss",
        patience=5,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, "ms_crnn", PROFILES)
    parser.add_argument(
        "--init", type=Path, metavar="FILE", help="YAMNet's weights (.npz) or a checkpoint (.pt) of the same network"
    )
    parser.add_argument("--teacher", type=Path, help="a trained CBAM-CNN's weights.pt to learn from")
    args = parser.parse_args()
    recipe = recipe_of(args, PROFILES)
    torch.manual_seed(args.seed)
    network = build("ms_crnn", **recipe.network)
    if args.init and args.init.suffix == ".npz":
        load_yamnet(network, args.init)
    elif args.init:
        print(take_over(network, args.init), file=sys.stderr)
    if args.init is None or args.init.suffix != ".npz":
        recipe = replace(recipe, slow=())  # a stem that knows no music yet is not kept as it is
    carry_out(args, recipe, network, open_teacher(args.teacher, recipe))


if __name__ == "__main__":
    entry(main)
