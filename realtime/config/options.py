"""Options: how one is declared, and the parser, borrowed options and completion that follow from declarations.

Imports nothing heavy: --help must not wait.
"""

import argparse
import copy
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field, fields
from pathlib import Path
from typing import Any, NoReturn

from instrec_live.models.errors import UsageError

_GROUP, _FLAGS, _EXCLUSIVE, _HOW = "group", "flags", "exclusive", "how"  # keys of a field's metadata


def option(group: str, *flags: str, help: str, exclusive: str | None = None, default: Any = None, **how: Any) -> Any:
    """A field of a settings class that is an option: its only declaration.

    Args:
        group: title of its group in --help.
        flags: as typed; a settings file has the long one, with _ for -.
        help: the line of --help and of --print-config.
        exclusive: options with the same value here exclude each other.
        default: when it is not given.
        how: `type`, `choices`, `metavar`, `action`, … as `argparse` takes them.
    """
    metadata = {_GROUP: group, _FLAGS: flags, _EXCLUSIVE: exclusive, _HOW: {"help": help, **how}}
    if isinstance(default, list):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def switch(group: str, *flags: str, help: str, exclusive: str | None = None) -> Any:
    """An option without a value: True if it is given."""
    return option(group, *flags, help=help, exclusive=exclusive, default=False, action="store_true")


def add_options(parser: "Parser", declared: type) -> None:
    """Add all options of a settings class, in the order of its fields."""
    groups: dict[str, Any] = {}
    exclusive: dict[str, Any] = {}
    for each in fields(declared):
        if _FLAGS not in each.metadata:
            continue
        title, together = each.metadata[_GROUP], each.metadata[_EXCLUSIVE]
        group = groups[title] = groups.get(title) or parser.add_argument_group(title)
        if together is not None:
            group = exclusive[together] = exclusive.get(together) or group.add_mutually_exclusive_group()
        how = dict(each.metadata[_HOW])
        if how.get("action") not in ("help", Version):
            how["default"] = each.default_factory() if callable(each.default_factory) else each.default
        group.add_argument(*each.metadata[_FLAGS], dest=each.name, **how)


class Parser(argparse.ArgumentParser):
    """Raises a UsageError of one line for every mistake."""

    def error(self, message: str) -> NoReturn:
        message = message.removeprefix("argument ")
        raise UsageError(message, f"{self.prog} --help shows all options")

    def parse_intermixed_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As argparse does, which makes options of words behind "--" that begin with "-"."""
        words = list(args)
        ahead = words.index("--") if "--" in words else len(words)
        found = super().parse_intermixed_args(words[:ahead], namespace)
        try:
            for action in self._get_positional_actions():
                getattr(found, action.dest).extend(self._get_value(action, word) for word in words[ahead + 1 :])
        except argparse.ArgumentError as error:
            self.error(str(error))
        return found

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse does, which before Python 3.13 makes an empty list of a value that is "--"."""
        found, unknown = super().parse_known_args(args, namespace)
        for action in self._actions:
            value = getattr(found, action.dest, action.default)
            given = action.option_strings and isinstance(value, list) and value is not action.default
            if given and [] in (value, *value):
                self.error(f"{'/'.join(action.option_strings)}: expected one argument")
        return found, unknown

    def _get_value(self, action: argparse.Action, arg_string: str) -> Any:
        """As argparse does, but refuse the empty word of a shell variable that is not set: as a path, it would be the
        current folder.
        """
        if not arg_string and action.const != "":
            raise argparse.ArgumentError(action, "must not be empty")
        return super()._get_value(action, arg_string)


class Version(argparse.Action):
    """Looks the version up only when asked: that takes longer than all of --help."""

    def __init__(self, option_strings: Sequence[str], dest: str, **kwargs: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **kwargs)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        print(f"instrec-live {version('instrec-live')}")
        parser.exit()


def number(low: float, high: float) -> Callable[[str], float]:
    def parse_number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:  # also refuses NaN
            raise argparse.ArgumentTypeError(f"must be a number from {low:g} to {high:g}, not {text!r}")
        return value

    return parse_number


def path_or_url(text: str) -> Path | str:
    """A path; an address is unchanged."""
    return text if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", text) else Path(text)


def channel(text: str) -> str | int:
    """left, right, mix, or a number from 1."""
    if text in ("left", "right", "mix"):
        return text
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 64):
        raise argparse.ArgumentTypeError(f"must be left, right, mix or a number from 1 to 64, not {text!r}")
    return int(text)


def whole(low: int, high: int) -> Callable[[str], int]:
    def parse_whole(text: str) -> int:
        if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
            raise argparse.ArgumentTypeError(f"must be a whole number from {low} to {high}, not {text!r}")
        return int(text)

    return parse_whole


def borrow(
    main: argparse.ArgumentParser, other: argparse.ArgumentParser, title: str, names: Sequence[str]
) -> list[argparse.Action]:
    """Give another command some options of the main one, in a group of their own.

    Returns their actions, for `retyped`. An option that is not given is absent, so that the main command decides its
    value.
    """
    actions = {name: action for action in main._actions for name in action.option_strings}
    group, borrowed = other.add_argument_group(title), []
    for action in (copy.copy(actions[name]) for name in names if name in actions):
        if action.dest not in ("help", "version"):
            action.default = argparse.SUPPRESS
            borrowed.append(action)
        group._add_action(action)
    return borrowed


def retyped(action: argparse.Action, given: argparse.Namespace) -> list[str]:
    """A borrowed option as it was typed, for the main command to check once more."""
    value, name = getattr(given, action.dest, None), action.option_strings[-1]
    if value is None or action.dest == "help":
        return []
    if action.nargs == 0:
        return [name] * int(value)
    return [f"{name}={value}"]


def show_completion(shell: str, main: Parser, commands: Mapping[str, Parser]) -> int:
    """Print the script that completes the options of the program and of its commands in a shell."""
    import shtab

    subparsers = main.add_subparsers(metavar="COMMAND", prog="instrec-live")
    for name, command in commands.items():
        subparsers.add_parser(name, parents=[command], add_help=False, help=command.description)
    for parser in (main, *subparsers.choices.values()):
        for action in parser._actions:
            if action.type in (Path, path_or_url) or action.metavar in ("PATH", "FILE.jsonl"):
                action.complete = shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(main, shell=shell))
    return 0
