"""Train the CBAM-CNN.

    python -m training.cbam_cnn --unions runs/unions --init models/bundles/cbam_cnn --keep 0.3
    python -m training.cbam_cnn --profile scenes --init yamnet_float.npz --anchor runs/probe/weights.pt
    python -m training.cbam_cnn --profile resnet --data openmic:DIR --init runs/pretrain/cbam_cnn/weights.pt
    python -m training.cbam_cnn --profile paper --protocol paper --data openmic:DIR --data table:DIR/table.csv

Profiles:
    ours    the one that ships: begins with the weights of a bundle, or with YAMNet's, and learns from mixtures
            what the teachers recognise in each voice. The result is a mean with the initial weights (Wortsman et al.,
            "Robust fine-tuning of zero-shot models", CVPR 2022)
    scenes  the recipe before: trains on scenes with exact labels, and distils its former features on real music; the
            result is half-way to the anchor, a probe
    probe   the same network with YAMNet's trunk frozen: only the head is trained, in five minutes; a teacher of others
    resnet  what Özel & İskender's paper describes, a ResNet-like network with attention
    paper   the network and the recipe of their notebook, which is neither (42,182 parameters)
"""

import argparse
import copy
import sys
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from instrec_live.models.bundle import Bundle
from instrec_live.models.errors import ModelError, UsageError
from instrec_live.models.export.to_onnx import load_checkpoint, network_of
from instrec_live.models.networks.registry import build
from instrec_live.training.command import entry
from instrec_live.training.learning.initial_weights import begin_with_bundle, between, load_yamnet, take_over
from instrec_live.training.learning.losses import Teacher
from instrec_live.training.learning.options import add_options, recipe_of
from instrec_live.training.learning.recipe import Recipe
from instrec_live.training.learning.run import carry_out

SCENES = Recipe(
    "cbam_cnn",
    {"trunk": "mobilenet", "audioset_weight": 0.4},
    steps=1600,
    batch=24,
    lr=1e-3,
    low_lr_layers=("trunk",),
    low_lr_factor=0.15,
    imitate=2.0,
    music_only=True,
    precision="fp32",  # depthwise convolutions are faster in fp32
    seconds=(2.0, 5.0),
)
PROFILES = {
    "ours": Recipe(
        "cbam_cnn",
        {"trunk": "mobilenet", "audioset_weight": 0.4},
        steps=3000,
        batch=32,
        lr=4.5e-4,
        low_lr_layers=("trunk",),
        low_lr_factor=1 / 3,
        fixed=("trunk.mel_adapter", "trunk.stem", "trunk.stages.0", "trunk.stages.1", "audioset_head"),
        clip=2.0,
        precision="fp32",  # depthwise convolutions are faster so
        windows=((2, 0.2), (5, 0.4), (10, 0.4)),
        smoothing=0.0,
        spec_masks=(0, 0),
    ),
    "scenes": SCENES,
    "probe": replace(SCENES, steps=1000, low_lr_factor=0.0, imitate=0.0, music_only=False),
    "resnet": Recipe(
        "cbam_cnn",
        {"trunk": "resnet"},
        steps=4000,
        batch=24,
        lr=2e-3,
        seconds=(2.0, 6.0),
    ),
    "paper": Recipe(
        "cbam_cnn",
        {"trunk": "paper", "pooled": False},
        epochs=15,
        batch=256,
        lr=1e-3,
        weight_decay=1e-4,
        schedule="constant",
        clip=1.0,
        seconds=(10.0, 10.0),
        channel=False,
        gain_db=(0.0, 0.0),
        synthetic_weight=3.0,
        positive_weight=(0.0, 20.0),
        prior_bias=True,
        smoothing=0.0,
        spec_masks=(0, 0),
        average="none",
        select="loss",
        patience=3,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, "cbam_cnn", PROFILES)
    parser.add_argument("--init", type=Path, metavar="FILE", help="a bundle of this network, YAMNet's weights (.npz), "
                        "or a checkpoint (.pt) of the same network; without it, random weights")  # fmt: skip
    parser.add_argument("--anchor", type=Path, metavar="FILE", help="weights.pt of a probe; without it, the "
                        "initial weights: the result lies between the anchor and the trained weights")  # fmt: skip
    parser.add_argument(
        "--keep", type=float, help="the anchor's share in the result (0.5; of the initial weights 0.15)"
    )
    args = parser.parse_args()
    recipe = recipe_of(args, PROFILES)
    begins = args.init is not None and recipe.network["trunk"] == "mobilenet"  # with pretrained weights
    if not begins and (args.anchor is not None or args.keep is not None):
        raise UsageError("--anchor and --keep need a network that starts with YAMNet's weights",
                         "give them with --init, or leave them out")  # fmt: skip
    if args.keep is None:
        args.keep = 0.15 if args.anchor is None else 0.5
    if not 0 <= args.keep <= 1:
        raise UsageError(f"--keep must be 0 to 1, not {args.keep:g}")
    torch.manual_seed(args.seed)
    network = build("cbam_cnn", **recipe.network)
    if args.init is not None and args.init.is_dir():
        begin_with_bundle(network, Bundle.load(args.init))
    elif args.init is not None and args.init.suffix == ".npz":
        load_yamnet(network, args.init)
    elif args.init is not None:
        print(take_over(network, args.init), file=sys.stderr)
    if not begins:
        # Without pretrained weights there are no features to preserve, and no layers for a lower rate.
        carry_out(args, replace(recipe, low_lr_layers=(), imitate=0.0, distil=0.0, music_only=False), network)
        return
    first = copy.deepcopy(network)
    anchor = first if args.anchor is None else _anchor(args.anchor, first)
    teacher = Teacher(copy.deepcopy(first)) if recipe.imitate else None
    carry_out(args, recipe, network, teacher, finish=lambda result: between(result, anchor, args.keep))


def _anchor(path: Path, like: nn.Module) -> nn.Module:
    anchor = network_of(load_checkpoint(path))
    if _shapes(anchor) != _shapes(like):
        raise ModelError(f"{path}: another network than the trained one", "give the weights.pt of --profile probe")
    return anchor


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in network.state_dict().items()}


if __name__ == "__main__":
    entry(main)
