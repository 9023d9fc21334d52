"""Train the CBAM-CNN.

    python -m training.cbam_cnn --init yamnet_float.npz --anchor runs/probe/weights.pt --music runs/music.npy
    python -m training.cbam_cnn --profile resnet --data openmic:DIR --init runs/pretrain/cbam_cnn/weights.pt
    python -m training.cbam_cnn --profile paper --protocol paper --data openmic:DIR --data table:DIR/table.csv

Profiles:
    ours    the one that ships: begins with YAMNet's weights, learns our 20 instruments on scenes, and is held to what
            it knew of real music by imitating its former self's features there. The result lies half-way between the
            weights it ended with and those of the anchor, a probe (Wortsman et al., "Robust fine-tuning of zero-shot
            models", CVPR 2022): scenes are not music
    probe   the same network, its trunk kept as YAMNet's: only the head learns; five minutes, and a teacher to others
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

from instrec_live.models.errors import ModelError, UsageError
from instrec_live.models.export import load_checkpoint, network_of
from instrec_live.models.networks import build
from instrec_live.training.command import entry
from instrec_live.training.learning.init import take_over
from instrec_live.training.learning.losses import Teacher
from instrec_live.training.learning.options import add_options, recipe_of
from instrec_live.training.learning.recipe import Recipe
from instrec_live.training.learning.run import carry_out
from instrec_live.training.learning.yamnet import load_yamnet

OURS = Recipe(
    "cbam_cnn",
    {"trunk": "mobilenet", "words": 0.4},
    steps=1600,
    batch=24,
    lr=1e-3,
    slow=("trunk",),
    slow_lr=0.15,
    imitate=2.0,
    music_only=True,
    precision="fp32",  # depthwise convolutions are faster so
    seconds=(2.0, 5.0),
)
PROFILES = {
    "ours": OURS,
    "probe": replace(OURS, steps=1000, slow_lr=0.0, imitate=0.0, music_only=False),
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
        {"trunk": "reference", "pooled": False},
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
        stripes=(0, 0),
        average="none",
        select="loss",
        patience=3,
    ),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_options(parser, "cbam_cnn", PROFILES)
    parser.add_argument("--init", type=Path, metavar="FILE", help="YAMNet's weights (.npz; profile ours), or a "
                        "checkpoint (.pt) of the same network; without it, random weights")  # fmt: skip
    parser.add_argument("--anchor", type=Path, metavar="FILE", help="weights.pt of a probe; without it, the "
                        "weights of the beginning: the result lies between the anchor and what was learnt")  # fmt: skip
    parser.add_argument("--keep", type=float, help="the anchor's share in the result (0.5; of the beginning 0.15)")
    args = parser.parse_args()
    recipe = recipe_of(args, PROFILES)
    begins = args.init is not None and recipe.network["trunk"] == "mobilenet"  # with a trunk that knows music
    if not begins and (args.anchor is not None or args.keep is not None):
        raise UsageError("--anchor and --keep are for a network that begins with YAMNet's weights",
                         "give them with --init, or leave them out")  # fmt: skip
    if args.keep is None:
        args.keep = 0.15 if args.anchor is None else 0.5
    if not 0 <= args.keep <= 1:
        raise UsageError(f"--keep must be 0 to 1, not {args.keep:g}")
    torch.manual_seed(args.seed)
    network = build("cbam_cnn", **recipe.network)
    if args.init is not None and args.init.suffix == ".npz":
        load_yamnet(network, args.init)
    elif args.init is not None:
        print(take_over(network, args.init), file=sys.stderr)
    if not begins:
        # Without a trunk that knows music there is nothing to be held to, and nothing to be careful with.
        carry_out(args, replace(recipe, slow=(), imitate=0.0, distil=0.0, music_only=False), network)
        return
    first = copy.deepcopy(network)
    anchor = first if args.anchor is None else _anchor(args.anchor, first)
    teacher = Teacher(copy.deepcopy(first)) if recipe.imitate else None
    carry_out(args, recipe, network, teacher, finish=lambda result: between(result, anchor, args.keep))


def _anchor(path: Path, like: nn.Module) -> nn.Module:
    anchor = network_of(load_checkpoint(path))
    if _shapes(anchor) != _shapes(like):
        raise ModelError(
            f"{path}: another network than the one to be trained", "give the weights.pt of --profile probe"
        )
    return anchor


def _shapes(network: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in network.state_dict().items()}


@torch.no_grad()
def between(network: nn.Module, anchor: nn.Module, keep: float) -> None:
    """Move `network`'s weights the share `keep` of the way to `anchor`'s."""
    for now, then in zip(network.state_dict().values(), anchor.state_dict().values(), strict=True):
        now.lerp_(then, keep)


if __name__ == "__main__":
    entry(main)
