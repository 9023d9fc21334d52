"""The random recording channel of every training example, synthetic or recorded: room noise, a microphone, a level,
hiss, a band limit.

It is the last stage and the same for all examples, so that bandwidth, noise floor and peak level do not reveal the
origin of an example. One random draw can be applied to power mels or to samples.
"""

from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import irfft, next_fast_len, rfft

from instrec_live.models.arrays import DoubleArray, FloatArray
from instrec_live.models.logmel import (
    MAX_HZ,
    N_FFT,
    N_MELS,
    PRE_EMPHASIS,
    SAMPLE_RATE,
    WIN_LENGTH,
    log_mel,
    mel_banks,
)

CENTRES = 700 * np.expm1(np.linspace(0, np.log1p(MAX_HZ / 700), N_MELS + 2)[1:-1])  # of the mel bands, Hz
LIMITS = (4_000.0, 5_500.0, 8_000.0, 11_000.0)  # of sound sampled at 8, 11, 16 and 22 kHz, Hz


def power_of(log_mels: NDArray[np.float16] | FloatArray) -> FloatArray:
    """Undo the front end's logarithm: log-mels of any shape -> mel powers, float32."""
    if log_mels.dtype == np.float16:
        return np.asarray(_powers_of_half()[log_mels.view(np.uint16)])
    power = np.exp(log_mels.astype(np.float32) * np.float32(5.0) - np.float32(4.5)) - np.float32(1e-5)
    return np.asarray(np.maximum(power, 0.0), np.float32)


@lru_cache(maxsize=1)
def _powers_of_half() -> FloatArray:
    """The mel power of each of the 65,536 float16 values; 0 for NaN and for values out of range."""
    halves = np.arange(1 << 16, dtype=np.uint16).view(np.float16).astype(np.float32)
    return power_of(np.where(np.abs(halves) < 18, halves, -18).astype(np.float32))


def log_of(power: FloatArray) -> FloatArray:
    """The front end's logarithm: mel powers of any shape -> log-mels, float32."""
    return np.asarray((np.log(power + np.float32(1e-5)) + np.float32(4.5)) / np.float32(5.0), np.float32)


def mean_square(power: FloatArray) -> FloatArray:
    """The mean square of the samples under each frame, from its mel powers [128, T]: float32 [T].

    The triangular filters sum to 1 in every bin, so Parseval's theorem holds over bands as over bins; the pre-emphasis
    is compensated band by band.
    """
    return np.asarray(_weights() @ power)


@lru_cache(maxsize=1)
def _weights() -> FloatArray:
    return (2 / (N_FFT * _window_energy() * _emphasis(CENTRES))).astype(np.float32)


def _window_energy() -> float:
    return float(np.square(np.hanning(WIN_LENGTH)).sum())


def _emphasis(hz: DoubleArray) -> DoubleArray:
    """Power gain of the front end's pre-emphasis; rumble below 60 Hz counts as much as at 60 Hz."""
    turn = 2 * np.pi * np.maximum(hz, 60.0) / SAMPLE_RATE
    return np.asarray(1 - 2 * PRE_EMPHASIS * np.cos(turn) + PRE_EMPHASIS**2)


def sounding(mean_squares: FloatArray) -> float:
    """Mean power of the frames [T] within 30 dB of the loudest."""
    top = mean_squares.max(initial=0.0)
    return float(mean_squares[mean_squares > top * 1e-3].mean()) if top > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Response:
    """A frequency response: a tilt, bumps, a high-pass and a low-pass.

    Attributes:
        tilt: dB per octave about 1 kHz.
        bumps: (centre Hz, width in octaves, dB).
        high_pass, low_pass: (corner Hz, dB per octave), or None.
    """

    tilt: float = 0.0
    bumps: tuple[tuple[float, float, float], ...] = ()
    high_pass: tuple[float, float] | None = None
    low_pass: tuple[float, float] | None = None

    def gain(self, hz: DoubleArray) -> DoubleArray:
        """Power gain at frequencies of any shape, none below -90 dB."""
        octaves = np.log2(np.maximum(hz, 20.0) / 1000)
        db = self.tilt * octaves
        for centre, width, height in self.bumps:
            db += height * np.exp(-(((octaves - np.log2(centre / 1000)) / width) ** 2))
        if self.high_pass:
            db -= self.high_pass[1] * np.maximum(0, np.log2(self.high_pass[0] / 1000) - octaves)
        if self.low_pass:
            db -= self.low_pass[1] * np.maximum(0, octaves - np.log2(self.low_pass[0] / 1000))
        return np.asarray(10 ** (np.maximum(db, -90) / 10))


def draw_microphone(rng: np.random.Generator) -> Response:
    """A random microphone and position: a tilt, two bumps, sometimes a high-pass."""
    bumps = tuple(
        (float(80 * 2 ** rng.uniform(0, 7.5)), float(rng.uniform(0.4, 2.5)), float(rng.normal(0, 3))) for _ in range(2)
    )
    corner = (float(40 * 2 ** rng.uniform(0, 2.6)), float(rng.uniform(6, 24))) if rng.random() < 0.3 else None
    return Response(float(rng.normal(0, 1.1)), bumps, corner)


def draw_band(rng: np.random.Generator) -> Response:
    """A random band limit, as of a sample rate, a codec or a telephone."""
    kind, steepness = rng.random(), float(rng.uniform(60, 400))
    if kind < 0.08:
        return Response(high_pass=(300.0, 24.0), low_pass=(3400.0, steepness))
    if kind < 0.5:
        return Response(low_pass=(float(rng.choice(LIMITS)) * float(rng.uniform(0.9, 1.0)), steepness))
    return Response(low_pass=(float(np.exp(rng.uniform(np.log(4000), np.log(15_000)))), float(rng.uniform(24, 200))))


@dataclass(frozen=True, slots=True)
class Channel:
    """The random parameters for one example.

    Attributes:
        level: final level of the sounding parts, dBFS.
        room: room noise, dB below the sound; infinite: none.
        colour: slope of that noise, the exponent of its power over frequency, -2 (brown) … 0 (white).
        hiss: white noise of the equipment, dBFS; minus infinity: none.
        microphone, band: responses, or None.
    """

    level: float = -24.0
    room: float = np.inf
    colour: float = -1.0
    hiss: float = -np.inf
    microphone: Response | None = None
    band: Response | None = field(default=None)

    @staticmethod
    def draw(rng: np.random.Generator) -> "Channel":
        return Channel(
            level=float(np.clip(rng.normal(-24, 8), -55, -12)),
            room=float(rng.uniform(12, 55)) if rng.random() < 0.6 else np.inf,
            colour=float(rng.uniform(-2, 0)),
            hiss=float(rng.uniform(-92, -60)) if rng.random() < 0.92 else -np.inf,
            microphone=draw_microphone(rng) if rng.random() < 0.7 else None,
            band=draw_band(rng) if rng.random() < 0.35 else None,
        )

    def _noise_level(self, sound: bool) -> float:
        """Mean square of the room noise; without other sound it is louder."""
        if not np.isfinite(self.room):
            return 0.0
        return float(10 ** ((self.level - (self.room if sound else self.room / 3)) / 10))

    def on_mels(self, power: FloatArray, rng: np.random.Generator) -> FloatArray:
        """Power mels [128, T] -> power mels [128, T], float32."""
        microphone = self.microphone.gain(CENTRES) if self.microphone else np.ones(N_MELS)
        level = sounding(np.asarray((_weights() * microphone).astype(np.float32) @ power))
        gain = microphone * (10 ** (self.level / 10) / level if level > 0 else 0.0)
        out = power * gain.astype(np.float32)[:, None]
        noise = _colour(self.colour, CENTRES) * microphone * _white()
        noise *= self._noise_level(level > 0) / max(float(_weights() @ noise), 1e-20)
        for bands, there in ((noise, np.isfinite(self.room)), (_white() * 10 ** (self.hiss / 10), self.hiss > -np.inf)):
            if there:
                out += _texture_like(out, rng) * bands.astype(np.float32)[:, None]
        return out * self.band.gain(CENTRES).astype(np.float32)[:, None] if self.band else out

    def on_samples(self, samples: FloatArray, rng: np.random.Generator) -> FloatArray:
        """float32 [n] at 32 kHz -> float32 [n], its peak below full scale."""
        samples = filtered(samples, self.microphone) if self.microphone else samples
        blocks = np.square(samples[: len(samples) // 320 * 320]).reshape(-1, 320).mean(1)
        level = sounding(blocks)
        out = samples * np.float32(10 ** (self.level / 20) / np.sqrt(level) if level > 0 else 0.0)
        if np.isfinite(self.room):
            spectrum = rfft(rng.standard_normal(next_fast_len(len(out), real=True)).astype(np.float32))
            hz = np.linspace(0, SAMPLE_RATE / 2, len(spectrum))
            microphone = self.microphone.gain(hz) if self.microphone else 1.0
            noise = irfft(spectrum * np.sqrt(_colour(self.colour, hz) * microphone))[: len(out)]
            out = out + noise * np.sqrt(self._noise_level(level > 0) / np.square(noise).mean())
        out = out + rng.standard_normal(len(out)) * 10 ** (self.hiss / 20)
        out = filtered(out.astype(np.float32), self.band) if self.band else out
        peak = np.abs(out).max(initial=1e-9)
        return np.asarray(out * min(1.0, 10 ** (rng.uniform(-6, -0.1) / 20) / peak), np.float32)


def channel(power: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The last stage of every training example.

    Args:
        power: float32 [128, T] mel powers of a scene or of a recording, at any level.
        rng: source of all randomness.

    Returns:
        float32 [128, T], the log-mel for the network.
    """
    return log_of(Channel.draw(rng).on_mels(power, rng))


def channel_of_log(log_mels: FloatArray, rng: np.random.Generator) -> FloatArray:
    """The same for the log-mel of a recording; float32 [128, T] -> [128, T]."""
    return channel(power_of(log_mels), rng)


def filtered(samples: FloatArray, response: Response) -> FloatArray:
    """Samples [n] at 32 kHz through a response, without delay; float32 [n]."""
    size = next_fast_len(len(samples) + SAMPLE_RATE // 10, real=True)
    spectrum = rfft(samples, size)
    gain = np.sqrt(response.gain(np.linspace(0, SAMPLE_RATE / 2, len(spectrum)))).astype(np.float32)
    return np.asarray(irfft(spectrum * gain, size)[: len(samples)], np.float32)


def _colour(exponent: float, hz: DoubleArray) -> DoubleArray:
    return np.asarray((np.maximum(hz, 30.0) / 1000) ** exponent)


@lru_cache(maxsize=1)
def _white() -> DoubleArray:
    """Mel powers of white noise whose mean square is 1, [128]."""
    return np.asarray(mel_banks().sum(1) * _window_energy() * _emphasis(CENTRES))


@lru_cache(maxsize=1)
def _texture() -> FloatArray:
    """Mel powers of half a minute of stationary noise, the mean of each band 1: float32 [128, 3000]."""
    samples = np.random.default_rng(0).standard_normal(30 * SAMPLE_RATE).astype(np.float32)
    power = power_of(log_mel(100 * samples))
    return np.asarray(power / np.maximum(power.mean(1, keepdims=True), 1e-9), np.float32)


def _texture_like(power: FloatArray, rng: np.random.Generator) -> FloatArray:
    """An excerpt of stationary noise of that shape, forwards or backwards; drawing new noise would be slow."""
    frames = power.shape[1]
    start = int(rng.integers(0, max(1, _texture().shape[1] - frames)))
    stretch = _texture()[:, np.arange(start, start + frames) % _texture().shape[1]]
    return stretch[:, ::-1] if rng.random() < 0.5 else stretch
