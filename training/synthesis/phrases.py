"""Six-second phrases of one instrument, cut from recordings or assembled from notes, kept as log-mels on disk.

    python -m training.synthesis.phrases --sounds DIR [DIR ...] [--without SOURCE ...] --to runs/phrases [--held-out]

Scenes are mixed from these in the power-mel domain, which is almost free in a training loop; so everything that needs
samples (pitch, rooms, saturation, codecs, note timing) is done here, once.
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from instrec_live.models.arrays import FloatArray
from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import SAMPLE_RATE, frame_count, log_mel
from instrec_live.training.command import entry
from instrec_live.training.data.npz import write_npy
from instrec_live.training.data.sounds import Source, full_band, read_sources, split_on_silence
from instrec_live.training.processes import worker_processes
from instrec_live.training.staging import exclusive_file
from instrec_live.training.synthesis.augment import codec, limit_band, reverberate, saturate, tape_noise, transpose
from instrec_live.training.synthesis.soundfonts.drums import beat

SECONDS = 6.0
SAMPLES = int(SECONDS * SAMPLE_RATE)
FRAMES = frame_count(SAMPLES)
CHORDAL = {
    "accordion",
    "banjo",
    "guitar",
    "harp",
    "mallet_percussion",
    "mandolin",
    "organ",
    "piano",
    "synthesizer",
    "ukulele",
    "voice",
}
PERCUSSIVE = {"drums", "cymbals"}
DRUMMING = 0.7  # share of phrases in which strokes are played as a beat
DAMPED = {
    "accordion",
    "bassoon",
    "cello",
    "clarinet",
    "flute",
    "french_horn",
    "harmonica",
    "oboe",
    "organ",
    "saxophone",
    "trombone",
    "trumpet",
    "tuba",
    "violin",
    "voice",
}


def play(notes: list[FloatArray], instrument: str, rng: np.random.Generator) -> FloatArray:
    """A phrase from single notes: a random walk over neighbouring notes in a random rhythm, with chords on chordal
    instruments.

    Args:
        notes: float32 arrays at 32 kHz, sorted so that neighbours are similar (usually by pitch).

    Returns:
        float32 [192000].
    """
    out = np.zeros(SAMPLES + 4 * SAMPLE_RATE, np.float32)
    beat = 60 / rng.uniform(60, 170)
    lengths = rng.choice([0.25, 0.5, 1, 2, 4], size=64, p=_rhythm(rng, instrument)) * beat
    at, here = rng.uniform(0, 0.3), int(rng.integers(len(notes)))
    shift = float(rng.normal(0, 1.5)) if instrument not in PERCUSSIVE else float(rng.normal(0, 0.7))
    voices = int(rng.integers(2, 5)) if instrument in CHORDAL and rng.random() < 0.5 else 1
    for length in lengths:
        if at >= SECONDS:
            break
        for voice in range(voices):
            pick = int(np.clip(here + (rng.integers(-6, 7) if voice else 0), 0, len(notes) - 1))
            step = 0.0 if instrument in PERCUSSIVE else float(rng.choice([-3, -2, -1, 0, 0, 0, 1, 2, 3]))
            note = transpose(notes[pick][: 4 * SAMPLE_RATE], shift + step)
            if instrument in DAMPED:
                note = _release(note, int(min(length * rng.uniform(0.8, 1.1), 3.9) * SAMPLE_RATE), rng)
            start = int((at + rng.normal(0, 0.008) + 0.01 * voice) * SAMPLE_RATE)
            start = max(0, start)
            note = note[: len(out) - start]
            out[start : start + len(note)] += note * 10 ** (rng.normal(-2 * bool(voice), 2.5) / 20)
        here = int(np.clip(here + rng.integers(-3, 4), 0, len(notes) - 1))
        at += length if rng.random() > 0.08 else 2 * length  # sometimes a rest
    return out[:SAMPLES]


def _rhythm(rng: np.random.Generator, instrument: str) -> NDArray[np.float64]:
    weights = rng.dirichlet([0.6, 1.5, 1.5, 0.8, 0.3] if instrument not in PERCUSSIVE else [1.5, 2.0, 1.0, 0.1, 0.02])
    return np.asarray(weights)


def _release(note: FloatArray, length: int, rng: np.random.Generator) -> FloatArray:
    fade = min(int(rng.uniform(0.02, 0.12) * SAMPLE_RATE), max(1, len(note) // 2))
    note = note[: max(length, fade)].copy()
    note[-fade:] *= np.linspace(1, 0, min(fade, len(note)), dtype=np.float32)
    return note


def cut(files: list[FloatArray], rng: np.random.Generator) -> FloatArray:
    """A phrase from recorded playing: an excerpt, or several short files in sequence. float32 [192000]."""
    out = np.zeros(0, np.float32)
    while len(out) < SAMPLES:
        piece = files[int(rng.integers(len(files)))]
        if len(piece) > SAMPLES:
            start = int(rng.integers(len(piece) - SAMPLES))
            piece = piece[start : start + SAMPLES]
        if len(out) and rng.random() < 0.3:
            out = np.concatenate([out, np.zeros(int(rng.uniform(0, 0.5) * SAMPLE_RATE), np.float32)])
        fade = min(len(out), len(piece), SAMPLE_RATE // 50)
        ramp = np.linspace(0, 1, fade, dtype=np.float32)
        piece = piece.copy()
        piece[:fade] = piece[:fade] * ramp + out[len(out) - fade :] * (1 - ramp)
        out = np.concatenate([out[: len(out) - fade], piece])
    return transpose(out, float(rng.normal(0, 0.7)))[:SAMPLES]


@dataclass
class Player:
    """A source with its files loaded."""

    source: Source

    def __post_init__(self) -> None:
        sounds = [full_band(path) for path in self.source.files]
        self.continuous = self.source.continuous
        if not self.continuous:
            # Long files of "recorded samples" are often continuous playing.
            long = [s for s in sounds if len(s) > 5 * SAMPLE_RATE and len(split_on_silence(s)) <= 2]
            self.continuous = len(long) > len(sounds) / 2
        if self.continuous:
            self.sounds = [s for s in sounds if np.abs(s).max(initial=0) > 1e-4]
        else:
            self.sounds = [note for s in sounds for note in split_on_silence(s)]
        if not self.sounds:
            raise InputFileError(f"{self.source.files[0].parent}: only silence")
        self.sounds = [s / (np.sqrt(np.mean(np.square(s))) + 1e-6) ** 0.7 for s in self.sounds]

    def phrase(self, rng: np.random.Generator) -> FloatArray:
        """A random phrase, float32 [192000], with the mean power of its sounding parts at -20 dBFS."""
        instrument = self.source.instrument
        if self.continuous:
            phrase = cut(self.sounds, rng)
        elif instrument in PERCUSSIVE and rng.random() < DRUMMING:
            phrase = transpose(beat(self.sounds, instrument, SAMPLES, rng), float(rng.normal(0, 0.7)))[:SAMPLES]
        else:
            phrase = play(self.sounds, instrument, rng)
        phrase = np.pad(phrase, (0, SAMPLES - len(phrase)))
        if rng.random() < 0.4:
            phrase = reverberate(phrase, rng)
        if rng.random() < 0.08:
            phrase = saturate(phrase, rng)
        if rng.random() < 0.06:
            phrase = tape_noise(phrase, rng)
        if rng.random() < 0.06:
            phrase = limit_band(phrase, rng)
        if rng.random() < 0.15:
            phrase = codec(phrase, rng)
        power = np.square(phrase).reshape(-1, 3200).mean(1)
        sounding = power[power > power.max() * 1e-3]
        return np.asarray(phrase * (0.1 / np.sqrt(sounding.mean() + 1e-12)), np.float32)


def _render(job: tuple[Source, int, int]) -> NDArray[np.float16]:
    source, count, seed = job
    player, rng = Player(source), np.random.default_rng(seed)
    return np.stack([log_mel(player.phrase(rng)).astype(np.float16) for _ in range(count)])


def share(sources: list[Source], count: int) -> list[int]:
    """The number of the `count` phrases from each source, proportional to the root of its files; instruments
    likewise."""
    of_instrument = {s.instrument: 0.0 for s in sources}
    for source in sources:
        of_instrument[source.instrument] += np.sqrt(_diversity(source))
    total = sum(np.sqrt(v) for v in of_instrument.values())
    return [
        max(
            4,
            round(
                count
                * np.sqrt(_diversity(s))
                / of_instrument[s.instrument]
                * np.sqrt(of_instrument[s.instrument])
                / total
            ),
        )
        for s in sources
    ]


def _diversity(source: Source) -> float:
    """Number of files, up to 60; recorded playing counts four times."""
    recorded = source.kind in ("phrases", "song")
    return min(len(source.files), 60) * (4 if recorded else 1) + 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sounds", type=Path, nargs="+", required=True, metavar="DIR", help="folders with sources.csv")
    parser.add_argument("--without", nargs="+", default=[], metavar="SOURCE", help="leave these sources out")
    parser.add_argument("--to", type=Path, default=Path("runs/phrases"), metavar="DIR", help="replaces what is "
                        "there (runs/phrases)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--count", type=int, default=9000, help="phrases in all, at least 4 a source (9000)")
    parser.add_argument("--held-out", action="store_true", help="render the held-out timbres instead")
    parser.add_argument("--workers", type=int, default=2, help="processes (2); the phrases do not depend on it")
    args = parser.parse_args()
    for name, least in (("count", 1), ("workers", 1), ("seed", 0)):
        if getattr(args, name) < least:
            raise UsageError(f"--{name} must be {least} or more, not {getattr(args, name)}")
    sources = [source for folder in args.sounds for source in read_sources(folder, only_held_out=args.held_out)]
    unknown = sorted(set(args.without) - {source.name for source in sources})
    if unknown:
        raise UsageError(f"--without {unknown[0]}: no source of that name", "the names are in sources.csv")
    sources = [source for source in sources if source.name not in args.without]
    if not sources:
        folders = ", ".join(map(str, args.sounds))
        raise InputFileError(f"{folders}: no source in it is {'' if args.held_out else 'not '}held out")
    counts = share(sources, args.count)
    jobs = [(s, n, args.seed * 100_003 + i) for i, (s, n) in enumerate(zip(sources, counts, strict=True))]
    rows: list[dict[str, object]] = []

    def rendered() -> Iterator[NDArray[np.float16]]:
        at = 0
        with (
            worker_processes(args.workers) as pool,
            tqdm(total=sum(counts), unit="phrase", disable=None) as bar,
        ):
            for (source, n, _), mels in zip(jobs, pool.map(_render, jobs), strict=True):
                yield mels
                row = {"instrument": source.instrument, "source": source.name, "kind": source.kind}
                rows.append(row | {"licence": source.licence, "package": source.package, "first": at, "count": n})
                at += n
                bar.update(n)

    index_file = args.to / "index.json"
    with exclusive_file(index_file) as index_partial, exclusive_file(args.to / "mels.npy") as partial:
        write_npy(partial, rendered())
        index = {"seed": args.seed, "held_out": args.held_out, "instruments": INSTRUMENTS, "sources": rows}
        index_partial.write_text(json.dumps(index, indent=1), encoding="utf-8")
        index_file.unlink(missing_ok=True)  # until both files are in place there is no index, rather than a wrong one


if __name__ == "__main__":
    entry(main)
