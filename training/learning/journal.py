"""A run's figures as they come: JSON lines and csv beside the checkpoint, and TensorBoard if asked."""

import csv
import json
import os
from pathlib import Path
from typing import Any

from instrec_live.models.errors import UsageError


class Journal:
    """`log.jsonl` and `log.csv` in a run's folder, a line an evaluation.

    Args:
        to: the folder.
        step: lines after this step are of a life that was cut short; they are dropped, to be written again.
        tensorboard: also write event files under `to`/tensorboard.

    Raises:
        UsageError: TensorBoard is asked for and not installed.
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
        return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []

    def _write(self) -> None:
        text = "".join(json.dumps(line) + "\n" for line in self.lines)
        _replace(self.to / "log.jsonl", text)
        names = list(dict.fromkeys(name for line in self.lines for name in line))
        partial = self.to / ".log.csv.partial"
        with partial.open("w", newline="", encoding="utf-8") as handle:
            writer = csv.DictWriter(handle, names)
            writer.writeheader()
            writer.writerows(self.lines)
        os.replace(partial, self.to / "log.csv")


def _replace(path: Path, text: str) -> None:
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def _board(to: Path, step: int) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise UsageError(
            "TensorBoard is not installed", "pip install tensorboard, or leave out --tensorboard"
        ) from error
    return SummaryWriter(str(to), purge_step=step + 1)
