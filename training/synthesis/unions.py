"""Mixtures whose target is the union of what teachers recognise in each voice separately.

A teacher recognises one voice better than a mixture, so it can teach mixtures: windows of real playing, songs and
unlabelled music are added as powers, and the target of the mixture is 1 - prod(1 - p) over its windows, for the 20
instruments and for AudioSet's classes alike. No label of a mixture is ever guessed from the mixture itself.

    python -m training.synthesis.unions --sounds DIR --music DIR --to runs/unions

makes the bank that `Unions` draws from: every sound as log-mel, at one level, in complete patches of 0.96 s, and the
teachers' probabilities of its windows (training.learning.teachers).
"""

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from tqdm import tqdm

from instrec_live.models.arrays import FloatArray
from instrec_live.models.audioset import CLASSES
from instrec_live.models.errors import InputFileError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import N_MELS, PATCH, SAMPLE_RATE, log_mel
from instrec_live.training.command import entry
from instrec_live.training.data.sounds import DISTRACTORS, audio_files, load, read_sources
from instrec_live.training.data.table import read_rows
from instrec_live.training.example import Example
from instrec_live.training.processes import worker_processes
from instrec_live.training.staging import exclusive_folder
from instrec_live.training.synthesis.channel import log_of, power_of

HalfArray = NDArray[np.float16]

LENGTHS = (2, 5, 10)  # patches of a window
_AROUND = 5  # patches: a shorter window of one instrument is taught what teachers recognise in so long a one
AUDIOSET_WEIGHT = 4 * len(INSTRUMENTS) / CLASSES  # of a cell of AudioSet's, relative to one of an instrument's
MUSIC_SHARE = 0.16  # of voices: unlabelled music and songs, half each
SHARES = {"distractor": 0.06, "noise": 0.02}  # of voices; the rest are single instruments
OFFSETS = 0.1  # of mixtures have a constant offset under them, as cheap microphones do
_LONGEST = 40  # patches of a track
_MUSIC = (10.0, 240.0)  # s: shorter files are sound effects; of longer ones, so much is taken
_PHRASE = 960  # frames: notes shorter than half of it are joined until they are as long
_INAUDIBLE = (-20.0, -8.0)  # dB: softer than the first a voice counts as absent, louder than the second as present
_SILENCE = 3.0  # mel power, summed over the bands, of a frame without sound


@dataclass(frozen=True)
class Track:
    """A sound of the bank.

    Attributes:
        start: its first frame in the bank.
        patches: its length.
        group: what it is drawn as: an instrument, "song", "music", or "distractor" (an instrument that is none of the
            20, whose target is that none sounds).
        source: where it comes from.
        labels: instruments that sound in it.
        complete: all others are known not to.
    """

    start: int
    patches: int
    group: str
    source: str
    labels: tuple[str, ...]
    complete: bool


def levelled_log_mel(samples: FloatArray) -> HalfArray | None:
    """Mono at 32 kHz, float32 [n] -> log-mel float16 [T, 128] at -20 dBFS over its sounding frames; None: silence."""
    frames = len(samples) // 1600
    if frames < 2:
        return None
    power = np.square(samples[: frames * 1600].reshape(frames, 1600)).mean(1)
    if power.max() < 1e-8:
        return None
    level = np.sqrt(power[power > 1e-3 * power.max()].mean())
    return log_mel(samples * np.float32(0.1 / level)).T.astype(np.float16)


def joined_notes(notes: Sequence[HalfArray], rng: np.random.Generator) -> Iterator[HalfArray]:
    """Short sounds of one source, in random order, in phrases of ten seconds."""
    waiting = [notes[i] for i in rng.permutation(len(notes))]
    while waiting:
        phrase = [waiting.pop()]
        while waiting and sum(map(len, phrase)) < _PHRASE:
            phrase.append(waiting.pop())
        if sum(map(len, phrase)) < 2 * PATCH:
            phrase *= 4
        yield np.concatenate(phrase)


def read_bank(folder: Path) -> tuple[HalfArray, list[Track], list[dict[str, str]]]:
    """Log-mel frames float16 [n, 128] of a bank, one track after another; its tracks; its sources (source, licence,
    package, class).

    Raises:
        InputFileError: it is missing or damaged.
    """
    hint = "make it with python -m training.synthesis.unions"
    try:
        content = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        frames: HalfArray = np.load(folder / "frames.npy", mmap_mode="r")
        tracks = [Track(**{**track, "labels": tuple(track["labels"])}) for track in content["tracks"]]
        sources: list[dict[str, str]] = content["sources"]
    except FileNotFoundError as error:
        raise InputFileError(f"{error.filename}: not found", hint) from error
    except (OSError, EOFError, ValueError, KeyError, TypeError) as error:
        raise InputFileError(f"{folder}: not a bank of sounds: {error}", hint) from error
    if frames.shape != (sum(track.patches for track in tracks) * PATCH, N_MELS):
        raise InputFileError(f"{folder}: frames.npy is not of the tracks in index.json", hint)
    return frames, tracks, sources


class Unions:
    """A supply of mixtures; see the module.

    Args:
        folder: a bank, with the teachers' answers in it.
        music_share: share of the voices that are unlabelled music or songs, at most .9.

    Raises:
        InputFileError: it is missing or damaged.
    """

    def __init__(self, folder: Path, music_share: float = MUSIC_SHARE) -> None:
        shares = {"music": music_share / 2, "song": music_share / 2, **SHARES}
        self._shares = shares | {"instrument": 1 - sum(shares.values())}
        self.frames, tracks, self.sources = read_bank(folder)
        hint = "make them with python -m training.learning.teachers"
        try:
            with np.load(folder / "targets.npz") as stored:
                self._targets = {n: (stored[f"instruments{n}"], stored[f"audioset{n}"]) for n in LENGTHS}
        except FileNotFoundError as error:
            raise InputFileError(f"{error.filename}: not found", hint) from error
        except (OSError, EOFError, ValueError, KeyError, BadZipFile) as error:
            raise InputFileError(f"{folder}: no targets of a bank: {error}", hint) from error
        self._windows = {n: [windows(track, n) for track in tracks] for n in LENGTHS}
        self._first = {n: np.cumsum([0, *map(len, self._windows[n])]) for n in LENGTHS}
        for n in LENGTHS:
            if len(self._targets[n][0]) != self._first[n][-1]:
                raise InputFileError(f"{folder}: the teachers' targets are of other windows", hint)
        self._groups: dict[str, dict[str, list[int]]] = defaultdict(lambda: defaultdict(list))
        for i, track in enumerate(tracks):
            self._groups[track.group][track.source].append(i)
        self._instruments = [name for name in self._groups if name not in ("song", "music", "distractor")]

    def example(self, index: int, rng: np.random.Generator, frames: int) -> Example:
        """A mixture of one to four voices: log-mel [128, frames]; labels and mask [20 + 527], AudioSet's weighing
        less (and nothing where there is a generated noise, which no teacher has labelled)."""
        frames = min(frames, LENGTHS[-1] * PATCH)
        voices = int(rng.choice(4, p=(0.28, 0.32, 0.25, 0.15))) + 1
        total = np.zeros((frames, N_MELS), np.float32)
        absent = np.ones(len(INSTRUMENTS) + CLASSES, np.float32)
        used: set[str] = set()
        for _ in range(voices):
            group = self._group(rng)
            while group in used and rng.random() >= 0.15:
                group = self._group(rng)
            used.add(group)
            power, probabilities = self._excerpt(group, frames, rng)
            gain = 10 ** (rng.uniform(-0.9, 0.0)) if voices > 1 else 1.0
            total += np.float32(gain) * coloured(power, rng)
            absent *= 1 - probabilities
        total = in_a_room(coloured(total, rng), rng)
        level = 10 ** (rng.uniform(-2.9, -0.5)) * self._reference
        total *= np.float32(level)
        if rng.random() < OFFSETS:
            total += np.float32(10 ** rng.uniform(-4.0, 0.0)) * power_of_offset()
        mel = log_of(total).T
        mask = np.ones(len(absent), np.float32)
        mask[len(INSTRUMENTS) :] = 0.0 if "noise" in used else AUDIOSET_WEIGHT
        return Example(np.ascontiguousarray(mel), 1 - absent, mask)

    _reference = 970.0  # mel power of all bands of a track of the bank, times 20

    def _group(self, rng: np.random.Generator) -> str:
        group = str(rng.choice(list(self._shares), p=list(self._shares.values())))
        if group == "noise" or group in self._groups:
            return group
        return self._instruments[rng.integers(len(self._instruments))]

    def _excerpt(self, group: str, frames: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Mel powers [frames, 128] of a voice and the teachers' probabilities of it [20 + 527].

        A stream hears an entry in a window of one or two patches, in which teachers recognise little. So these are
        taught what they recognise in the five patches around, unless the instrument pauses.
        """
        length = next((n for n in LENGTHS if n * PATCH >= frames), LENGTHS[-1])
        if frames < _AROUND * PATCH and group in self._instruments:
            length = _AROUND
        power, probabilities = self._window(group, length, rng)
        first = int(rng.integers(len(power) - frames + 1))
        power = power[first : first + frames]
        decibels = 10 * np.log10(power.sum(1).mean() + 1e-9)  # relative to the frames of the window that sound
        return power, probabilities * np.float32(np.interp(decibels, _INAUDIBLE, (0.0, 1.0)))

    def _window(self, group: str, length: int, rng: np.random.Generator) -> tuple[FloatArray, FloatArray]:
        """Mel powers [T, 128] of a window at one loudness, and the teachers' probabilities of it [20 + 527]."""
        if group == "noise":
            return noise(length * PATCH, rng), np.zeros(len(INSTRUMENTS) + CLASSES, np.float32)
        sources = self._groups[group]
        names = list(sources)
        # Many short sources contain more than one long one.
        weights = np.array([len(sources[name]) for name in names]) ** 0.6
        for _ in range(1000):
            tracks = sources[names[rng.choice(len(names), p=weights / weights.sum())]]
            track = tracks[rng.integers(len(tracks))]
            start, patches = (found := self._windows[length][track])[k := int(rng.integers(len(found)))]
            if patches < length:
                continue
            power = power_of(self.frames[start : start + patches * PATCH])
            loudness = power.sum(1)
            sounding = loudness > 1e-3 * loudness.max()
            if loudness.max() < _SILENCE or sounding.mean() < 0.25:
                continue
            at = self._first[length][track] + k
            probabilities = np.concatenate([answers[at] for answers in self._targets[length]]).astype(np.float32)
            return power / np.float32(loudness[sounding].mean()), probabilities
        raise InputFileError(f"no window of {length} patches in which {group} is recognised", "give longer sounds")


def windows(track: Track, length: int) -> list[tuple[int, int]]:
    """(first frame, patches) of the windows of a track that the teachers get; a short track is one window."""
    if track.patches <= length:
        return [(track.start, track.patches)]
    return [(track.start + k * PATCH, length) for k in range(0, track.patches - length + 1, length)]


def noise(frames: int, rng: np.random.Generator) -> FloatArray:
    """Mel powers [T, 128] of a noise of random colour: steady, in gusts, or of many short strokes, as applause is."""
    knots = rng.normal(0, 1.0, 6)
    colour = 10 ** np.interp(np.arange(N_MELS), np.linspace(0, N_MELS - 1, len(knots)), knots)
    shape = rng.integers(3)
    envelope = np.ones(frames)
    if shape == 1:
        gusts = rng.normal(0, rng.uniform(0.2, 0.8), frames // 50 + 2)
        envelope = 10 ** np.interp(np.arange(frames) / 50, np.arange(len(gusts)), gusts)
    elif shape == 2:
        strokes = (rng.random(frames) < 10 ** rng.uniform(-1.7, 0.0)) * rng.gamma(0.5, 1.0, frames)
        decay = 10 ** (-0.06 / rng.uniform(0.02, 0.3))  # per frame of 10 ms, of a tail of so many seconds to -60 dB
        envelope = lfilter([1.0], [1.0, -decay], strokes) + 0.02 * rng.random()
    power = (envelope[:, None] * colour * rng.gamma(1.5, 1.0, (frames, N_MELS))).astype(np.float32)
    scaled: FloatArray = power / (power.sum(1).mean() + np.float32(1e-9))
    return scaled


@lru_cache(maxsize=1)
def power_of_offset() -> FloatArray:
    """Mel powers [128] of a constant of full scale."""
    return power_of(log_mel(np.ones(SAMPLE_RATE, np.float32))[:, 50])


_SLOPE = np.arange(N_MELS, dtype=np.float32) / (N_MELS - 1) - np.float32(0.5)


def coloured(power: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Mel powers [T, 128] with another tilt (standard deviation 2 dB), now and then shifted by a few bands or without
    treble, so that bandwidth does not identify a source."""
    power = power * (10 ** (rng.normal(0, 0.4) * _SLOPE)).astype(np.float32)
    if rng.random() < 0.3:
        shift = int(rng.integers(-3, 4))
        power = np.roll(power, shift, 1)
        if shift > 0:
            power[:, :shift] = power[:, shift : shift + 1]
        elif shift < 0:
            power[:, shift:] = 0
    if rng.random() < 0.15:
        cut = rng.integers(55, 122)
        power = power * 10 ** -np.clip((np.arange(N_MELS) - cut) * 0.6, 0, 7).astype(np.float32)
    return power


def in_a_room(power: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Mel powers [T, 128] with, now and then, a reverberant tail and a steady noise of any colour."""
    if rng.random() < 0.15:
        decay = 10 ** (-0.06 / rng.uniform(0.2, 1.2))
        tail = lfilter([1.0], [1.0, -decay], power, axis=0)
        power = power + np.float32(0.05 * rng.uniform(0.02, 0.15)) * tail.astype(np.float32)
    if rng.random() < 0.3:
        noise = 10 ** rng.uniform(-6.0, -2.5) / N_MELS * rng.gamma(1.0, 1.0, power.shape)
        power = power + (noise * 10 ** (rng.normal(0, 1.2) * _SLOPE)).astype(np.float32)
    return power


def make_bank(sounds: Path, music: Sequence[Path], to: Path, seed: int = 0, processes: int = 2) -> None:
    """Decode folders of sounds (with `sources.csv`, and `songs.csv` if there are songs) and of unlabelled music (whose
    `sources.csv` may name its licences) into a new folder `to`: frames.npy and index.json.

    Raises:
        InputFileError: nothing there, or something that cannot be read.
        UsageError: `to` is there already.
    """
    rng = np.random.default_rng(seed)
    songs = {}
    if (sounds / "songs.csv").is_file():
        songs = {row["file"]: row for _, row in read_rows(sounds / "songs.csv", ("file", "labels", "complete"))[1]}
    sources = read_sources(sounds)
    jobs = [(source, path) for source in sources for path in source.files]
    found = sorted((path, folder) for folder in music for path in audio_files(folder, deep=True))
    tracks: list[Track] = []
    length = 0
    with exclusive_folder(to) as partial, (partial / "frames.f16").open("wb") as out:

        def keep(mel: HalfArray, group: str, source: str, labels: tuple[str, ...], complete: bool) -> None:
            nonlocal length
            patches = min(len(mel) // PATCH, _LONGEST)
            if patches >= LENGTHS[0]:
                out.write(mel[: patches * PATCH].tobytes())
                tracks.append(Track(length, patches, group, source, labels, complete))
                length += patches * PATCH

        notes: dict[tuple[str, str], list[HalfArray]] = defaultdict(list)
        with worker_processes(processes) as pool:
            paths = [path for _, path in jobs] + [path for path, _ in found]
            longest = [_LONGEST * PATCH / 100 + 1] * len(jobs) + [_MUSIC[1]] * len(found)
            mels = tqdm(pool.map(_decoded, paths, longest, chunksize=16), total=len(paths), unit="file", disable=None)
            for i, mel in enumerate(mels):
                if mel is None:
                    continue
                if i >= len(jobs):
                    path, folder = found[i - len(jobs)]
                    if len(mel) >= _MUSIC[0] * 100:
                        for first in range(0, len(mel), _LONGEST * PATCH):
                            piece = mel[first : first + _LONGEST * PATCH]
                            keep(piece, "music", path.relative_to(folder).parts[0], (), False)
                    continue
                source, path = jobs[i]
                song = songs.get(path.relative_to(sounds).as_posix())
                if song is not None:
                    keep(mel, "song", source.name, tuple(song["labels"].split("|")), song["complete"] == "yes")
                elif len(mel) < _PHRASE // 2:
                    notes[source.instrument, source.name].append(mel)
                else:
                    group = "song" if source.kind == "song" else _group_of(source.instrument)
                    keep(mel, group, source.name, (source.instrument,), source.kind != "song")
        for (instrument, name), each in notes.items():
            for phrase in joined_notes(each, rng):
                keep(phrase, _group_of(instrument), name, (instrument,), True)
        if not tracks:
            raise InputFileError(f"{sounds}: no sound of two seconds or more", "give longer sounds")
        out.close()
        raw = np.memmap(partial / "frames.f16", np.float16, "r", shape=(length, N_MELS))
        np.save(partial / "frames.npy", raw)
        (partial / "frames.f16").unlink()
        names = [{"source": s.name, "licence": s.licence, "package": s.package, "class": s.instrument} for s in sources]
        names += [row for folder in music for row in _music_sources(folder)]
        index = {"seed": seed, "sources": names, "tracks": [asdict(track) for track in tracks]}
        (partial / "index.json").write_text(json.dumps(index), encoding="utf-8")
    hours = length / 100 / 3600
    print(f"{to}: {len(tracks)} tracks, {hours:.1f} h", file=sys.stderr)


def _music_sources(folder: Path) -> list[dict[str, str]]:
    """The rows of a music folder's `sources.csv`, which the cards list too; none if it has no such file."""
    table = folder / "sources.csv"
    if not table.is_file():
        return []
    columns = ("source", "licence", "package")
    return [{column: row[column] for column in columns} | {"class": "music"} for _, row in read_rows(table, columns)[1]]


def _group_of(instrument: str) -> str:
    return "distractor" if instrument in DISTRACTORS else instrument


def _decoded(path: Path, longest: float) -> HalfArray | None:
    return levelled_log_mel(load(path)[: round(longest * SAMPLE_RATE)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sounds", type=Path, required=True, help="folder of sounds with sources.csv")
    parser.add_argument("--music", type=Path, action="append", default=[], help="folder of unlabelled music")
    parser.add_argument("--to", type=Path, default=Path("runs/unions"), help="a new folder (runs/unions)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    make_bank(args.sounds, args.music, args.to, args.seed)


if __name__ == "__main__":
    entry(main)
