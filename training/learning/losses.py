"""The loss: cross-entropy to the known labels, and distillation from a teacher."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.training.data.table import FAMILIES
from instrec_live.training.learning.batches import Batch
from instrec_live.training.learning.distributed import ProcessGroup
from instrec_live.training.learning.recipe import Recipe


class Teacher(nn.Module):
    """A frozen network whose probabilities and features a student learns (Hinton et al., 2015)."""

    network: Any  # a module with `steps`, `classify`, `trunk.width` and `head.out_features`

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)
        self.width, self.classes = int(self.network.trunk.width), int(self.network.head.out_features)

    @torch.no_grad()
    def forward(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        """log-mel [B, 128, T] -> probabilities [B, 20], features [B, C]."""
        steps = self.network.steps(log_mel)
        return torch.sigmoid(self.network.classify(steps)), steps.mean(1)


class Student(nn.Module):
    """A network, and a projection of its features to the teacher's."""

    network: Any  # a module with `features`, if there is a teacher, and a `head`

    def __init__(self, network: nn.Module, teacher_width: int = 0) -> None:
        super().__init__()
        self.network = network
        self.imitates = teacher_width > 0
        with torch.no_grad():  # in eval mode, so that batch norms do not learn from silence
            width = self.network.eval().features(torch.zeros(1, 128, 200)).shape[1] if self.imitates else 0
        self.project = nn.Linear(width, teacher_width) if self.imitates and width != teacher_width else nn.Identity()

    def forward(self, log_mel: Tensor) -> tuple[Tensor, Tensor | None]:
        """log-mel [B, 128, T] -> logits [B, classes], and features for the teacher's [B, C], or None without a
        teacher."""
        if not self.imitates:
            return self.network(log_mel).float(), None
        seen: list[Tensor] = []
        hook = _feature_hook(self.network, seen)
        logits = self.network(log_mel).float()
        hook.remove()
        return logits, self.project(seen[0].float())


def masked_bce(
    logits: Tensor,
    labels: Tensor,
    mask: Tensor,
    group: ProcessGroup | None = None,
    positive_weight: Tensor | None = None,
    whole: Tensor | None = None,
) -> Tensor:
    """Mean binary cross-entropy over the known cells; the label of a masked cell has no effect.

    Args:
        logits, labels, mask: [B, C]; the mask is what a cell weighs. Where a network has more classes than there are
            labels, or fewer, those that both have count, from the first on.
        group: the mean is over the rows of all its processes.
        positive_weight: [20], factor of the loss of positives; of further classes it is 1.
        whole: the mask of all rows [R, C], if these are a part of them: the mean is over all.
    """
    classes = min(logits.shape[1], labels.shape[1])
    logits, labels, mask = logits[:, :classes], labels[:, :classes], mask[:, :classes]
    labels = torch.where(mask > 0, labels, 0.0)
    if positive_weight is not None:
        positive_weight = F.pad(positive_weight, (0, classes - len(positive_weight)), value=1.0)
    loss = F.binary_cross_entropy_with_logits(logits, labels, pos_weight=positive_weight, reduction="none")
    return (group or ProcessGroup()).mean(loss, mask, None if whole is None else whole[:, :classes])


def some_of_family(logits: Tensor, some: Tensor, whole: Batch, group: ProcessGroup) -> Tensor:
    """Cross-entropy of "at least one of the family sounds", whose probability is 1 - prod(1 - p), of the rows that say
    so; divided by the number of known cells of the batch, so that it counts as much as the label of a cell.

    Args:
        logits: [B, classes], some: [B, 6]; whole: the batch that these rows are of.
    """
    members = [[INSTRUMENTS.index(name) for name in names] for names in FAMILIES.values()]
    silent = torch.stack([-F.softplus(logits[:, family]).sum(1) for family in members], dim=1)  # log prod(1 - p)
    each = -torch.log(-torch.expm1(silent.clamp(max=-1e-6)))
    return group.mean(each, some, whole.mask.sum() + whole.some.sum())


def loss_of(
    student: nn.Module,
    teacher: Teacher | None,
    recipe: Recipe,
    batch: Batch,
    group: ProcessGroup,
    positive_weight: Tensor | None = None,
    whole: Batch | None = None,
) -> Tensor:
    """Cross-entropy to the labels, plus the distillation losses if there is a teacher; of a part of the batch `whole`,
    the losses of the parts add up to its loss."""
    whole = whole or batch
    logits, features = student(batch.log_mel)
    if recipe.loss == "ce":
        each = F.cross_entropy(logits, batch.labels.argmax(1), reduction="none")
        return group.mean(each, torch.ones_like(each), torch.ones_like(whole.mask[:, 0]))
    smoothed = batch.labels * (1 - 2 * recipe.smoothing) + recipe.smoothing
    loss = masked_bce(logits, smoothed, batch.mask, group, positive_weight, whole.mask)
    if batch.some.shape[1]:
        loss = loss + some_of_family(logits, batch.some, whole, group)
    if teacher is None:
        return loss
    heeded, all_heeded = (b.real if recipe.music_only else torch.ones_like(b.real) for b in (batch, whole))
    targets, wanted = _targets(teacher, batch.log_mel, heeded)
    weights = heeded.float()
    if recipe.distil:
        each = F.binary_cross_entropy_with_logits(logits[:, : teacher.classes], targets, reduction="none").mean(1)
        loss = loss + recipe.distil * group.mean(each, weights, all_heeded)
    if recipe.imitate and features is not None:
        if recipe.centred:
            count = group.sum(weights.sum())
            wanted = wanted - group.sum((wanted * weights[:, None]).sum(0)) / count.clamp(min=1) * (count > 1)
        each = 1 - F.cosine_similarity(features, wanted, dim=1)
        loss = loss + recipe.imitate * group.mean(each, weights, all_heeded)
    return loss


def _targets(teacher: Teacher, log_mel: Tensor, heeded: Tensor) -> tuple[Tensor, Tensor]:
    """The teacher's probabilities [B, 20] and features [B, C]; zeros, not computed, where `heeded` is False."""
    rows = len(log_mel)
    probabilities = log_mel.new_zeros(rows, teacher.classes)
    features = log_mel.new_zeros(rows, teacher.width)
    if heeded.any():
        p, f = teacher(log_mel[heeded])
        probabilities[heeded], features[heeded] = p.float(), f.float()
    return probabilities, features


def _feature_hook(network: Any, out: list[Tensor]) -> Any:
    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0]
        out.append(x.mean(1) if x.dim() == 3 else x)

    return network.head.register_forward_pre_hook(keep)
