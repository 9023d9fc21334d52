"""Pretrain a network on IRMAS: classify the predominant instrument of 3 s of music, 11 classes.

    python -m training.pretrain ms_crnn --irmas DIR
    python -m training.ms_crnn --init runs/pretrain/ms_crnn/weights.pt --data openmic:DIR

The pretrained network and its front end are those of fine-tuning; a fifth of the recordings is kept for validation.
(Özel & İskender's notebooks pretrain other networks on another front end, leave out organ and voice, do not validate,
and load the result for one network only.) IRMAS is CC BY-NC-SA: weights trained on it are not for commercial use, and
no bundled network is.
"""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from sklearn.model_selection import StratifiedGroupKFold

from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.logmel import log_mel
from instrec_live.models.networks.registry import NETWORKS, build
from instrec_live.training.command import entry
from instrec_live.training.data.irmas import CLASSES, IrmasTrain, read_irmas_train
from instrec_live.training.data.provenance import record_of
from instrec_live.training.data.sounds import load
from instrec_live.training.learning.batches import BatchLoader
from instrec_live.training.learning.distributed import process_group
from instrec_live.training.learning.loop import train
from instrec_live.training.learning.options import (
    add_run_options,
    check_device,
    check_numbers,
    recordings,
    workers_of,
)
from instrec_live.training.learning.recipe import Recipe
from instrec_live.training.learning.validation import classifying

SECONDS = 3.0
CONFIG = {"passt": {"size": "tiny"}, "cbam_cnn": {"trunk": "resnet"}, "ms_crnn": {}}
PROFILES = {
    "ours": Recipe(
        "", loss="ce", epochs=30, batch=32, lr=1e-3, warmup_epochs=1, seconds=(SECONDS, SECONDS), spec_masks=(16, 40),
        mixup=0.0, select="accuracy", patience=6,
    ),
    "paper": Recipe(
        "", loss="ce", epochs=15, batch=32, lr=1e-4, weight_decay=0.0, schedule="constant", clip=0.0, precision="fp32",
        seconds=(SECONDS, SECONDS), channel=False, gain_db=(0.0, 0.0), spec_masks=(0, 0), average="none", select="last",
    ),
}  # fmt: skip


def split_rows(irmas: IrmasTrain, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows for training and for validation, a fifth of each class, no recording in both.

    Raises:
        InputFileError: too few recordings.
    """
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    try:
        train_rows, valid_rows = next(folds.split(irmas.classes, irmas.classes, irmas.table.group))
    except ValueError as error:
        raise InputFileError(f"IRMAS cannot be split into five: {error}", "each class needs 5 recordings") from error
    return train_rows, valid_rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=tuple(NETWORKS))
    parser.add_argument("--irmas", type=Path, required=True, metavar="DIR", help="holds IRMAS-TrainingData")
    parser.add_argument("--subset", action="store_true", help="accept fewer excerpts than the published 6,705")
    parser.add_argument("--profile", choices=tuple(PROFILES), default="ours")
    parser.add_argument("--size", help='other than the one that ships, e.g. "paper" (MS-CRNN, CBAM-CNN), "passt_s"')
    for option, kind in (("epochs", float), ("batch", int), ("lr", float), ("patience", int)):
        parser.add_argument(f"--{option}", type=kind, metavar="N", help="other than the profile's")
    parser.add_argument("--seed", type=int, default=0)
    add_run_options(parser, Path("runs/pretrain/NETWORK"))
    args = parser.parse_args()
    check_numbers(args)
    to = Path("runs/pretrain") / args.network if args.to.name == "NETWORK" else args.to
    config = dict(CONFIG[args.network])
    if args.size:
        config = {"trunk" if args.network == "cbam_cnn" else "size": args.size}
    changed = {name: getattr(args, name) for name in ("epochs", "batch", "lr", "patience")}
    recipe = replace(PROFILES[args.profile], name=args.network, network={**config, "n_classes": len(CLASSES)},
                     seed=args.seed, **{k: v for k, v in changed.items() if v is not None})  # fmt: skip
    if args.patience and recipe.select == "last":
        raise UsageError(f"the profile {args.profile} keeps the last weights", "leave out --patience")
    torch.manual_seed(args.seed)
    try:
        network = build(args.network, **recipe.network)
    except ValueError as error:
        raise UsageError(f"--size: {error}") from error
    irmas = read_irmas_train(args.irmas, subset=args.subset)
    train_rows, valid_rows = split_rows(irmas, args.seed)
    targets = np.eye(len(CLASSES), dtype=np.float32)[irmas.classes]
    supply = recordings(
        irmas.table[train_rows], recipe, (targets[train_rows], np.ones_like(targets[train_rows])), args.cache
    )
    loader = BatchLoader([(supply, 1.0)], recipe.batch, recipe.seconds, recipe.mixup, recipe.spec_masks, recipe.seed)
    valid = classifying([log_mel(load(irmas.table.paths[i])) for i in valid_rows], irmas.classes[valid_rows])
    record = record_of(args, irmas.table[train_rows], irmas.table[valid_rows])
    with process_group(args.device) as group:
        check_device(args, recipe, group)
        recipe = recipe.resolved(len(train_rows), group.device)
        train(recipe, network, loader, to, None, valid, None, group, workers_of(args), args.threads,
              args.checkpoint_every, args.tensorboard, args.wandb, args.accumulate, args.compile, program="pretrain",
              record=record)  # fmt: skip
        if group.is_main:
            said = f"python -m training.{args.network} --init {to / 'weights.pt'} starts from these weights"
            print(f"{to / 'weights.pt'}: {said}", file=sys.stderr)


if __name__ == "__main__":
    entry(main)
