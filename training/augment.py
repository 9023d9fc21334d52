"""What rooms, machines and files do to sound (on samples, in phrases), and SpecAugment (on log-mels)."""

import io
from itertools import pairwise
from typing import Any

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from instrec_live.models.logmel import SAMPLE_RATE
from instrec_live.training.channel import draw_band, filtered

FloatArray = NDArray[np.float32]

# Container, codec, sampling rate (Opus knows no 32 kHz), and libsndfile's compression levels that are heard.
CODECS = (
    ("OGG", "VORBIS", SAMPLE_RATE, (0.7, 1.0)),
    ("MP3", "MPEG_LAYER_III", SAMPLE_RATE, (0.6, 0.95)),
    ("OGG", "OPUS", 48_000, (0.75, 0.93)),
)
CODEC_CHANCES = (0.5, 0.4, 0.1)  # Opus takes four times as long as Vorbis


def transpose(samples: FloatArray, semitones: float) -> FloatArray:
    """Play faster or slower, pitch and tempo together, as tape does."""
    rate = SAMPLE_RATE / 2 ** (semitones / 12)
    return soxr.resample(samples, SAMPLE_RATE, rate, quality="MQ").astype(np.float32)


def _convolved(one: NDArray[Any], other: NDArray[Any]) -> NDArray[Any]:
    from scipy.signal import fftconvolve  # slow to load, and --help does without

    return np.asarray(fftconvolve(one, other))


def reverberate(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A room of noise that decays exponentially, RT60 0.2–1.6 s, 4–25 dB below the direct sound."""
    seconds = rng.uniform(0.2, 1.6)
    tail = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    response = rng.standard_normal(len(tail)) * 10 ** (-3 * tail / seconds)
    response[: int(rng.uniform(0.001, 0.02) * SAMPLE_RATE)] = 0
    response *= 10 ** (rng.uniform(-25, -4) / 20) / np.linalg.norm(response)
    wet = _convolved(samples, response.astype(np.float32))[: len(samples)]
    return (samples + wet).astype(np.float32)


def saturate(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A driven stage: tanh, 0–12 dB over its knee."""
    drive = 10 ** (rng.uniform(0, 12) / 20) / (np.abs(samples).max() + 1e-9)
    return (np.tanh(samples * drive) / drive).astype(np.float32)


def limit_band(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """A low sampling rate (8 to 22 kHz), a dull codec, or a telephone."""
    return filtered(samples, draw_band(rng))


def age(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """Tape's hiss or a record's crackle, 25–55 dB below the sound."""
    level = np.sqrt(np.mean(np.square(samples)))
    if rng.random() < 0.5:
        noise = np.diff(rng.standard_normal(len(samples) + 1))
    else:
        noise = np.zeros(len(samples))
        clicks = rng.integers(0, len(samples), int(rng.uniform(2, 40) * len(samples) / SAMPLE_RATE))
        noise[clicks] = rng.standard_normal(len(clicks)) * rng.pareto(2.0, len(clicks))
        noise = _convolved(noise, rng.standard_normal(48) * np.exp(-np.arange(48) / rng.uniform(2, 12)))
    noise = noise[: len(samples)] / np.sqrt(np.mean(np.square(noise)) + 1e-20)
    return (samples + noise * level * 10 ** (-rng.uniform(25, 55) / 20)).astype(np.float32)


def codec(samples: FloatArray, rng: np.random.Generator) -> FloatArray:
    """There and back through Ogg Vorbis, MP3 or Opus at a low quality, in memory; in time with what went in.

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


def extend_bandwidth(samples: FloatArray, cutoff: float, rng: np.random.Generator) -> FloatArray:
    """Go on above the cut-off of a sound that was sampled at a low rate, so that its empty treble tells nothing.

    What is added are overtones of its own upper band (rectified, so they come and go with it), shaped to go on with
    the slope at which the spectrum falls below the cut-off, give or take a few dB (as in spectral band replication,
    Dietz et al., AES 112, 2002).

    Args:
        samples: float32 [n], mono at 32 kHz, empty above the cut-off.
        cutoff: Hz, a little under half of the rate it was sampled at.

    Returns:
        float32 [n].
    """
    size = next_fast_len(len(samples) + 3200, real=True)  # 0.1 s of silence, lest the end rings into the beginning
    spectrum = rfft(samples, size)
    hz = np.arange(len(spectrum)) * (SAMPLE_RATE / size)
    upper = irfft(np.where((hz > cutoff / 3) & (hz < cutoff), spectrum, 0), size)
    overtones = rfft(np.abs(upper), size)
    low, high = (
        _level_db(spectrum, hz, 0.35 * cutoff, 0.6 * cutoff),
        _level_db(spectrum, hz, 0.6 * cutoff, 0.95 * cutoff),
    )
    slope = np.clip((high - low) / np.log2(0.755 / 0.458), -24, -4) + rng.normal(0, 3)  # dB per octave
    offset = high + rng.normal(-1, 3)
    edges = cutoff * 2 ** np.arange(0, np.log2(SAMPLE_RATE / 2 / cutoff) + 0.2, 0.25)
    centres = np.sqrt(edges[:-1] * edges[1:])
    there = np.array([_level_db(overtones, hz, a, b) for a, b in pairwise(edges)])
    wanted = offset + slope * np.log2(centres / (0.755 * cutoff))
    gain = 10 ** (np.interp(hz, centres, wanted - there) / 20)
    rise = np.clip((hz - 0.96 * cutoff) / (0.06 * cutoff), 0, 1)
    return (samples + irfft(overtones * gain * rise, size)[: len(samples)]).astype(np.float32)


def _level_db(spectrum: NDArray[np.complex64], hz: NDArray[np.float64], low: float, high: float) -> float:
    """Mean power between two frequencies, dB."""
    part = spectrum[(hz >= low) & (hz < high)]
    return float(10 * np.log10(np.mean(part.real**2 + part.imag**2) + 1e-20)) if len(part) else -200.0


def spec_augment(mels: FloatArray, rng: np.random.Generator, bands: int = 24, frames: int = 60) -> None:
    """Blank one stripe of bands and one of frames in place (Park et al., Interspeech 2019); mels [B, 128, T]."""
    for mel in mels:
        fill = mel.mean()
        for axis, widest in ((0, bands), (1, frames)):
            width = int(rng.integers(0, widest + 1))
            start = int(rng.integers(0, mel.shape[axis] - width + 1))
            (mel[start : start + width] if axis == 0 else mel[:, start : start + width])[:] = fill
