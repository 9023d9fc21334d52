"""The options common to all recipes, and the data they name."""

import argparse
import math
import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from joblib import cpu_count
from numpy.typing import NDArray

from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.logmel import N_MELS
from instrec_live.training.data.clips import Clips, clips_of
from instrec_live.training.data.specs import add_variant, open_all
from instrec_live.training.data.table import Table
from instrec_live.training.evaluation.metrics import measured
from instrec_live.training.example import Supply
from instrec_live.training.learning.batches import BatchLoader
from instrec_live.training.learning.distributed import ProcessGroup
from instrec_live.training.learning.recipe import Recipe
from instrec_live.training.learning.recordings import Recordings
from instrec_live.training.synthesis.scenes.mixer import Phrases, Scenes
from instrec_live.training.synthesis.unions import Unions

_MORE_THAN_0 = ("steps", "epochs", "batch", "lr", "evaluate_every")
_AT_LEAST = {"patience": 0, "seed": 0, "workers": 0, "threads": 1, "accumulate": 1}
_MOST_WORKERS = 16
# The bounds of the paper's notebooks, by the network that has them there.
POSITIVE_WEIGHTS = {"cbam_cnn": (0.0, 20.0), "ms_crnn": (1.0, 50.0), "none": (1.0, 1.0)}
DATA = "KIND:PATH, e.g. openmic:DIR, clips:DIR, table:FILE.csv; may be repeated"


def add_keep(parser: argparse.ArgumentParser) -> None:
    """Add the option that says how far the result goes back to the initial weights."""
    parser.add_argument("--keep", type=_share, default=0.0, help="share of the initial weights in the result (0)")


def _share(text: str) -> float:
    share = float(text)
    if not 0 <= share <= 1:
        raise argparse.ArgumentTypeError(f"must be 0 to 1, not {text}")
    return share


def add_options(parser: argparse.ArgumentParser, name: str, profiles: dict[str, Recipe]) -> None:
    """Add the options of a recipe; those that change it default to the profile's values."""
    group = parser.add_argument_group("data")
    group.add_argument("--data", action="append", default=[], metavar="SPEC", help=f"recordings to train on: {DATA}")
    group.add_argument("--valid", action="append", default=[], metavar="SPEC", help="clips to validate on (the valid "
                       "split of --data)")  # fmt: skip
    group.add_argument("--protocol", choices=("masked", "paper"), default="masked", help="paper: the paper's "
                       "split; unlabelled instruments count as absent")  # fmt: skip
    add_variant(group)
    group.add_argument("--phrases", type=Path, metavar="DIR", help="for scenes: made by training.synthesis.phrases "
                       "(runs/phrases, if there is no --data)")  # fmt: skip
    group.add_argument("--scene-share", type=float, default=0.5, help="share of scenes, if there is --data too (0.5)")
    group.add_argument("--music", type=Path, metavar="FILE", help="unlabelled music, made by training.data.music")
    group.add_argument("--music-share", type=float, help="share of scenes that are real music (0.25), or of the "
                       "voices of --unions that are music or songs (0.16)")  # fmt: skip
    group.add_argument("--unions", type=Path, metavar="DIR", help="instead of scenes: mixtures whose target is what "
                       "the teachers recognise in each voice, made by training.synthesis.unions")  # fmt: skip
    group.add_argument("--distractor-share", type=float, default=0.0, help="share of scenes with an instrument that "
                       "is none of the 20, if the phrases have any (0)")  # fmt: skip
    group = parser.add_argument_group("recipe")
    group.add_argument("--profile", choices=tuple(profiles), default=next(iter(profiles)), help="profile of the recipe")
    for option, kind in (("steps", int), ("epochs", float), ("batch", int), ("lr", float), ("patience", int)):
        group.add_argument(f"--{option}", type=kind, metavar="N", help="other than the profile's")
    group.add_argument("--precision", choices=("auto", "fp32", "tf32", "bf16", "fp16"), help="auto: half precision "
                       "where that is fast")  # fmt: skip
    group.add_argument("--evaluate-every", type=int, metavar="STEPS", help="other than the profile's; a run counted "
                       "in epochs is evaluated after each")  # fmt: skip
    group.add_argument("--positive-weights", choices=tuple(POSITIVE_WEIGHTS), help="weigh the loss of positives by "
                       "negatives / positives of each instrument, within the bounds of the paper's network, or not at "
                       "all (the profile's)")  # fmt: skip
    group.add_argument("--seed", type=int, default=0)
    group = add_run_options(parser, Path("runs") / name)
    group.add_argument("--no-bundle", action="store_true", help="write only the weights")


def add_run_options(parser: argparse.ArgumentParser, to: Path) -> argparse._ArgumentGroup:
    """Add the options of any training run that do not change its result."""
    group = parser.add_argument_group("run")
    group.add_argument("--to", type=Path, default=to, help=f"run again with the same folder to resume ({to})")
    group.add_argument("--device", choices=("auto", "cpu", "cuda"), default="auto")
    group.add_argument("--workers", type=int, help="processes that prepare batches (one for each core that the "
                       f"arithmetic leaves, 1 to {_MOST_WORKERS})")  # fmt: skip
    group.add_argument("--threads", type=int, default=1, help="of the arithmetic on a CPU (1)")
    group.add_argument("--accumulate", type=int, default=1, metavar="N", help="compute each batch in N parts, where a "
                       "GPU has no memory for the whole (1)")  # fmt: skip
    group.add_argument("--compile", action="store_true", help="compile the network for the GPU with torch.compile: "
                       "minutes at the start")  # fmt: skip
    group.add_argument("--cache", type=Path, metavar="DIR", help="keep the decoded recordings there: 64 kB a second of "
                       "sound, 12.8 GB for OpenMIC; later epochs and runs do not decode again")  # fmt: skip
    group.add_argument("--checkpoint-every", type=float, default=120.0, metavar="S", help="seconds (120)")
    group.add_argument("--tensorboard", action="store_true", help="also write event files for TensorBoard")
    group.add_argument("--wandb", metavar="PROJECT", help="also log to this project of Weights & Biases")
    return group


def workers_of(args: argparse.Namespace) -> int:
    """How many processes prepare batches."""
    if args.workers is not None:
        return int(args.workers)
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # of torchrun: its processes share this machine's cores
    return max(1, min(_MOST_WORKERS, int(cpu_count()) // local - int(args.threads)))


def check_device(args: argparse.Namespace, recipe: Recipe, group: ProcessGroup) -> None:
    """Check the options that depend on where the run takes place.

    Raises:
        UsageError: one makes no sense there.
    """
    group.check(recipe.batch, args.accumulate)
    if args.compile and group.device.type != "cuda":
        raise UsageError("--compile is for a GPU: on a CPU it costs more than it saves", "leave it out")
    if args.accumulate > 1 and recipe.imitate:
        raise UsageError("a recipe that imitates a teacher needs whole batches", "leave out --accumulate")


def check_numbers(args: argparse.Namespace) -> None:
    """Check the numeric options.

    Raises:
        UsageError: one is invalid.
    """
    for name in _MORE_THAN_0:
        value = getattr(args, name, None)
        if value is not None and not 0 < value < math.inf:
            raise UsageError(f"--{name.replace('_', '-')} must be more than 0, not {value:g}")
    for name, least in _AT_LEAST.items():
        value = getattr(args, name, None)
        if value is not None and value < least:
            raise UsageError(f"--{name} must be at least {least}, not {value}")


def recipe_of(args: argparse.Namespace, profiles: dict[str, Recipe]) -> Recipe:
    """The chosen profile with the options applied.

    Raises:
        UsageError: an invalid number, or options that exclude each other.
    """
    check_numbers(args)
    if args.steps and args.epochs:
        raise UsageError("--steps and --epochs both set the length of the run", "give one of them")
    recipe = replace(profiles[args.profile], seed=args.seed)
    if args.positive_weights is not None:
        recipe = replace(recipe, positive_weight=POSITIVE_WEIGHTS[args.positive_weights])
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
    """The training and validation data of a run.

    Attributes:
        loader: the batches.
        table: the recordings among them, if any.
        clips: to validate on, if any; valid: their labels.
        epoch: examples until every recording was used once; 0 without recordings.
        ranked: some instrument has positive and negative validation clips, so that a mAP is defined.
    """

    loader: BatchLoader
    table: Table | None
    clips: Clips | None
    valid: Table | None
    epoch: int
    ranked: bool


def open_data(args: argparse.Namespace, recipe: Recipe) -> Data:
    """Open the data that the options name.

    Raises:
        InputFileError: missing or damaged data.
        UsageError: no training clips, no validation clips though the recipe needs them, clips in both sets, or an
            unknown kind of data.
    """
    everything = open_all(args.data, args.protocol, args.variant, args.without_synthetic) if args.data else None
    table = everything.of("train") if everything is not None else None
    supplies: list[tuple[Supply, float]] = []
    if table is not None:
        if not len(table):
            raise UsageError(f"no training clips in {', '.join(args.data)}", "see python -m training.data table")
        supplies.append((recordings(table, recipe, cache=args.cache), 1.0))
    share = 0.0
    if args.unions:
        if args.phrases or args.music:
            raise UsageError("--unions takes the place of scenes", "leave out --phrases and --music")
        share = args.scene_share if table is not None else 1.0
        supplies = [(supply, 1 - share) for supply, _ in supplies] + [(unions(args), share)]
    elif args.phrases or table is None:
        share = args.scene_share if table is not None else 1.0
        if not 0 < share <= 1 or (share == 1 and recipe.epochs):
            raise UsageError(f"--scene-share must be over 0 and {'below' if recipe.epochs else 'at most'} 1, "
                             f"not {share:g}")  # fmt: skip
        music_share = 0.25 if args.music_share is None else args.music_share
        if not 0 <= music_share <= 1:
            raise UsageError(f"--music-share must be 0 to 1, not {music_share:g}")
        if not 0 <= args.distractor_share <= 1:
            raise UsageError(f"--distractor-share must be 0 to 1, not {args.distractor_share:g}")
        music = read_music(args.music, recipe.seconds[1]) if args.music else None
        phrases = Phrases(args.phrases or Path("runs/phrases"))
        scenes = Scenes(phrases, music, music_share, distractors=args.distractor_share)
        supplies = [(supply, 1 - share) for supply, _ in supplies if share < 1] + [(scenes, share)]
    elif args.music:
        raise UsageError("--music is used in scenes, and with --data alone there are none", "give --phrases too")
    loader = BatchLoader(
        supplies, recipe.batch, recipe.seconds, recipe.mixup, recipe.spec_masks, recipe.seed, recipe.windows
    )
    valid = validation_rows(open_all(args.valid, args.protocol)) if args.valid else None
    if valid is None and everything is not None:
        valid = everything.of("valid")
    if valid is not None and table is not None and share < 1:
        both = {path.resolve() for path in table.paths} & {path.resolve() for path in valid.paths}
        if both:
            raise UsageError(f"{len(both)} clips are both in --data to train on and in --valid, e.g. {min(both)}",
                             "validate on other clips")  # fmt: skip
    ranked = valid is not None and bool(measured(valid.labels, valid.mask, 1).any())
    if recipe.select != "last" and (valid is None or not len(valid)):
        raise UsageError(f"the best {recipe.select} cannot be chosen without validation clips", "give --valid")
    if recipe.select == "mAP" and not ranked:
        raise UsageError("the best mAP cannot be chosen: no instrument has both positive and negative "
                         "validation clips", "give other clips with --valid")  # fmt: skip
    clips = clips_of(valid) if valid is not None and len(valid) else None
    epoch = round(len(table) / (1 - share)) if table is not None and share < 1 else 0
    return Data(loader, table, clips, valid, epoch, ranked)


def unions(args: argparse.Namespace) -> Unions:
    """The mixtures that the options name.

    Raises:
        InputFileError: a missing or damaged bank.
        UsageError: an invalid share.
    """
    if args.music_share is None:
        return Unions(args.unions)
    if not 0 <= args.music_share <= 0.9:
        raise UsageError(f"--music-share must be 0 to .9 with --unions, not {args.music_share:g}")
    return Unions(args.unions, args.music_share)


def validation_rows(table: Table) -> Table:
    """The rows of the valid split, or all if there are none."""
    valid = table.of("valid")
    return valid if len(valid) else table


def read_music(path: Path, longest: float) -> NDArray[np.float16]:
    """The unlabelled music of training.data.music, memory-mapped: float16 [N, 128, T].

    Args:
        longest: minimum length of each window, s.

    Raises:
        InputFileError: not found, or not such a file.
    """
    hint = "make it with python -m training.data.music"
    if not path.is_file():
        raise InputFileError(f"{path}: not found", hint)
    try:
        music = np.load(path, mmap_mode="r")
    except (OSError, ValueError, EOFError) as error:
        raise InputFileError(f"{path}: not a readable array of music", hint) from error
    if not isinstance(music, np.ndarray) or music.dtype != np.float16 or music.shape[1:2] != (N_MELS,):
        raise InputFileError(f"{path}: no log-mels of music", hint)
    if music.ndim != 3 or not len(music) or music.shape[2] < round(100 * longest):
        raise InputFileError(f"{path}: has no windows of {longest:g} s", hint)
    return music


def recordings(
    table: Table,
    recipe: Recipe,
    targets: tuple[np.ndarray, np.ndarray] | None = None,
    cache: Path | None = None,
) -> Recordings:
    """A table's clips with the recipe's augmentation."""
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
        cache=cache,
    )
