"""NSynth's notes as a folder of sounds (see training.datasets.sounds), for our own scenes to be made of.

    python -m training.datasets nsynth-sounds NSYNTH/nsynth-train --to DIR [--notes 60] [--seed 0] [--subset]

Only notes whose instrument is certain; brass, reeds and strings, whose families hold several of our instruments, are
left out.
"""

import argparse
import csv
import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.training.datasets.nsynth import CERTAIN, LICENCE, RATE, Notes, read_nsynth
from instrec_live.training.staging import staged

FloatArray = NDArray[np.float32]


def write_sounds(to: Path, notes: Notes, per_instrument: int, seed: int = 0) -> int:
    """Lay notes out as `<instrument>/nsynth_<NSynth's instrument>/<note>.ogg` with a sources.csv; how many they are.

    Only notes whose instrument is CERTAIN; of each NSynth instrument at most `per_instrument`, drawn by seed.

    Raises:
        InputFileError: a note cannot be read.
        UsageError: `to` is there already.
    """
    from tqdm import tqdm  # here, so that --help need not wait for it

    rng, rows = np.random.default_rng(seed), []
    with staged(to) as folder, tqdm(np.unique(notes.instrument), unit="instrument", disable=None) as bar:
        for instrument in bar:
            of_it = np.flatnonzero(notes.instrument == instrument)
            tag = CERTAIN.get(notes.kind(of_it[0]))
            if tag is None:
                continue
            chosen = np.sort(rng.permutation(of_it)[:per_instrument])
            source = "nsynth_" + str(notes.names[chosen[0]]).split("-")[0]
            (folder / tag / source).mkdir(parents=True)
            seconds = 0.0
            for note in chosen:
                samples = notes.load(note)
                seconds += len(samples) / RATE
                (folder / tag / source / f"{notes.names[note]}.ogg").write_bytes(_vorbis(samples))
            rows.append([source, LICENCE, "NSynth", tag, len(chosen), f"{seconds:.1f}", "notes"])
        if not rows:
            raise InputFileError(f"{notes.folder}: no note whose instrument is certain")
        with (folder / "sources.csv").open("w", newline="", encoding="utf-8") as handle:
            writer = csv.writer(handle)
            writer.writerow(["source", "licence", "package", "class", "n_files", "seconds", "kind"])
            writer.writerows(rows)
    return sum(row[4] for row in rows)


def _vorbis(samples: FloatArray) -> bytes:
    """As good as Ogg Vorbis gets. In memory first: a full disk is then an OSError, which says what it is."""
    import soundfile

    encoded = io.BytesIO()
    soundfile.write(encoded, samples, RATE, format="OGG", subtype="VORBIS", compression_level=0)
    return encoded.getvalue()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m training.datasets nsynth-sounds",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="one split: nsynth-train, nsynth-valid or nsynth-test")
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--notes", type=int, default=60, help="at most so many of an instrument (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="draws the notes (0)")
    parser.add_argument("--subset", action="store_true", help="the folder holds a part of the published notes")
    args = parser.parse_args(argv)
    if args.notes < 1:
        raise UsageError(f"--notes must be at least 1, not {args.notes}")
    count = write_sounds(args.to, read_nsynth(args.folder, args.subset), args.notes, args.seed)
    print(f"{args.to}: {count:,} notes ({LICENCE}, NSynth, Engel et al. 2017)")
