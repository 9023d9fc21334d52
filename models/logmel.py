"""PaSST's log-mel front end in numpy: of a whole window, and of a stream whose frames are computed once.

Equals hear21passt's `AugmentMelSTFT(n_mels=128, sr=32000, win_length=800, hopsize=320, n_fft=1024)` in eval mode
(Koutini et al., "Efficient Training of Audio Transformers with Patchout", Interspeech 2022): pre-emphasis 0.97,
symmetric Hann window of 800, FFT 1024, power, 128 Kaldi mels from 0 to 15 kHz, ln(x + 1e-5), (x + 4.5) / 5.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft

SAMPLE_RATE = 32_000
HOP = 320
N_MELS = 128
WINDOW_SECONDS = 10.0
MIN_SECONDS = 2.0

N_FFT = 1024
WIN_LENGTH = 800
PRE_EMPHASIS = 0.97
MAX_HZ = 15_000.0
_REACH = WIN_LENGTH // 2  # a frame looks this many samples to either side of its centre

FloatArray = NDArray[np.float32]


def frame_count(samples: int) -> int:
    """Frames of a window of `samples` samples (pre-emphasis costs one sample)."""
    return 1 + (samples - 1) // HOP


def log_mel(samples: FloatArray) -> FloatArray:
    """Log-mel of a whole window, its edges mirrored.

    Args:
        samples: float32 [n], mono at 32 kHz, n >= 513.

    Returns:
        float32 [128, 1 + (n - 1) // 320].
    """
    emphasised = _emphasise(np.asarray(samples, np.float32))
    mirrored = np.pad(emphasised, _REACH, mode="reflect")
    return _log_mel_of_frames(np.lib.stride_tricks.sliding_window_view(mirrored, WIN_LENGTH)[::HOP])


def _emphasise(samples: FloatArray) -> FloatArray:
    return samples[1:] - np.float32(PRE_EMPHASIS) * samples[:-1]


def _log_mel_of_frames(frames: FloatArray) -> FloatArray:
    """float32 [T, 800] pre-emphasised samples -> float32 [128, T]."""
    window, banks = _window(), mel_banks()
    out = np.empty((N_MELS, len(frames)), np.float32)
    for start in range(0, len(frames), 250):  # blocks that stay in the cache
        spectrum = rfft(frames[start : start + 250] * window, N_FFT)
        power = spectrum.real**2 + spectrum.imag**2
        out[:, start : start + 250] = banks @ power.T
    return (np.log(out + np.float32(1e-5)) + np.float32(4.5)) / np.float32(5.0)


@lru_cache(maxsize=1)
def _window() -> FloatArray:
    return np.hanning(WIN_LENGTH).astype(np.float32)


@lru_cache(maxsize=1)
def mel_banks() -> FloatArray:
    """Kaldi's triangular filters, [128, 513]; the Nyquist bin has none (torchaudio.compliance.kaldi.getmel_banks)."""

    def mel(hz: NDArray[np.float64]) -> NDArray[np.float64]:
        return 1127.0 * np.log(1.0 + hz / 700.0)

    edges = np.linspace(0.0, mel(np.array(MAX_HZ)), N_MELS + 2)
    bins = mel(np.arange(N_FFT // 2) * (SAMPLE_RATE / N_FFT))
    left, centre, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    triangles = np.maximum(0.0, np.minimum((bins - left) / (centre - left), (right - bins) / (right - centre)))
    return np.pad(triangles, ((0, 0), (0, 1))).astype(np.float32)


class StreamingLogMel:
    """Log-mel windows of a growing signal, each inner frame computed once.

    A window [end - length, end) equals `log_mel(signal[end - length : end])`: only the frames that its mirrored
    edges touch (two at the start, one or two at the end) are computed anew.

    Args:
        seconds: how far back a window may reach.
    """

    def __init__(self, seconds: float = WINDOW_SECONDS) -> None:
        # One extra second of slack, then rounded up to whole hops.
        self._frames_kept = int(np.ceil((seconds + 1.0) * SAMPLE_RATE / HOP))
        self._samples = np.zeros(self._frames_kept * HOP, np.float32)
        self._mels = np.zeros((N_MELS, self._frames_kept), np.float32)
        self.reset()

    def reset(self, index: int = 0) -> None:
        """Forget everything; the next sample pushed has the absolute index `index`."""
        self.begin = self.end = index
        # First frame whose reach lies wholly inside what will be pushed.
        self._next_frame = -(-(index + _REACH) // HOP)

    def push(self, samples: FloatArray) -> None:
        """Append float32 [m] mono samples at 32 kHz."""
        step = len(self._samples) // 2  # keeps the samples behind pending frames from being overwritten
        for start in range(0, len(samples), step):
            self._push(samples[start : start + step])

    def _push(self, samples: FloatArray) -> None:
        size = len(self._samples)
        self._samples[np.arange(self.end, self.end + len(samples)) % size] = samples
        self.end += len(samples)
        stop = (self.end - 1 - _REACH) // HOP + 1  # frame k needs samples 320 k - 400 … 320 k + 400
        if stop <= self._next_frame:
            return
        first = self._next_frame * HOP - _REACH
        emphasised = _emphasise(self._history(first, (stop - 1) * HOP + _REACH + 1))
        frames = np.lib.stride_tricks.sliding_window_view(emphasised, WIN_LENGTH)[::HOP]
        self._mels[:, np.arange(self._next_frame, stop) % self._frames_kept] = _log_mel_of_frames(frames)
        self._next_frame = stop

    def window(self, end: int, length: int) -> FloatArray:
        """Log-mel of the samples [end - length, end).

        Args:
            end: absolute sample index after the window's last sample.
            length: samples, at least 2 * 320 + 800; end - length must be a multiple of the hop (320).

        Returns:
            float32 [128, 1 + (length - 1) // 320], a copy.

        Raises:
            ValueError: the window begins off the frame grid or lies outside the history.
        """
        start = end - length
        if start % HOP:
            raise ValueError(f"a window must begin on the {HOP}-sample frame grid, not at {start}")
        if length < 2 * HOP + WIN_LENGTH:
            raise ValueError(f"a window of {length} samples is too short")
        if end > self.end or start < max(self.begin, self.end - len(self._samples)):
            raise ValueError(f"samples {start}…{end} are not in the history (it ends at {self.end})")
        count, first = frame_count(length), start // HOP
        out = self._mels[:, np.arange(first, first + count) % self._frames_kept]
        # The mirrored edges: 2 frames at the start; at the end those that reach past the last sample.
        head = self._history(start, start + HOP + _REACH + 2)
        out[:, :2] = log_mel_frames(head, 0, 2)
        whole = (length - 2 - _REACH) // HOP + 1  # frames before this one lie inside the window
        tail_first = whole - 4  # far enough back that the tail's own mirrored start is not looked at
        tail = self._history(start + tail_first * HOP, end)
        out[:, whole:] = log_mel_frames(tail, whole - tail_first, count - tail_first)
        return out

    def _history(self, start: int, stop: int) -> FloatArray:
        return self._samples[np.arange(start, stop) % len(self._samples)]


def log_mel_frames(samples: FloatArray, first: int, stop: int) -> FloatArray:
    """Frames [first, stop) of `log_mel(samples)`, float32 [128, stop - first]."""
    emphasised = _emphasise(samples)
    mirrored = np.pad(emphasised, _REACH, mode="reflect")
    view = np.lib.stride_tricks.sliding_window_view(mirrored, WIN_LENGTH)[::HOP]
    return _log_mel_of_frames(view[first:stop])
