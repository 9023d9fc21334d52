"""The options that all recipes share, and the data they name."""

import argparse
import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.logmel import N_MELS
from instrec_live.training.datasets.clips import Clips, clips_of
from instrec_live.training.datasets.data import open_all
from instrec_live.training.datasets.table import Table
from instrec_live.training.evaluation.metrics import measured
from instrec_live.training.example import Supply
from instrec_live.training.learning.feed import Feed
from instrec_live.training.learning.recipe import Recipe
from instrec_live.training.learning.recordings import Recordings
from instrec_live.training.scenes.mixer import Phrases, Scenes

_MORE_THAN_0 = ("steps", "epochs", "batch", "lr", "evaluate_every")
_AT_LEAST = {"patience": 0, "seed": 0, "workers": 0, "threads": 1}
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
    group.add_argument("--stranger-share", type=float, default=0.0, help="of scenes which an instrument joins that is "
                       "none of the 20, if the phrases have any (0)")  # fmt: skip
    group = parser.add_argument_group("recipe")
    group.add_argument("--profile", choices=tuple(profiles), default=next(iter(profiles)), help="which of the recipes")
    for option, kind in (("steps", int), ("epochs", float), ("batch", int), ("lr", float), ("patience", int)):
        group.add_argument(f"--{option}", type=kind, metavar="N", help="other than the profile's")
    group.add_argument("--precision", choices=("auto", "fp32", "bf16", "fp16"), help="auto: half where the "
                       "machine is fast at it")  # fmt: skip
    group.add_argument("--evaluate-every", type=int, metavar="STEPS", help="other than the profile's; a run counted "
                       "in epochs is evaluated after each")  # fmt: skip
    group.add_argument("--seed", type=int, default=0)
    group = add_run_options(parser, Path("runs") / name)
    group.add_argument("--no-bundle", action="store_true", help="end with the weights alone")


def add_run_options(parser: argparse.ArgumentParser, to: Path) -> argparse._ArgumentGroup:
    """The options of any training run that do not change its result."""
    group = parser.add_argument_group("run")
    group.add_argument("--to", type=Path, default=to, help=f"run again with the same folder to resume ({to})")
    group.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    group.add_argument("--workers", type=int, default=1, help="processes that prepare batches (1)")
    group.add_argument("--threads", type=int, default=1, help="of the arithmetic on a CPU (1)")
    group.add_argument("--checkpoint-every", type=float, default=120.0, metavar="S", help="seconds (120)")
    group.add_argument("--tensorboard", action="store_true", help="also write event files for TensorBoard")
    return group


def check_numbers(args: argparse.Namespace) -> None:
    """See that the numbers among the options make sense.

    Raises:
        UsageError: one does not.
    """
    for name in _MORE_THAN_0:
        value = getattr(args, name, None)
        if value is not None and not 0 < value < math.inf:
            raise UsageError(f"--{name.replace('_', '-')} must be more than 0, not {value:g}")
    for name, least in _AT_LEAST.items():
        value = getattr(args, name)
        if value is not None and value < least:
            raise UsageError(f"--{name} must be at least {least}, not {value}")


def recipe_of(args: argparse.Namespace, profiles: dict[str, Recipe]) -> Recipe:
    """The profile asked for, with what else was asked for.

    Raises:
        UsageError: a number that makes no sense, or options of which one would go unheard.
    """
    check_numbers(args)
    if args.steps and args.epochs:
        raise UsageError("--steps and --epochs both say how long the run is", "give one of them")
    recipe = replace(profiles[args.profile], seed=args.seed)
    for name in ("steps", "epochs", "batch", "lr", "patience", "precision", "evaluate_every"):
        value = getattr(args, name)
        if value is None:
            continue
        recipe = replace(recipe, **{name: value})
        if name == "steps":
            recipe = replace(recipe, epochs=0.0)
    if not recipe.epochs:
        recipe = replace(recipe, warmup=min(recipe.warmup, recipe.steps // 4))
    if recipe.epochs and not args.data:
        raise UsageError(f"the profile {args.profile} is counted in epochs of recordings", "name some with --data")
    if recipe.epochs and args.evaluate_every:
        raise UsageError("a run counted in epochs is evaluated after each, not --evaluate-every", "count it in --steps")
    return recipe


@dataclass(frozen=True)
class Data:
    """What a run learns from and is measured on.

    Attributes:
        feed: the batches.
        table: the recordings among them, if any.
        clips: to validate on, if any.
        epoch: examples until every recording has been heard once; 0 if there are none among them.
        ranked: the clips tell of some instrument where it sounds and where not, so that there is a mAP.
    """

    feed: Feed
    table: Table | None
    clips: Clips | None
    epoch: int
    ranked: bool


def open_data(args: argparse.Namespace, recipe: Recipe) -> Data:
    """Open what the options name.

    Raises:
        InputFileError: data that are missing or damaged.
        UsageError: no clips to learn from, none to choose the best by, some that are to do both, or a kind that does
            not exist.
    """
    everything = open_all(args.data, args.protocol) if args.data else None
    table = everything.of("train") if everything is not None else None
    supplies: list[tuple[Supply, float]] = []
    if table is not None:
        if not len(table):
            raise UsageError(f"no training clips in {', '.join(args.data)}", "see python -m training.datasets table")
        supplies.append((recordings(table, recipe), 1.0))
    share = 0.0
    if args.phrases or table is None:
        share = args.scene_share if table is not None else 1.0
        if not 0 < share <= 1 or (share == 1 and recipe.epochs):
            raise UsageError(f"--scene-share must be over 0 and {'below' if recipe.epochs else 'at most'} 1, "
                             f"not {share:g}")  # fmt: skip
        if not 0 <= args.music_share <= 1:
            raise UsageError(f"--music-share must be 0 to 1, not {args.music_share:g}")
        if not 0 <= args.stranger_share <= 1:
            raise UsageError(f"--stranger-share must be 0 to 1, not {args.stranger_share:g}")
        music = read_music(args.music, recipe.seconds[1]) if args.music else None
        phrases = Phrases(args.phrases or Path("runs/phrases"))
        scenes = Scenes(phrases, music, args.music_share, strangers=args.stranger_share)
        supplies = [(supply, 1 - share) for supply, _ in supplies if share < 1] + [(scenes, share)]
    elif args.music:
        raise UsageError("--music is heard in scenes, and beside --data there are none", "give --phrases too")
    feed = Feed(supplies, recipe.batch, recipe.seconds, recipe.mixup, recipe.stripes, recipe.seed)
    valid = to_validate_on(open_all(args.valid, args.protocol)) if args.valid else None
    if valid is None and everything is not None:
        valid = everything.of("valid")
    if valid is not None and table is not None and share < 1:
        both = {path.resolve() for path in table.paths} & {path.resolve() for path in valid.paths}
        if both:
            raise UsageError(f"{len(both)} clips are in --data to learn from and in --valid, e.g. {min(both)}",
                             "validate on others")  # fmt: skip
    ranked = valid is not None and bool(measured(valid.labels, valid.mask, 1).any())
    if recipe.select != "last" and (valid is None or not len(valid)):
        raise UsageError(f"the best {recipe.select} cannot be chosen without clips to validate on", "give --valid")
    if recipe.select == "mAP" and not ranked:
        raise UsageError("the best mAP cannot be chosen: of no instrument do the clips to validate on know both where "
                         "it sounds and where it does not", "give other clips with --valid")  # fmt: skip
    clips = clips_of(valid) if valid is not None and len(valid) else None
    epoch = round(len(table) / (1 - share)) if table is not None and share < 1 else 0
    return Data(feed, table, clips, epoch, ranked)


def to_validate_on(table: Table) -> Table:
    """The rows of the valid split; all where none are."""
    valid = table.of("valid")
    return valid if len(valid) else table


def read_music(path: Path, longest: float) -> NDArray[np.float16]:
    """The unlabelled music that training.datasets.music made, left on disk: float16 [N, 128, T].

    Args:
        longest: seconds that must be there of each.

    Raises:
        InputFileError: not found, or not such a file.
    """
    hint = "make it with python -m training.datasets.music"
    if not path.is_file():
        raise InputFileError(f"{path}: not found", hint)
    try:
        music = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise InputFileError(f"{path}: not a readable array of music", hint) from error
    if not isinstance(music, np.ndarray) or music.dtype != np.float16 or music.shape[1:2] != (N_MELS,):
        raise InputFileError(f"{path}: no log-mels of music", hint)
    if music.ndim != 3 or not len(music) or music.shape[2] < round(100 * longest):
        raise InputFileError(f"{path}: holds no windows of {longest:g} s", hint)
    return music


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
