"""Phrases rendered through a General MIDI soundfont, as a folder of single-instrument sound.

    python -m training.data soundfont FILE.sf2 --to DIR --licence "MIT" [--name NAME] [--phrases 24] [--seed 0]

Scores are generated from the seed and rendered dry by FluidSynth; rooms and microphones come later. DIR may hold other
sounds already (DIR/sources.csv), which are left unchanged. Needs the FluidSynth library: apt install libfluidsynth3.
"""

import argparse
import io
import re
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from instrec_live.models.arrays import FloatArray
from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.training.data.sounds import DISTRACTORS, EVERYTHING, check_free, move_in
from instrec_live.training.staging import scratch_folder
from instrec_live.training.synthesis.soundfonts.general_midi import compass_of, presets_of
from instrec_live.training.synthesis.soundfonts.playing import phrase
from instrec_live.training.synthesis.soundfonts.score import draw_tune
from instrec_live.training.synthesis.soundfonts.synth import RATE, Soundfont

SECONDS = (13.0, 17.0)  # range; whole bars and the last note's tail make it 10 to 20
LONGEST = 20.0
LEVEL, CEILING = 10 ** (-20 / 20), 10 ** (-3 / 20)  # RMS of the sounding parts; peak, with headroom for Vorbis
SILENT = 1e-4  # peak below which a phrase counts as not played


def master(samples: FloatArray) -> FloatArray:
    """Trim silence, limit to 20 s, and normalise the sounding parts to -20 dBFS, or lower if peaks would exceed -3
    dBFS."""
    hop = RATE // 100
    power = np.square(samples[: len(samples) // hop * hop].reshape(-1, hop)).mean(1)
    audible = np.flatnonzero(power > power.max() * 1e-6)
    samples = samples[audible[0] * hop : (audible[-1] + 1) * hop][: int(LONGEST * RATE)].copy()
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
    """Ogg Vorbis, mono, encoded in memory: libsndfile does not report a full disk when it writes a file."""
    encoded = io.BytesIO()
    with soundfile.SoundFile(encoded, "w", RATE, 1, "VORBIS", format="OGG") as out:
        for start in range(0, len(samples), RATE):  # libsndfile overflows its stack on one long write
            out.write(samples[start : start + RATE])
    return encoded.getvalue()


def render(file: Path, to: Path, name: str, licence: str, count: int, seed: int, instruments: Sequence[str]) -> int:
    """Add a source of rendered phrases to a folder of sounds, completely or not at all; the number of files.

    Raises:
        InputFileError: not a soundfont, none of the instruments is in it, or sources.csv is malformed.
        UsageError: a source of that name exists already.
    """
    check_free(to, name, instruments)
    font = Soundfont(file)
    try:
        with scratch_folder(to, "soundfont", busy=f"{to}: another run is adding to it") as partial:
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
        "python -m training.data soundfont",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, help="a General MIDI soundfont (.sf2, .sf3)")
    parser.add_argument("--to", type=Path, required=True, help="the folder of sounds to add to, or a new one")
    parser.add_argument(
        "--licence", required=True, help="the soundfont's licence, e.g. MIT; it is written into sources.csv"
    )
    parser.add_argument("--name", help="name of the source (default: sf_ and the file's name)")
    parser.add_argument("--phrases", type=int, default=24, help="phrases of each instrument (default: 24)")
    parser.add_argument("--instruments", default=",".join(INSTRUMENTS), help="only these, e.g. piano,flute "
                        f"(default: our 20); of what is none of them: {', '.join(DISTRACTORS)}")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    name = args.name or "sf_" + re.sub(r"[^a-z0-9]+", "_", args.file.stem.lower()).strip("_")
    instruments = [i for i in EVERYTHING if i in (asked := args.instruments.split(","))]
    unknown = [i for i in asked if i not in EVERYTHING]
    if unknown:
        raise UsageError(f"unknown instrument {unknown[0]!r}", f"known: {', '.join(EVERYTHING)}")
    if not args.licence.strip():
        raise UsageError("--licence is empty", "every source needs a licence: look it up with the soundfont")
    if not re.fullmatch(r"[\w-][\w.-]*", name):
        raise UsageError(f"--name {name!r}: letters, digits, '_', '-' and '.' only")
    if args.phrases < 1 or args.seed < 0:
        raise UsageError("--phrases must be at least 1, and --seed at least 0")
    count = render(args.file, args.to, name, args.licence.strip(), args.phrases, args.seed, instruments)
    print(f"{args.to}: {count:,} phrases as {name} ({args.licence.strip()})")
