"""Phrases rendered through a General MIDI soundfont, laid out as any other folder of single-instrument sound.

    python -m training.datasets soundfont FILE.sf2 --to DIR --licence "MIT" [--name NAME] [--phrases 24] [--seed 0]

Phrases are written anew from the seed and played dry by FluidSynth; rooms and microphones come later. DIR may hold
other sounds already (DIR/sources.csv); they stay as they are. Needs the FluidSynth library: apt install libfluidsynth3.
"""

import argparse
import io
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray
from tqdm import tqdm

from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.training.datasets.library import check_free, move_in
from instrec_live.training.datasets.sounds import EVERYTHING, STRANGERS
from instrec_live.training.soundfonts.general_midi import compass_of, presets_of
from instrec_live.training.soundfonts.playing import phrase
from instrec_live.training.soundfonts.score import draw_tune
from instrec_live.training.soundfonts.synth import RATE, Soundfont
from instrec_live.training.staging import within

FloatArray = NDArray[np.float32]

SECONDS = (13.0, 17.0)  # drawn from; whole bars and the last note's tail make it 10 to 20
LONGEST = 20.0
LEVEL, CEILING = 10 ** (-20 / 20), 10 ** (-3 / 20)  # RMS while it sounds; peak, with room for what Vorbis adds
SILENT = 1e-4  # a phrase whose peak stays below it was not played


def master(samples: FloatArray) -> FloatArray:
    """Without silence around it, at most 20 s, at -20 dBFS while it sounds, or lower where peaks would pass -3 dBFS."""
    hop = RATE // 100
    power = np.square(samples[: len(samples) // hop * hop].reshape(-1, hop)).mean(1)
    heard = np.flatnonzero(power > power.max() * 1e-6)
    samples = samples[heard[0] * hop : (heard[-1] + 1) * hop][: int(LONGEST * RATE)].copy()
    samples[-RATE // 20 :] *= np.linspace(1, 0, RATE // 20, dtype=np.float32)
    sounding = power[power > power.max() * 1e-3].mean()
    gain = min(float(LEVEL / np.sqrt(sounding)), float(CEILING / np.abs(samples).max()))
    return np.asarray(samples * np.float32(gain))


def render_instrument(font: Soundfont, instrument: str, count: int, seed: int, folder: Path) -> tuple[int, float]:
    """Write up to `count` phrases into `folder`, the soundfont's presets in turn; how many files, and seconds.

    A phrase depends on the seed, the instrument and its number alone. What a preset cannot sound is left out.
    """
    presets = presets_of(instrument, font.name_of)
    files, seconds = 0, 0.0
    for i in range(count if presets else 0):
        rng = np.random.default_rng((seed, EVERYTHING.index(instrument), i))
        preset = presets[i % len(presets)]
        score = phrase(instrument, draw_tune(rng), rng, rng.uniform(*SECONDS), compass_of(instrument, preset.program))
        samples = font.render(preset, score)
        if np.abs(samples).max() < SILENT:
            continue
        samples = master(samples)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{i:03d}_b{preset.bank:03d}_p{preset.program:03d}.ogg").write_bytes(vorbis(samples))
        files, seconds = files + 1, seconds + len(samples) / RATE
    return files, seconds


def vorbis(samples: FloatArray) -> bytes:
    """Ogg Vorbis, mono. In memory first: a full disk is then an OSError, which says what it is."""
    encoded = io.BytesIO()
    with soundfile.SoundFile(encoded, "w", RATE, 1, "VORBIS", format="OGG") as out:
        for start in range(0, len(samples), RATE):  # libsndfile overflows its stack on one long write
            out.write(samples[start : start + RATE])
    return encoded.getvalue()


def render(file: Path, to: Path, name: str, licence: str, count: int, seed: int, instruments: Sequence[str]) -> int:
    """Add a source of rendered phrases to a folder of sounds, whole or not at all; how many files.

    Raises:
        InputFileError: no soundfont, nothing of what was asked for is in it, or a sources.csv that is none.
        UsageError: a source of that name is there already.
    """
    check_free(to, name, instruments)
    font = Soundfont(file)
    try:
        with within(to, "soundfont", busy=f"{to}: another run is adding to it") as partial:
            rows = []
            for instrument in tqdm(instruments, unit="instrument", disable=None):
                files, seconds = render_instrument(font, instrument, count, seed, partial / instrument)
                if files:
                    rows.append([name, licence, file.name, instrument, files, f"{seconds:.1f}", "rendered phrases"])
            rendered = [row[3] for row in rows]
            lacking = ", ".join(f"no {i.replace('_', ' ')}" for i in instruments if i not in rendered)
            if not rows:
                raise InputFileError(f"{file}: {lacking} in it", "is it a General MIDI soundfont?")
            if lacking:
                print(f"{file}: {lacking} in it", file=sys.stderr)
            move_in(partial, to, name, rows)
    finally:
        font.close()
    return sum(int(row[4]) for row in rows)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m training.datasets soundfont",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, help="a General MIDI soundfont (.sf2, .sf3)")
    parser.add_argument("--to", type=Path, required=True, help="the folder of sounds to add to, or a new one")
    parser.add_argument("--licence", required=True, help="the soundfont's, e.g. MIT; it is written into sources.csv")
    parser.add_argument("--name", help="what the source is called (default: sf_ and the file's name)")
    parser.add_argument("--phrases", type=int, default=24, help="so many of each instrument (default: 24)")
    parser.add_argument("--instruments", default=",".join(INSTRUMENTS), help="only these, e.g. piano,flute "
                        f"(default: our 20); of what is none of them: {', '.join(STRANGERS)}")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    name = args.name or "sf_" + re.sub(r"[^a-z0-9]+", "_", args.file.stem.lower()).strip("_")
    instruments = [i for i in EVERYTHING if i in (asked := args.instruments.split(","))]
    unknown = [i for i in asked if i not in EVERYTHING]
    if unknown:
        raise UsageError(f"unknown instrument {unknown[0]!r}", f"known: {', '.join(EVERYTHING)}")
    if not args.licence.strip():
        raise UsageError("--licence is empty", "nothing without a licence comes in: look it up with the soundfont")
    if not re.fullmatch(r"[\w-][\w.-]*", name):
        raise UsageError(f"--name {name!r}: letters, digits, '_', '-' and '.' only")
    if args.phrases < 1 or args.seed < 0:
        raise UsageError("--phrases must be at least 1, and --seed at least 0")
    count = render(args.file, args.to, name, args.licence.strip(), args.phrases, args.seed, instruments)
    print(f"{args.to}: {count:,} phrases as {name} ({args.licence.strip()})")
