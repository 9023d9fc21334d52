"""One training loop for all networks: seeded, resumable, on one or many processes, with averaged weights.

A step's batch depends only on (seed, step), and a checkpoint holds all other state; so a run that is killed and started
again gives the same result as an uninterrupted one, bit for bit on a CPU.
"""

import copy
import json
import math
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from instrec_live.models.errors import InputFileError, ModelError
from instrec_live.models.fetch.lock import file_lock
from instrec_live.training.command import without_folders
from instrec_live.training.data.provenance import difference
from instrec_live.training.learning.batches import BatchLoader, batches
from instrec_live.training.learning.distributed import ProcessGroup, share_batches
from instrec_live.training.learning.losses import Student, Teacher, loss_of
from instrec_live.training.learning.optimiser import Average, optimiser_of, schedule, set_rate
from instrec_live.training.learning.recipe import Recipe
from instrec_live.training.learning.training_log import TrainingLog
from instrec_live.training.staging import exclusive_file

_BYTES_A_SECOND = 2_000_000  # of checkpoints, on average: 1.7 GB (PaSST-S) every 14 minutes
_RESUME = "resume with the same options, or give another --to"
Validate = Callable[[nn.Module], dict[str, float]]  # a network in eval mode -> its figures


def train(
    recipe: Recipe,
    network: nn.Module,
    loader: BatchLoader,
    to: Path,
    teacher: Teacher | None = None,
    validate: Validate | None = None,
    positive_weight: Tensor | None = None,
    group: ProcessGroup | None = None,
    workers: int = 0,
    threads: int = 1,
    checkpoint_every: float = 120.0,
    tensorboard: bool = False,
    wandb: str | None = None,
    accumulate: int = 1,
    compiled: bool = False,
    finish: Callable[[nn.Module], None] | None = None,
    program: str | None = None,
    record: Mapping[str, Any] | None = None,
) -> nn.Module:
    """Train in the folder `to`, or resume the run there.

    `accumulate` is the number of parts that each batch is computed in: less memory, the same gradient, but batch norms
    see a part at a time. `compiled` compiles the network for the GPU. `wandb` names a project of Weights & Biases.
    `finish` may change the resulting weights before they are written. `program` is the name of the recipe for
    provenance, if it is not the network's. `record` is what it learns from (provenance.py): it is written into every
    checkpoint and in `run.json`, from the beginning on, and a run with other data, shares of them or
    initial weights is not resumed.

    Writes `checkpoint.pt` (everything, every `checkpoint_every` seconds, a large one less often; the last one without
    the optimiser's state), `log.jsonl` and `log.csv` (losses and figures), and at the end `weights.pt` (the result).

    Returns:
        the resulting network in eval mode, on the CPU.

    Raises:
        ModelError: the checkpoint in `to` is unreadable, or of another recipe or other data.
        InputFileError: the loss is no longer finite.
        UsageError: another run is training in `to`.
    """
    group = group or ProcessGroup()
    to.mkdir(parents=True, exist_ok=True)
    with file_lock(to / ".lock", busy=f"{to}: another run is training there") if group.is_main else nullcontext():
        torch.set_num_threads(threads)
        torch.manual_seed(recipe.seed)
        # TF32 rounds the factors of float32 products to 10 bits; "highest" does not.
        torch.set_float32_matmul_precision("high" if recipe.precision == "tf32" else "highest")
        torch.backends.cudnn.allow_tf32 = recipe.precision == "tf32"
        run = _Run(recipe, network, teacher, group, dict(record or {}), accumulate, compiled)
        run.resume(to / "checkpoint.pt")
        if group.is_main:
            about = {"command": _command(program or recipe.name), "recipe": recipe.as_dict(), "trained_on": run.record}
            with exclusive_file(to / "run.json") as partial:
                partial.write_text(json.dumps(about, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        log = TrainingLog(to, run.step, tensorboard, wandb) if group.is_main else None
        positive_weight = None if positive_weight is None else positive_weight.to(group.device)
        saved = began = time.monotonic()
        waited, first, running, took, written = 0.0, run.step, run.running, 0.0, 0
        hidden = None if group.is_main else True  # None: hidden unless stderr is a terminal
        bar = tqdm(initial=run.step, total=recipe.steps, unit="step", desc=recipe.name, disable=hidden)
        steps = range(run.step, 0 if run.ended else recipe.steps)
        supply = batches(loader, steps, workers, group.rank, group.world, group.device)
        for step in steps:
            asked = time.monotonic()
            batch = next(supply)
            waited += time.monotonic() - asked
            loss = run.learn(batch, teacher, positive_weight)
            running += (0.02 if step > 0 else 1.0) * (loss - running)
            run.step, run.running = step + 1, running
            if not math.isfinite(running):
                raise InputFileError(f"the loss is {running} after {step + 1} steps", "try a lower --lr")
            bar.update()
            bar.set_postfix(loss=f"{running:.3f}", wait=f"{waited / (time.monotonic() - began):.0%}", refresh=False)
            last = step + 1 == recipe.steps
            if (step + 1) % recipe.evaluate_every == 0 or last:
                line = run.evaluate(validate) if group.is_main else {}
                run.ended = group.broadcast(run.ended)
                if log is not None:
                    seconds = time.monotonic() - began
                    line |= {"clips_per_second": round((step + 1 - first) * recipe.batch / seconds, 2),
                             "waiting": round(waited / seconds, 3)}  # fmt: skip
                    log.add(line)
                    short = {name: value for name, value in line.items() if not name.startswith("AP ")}
                    bar.write(", ".join(f"{name} {value:.4g}" for name, value in short.items()), sys.stderr)
            # A large network's checkpoint takes long to write, and much of the disk: it is written less often.
            apart = max(checkpoint_every, 20 * took, written / _BYTES_A_SECOND) if checkpoint_every else 0
            due = time.monotonic() - saved >= apart
            if group.is_main and (due or last or run.ended):
                writing = time.monotonic()
                run.save(to / "checkpoint.pt", finished=last or run.ended)
                saved = time.monotonic()
                took, written = saved - writing, (to / "checkpoint.pt").stat().st_size
            if run.ended:
                break
        bar.close()
        result = copy.deepcopy(run.result()).eval().cpu()
        if finish is not None:
            finish(result)
        if group.is_main:
            provenance = {
                "command": _command(program or recipe.name),
                "recipe": recipe.as_dict(),
                "steps": run.step,
                "best": run.best,
                "trained_on": run.record,
            }
            save(to / "weights.pt", {"name": recipe.name, "config": recipe.network,
                 "state_dict": result.state_dict(), "provenance": provenance})  # fmt: skip
        return result


class _Run:
    """The state of a run, and its checkpoints."""

    def __init__(
        self,
        recipe: Recipe,
        network: nn.Module,
        teacher: Teacher | None,
        group: ProcessGroup,
        record: dict[str, Any],
        accumulate: int = 1,
        compiled: bool = False,
    ) -> None:
        self.recipe, self.group, self.record, self.accumulate = recipe, group, record, accumulate
        if teacher is not None:
            teacher.to(group.device)
        width = teacher.width if teacher is not None and recipe.imitate else 0
        self.average = Average(network.to(group.device), recipe)
        student = Student(network.cpu(), width)
        if group.world > 1:
            share_batches(student, group)
        # torch documents memory_format, and its types leave it out.
        self.student = student.to(group.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        # Some parameters get no gradient: PaSST's second head never, the projection not without a teacher.
        self.parallel: nn.Module = (
            DistributedDataParallel(self.student, find_unused_parameters=True) if group.world > 1 else self.student
        )
        if compiled:
            self.parallel = torch.compile(self.parallel)  # type: ignore[assignment]  # torch types it as a function
        self.optimiser = optimiser_of(self.student, recipe)
        self.scaler = torch.amp.GradScaler(group.device.type, enabled=recipe.precision == "fp16")
        self.step, self.running = 0, 0.0
        self.best: dict[str, float] = {}
        self.best_state: dict[str, Tensor] = {}
        self.since_best, self.ended = 0, False

    def learn(self, batch: Any, teacher: Teacher | None, positive_weight: Tensor | None) -> float:
        """One step; returns its loss over all processes' rows."""
        recipe, group = self.recipe, self.group
        set_rate(self.optimiser, self.step, recipe)
        self.parallel.train()
        # Dropout and patchout depend on the step alone too, so that a resumed run gives the same result.
        torch.manual_seed(recipe.seed * 1_000_003 + self.step)
        kind = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(recipe.precision, torch.float32)
        self.optimiser.zero_grad()
        total = torch.zeros((), device=group.device)
        parts = batch.parts(self.accumulate) if self.accumulate > 1 else [batch]
        for number, part in enumerate(parts, start=1):
            waits = group.world > 1 and number < len(parts)  # processes share their gradients once a batch
            with self.parallel.no_sync() if waits else nullcontext():  # type: ignore[operator]  # of DDP
                with torch.autocast(group.device.type, kind, enabled=kind != torch.float32):
                    loss = loss_of(self.parallel, teacher, recipe, part, group, positive_weight, batch)
                self.scaler.scale(loss).backward()
            total += loss.detach()
        if recipe.clip:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.student.parameters(), recipe.clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.average.update(self.student.network, self.step + 1)
        return float(group.sum(total) / group.world)

    def evaluate(self, validate: Validate | None) -> dict[str, Any]:
        """Evaluate the averaged weights, and keep them if they are the best so far."""
        recipe = self.recipe
        line: dict[str, Any] = {
            "step": self.step,
            "loss": self.running,
            "lr": recipe.lr * schedule(self.step - 1, recipe),
        }
        if validate is None:
            return line
        figures = validate(self.average.network)
        if recipe.select != "last":
            score = figures[f"valid_{recipe.select}"] * (-1 if recipe.select == "loss" else 1)
            if not self.best or score > self.best["score"]:
                self.best = {"score": score, "step": self.step}
                self.best_state = {k: v.clone() for k, v in self.average.network.state_dict().items()}
                self.since_best = 0
            else:
                self.since_best += 1
                self.ended = bool(recipe.patience) and self.since_best >= recipe.patience
        return line | figures

    def result(self) -> nn.Module:
        if self.best_state:
            self.average.network.load_state_dict(self.best_state)
        return self.average.network

    def save(self, path: Path, finished: bool = False) -> None:
        further = {} if finished else {"optimiser": self.optimiser.state_dict(), "scaler": self.scaler.state_dict()}
        save(path, {"recipe": self.recipe.as_dict(), "trained_on": self.record, "step": self.step,
             "running": self.running, "student": self.student.state_dict(),
             "averaged": self.average.network.state_dict(), "taken": self.average.taken,
             **further, "best": self.best, "best_state": self.best_state, "since_best": self.since_best,
             "ended": self.ended})  # fmt: skip

    def resume(self, path: Path) -> None:
        state = None
        if self.group.is_main and path.is_file():
            try:
                state = torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:  # torch passes on any error of its unpickler or zip reader
                raise ModelError(f"{path}: not a readable checkpoint", "remove it to start again") from error
        state = self.group.broadcast(state)
        if state is None:
            return
        try:
            for name, value in self.recipe.as_dict().items():
                if name not in state["recipe"]:
                    raise ModelError(f"{path}: made by another version, without {name!r}", _RESUME)
                if _plain(state["recipe"][name]) != _plain(value):
                    raise ModelError(f"{path}: made with {name} {state['recipe'][name]}, not {value}", _RESUME)
            if other := difference(state.get("trained_on", {}), self.record):
                raise ModelError(f"{path}: made with {other} than are given now", _RESUME)
            self.student.load_state_dict(state["student"])
            self.average.network.load_state_dict(state["averaged"])
            self.average.taken = state["taken"]
            self.step, self.running, self.ended = state["step"], state["running"], state["ended"]
            if not (self.ended or self.step == self.recipe.steps):
                self.optimiser.load_state_dict(state["optimiser"])
                self.scaler.load_state_dict(state["scaler"])
            self.best, self.best_state, self.since_best = state["best"], state["best_state"], state["since_best"]
        except (RuntimeError, ValueError, KeyError, TypeError) as error:  # another teacher or version
            raise ModelError(f"{path}: not of this run: {str(error)[:160]}", _RESUME) from error


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _command(program: str) -> str:
    return without_folders(" ".join(["python -m", f"training.{program}", *sys.argv[1:]]))


def save(path: Path, state: dict[str, Any]) -> None:
    """torch.save, completely or not at all.

    Raises:
        OSError: no disk space, no permission.
    """
    with exclusive_file(path) as partial, partial.open("wb") as handle:
        try:
            torch.save(state, handle)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # torch raises its own error for a full disk
                raise OSError(error.__context__.errno, error.__context__.strerror, str(path)) from error
            raise
