"""A run's figures as they come: JSON lines and csv beside the checkpoint, and TensorBoard if asked."""

import csv
import json
from pathlib import Path
from typing import Any

from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.training.staging import staged_file


class Journal:
    """`log.jsonl` and `log.csv` in a run's folder, a line an evaluation.

    Args:
        to: the folder.
        step: lines after this step are of a life that was cut short; they are dropped, to be written again.
        tensorboard: also write event files under `to`/tensorboard.

    Raises:
        UsageError: TensorBoard is asked for and not installed.
        InputFileError: the log that is there is damaged.
    """

    def __init__(self, to: Path, step: int = 0, tensorboard: bool = False) -> None:
        self.to = to
        self.lines = [line for line in self._read() if line["step"] <= step]
        self._write()
        self._board = _board(to / "tensorboard", step) if tensorboard else None

    def add(self, line: dict[str, Any]) -> None:
        """One evaluation: step and figures."""
        self.lines.append(line)
        self._write()
        if self._board is not None:
            for name, value in line.items():
                if isinstance(value, int | float) and name != "step":
                    self._board.add_scalar(name, value, line["step"])
            self._board.flush()

    def _read(self) -> list[dict[str, Any]]:
        path = self.to / "log.jsonl"
        try:
            lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
            return [line for line in lines if isinstance(line["step"], int)]
        except FileNotFoundError:
            return []
        except (ValueError, TypeError, KeyError) as error:
            raise InputFileError(f"{path}: not a log of a run: {error}", "move it away to go on without") from error

    def _write(self) -> None:
        with staged_file(self.to / "log.jsonl") as partial:
            partial.write_text("".join(json.dumps(line) + "\n" for line in self.lines), encoding="utf-8")
        names = list(dict.fromkeys(name for line in self.lines for name in line))
        with staged_file(self.to / "log.csv") as partial, partial.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, names)
            writer.writeheader()
            writer.writerows(self.lines)


def _board(to: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError(
            "TensorBoard is not installed", "pip install tensorboard, or leave out --tensorboard"
        ) from error
    return SummaryWriter(str(to), purge_step=step + 1)
