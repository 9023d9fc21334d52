"""Labelled recordings on disk as training examples: decoded, moved about, and heard through the common channel."""

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.logmel import HOP, SAMPLE_RATE, kaldi_banks, log_mel
from instrec_live.training.channel import channel_of_log
from instrec_live.training.datasets.sounds import full_band, load
from instrec_live.training.datasets.table import Table
from instrec_live.training.example import Example
from instrec_live.training.learning.feed import mixed_labels

FloatArray = NDArray[np.float32]


class Recordings:
    """The clips of a table, each once an epoch in an order of its own.

    Args:
        table: clips with labels.
        through_channel: hear them as all training examples are heard, so that none betrays where it is from: what was
            sampled low goes on above its cut-off, then comes the random channel, which sets the level too.
        gain_db: range of a random gain.
        roll: greatest shift [s] around the clip's end.
        wavmix: share of clips that are mixed with another as samples, by Beta(2, 2) (Koutini et al., Interspeech 2022).
        jitter: move the ends of the mel scale at random, by up to 10 Hz below and 1 kHz above and below 15 kHz, as
            PaSST's front end does in training.
        weights: [n]; clips are drawn with replacement in this proportion instead, e.g. synthetic ones more often.
        targets: labels and mask [n, classes] other than the table's.
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
    ) -> None:
        self.table, self.through_channel, self.seed = table, through_channel, seed
        self.labels, self.mask = targets or (table.labels, table.mask)
        self.gain_db, self.roll, self.wavmix, self.jitter = gain_db, roll, wavmix, jitter
        self.chances = None if weights is None else np.asarray(weights, np.float64) / np.sum(weights)
        self._order = (-1, np.arange(0))

    def example(self, index: int, rng: np.random.Generator, frames: int) -> Example:
        """Clip number `index` of the run, or a crop of it. Its labels are the whole clip's.

        Raises:
            InputFileError: an unreadable clip.
        """
        place = self._place(index, rng)
        samples, labels, mask = self._clip(place, rng, frames * HOP)
        if rng.random() < self.wavmix:
            other, *theirs = self._clip(int(rng.integers(len(self.table))), rng, frames * HOP)
            share = float(rng.beta(2, 2))
            share = max(share, 1 - share)
            samples = share * samples + (1 - share) * other
            labels, mask = mixed_labels((labels, mask), (theirs[0], theirs[1]), share)
        banks = kaldi_banks(rng.uniform(0, 10), rng.uniform(14_000, 16_000)) if self.jitter else None
        mel = log_mel(samples.astype(np.float32), banks)
        if self.through_channel:
            mel = channel_of_log(mel, rng)
        return Example(mel, labels, mask, real=True)

    def _place(self, index: int, rng: np.random.Generator) -> int:
        if self.chances is not None:
            return int(rng.choice(len(self.chances), p=self.chances))
        epoch, place = divmod(index, len(self.table))
        if self._order[0] != epoch:
            self._order = epoch, np.random.default_rng((self.seed, epoch)).permutation(len(self.table))
        return int(self._order[1][place])

    def _clip(self, place: int, rng: np.random.Generator, length: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        samples = (full_band if self.through_channel else load)(self.table.paths[place])
        if self.roll:
            samples = np.roll(samples, int(rng.uniform(-self.roll, self.roll) * SAMPLE_RATE))
        start = int(rng.integers(0, max(0, len(samples) - length) + 1))
        samples = samples[start : start + length]
        samples = np.pad(samples, (0, length - len(samples)))
        gain = np.float32(10 ** (rng.uniform(*self.gain_db) / 20))
        return samples * gain, self.labels[place], self.mask[place]
