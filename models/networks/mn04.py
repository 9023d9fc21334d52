"""MobileNetV3 of width 0.4 on our own log-mel, the foundation of MS-CRNN and PaSST.

Shape and weights are EfficientAT's `mn04_as` (Schmid, Koutini and Widmer, "Efficient large-scale audio tagging via
transformer-to-CNN knowledge distillation", ICASSP 2023; MIT): 0.98 M parameters, AudioSet mAP .432, distilled from
PaSST. Its means over the window, which excite its channels, make it better on ten seconds than on one: MS-CRNN gets
whole windows, PaSST patches of 0.96 s, so that a stream computes each patch once (patchwise.py).
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from instrec_live.models.audioset import CLASSES, FITTED, ROWS
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.networks.patchwise import log_mean_exp

WIDTH = 384  # channels of the last maps
BANDS, COLUMNS = 4, 3  # of a patch's maps: frequency and time

# Kernel, expanded channels, output channels, squeezed channels (0: no squeeze-and-excitation), activation, stride.
_BLOCKS: tuple[tuple[int, int, int, int, type[nn.Module], int], ...] = (
    (3, 8, 8, 0, nn.ReLU, 1),
    (3, 24, 16, 0, nn.ReLU, 2),
    (3, 32, 16, 0, nn.ReLU, 1),
    (5, 32, 16, 8, nn.ReLU, 2),
    (5, 48, 16, 16, nn.ReLU, 1),
    (5, 48, 16, 16, nn.ReLU, 1),
    (3, 96, 32, 0, nn.Hardswish, 2),
    (3, 80, 32, 0, nn.Hardswish, 1),
    (3, 72, 32, 0, nn.Hardswish, 1),
    (3, 72, 32, 0, nn.Hardswish, 1),
    (3, 192, 48, 48, nn.Hardswish, 1),
    (3, 272, 48, 72, nn.Hardswish, 1),
    (5, 272, 64, 72, nn.Hardswish, 2),
    (5, 384, 64, 96, nn.Hardswish, 1),
    (5, 384, 64, 96, nn.Hardswish, 1),
)


def _conv(
    inputs: int,
    outputs: int,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    activation: type[nn.Module] | None = None,
) -> nn.Sequential:
    layers = [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3),
    ]
    return nn.Sequential(*layers, *([activation()] if activation else []))


class SqueezeExcitation(nn.Module):
    """Scales each channel by a function of the means of all channels (Hu et al., CVPR 2018). [B, C, H, W] -> same."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, squeezed)
        self.fc2 = nn.Linear(squeezed, channels)

    def forward(self, x: Tensor) -> Tensor:
        gate = torch.sigmoid(self.fc2(F.relu(self.fc1(x.mean((2, 3))))))
        return x * gate[:, :, None, None]


class InvertedResidual(nn.Module):
    """Expand, filter each channel, excite, project (Howard et al., "Searching for MobileNetV3", ICCV 2019)."""

    def __init__(
        self,
        inputs: int,
        kernel: int,
        expanded: int,
        outputs: int,
        squeezed: int,
        activation: type[nn.Module],
        stride: int,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        if expanded != inputs:
            layers.append(_conv(inputs, expanded, activation=activation))
        layers.append(_conv(expanded, expanded, kernel, stride, expanded, activation))
        if squeezed:
            layers.append(SqueezeExcitation(expanded, squeezed))
        layers.append(_conv(expanded, outputs))
        self.block = nn.Sequential(*layers)
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.block(x)
        return x + y if self.residual else y


class Mn04Trunk(nn.Module):
    """Log-mels [N, 128, T] -> maps [N, 384, 4, T / 32]: of a patch of 96 frames, three columns."""

    def __init__(self) -> None:
        super().__init__()
        channels = 8
        layers: list[nn.Module] = [_conv(1, channels, 3, 2, activation=nn.Hardswish)]
        for kernel, expanded, outputs, squeezed, activation, stride in _BLOCKS:
            layers.append(InvertedResidual(channels, kernel, expanded, outputs, squeezed, activation, stride))
            channels = outputs
        layers.append(_conv(channels, WIDTH, activation=nn.Hardswish))
        self.features = nn.Sequential(*layers)

    def train(self, mode: bool = True) -> "Mn04Trunk":
        """Batch norms stay as AudioSet set them: small batches would teach them worse."""
        return super().train(False)

    def forward(self, patch: Tensor) -> Tensor:
        maps: Tensor = self.features(patch[:, None])
        return maps


class Mn04Head(nn.Module):
    """The classifier of mn04_as: mean maps of a window [..., 384] -> AudioSet's 527 logits, then those of
    `models.audioset.FITTED`.

    `instruments` reads those of our 20 instruments, each the highest of its classes, on a learned scale: AudioSet's
    labels are incomplete, so its probabilities are too low.
    """

    rows: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(WIDTH, 512)
        self.out = nn.Linear(512, CLASSES)
        self.fitted = nn.Linear(512, len(FITTED))
        nn.init.zeros_(self.fitted.weight)
        nn.init.constant_(self.fitted.bias, -10.0)  # unlikely, until they are fitted
        most = max(map(len, ROWS))
        padded = [[rows[i % len(rows)] for i in range(most)] for rows in ROWS]
        self.register_buffer("rows", torch.tensor(padded), persistent=False)
        self.scale = nn.Parameter(torch.ones(len(INSTRUMENTS)))
        self.bias = nn.Parameter(torch.full((len(INSTRUMENTS),), 1.5))
        self.log_sharpness = nn.Parameter(torch.full((len(INSTRUMENTS),), -0.7))

    def forward(self, mean: Tensor) -> Tensor:
        hidden = self.features(mean)
        return torch.cat((self.out(hidden), self.fitted(hidden)), -1)

    def features(self, mean: Tensor) -> Tensor:
        """Mean maps [..., 384] -> [..., 512], what the logits are linear in."""
        return F.hardswish(self.hidden(mean))

    def instruments(self, audioset: Tensor) -> Tensor:
        """AudioSet's logits [..., 527 or more] -> logits of our instruments [..., 20]."""
        return audioset[..., self.rows[: len(INSTRUMENTS)]].amax(-1) * self.scale + self.bias

    def pooled(self, parts: Tensor) -> Tensor:
        """Mean maps of the parts of a window [B, N, 384] -> logits of our instruments in it [B, 20]."""
        return log_mean_exp(self.instruments(self(parts)), self.log_sharpness.exp())

    def joined(self, instruments: Tensor, audioset: Tensor) -> Tensor:
        """What a network on this foundation gives: logits of the instruments, then [B, K] those of
        `models.audioset.OTHER_SOUNDS`; in training mode all of AudioSet's instead [B, 527]."""
        if self.training:
            return torch.cat((instruments, audioset[:, :CLASSES]), 1)
        return torch.cat((instruments, audioset[:, self.rows[len(INSTRUMENTS) :]].amax(-1)), 1)


def load_mn04(trunk: Mn04Trunk, head: Mn04Head, weights: Mapping[str, Tensor]) -> None:
    """Begin with EfficientAT's weights, by their published names.

    Raises:
        RuntimeError: they are not of this shape.
    """
    renamed = {name.replace(".conc_se_layers.0.", "."): value for name, value in weights.items()}
    trunk.load_state_dict({name: value for name, value in renamed.items() if name.startswith("features.")})
    for layer, place in ((head.hidden, "classifier.2."), (head.out, "classifier.5.")):
        layer.load_state_dict({part: renamed[place + part] for part in ("weight", "bias")})
