"""All options of the program: each is declared once, as a field of `Settings`, and checked by `parse`.

The declaration gives the command line with its --help, the settings file, --print-config and the shells' completion.
"""

import argparse
import os
import re
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instrec_live.models.errors import UsageError
from instrec_live.models.files import identity, read_text
from instrec_live.models.instruments import INSTRUMENTS, chosen, instrument, nearest
from instrec_live.realtime.config.options import (
    Parser,
    Version,
    add_options,
    channel,
    number,
    option,
    path_or_url,
    switch,
    whole,
)
from instrec_live.realtime.errors import ExitCode

if TYPE_CHECKING:
    from instrec_live.realtime.stream.analysis import AnalysisConfig

# Those of `outputs.formats`, which takes longer to import than all of --help.
_SUFFIXES = (
    ".jsonl", ".csv", ".txt", ".svl.csv", ".selections.txt", ".vtt", ".srt", ".textgrid", ".png", ".svg", ".html"
)  # fmt: skip

_SOUND = "sound (one of these; without any, the default microphone)"
_ANALYSIS = "analysis"
_RESULTS = "results"
_BROWSER = "on a web page"
_PROGRAM = "the program itself"

_EPILOG = """\
examples:
  instrec-live                                        listen to the default microphone
  instrec-live --demo                                 listen to a short clip that comes with the program
  instrec-live --device Scarlett --record take.wav    a microphone by part of its name; record the sound
  instrec-live --file song.flac --pace max --json > song.jsonl
  instrec-live --file song.flac --pace max --no-ui --output song.csv --output labels.txt
  ffmpeg -nostdin -v error -i URL -f wav - | instrec-live --stdin
  instrec-live tag archive --output results.csv       whole folders, using all processors; tag --help
  instrec-live watch left=device:0 right=device:2     many sources at once; watch --help
  instrec-live report song.jsonl                      picture and report of an earlier run; report --help

exit codes:
"""


@dataclass(frozen=True, slots=True)
class Settings:
    """All options, checked. None means: the default of the program or of the models."""

    device: str | None = option(_SOUND, "-d", "--device", exclusive="source", metavar="N|NAME",
        help="microphone: its number or part of its name; or system: what the computer plays")  # fmt: skip
    file: Path | str | None = option(_SOUND, "-f", "--file", exclusive="source", type=path_or_url, metavar="FILE",
        help="sound file (wav, flac, mp3, m4a, mp4, …), or the http(s) address of one or of a radio")  # fmt: skip
    stdin: bool = switch(_SOUND, "--stdin", exclusive="source",
        help="sound piped in: any such file, or raw PCM as described below")  # fmt: skip
    demo: bool = switch(_SOUND, "--demo", exclusive="source", help="a short clip that comes with the program")
    list_devices: bool = switch(_SOUND, "-l", "--list-devices", exclusive="source",
        help="list the microphones and exit")  # fmt: skip
    on_loss: str = option(_SOUND, "--on-loss", choices=("wait", "exit"), default="wait",
        help="when the microphone is lost: wait until it is back, or exit with 3 (wait)")  # fmt: skip
    rate: int | None = option(_SOUND, "--rate", type=whole(1_000, 768_000), metavar="HZ",
        help="sample rate of raw PCM (44100)")  # fmt: skip
    channels: int | None = option(_SOUND, "--channels", type=whole(1, 64), metavar="N",
        help="channels of raw PCM (1), or to record (2)")  # fmt: skip
    format: str | None = option(_SOUND, "--format", choices=("s16le", "s24le", "s32le", "f32le"),
        help="sample format of raw PCM (s16le)")  # fmt: skip
    channel: str | int | None = option(_SOUND, "--channel", type=channel, metavar="left|right|N|mix",
        help="use this channel; mix: always the mean of all (the mean, or the loudest one where the mean cancels "
        "them out)")  # fmt: skip
    track: int | None = option(_SOUND, "--track", type=whole(1, 999), metavar="N",
        help="audio track of a video file, counted from 1")  # fmt: skip
    start: float = option(_SOUND, "--start", type=number(0, 1e9), default=0.0, metavar="S",
        help="start this far into the file")  # fmt: skip
    play: bool = switch(_SOUND, "--play", help="also play the file on the default output device")
    speed: float = option(_SOUND, "--speed", type=number(0.25, 4), default=1.0, metavar="X",
        help="playback speed of a file, 0.25 to 4 (1)")  # fmt: skip
    duration: float | None = option(_SOUND, "--duration", type=number(0.01, 1e9), metavar="S",
        help="stop after this much sound")  # fmt: skip

    hop: float = option(_ANALYSIS, "--hop", type=number(0.1, 60), default=0.5, metavar="S",
        help="time between updates, 0.1 to 60 s (0.5)")  # fmt: skip
    pace: str = option(_ANALYSIS, "--pace", choices=("realtime", "max"), default="realtime",
        help="files and pipes: as if played, or as fast as possible with nothing skipped (realtime)")  # fmt: skip
    models: tuple[str, ...] | None = option(_ANALYSIS, "--models", metavar="A,B,…",
        help="bundled names, bundle folders, or passt-openmic, fetched once (passt,cbam_cnn,ms_crnn)")  # fmt: skip
    weights: tuple[float, ...] | None = option(_ANALYSIS, "--weights", metavar="A,B,…",
        help="weight of each model in the ensemble, in their order")  # fmt: skip
    engine: str = option(_ANALYSIS, "--engine", default="auto", metavar="NAME",
        help="what runs the networks; see --doctor")  # fmt: skip
    url: str | None = option(_ANALYSIS, "--url", metavar="HOST:PORT",
        help="gRPC address of the Triton server, for --engine triton")  # fmt: skip
    threads: int = option(_ANALYSIS, "--threads", type=whole(1, 256), default=1, metavar="N", help="CPU threads (1)")
    threshold: float | None = option(_ANALYSIS, "--threshold", type=number(0.001, 0.999), metavar="P",
        help="probability from which every instrument counts as active")  # fmt: skip
    thresholds: Mapping[str, float] | None = option(_ANALYSIS, "--thresholds", type=Path, metavar="FILE",
        help="thresholds by instrument, JSON or TOML")  # fmt: skip
    only: tuple[str, ...] | None = option(_ANALYSIS, "--only", exclusive="choice", metavar="A,B,…",
        help="listen for these instruments only, for example piano,voice")  # fmt: skip
    exclude: tuple[str, ...] | None = option(_ANALYSIS, "--not", exclusive="choice", metavar="A,B,…",
        help="leave these instruments out")  # fmt: skip
    gate: float = option(_ANALYSIS, "--gate", type=number(-120, 0), default=-60.0, metavar="DB",
        help="level below which sound counts as silence (-60)")  # fmt: skip
    smoothing: float = option(_ANALYSIS, "--smoothing", type=number(0, 10), default=1.0, metavar="FACTOR",
        help="strength of smoothing: 0 shows the raw networks, 10 is slowest (1)")  # fmt: skip
    causal: bool = switch(_ANALYSIS, "--causal",
        help="for a file at --pace max: decide as for live sound, without look-ahead")  # fmt: skip
    strict: bool = switch(_ANALYSIS, "--strict", help="exit with 6 if the networks cannot keep up")

    no_ui: bool = switch(_RESULTS, "--no-ui",
        help="plain lines on stdout instead of the screen; the default where stdout is not a terminal")  # fmt: skip
    theme: str | None = option(_RESULTS, "--theme", metavar="NAME",
        help="colours of the screen: dark, light, nord, … (dark)")  # fmt: skip
    json: bool = switch(_RESULTS, "--json", help="JSON lines on stdout instead of the screen")
    outputs: tuple[Path, ...] = option(
        _RESULTS, "-o", "--output", type=Path, action="append", default=[], metavar="FILE",
        help="also write FILE.jsonl, .csv, .txt (Audacity labels), .svl.csv (Sonic Visualiser), .selections.txt "
        "(Raven), .TextGrid (Praat, ELAN), .vtt, .srt (subtitles), .png, .svg (a picture of the run) or .html (a "
        "report); may be repeated",
    )  # fmt: skip
    record: Path | None = option(_RESULTS, "--record", type=Path, metavar="FILE.wav",
        help="record the sound, 32 kHz mono")  # fmt: skip
    pre_roll: float = option(_RESULTS, "--pre-roll", type=number(0, 60), default=10.0, metavar="S",
        help="time kept from before the key r in a recording, 0 to 60 s (10)")  # fmt: skip
    osc: str | None = option(_RESULTS, "--osc", metavar="HOST:PORT",
        help="send every update to this address as OSC messages")  # fmt: skip
    midi: str | None = option(_RESULTS, "--midi", metavar="PORT",
        help="send notes to this MIDI port: part of its name, or tcp://HOST:PORT")  # fmt: skip
    midi_channel: int = option(_RESULTS, "--midi-channel", type=whole(1, 16), default=1, metavar="N",
        help="channel of the MIDI notes (1)")  # fmt: skip
    force: bool = switch(_RESULTS, "--force", help="replace files that exist")

    serve: bool = switch(_BROWSER, "--serve",
        help="also show the run on a web page, to any number of viewers on this machine")  # fmt: skip
    host: str = option(_BROWSER, "--host", metavar="HOST",
        help="address to serve on; any other than 127.0.0.1 gets a token")  # fmt: skip
    port: int = option(_BROWSER, "--port", type=whole(0, 65_535), metavar="N", help="port to serve on (8000)")
    public_url: str | None = option(_BROWSER, "--public-url", metavar="URL",
        help="address that viewers use, behind a proxy")  # fmt: skip
    viewers: int = option(_BROWSER, "--viewers", type=whole(1, 1000), metavar="N",
        help="maximum number of viewers at a time (100)")  # fmt: skip

    doctor: bool = switch(_PROGRAM, "--doctor", help="check models, engines and sound, and exit")
    benchmark: bool = switch(_PROGRAM, "--benchmark",
        help="measure what this machine can do with every engine and network, and exit")  # fmt: skip
    engines: str | None = option(_PROGRAM, "--engines", nargs="?", const="list", choices=("list", "clear"),
        help="list or remove the TensorRT engines that were built here, and exit")  # fmt: skip
    config: Path | None = option(_PROGRAM, "--config", exclusive="config", type=Path, metavar="FILE",
        help="settings file (TOML) instead of the usual one")  # fmt: skip
    no_config: bool = switch(_PROGRAM, "--no-config", exclusive="config", help="read no settings file")
    print_config: bool = switch(_PROGRAM, "--print-config",
        help="show the current settings, as a settings file, and exit")  # fmt: skip
    print_completion: str | None = option(
        _PROGRAM, "--print-completion", choices=("bash", "zsh", "fish", "tcsh", "powershell"),
        help="show the completion script for a shell, and exit",
    )  # fmt: skip
    log_file: Path | None = option(_PROGRAM, "--log-file", type=Path, metavar="FILE",
        help="append the log to this file")  # fmt: skip
    verbose: int = option(_PROGRAM, "-v", "--verbose", exclusive="loudness", action="count", default=0,
        help="log more (-vv: tracebacks too)")  # fmt: skip
    quiet: bool = switch(_PROGRAM, "-q", "--quiet", exclusive="loudness", help="log only warnings and errors")
    version: None = option(_PROGRAM, "--version", action=Version, help="show the version and exit")
    help: None = option(_PROGRAM, "-h", "--help", action="help", help="show this and exit")

    @property
    def verbosity(self) -> int:
        """-1 quiet, 0, 1 verbose, 2 with tracebacks."""
        return -1 if self.quiet else self.verbose

    @property
    def sample_format(self) -> str | None:
        """Of raw PCM."""
        return self.format

    @property
    def analysis(self) -> "AnalysisConfig":
        """The networks and how their results are processed."""
        from instrec_live.models.bundle import DEFAULT_MODELS
        from instrec_live.models.segments import Lookahead
        from instrec_live.realtime.stream.analysis import AnalysisConfig
        from instrec_live.realtime.stream.smoothing import Smoothing

        return AnalysisConfig(
            models=self.models or DEFAULT_MODELS,
            engine=self.engine,
            threads=self.threads,
            weights=self.weights,
            hop=self.hop,
            thresholds=self.thresholds,
            only=self.only,
            exclude=self.exclude or (),
            gate_db=self.gate,
            smoothing=Smoothing().scaled(self.smoothing),
            lookahead=None if self.causal else Lookahead().scaled(self.smoothing),
            channel=self.channel,
            track=self.track,
        )


def parser() -> Parser:
    """The command line of the main command."""
    p = Parser(
        prog="instrec-live",
        usage="instrec-live [--device N|NAME | --file FILE | --stdin | --demo] [options]\n"
        "       instrec-live tag PATH…    or    instrec-live watch SOURCE…    or    instrec-live report RUN.jsonl\n"
        "       instrec-live learn FOLDER --to BUNDLE",
        description="Listens and shows live which of 20 musical instruments are sounding.",
        epilog=_EPILOG + "\n".join(f"  {int(code):3d}  {code.words}" for code in ExitCode),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    add_options(p, Settings)
    return p


def parse(argv: Sequence[str]) -> Settings:
    """Parse and check a command line and the settings file. --help and --version print and raise SystemExit.

    Raises:
        UsageError: a mistake in it, in one line.
    """
    from instrec_live.realtime.config.file import asked

    grammar = parser()
    both = asked(argv, parser())
    if both.unknown:
        names = [name for action in grammar._actions for name in action.option_strings]
        raise _unknown(both.unknown[0], names, argv)
    try:
        return _checked(both.values, both.path)
    except UsageError as error:
        if both.given == both.typed:
            raise
        note = f"some settings come from {both.path}"
        raise UsageError(error.message, f"{error.hint}; {note}" if error.hint else note) from error


def _checked(given: Namespace, config: Path | None) -> Settings:
    if given.channels is not None and (given.file is not None or given.demo):
        raise UsageError("--channels applies to raw sound or a microphone; a file has its own")
    for name in ("rate", "format"):
        if getattr(given, name) is not None and not given.stdin:
            raise UsageError(f"--{name} describes raw sound and needs --stdin")
    if given.start and given.file is None and not given.demo:
        raise UsageError("--start needs a file", "add --file FILE")
    offline = given.file is not None or given.stdin or given.demo
    if given.pace == "max" and not offline:
        raise UsageError("--pace max needs --file, --stdin or --demo: a microphone cannot run faster than real time")
    _check_playing(given)
    for name in ("host", "port", "public_url", "viewers"):
        if getattr(given, name) is not None and not given.serve:
            raise UsageError(f"--{name.replace('_', '-')} needs --serve")
    models = name_list("--models", given.models, "passt,ms_crnn")
    only = name_list("--only", given.only, "piano,voice")
    exclude = name_list("--not", given.exclude, "drums,bass")
    instruments = known_instruments(models)
    if not instruments:
        from instrec_live.models.bundle import DEFAULT_MODELS

        raise UsageError(
            f"--models {given.models}: it only corrects instruments of the bundled networks and cannot run alone",
            f"--models {','.join(DEFAULT_MODELS)},{given.models}",
        )
    try:
        names = chosen(only, exclude or (), instruments)
    except UsageError as error:
        raise UsageError(f"{'--not' if exclude else '--only'}: {error.message}", error.hint) from None
    outputs = tuple(given.outputs)
    _check_names(outputs, given.record, given.file, given.log_file)
    known = {each.name for each in fields(Settings)}
    values = {name: value for name, value in vars(given).items() if name in known}
    return Settings(
        **values
        | {
            "host": given.host or "127.0.0.1",
            "port": 8000 if given.port is None else given.port,
            "viewers": given.viewers or 100,
            "models": models,
            "only": None if only is None else names,
            "exclude": tuple(name for name in instruments if name not in names) if exclude else None,
            "engine": _engine(given),
            "weights": _weights(given.weights, models),
            "thresholds": _thresholds(given.threshold, given.thresholds, config, instruments),
            "outputs": outputs,
            "config": config,  # the one in force: it has been read
            "no_config": False,
        }
    )


def _engine(given: Namespace) -> str:
    """The engine, and behind it the address of its server."""
    engine: str = given.engine
    remote = engine.partition(":")[0] == "triton"
    if given.url is not None and not remote:
        raise UsageError("--url applies to a Triton server only", "add --engine triton")
    if remote and given.url is None:
        raise UsageError(
            f"--engine {engine} needs a server's address", "for example --engine triton --url 127.0.0.1:8001"
        )
    if remote and given.benchmark:
        raise UsageError("--benchmark measures this machine; --engine triton runs on another one")
    return f"{engine}@{given.url}" if remote else engine


def _check_playing(given: Namespace) -> None:
    asked = "--play" if given.play else "--speed" if given.speed != 1.0 else None
    if asked is None:
        return
    if given.file is None and not given.demo:
        raise UsageError(f"{asked} needs a file", "add --file FILE, or --demo")
    if given.pace == "max":
        raise UsageError(f"{asked} and --pace max exclude each other: playback cannot be that fast")


def _without_repetition(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Of two values for one name, JSON's reader would take the last without a word."""
    table = dict(pairs)
    if len(table) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} is given twice")
    return table


def _unknown(word: str, options: Sequence[str], argv: Sequence[str]) -> UsageError:
    help_hint = "instrec-live --help shows all options"
    address = re.fullmatch(r"(?:(.*):)?([0-9]+)", word)
    if address and ("--serve", word) in pairwise(argv):
        host = f" --host {address[1]}" if address[1] else ""
        return UsageError(f"--serve takes no value, not {word!r}", f"did you mean --serve{host} --port {address[2]}?")
    if word.startswith("-"):
        return UsageError(f"no such option: {word}", nearest(word.split("=")[0], options) or help_hint)
    if f"--{word}" in options:
        return UsageError(f"{word!r} is not a command", f"did you mean --{word}?")
    hint = f"did you mean --file {word}?" if os.path.exists(word) else help_hint
    return UsageError(f"{word!r} is not an option", hint)


def name_list(option: str, text: str | None, example: str) -> tuple[str, ...] | None:
    """The names of an option A,B,…

    Raises:
        UsageError: an empty one.
    """
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise UsageError(f"{option}: {text!r} has an empty name", f"for example {option} {example}")
    return names


def _weights(text: str | None, models: tuple[str, ...] | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    from instrec_live.models.bundle import DEFAULT_MODELS
    from instrec_live.models.ensemble import checked_weights

    try:
        weights = [float(weight) for weight in text.split(",")]
    except ValueError:
        raise UsageError(f"--weights: {text!r} is not a list of numbers", "for example --weights 2,1,0.5") from None
    try:
        return checked_weights(weights, len(models or DEFAULT_MODELS))
    except UsageError as error:
        raise UsageError(f"--weights: {error.message}", error.hint) from None


def _check_names(outputs: Sequence[Path], record: Path | None, file: Path | str | None, log_file: Path | None) -> None:
    for path in outputs:
        if path.suffix.lower() not in _SUFFIXES:
            raise UsageError(
                f"--output {path}: the suffix gives the kind of output", f"end it in {', '.join(_SUFFIXES)}"
            )
    if record is not None and record.suffix.lower() != ".wav":
        raise UsageError(f"--record {record}: recordings are WAV files", "end its name in .wav")
    written = [identity(path) for path in (*outputs, record, log_file) if path is not None]
    if len(set(written)) < len(written):
        raise UsageError("two outputs have the same name")
    if file is not None and identity(file) in written:
        raise UsageError(f"{file} cannot be read and written at the same time")


def known_instruments(models: Sequence[str] | None) -> tuple[str, ...]:
    """Those that these models know: the 20, and those of learned bundles."""
    if not models or not any(map(os.path.isdir, models)):
        return INSTRUMENTS
    from instrec_live.models.learned import LearnedBundle, is_learned

    heads = [LearnedBundle.load(Path(model)) for model in models if os.path.isdir(model) and is_learned(Path(model))]
    new = tuple(dict.fromkeys(name for head in heads for name in head.new))
    return (*INSTRUMENTS, *new) if len(heads) < len(models) else new


def _thresholds(
    every: float | None, some: Path | Mapping[str, Any] | None, config: Path | None, instruments: Sequence[str]
) -> dict[str, float] | None:
    """One for all, overruled by those in a file of their own, or in the settings file."""
    thresholds = dict.fromkeys(instruments, every) if every is not None else {}
    path, table = (some, _table(some)) if isinstance(some, Path) else (config, some or {})
    seen = set[str]()
    for name, threshold in table.items():
        try:
            known = instrument(name, instruments)
        except UsageError as error:
            raise UsageError(f"{path}: {error.message}", error.hint) from None
        if isinstance(threshold, bool) or not isinstance(threshold, int | float) or not 0 < threshold < 1:
            raise UsageError(f"{path}: the threshold of {name} must be a number between 0 and 1, not {threshold!r}")
        if known in seen:
            raise UsageError(f"{path}: {known} has two thresholds", "leave one of them out")
        seen.add(known)
        thresholds[known] = float(threshold)
    return thresholds or None


def _table(path: Path) -> dict[str, Any]:
    """The name = value pairs of a JSON or TOML file."""
    try:
        text = read_text(path, 1_000_000)
        if path.suffix.lower() == ".toml":
            import tomllib

            table = tomllib.loads(text)
        else:
            import json

            table = json.loads(text, object_pairs_hook=_without_repetition)
    except OSError as error:
        raise UsageError(f"--thresholds {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # JSON, TOML and UTF-8 errors
        raise UsageError(f"--thresholds {path}: not valid {path.suffix[1:].upper() or 'JSON'}: {error}") from error
    if not isinstance(table, dict):
        raise UsageError(f"--thresholds {path}: it must hold names and values", 'as in {"piano": 0.6}')
    return table
