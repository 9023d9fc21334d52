"""Train the MS-CRNN.

    python -m training.ms_crnn --music runs/music.npy --music-share 0.35 --teacher runs/cbam_cnn/weights.pt --dev DIR

From random weights, on scenes with exact labels and on real music, where only the teacher's word is known
(Hinton et al., "Distilling the knowledge in a neural network", 2015).
"""

import argparse

import torch

from instrec_live.models.networks import build
from instrec_live.training.command import entry
from instrec_live.training.loop import Recipe, train
from instrec_live.training.options import add_arguments, add_teacher, open_data, open_teacher

STEPS, BATCH = 4000, 16


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add_arguments(parser, "ms_crnn", STEPS, BATCH)
    add_teacher(parser)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    teacher = open_teacher(args.teacher)
    recipe = Recipe(
        "ms_crnn",
        steps=args.steps,
        batch=args.batch,
        lr=1.5e-3,
        warmup=400,
        seconds=(2.0, 8.0),
        distil=2.0 if teacher else 0.0,
        imitate=1.0 if teacher else 0.0,
        threads=args.threads,
        seed=args.seed,
    )
    scenes, clips = open_data(args)
    train(recipe, build("ms_crnn"), scenes, args.to, teacher, clips, on_report=print)


if __name__ == "__main__":
    entry(main)
