"""Train the CBAM-CNN.

    python -m training.cbam_cnn --phrases runs/phrases --music runs/music.npy --init yamnet_float.npz --dev DIR

It begins with YAMNet's weights, learns our 20 instruments on scenes, and is held to what it knew of real music by
imitating its former self's features there. The result lies between the weights it began with and those it ended
with (Wortsman et al., "Robust fine-tuning of zero-shot models", CVPR 2022): scenes are not music.
`--init none --trunk resnet` trains the paper's ResNet-like trunk from nothing.
"""

import argparse
import copy
from pathlib import Path

import torch

from instrec_live.models.networks import build
from instrec_live.training.command import entry
from instrec_live.training.loop import Recipe, Teacher, train, validate
from instrec_live.training.options import add_arguments, open_data
from instrec_live.training.yamnet import load_yamnet

STEPS, BATCH = 1000, 24


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, "cbam_cnn", STEPS, BATCH)
    parser.add_argument("--init", type=str, default="none", help="YAMNet's weights (.npz), or none")
    parser.add_argument("--trunk", choices=("mobilenet", "resnet"), default="mobilenet")
    parser.add_argument("--keep", type=float, default=0.15, help="share of the first weights in the result")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    network = build("cbam_cnn", trunk=args.trunk)
    pretrained = args.init != "none"
    if pretrained:
        load_yamnet(network, Path(args.init))
    first = copy.deepcopy(network)
    recipe = Recipe(
        "cbam_cnn",
        {"trunk": args.trunk},
        steps=args.steps,
        batch=args.batch,
        lr=1e-3 if pretrained else 2e-3,
        slow=("trunk.stem", "trunk.stages") if pretrained else (),
        slow_lr=0.15,
        imitate=2.0 if pretrained else 0.0,
        music_only=True,
        bf16=False,
        seconds=(2.0, 5.0),
        threads=args.threads,
        seed=args.seed,
    )
    scenes, clips = open_data(args)
    if clips is not None:
        print("before training", validate(first.eval(), clips), flush=True)
    averaged = train(recipe, network, scenes, args.to, Teacher(first) if pretrained else None, clips, on_report=print)
    if pretrained:
        between(averaged, first, args.keep)
        state = torch.load(args.to / "weights.pt", weights_only=True)
        state["state_dict"] = averaged.state_dict()
        torch.save(state, args.to / "weights.pt")
        print(f"with {args.keep:.0%} of the first weights", validate(averaged, clips))


@torch.no_grad()
def between(network: torch.nn.Module, first: torch.nn.Module, keep: float) -> None:
    """Move `network`'s weights the share `keep` of the way back to `first`'s."""
    for now, then in zip(network.state_dict().values(), first.state_dict().values(), strict=True):
        now.lerp_(then, keep)


if __name__ == "__main__":
    entry(main)
