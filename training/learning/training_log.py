"""A run's figures during training: JSON lines and csv next to the checkpoint, and optionally TensorBoard or
Weights & Biases."""

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.training.staging import exclusive_file


class TrainingLog:
    """`log.jsonl` and `log.csv` in a run's folder, one line per evaluation.

    Args:
        to: the folder.
        step: of the checkpoint; later lines are dropped, since the resumed run writes them again.
        tensorboard: also write event files under `to`/tensorboard.
        wandb: also send them to this project of Weights & Biases, with `run.json` as the run's configuration.

    Raises:
        UsageError: TensorBoard or wandb is requested and not installed.
        InputFileError: the existing log is damaged.
    """

    def __init__(self, to: Path, step: int = 0, tensorboard: bool = False, wandb: str | None = None) -> None:
        self.to = to
        self.lines = [line for line in self._read() if line["step"] <= step]
        self._write()
        self._board = _board(to / "tensorboard", step) if tensorboard else None
        self._wandb = _wandb(wandb, to) if wandb else None

    def add(self, line: dict[str, Any]) -> None:
        """One evaluation: step and figures."""
        self.lines.append(line)
        self._write()
        if self._board is not None:
            for name, value in line.items():
                if isinstance(value, int | float) and name != "step":
                    self._board.add_scalar(name, value, line["step"])
            self._board.flush()
        if self._wandb is not None:
            self._wandb.log(line, step=line["step"])

    def _read(self) -> list[dict[str, Any]]:
        path = self.to / "log.jsonl"
        try:
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            return [line for line in lines if isinstance(line["step"], int)]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError, KeyError) as error:
            raise InputFileError(
                f"{path}: not a log of a run: {error}", "move it away to continue without it"
            ) from error

    def _write(self) -> None:
        with exclusive_file(self.to / "log.jsonl") as partial:
            partial.write_text("".join(json.dumps(line) + "\n" for line in self.lines), encoding="utf-8")
        names = list(dict.fromkeys(name for line in self.lines for name in line))
        with exclusive_file(self.to / "log.csv") as partial, partial.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, names)
            writer.writeheader()
            writer.writerows(self.lines)


def _wandb(project: str, to: Path) -> Any:
    try:
        import wandb
    except ImportError as error:
        raise UsageError("wandb is not installed", "pip install wandb, or leave out --wandb") from error
    about = json.loads((to / "run.json").read_text(encoding="utf-8"))
    key = hashlib.sha256(str(to.resolve()).encode()).hexdigest()[:16]  # a resumed run continues there
    return wandb.init(project=project, name=to.name, id=key, resume="allow", config=about, dir=str(to))


def _board(to: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError(
            "TensorBoard is not installed", "pip install tensorboard, or leave out --tensorboard"
        ) from error
    return SummaryWriter(str(to), purge_step=step + 1)
