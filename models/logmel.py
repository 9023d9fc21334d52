"""PaSST's log-mel front end in numpy: of a whole window, and of a stream whose frames are computed once.

Equals hear21passt's `AugmentMelSTFT` as its `get_basic_model` sets it up, in eval mode (Koutini et al.,
"Efficient Training of Audio Transformers with Patchout", Interspeech 2022): pre-emphasis 0.97, symmetric Hann
window of 800, FFT 1024, power, 128 Kaldi mels from 0 to 15 kHz, ln(x + 1e-5), (x + 4.5) / 5.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray
from scipy.fft import rfft
from scipy.sparse import csr_array

from instrec_live.models.arrays import FloatArray

SAMPLE_RATE = 32_000
HOP = 320
N_MELS = 128
WINDOW_SECONDS = 10.0
MIN_SECONDS = 2.0
PATCH = 96  # frames, 0.96 s: the only length at which YAMNet's zero-padded convolutions mean what they learned

N_FFT = 1024
WIN_LENGTH = 800
PRE_EMPHASIS = 0.97
MAX_HZ = 15_000.0
_REACH = WIN_LENGTH // 2  # a frame looks this many samples to either side of its centre
_BLOCK = 100  # frames that are transformed together: they stay in the cache
_LOUDEST = np.float32(1e6)
_RAMP = (np.arange(HOP, dtype=np.float32) + 1) / HOP


def frame_count(samples: int) -> int:
    """Frames of a window of `samples` samples (pre-emphasis costs one sample)."""
    return 1 + (samples - 1) // HOP


def settled_frames(samples: int) -> int:
    """Number of frames that depend on the first `samples` samples alone, without mirrored edges, from sample 0 on."""
    return (samples - 1 - _REACH) // HOP + 1


def log_mel(samples: FloatArray, banks: FloatArray | None = None) -> FloatArray:
    """Log-mel of a whole window, its edges mirrored; finite for all finite samples.

    Args:
        samples: float32 [n], mono at 32 kHz, n > 513.
        banks: filters other than `mel_banks`, float32 [128, 513].

    Returns:
        float32 [128, 1 + (n - 1) // 320].
    """
    return _log_mel_of_frames(_mirrored_frames(bounded(samples)), banks)


def bounded(samples: FloatArray) -> FloatArray:
    """float32 samples, clipped at 120 dB over full scale: beyond, their power would overflow float32."""
    return np.clip(np.asarray(samples, np.float32), -_LOUDEST, _LOUDEST)


def _mirrored_frames(samples: FloatArray) -> FloatArray:
    """float32 [n] -> the pre-emphasised samples under each frame, [1 + (n - 1) // 320, 800]."""
    return _frames(np.pad(_emphasised(samples), _REACH, mode="reflect"))


def _frames(emphasised: FloatArray) -> FloatArray:
    return sliding_window_view(emphasised, WIN_LENGTH)[::HOP]


def _emphasised(samples: FloatArray) -> FloatArray:
    """float32 [n] -> float32 [n - 1]; sample i of the result depends on samples i and i + 1."""
    return samples[1:] - np.float32(PRE_EMPHASIS) * samples[:-1]


def _log_mel_of_frames(frames: FloatArray, banks: FloatArray | None = None) -> FloatArray:
    """float32 [T, 800] pre-emphasised samples -> float32 [128, T]."""
    window, sparse = _window(), _sparse_mel_banks() if banks is None else csr_array(banks)
    mels = np.empty((N_MELS, len(frames)), np.float32)
    padded = np.zeros((_BLOCK, N_FFT), np.float32)
    for start in range(0, len(frames), _BLOCK):
        block = padded[: len(frames) - start]
        np.multiply(frames[start : start + _BLOCK], window, out=block[:, :WIN_LENGTH])
        squares = np.square(rfft(block).view(np.float32))
        mels[:, start : start + _BLOCK] = sparse @ (squares[:, ::2] + squares[:, 1::2]).T
    return np.asarray((np.log(mels + np.float32(1e-5)) + np.float32(4.5)) / np.float32(5.0))


@lru_cache(maxsize=1)
def _window() -> FloatArray:
    return np.hanning(WIN_LENGTH).astype(np.float32)


@lru_cache(maxsize=1)
def mel_banks() -> FloatArray:
    """The front end's filters, float32 [128, 513]: Kaldi's from 0 to 15 kHz."""
    return kaldi_banks(0.0, MAX_HZ)


@lru_cache(maxsize=1)
def _sparse_mel_banks() -> csr_array:
    """`mel_banks`, 947 of whose 65,664 weights are not 0. Besides being faster than a product of matrices, it adds in
    the same order wherever a frame lies among others, so that a stream equals its windows to the last bit."""
    return csr_array(mel_banks())


def kaldi_banks(low: float, high: float) -> FloatArray:
    """Kaldi's triangular filters between two frequencies [Hz], float32 [128, 513], the last bin's all zero
    (torchaudio.compliance.kaldi)."""
    edges = np.linspace(_mel(low), _mel(high), N_MELS + 2)
    bins = _mel(np.arange(N_FFT // 2) * (SAMPLE_RATE / N_FFT))
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rise, fall = (bins - left) / (centre - left), (right - bins) / (right - centre)
    triangles = np.maximum(0.0, np.minimum(rise, fall))
    return np.pad(triangles, ((0, 0), (0, 1))).astype(np.float32)


def _mel(hz: ArrayLike) -> NDArray[np.float64]:
    return np.asarray(1127.0 * np.log(1.0 + np.asarray(hz, np.float64) / 700.0))


class DcBlocker:
    """Takes the constant offset out of a sound, which cheap microphones add: a low cut at 0.16 Hz.

    The offset is the mean of the sound so far, later of its last second, frame by frame of 10 ms; in the first tenth of
    a second it is that tenth's. A sound and the same with an offset become the same.
    """

    _FIRST, _FRAMES = 10, 100  # frames that the first mean is of, and over which it decays
    _NONE = 1e-9  # -180 dBFS: less is 0, so that silence does not become denormal

    def __init__(self) -> None:
        self._seen = 0  # frames, at most 100
        self._offset = 0.0

    def __call__(self, samples: FloatArray) -> FloatArray:
        """float32 [n] -> [n]. The result does not depend on the block sizes, if the first is a tenth of a second or the
        whole sound, and all but the last are whole frames of 320 samples."""
        frames = samples[: len(samples) // HOP * HOP].reshape(-1, HOP)
        means = frames.astype(np.float64).mean(axis=1).tolist()  # each row alone, whatever lies beside it
        if self._seen == 0 and means:
            first = means[: self._FIRST]
            means[: self._FIRST] = [sum(first) / len(first)] * len(first)
            self._offset = means[0]
        offsets = [self._offset]
        for mean in means:
            self._seen = min(self._seen + 1, self._FRAMES)
            self._offset += (mean - self._offset) / self._seen
            if abs(self._offset) < self._NONE:
                self._offset = 0.0
            offsets.append(self._offset)
        ends = np.array(offsets, np.float32)[:, None]
        flat = frames - (ends[:-1] + np.diff(ends, axis=0) * _RAMP)
        return np.concatenate([flat.reshape(-1), samples[frames.size :] - ends[-1]])


class StreamingLogMel:
    """Log-mel windows of a growing signal, each inner frame computed once. Not for two threads at a time.

    A window [end - length, end) equals `log_mel(signal[end - length : end])`. Frame k of the stream is made
    of the 801 samples within 400 of sample 320 k; only the two first and one or two last frames of a window,
    which its mirrored edges touch, are computed for each window.

    Args:
        seconds: how far back a window may reach.
    """

    def __init__(self, seconds: float = WINDOW_SECONDS) -> None:
        # A second of slack, in whole hops: a window may end a little before the newest sample.
        self._frames_kept = int(np.ceil((seconds + 1.0) * SAMPLE_RATE / HOP))
        self._emphasised = np.zeros(self._frames_kept * HOP, np.float32)
        self._mels = np.zeros((N_MELS, self._frames_kept), np.float32)
        self.reset()

    def reset(self, index: int = 0) -> None:
        """Discard all history; the next sample pushed has the absolute index `index`."""
        self.begin = self.end = index
        self._newest = np.empty(0, np.float32)  # the last sample pushed, which the next one is emphasised against
        self._next_frame = -(-(index + _REACH) // HOP)  # the first that reaches back to nothing before `index`

    def push(self, samples: FloatArray) -> None:
        """Append float32 [m] mono samples at 32 kHz."""
        step = len(self._emphasised) // 2  # leaves alone the samples that pending frames need
        for start in range(0, len(samples), step):
            self._push(bounded(samples[start : start + step]))

    def _push(self, samples: FloatArray) -> None:
        emphasised = _emphasised(np.concatenate((self._newest, samples)))
        place = (self.end - len(self._newest)) % len(self._emphasised)
        first = len(self._emphasised) - place
        self._emphasised[place : place + len(emphasised)] = emphasised[:first]
        self._emphasised[: max(0, len(emphasised) - first)] = emphasised[first:]
        self._newest = samples[-1:]
        self.end += len(samples)
        stop = settled_frames(self.end)
        if stop <= self._next_frame:
            return
        history = self._history(self._next_frame * HOP - _REACH, (stop - 1) * HOP + _REACH)
        columns = np.arange(self._next_frame, stop) % self._frames_kept
        self._mels[:, columns] = _log_mel_of_frames(_frames(history))
        self._next_frame = stop

    def patches(self, ends: Sequence[int], length: int) -> FloatArray:
        """Inner frames of the stream, [end - length, end) for each of the ends; frame k is that of sample 320 k.

        Returns:
            float32 [N, 128, length], a copy.

        Raises:
            ValueError: frames that are not there yet, or no more.
        """
        first = max(-(-(self.begin + _REACH) // HOP), self._next_frame - self._frames_kept)
        for end in ends:
            if end - length < first or end > self._next_frame:
                raise ValueError(f"frames {end - length}…{end} are not in the history {first}…{self._next_frame}")
        return self._copied([end - length for end in ends], length)

    def window(self, end: int, length: int) -> FloatArray:
        """Log-mel of the samples [end - length, end), see `windows`."""
        whole: FloatArray = self.windows([end], length)[0]
        return whole

    def windows(self, ends: Sequence[int], length: int) -> FloatArray:
        """Log-mels of windows of the same length, [end - length, end) for each of the ends.

        Args:
            ends: absolute indices after each window's last sample.
            length: samples, at least 1440; end - length must be a multiple of the hop (320).

        Returns:
            float32 [N, 128, 1 + (length - 1) // 320], a copy.

        Raises:
            ValueError: a window begins off the frame grid, is too short, or lies outside the history.
        """
        starts = np.asarray(ends, np.int64) - length
        if length < 2 * HOP + WIN_LENGTH:
            raise ValueError(f"a window of {length} samples is too short")
        oldest = max(self.begin, self.end - len(self._emphasised))
        for start, end in zip(starts.tolist(), ends, strict=True):
            if start % HOP:
                raise ValueError(f"a window must begin on the {HOP}-sample frame grid, not at {start}")
            if start < oldest or end > self.end:
                raise ValueError(f"samples {start}…{end} are not in the history {oldest}…{self.end}")
        mels = self._copied((starts // HOP).tolist(), frame_count(length))
        edges, offsets = _edge_frames(length)
        frames = self._emphasised.take(starts[:, None, None] + offsets, mode="wrap").reshape(-1, WIN_LENGTH)
        mels[:, :, edges] = _log_mel_of_frames(frames).reshape(N_MELS, len(starts), len(edges)).transpose(1, 0, 2)
        return mels

    def _copied(self, firsts: Sequence[int], length: int) -> FloatArray:
        """Log-mel frames [first, first + length) for each of the firsts, float32 [N, 128, length]."""
        copies = np.empty((len(firsts), N_MELS, length), np.float32)
        for copy, first in zip(copies, firsts, strict=True):
            place = first % self._frames_kept
            count = min(length, self._frames_kept - place)
            copy[:, :count] = self._mels[:, place : place + count]
            copy[:, count:] = self._mels[:, : length - count]
        return copies

    def _history(self, start: int, stop: int) -> FloatArray:
        """Pre-emphasised samples [start, stop)."""
        first = self._emphasised[start % len(self._emphasised) :][: stop - start]
        return np.concatenate((first, self._emphasised[: stop - start - len(first)]))


@lru_cache(maxsize=16)
def _edge_frames(length: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Frames of a window that its mirrored edges touch, and where the pre-emphasised samples under each are, counted
    from the window's beginning, [frames, 800]."""
    edges = np.r_[:2, settled_frames(length) : frame_count(length)]
    mirrored = np.pad(np.arange(length - 1), _REACH, mode="reflect")
    return edges, sliding_window_view(mirrored, WIN_LENGTH)[edges * HOP]


def chord(seconds: float = 2.0) -> FloatArray:
    """Log-mel float32 [128, 100 * seconds] of a chord struck every two seconds, over a little noise."""
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    tones = sum(np.sin(2 * np.pi * hz * k * t) / k for hz in (220.0, 277.18, 329.63) for k in range(1, 9))
    noise = np.random.default_rng(0).standard_normal(len(t))
    return log_mel((0.1 * tones * np.exp(-(t % 2)) + 1e-3 * noise).astype(np.float32))[:, : len(t) // HOP]
