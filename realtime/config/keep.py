"""Writes the thresholds changed on the screen into the settings file, and leaves the rest of the file as it is."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instrec_live.models.errors import UsageError, cannot_write
from instrec_live.models.files import atomic_text, read_text
from instrec_live.realtime.config.file import LARGEST

_TABLE = re.compile(r"^\s*\[\s*thresholds\s*\]\s*(#.*)?$")
_ANY_TABLE = re.compile(r"^\s*\[")
_PAIR = re.compile(r"""^\s*(?P<key>[\w-]+|"[^"]*"|'[^']*')\s*=""")


@dataclass(frozen=True, slots=True)
class ThresholdKeeper:
    """Saves thresholds.

    Attributes:
        path: the settings file; it is created if there is none.
    """

    path: Path

    def write(self, thresholds: Mapping[str, float]) -> None:
        """Write these thresholds by instrument into the table [thresholds] of the file.

        Raises:
            UsageError: the file cannot be read or written, or holds its thresholds in another way.
        """
        before = self._read()
        text = with_thresholds(before, thresholds)
        if text is None:
            raise UsageError(
                f"cannot change the thresholds in {self.path}: they are not in a table [thresholds]",
                "set them by hand: " + ", ".join(f"{name} = {value:g}" for name, value in thresholds.items()),
            )
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            atomic_text(self.path.resolve(), text)
        except OSError as error:
            raise cannot_write(self.path, error) from error

    def _read(self) -> str:
        try:
            return read_text(self.path, LARGEST)
        except FileNotFoundError:
            return ""
        except OSError as error:
            raise UsageError(f"settings file {self.path}: {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise UsageError(f"settings file {self.path} is not text in UTF-8 (byte {error.start})") from error


def with_thresholds(text: str, thresholds: Mapping[str, float]) -> str | None:
    """A settings file with other thresholds in its table [thresholds], its other lines untouched.

    None where that cannot be done by changing lines of such a table, or by adding one at the end.
    """
    lines = text.splitlines()
    begins = next((number for number, line in enumerate(lines) if _TABLE.match(line)), None)
    if begins is None:
        lines += ["", "[thresholds]"] if lines else ["[thresholds]"]
        begins = len(lines) - 1
    ends = next((n for n in range(begins + 1, len(lines)) if _ANY_TABLE.match(lines[n])), len(lines))
    table, left = lines[begins + 1 : ends], dict(thresholds)
    for number, line in enumerate(table):
        name = _instrument(line)
        if name in left:
            table[number] = f"{name} = {left.pop(name):g}"
    while table and not table[-1].strip():
        table.pop()
    table += [f"{name} = {value:g}" for name, value in left.items()]
    rest = ["", *lines[ends:]] if ends < len(lines) else []
    changed = "\n".join([*lines[: begins + 1], *table, *rest]) + "\n"
    try:
        was, now = _content(text), _content(changed)
    except (ValueError, RecursionError):
        return None
    wanted = was.pop("thresholds", {})
    found = now.pop("thresholds", None)
    if not isinstance(wanted, dict) or was != now:
        return None
    return changed if found == {_plain(key): each for key, each in wanted.items()} | _rounded(thresholds) else None


def _content(text: str) -> dict[str, Any]:
    content = tomllib.loads(text)
    if isinstance(table := content.get("thresholds"), dict):
        content["thresholds"] = {_plain(key): value for key, value in table.items()}
    return content


def _rounded(thresholds: Mapping[str, float]) -> dict[str, float]:
    return {name: float(f"{value:g}") for name, value in thresholds.items()}


def _instrument(line: str) -> str:
    """The instrument whose threshold a line gives."""
    found = _PAIR.match(line)
    return _plain(found["key"].strip("\"'")) if found else ""


def _plain(name: str) -> str:
    return name.strip().lower().replace(" ", "_").replace("-", "_")
