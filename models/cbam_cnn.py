"""CBAM-CNN: a convolutional network with channel, then spatial attention after each stage.

Attention after Woo et al., "CBAM: Convolutional Block Attention Module", ECCV 2018. Two trunks share it:

* `resnet`: what Özel & İskender describe, residual stages that downsample early (He et al., CVPR 2016);
* `mobilenet`: MobileNetV1 on 0.96 s patches of 64 mels, the shape of YAMNet, so that it can begin with YAMNet's
  weights. Its 64 mels are computed inside the network from our 128, so all networks hear the same front end.
"""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import nnls
from torch import Tensor, nn
from torch.nn import functional as F

from instrec_live.models import logmel
from instrec_live.models.instruments import INSTRUMENTS


class ChannelAttention(nn.Module):
    """Scales each channel by what its mean and its maximum say; starts as identity. [B, C, H, W] -> same."""

    def __init__(self, channels: int, reduction: int = 8) -> None:
        super().__init__()
        self.squeeze = nn.Linear(channels, channels // reduction)
        self.excite = nn.Linear(channels // reduction, channels)
        nn.init.zeros_(self.excite.weight)
        nn.init.zeros_(self.excite.bias)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.stack((x.mean((2, 3)), x.amax((2, 3))))
        gate = 2 * torch.sigmoid(self.excite(F.relu(self.squeeze(pooled))).sum(0))
        return x * gate[:, :, None, None]


class SpatialAttention(nn.Module):
    """Scales each time-frequency cell by its mean and maximum over channels; starts as identity."""

    def __init__(self, kernel: int = 7) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 1, kernel, padding=kernel // 2)
        nn.init.zeros_(self.conv.weight)
        assert self.conv.bias is not None
        nn.init.zeros_(self.conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        pooled = torch.cat((x.mean(1, keepdim=True), x.amax(1, keepdim=True)), 1)
        return x * (2 * torch.sigmoid(self.conv(pooled)))


def cbam(channels: int) -> nn.Sequential:
    return nn.Sequential(ChannelAttention(channels), SpatialAttention())


class ResidualStage(nn.Module):
    """Two 3x3 convolutions beside a strided shortcut, then CBAM."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.shortcut = nn.Conv2d(channels_in, channels, 1, stride, bias=False)
        self.attention = cbam(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.shortcut(x) + self.attention(self.body(x)))


class ResNetTrunk(nn.Module):
    """log-mel [B, 128, T] -> features [B, T / 32, C]."""

    def __init__(self, channels: tuple[int, ...] = (32, 64, 128, 192)) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(1, channels[0], 5, 2, padding=2, bias=False), nn.BatchNorm2d(channels[0]), nn.ReLU()
        )
        inputs = (channels[0], *channels[:-1])
        self.stages = nn.Sequential(*(ResidualStage(i, o, 2) for i, o in zip(inputs, channels, strict=True)))
        self.width = channels[-1]

    def forward(self, log_mel: Tensor) -> Tensor:
        maps = self.stages(self.stem(log_mel[:, None]))
        features: Tensor = maps.mean(2).transpose(1, 2)
        return features


class MelBridge(nn.Module):
    """Our 128 log-mels -> YAMNet's 64 (125–7500 Hz, magnitudes, no pre-emphasis), [B, 128, T] -> [B, T, 64].

    Power in YAMNet's bands is approximated by non-negative sums of ours, with the pre-emphasis divided out; the
    square root then stands for its sum of magnitudes. What remains is a small offset per band, which is learned.
    """

    weights: Tensor
    width: Tensor

    def __init__(self) -> None:
        super().__init__()
        weights, width = _bridge_weights()
        self.register_buffer("weights", torch.from_numpy(weights))
        self.register_buffer("width", torch.from_numpy(width))
        self.offset = nn.Parameter(torch.full((64,), -0.2))

    def forward(self, log_mel: Tensor) -> Tensor:
        power = F.relu(torch.exp(log_mel * 5.0 - 4.5) - 1e-5)
        bands = torch.matmul(power.transpose(1, 2), self.weights.t())
        return torch.log(0.5 * torch.sqrt(bands * self.width + 1e-12) + 1e-3) + self.offset


def _bridge_weights() -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights [64, 128] from our mel powers to YAMNet's, and each YAMNet band's summed filter weight [64]."""
    hz = np.arange(logmel.N_FFT // 2 + 1) * (logmel.SAMPLE_RATE / logmel.N_FFT)
    mel = 1127.0 * np.log(1.0 + hz / 700.0)
    low, high = 1127.0 * np.log(1.0 + np.array([125.0, 7500.0]) / 700.0)
    edges = np.linspace(low, high, 66)[:, None]
    rise = (mel - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - mel) / (edges[2:] - edges[1:-1])
    target = np.maximum(0.0, np.minimum(rise, fall))
    emphasis = np.abs(1 - logmel.PRE_EMPHASIS * np.exp(-2j * np.pi * hz / logmel.SAMPLE_RATE)) ** 2
    ours = (logmel.mel_banks() * emphasis).T
    weights = np.stack([nnls(ours, row)[0] for row in target])
    return weights.astype(np.float32), target.sum(1).astype(np.float32)


PATCH = 96  # frames, 0.96 s: the only length at which YAMNet's zero-padded convolutions mean what they learned
_STAGES = (
    ((64, 1), (128, 2)),
    ((128, 1), (256, 2)),
    ((256, 1), (512, 2)),
    ((512, 1),) * 5,
    ((1024, 2), (1024, 1)),
)  # (channels, stride of the depthwise convolution)


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


class MobileNetTrunk(nn.Module):
    """log-mel [B, 128, T] -> features [B, T // 96, 1024], one a 0.96 s patch; the last ends where the window ends."""

    width = 1024

    def __init__(self) -> None:
        super().__init__()
        self.bridge = MelBridge()
        self.stem = SameConv(1, 32, 2)
        stages, channels_in = [], 32
        for stage in _STAGES:
            layers: list[nn.Module] = []
            for channels, stride in stage:
                layers.append(Separable(channels_in, channels, stride))
                channels_in = channels
            stages.append(nn.Sequential(*layers, cbam(channels_in)))
        self.stages = nn.Sequential(*stages)

    def forward(self, log_mel: Tensor) -> Tensor:
        patches = log_mel.shape[2] // PATCH
        mels = self.bridge(log_mel[:, :, log_mel.shape[2] - patches * PATCH :])
        x = mels.reshape(-1, 1, PATCH, 64)
        x = self.stages(F.relu6(self.stem(x)))
        feature: Tensor = x.mean((2, 3)).reshape(-1, patches, self.width)
        return feature


class CbamCnn(nn.Module):
    """log-mel [B, 128, T] (T 200…1000) -> logits [B, 20].

    Each step in time has its own logits; a window's are their log-mean-exp, between mean and maximum, with a learned
    sharpness per instrument (Pinheiro & Collobert, CVPR 2015), because an instrument may sound in part of it only.

    Args:
        trunk: "mobilenet" (the one that ships) or "resnet" (the paper's).
        n_classes: number of logits.
    """

    def __init__(self, trunk: str = "mobilenet", n_classes: int = len(INSTRUMENTS)) -> None:
        super().__init__()
        self.trunk = {"mobilenet": MobileNetTrunk, "resnet": ResNetTrunk}[trunk]()
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(self.trunk.width, n_classes)
        self.log_sharpness = nn.Parameter(torch.full((n_classes,), -1.0))

    def features(self, log_mel: Tensor) -> Tensor:
        """log-mel [B, 128, T] -> mean feature of the window [B, C] (what students learn from)."""
        feature: Tensor = self.trunk(log_mel).mean(1)
        return feature

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.pool(self.head(self.dropout(self.trunk(log_mel))))

    def pool(self, logits: Tensor) -> Tensor:
        """Logits in time [B, N, 20] -> [B, 20]."""
        sharpness = self.log_sharpness.exp()
        scaled = logits * sharpness
        peak = scaled.amax(1, keepdim=True)
        return ((scaled - peak).exp().mean(1).log() + peak[:, 0]) / sharpness
