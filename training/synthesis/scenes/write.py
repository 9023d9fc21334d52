"""Our scenes as audio files, with exact labels, onsets and offsets.

    python -m training.synthesis.scenes write --sounds DIR --to DIR [--count 1000] [--seconds 10] [--seed 0]

DIR/audio/scene_00000.flac … (32 kHz, mono), DIR/table.csv (a table of labelled clips), DIR/events.csv (file,
instrument, onset, offset, in seconds; of instruments that are labelled 1). These are the scenes
that training mixes as mels: the same plans and channel, rendered as samples. The folder appears completely or not at
all; the bytes depend on the seed alone, not on the number of workers.
"""

import argparse
import csv
import io
from collections.abc import Callable, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from instrec_live.models.arrays import FloatArray
from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.logmel import HOP, SAMPLE_RATE, log_mel
from instrec_live.training.command import entry
from instrec_live.training.data.sounds import Source, read_sources
from instrec_live.training.data.table import Table, write_table
from instrec_live.training.processes import worker_processes
from instrec_live.training.staging import exclusive_folder
from instrec_live.training.synthesis.augment import codec
from instrec_live.training.synthesis.channel import Channel, draw_microphone, filtered, power_of, sounding
from instrec_live.training.synthesis.phrases import Player, share
from instrec_live.training.synthesis.scenes.plan import POLYPHONY, Annotation, Cast, Event, Part, annotate, draw_parts


class Stage:
    """The sources that may play, each loaded on first use.

    Args:
        sources: from `read_sources`.
    """

    def __init__(self, sources: Sequence[Source]) -> None:
        self.sources = sources
        self.cast = Cast([(s.instrument, n) for s, n in zip(sources, share(list(sources), 9000), strict=True)])
        self.player: Callable[[int], Player] = lru_cache(maxsize=40)(lambda i: Player(self.sources[i]))

    def scene(self, rng: np.random.Generator, frames: int) -> tuple[FloatArray, Annotation, str]:
        """A scene, float32 [320 * frames] at 32 kHz, its annotation, and the licences of the sounds in it.

        Raises:
            InputFileError: a sound that cannot be read.
        """
        count = int(rng.choice(len(POLYPHONY), p=np.array(POLYPHONY) / sum(POLYPHONY)))
        parts = draw_parts(rng, frames, self.cast.chances, count)
        mix, powers, known = np.zeros(frames * HOP, np.float32), [], True
        licences: set[str] = set()
        for part in parts:
            source = self.cast.source(part.instrument, rng)
            known = known and self.sources[source].kind != "song"
            licences.add(self.sources[source].licence)
            sound = _playing(self.player(source), part, rng, frames)
            # The loudness that decides whether a part is faint is that of the mels, as in training.
            powers.append(power_of(log_mel(sound)).sum(0))
            mix += sound
        loudest = max((sounding(power) for power in powers), default=0.0)
        annotation = annotate([part.instrument for part in parts], powers, frames, loudest, known)
        samples = Channel.draw(rng).on_samples(mix, rng)
        return (codec(samples, rng) if rng.random() < 0.15 else samples), annotation, "; ".join(sorted(licences))


def _playing(player: Player, part: Part, rng: np.random.Generator, frames: int) -> FloatArray:
    """A part as samples, float32 [320 * frames]: phrases of one source in sequence, through a random microphone."""
    stop = min(frames, part.offset + part.release)
    pieces, missing = [], (stop - part.onset) * HOP
    while missing > 0:
        pieces.append(player.phrase(rng)[:missing])
        missing -= len(pieces[-1])
    phrase = np.concatenate(pieces)
    if rng.random() < 0.5:
        phrase = filtered(phrase, draw_microphone(rng))
    gain = np.sqrt(part.envelope(frames))
    sound = np.zeros(frames * HOP, np.float32)
    sound[part.onset * HOP : stop * HOP] = phrase
    # A gain for every sample; everything before the onset is exactly silent.
    return sound * np.interp(np.arange(frames * HOP) / HOP, np.arange(frames), gain).astype(np.float32)


_stage: Stage  # of a worker


def _enter(sources: Sequence[Source]) -> None:
    global _stage
    _stage = Stage(sources)


def _render(job: tuple[int, int, int]) -> tuple[FloatArray, Annotation, str]:
    seed, number, frames = job
    return _stage.scene(np.random.default_rng((seed, number)), frames)


def write(sources: Sequence[Source], to: Path, jobs: Sequence[tuple[int, int, int]], split: str, workers: int) -> None:
    """Write a scene for each job (seed, number, frames); the folder appears when all are written.

    Raises:
        UsageError: the folder is not empty.
        InputFileError: a sound cannot be read.
    """
    with exclusive_folder(to) as staging:
        (staging / "audio").mkdir()
        annotations, licences = [], []
        with worker_processes(workers, _enter, sources) as pool:
            rendered = tqdm(pool.map(_render, jobs), total=len(jobs), unit="scene", disable=None)
            for i, (samples, annotation, licence) in enumerate(rendered):
                (staging / _name(i)).write_bytes(_flac(samples))
                annotations.append(annotation)
                licences.append(licence)
        write_table(staging / "table.csv", _table(staging, annotations, licences, split))
        _write_events(staging / "events.csv", [annotation.events() for annotation in annotations])


def _flac(samples: FloatArray) -> bytes:
    """Encode in memory: libsndfile does not report a full disk when it writes a file."""
    encoded = io.BytesIO()
    soundfile.write(encoded, samples, SAMPLE_RATE, format="FLAC", subtype="PCM_16")
    return encoded.getvalue()


def _name(number: int) -> str:
    return f"audio/scene_{number:05d}.flac"


def _table(folder: Path, annotations: Sequence[Annotation], licences: Sequence[str], split: str) -> Table:
    count = len(annotations)
    return Table(
        tuple(folder / _name(i) for i in range(count)),
        np.full(count, "scenes"),
        np.array([f"scene_{i:05d}" for i in range(count)]),
        np.full(count, split),
        np.stack([annotation.labels for annotation in annotations]),
        np.stack([annotation.mask for annotation in annotations]),
        licence=np.array(licences, np.str_),
    )


def _write_events(path: Path, scenes: Sequence[Sequence[Event]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as handle:
        writer = csv.writer(handle)
        writer.writerow(["file", "instrument", "onset", "offset"])
        for i, events in enumerate(scenes):
            writer.writerows([_name(i), e.instrument, f"{e.onset:.2f}", f"{e.offset:.2f}"] for e in events)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m training.synthesis.scenes write",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--sounds", type=Path, required=True, help="a folder with sources.csv")
    parser.add_argument("--to", type=Path, required=True, help="a new folder")
    parser.add_argument("--count", type=int, default=1000, help="scenes (1000)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each, 1 to 600 (10)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed, the same bytes (0)")
    parser.add_argument("--held-out", action="store_true", help="of the held-out timbres instead")
    parser.add_argument("--split", choices=("train", "valid", "test"), default="train", help="of the table (train)")
    parser.add_argument("--workers", type=int, default=2, help="processes; each keeps up to half a gigabyte of sounds")
    args = parser.parse_args(argv)
    for name in ("count", "workers"):
        if getattr(args, name) < 1:
            raise UsageError(f"--{name} must be 1 or more, not {getattr(args, name)}")
    if args.seed < 0:
        raise UsageError(f"--seed must be 0 or more, not {args.seed}")
    if not 1 <= args.seconds <= 600:
        raise UsageError(f"--seconds must be 1 to 600, not {args.seconds:g}")
    sources = read_sources(args.sounds, only_held_out=args.held_out)
    if not sources:
        raise InputFileError(f"{args.sounds}: no source in it is {'' if args.held_out else 'not '}held out")
    frames = round(args.seconds * SAMPLE_RATE / HOP)
    write(sources, args.to, [(args.seed, i, frames) for i in range(args.count)], args.split, args.workers)


if __name__ == "__main__":
    entry(main)
