"""The settings file: options of the command line under their long names, in TOML, below those that are typed."""

import argparse
import os
from argparse import SUPPRESS, Action, ArgumentParser, Namespace
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instrec_live.models.errors import UsageError
from instrec_live.realtime.options import nearest, parser

# What the program is to do is said when it is started; a file says how.
_TYPED_ONLY = frozenset(
    {
        "benchmark",
        "config",
        "doctor",
        "engines",
        "help",
        "list_devices",
        "no_config",
        "print_completion",
        "print_config",
        "serve",
        "version",
    }
)
_LARGEST = 1_000_000  # bytes; a larger file is another kind of file


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command line and a settings file ask for together.

    Attributes:
        values: every option's value by argparse's name for it; `thresholds` may be a table of the file.
        said: the names of those that were typed or set in the file; the others have their defaults.
        typed: the names of those that were typed.
        unknown: words that no option takes.
        path: the settings file, None if there is none.
    """

    values: Namespace
    said: frozenset[str]
    typed: frozenset[str]
    unknown: tuple[str, ...]
    path: Path | None


def default_path() -> Path:
    """Where the settings file is looked for without --config."""
    from platformdirs import user_config_path

    return user_config_path("instrec-live", appauthor=False) / "config.toml"


def asked(argv: Sequence[str]) -> Asked:
    """Command line over settings file over defaults. --help and --version print and raise SystemExit.

    Raises:
        UsageError: an option, or a line of the file, that makes no sense.
    """
    grammar = parser()
    defaults = {action.dest: action.default for action in grammar._actions if action.default is not SUPPRESS}
    for action in grammar._actions:
        action.default = SUPPRESS
    found, unknown = grammar.parse_known_args(argv)
    typed = vars(found)
    path = None if typed.get("no_config") else typed.get("config") or _existing(default_path())
    kept: dict[str, Any] = {}
    if path is not None:
        kept = {
            name: value
            for name, value in fitting(checked(table(path), grammar, path), typed).items()
            if name not in overruled(typed, grammar)
        }
    values = Namespace(**(defaults | kept | typed))
    return Asked(values, frozenset(kept) | frozenset(typed), frozenset(typed), tuple(unknown), path)


def keys(grammar: ArgumentParser) -> dict[str, Action]:
    """What a settings file may hold, as it is written there, in the order of --help."""
    return {key: action for key, action in _named(grammar).items() if key not in _TYPED_ONLY}


def holds_many(action: Action) -> bool:
    """Whether an option takes a list A,B,… in one word."""
    return str(action.metavar).startswith("A,B")


def table(path: Path) -> dict[str, Any]:
    """The keys and values of a TOML file.

    Raises:
        UsageError: it cannot be read, or is no TOML.
    """
    import tomllib

    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST + 1)
        if len(content) > _LARGEST:
            raise UsageError(f"{path} is larger than 1 MB: that is no settings file", "--config FILE names another one")
        return tomllib.loads(content.decode("utf-8-sig"))
    except OSError as error:
        raise UsageError(f"settings file {path}: {error.strerror}", "--no-config does without") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"settings file {path} is not text in UTF-8 (byte {error.start})") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"settings file {path} is not valid TOML: {error}") from error


def checked(content: Mapping[str, Any], grammar: ArgumentParser, path: Path) -> dict[str, Any]:
    """A file's settings by argparse's names, each checked by the rules of its option.

    Raises:
        UsageError: an unknown key, one twice, a value that its option does not take, or two of which one excludes the
            other.
    """
    known, named, seen = keys(grammar), _named(grammar), set[str]()
    settings: dict[str, Any] = {}
    for written, value in content.items():
        key = written.replace("-", "_")
        if key not in known:
            if key in named:
                raise UsageError(
                    f"{path}: {written} says what to do, and a file only says how", f"type --{_dashed(key)}"
                )
            raise UsageError(
                f"{path}: there is no setting {written!r}", nearest(key, known) or "--print-config shows all of them"
            )
        if key in seen:
            raise UsageError(f"{path}: {key} is there twice, with - and with _")
        seen.add(key)
        if key == "thresholds" and isinstance(value, dict):
            settings["thresholds"] = value  # looked into where all thresholds are
        else:
            settings |= _value(grammar, known[key], key, value, path)
    for group in grammar._mutually_exclusive_groups:
        both = [action.dest for action in group._group_actions if action.dest in settings]
        if len(both) > 1:
            raise UsageError(f"{path}: {both[0]} and {both[1]} exclude each other", "leave one of them out")
    return settings


def overruled(typed: Iterable[str], grammar: ArgumentParser) -> set[str]:
    """The names that a file's values give way for: those that exclude a typed one."""
    names = set(typed)
    away = {"thresholds"} if "threshold" in names else set()
    for group in grammar._mutually_exclusive_groups:
        members = {action.dest for action in group._group_actions}
        if members & names:
            away |= members
    return away - names


def fitting(kept: Mapping[str, Any], typed: Mapping[str, Any]) -> dict[str, Any]:
    """A file's settings without those that do not concern what is asked for, such as raw PCM's rate for a file."""
    both = {**kept, **typed}
    source = next((name for name in ("file", "demo", "stdin", "device") if typed.get(name)), None)
    source = source or next((name for name in ("file", "demo", "stdin") if both.get(name)), "device")
    away = {
        "stdin": {"start", "play", "speed"},
        "file": {"rate", "format", "channels"},
        "demo": {"rate", "format", "channels"},
        "device": {"rate", "format", "start", "play", "speed"} | ({"pace"} if both.get("pace") == "max" else set()),
    }[source]
    if not typed.get("serve"):
        away |= {"host", "port", "public_url", "viewers"}
    if not str(both.get("engine")).startswith("triton"):
        away.add("url")
    return {name: value for name, value in kept.items() if name not in away}


def _named(grammar: ArgumentParser) -> dict[str, Action]:
    """The options by their long names, with _ for -."""
    return {
        option.removeprefix("--").replace("-", "_"): action
        for action in grammar._actions
        for option in action.option_strings
        if option.startswith("--")
    }


def _dashed(key: str) -> str:
    return key.replace("_", "-")


def _existing(path: Path) -> Path | None:
    try:
        path.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError:
        return path  # reading it says why
    return path


def _value(grammar: ArgumentParser, action: Action, key: str, value: object, path: Path) -> dict[str, Any]:
    """The option's own check of a value, as if it had been typed."""
    try:
        found, unknown = grammar.parse_known_args(_words(action, key, value))
        assert not unknown
        return vars(found)
    except UsageError as error:
        raise UsageError(f"{path}: {key}: {error.message.partition(': ')[2] or error.message}") from None
    except TypeError as error:
        raise UsageError(f"{path}: {key} must be {error}, not {_toml_kind(value)}") from None


def _words(action: Action, key: str, value: object) -> list[str]:
    """What one would type for it; TypeError says what kind of value the option takes."""
    flag = f"--{_dashed(key)}"
    if action.nargs == 0:
        if isinstance(action, argparse._CountAction):
            if type(value) is not int or not 0 <= value <= 9:
                raise TypeError("a whole number from 0 to 9")
            return [flag] * value
        if not isinstance(value, bool):
            raise TypeError("true or false")
        return [flag] if value else []
    repeated = isinstance(action, argparse._AppendAction)
    if isinstance(value, list) and (repeated or holds_many(action)):
        texts = [_text(action, each) for each in value]
        if repeated:
            return [f"{flag}={text}" for text in texts]
        if any("," in text for text in texts):
            raise TypeError("a list of names without commas")
        return [f"{flag}={','.join(texts)}"]
    return [f"{flag}={_text(action, value)}"]


def _text(action: Action, value: object) -> str:
    if isinstance(value, str):
        if "\0" in value:
            raise TypeError("without NUL")
        return os.path.expanduser(value) if action.type is Path else value
    if action.type is Path:
        raise TypeError("a file's name in quotes")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("a list" if holds_many(action) else "a text or a number")
    return repr(value)


def _toml_kind(value: object) -> str:
    kinds = {bool: "true or false", str: "a text", int: "a number", float: "a number", list: "a list", dict: "a table"}
    return next((words for kind, words in kinds.items() if type(value) is kind), "a date or time")
