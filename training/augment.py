"""What rooms, microphones and machines do to sound: on samples (in phrases) and on power mels (in scenes)."""

import numpy as np
import soxr
from numpy.typing import NDArray
from scipy.signal import fftconvolve

from instrec_live.models.logmel import MAX_HZ, N_MELS, SAMPLE_RATE

FloatArray = NDArray[np.float32]


def transpose(samples: FloatArray, semitones: float) -> FloatArray:
    """Play faster or slower, pitch and tempo together, as tape does."""
    rate = SAMPLE_RATE / 2 ** (semitones / 12)
    return soxr.resample(samples, SAMPLE_RATE, rate, quality="MQ").astype(np.float32)


def reverberate(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A room of noise that decays exponentially, RT60 0.2–1.6 s, 4–25 dB below the direct sound."""
    seconds = rng.uniform(0.2, 1.6)
    tail = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    response = rng.standard_normal(len(tail)) * 10 ** (-3 * tail / seconds)
    response[: int(rng.uniform(0.001, 0.02) * SAMPLE_RATE)] = 0
    response *= 10 ** (rng.uniform(-25, -4) / 20) / np.linalg.norm(response)
    wet = fftconvolve(samples, response)[: len(samples)]
    return (samples + wet).astype(np.float32)


def saturate(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A driven stage: tanh, 0–12 dB over its knee."""
    drive = 10 ** (rng.uniform(0, 12) / 20) / (np.abs(samples).max() + 1e-9)
    return (np.tanh(samples * drive) / drive).astype(np.float32)


def random_response(rng: np.random.Generator) -> FloatArray:
    """A microphone's or a codec's power response, float32 [128, 1]: tilt, two bumps, often a low- or high-pass."""
    position = np.linspace(-1, 1, N_MELS)
    gain_db = rng.normal(0, 3) * position
    for _ in range(2):
        gain_db += rng.normal(0, 3) * np.exp(-(((position - rng.uniform(-1, 1)) / rng.uniform(0.1, 0.6)) ** 2))
    hz = 700 * (np.exp(np.linspace(0, np.log(1 + MAX_HZ / 700), N_MELS)) - 1)
    if rng.random() < 0.5:
        cutoff, slope = np.exp(rng.uniform(np.log(3500), np.log(16000))), rng.uniform(24, 120)
        gain_db -= slope * np.maximum(0, np.log2((hz + 1) / cutoff))
    if rng.random() < 0.3:
        cutoff, slope = np.exp(rng.uniform(np.log(40), np.log(250))), rng.uniform(6, 24)
        gain_db -= slope * np.maximum(0, np.log2(cutoff / (hz + 1)))
    return (10 ** (np.maximum(gain_db, -90) / 10)).astype(np.float32)[:, None]


def noise_mel(rng: np.random.Generator, frames: int) -> FloatArray:
    """Power mels of steady noise between white and brown, float32 [128, frames], mean power 1."""
    hz = 700 * (np.exp(np.linspace(0, np.log(1 + MAX_HZ / 700), N_MELS)) - 1) + 30
    # Mel bands widen with frequency, and the front end's pre-emphasis lifts the highs by about f².
    shape = hz ** (rng.uniform(-2, 0) + 2.0) * (hz + 700)
    bursts = rng.gamma(2.0, 0.5, (N_MELS, frames)) * random_response(rng)
    if rng.random() < 0.3:  # rustle: the level wanders
        walk = np.cumsum(rng.normal(0, 0.4, frames // 10 + 2))
        bursts = bursts * 10 ** (np.interp(np.arange(frames) / 10, np.arange(len(walk)), walk) / 10)
    mel = shape[:, None] * bursts
    return (mel / mel.mean()).astype(np.float32)


def spec_augment(mels: FloatArray, rng: np.random.Generator, bands: int = 24, frames: int = 60) -> None:
    """Blank one stripe of bands and one of frames in place (Park et al., Interspeech 2019); mels [B, 128, T]."""
    for mel in mels:
        fill = mel.mean()
        for axis, widest in ((0, bands), (1, frames)):
            width = int(rng.integers(0, widest + 1))
            start = int(rng.integers(0, mel.shape[axis] - width + 1))
            (mel[start : start + width] if axis == 0 else mel[:, start : start + width])[:] = fill
