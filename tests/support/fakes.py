"""Fakes with the real interfaces: a tagger that measures loudness per band, and a source that reads an array."""

import time
from collections.abc import Mapping, Sequence

import numpy as np

from instrec_live.models.arrays import FloatArray
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import StreamingLogMel
from instrec_live.models.streaming import Window


class FakeTagger:
    """Logits that depend on every frame of the log-mel: means of 20 groups of mel bands, other by model."""

    def __init__(self, models: tuple[str, ...] = ("passt", "cbam_cnn", "ms_crnn"), sleep: float = 0.0) -> None:
        self.models, self.sleep = models, sleep
        self.instruments = INSTRUMENTS
        self.engine_name = "fake 1.0 cpu"
        self.sha256s = dict.fromkeys(models, "0" * 64)
        self.weights = dict.fromkeys(models, 1.0)
        self.thresholds = np.full(20, 0.5, np.float32)
        self.lengths: list[int] = []

    def thresholds_of(self, model: str) -> FloatArray:
        return np.full(20, 0.4 + 0.1 * self.models.index(model), np.float32)

    def calibrated(self, log_mel: FloatArray) -> dict[str, FloatArray]:
        self.lengths.append(log_mel.shape[1])
        time.sleep(self.sleep)
        bands = log_mel[:120].reshape(20, 6, -1).mean(axis=(1, 2), dtype=np.float64)
        return {name: (4 * bands + i / 10).astype(np.float32) for i, name in enumerate(self.models)}

    def follow(self, mel: StreamingLogMel, hop: int) -> "FakeInference":
        return FakeInference(self, mel)

    @staticmethod
    def prepare(wanted: Sequence[tuple["FakeInference", Sequence[Window]]]) -> None:
        pass

    def ensemble(self, calibrated: Mapping[str, FloatArray]) -> FloatArray:
        return np.mean(list(calibrated.values()), axis=0, dtype=np.float32)


class FakeInference:
    """Computes every window in full, whatever was computed before."""

    def __init__(self, tagger: FakeTagger, mel: StreamingLogMel) -> None:
        self._tagger, self._mel = tagger, mel

    def calibrated(self, end: int, length: int, whole: bool = True) -> dict[str, FloatArray]:
        return self._tagger.calibrated(self._mel.window(end, length))

    def prepare(self, windows: Sequence[Window]) -> None:
        pass


class ArraySource:
    """A mono signal in blocks; fails with `error` once `error_at` samples are read."""

    def __init__(
        self,
        samples: FloatArray,
        rate: int = 32_000,
        blocks: int = 3_200,
        live: bool = False,
        error: Exception | None = None,
        error_at: int = 0,
    ) -> None:
        self.label, self.rate, self.channels, self.live = "array", rate, 1, live
        self.duration: float | None = None if live else len(samples) / rate
        self.xruns = self.bad_samples = 0
        self.closed = False
        self._samples, self._at = np.asarray(samples, np.float32), 0
        self._blocks = blocks
        self._error, self._error_at = error, error_at

    def read(self) -> FloatArray | None:
        if self._error is not None and self._at >= self._error_at:
            raise self._error
        if self.closed or self._at >= len(self._samples):
            return None
        size = self._blocks
        block = self._samples[self._at : self._at + size, None]
        self._at += len(block)
        return block

    def close(self) -> None:
        self.closed = True


def music(seconds: float, rate: int = 32_000, seed: int = 0) -> FloatArray:
    """Notes that come and go, with a little noise, float32 [seconds * rate]."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * rate)) / rate
    sound = 0.01 * rng.standard_normal(len(t))
    for onset in np.arange(0, seconds, 0.7):
        hz, length = 110 * 2 ** rng.uniform(0, 5), rng.uniform(0.3, 2.5)
        on = (t >= onset) & (t < onset + length)
        sound[on] += 0.2 * np.sin(2 * np.pi * hz * t[on])
    return sound.astype(np.float32)
