"""Labelled recordings on disk as training examples: decoded, augmented, and passed through the common channel; and the
statistics of their labels.
"""

from pathlib import Path

import numpy as np

from instrec_live.models.arrays import FloatArray
from instrec_live.models.logmel import HOP, SAMPLE_RATE, kaldi_banks, log_mel
from instrec_live.training.data.decoded import DecodedClips
from instrec_live.training.data.sounds import full_band, load
from instrec_live.training.data.table import Table
from instrec_live.training.example import Example
from instrec_live.training.learning.batches import mixed_labels
from instrec_live.training.synthesis.channel import channel_of_log

_BAG = 3  # windows of a song


class Recordings:
    """The clips of a table, each once per epoch, in random order.

    The labels of a song (source "songs") hold for all of it, not for each of its windows. It is a bag of windows: an
    example is the sum of some from anywhere in it, in which what sounds somewhere is likely to sound.

    Args:
        table: clips with labels.
        through_channel: process them as all training examples, so that nothing reveals their origin: the bandwidth of
            files with a low sample rate is extended, then the random channel is applied, which sets the level too.
        gain_db: range of a random gain.
        roll: maximum circular shift [s].
        wavmix: share of clips that are mixed with another as samples, by Beta(2, 2) (Koutini et al., Interspeech 2022).
        jitter: move the ends of the mel scale at random, the lower by up to 10 Hz, the upper by up to 1 kHz from 15
            kHz, as PaSST's front end does in training.
        weights: [n]; clips are drawn with replacement in this proportion instead.
        targets: labels and mask [n, classes] in place of the table's.
        cache: folder for the decoded audio, which is then read only once (data/decoded.py).
    """

    def __init__(
        self,
        table: Table,
        through_channel: bool = True,
        gain_db: tuple[float, float] = (-7.0, 6.0),
        roll: float = 0.0,
        wavmix: float = 0.0,
        jitter: bool = False,
        weights: FloatArray | None = None,
        targets: tuple[FloatArray, FloatArray] | None = None,
        seed: int = 0,
        cache: Path | None = None,
    ) -> None:
        read = full_band if through_channel else load
        self._decoded = None if cache is None or not len(table) else DecodedClips(table.paths, cache, read)
        self.table, self.through_channel, self.seed = table, through_channel, seed
        self.labels, self.mask = targets or (table.labels, table.mask)
        self.gain_db, self.roll, self.wavmix, self.jitter = gain_db, roll, wavmix, jitter
        self.chances = None if weights is None else np.asarray(weights, np.float64) / np.sum(weights)
        self._order = (-1, np.arange(0))

    def example(self, index: int, rng: np.random.Generator, frames: int) -> Example:
        """Clip number `index` of the run, or a crop of it, with the labels of the whole clip.

        Raises:
            InputFileError: an unreadable clip.
        """
        place = self._place(index, rng)
        samples, labels, mask = self._clip(place, rng, frames * HOP)
        some = self.table.some[place]
        if rng.random() < self.wavmix:
            second = int(rng.integers(len(self.table)))
            other, *theirs = self._clip(second, rng, frames * HOP)
            share = float(rng.beta(2, 2))
            share = max(share, 1 - share)
            samples = share * samples + (1 - share) * other
            labels, mask = mixed_labels((labels, mask), (theirs[0], theirs[1]), share)
            some = (share * some + (1 - share) * self.table.some[second]).astype(np.float32)
        banks = kaldi_banks(rng.uniform(0, 10), rng.uniform(14_000, 16_000)) if self.jitter else None
        mel = log_mel(samples.astype(np.float32), banks)
        if self.through_channel:
            mel = channel_of_log(mel, rng)
        return Example(mel, labels, mask, real=True, some=some)

    def _place(self, index: int, rng: np.random.Generator) -> int:
        if self.chances is not None:
            return int(rng.choice(len(self.chances), p=self.chances))
        epoch, place = divmod(index, len(self.table))
        if self._order[0] != epoch:
            self._order = epoch, np.random.default_rng((self.seed, epoch)).permutation(len(self.table))
        return int(self._order[1][place])

    def _clip(self, place: int, rng: np.random.Generator, length: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        if self._decoded is not None:
            samples = self._decoded[place]
        else:
            samples = (full_band if self.through_channel else load)(self.table.paths[place])
        if self.roll:
            samples = np.roll(samples, int(rng.uniform(-self.roll, self.roll) * SAMPLE_RATE))
        bag = _BAG if self.table.source[place] == "songs" else 1
        windows = np.zeros((bag, length), np.float32)
        for window in windows:
            start = int(rng.integers(0, max(0, len(samples) - length) + 1))
            part = samples[start : start + length]
            window[: len(part)] = part
        samples = windows.sum(0) / np.float32(np.sqrt(bag))
        gain = np.float32(10 ** (rng.uniform(*self.gain_db) / 20))
        return samples * gain, self.labels[place], self.mask[place]


def counts(table: Table) -> tuple[FloatArray, FloatArray]:
    """(positives, negatives) among the known cells, float32 [20] each."""
    positives = np.where(table.mask > 0, table.labels, 0).sum(0)
    return positives.astype(np.float32), (table.mask.sum(0) - positives).astype(np.float32)


def positive_weights(table: Table, bounds: tuple[float, float]) -> FloatArray:
    """Ratio of negatives to positives, within bounds; float32 [20]."""
    positives, negatives = counts(table)
    return np.clip(negatives / np.maximum(positives, 1), *bounds).astype(np.float32)


def log_odds(table: Table) -> FloatArray:
    """log((positives + 1) / (negatives + 1)), float32 [20]: an initial value for a network's last bias."""
    positives, negatives = counts(table)
    return np.asarray(np.log((positives + 1) / (negatives + 1)), np.float32)
