"""The settings file: options of the command line under their long names, in TOML, below those that are typed."""

import argparse
import errno
import json
import os
import textwrap
from argparse import SUPPRESS, Action, ArgumentParser, Namespace
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instrec_live.models.errors import UsageError
from instrec_live.models.files import read_text, user_folder
from instrec_live.models.instruments import nearest
from instrec_live.realtime.config.options import path_or_url
from instrec_live.realtime.errors import printable

# Actions are only typed; a settings file holds options.
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

LARGEST = 1_000_000  # bytes; a larger file is no settings file


@dataclass(frozen=True, slots=True)
class Asked:
    """The options of a command line and a settings file together.

    Attributes:
        values: every option's value by argparse's name for it; `thresholds` may be a table of the file.
        given: the names of those set on the command line or in the file; the others have their defaults.
        typed: the names of those that were typed.
        unknown: words that are no option.
        path: the settings file, None if there is none.
    """

    values: Namespace
    given: frozenset[str]
    typed: frozenset[str]
    unknown: tuple[str, ...]
    path: Path | None


def default_path() -> Path:
    """Where the settings file is looked for without --config."""
    return user_folder("config") / "config.toml"


def asked(argv: Sequence[str], grammar: ArgumentParser) -> Asked:
    """Command line over settings file over defaults. --help and --version print and raise SystemExit.

    Raises:
        UsageError: a mistake in an option or in the file.
    """
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
    """The keys of a settings file, in the order of --help."""
    return {key: action for key, action in _named(grammar).items() if key not in _TYPED_ONLY}


def holds_many(action: Action) -> bool:
    """Whether an option takes a list A,B,…"""
    return str(action.metavar).startswith("A,B")


def table(path: Path) -> dict[str, Any]:
    """The keys and values of a TOML file.

    Raises:
        UsageError: it cannot be read, or is no TOML.
    """
    import tomllib

    try:
        return tomllib.loads(read_text(path, LARGEST))
    except OSError as error:
        if error.errno == errno.EFBIG:
            raise UsageError(
                f"{path} is larger than 1 MB: not a settings file", "--config FILE names another one"
            ) from error
        raise UsageError(f"settings file {path}: {error.strerror}", "--no-config runs without it") from error
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
                raise UsageError(f"{path}: {written} is a command-line action, not a setting", f"type --{_dashed(key)}")
            raise UsageError(
                f"{path}: there is no setting {written!r}", nearest(key, known) or "--print-config shows all of them"
            )
        if key in seen:
            raise UsageError(f"{path}: {key} is given twice, with - and with _")
        seen.add(key)
        if key == "thresholds" and isinstance(value, dict):
            settings["thresholds"] = value  # looked into where all thresholds are
        else:
            settings |= _value(grammar, known[key], key, value, path)
    for group in grammar._mutually_exclusive_groups:
        both = [key for key in known if key in seen and known[key] in group._group_actions]
        if len(both) > 1:
            raise UsageError(f"{path}: {both[0]} and {both[1]} exclude each other", "leave one of them out")
    return settings


def overruled(typed: Iterable[str], grammar: ArgumentParser) -> set[str]:
    """The names of options that a typed one excludes."""
    names = set(typed)
    away = {"thresholds"} if "threshold" in names else set()
    for group in grammar._mutually_exclusive_groups:
        members = {action.dest for action in group._group_actions}
        if members & names:
            away |= members
    return away - names


def fitting(kept: Mapping[str, Any], typed: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a file without those that do not apply, such as the rate of raw PCM for a file."""
    both = {**kept, **typed}
    source = next((name for name in ("file", "demo", "stdin", "device") if typed.get(name)), None)
    source = source or next((name for name in ("file", "demo", "stdin") if both.get(name)), "device")
    away = {
        "stdin": {"start", "play", "speed"},
        "file": {"rate", "format", "channels"},
        "demo": {"rate", "format", "channels"},
        "device": {"rate", "format", "start", "play", "speed", "track"},
    }[source]
    if source == "device" and both.get("pace") == "max":
        away |= {"pace"}
    elif typed.get("pace") == "max":  # which no loudspeaker can keep up with
        away |= {"play", "speed"}
    elif typed.get("play") or typed.get("speed", 1.0) != 1.0:
        away |= {"pace"}
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
        return path  # reading it raises the reason
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
    except ValueError as error:
        raise UsageError(f"{path}: {key} must be {error}") from None


def _words(action: Action, key: str, value: object) -> list[str]:
    """The command-line words for a value; a TypeError names the kind of value that the option takes, a ValueError what
    is wrong with one of that kind."""
    flag = f"--{_dashed(key)}"
    if action.nargs == 0:
        if isinstance(action, argparse._CountAction):
            if type(value) is not int:
                raise TypeError("a whole number from 0 to 9")
            if not 0 <= value <= 9:
                raise ValueError(f"a whole number from 0 to 9, not {value}")
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
            raise UsageError(f"{_dashed(key)}: a name in the list has a comma", "each name is an item of its own")
        return [f"{flag}={','.join(texts)}"]
    return [f"{flag}={_text(action, value)}"]


def _text(action: Action, value: object) -> str:
    if isinstance(value, str):
        if "\0" in value:
            raise TypeError("without NUL")
        return os.path.expanduser(value) if action.type in (Path, path_or_url) else value
    if action.type in (Path, path_or_url):
        raise TypeError("a file's name in quotes")
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError("a list" if holds_many(action) else "a text or a number")
    return repr(value)


def _toml_kind(value: object) -> str:
    kinds = {bool: "true or false", str: "a text", int: "a number", float: "a number", list: "a list", dict: "a table"}
    return next((words for kind, words in kinds.items() if type(value) is kind), "a date or time")


_WIDTH = 100


def show_config(argv: Sequence[str], grammar: ArgumentParser) -> int:
    """Print a settings file with every key and its help; keys that are not set are commented out.

    Raises:
        UsageError: as the command line itself; or a name that no TOML can hold.
    """
    print("\n".join(written(argv, grammar)))
    return 0


def written(argv: Sequence[str], grammar: ArgumentParser) -> list[str]:
    """The lines of that file."""
    defaults = {action.dest: action.default for action in grammar._actions}
    both = asked(argv, grammar)
    lines = [
        "# Settings of instrec-live: the options of its command line, which override this file.",
        f"# Its default path is {printable(str(default_path()))}; --config reads another file.",
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
            elif action.dest in both.given:
                lines.append(f"{key} = {_toml(_listed(action, value))}")
            else:
                lines.append(f"#{key} = {_example(action, defaults[action.dest])}")
    return [*lines, *tables]


def _help(action: Action) -> str:
    choices = f" [{', '.join(map(str, action.choices))}]" if action.choices else ""
    return f"{(action.help or '').replace('%%', '%')}{choices}"


def _example(action: Action, default: Any) -> str:
    """The default, or an example if there is none."""
    if default is None:
        return _toml(str(action.metavar or action.dest.upper()))
    return _toml(_listed(action, default))


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
        raise UsageError(
            f"{printable(text)} is not Unicode and cannot be in a settings file", "give it another name"
        ) from None
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")
