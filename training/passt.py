"""Train PaSST.

    python -m training.passt --music runs/music.npy --teacher runs/cbam_cnn/weights.pt --valid clips:DIR
    python -m training.passt --profile authors --data openmic:DIR
    python -m training.passt --profile paper --protocol paper --data openmic:DIR --data table:DIR/table.csv

Profiles:
    ours     the small one that ships: from random weights, on scenes with exact labels and on real music, where only
             the teacher's word is known (Hinton et al., "Distilling the knowledge in a neural network", 2015)
    authors  PaSST-S from AudioSet as its authors tune it to OpenMIC (Koutini et al., Interspeech 2022, ex_openmic.py)
    paper    PaSST-S from AudioSet as Özel & İskender did: a constant rate of 1e-4, no patchout, no mixup, no averaging
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import torch

from instrec_live.models.errors import UsageError
from instrec_live.models.networks import build
from instrec_live.training.command import entry
from instrec_live.training.learning.init import audioset, take_over
from instrec_live.training.learning.options import add_options, recipe_of
from instrec_live.training.learning.recipe import Recipe
from instrec_live.training.learning.run import carry_out, open_teacher
from instrec_live.training.learning.yamnet import load_yamnet

PROFILES = {
    "ours": Recipe(
        "passt",
        {"size": "tiny"},
        dropped={"s_patchout_t": 12},
        steps=4000,
        batch=16,
        lr=1e-3,
        warmup=200,
        slow=("stem.0.bridge", "stem.0.conv", "stem.0.layers"),
        slow_lr=0.0,
        precision="fp32",
        seconds=(2.0, 6.0),
        distil=1.0,
        imitate=1.0,
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
        stripes=(48, 192),
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
        stripes=(48, 192),
        average="none",
        select="loss",
        patience=6,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, "passt", PROFILES)
    parser.add_argument("--init", metavar="FROM", help="audioset, YAMNet's weights (.npz), a checkpoint (.pt), or none "
                        "(PaSST-S: audioset if it can be had)")  # fmt: skip
    parser.add_argument("--teacher", type=Path, help="a trained CBAM-CNN's weights.pt to learn from")
    args = parser.parse_args()
    recipe = recipe_of(args, PROFILES)
    if args.init == "audioset" and recipe.network["size"] != "passt_s":
        raise UsageError(f"the AudioSet checkpoint is a PaSST-S, and the profile {args.profile} is not",
                         "--profile authors or paper")  # fmt: skip
    torch.manual_seed(args.seed)
    network = build("passt", **recipe.network, **recipe.dropped)
    if args.init == "audioset" or (args.init is None and recipe.network["size"] == "passt_s"):
        print(audioset(network, insist=args.init is not None), file=sys.stderr)
    elif args.init is not None and args.init.endswith(".npz"):
        load_yamnet(network, Path(args.init))
    elif args.init not in (None, "none"):
        print(take_over(network, Path(args.init)), file=sys.stderr)
    if not str(args.init).endswith(".npz"):
        recipe = replace(recipe, slow=())  # a stem that knows no music yet is not kept as it is
    carry_out(args, recipe, network, open_teacher(args.teacher, recipe))


if __name__ == "__main__":
    entry(main)
