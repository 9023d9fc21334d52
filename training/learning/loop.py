"""One training loop for all networks: seeded, resumable, on one or many processes, with averaged weights.

A step's batch depends only on (seed, step), and a checkpoint holds everything else that changes; so a run that is
killed and started again ends as one that was not, bit for bit on a CPU.
"""

import copy
import math
import sys
import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from instrec_live.models.errors import InputFileError, ModelError
from instrec_live.models.fetch.lock import alone
from instrec_live.training.command import without_folders
from instrec_live.training.learning.averaging import Average
from instrec_live.training.learning.distributed import Crew, share_batches
from instrec_live.training.learning.feed import Feed, batches
from instrec_live.training.learning.journal import Journal
from instrec_live.training.learning.losses import Student, Teacher, loss_of
from instrec_live.training.learning.optimiser import optimiser_of, schedule, set_rate
from instrec_live.training.learning.recipe import Recipe
from instrec_live.training.staging import staged_file

_RESUME = "resume with the same options, or give another --to"
Validate = Callable[[nn.Module], dict[str, float]]  # a network in eval mode -> its figures


def train(
    recipe: Recipe,
    network: nn.Module,
    feed: Feed,
    to: Path,
    teacher: Teacher | None = None,
    validate: Validate | None = None,
    positive_weight: Tensor | None = None,
    crew: Crew | None = None,
    workers: int = 0,
    threads: int = 1,
    checkpoint_every: float = 120.0,
    tensorboard: bool = False,
    finish: Callable[[nn.Module], None] | None = None,
    program: str | None = None,
) -> nn.Module:
    """Train, or go on training, in the folder `to`; `finish` may change the resulting weights before they are kept, and
    with them is kept which `program` trained them, if not the network's own recipe.

    Writes `checkpoint.pt` (everything, every `checkpoint_every` seconds), `log.jsonl` and `log.csv` (losses and
    figures), and at the end `weights.pt` (the result).

    Returns:
        the resulting network in eval mode, on the CPU.

    Raises:
        ModelError: the checkpoint in `to` is unreadable, or of another recipe.
        InputFileError: the loss is no longer finite.
        UsageError: another run is training in `to`.
    """
    crew = crew or Crew()
    to.mkdir(parents=True, exist_ok=True)
    with alone(to / ".lock", busy=f"{to}: another run is training there") if crew.leads else nullcontext():
        torch.set_num_threads(threads)
        torch.manual_seed(recipe.seed)
        run = _Run(recipe, network, teacher, crew)
        run.resume(to / "checkpoint.pt")
        journal = Journal(to, run.step, tensorboard) if crew.leads else None
        positive_weight = None if positive_weight is None else positive_weight.to(crew.device)
        saved = began = time.monotonic()
        waited, first, running = 0.0, run.step, run.running
        hidden = None if crew.leads else True  # None: where stderr is no terminal
        bar = tqdm(initial=run.step, total=recipe.steps, unit="step", desc=recipe.name, disable=hidden)
        steps = range(run.step, 0 if run.ended else recipe.steps)
        supply = batches(feed, steps, workers, crew.rank, crew.world, crew.device)
        for step in steps:
            asked = time.monotonic()
            batch = next(supply)
            waited += time.monotonic() - asked
            loss = run.learn(batch, teacher, positive_weight)
            running += (0.02 if step > 0 else 1.0) * (loss - running)
            run.step, run.running = step + 1, running
            if not math.isfinite(running):
                raise InputFileError(f"the loss is {running} after {step + 1} steps", "a lower --lr helps")
            bar.update()
            bar.set_postfix(loss=f"{running:.3f}", wait=f"{waited / (time.monotonic() - began):.0%}", refresh=False)
            last = step + 1 == recipe.steps
            if (step + 1) % recipe.evaluate_every == 0 or last:
                line = run.judge(validate) if crew.leads else {}
                run.ended = crew.told(run.ended)
                if journal is not None:
                    seconds = time.monotonic() - began
                    line |= {"clips_per_second": round((step + 1 - first) * recipe.batch / seconds, 2),
                             "waiting": round(waited / seconds, 3)}  # fmt: skip
                    journal.add(line)
                    bar.write(", ".join(f"{name} {value:.4g}" for name, value in line.items()), sys.stderr)
            if crew.leads and (time.monotonic() - saved >= checkpoint_every or last or run.ended):
                run.save(to / "checkpoint.pt")
                saved = time.monotonic()
            if run.ended:
                break
        bar.close()
        result = copy.deepcopy(run.result()).eval().cpu()
        if finish is not None:
            finish(result)
        if crew.leads:
            provenance = {
                "command": _command(program or recipe.name),
                "recipe": recipe.as_dict(),
                "steps": run.step,
                "best": run.best,
            }
            save(to / "weights.pt", {"name": recipe.name, "config": recipe.network,
                 "state_dict": result.state_dict(), "provenance": provenance})  # fmt: skip
        return result


class _Run:
    """What changes while a run goes on, and how it is kept."""

    def __init__(self, recipe: Recipe, network: nn.Module, teacher: Teacher | None, crew: Crew) -> None:
        self.recipe, self.crew = recipe, crew
        if teacher is not None:
            teacher.to(crew.device)
        width = teacher.width if teacher is not None and recipe.imitate else 0
        self.average = Average(network.to(crew.device), recipe)
        student = Student(network.cpu(), width)
        if crew.world > 1:
            share_batches(student, crew)
        self.student = student.to(crew.device, memory_format=torch.channels_last)
        # Some parameters rest: PaSST's second head always, the projection when no teacher speaks.
        self.together: nn.Module = (
            DistributedDataParallel(self.student, find_unused_parameters=True) if crew.world > 1 else self.student
        )
        self.optimiser = optimiser_of(self.student, recipe)
        self.scaler = torch.amp.GradScaler(crew.device.type, enabled=recipe.precision == "fp16")
        self.step, self.running = 0, 0.0
        self.best: dict[str, float] = {}
        self.best_state: dict[str, Tensor] = {}
        self.since_best, self.ended = 0, False

    def learn(self, batch: Any, teacher: Teacher | None, positive_weight: Tensor | None) -> float:
        """One step; returns its loss over all processes' rows."""
        recipe, crew = self.recipe, self.crew
        set_rate(self.optimiser, self.step, recipe)
        self.together.train()
        # Dropout and patchout depend on the step alone too, so that a resumed run is the same.
        torch.manual_seed(recipe.seed * 1_000_003 + self.step)
        kind = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}[recipe.precision]
        with torch.autocast(crew.device.type, kind, enabled=recipe.precision != "fp32"):
            loss = loss_of(self.together, teacher, recipe, batch, crew, positive_weight)
        self.optimiser.zero_grad()
        self.scaler.scale(loss).backward()
        if recipe.clip:
            self.scaler.unscale_(self.optimiser)
            nn.utils.clip_grad_norm_(self.student.parameters(), recipe.clip)
        self.scaler.step(self.optimiser)
        self.scaler.update()
        self.average.update(self.student.network, self.step + 1)
        return float(crew.whole(loss.detach()) / crew.world)

    def judge(self, validate: Validate | None) -> dict[str, Any]:
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

    def save(self, path: Path) -> None:
        save(path, {"recipe": self.recipe.as_dict(), "step": self.step, "running": self.running,
             "student": self.student.state_dict(), "averaged": self.average.network.state_dict(),
             "taken": self.average.taken, "optimiser": self.optimiser.state_dict(), "scaler": self.scaler.state_dict(),
             "best": self.best, "best_state": self.best_state, "since_best": self.since_best,
             "ended": self.ended})  # fmt: skip

    def resume(self, path: Path) -> None:
        state = None
        if self.crew.leads and path.is_file():
            try:
                state = torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:  # torch raises whatever its unpickler or zip reader met
                raise ModelError(f"{path}: not a readable checkpoint", "remove it to begin anew") from error
        state = self.crew.told(state)
        if state is None:
            return
        try:
            for name, value in self.recipe.as_dict().items():
                if name not in state["recipe"]:
                    raise ModelError(f"{path}: made by another version, which knew no {name!r}", _RESUME)
                if _plain(state["recipe"][name]) != _plain(value):
                    raise ModelError(f"{path}: made with {name} {state['recipe'][name]}, not {value}", _RESUME)
            self.student.load_state_dict(state["student"])
            self.average.network.load_state_dict(state["averaged"])
            self.average.taken = state["taken"]
            self.optimiser.load_state_dict(state["optimiser"])
            self.scaler.load_state_dict(state["scaler"])
            self.step, self.running, self.ended = state["step"], state["running"], state["ended"]
            self.best, self.best_state, self.since_best = state["best"], state["best_state"], state["since_best"]
        except (RuntimeError, ValueError, KeyError, TypeError) as error:  # as with another teacher, or version
            raise ModelError(f"{path}: not of this run: {str(error)[:160]}", _RESUME) from error


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _command(program: str) -> str:
    return without_folders(" ".join(["python -m", f"training.{program}", *sys.argv[1:]]))


def save(path: Path, state: dict[str, Any]) -> None:
    """torch.save, whole or not at all.

    Raises:
        OSError: no room, no rights.
    """
    with staged_file(path) as partial, partial.open("wb") as handle:
        try:
            torch.save(state, handle)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):  # torch hides a full disk behind its own
                raise OSError(error.__context__.errno, error.__context__.strerror, str(path)) from error
            raise
