"""One training loop for all networks: seeded, resumable, with an averaged copy of the weights.

A step's scenes depend only on (seed, step), and a checkpoint holds everything else that changes; so a run that is
interrupted and resumed ends as one that was not.
"""

import copy
import json
import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from instrec_live.training.datasets.clips import Clips
from instrec_live.training.metrics import mean_average_precision, top1
from instrec_live.training.scenes.mixer import Scenes


@dataclass(frozen=True)
class Recipe:
    """What a training run is, apart from its data."""

    name: str  # "passt", "cbam_cnn", "ms_crnn"
    network: dict[str, Any] = field(default_factory=dict)  # its configuration
    steps: int = 3000
    batch: int = 24
    lr: float = 1e-3
    slow_lr: float = 0.1  # factor of lr for the parts that `slow` names
    slow: tuple[str, ...] = ()
    weight_decay: float = 0.02
    warmup: int = 200
    seconds: tuple[float, float] = (2.0, 6.0)
    distil: float = 0.0  # weight of the teacher's probabilities
    imitate: float = 0.0  # weight of the teacher's features
    centred: bool = False  # imitate what sets a scene's features apart from the batch's mean: learns sooner
    music_only: bool = False  # heed the teacher on real music only
    bf16: bool = True  # autocast; depthwise convolutions are faster without
    ema: float = 0.998
    smoothing: float = 0.02  # of hard labels
    threads: int = 1
    seed: int = 0


class Teacher(nn.Module):
    """A frozen network whose probabilities and features a student learns."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network.eval().requires_grad_(False)

    @torch.no_grad()
    def forward(self, log_mel: Tensor) -> tuple[Tensor, Tensor]:
        """log-mel [B, 128, T] -> probabilities [B, 20], features [B, C]."""
        steps = self.network.trunk(log_mel)
        return torch.sigmoid(self.network.pool(self.network.head(steps))), steps.mean(1)


class Student(nn.Module):
    """A network, and a projection of its features to the teacher's."""

    def __init__(self, network: nn.Module, teacher_width: int = 0) -> None:
        super().__init__()
        self.network = network
        width = network.features(torch.zeros(1, 128, 200)).shape[1] if teacher_width else 0
        self.project = nn.Linear(width, teacher_width) if teacher_width and width != teacher_width else nn.Identity()


def masked_bce(logits: Tensor, labels: Tensor, mask: Tensor) -> Tensor:
    """Binary cross-entropy over the cells where mask is 1, their mean; a masked cell adds exactly nothing."""
    loss = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
    return (loss * mask).sum() / mask.sum().clamp(min=1)


def loss_of(
    student: Student, teacher: Teacher | None, recipe: Recipe, mel: Tensor, labels: Tensor, mask: Tensor, real: Tensor
) -> Tensor:
    """Masked cross-entropy to the labels, plus what the teacher says of these scenes."""
    features: list[Tensor] = []
    hook = _feature_hook(student.network, features)
    logits = student.network(mel).float()
    hook.remove()
    loss = masked_bce(logits, labels * (1 - 2 * recipe.smoothing) + recipe.smoothing, mask)
    heeded = real if recipe.music_only else torch.ones_like(real)
    if teacher is None or not heeded.any():
        return loss
    probabilities, wanted = teacher(mel[heeded])
    if recipe.distil:
        told = F.binary_cross_entropy_with_logits(logits[heeded], probabilities.float())
        loss = loss + recipe.distil * told
    if recipe.imitate:
        got, wanted = student.project(features[0][heeded].float()), wanted.float()
        if recipe.centred and len(wanted) > 1:
            wanted = wanted - wanted.mean(0)
        loss = loss + recipe.imitate * (1 - F.cosine_similarity(got, wanted, dim=1)).mean()
    return loss


def _feature_hook(network: nn.Module, out: list[Tensor]) -> Any:
    def keep(_: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0]
        out.append(x.mean(1) if x.dim() == 3 else x)

    return network.head.register_forward_pre_hook(keep)


def train(
    recipe: Recipe,
    network: nn.Module,
    scenes: Scenes,
    to: Path,
    teacher: Teacher | None = None,
    clips: Clips | None = None,
    checkpoint_every: float = 120.0,
    report_every: int = 250,
    on_report: Callable[[dict[str, float]], None] | None = None,
) -> nn.Module:
    """Train, or go on training, in the folder `to`; returns the averaged network in eval mode.

    Writes `checkpoint.pt` (everything), `log.jsonl` (losses and validation figures), `weights.pt` (the result).
    """
    torch.set_num_threads(recipe.threads)
    torch.manual_seed(recipe.seed)
    to.mkdir(parents=True, exist_ok=True)
    width = teacher.network.trunk.width if teacher is not None and recipe.imitate else 0
    student = Student(network, width).to(memory_format=torch.channels_last)
    averaged = copy.deepcopy(network).eval().requires_grad_(False)
    optimiser = torch.optim.AdamW(_groups(student, recipe), lr=recipe.lr)
    start, running = _resume(to, student, averaged, optimiser), 0.0
    saved = time.monotonic()
    bar = tqdm(range(start, recipe.steps), initial=start, total=recipe.steps, unit="step", desc=recipe.name)
    for step in bar:
        scale = _schedule(step, recipe)
        for group in optimiser.param_groups:
            group["lr"] = group["base"] * scale
        batch = scenes.batch(step, recipe.batch, recipe.seconds)
        tensors = [torch.from_numpy(x) for x in (batch.log_mel, batch.labels, batch.mask, batch.real)]
        student.train()
        torch.manual_seed(recipe.seed * 1_000_003 + step)  # dropout and patchout, so that a resumed run is the same
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bf16):
            loss = loss_of(student, teacher, recipe, *tensors)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(student.parameters(), 1.0)
        optimiser.step()
        _average(averaged, network, min(recipe.ema, (step + 1) / (step + 10)))
        running += 0.02 * (loss.item() - running) if step > start else loss.item()
        bar.set_postfix(loss=f"{running:.3f}", refresh=False)
        last = step + 1 == recipe.steps
        if (step + 1) % report_every == 0 or last:
            line = {"step": step + 1, "loss": running, "lr": recipe.lr * scale, **validate(averaged, clips)}
            with (to / "log.jsonl").open("a") as log:
                log.write(json.dumps(line) + "\n")
            if on_report:
                on_report(line)
        if time.monotonic() - saved > checkpoint_every or last:
            _save(to / "checkpoint.pt", {"step": step + 1, "student": student.state_dict(),
                  "averaged": averaged.state_dict(), "optimiser": optimiser.state_dict()})  # fmt: skip
            saved = time.monotonic()
    provenance = {"command": _command(recipe), "recipe": asdict(recipe)}
    _save(to / "weights.pt", {"name": recipe.name, "config": recipe.network,
          "state_dict": averaged.state_dict(), "provenance": provenance})  # fmt: skip
    return averaged


@torch.no_grad()
def predict(network: nn.Module, clips: Clips, seconds: float = 10.0) -> np.ndarray:
    """Logits float32 [n, 20] of the last `seconds` of every clip."""
    network.eval()
    out = []
    for mel in clips.log_mels:
        out.append(network(torch.from_numpy(np.ascontiguousarray(mel[None, :, -round(seconds * 100) :])))[0].numpy())
    return np.stack(out)


def validate(network: nn.Module, clips: Clips | None) -> dict[str, float]:
    if clips is None:
        return {}
    scores = predict(network, clips)
    return {"dev_mAP": mean_average_precision(clips.truth, scores, clips.mask),
            "dev_top1": top1(clips.truth, scores, clips.solo)}  # fmt: skip


def _groups(student: Student, recipe: Recipe) -> list[dict[str, Any]]:
    """Parameters by learning rate and weight decay (none for biases and norms)."""
    groups: dict[tuple[bool, bool], list[Tensor]] = {}
    for name, parameter in student.named_parameters():
        slow = any(name.removeprefix("network.").startswith(part) for part in recipe.slow)
        groups.setdefault((slow, parameter.dim() > 1), []).append(parameter)
    return [
        {"params": params, "base": recipe.lr * (recipe.slow_lr if slow else 1.0),
         "weight_decay": recipe.weight_decay if decays else 0.0}
        for (slow, decays), params in groups.items()
    ]  # fmt: skip


def _schedule(step: int, recipe: Recipe) -> float:
    """Linear warm-up, then a cosine to 2 % of the learning rate."""
    if step < recipe.warmup:
        return (step + 1) / recipe.warmup
    done = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * done))


@torch.no_grad()
def _average(averaged: nn.Module, network: nn.Module, decay: float) -> None:
    for mean, now in zip(averaged.state_dict().values(), network.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(now, 1 - decay)
        else:
            mean.copy_(now)


def _resume(to: Path, student: Student, averaged: nn.Module, optimiser: torch.optim.Optimizer) -> int:
    path = to / "checkpoint.pt"
    if not path.is_file():
        return 0
    state = torch.load(path, weights_only=True)
    student.load_state_dict(state["student"])
    averaged.load_state_dict(state["averaged"])
    optimiser.load_state_dict(state["optimiser"])
    return int(state["step"])


def _command(recipe: Recipe) -> str:
    return " ".join(["python -m", f"training.{recipe.name}", *sys.argv[1:]])


def _save(path: Path, state: dict[str, Any]) -> None:
    partial = path.with_suffix(".partial")
    torch.save(state, partial)
    os.replace(partial, path)
