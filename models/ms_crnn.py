"""MS-CRNN: multi-scale convolutions, a bidirectional recurrent layer, attention pooling over time."""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.mobilenet import COLUMNS, Stem
from instrec_live.models.patchwise import Patchwise


class MultiScaleConv(nn.Module):
    """Parallel 3x3, 5x5 and 7x7 convolutions over a window of patches, joined; every column, every `stride`th row.

    The wide kernels see a third of the input channels through a 1x1 convolution (Szegedy et al., CVPR 2015), which
    makes the three branches cost about the same.

    A convolution is linear: what a patch adds to its own columns, and to the three beyond either of its ends, depends
    on nothing else. So it is computed once a patch (`spread`); in a window, what patches add to the same column is
    added up (`joined`), and what lies beyond the window's ends adds nothing, as zero padding would.

    Args:
        channels_in, channels: of a column, before and after; the latter divisible by 3.
        stride: in frequency.
    """

    reach = 3  # columns

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        each = channels // 3
        narrow = max(1, channels_in // 3)
        self.stride = stride
        self.reduce = nn.Conv2d(channels_in, 2 * narrow, 1) if channels_in > 1 else None
        inputs = (channels_in, narrow, narrow) if self.reduce else (channels_in,) * 3
        self.branches = nn.ModuleList(nn.Conv2d(c, each, k, bias=False) for c, k in zip(inputs, (3, 5, 7), strict=True))
        self.norm = nn.BatchNorm2d(3 * each)

    def spread(self, patch: Tensor) -> Tensor:
        """What patches [N, C, W, H] add to their columns and those around, [N, W + 6, channels, H / stride]."""
        parts = (patch, *self.reduce(patch).chunk(2, 1)) if self.reduce is not None else (patch,) * 3
        added = []
        for branch, part in zip(self.branches, parts, strict=True):
            weight = cast("Tensor", branch.weight)
            size = weight.shape[-1]
            out = F.conv2d(part, weight, stride=(1, self.stride), padding=(size - 1, size // 2))
            beyond = self.reach - size // 2
            added.append(F.pad(out, (0, 0, beyond, beyond)))
        return torch.cat(added, 1).transpose(1, 2)

    def joined(self, spread: Tensor) -> Tensor:
        """That of the patches of windows [B, N, 2 * reach + 6, channels, H], W = 6 -> their columns
        [B, 6 N, channels, H]."""
        r = self.reach
        before, own, after = spread[:, :, :r], spread[:, :, r:-r], spread[:, :, -r:]
        nothing = torch.zeros_like(before[:, :1])
        of_last = torch.cat((nothing, after), 1)[:, :-1]  # what the patch before each adds to its first columns
        of_next = torch.cat((before, nothing), 1)[:, 1:]
        columns = (own + torch.cat((of_last, of_next), 2)).flatten(1, 2)
        return F.relu(self.norm(columns.transpose(1, 2))).transpose(1, 2)


class MsCrnn(Patchwise, nn.Module):
    """log-mel [B, 128, T] (T 200…1000) -> logits [B, 20].

    A stem (mobilenet.py) makes columns of 160 ms; a multi-scale convolution looks at them and their neighbours at three
    widths; a bidirectional GRU reads them in order; each instrument pools its logits over time with its own attention
    (Kong et al., "Sound event detection of weakly labelled data with CNN-Transformer and automatic threshold
    optimization", TASLP 2020).

    Args:
        channels: of the multi-scale convolution, divisible by 3.
        hidden: of the recurrent layer, per direction.
        n_classes: number of logits.
    """

    def __init__(self, channels: int = 240, hidden: int = 160, n_classes: int = len(INSTRUMENTS)) -> None:
        super().__init__()
        self.stem = Stem()
        self.scales = MultiScaleConv(Stem.channels, channels, 2)
        self.width = (COLUMNS + 2 * MultiScaleConv.reach) * channels * (Stem.rows // 2)
        self.column = nn.Linear(channels * Stem.rows // 2, 2 * hidden)
        self.rnn = nn.GRU(2 * hidden, hidden, batch_first=True, bidirectional=True)
        self.dropout = nn.Dropout(0.2)
        self.attention = nn.Linear(2 * hidden, n_classes)
        self.head = nn.Linear(2 * hidden, n_classes)

    def embed(self, patch: Tensor, windows: int = 1) -> Tensor:
        maps: Tensor = self.scales.spread(self.stem(patch, windows))
        return maps.flatten(1)

    def sequence(self, embeddings: Tensor) -> Tensor:
        """Embeddings [B, N, width] -> columns in time [B, 6 N, 2 * hidden]."""
        batch, count, _ = embeddings.shape
        spread = embeddings.reshape(batch, count, COLUMNS + 2 * MultiScaleConv.reach, -1, Stem.rows // 2)
        columns = F.relu(self.column(self.scales.joined(spread).flatten(2)))
        sequence: Tensor = columns + self.rnn(columns)[0]
        return sequence

    def features(self, log_mel: Tensor) -> Tensor:
        """log-mel [B, 128, T] -> mean feature of the window [B, 2 * hidden]."""
        return self.sequence(self.embeddings(log_mel)).mean(1)

    def classify(self, embeddings: Tensor) -> Tensor:
        sequence = self.dropout(self.sequence(embeddings))
        attention = torch.softmax(self.attention(sequence), 1)
        logits: Tensor = (attention * self.head(sequence)).sum(1)
        return logits

    def forward(self, log_mel: Tensor) -> Tensor:
        return self.classify(self.embeddings(log_mel))
