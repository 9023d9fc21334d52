"""--print-config: the settings in force, written as the file that would give them."""

import json
import textwrap
from argparse import Action
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from instrec_live.models.errors import UsageError
from instrec_live.realtime.config.reading import asked, default_path, holds_many, keys
from instrec_live.realtime.errors import printable
from instrec_live.realtime.options import parser

_WIDTH = 100


def show(argv: Sequence[str]) -> int:
    """Print a settings file with every key and its help; what nobody set is commented out.

    Raises:
        UsageError: as the command line itself; or a name that no TOML can hold.
    """
    print("\n".join(written(argv)))
    return 0


def written(argv: Sequence[str]) -> list[str]:
    """The lines of that file."""
    grammar, both = parser(), asked(argv)
    lines = [
        "# Settings of instrec-live: the options of its command line, which overrule this file.",
        f"# It is looked for as {printable(str(default_path()))}; --config names another.",
    ]
    if both.path is not None:
        lines.append(f"# In force now: {printable(str(both.path))}")
    known = {action.dest: key for key, action in keys(grammar).items()}
    tables: list[str] = []
    for group in grammar._action_groups:
        actions = [action for action in group._group_actions if action.dest in known]
        if actions:
            lines += ["", f"## {group.title}"]
        for action in actions:
            key, value = known[action.dest], getattr(both.values, action.dest)
            lines += ["", *(f"# {line}" for line in textwrap.wrap(_help(action), _WIDTH))]
            if isinstance(value, Mapping):
                lines.append(f"# as a table, at the end: [{key}]")
                tables += ["", f"[{key}]", *(f"{_quoted(name)} = {_toml(level)}" for name, level in value.items())]
            elif action.dest in both.said:
                lines.append(f"{key} = {_toml(_listed(action, value))}")
            else:
                lines.append(f"#{key} = {_example(action)}")
    return [*lines, *tables]


def _help(action: Action) -> str:
    choices = f" [{', '.join(map(str, action.choices))}]" if action.choices else ""
    return f"{(action.help or '').replace('%%', '%')}{choices}"


def _example(action: Action) -> str:
    """The default; where there is none, what is meant."""
    if action.default is None:
        return _toml(str(action.metavar or action.dest.upper()))
    return _toml(_listed(action, action.default))


def _listed(action: Action, value: Any) -> Any:
    if holds_many(action) and isinstance(value, str):
        return [_number_or_text(text) for text in value.split(",")]
    return value


def _number_or_text(text: str) -> int | float | str:
    """A number where it would read back as the same text."""
    for kind in (int, float):
        try:
            number = kind(text)
        except ValueError:
            continue
        if repr(number) == text:
            return number
    return text


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, Path):
        text = str(value)
        return _quoted(f"./{text}" if text.startswith("~") else text)
    return _quoted(str(value))


def _quoted(text: str) -> str:
    """TOML's basic string: JSON's, but for one control character more."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise UsageError(f"{printable(text)} is not Unicode, and a settings file is", "give it another name") from None
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
