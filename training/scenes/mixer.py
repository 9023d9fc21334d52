"""Polyphonic scenes with exact labels, mixed on the fly from phrases (and from real, unlabelled music) as power mels.

A scene is a crop of 2–10 s in which one to six instruments play, enter and leave at random, over noise, through a
random microphone, at a random level. A label is 1 where the instrument is audible, 0 where it is not there, and
masked where nobody can say: faint in the mix, a song's other instruments, real music's all.
"""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.errors import InputFileError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.training.augment import noise_mel, random_response, spec_augment

FloatArray = NDArray[np.float32]

POLYPHONY = (0.04, 0.32, 0.24, 0.18, 0.12, 0.06, 0.04)  # chance of 0, 1, … 6 instruments
FAINT_DB, ABSENT_DB = -18.0, -35.0  # of the loudest part: below the first a label is masked, below the second 0
MIN_SOUNDING = 30  # frames, 0.3 s


def power_of(log_mels: NDArray[np.float16] | FloatArray) -> FloatArray:
    """Undo the front end's logarithm: log-mels -> mel powers, float32."""
    return np.maximum(np.exp(log_mels.astype(np.float32) * 5.0 - 4.5) - 1e-5, 0.0)


def log_of(power: FloatArray) -> FloatArray:
    return ((np.log(power + 1e-5) + 4.5) / 5.0).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Batch:
    """log_mel float32 [B, 128, T]; labels and mask float32 [B, 20]; real bool [B]: has real music in it."""

    log_mel: FloatArray
    labels: FloatArray
    mask: FloatArray
    real: NDArray[np.bool_]


class Phrases:
    """The rendered phrases on disk (see training.phrases)."""

    def __init__(self, folder: Path) -> None:
        index_file = folder / "index.json"
        if not index_file.is_file():
            raise InputFileError(f"{index_file}: not found", "make it with python -m training.phrases")
        index = json.loads(index_file.read_text())
        self.mels = np.load(folder / "mels.npy", mmap_mode="r")
        self.sources = index["sources"]
        self.rows = [[s for s in self.sources if s["instrument"] == name] for name in INSTRUMENTS]
        counts = np.array([sum(s["count"] for s in rows) for rows in self.rows], float)
        # Phrases were already shared out by diversity; the root keeps rare instruments in play.
        self.chances = np.sqrt(counts) / np.sqrt(counts).sum()

    def draw(self, instrument: int, rng: np.random.Generator) -> tuple[FloatArray, bool]:
        """A phrase's mel powers [128, 600], and whether it is from a song."""
        rows = self.rows[instrument]
        counts = np.array([row["count"] for row in rows], float)
        row = rows[int(rng.choice(len(rows), p=counts / counts.sum()))]
        return power_of(self.mels[row["first"] + int(rng.integers(row["count"]))]), row["kind"] == "song"


class Scenes:
    """An endless, seeded supply of batches: the same (seed, step) always gives the same batch.

    Args:
        phrases: where the instruments come from.
        music: log-mels float16 [N, 128, 1000] of real music without labels, or None.
        music_share: how many scenes are real music (some of them with an instrument laid on top).
        polyphony: chances of 0, 1, … instruments.
    """

    def __init__(
        self,
        phrases: Phrases,
        music: NDArray[np.float16] | None = None,
        music_share: float = 0.25,
        polyphony: tuple[float, ...] = POLYPHONY,
        seed: int = 0,
    ) -> None:
        self.phrases, self.music, self.seed = phrases, music, seed
        self.music_share = music_share if music is not None else 0.0
        self.polyphony = np.array(polyphony) / sum(polyphony)

    def batch(self, step: int, size: int, seconds: tuple[float, float] = (2.0, 6.0), augment: bool = True) -> Batch:
        """`size` scenes of one random length from the range `seconds`, short ones being likelier (and cheaper)."""
        rng = np.random.default_rng((self.seed, step))
        shortest, longest = seconds
        frames = round(100 * (shortest + (longest - shortest) * rng.random() ** 3))
        scenes = [self.scene(rng, frames) for _ in range(size)]
        mels = np.stack([scene[0] for scene in scenes])
        if augment:
            spec_augment(mels, rng)
        labels, masks = np.stack([scene[1] for scene in scenes]), np.stack([scene[2] for scene in scenes])
        return Batch(mels, labels, masks, np.array([scene[3] for scene in scenes]))

    def scene(self, rng: np.random.Generator, frames: int) -> tuple[FloatArray, FloatArray, FloatArray, bool]:
        """log-mel float32 [128, frames], labels [20], mask [20], whether it has real music in it."""
        real = rng.random() < self.music_share
        mix = np.zeros((128, frames), np.float32)
        labels, mask = np.zeros(len(INSTRUMENTS), np.float32), np.ones(len(INSTRUMENTS), np.float32)
        count = int(rng.choice(len(self.polyphony), p=self.polyphony))
        if real:
            mask[:] = 0
            mix += self._excerpt(rng, frames)
            count = int(rng.random() < 0.3)
        chosen = rng.choice(len(INSTRUMENTS), size=count, replace=False, p=self.phrases.chances)
        loudest = mix.sum(0).mean() if real else 0.0
        parts = []
        for instrument in chosen:
            part, song = self._part(int(instrument), rng, frames)
            part *= 10 ** (rng.uniform(-14, 0) / 10)
            parts.append((int(instrument), part, song))
            loudest = max(loudest, _sounding_power(part))
        for _, part, song in parts:
            mix += part
            if song:
                mask[:] = 0
        for instrument, part, _ in parts:  # after the songs' masks: what is known to sound stays known
            labels[instrument], mask[instrument] = _label(part, loudest)
        return self._room(mix, rng, empty=not parts and not real), labels, mask, real

    def _part(self, instrument: int, rng: np.random.Generator, frames: int) -> tuple[FloatArray, bool]:
        """One instrument's playing in the scene: it may enter late, leave early, and go on into a second phrase."""
        part, song = self.phrases.draw(instrument, rng)
        begin = int(rng.integers(0, max(1, part.shape[1] - frames) + 1)) if part.shape[1] > frames else 0
        part = part[:, begin : begin + frames]
        while part.shape[1] < frames:
            more, other = self.phrases.draw(instrument, rng)
            part, song = np.concatenate([part, more], 1)[:, :frames], song or other
        part *= random_response(rng) if rng.random() < 0.5 else 1.0
        if rng.random() < 0.3:
            part[:, : int(rng.uniform(0, 0.85) * frames)] = 0
        elif rng.random() < 0.4:
            part[:, int(rng.uniform(0.15, 1) * frames) :] = 0
        return part, song

    def _excerpt(self, rng: np.random.Generator, frames: int) -> FloatArray:
        assert self.music is not None
        clip = self.music[int(rng.integers(len(self.music)))]
        start = int(rng.integers(0, clip.shape[1] - frames + 1))
        return power_of(clip[:, start : start + frames])

    def _room(self, mix: FloatArray, rng: np.random.Generator, empty: bool) -> FloatArray:
        """Noise, microphone, level; now and then a window that is not yet full."""
        level = _sounding_power(mix)
        if empty:
            mix = noise_mel(rng, mix.shape[1]) * np.float32(rng.random() < 0.8)
        elif rng.random() < 0.6:
            mix = mix + noise_mel(rng, mix.shape[1]) * (level / 128 * 10 ** (-rng.uniform(12, 55) / 10))
        if rng.random() < 0.7:
            mix = mix * random_response(rng)
        mix = mix * np.float32(10 ** (np.clip(rng.normal(-4, 8), -35, 8) / 10))
        if rng.random() < 0.05:
            mix[:, : int(rng.uniform(0, 0.7) * mix.shape[1])] = 0
        return log_of(mix)


def _sounding_power(part: FloatArray) -> float:
    """Mean power of the frames within 30 dB of the loudest."""
    power = part.sum(0)
    top = power.max(initial=0.0)
    return float(power[power > top * 1e-3].mean()) if top > 0 else 0.0


def _label(part: FloatArray, loudest: float) -> tuple[float, float]:
    """(label, mask) of a part beside the loudest one."""
    power = part.sum(0)
    if (power > loudest * 10 ** (FAINT_DB / 10)).sum() >= MIN_SOUNDING:
        return 1.0, 1.0
    if (power > loudest * 10 ** (ABSENT_DB / 10)).sum() < MIN_SOUNDING // 3:
        return 0.0, 1.0
    return 0.0, 0.0
