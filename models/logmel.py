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
_LOUDEST = np.float32(1e6)

FloatArray = NDArray[np.float32]


def frame_count(samples: int) -> int:
    """Frames of a window of `samples` samples (pre-emphasis costs one sample)."""
    return 1 + (samples - 1) // HOP


def settled_frames(samples: int) -> int:
    """Frames that are made of the first so many samples alone, without mirrored edges, counted from sample 0."""
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
    """float32 samples, those beyond 120 dB over full scale clipped: their power would overflow float32."""
    return np.clip(np.asarray(samples, np.float32), -_LOUDEST, _LOUDEST)


def _mirrored_frames(samples: FloatArray) -> FloatArray:
    """float32 [n] -> the pre-emphasised samples each frame looks at, [1 + (n - 1) // 320, 800]."""
    return _frames(np.pad(_emphasised(samples), _REACH, mode="reflect"))


def _frames(emphasised: FloatArray) -> FloatArray:
    return sliding_window_view(emphasised, WIN_LENGTH)[::HOP]


def _emphasised(samples: FloatArray) -> FloatArray:
    """float32 [n] -> float32 [n - 1]; sample i of it is made of samples i and i + 1."""
    return samples[1:] - np.float32(PRE_EMPHASIS) * samples[:-1]


def _log_mel_of_frames(frames: FloatArray, banks: FloatArray | None = None) -> FloatArray:
    """float32 [T, 800] pre-emphasised samples -> float32 [128, T]."""
    window, banks = _window(), mel_banks() if banks is None else banks
    mels = np.empty((N_MELS, len(frames)), np.float32)
    for start in range(0, len(frames), 250):  # blocks that stay in the cache
        spectrum = rfft(frames[start : start + 250] * window, N_FFT)
        power = spectrum.real**2 + spectrum.imag**2
        mels[:, start : start + 250] = banks @ power.T
    return np.asarray((np.log(mels + np.float32(1e-5)) + np.float32(4.5)) / np.float32(5.0))


@lru_cache(maxsize=1)
def _window() -> FloatArray:
    return np.hanning(WIN_LENGTH).astype(np.float32)


@lru_cache(maxsize=1)
def mel_banks() -> FloatArray:
    """The front end's filters, float32 [128, 513]: Kaldi's from 0 to 15 kHz."""
    return kaldi_banks(0.0, MAX_HZ)


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


class StreamingLogMel:
    """Log-mel windows of a growing signal, each inner frame computed once. Not for two threads at a time.

    A window [end - length, end) equals `log_mel(signal[end - length : end])`. Frame k of the stream is made
    of the 801 samples within 400 of sample 320 k; only the two first and one or two last frames of a window,
    which its mirrored edges touch, are computed anew.

    Args:
        seconds: how far back a window may reach.
    """

    def __init__(self, seconds: float = WINDOW_SECONDS) -> None:
        # A second of slack, in whole hops: a window may end a little before the newest sample.
        self._frames_kept = int(np.ceil((seconds + 1.0) * SAMPLE_RATE / HOP))
        self._samples = np.zeros(self._frames_kept * HOP, np.float32)
        self._mels = np.zeros((N_MELS, self._frames_kept), np.float32)
        self.reset()

    def reset(self, index: int = 0) -> None:
        """Forget everything; the next sample pushed has the absolute index `index`."""
        self.begin = self.end = index
        self._next_frame = -(-(index + _REACH) // HOP)  # the first that reaches back to nothing before `index`

    def push(self, samples: FloatArray) -> None:
        """Append float32 [m] mono samples at 32 kHz."""
        step = len(self._samples) // 2  # leaves alone the samples that pending frames need
        for start in range(0, len(samples), step):
            self._push(bounded(samples[start : start + step]))

    def _push(self, samples: FloatArray) -> None:
        self._samples[np.arange(self.end, self.end + len(samples)) % len(self._samples)] = samples
        self.end += len(samples)
        stop = settled_frames(self.end)
        if stop <= self._next_frame:
            return
        heard = self._history(self._next_frame * HOP - _REACH, (stop - 1) * HOP + _REACH + 1)
        columns = np.arange(self._next_frame, stop) % self._frames_kept
        self._mels[:, columns] = _log_mel_of_frames(_frames(_emphasised(heard)))
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
        frames = np.asarray(ends, np.int64).reshape(-1, 1) + np.arange(-length, 0)
        return np.ascontiguousarray(self._mels[:, frames % self._frames_kept].transpose(1, 0, 2))

    def window(self, end: int, length: int) -> FloatArray:
        """Log-mel of the samples [end - length, end).

        Args:
            end: absolute index after the window's last sample.
            length: samples, at least 1440; end - length must be a multiple of the hop (320).

        Returns:
            float32 [128, 1 + (length - 1) // 320], a copy.

        Raises:
            ValueError: the window begins off the frame grid, is too short, or lies outside the history.
        """
        start = end - length
        if start % HOP:
            raise ValueError(f"a window must begin on the {HOP}-sample frame grid, not at {start}")
        if length < 2 * HOP + WIN_LENGTH:
            raise ValueError(f"a window of {length} samples is too short")
        oldest = max(self.begin, self.end - len(self._samples))
        if start < oldest or end > self.end:
            raise ValueError(f"samples {start}…{end} are not in the history {oldest}…{self.end}")
        first, count = start // HOP, frame_count(length)
        mels = self._mels[:, np.arange(first, first + count) % self._frames_kept]
        whole = settled_frames(length)  # frames from here on reach past the end
        head = _mirrored_frames(self._history(start, start + 2 * HOP + _REACH))[:2]
        # The tail begins two frames early, so that its own mirrored start is not looked at.
        tail = _mirrored_frames(self._history(start + (whole - 2) * HOP, end))[2:]
        mels[:, np.r_[:2, whole:count]] = _log_mel_of_frames(np.concatenate((head, tail)))
        return mels

    def _history(self, start: int, stop: int) -> FloatArray:
        return self._samples[np.arange(start, stop) % len(self._samples)]
