"""What a network is told it got wrong: by labels where they are known, and by a teacher."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from instrec_live.training.learning.distributed import Crew
from instrec_live.training.learning.feed import Batch
from instrec_live.training.learning.recipe import Recipe


class Teacher(nn.Module):
    """A frozen CBAM-CNN whose probabilities and features a student learns (Hinton et al., 2015)."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.width, self.classes = int(network.trunk.width), network.head.out_features

    @torch.no_grad()
    def forward(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        """log-mel [B, 128, T] -> probabilities [B, 20], features [B, C]."""
        steps = self.network.steps(log_mel)
        return torch.sigmoid(self.network.classify(steps)), steps.mean(1)


class Student(nn.Module):
    """A network, and a projection of its features to the teacher's."""

    def __init__(self, network: nn.Module, teacher_width: int = 0) -> None:
        super().__init__()
        self.network = network
        self.imitates = teacher_width > 0
        with torch.no_grad():  # and in eval mode, so that batch norms do not learn from silence
            width = network.eval().features(torch.zeros(1, 128, 200)).shape[1] if self.imitates else 0
        self.project = nn.Linear(width, teacher_width) if self.imitates and width != teacher_width else nn.Identity()

    def forward(self, log_mel: Tensor) -> tuple[Tensor, Tensor | None]:
        """log-mel [B, 128, T] -> logits [B, classes], features as the teacher's [B, C] if it has one to imitate."""
        if not self.imitates:
            return self.network(log_mel).float(), None
        seen: list[Tensor] = []
        hook = _feature_hook(self.network, seen)
        logits = self.network(log_mel).float()
        hook.remove()
        return logits, self.project(seen[0].float())


def masked_bce(
    logits: Tensor, labels: Tensor, mask: Tensor, crew: Crew | None = None, positive_weight: Tensor | None = None
) -> Tensor:
    """Binary cross-entropy, its mean over the known cells; a masked cell adds exactly nothing, whatever stands in it.

    Args:
        logits, labels, mask: [B, 20]; the mask is what a cell weighs.
        crew: the mean is over the rows of all its processes.
        positive_weight: [20], factor of the loss of positives.
    """
    labels = torch.where(mask > 0, labels, 0.0)
    loss = F.binary_cross_entropy_with_logits(logits, labels, pos_weight=positive_weight, reduction="none")
    return (crew or Crew()).mean(loss, mask)


def loss_of(
    student: nn.Module,
    teacher: Teacher | None,
    recipe: Recipe,
    batch: Batch,
    crew: Crew,
    positive_weight: Tensor | None = None,
) -> Tensor:
    """Cross-entropy to the labels, plus what the teacher says of these examples."""
    logits, features = student(batch.log_mel)
    if recipe.loss == "ce":
        each = F.cross_entropy(logits, batch.labels.argmax(1), reduction="none")
        return crew.mean(each, torch.ones_like(each))
    smoothed = batch.labels * (1 - 2 * recipe.smoothing) + recipe.smoothing
    loss = masked_bce(logits, smoothed, batch.mask, crew, positive_weight)
    if teacher is None:
        return loss
    heeded = batch.real if recipe.music_only else torch.ones_like(batch.real)
    told, wanted = _told(teacher, batch.log_mel, heeded)
    weights = heeded.float()
    if recipe.distil:
        each = F.binary_cross_entropy_with_logits(logits, told, reduction="none").mean(1)
        loss = loss + recipe.distil * crew.mean(each, weights)
    if recipe.imitate and features is not None:
        if recipe.centred:
            count = crew.whole(weights.sum())
            wanted = wanted - crew.whole((wanted * weights[:, None]).sum(0)) / count.clamp(min=1) * (count > 1)
        loss = loss + recipe.imitate * crew.mean(1 - F.cosine_similarity(features, wanted, dim=1), weights)
    return loss


def _told(teacher: Teacher, log_mel: Tensor, heeded: Tensor) -> tuple[Tensor, Tensor]:
    """The teacher's probabilities [B, 20] and features [B, C]; zeros where it is not heeded, and not asked."""
    rows = len(log_mel)
    probabilities = log_mel.new_zeros(rows, teacher.classes)
    features = log_mel.new_zeros(rows, teacher.width)
    if heeded.any():
        told, wanted = teacher(log_mel[heeded])
        probabilities[heeded], features[heeded] = told.float(), wanted.float()
    return probabilities, features


def _feature_hook(network: nn.Module, out: list[Tensor]) -> Any:
    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0]
        out.append(x.mean(1) if x.dim() == 3 else x)

    return network.head.register_forward_pre_hook(keep)
