"""The options that all recipes share, and the data they name."""

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from instrec_live.models.errors import UsageError
from instrec_live.training.datasets.clips import Clips, clips_of
from instrec_live.training.datasets.data import open_all
from instrec_live.training.datasets.table import Table
from instrec_live.training.example import Supply
from instrec_live.training.learning.feed import Feed
from instrec_live.training.learning.recipe import Recipe
from instrec_live.training.learning.recordings import Recordings
from instrec_live.training.scenes.mixer import Phrases, Scenes

DATA = "KIND:PATH, e.g. openmic:DIR, clips:DIR, table:FILE.csv; may be repeated"


def add_options(parser: argparse.ArgumentParser, name: str, profiles: dict[str, Recipe]) -> None:
    """The options of a recipe; those that change it default to the profile's."""
    group = parser.add_argument_group("data")
    group.add_argument("--data", action="append", default=[], metavar="SPEC", help=f"recordings to learn from: {DATA}")
    group.add_argument("--valid", action="append", default=[], metavar="SPEC", help="clips to validate on (the valid "
                       "split of --data)")  # fmt: skip
    group.add_argument("--protocol", choices=("masked", "paper"), default="masked", help="paper: the reference's "
                       "split, and what nobody labelled counts as absent")  # fmt: skip
    group.add_argument("--phrases", type=Path, metavar="DIR", help="for scenes: made by training.phrases "
                       "(runs/phrases, if there is no --data)")  # fmt: skip
    group.add_argument("--scene-share", type=float, default=0.5, help="of scenes, beside --data (0.5)")
    group.add_argument("--music", type=Path, metavar="FILE", help="unlabelled music, made by training.datasets.music")
    group.add_argument("--music-share", type=float, default=0.25, help="of scenes that are real music (0.25)")
    group = parser.add_argument_group("recipe")
    group.add_argument("--profile", choices=tuple(profiles), default=next(iter(profiles)), help="which of the recipes")
    for option, kind in (("steps", int), ("epochs", float), ("batch", int), ("lr", float), ("patience", int)):
        group.add_argument(f"--{option}", type=kind, metavar="N", help="other than the profile's")
    group.add_argument("--precision", choices=("auto", "fp32", "bf16", "fp16"), help="auto: half where the "
                       "machine is fast at it")  # fmt: skip
    group.add_argument("--evaluate-every", type=int, metavar="STEPS", help="other than the profile's")
    group.add_argument("--seed", type=int, default=0)
    add_run_options(parser, Path("runs") / name)


def add_run_options(parser: argparse.ArgumentParser, to: Path) -> None:
    """The options of any training run that do not change its result."""
    group = parser.add_argument_group("run")
    group.add_argument("--to", type=Path, default=to, help=f"run again with the same folder to resume ({to})")
    group.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    group.add_argument("--workers", type=int, default=1, help="processes that prepare batches (1)")
    group.add_argument("--threads", type=int, default=1, help="of the arithmetic on a CPU (1)")
    group.add_argument("--checkpoint-every", type=float, default=120.0, metavar="S", help="seconds (120)")
    group.add_argument("--tensorboard", action="store_true", help="also write event files for TensorBoard")
    group.add_argument("--no-bundle", action="store_true", help="end with the weights alone")


def recipe_of(args: argparse.Namespace, profiles: dict[str, Recipe]) -> Recipe:
    """The profile asked for, with what else was asked for.

    Raises:
        UsageError: a number that makes no sense.
    """
    recipe = replace(profiles[args.profile], seed=args.seed)
    for name in ("steps", "epochs", "batch", "lr", "patience", "precision", "evaluate_every"):
        value = getattr(args, name)
        if value is None:
            continue
        if not isinstance(value, str) and value <= 0 and not (name == "patience" and value == 0):
            raise UsageError(f"--{name.replace('_', '-')} must be more than 0, not {value:g}")
        recipe = replace(recipe, **{name: value})
        if name == "steps":
            recipe = replace(recipe, epochs=0.0)
    if not recipe.epochs:
        recipe = replace(recipe, warmup=min(recipe.warmup, recipe.steps // 4))
    if recipe.epochs and not args.data:
        raise UsageError(f"the profile {args.profile} is counted in epochs of recordings", "name some with --data")
    return recipe


@dataclass(frozen=True)
class Data:
    """feed: the batches; table: the recordings among them, if any; clips: to validate on, if any."""

    feed: Feed
    table: Table | None
    clips: Clips | None


def open_data(args: argparse.Namespace, recipe: Recipe) -> Data:
    """Open what the options name.

    Raises:
        InputFileError: data that are missing or damaged.
        UsageError: no clips to learn from, or a kind that does not exist.
    """
    everything = open_all(args.data, args.protocol) if args.data else None
    table = everything.of("train") if everything is not None else None
    supplies: list[tuple[Supply, float]] = []
    if table is not None:
        if not len(table):
            raise UsageError(f"no training clips in {', '.join(args.data)}", "see python -m training.datasets table")
        supplies.append((recordings(table, recipe), 1.0))
    if args.phrases or table is None:
        music = np.load(args.music, mmap_mode="r") if args.music else None
        scenes = Scenes(Phrases(args.phrases or Path("runs/phrases")), music, args.music_share)
        share = args.scene_share if table is not None else 1.0
        if not 0 < share <= 1:
            raise UsageError(f"--scene-share must be over 0 and at most 1, not {share:g}")
        supplies = [(supply, 1 - share) for supply, _ in supplies if share < 1] + [(scenes, share)]
    feed = Feed(supplies, recipe.batch, recipe.seconds, recipe.mixup, recipe.stripes, recipe.seed)
    valid = open_all(args.valid, args.protocol) if args.valid else None
    if valid is None and everything is not None:
        valid = everything.of("valid")
    clips = clips_of(valid) if valid is not None and len(valid) else None
    if clips is None and recipe.select != "last":
        raise UsageError(f"the best {recipe.select} cannot be chosen without clips to validate on", "give --valid")
    return Data(feed, table, clips)


def recordings(table: Table, recipe: Recipe, targets: tuple[np.ndarray, np.ndarray] | None = None) -> Recordings:
    """A table's clips as the recipe wants them heard."""
    weights = None
    if recipe.synthetic_weight != 1:
        weights = np.where(table.source == "synthetic", recipe.synthetic_weight, 1.0).astype(np.float32)
    return Recordings(
        table,
        recipe.channel,
        gain_db=recipe.gain_db,
        roll=recipe.roll,
        wavmix=recipe.wavmix,
        jitter=recipe.jitter,
        weights=weights,
        targets=targets,
        seed=recipe.seed,
    )
