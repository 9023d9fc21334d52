"""CBAM-CNN: a convolutional network with channel, then spatial attention after each stage.

Attention after Woo et al., "CBAM: Convolutional Block Attention Module", ECCV 2018. Two trunks share it:

* `resnet`: what Özel & İskender describe, residual stages that downsample early (He et al., CVPR 2016);
* `mobilenet`: MobileNetV1 on 0.96 s patches of 64 mels, the shape of YAMNet, so that it can start with YAMNet's
  weights (mobilenet.py).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.networks.mobilenet import STAGES, MelAdapter, SameConv, Separable
from instrec_live.models.networks.patchwise import Patchwise, log_mean_exp


class ChannelAttention(nn.Module):
    """Scales each channel by a gate of its mean and maximum; starts as identity. [B, C, H, W] -> same."""

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
    """Scales each time-frequency cell by a gate of its mean and maximum over channels; starts as identity."""

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
    """Two 3x3 convolutions with a strided shortcut, then CBAM."""

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


class MobileNetTrunk(nn.Module):
    """Patches [N, 128, 96] -> features [N, 1024]."""

    width = 1024

    def __init__(self) -> None:
        super().__init__()
        self.mel_adapter = MelAdapter()
        self.stem = SameConv(1, 32, 2)
        stages, channels_in = [], 32
        for stage in STAGES:
            layers: list[nn.Module] = []
            for channels, stride in stage:
                layers.append(Separable(channels_in, channels, stride))
                channels_in = channels
            stages.append(nn.Sequential(*layers, cbam(channels_in)))
        self.stages = nn.Sequential(*stages)

    def forward(self, patch: Tensor) -> Tensor:
        maps: Tensor = self.stages(F.relu6(self.stem(self.mel_adapter(patch)[:, None])))
        return maps.mean((2, 3))


class Head(nn.Module):
    """A linear layer plus a small hidden one whose output starts at 0: features [..., C] -> logits [..., classes].

    So a network can start with the linear head of another one, and still learn what takes a second layer.
    """

    def __init__(self, width: int, classes: int, hidden: int = 256) -> None:
        super().__init__()
        self.linear = nn.Linear(width, classes)
        self.hidden = nn.Linear(width, hidden)
        self.dropout = nn.Dropout(0.2)
        self.more = nn.Linear(hidden, classes)
        nn.init.zeros_(self.more.weight)
        nn.init.zeros_(self.more.bias)
        self.out_features = classes

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(x) + self.more(self.dropout(F.relu(self.hidden(x))))
        return logits


class AudioSetHead(nn.Module):
    """AudioSet's own classes: features [B, N, 1024] -> logits [B, N, 20], for each instrument the maximum over its
    classes. The weights are YAMNet's last layer, not trained (training.learning.initial_weights).

    Args:
        width: of the features.
        classes: instruments.
        synonyms: AudioSet classes an instrument may have; one with fewer repeats them.
    """

    def __init__(self, width: int, classes: int, synonyms: int = 4) -> None:
        super().__init__()
        self.rows = nn.Linear(width, classes * synonyms).requires_grad_(False)
        self.shape = (classes, synonyms)

    def forward(self, features: Tensor) -> Tensor:
        logits: Tensor = self.rows(features).unflatten(-1, self.shape).amax(-1)
        return logits


class CbamCnn(Patchwise, nn.Module):
    """log-mel [B, 128, T] (T 200…1000) -> logits [B, 20].

    Each step in time has its own logits; a window's are their log-mean-exp with a learned sharpness per instrument.

    With the `mobilenet` trunk, part of the result can come from AudioSet's own classes (`AudioSetHead`). Scenes teach
    exact labels, AudioSet's classes know real music; the weighted mean is better than either.

    Args:
        trunk: "mobilenet" (the one that ships) or "resnet" (the paper's).
        n_classes: number of logits.
        audioset_weight: weight of AudioSet's classes in the result, 0 … 1.
    """

    def __init__(
        self, trunk: str = "mobilenet", n_classes: int = len(INSTRUMENTS), audioset_weight: float = 0.0
    ) -> None:
        super().__init__()
        self.trunk = {"mobilenet": MobileNetTrunk, "resnet": ResNetTrunk}[trunk]()
        self.width = self.trunk.width if trunk == "mobilenet" else 0
        self.dropout = nn.Dropout(0.2)
        self.head = Head(self.trunk.width, n_classes)
        self.log_sharpness = nn.Parameter(torch.full((n_classes,), -1.0))
        self.audioset_weight = audioset_weight
        self.audioset_head = AudioSetHead(self.trunk.width, n_classes) if audioset_weight else None

    def embed(self, patch: Tensor) -> Tensor:
        features: Tensor = self.trunk(patch)
        return features

    def steps(self, log_mel: Tensor) -> Tensor:
        """log-mel [B, 128, T] -> features in time [B, N, C]."""
        steps: Tensor = self.embeddings(log_mel) if self.width else self.trunk(log_mel)
        return steps

    def features(self, log_mel: Tensor) -> Tensor:
        """log-mel [B, 128, T] -> mean feature of the window [B, C], the target of feature distillation."""
        return self.steps(log_mel).mean(1)

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.classify(self.steps(log_mel))

    def classify(self, embeddings: Tensor) -> Tensor:
        """Features in time [B, N, C] -> logits [B, 20]."""
        logits = self.head(self.dropout(embeddings))
        if self.audioset_head is not None:
            logits = torch.lerp(logits, self.audioset_head(embeddings), self.audioset_weight)
        return log_mean_exp(logits, self.log_sharpness.exp())
