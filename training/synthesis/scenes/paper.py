"""The paper's polyphonic-complexity generator: mixtures of 1 to 11 NSynth families, one note each.

    python -m training.synthesis.scenes paper --nsynth NSYNTH/nsynth-train --to DIR [--per-k 200] [--max-k 11]
                                    [--seed 42] [--seconds 10] [--source acoustic,electronic,synthetic]
                                    [--families bass,…] [--corrected] [--subset]

Writes DIR/audio/mix_00000.wav … (16 kHz mono, 16 bits), DIR/table.csv (see training.data.table) and
DIR/mixtures.csv: file, polyphony, chosen_families, notes and gains_db, '|'-separated. The folder appears completely
or not at all, with the same bytes for the same seed. Mixtures of one NSynth split share instruments, so they are one
group in the table, and their split is NSynth's: no instrument of train is in valid or test. (These have no synth_lead:
see --families.)

As in the paper's code, each note is looped, normalised to its peak and attenuated by 0 to 10 dB, and the sum is
normalised to its peak; the first family is one of eight with one of our tags, the others are any; the family is taken
as the label. The order of calls to its two seeded generators is unknown: its statistics are reproduced, not its bytes.

--corrected removes the artefacts and wrong labels of such mixtures: each instrument enters, plays several of its notes
and pauses at random, over a noise floor, at a random level; a label is known only if the notes leave no doubt.
"""

import argparse
import csv
import io
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.arrays import FloatArray
from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.training.data.nsynth import (
    FAMILIES,
    RATE,
    SOURCES,
    TAGS,
    Notes,
    certain_labels,
    paper_labels,
    read_nsynth,
)
from instrec_live.training.data.table import Table, write_table
from instrec_live.training.staging import exclusive_folder

FAINT = 1e-3  # a note whose peak is below this counts as silence


@dataclass(frozen=True, slots=True)
class Mixture:
    """The plan of one clip, k notes of k families.

    Attributes:
        families: names, each at most once.
        notes: a note of each, as an index into the Notes.
        gains_db: gain of each after normalisation to its peak [dB].
    """

    families: tuple[str, ...]
    notes: tuple[int, ...]
    gains_db: tuple[float, ...]


def plan(
    notes: Notes, per_k: int = 200, max_k: int | None = None, seed: int = 42, families: Sequence[str] = FAMILIES
) -> list[Mixture]:
    """The plans of all mixtures: `per_k` of each k = 1 … max_k (default: all families), in this order.

    The first family is uniform over those with a tag, the other k - 1 are drawn without replacement from the rest. With
    the paper's numbers a tag is then present with probability 1/8 + 7/8 · E[(k - 1)/10] = 0.5625.

    Raises:
        InputFileError: a family has no notes.
        UsageError: max_k exceeds the number of families, or none of them has a tag.
    """
    max_k = len(families) if max_k is None else max_k
    pools = {family: np.flatnonzero(notes.family == FAMILIES.index(family)) for family in families}
    empty = [family for family, pool in pools.items() if not len(pool)]
    if empty:
        full = ",".join(family for family in families if family not in empty)
        raise InputFileError(f"{notes.folder}: no notes of {', '.join(empty)}", f"leave them out: --families {full}")
    if not 1 <= max_k <= len(families):
        raise UsageError(f"--max-k must be 1 to {len(families)}, the number of families, not {max_k}")
    tagged = [family for family in families if family in TAGS]
    if not tagged:
        raise UsageError(f"--families must hold one of {', '.join(TAGS)}")
    # Separate generators, with the streams of random.seed and numpy.random.seed.
    draw, gain = random.Random(seed), np.random.RandomState(seed)
    mixtures = []
    for k in range(1, max_k + 1):
        for _ in range(per_k):
            first = draw.choice(tagged)
            chosen = [first, *draw.sample([family for family in families if family != first], k - 1)]
            draw.shuffle(chosen)
            picked = tuple(int(draw.choice(pools[family])) for family in chosen)
            mixtures.append(Mixture(tuple(chosen), picked, tuple(gain.uniform(-10, 0, k).tolist())))
    return mixtures


def loop(mixture: Mixture, notes: Notes, seconds: float) -> FloatArray:
    """The mixture as in the paper, float32 [seconds · 16,000], its peak at full scale.

    Raises:
        InputFileError: a note cannot be read.
    """
    mix = np.zeros(round(seconds * RATE), np.float32)
    for note, gain in zip(mixture.notes, mixture.gains_db, strict=True):
        mix += np.resize(_full_scale(notes.load(note)), len(mix)) * np.float32(10 ** (gain / 20))
    return _full_scale(mix)


def play(mixture: Mixture, notes: Notes, seconds: float, rng: np.random.Generator) -> FloatArray:
    """The corrected mixture, float32 [seconds · 16,000]: the same instruments play several notes at random times.

    Raises:
        InputFileError: a note cannot be read, or all notes of an instrument are silent.
    """
    mix = np.zeros(round(seconds * RATE), np.float32)
    for note, gain in zip(mixture.notes, mixture.gains_db, strict=True):
        own = np.flatnonzero(notes.instrument == notes.instrument[note])
        at = int(rng.uniform(0, 0.6) * len(mix))
        while at < len(mix):
            sound = _sounding_note(notes, own, rng)[: int(rng.uniform(0.5, 4) * RATE)]
            sound = _faded(sound, rng)[: len(mix) - at] * np.float32(10 ** ((gain + rng.normal(0, 2)) / 20))
            mix[at : at + len(sound)] += sound
            at += len(sound) + int(rng.exponential(0.4) * RATE)
    mix = _full_scale(mix) + rng.standard_normal(len(mix), np.float32) * np.float32(10 ** (rng.uniform(-80, -45) / 20))
    return _full_scale(mix) * np.float32(10 ** (rng.uniform(-24, -1) / 20))


def _sounding_note(notes: Notes, own: NDArray[np.int64], rng: np.random.Generator) -> FloatArray:
    """A random note of an instrument at full scale; NSynth has a few silent notes."""
    for note in rng.permutation(own):
        sound = notes.load(int(note))
        if np.abs(sound).max() > FAINT:
            return _full_scale(sound)
    raise InputFileError(f"{notes.path(int(own[0]))}: silent, as are all notes of its instrument")


def _faded(sound: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Faded out at its end, over 30 to 300 ms."""
    fade = min(len(sound), int(rng.uniform(0.03, 0.3) * RATE))
    return np.concatenate([sound[: len(sound) - fade], sound[len(sound) - fade :] * np.linspace(1, 0, fade)])


def _full_scale(samples: FloatArray) -> FloatArray:
    peak = np.abs(samples).max()
    return (samples / peak).astype(np.float32) if peak > 0 else samples


def _wav(samples: FloatArray) -> bytes:
    """Encode in memory: libsndfile does not report a full disk when it writes a file."""
    import soundfile

    encoded = io.BytesIO()
    soundfile.write(encoded, samples, RATE, format="WAV", subtype="PCM_16")
    return encoded.getvalue()


def write(
    to: Path, notes: Notes, mixtures: Sequence[Mixture], seconds: float, corrected: bool = False, seed: int = 42
) -> Table:
    """Render the mixtures into a new folder `to`; its table.

    Raises:
        InputFileError: a note cannot be read.
        UsageError: `to` exists already.
    """
    from tqdm import tqdm  # lazy: not needed for plans

    n, nsynth = len(mixtures), notes.folder.resolve().name
    with exclusive_folder(to) as folder, (folder / "mixtures.csv").open("w", newline="", encoding="utf-8") as handle:
        (folder / "audio").mkdir()
        paths, cells = tuple(folder / "audio" / f"mix_{i:05d}.wav" for i in range(n)), []
        writer = csv.writer(handle)
        writer.writerow(["file", "polyphony", "chosen_families", "notes", "gains_db"])
        for i, mixture in enumerate(tqdm(mixtures, unit="mixture", disable=None)):
            if corrected:
                samples = play(mixture, notes, seconds, np.random.default_rng((seed, i)))
                cells.append(certain_labels([notes.kind(note) for note in mixture.notes]))
            else:
                samples = loop(mixture, notes, seconds)
                cells.append(paper_labels(list(mixture.families)))
            paths[i].write_bytes(_wav(samples))
            writer.writerow(
                [f"audio/{paths[i].name}", len(mixture.families), "|".join(mixture.families),
                 "|".join(notes.names[list(mixture.notes)]), "|".join(f"{gain:.3f}" for gain in mixture.gains_db)]
            )  # fmt: skip
        split = nsynth.removeprefix("nsynth-")
        table = Table(
            paths,
            np.full(n, "synthetic"),
            np.full(n, nsynth),
            np.full(n, split if split in ("train", "valid", "test") else "train"),
            np.stack([labels for labels, _ in cells]),
            np.stack([mask for _, mask in cells]),
            licence=np.full(n, "CC BY 4.0 (NSynth)"),
        )
        write_table(folder / "table.csv", table)
    moved = tuple(to / "audio" / path.name for path in paths)
    return replace(table, paths=moved)


def _names(option: str, text: str, known: Sequence[str]) -> list[str]:
    names = text.split(",")
    for name in names:
        if name not in known or names.count(name) > 1:
            raise UsageError(f"{option}: {name!r} is not one of {', '.join(known)}, or is named twice")
    return names


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m training.synthesis.scenes paper",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--nsynth", type=Path, required=True, help="one split: nsynth-train, nsynth-valid, nsynth-test")
    parser.add_argument("--to", type=Path, required=True)
    parser.add_argument("--per-k", type=int, default=200, help="mixtures of each number of families (default: 200)")
    parser.add_argument("--max-k", type=int, help="most families in a mixture (default: all, 11)")
    parser.add_argument("--seed", type=int, default=42)
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--source", default=",".join(SOURCES), help="kinds of instruments (default: all three)")
    parser.add_argument("--families", default=",".join(FAMILIES), help="families that take part (default: all eleven)")
    parser.add_argument(
        "--corrected", action="store_true", help="without the artefacts and wrong labels of the paper's"
    )
    parser.add_argument("--subset", action="store_true", help="accept fewer notes than were published")
    args = parser.parse_args(argv)
    if args.per_k < 1:
        raise UsageError(f"--per-k must be at least 1, not {args.per_k}")
    if not 0.1 <= args.seconds <= 3600:
        raise UsageError(f"--seconds must be 0.1 to 3600, not {args.seconds:g}")
    if not 0 <= args.seed < 2**32:
        raise UsageError(f"--seed must be 0 to {2**32 - 1}, not {args.seed}")
    families = _names("--families", args.families, FAMILIES)
    sources = [SOURCES.index(name) for name in _names("--source", args.source, SOURCES)]
    notes = read_nsynth(args.nsynth, args.subset)
    notes = notes[np.isin(notes.source, sources)]
    mixtures = plan(notes, args.per_k, args.max_k, args.seed, families)
    table = write(args.to, notes, mixtures, args.seconds, args.corrected, args.seed)
    known, positive = int(table.mask.sum()), int((table.labels * table.mask).sum())
    print(f"{args.to}: {len(table):,} mixtures, {known:,} known labels, {positive:,} of them positive")
