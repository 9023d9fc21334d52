"""MobileNetV1 as in YAMNet, the foundation of all three networks, which start with its AudioSet weights (Apache-2.0,
The TensorFlow Authors; Howard et al., "MobileNets", 2017).

Its 64 mels are computed inside the network from our 128, so that all networks share one front end.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls
from torch import Tensor, nn
from torch.nn import functional as F

from instrec_live.models import logmel

STAGES = (
    ((64, 1), (128, 2)),
    ((128, 1), (256, 2)),
    ((256, 1), (512, 2)),
    ((512, 1),) * 5,
    ((1024, 2), (1024, 1)),
)  # (channels, stride of the depthwise convolution)


class MelAdapter(nn.Module):
    """Our 128 log-mels -> YAMNet's 64 (125–7500 Hz, magnitudes, no pre-emphasis), patches [N, 128, T] -> [N, T, 64].

    Power in YAMNet's bands is approximated by non-negative sums of ours, with the pre-emphasis divided out; the
    square root then stands for its sum of magnitudes, which is right for noise or for a tone, not for both. What
    remains depends on how the power is distributed among the bands; a small network corrects it frame by frame
    (fitted by training.mel_adapter: the mean error falls from 0.20 nepers to 0.08).

    YAMNet is at its best around -14 dBFS and loses a twentieth of its mAP by -30; so each patch is first
    brought to that level, by at most 20 dB up (a silent room stays silent) or 10 dB down.
    """

    LEVEL, UP, DOWN = 40.0, 100.0, 0.1  # 1000 times the mean square; power gains

    weights: Tensor
    width: Tensor
    loudness: Tensor

    def __init__(self) -> None:
        super().__init__()
        weights, width = _adapter_weights()
        self.register_buffer("weights", torch.from_numpy(weights))
        self.register_buffer("width", torch.from_numpy(width))
        self.register_buffer("loudness", torch.from_numpy(_loudness()), persistent=False)
        self.offset = nn.Parameter(torch.full((64,), -0.2))
        self.hidden = nn.Linear(logmel.N_MELS + 64, 128)
        self.correction = nn.Linear(128, 64)
        nn.init.zeros_(self.correction.weight)
        nn.init.zeros_(self.correction.bias)

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.mels(self.levelled(log_mel)[0])

    def levelled(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        """Mel powers of patches brought to one level [N, T, 128], and the power gains that were applied [N, 1, 1]."""
        power = F.relu(torch.exp(log_mel * 5.0 - 4.5) - 1e-5).transpose(1, 2)
        # As a column: ONNX Runtime 1.32 multiplies a transposed matrix by a vector wrongly (its FusedMatMul).
        level = torch.matmul(power, self.loudness[:, None]).mean(1, keepdim=True)
        gain = (self.LEVEL / (level + 1e-6)).clamp(self.DOWN, self.UP)
        return power * gain, gain

    def mels(self, power: Tensor) -> Tensor:
        """Mel powers [..., 128] -> YAMNet's log-mels [..., 64]."""
        bands = torch.matmul(power, self.weights.t())
        mels = torch.log(0.5 * torch.sqrt(bands * self.width + 1e-12) + 1e-3) + self.offset
        known = torch.cat((0.3 * torch.log(10 * power + 1e-4), 0.5 * mels), -1)
        corrected: Tensor = mels + self.correction(F.relu(self.hidden(known)))
        return corrected


def yamnet_banks() -> NDArray[np.float64]:
    """YAMNet's filters on the lower bins of our spectra, [64, 257]: triangles of 125 to 7500 Hz, none of them on DC."""
    hz = np.arange(logmel.N_FFT // 4 + 1) * (logmel.SAMPLE_RATE / logmel.N_FFT)
    mel = 1127.0 * np.log(1.0 + hz / 700.0)
    low, high = 1127.0 * np.log(1.0 + np.array([125.0, 7500.0]) / 700.0)
    edges = np.linspace(low, high, 66)[:, None]
    rise = (mel - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - mel) / (edges[2:] - edges[1:-1])
    banks = np.maximum(0.0, np.minimum(rise, fall))
    banks[:, 0] = 0.0
    return np.asarray(banks)


def _adapter_weights() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights [64, 128] from our mel powers to YAMNet's, and each YAMNet band's summed filter weight [64]."""
    target = yamnet_banks()
    hz = np.arange(target.shape[1]) * (logmel.SAMPLE_RATE / logmel.N_FFT)
    emphasis = np.abs(1 - logmel.PRE_EMPHASIS * np.exp(-2j * np.pi * hz / logmel.SAMPLE_RATE)) ** 2
    ours = (logmel.mel_banks()[:, : target.shape[1]] * emphasis).T
    weights = np.stack([nnls(ours, row)[0] for row in target])
    return weights.astype(np.float32), target.sum(1).astype(np.float32)


def _loudness() -> NDArray[np.float32]:
    """Weights [128] under which mel powers sum up to 1000 times a frame's mean square (Parseval); rumble below 60 Hz
    counts as much as at 60 Hz. The factor keeps the sums well inside the range of float16."""
    centres = 700 * np.expm1(np.linspace(0, np.log1p(logmel.MAX_HZ / 700), logmel.N_MELS + 2)[1:-1])
    turn = 2 * np.pi * np.maximum(centres, 60.0) / logmel.SAMPLE_RATE
    emphasis = 1 - 2 * logmel.PRE_EMPHASIS * np.cos(turn) + logmel.PRE_EMPHASIS**2
    window = float(np.square(np.hanning(logmel.WIN_LENGTH)).sum())
    return np.asarray(2000 / (logmel.N_FFT * window * emphasis), np.float32)


class Separable(nn.Module):
    """Depthwise 3x3, then pointwise convolution, TensorFlow's SAME padding, batch norms folded in."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.depthwise = SameConv(channels_in, channels_in, stride, groups=channels_in)
        self.pointwise = nn.Conv2d(channels_in, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu6(self.pointwise(F.relu6(self.depthwise(x))))


class SameConv(nn.Conv2d):
    """3x3 convolution that pads an even size at its end only, as TensorFlow does when the stride is 2."""

    def __init__(self, channels_in: int, channels: int, stride: int, groups: int = 1) -> None:
        super().__init__(channels_in, channels, 3, stride, groups=groups)
        self.pads = (0, 1, 0, 1) if stride == 2 else (1, 1, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.pads))
