"""The command line's grammar and --help. Imports nothing heavy: --help must not wait."""

import argparse
import copy
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from instrec_live.models.errors import UsageError
from instrec_live.realtime.errors import ExitCode

_EPILOG = """\
examples:
  instrec-live                                        listen to the default microphone
  instrec-live --demo                                 listen to a short clip that comes with the program
  instrec-live --device Scarlett --record take.wav    a microphone by part of its name; keep the sound
  instrec-live --file song.flac --pace max --json > song.jsonl
  instrec-live --file song.flac --pace max --no-ui --output song.csv --output labels.txt
  ffmpeg -nostdin -v error -i URL -f wav - | instrec-live --stdin
  instrec-live tag archive --output results.csv       whole folders, on all processors; tag --help
  instrec-live watch left=device:0 right=device:2     many sources at a time; watch --help
  instrec-live report song.jsonl                      picture and report of an earlier run; report --help

exit codes:
"""


class Parser(argparse.ArgumentParser):
    """Complains in one line, by exception."""

    def error(self, message: str) -> NoReturn:
        message = message.removeprefix("argument ")
        raise UsageError(message, f"{self.prog} --help shows all options")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> tuple[Any, list[str]]:
        """As argparse does, which before Python 3.13 makes an empty list of a value that is "--"."""
        found, unknown = super().parse_known_args(args, namespace)
        for action in self._actions:
            value = getattr(found, action.dest, action.default)
            given = action.option_strings and isinstance(value, list) and value is not action.default
            if given and [] in (value, *value):
                self.error(f"{'/'.join(action.option_strings)}: expected one argument")
        return found, unknown


class _Version(argparse.Action):
    """Looks the version up only when asked: that takes longer than all of --help."""

    def __init__(self, option_strings: Sequence[str], dest: str, **kwargs: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, **kwargs)

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        from importlib.metadata import version

        print(f"instrec-live {version('instrec-live')}")
        parser.exit()


def parser() -> Parser:
    """The options, their ranges and their help."""
    p = Parser(
        prog="instrec-live",
        usage="instrec-live [--device N|NAME | --file FILE | --stdin | --demo] [options]\n"
        "       instrec-live tag PATH…    or    instrec-live watch SOURCE…    or    instrec-live report RUN.jsonl",
        description="Listens and shows live which of 20 musical instruments are sounding.",
        epilog=_EPILOG + "\n".join(f"  {int(code):3d}  {code.words}" for code in ExitCode),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    group = p.add_argument_group("sound (one of these; without any, the default microphone)")
    one = group.add_mutually_exclusive_group()
    one.add_argument(
        "-d",
        "--device",
        metavar="N|NAME",
        help="microphone: its number or part of its name; or system: what the computer plays",
    )
    one.add_argument("-f", "--file", type=Path, metavar="FILE", help="sound file: wav, flac, ogg, mp3, aiff, …")
    one.add_argument("--stdin", action="store_true", help="sound piped in: WAV, or raw PCM as described below")
    one.add_argument("--demo", action="store_true", help="a short clip that comes with the program")
    one.add_argument("-l", "--list-devices", action="store_true", help="list the microphones and exit")
    group.add_argument(
        "--on-loss",
        choices=("wait", "exit"),
        default="wait",
        help="when the microphone is lost: wait until it is back, or exit with 3 (wait)",
    )
    group.add_argument("--rate", type=_whole(1_000, 768_000), metavar="HZ", help="of raw PCM (44100)")
    group.add_argument("--channels", type=_whole(1, 64), metavar="N", help="of raw PCM (1), or to record (2)")
    group.add_argument("--format", choices=("s16le", "s24le", "s32le", "f32le"), help="of raw PCM's samples (s16le)")
    group.add_argument("--start", type=_number(0, 1e9), default=0.0, metavar="S", help="skip into the file")
    group.add_argument("--play", action="store_true", help="also play the file on the default output device")
    group.add_argument("--speed", type=_number(0.25, 4), default=1.0, metavar="X", help="of a file, 0.25 to 4 (1)")
    group.add_argument("--duration", type=_number(0.01, 1e9), metavar="S", help="listen for so long")

    group = p.add_argument_group("listening")
    group.add_argument(
        "--hop", type=_number(0.1, 60), default=0.5, metavar="S", help="time between updates, 0.1 to 60 s (0.5)"
    )
    group.add_argument(
        "--pace",
        choices=("realtime", "max"),
        default="realtime",
        help="files and pipes: as if played, or as fast as possible with nothing skipped (realtime)",
    )
    group.add_argument(
        "--models",
        metavar="A,B,…",
        help="bundled names, bundle folders, or passt-openmic, fetched once (passt,cbam_cnn,ms_crnn)",
    )
    group.add_argument("--weights", metavar="A,B,…", help="what each model counts in the ensemble, in their order")
    group.add_argument("--engine", default="auto", metavar="NAME", help="what runs the networks; see --doctor")
    group.add_argument("--url", metavar="HOST:PORT", help="of the Triton server, with --engine triton; its gRPC port")
    group.add_argument("--threads", type=_whole(1, 256), default=1, metavar="N", help="CPU threads (1)")
    group.add_argument(
        "--threshold", type=_number(0.001, 0.999), metavar="P", help="probability from which all count as active"
    )
    group.add_argument("--thresholds", type=Path, metavar="FILE", help="some by instrument, JSON or TOML")
    group.add_argument(
        "--gate", type=_number(-120, 0), default=-60.0, metavar="DB", help="below this level it is silence (-60)"
    )
    group.add_argument(
        "--smoothing",
        type=_number(0, 10),
        default=1.0,
        metavar="FACTOR",
        help="how calmly the display follows: 0 shows the raw networks, 10 is slowest (1)",
    )
    group.add_argument("--strict", action="store_true", help="exit with 6 if the networks cannot keep up")

    group = p.add_argument_group("results")
    group.add_argument(
        "--no-ui",
        action="store_true",
        help="plain lines on stdout instead of the screen; so too where stdout is no terminal",
    )
    group.add_argument("--theme", metavar="NAME", help="colours of the screen: dark, light, nord, … (dark)")
    group.add_argument("--json", action="store_true", help="JSON lines on stdout instead of the screen")
    group.add_argument(
        "-o",
        "--output",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="also write FILE.jsonl, .csv, .txt (Audacity labels), .svl.csv (Sonic Visualiser), .vtt (subtitles), "
        ".png, .svg (a picture of all) or .html (a report); may be repeated",
    )
    group.add_argument("--record", type=Path, metavar="FILE.wav", help="keep the sound, 32 kHz mono")
    group.add_argument(
        "--pre-roll",
        type=_number(0, 60),
        default=10.0,
        metavar="S",
        help="how long before the key r a recording begins, 0 to 60 s (10)",
    )
    group.add_argument("--osc", metavar="HOST:PORT", help="send everything there as OSC messages")
    group.add_argument("--midi", metavar="PORT", help="play it as MIDI: (part of) a port's name, or tcp://HOST:PORT")
    group.add_argument("--midi-channel", type=_whole(1, 16), default=1, metavar="N", help="of its notes (1)")
    group.add_argument("--force", action="store_true", help="replace files that exist")

    group = p.add_argument_group("in the browser")
    group.add_argument("--serve", action="store_true", help="show the screen on a web page, to this machine only")
    group.add_argument("--host", metavar="HOST", help="serve on this address; others than 127.0.0.1 get a token")
    group.add_argument("--port", type=_whole(0, 65_535), metavar="N", help="and this port (8000)")
    group.add_argument("--public-url", metavar="URL", help="the address it has for others, behind a proxy")
    group.add_argument("--viewers", type=_whole(1, 64), metavar="N", help="at most so many at a time (4)")

    group = p.add_argument_group("the program itself")
    group.add_argument("--doctor", action="store_true", help="check models, engines and sound, and exit")
    group.add_argument(
        "--benchmark",
        action="store_true",
        help="measure what this machine can do with every engine and network, and exit",
    )
    group.add_argument(
        "--engines",
        nargs="?",
        const="list",
        choices=("list", "clear"),
        help="list the TensorRT engines that were built here and kept, or remove them, and exit",
    )
    config = group.add_mutually_exclusive_group()
    config.add_argument("--config", type=Path, metavar="FILE", help="settings file, instead of the usual one; TOML")
    config.add_argument("--no-config", action="store_true", help="read no settings file")
    group.add_argument(
        "--print-config", action="store_true", help="show all settings as such a file, those in force, and exit"
    )
    group.add_argument(
        "--print-completion",
        choices=("bash", "zsh", "fish", "tcsh", "powershell"),
        help="show the script that completes this program's options in a shell, and exit",
    )
    group.add_argument("--log-file", type=Path, metavar="FILE", help="append the log there")
    loudness = group.add_mutually_exclusive_group()
    loudness.add_argument("-v", "--verbose", action="count", default=0, help="say more (-vv: tracebacks too)")
    loudness.add_argument("-q", "--quiet", action="store_true", help="say only what went wrong")
    group.add_argument("--version", action=_Version, help="show the version and exit")
    group.add_argument("-h", "--help", action="help", help="show this and exit")
    return p


def nearest(word: str, words: Iterable[str]) -> str | None:
    """ "did you mean …?", or None if nothing is near."""
    import difflib

    near = difflib.get_close_matches(word, list(words), n=1)
    return f"did you mean {near[0]}?" if near else None


def _number(low: float, high: float) -> Callable[[str], float]:
    def parse_number(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:  # also refuses NaN
            raise argparse.ArgumentTypeError(f"must be a number from {low:g} to {high:g}, not {text!r}")
        return value

    return parse_number


def _whole(low: int, high: int) -> Callable[[str], int]:
    def parse_whole(text: str) -> int:
        if not (text.isascii() and text.isdigit() and low <= int(text) <= high):
            raise argparse.ArgumentTypeError(f"must be a whole number from {low} to {high}, not {text!r}")
        return int(text)

    return parse_whole


def borrow(other: argparse.ArgumentParser, title: str, names: Sequence[str]) -> list[argparse.Action]:
    """Give another command some options of the main one, in a group of their own; returns their actions, to be
    `retyped`. What is not given is absent, for the main command to say what it is then."""
    main = {name: action for action in parser()._actions for name in action.option_strings}
    group, borrowed = other.add_argument_group(title), []
    for action in (copy.copy(main[name]) for name in names if name in main):
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
