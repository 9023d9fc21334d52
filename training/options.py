"""What the recipes share: their options and the data they open."""

import argparse
from pathlib import Path

import numpy as np

from instrec_live.models.export import load_checkpoint, network_of
from instrec_live.training.datasets.clips import Clips, read_clips
from instrec_live.training.loop import Teacher
from instrec_live.training.scenes.mixer import Phrases, Scenes


def add_arguments(parser: argparse.ArgumentParser, name: str, steps: int, batch: int) -> None:
    parser.add_argument("--phrases", type=Path, default=Path("runs/phrases"), help="made by training.phrases")
    parser.add_argument("--music", type=Path, help="unlabelled music, made by training.datasets.music")
    parser.add_argument("--music-share", type=float, default=0.25, help="of scenes that are real music")
    parser.add_argument("--dev", type=Path, help="labelled clips to validate on (a folder with labels.csv)")
    parser.add_argument("--to", type=Path, default=Path("runs") / name, help="run again with the same folder to resume")
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--batch", type=int, default=batch)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)


def add_teacher(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--teacher", type=Path, help="a trained CBAM-CNN's weights.pt to learn from")


def open_data(args: argparse.Namespace) -> tuple[Scenes, Clips | None]:
    music = np.load(args.music, mmap_mode="r") if args.music else None
    scenes = Scenes(Phrases(args.phrases), music, args.music_share, seed=args.seed)
    return scenes, read_clips(args.dev) if args.dev else None


def open_teacher(path: Path | None) -> Teacher | None:
    return None if path is None else Teacher(network_of(load_checkpoint(path)))
