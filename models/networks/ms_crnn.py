"""MS-CRNN: multi-scale convolutions, a bidirectional recurrent layer, attention pooling over time."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.networks.mn04 import BANDS, COLUMNS, WIDTH, Mn04Head, Mn04Trunk


class MultiScaleConv(nn.Module):
    """Parallel 3x3, 5x5 and 7x7 convolutions, joined; every column, every `stride`th row. [B, C, W, H] -> the same.

    The wide kernels see a third of the input channels through a 1x1 convolution (Szegedy et al., CVPR 2015), which
    makes the three branches cost about the same.

    Args:
        channels_in, channels: before and after; the latter divisible by 3.
        stride: in frequency.
    """

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        each, narrow = channels // 3, channels_in // 3
        self.reduce = nn.Conv2d(channels_in, 2 * narrow, 1)
        self.branches = nn.ModuleList(
            nn.Conv2d(inputs, each, size, (1, stride), size // 2, bias=False)
            for inputs, size in ((channels_in, 3), (narrow, 5), (narrow, 7))
        )
        self.norm = nn.BatchNorm2d(3 * each)

    def forward(self, x: Tensor) -> Tensor:
        parts = (x, *self.reduce(x).chunk(2, 1))
        joined = torch.cat([branch(part) for branch, part in zip(self.branches, parts, strict=True)], 1)
        return F.relu(self.norm(joined))


class MsCrnn(nn.Module):
    """log-mel [B, 128, T] (T 200…1000) -> logits [B, 20 + K]: the instruments, then `models.audioset.OTHER_SOUNDS`.

    The foundation (mn04.py) gets the whole window, whose means excite its channels, and makes a column of each 320 ms;
    a multi-scale convolution looks at columns and their neighbours at three widths; a bidirectional GRU reads them in
    order; each instrument pools its logits over time with its own attention (Kong et al., "Sound event detection of
    weakly labelled data with CNN-Transformer and automatic threshold optimization", TASLP 2020). They correct what the
    foundation's own classes give for the window, the mean of two: for all of it, and for its parts of 0.96 s, pooled.

    Args:
        narrow: channels that enter the multi-scale convolution.
        channels: channels that leave it, divisible by 3.
        hidden: of the recurrent layer, per direction.
        n_classes: instruments; other classes than ours (in pretraining) have logits of their own alone.
    """

    def __init__(
        self, narrow: int = 192, channels: int = 192, hidden: int = 128, n_classes: int = len(INSTRUMENTS)
    ) -> None:
        super().__init__()
        self.trunk = Mn04Trunk()
        self.narrow = nn.Conv2d(WIDTH, narrow, 1)
        self.scales = MultiScaleConv(narrow, channels, 2)
        self.column = nn.Linear(channels * BANDS // 2, 2 * hidden)
        self.rnn = nn.GRU(2 * hidden, hidden, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(0.2)
        self.attention = nn.Linear(2 * hidden, n_classes)
        self.head = nn.Linear(2 * hidden, n_classes)
        for parameter in (*self.attention.parameters(), *self.head.parameters()):
            nn.init.zeros_(parameter)  # training starts from the foundation's own results
        self.audioset = Mn04Head()

    def sequence(self, maps: Tensor) -> Tensor:
        """Maps [B, 384, 4, W] -> columns in time [B, W, 2 * hidden]."""
        scales = self.scales(self.narrow(maps).transpose(2, 3))
        columns = F.relu(self.column(scales.transpose(1, 2).flatten(2)))
        sequence: Tensor = columns + self.rnn(columns)[0]
        return sequence

    def features(self, log_mel: Tensor) -> Tensor:
        """log-mel [B, 128, T] -> mean feature of the window [B, 2 * hidden]."""
        return self.sequence(self.trunk(log_mel)).mean(1)

    def means(self, log_mel: Tensor) -> Tensor:
        """log-mel [B, 128, T] -> mean maps of the window [B, 384]."""
        maps: Tensor = self.trunk(log_mel)
        return maps.mean((2, 3))

    @staticmethod
    def parts(maps: Tensor) -> Tensor:
        """Maps [B, 384, 4, W] -> mean maps of its parts of 0.96 s [B, W // 3, 384]; the last part ends with them."""
        first = maps.shape[-1] % COLUMNS
        return F.avg_pool1d(maps.mean(2)[..., first:], COLUMNS).transpose(1, 2)

    def both(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        """log-mel [B, 128, T] -> logits of the instruments [B, 20] and of all other classes [B, 533]."""
        maps = self.trunk(log_mel)
        audioset = self.audioset(maps.mean((2, 3)))
        parts = self.parts(maps)
        own = (self.audioset.instruments(audioset) + self.audioset.pooled(parts)) / 2
        return own + self.correction(maps), audioset

    def correction(self, maps: Tensor) -> Tensor:
        """Maps [B, 384, 4, W] -> pooled logits of the columns [B, n_classes]."""
        sequence = self.dropout(self.sequence(maps))
        attention = torch.softmax(self.attention(sequence), 1)
        pooled: Tensor = (attention * self.head(sequence)).sum(1)
        return pooled

    def forward(self, log_mel: Tensor) -> Tensor:
        if self.head.out_features != len(INSTRUMENTS):
            return self.correction(self.trunk(log_mel))
        return self.audioset.joined(*self.both(log_mel))
