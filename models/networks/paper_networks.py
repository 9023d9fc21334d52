"""The convolutional networks of the paper's notebooks (Özel & İskender), for comparison with ours.

Their input is as near to the paper's as our front end allows: pairs of frames (20 ms), each window normalised to mean 0
and deviation 1. (The paper's were 128 HTK mels up to 7.6 and 8 kHz of 16 kHz audio.) What the paper calls ResNet-like
has no residual connections in its code, and its BiLSTM is a GRU; so here.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.networks.cbam_cnn import ChannelAttention, SpatialAttention


def standardised(log_mel: Tensor) -> Tensor:
    """log-mel [B, 128, T] -> [B, 1, 128, T / 2], each window of mean 0 and deviation 1."""
    pairs = F.avg_pool1d(log_mel, 2)
    centred = pairs - pairs.mean((1, 2), keepdim=True)
    deviation = centred.square().mean((1, 2), keepdim=True).sqrt()
    return (centred / (deviation + 1e-6))[:, None]


class PlainChannelAttention(ChannelAttention):
    """CBAM's own gate, a sigmoid that begins near one half; [B, C, H, W] -> same."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.excite.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * super().forward(x)


class PlainSpatialAttention(SpatialAttention):
    """CBAM's own gate; [B, C, H, W] -> same."""

    def __init__(self) -> None:
        super().__init__()
        self.conv.reset_parameters()

    def forward(self, x: Tensor) -> Tensor:
        return 0.5 * super().forward(x)


class PaperCbamCnn(nn.Module):
    """log-mel [B, 128, T] (T 200…1000) -> logits [B, 20]; 42,182 parameters.

    Args:
        pooled: with the pooling layers that the paper pretrained with. It fine-tuned and reported the network without
            them (False), whose receptive field is 5 x 5 bins.
        n_classes: number of logits.
    """

    def __init__(self, pooled: bool = True, n_classes: int = len(INSTRUMENTS)) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for channels_in, channels in ((1, 32), (32, 64)):
            layers += [nn.Conv2d(channels_in, channels, 3, padding=1), nn.ReLU()]
            layers += [nn.MaxPool2d(2) if pooled else nn.Identity()]
            layers += [nn.Sequential(PlainChannelAttention(channels), PlainSpatialAttention())]
        self.trunk = nn.Sequential(*layers)
        self.hidden = nn.Linear(64, 256)
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(256, n_classes)

    def features(self, log_mel: Tensor) -> Tensor:
        """log-mel [B, 128, T] -> [B, 256]."""
        return F.relu(self.hidden(self.trunk(standardised(log_mel)).mean((2, 3))))

    def forward(self, log_mel: Tensor) -> Tensor:
        logits: Tensor = self.head(self.dropout(self.features(log_mel)))
        return logits


class Branches(nn.Module):
    """Parallel 3x3, 5x5 and 7x7 convolutions, batch norm, pooling; [B, C, H, W] -> [B, 3 * each, H / 2, W / 2]."""

    def __init__(self, channels_in: int, each: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(nn.Conv2d(channels_in, each, k, padding=k // 2) for k in (3, 5, 7))
        self.norm = nn.BatchNorm2d(3 * each)

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(F.relu(self.norm(torch.cat([branch(x) for branch in self.branches], 1))), 2)


class PaperMsCrnn(nn.Module):
    """log-mel [B, 128, T] (T 200…1000) -> logits [B, 20]; 2,250,709 parameters."""

    def __init__(self, n_classes: int = len(INSTRUMENTS)) -> None:
        super().__init__()
        self.stages = nn.Sequential(
            *(nn.Sequential(Branches(channels, 32), nn.Dropout2d(0.3)) for channels in (1, 96, 96))
        )
        self.rnn = nn.GRU(96, 256, num_layers=2, batch_first=True, bidirectional=True, dropout=0.3)
        self.attention = nn.Linear(512, 1)
        self.head = nn.Linear(512, n_classes)

    def features(self, log_mel: Tensor) -> Tensor:
        """log-mel [B, 128, T] -> the sequence's attended mean [B, 512]."""
        columns = self.stages(standardised(log_mel)).mean(2).transpose(1, 2)
        sequence = self.rnn(columns)[0]
        feature: Tensor = (torch.softmax(self.attention(sequence), 1) * sequence).sum(1)
        return feature

    def forward(self, log_mel: Tensor) -> Tensor:
        logits: Tensor = self.head(self.features(log_mel))
        return logits
