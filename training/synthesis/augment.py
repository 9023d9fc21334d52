"""Augmentations of samples (rooms, saturation, tape noise, codecs) and of log-mels (SpecAugment)."""

import io
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray

from instrec_live.models.arrays import FloatArray
from instrec_live.models.logmel import SAMPLE_RATE
from instrec_live.training.synthesis.channel import draw_band, filtered

# Container, codec, sample rate (Opus does not support 32 kHz), and libsndfile's range of audible compression levels.
CODECS = (
    ("OGG", "VORBIS", SAMPLE_RATE, (0.7, 1.0)),
    ("MP3", "MPEG_LAYER_III", SAMPLE_RATE, (0.6, 0.95)),
    ("OGG", "OPUS", 48_000, (0.75, 0.93)),
)
CODEC_CHANCES = (0.5, 0.4, 0.1)  # Opus takes four times as long as Vorbis


def transpose(samples: FloatArray, semitones: float) -> FloatArray:
    """Change pitch and tempo together, as a tape speed does."""
    rate = SAMPLE_RATE / 2 ** (semitones / 12)
    return np.asarray(soxr.resample(samples, SAMPLE_RATE, rate, quality="MQ"), np.float32)


def _convolved(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    from scipy.signal import fftconvolve  # lazy: slow to load, and not needed for --help

    return np.asarray(fftconvolve(one, other))


def reverberate(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Add reverberation of exponentially decaying noise, RT60 0.2–1.6 s, 4–25 dB below the direct sound."""
    seconds = rng.uniform(0.2, 1.6)
    tail = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    response = rng.standard_normal(len(tail)) * 10 ** (-3 * tail / seconds)
    response[: int(rng.uniform(0.001, 0.02) * SAMPLE_RATE)] = 0
    response *= 10 ** (rng.uniform(-25, -4) / 20) / np.linalg.norm(response)
    wet = _convolved(samples, response.astype(np.float32))[: len(samples)]
    return np.asarray(samples + wet, np.float32)


def saturate(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Saturate with tanh, driven 0–12 dB."""
    drive = 10 ** (rng.uniform(0, 12) / 20) / (np.abs(samples).max() + 1e-9)
    return np.asarray(np.tanh(samples * drive) / drive, np.float32)


def limit_band(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Limit the band as a low sample rate (8 to 22 kHz), a codec or a telephone does."""
    return filtered(samples, draw_band(rng))


def tape_noise(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Add tape hiss or vinyl crackle, 25–55 dB below the sound."""
    level = np.sqrt(np.mean(np.square(samples)))
    if rng.random() < 0.5:
        noise = np.diff(rng.standard_normal(len(samples) + 1))
    else:
        noise = np.zeros(len(samples))
        clicks = rng.integers(0, len(samples), int(rng.uniform(2, 40) * len(samples) / SAMPLE_RATE))
        noise[clicks] = rng.standard_normal(len(clicks)) * rng.pareto(2.0, len(clicks))
        noise = _convolved(noise, rng.standard_normal(48) * np.exp(-np.arange(48) / rng.uniform(2, 12)))
    noise = noise[: len(samples)] / np.sqrt(np.mean(np.square(noise)) + 1e-20)
    return np.asarray(samples + noise * level * 10 ** (-rng.uniform(25, 55) / 20), np.float32)


def codec(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Encode and decode with Ogg Vorbis, MP3 or Opus at a low quality, in memory; the result is in sync with the input.

    Args:
        samples: float32 [n], mono at 32 kHz.

    Returns:
        float32 [n].
    """
    container, name, rate, (low, high) = CODECS[int(rng.choice(len(CODECS), p=CODEC_CHANCES))]
    return through_codec(samples, container, name, rate, float(rng.uniform(low, high)))


def through_codec(samples: FloatArray, container: str, name: str, rate: int, compression: float) -> FloatArray:
    """One codec at one of libsndfile's compression levels, 0 … 1; float32 [n]."""
    file, peak = io.BytesIO(), max(1.0, float(np.abs(samples).max(initial=0.0)) * 1.1)  # MP3 clips at full scale
    quiet = samples / peak
    sent = quiet if rate == SAMPLE_RATE else soxr.resample(quiet, SAMPLE_RATE, rate)
    soundfile.write(file, sent, rate, format=container, subtype=name, compression_level=compression)
    file.seek(0)
    got = soundfile.read(file, dtype="float32")[0] * np.float32(peak)
    got = got if rate == SAMPLE_RATE else soxr.resample(got, rate, SAMPLE_RATE)
    return np.pad(got[: len(samples)], (0, max(0, len(samples) - len(got)))).astype(np.float32)


def spec_augment(mels: FloatArray, rng: np.random.Generator, bands: int = 24, frames: int = 60) -> None:
    """Mask one range of bands and one of frames in place (Park et al., Interspeech 2019); mels [B, 128, T]."""
    for mel in mels:
        fill = mel.mean()
        for axis, widest in ((0, bands), (1, frames)):
            width = int(rng.integers(0, widest + 1))
            start = int(rng.integers(0, mel.shape[axis] - width + 1))
            (mel[start : start + width] if axis == 0 else mel[:, start : start + width])[:] = fill
