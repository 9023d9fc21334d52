"""NSynth: single notes of about a thousand instruments (Engel et al., ICML 2017).

    python -m training.data nsynth-sounds NSYNTH/nsynth-train --to DIR [--notes 60] [--seed 0] [--subset]

writes its notes as a folder of sounds (see training.data.sounds), as material for our own scenes. Only notes whose
instrument is known; brass, reeds and strings, whose families contain several of our instruments, are left out.

NSynth has one folder per split: `examples.json` describes the notes, `audio/<note_str>.wav` holds them, 16 kHz mono,
4 s of which the last is the release.
"""

import argparse
import csv
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.arrays import FloatArray, IntArray
from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.training.staging import exclusive_folder

RATE = 16_000
FAMILIES = (
    "bass", "brass", "flute", "guitar", "keyboard", "mallet", "organ", "reed", "string", "synth_lead", "vocal",
)  # fmt: skip
SOURCES = ("acoustic", "electronic", "synthetic")
PUBLISHED = {"nsynth-train": 289_205, "nsynth-valid": 12_678, "nsynth-test": 4_096}
LICENCE = "CC BY 4.0"
FIELDS = (
    "note", "note_str", "instrument", "instrument_str", "pitch", "velocity", "sample_rate", "qualities",
    "qualities_str", "instrument_family", "instrument_family_str", "instrument_source", "instrument_source_str",
)  # fmt: skip
_NOTE = re.compile(rf"({'|'.join(FAMILIES)})_({'|'.join(SOURCES)})_(\d{{3}})-(\d{{3}})-(\d{{3}})")

# The paper's label of each family. Brass, reed and string sound in its mixtures without a label.
TAGS = {
    "bass": "bass", "flute": "flute", "guitar": "guitar", "organ": "organ", "mallet": "mallet_percussion",
    "vocal": "voice", "keyboard": "piano", "synth_lead": "synthesizer",
}  # fmt: skip

# The known instrument of a note. Left out: keyboards that may be electric pianos or synthetic harpsichords, and flutes,
# mallets and voices imitated by a synthesizer. Two thirds of the basses are synthesizers.
CERTAIN = {
    ("bass", "acoustic"): "bass",
    ("bass", "electronic"): "bass",
    ("bass", "synthetic"): "synthesizer",
    ("flute", "acoustic"): "flute",
    ("guitar", "acoustic"): "guitar",
    ("guitar", "electronic"): "guitar",
    ("keyboard", "acoustic"): "piano",
    ("mallet", "acoustic"): "mallet_percussion",
    ("organ", "acoustic"): "organ",
    ("organ", "electronic"): "organ",
    ("synth_lead", "synthetic"): "synthesizer",
    ("vocal", "acoustic"): "voice",
}

# Instruments that a note of each family may be; if not acoustic, it may also be a synthesizer.
POSSIBLE = {
    "bass": ("bass",),
    "brass": ("trombone", "trumpet"),
    "flute": ("flute",),
    "guitar": ("banjo", "guitar", "mandolin", "ukulele"),
    "keyboard": ("accordion", "organ", "piano"),
    "mallet": ("mallet_percussion",),
    "organ": ("accordion", "organ"),
    "reed": ("accordion", "clarinet", "saxophone"),
    "string": ("bass", "cello", "violin"),
    "synth_lead": ("synthesizer",),
    "vocal": ("voice",),
}


def paper_labels(families: list[str]) -> tuple[FloatArray, FloatArray]:
    """Labels and mask, float32 [20] each, of a mixture of these families, as in the paper's code: the eight tags of
    TAGS are known, the other twelve are masked."""
    labels, mask = np.zeros(len(INSTRUMENTS), np.float32), np.zeros(len(INSTRUMENTS), np.float32)
    mask[[INSTRUMENTS.index(tag) for tag in TAGS.values()]] = 1
    labels[[INSTRUMENTS.index(TAGS[family]) for family in families if family in TAGS]] = 1
    return labels, mask


def certain_labels(kinds: list[tuple[str, str]]) -> tuple[FloatArray, FloatArray]:
    """Labels and mask, float32 [20] each, of a mixture of notes of these (family, source): known are the instruments
    that sound for certain, and those that none of the notes can be (NSynth has no drums)."""
    labels, mask = np.zeros(len(INSTRUMENTS), np.float32), np.ones(len(INSTRUMENTS), np.float32)
    for family, source in kinds:
        also = ("synthesizer",) if source != "acoustic" else ()
        mask[[INSTRUMENTS.index(tag) for tag in POSSIBLE[family] + also]] = 0
    certain = [INSTRUMENTS.index(CERTAIN[kind]) for kind in kinds if kind in CERTAIN]
    labels[certain] = mask[certain] = 1
    return labels, mask


@dataclass(frozen=True, eq=False)
class Notes:
    """The notes of one split, n of them, in the order of their names.

    Attributes:
        folder: the split's folder.
        names: str [n], the note_str.
        family: int64 [n], index into FAMILIES.
        source: int64 [n], index into SOURCES.
        instrument: int64 [n], NSynth's number of the instrument; train shares none with valid or test.
        pitch: int64 [n], MIDI.
        velocity: int64 [n], MIDI.
    """

    folder: Path
    names: NDArray[np.str_]
    family: IntArray
    source: IntArray
    instrument: IntArray
    pitch: IntArray
    velocity: IntArray

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, rows: IntArray | NDArray[np.bool_]) -> "Notes":
        """Some of the notes, in the order given."""
        columns = (self.family, self.source, self.instrument, self.pitch, self.velocity)
        return Notes(self.folder, self.names[rows], *(column[rows] for column in columns))

    def path(self, note: int) -> Path:
        return self.folder / "audio" / f"{self.names[note]}.wav"

    def kind(self, note: int) -> tuple[str, str]:
        """(family, source), as CERTAIN has them."""
        return FAMILIES[self.family[note]], SOURCES[self.source[note]]

    def load(self, note: int) -> FloatArray:
        """Mono float32 [m] at 16 kHz, m > 0.

        Raises:
            InputFileError: unreadable, empty, or not finite.
        """
        # Here, so that --help and plans need neither.
        import soundfile
        from scipy.signal import resample_poly

        path = self.path(note)
        try:
            samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
        except (OSError, soundfile.LibsndfileError) as error:
            raise InputFileError(f"{path}: {error}") from error
        if not len(samples):
            raise InputFileError(f"{path}: no audio in it")
        if not np.isfinite(samples).all():
            raise InputFileError(f"{path}: not every sample is a finite number", "extract the archive again")
        mono = samples.mean(1)
        return np.asarray(mono if rate == RATE else resample_poly(mono, RATE, rate), np.float32)


def read_nsynth(folder: Path, subset: bool = False) -> Notes:
    """Read the notes of one split's folder, nsynth-train, nsynth-valid or nsynth-test.

    Args:
        folder: holds examples.json and audio/.
        subset: accept any number of notes; else it must be a published one.

    Raises:
        InputFileError: no examples.json, or it is not one; a note lacks a field, contradicts its name or has no audio;
            or the number of notes is not the published one.
    """
    index = folder / "examples.json"
    if not index.is_file():
        raise InputFileError(f"{index}: not found", "give the folder of one split, such as nsynth-train")
    try:
        examples = json.loads(index.read_bytes())
    except ValueError as error:
        raise InputFileError(f"{index}: not JSON: {error}", "extract the archive again") from error
    if not isinstance(examples, dict) or not examples:
        raise InputFileError(f"{index}: holds no notes")
    wanted = PUBLISHED.get(folder.resolve().name)
    if not subset and (len(examples) != wanted if wanted else len(examples) not in PUBLISHED.values()):
        counts = f"{wanted:,}" if wanted else ", ".join(f"{n:,}" for n in PUBLISHED.values())
        hint = "extract the archive again, or add --subset where a part is meant"
        raise InputFileError(f"{index}: {len(examples):,} notes, not {counts} as published", hint)
    names = sorted(examples)
    numbers = np.array([_numbers(index, name, examples[name]) for name in names], np.int64)
    audio = folder / "audio"
    there = {path.name for path in audio.iterdir()} if audio.is_dir() else set()
    missing = [name for name in names if f"{name}.wav" not in there]
    if missing:
        many = f", and {len(missing) - 1:,} others" if missing[1:] else ""
        raise InputFileError(f"{audio / missing[0]}.wav: not found{many}", "extract the archive again")
    return Notes(folder, np.array(names, np.str_), *numbers.T)


def _numbers(index: Path, name: str, note: Any) -> tuple[int, int, int, int, int]:
    """Family, source, instrument, pitch and velocity of a note, from its name."""
    parts = _NOTE.fullmatch(name)
    if not parts:
        raise InputFileError(f"{index}: {name!r} is not a note: <family>_<source>_<number>-<pitch>-<velocity>")
    missing = [field for field in FIELDS if not isinstance(note, dict) or field not in note]
    if missing:
        raise InputFileError(f"{index}, {name}: {missing[0]} is missing")
    family, source, number = FAMILIES.index(parts[1]), SOURCES.index(parts[2]), note["instrument"]
    stated = {
        "note_str": name,
        "instrument_str": name[: parts.end(3)],
        "instrument_family_str": parts[1],
        "instrument_family": family,
        "instrument_source_str": parts[2],
        "instrument_source": source,
        "pitch": int(parts[4]),
        "velocity": int(parts[5]),
    }
    for field, value in stated.items():
        if note[field] != value:
            raise InputFileError(f"{index}, {name}: {field} is {note[field]!r}, its name says {value!r}")
    if not isinstance(number, int) or number < 0:
        raise InputFileError(f"{index}, {name}: instrument must be a number, not {number!r}")
    return family, source, number, int(parts[4]), int(parts[5])


def write_sounds(to: Path, notes: Notes, per_instrument: int, seed: int = 0) -> int:
    """Lay notes out as `<instrument>/nsynth_<NSynth's instrument>/<note>.ogg` with a sources.csv; how many they are.

    Only notes whose instrument is CERTAIN; of each NSynth instrument at most `per_instrument`, drawn by seed.

    Raises:
        InputFileError: a note cannot be read.
        UsageError: `to` is there already.
    """
    from tqdm import tqdm  # here, so that --help need not wait for it

    rng = np.random.default_rng(seed)
    rows: list[list[str | int]] = []
    with exclusive_folder(to) as folder, tqdm(np.unique(notes.instrument), unit="instrument", disable=None) as bar:
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
    return sum(int(row[4]) for row in rows)


def _vorbis(samples: FloatArray) -> bytes:
    """Ogg Vorbis at its highest quality, encoded in memory: a full disk is then an OSError with its reason."""
    import soundfile

    encoded = io.BytesIO()
    soundfile.write(encoded, samples, RATE, format="OGG", subtype="VORBIS", compression_level=0)
    return encoded.getvalue()


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m training.data nsynth-sounds",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="one split: nsynth-train, nsynth-valid or nsynth-test")
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="a new folder")
    parser.add_argument("--notes", type=int, default=60, help="most notes of an instrument (default: 60)")
    parser.add_argument("--seed", type=int, default=0, help="seed of the draw of notes (0)")
    parser.add_argument("--subset", action="store_true", help="accept fewer notes than were published")
    args = parser.parse_args(argv)
    if args.notes < 1:
        raise UsageError(f"--notes must be at least 1, not {args.notes}")
    count = write_sounds(args.to, read_nsynth(args.folder, args.subset), args.notes, args.seed)
    print(f"{args.to}: {count:,} notes ({LICENCE}, NSynth, Engel et al. 2017)")
