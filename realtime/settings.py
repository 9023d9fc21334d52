"""What the user asked for, on the command line and in the settings file, checked."""

import os
from argparse import Namespace
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from instrec_live.models.errors import UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.options import nearest, parser
from instrec_live.realtime.terminal import PUBLIC, SERVED

# Of `outputs.opening`, which takes longer to come than all of --help.
_SUFFIXES = (".jsonl", ".csv", ".txt", ".svl.csv", ".vtt", ".png", ".svg", ".html")


@dataclass(frozen=True, slots=True)
class Settings:
    """All options, checked. None means: as the program or the models have it by default."""

    file: Path | None
    device: str | None
    stdin: bool
    on_loss: str  # wait or exit
    demo: bool
    rate: int
    channels: int | None
    sample_format: str
    list_devices: bool
    doctor: bool
    benchmark: bool
    engines: str | None  # "list" or "clear"
    serve: bool
    host: str
    port: int
    public_url: str | None
    viewers: int
    visitor: bool  # the keys may be a stranger's: no files at their wish, no other microphone
    print_config: bool
    print_completion: str | None  # the shell's name
    hop: float
    pace: str
    start: float
    duration: float | None
    play: bool
    speed: float  # of a file
    models: tuple[str, ...] | None
    engine: str  # with a server's address, as `open_engine` takes it
    threads: int
    weights: tuple[float, ...] | None
    thresholds: Mapping[str, float] | None
    gate: float
    smoothing: float  # factor of all its times
    no_ui: bool
    theme: str | None
    json: bool
    outputs: tuple[Path, ...]
    record: Path | None
    pre_roll: float  # s
    osc: str | None  # HOST:PORT
    midi: str | None  # a port's name, or tcp://HOST:PORT
    midi_channel: int  # 1…16
    force: bool
    strict: bool
    log_file: Path | None
    verbosity: int  # -1 quiet, 0, 1 verbose, 2 with tracebacks

    @property
    def hearing(self) -> dict[str, Any]:
        """Which networks hear, and what is made of their answers: arguments that streams, hubs and jobs share."""
        from instrec_live.models.bundle import DEFAULT_MODELS
        from instrec_live.realtime.smoothing import Smoothing

        return {
            "models": self.models or DEFAULT_MODELS,
            "engine": self.engine,
            "threads": self.threads,
            "weights": self.weights,
            "hop": self.hop,
            "thresholds": self.thresholds,
            "gate_db": self.gate,
            "smoothing": Smoothing().scaled(self.smoothing),
        }


def parse(argv: Sequence[str]) -> Settings:
    """The settings that a command line and the settings file ask for. --help and --version print and raise SystemExit.

    Raises:
        UsageError: anything that makes no sense, in one line.
    """
    from instrec_live.realtime.config.reading import asked

    both = asked(argv)
    if both.unknown:
        raise _unknown(both.unknown[0], [name for action in parser()._actions for name in action.option_strings])
    try:
        return _checked(both.values, both.path)
    except UsageError as error:
        if both.said == both.typed:
            raise
        note = f"some settings are those of {both.path}"
        raise UsageError(error.message, f"{error.hint}; {note}" if error.hint else note) from error


def _checked(given: Namespace, config: Path | None) -> Settings:
    if given.channels is not None and (given.file is not None or given.demo):
        raise UsageError("--channels is of raw sound or of a microphone; a file tells its own")
    for name in ("rate", "format"):
        if getattr(given, name) is not None and not given.stdin:
            raise UsageError(f"--{name} describes raw sound from --stdin, and that was not asked for")
    if given.start and given.file is None and not given.demo:
        raise UsageError("--start skips into a file, and no file was given", "add --file FILE")
    offline = given.file is not None or given.stdin or given.demo
    if given.pace == "max" and not offline:
        raise UsageError("--pace max is for --file, --stdin or --demo: a microphone cannot be hurried")
    _check_playing(given)
    for name in ("host", "port", "public_url", "viewers"):
        if getattr(given, name) is not None and not given.serve:
            raise UsageError(f"--{name.replace('_', '-')} is of --serve, and that was not asked for")
    models = _names(given.models)
    outputs = tuple(given.output)
    _check_names(outputs, given.record, given.file)
    return Settings(
        file=given.file,
        device=given.device,
        stdin=given.stdin,
        on_loss=given.on_loss,
        demo=given.demo,
        rate=given.rate or 44_100,
        channels=given.channels,
        sample_format=given.format or "s16le",
        list_devices=given.list_devices,
        doctor=given.doctor,
        benchmark=given.benchmark,
        engines=given.engines,
        serve=given.serve,
        host=given.host or "127.0.0.1",
        port=8000 if given.port is None else given.port,
        public_url=given.public_url,
        viewers=given.viewers or 4,
        visitor=os.environ.get(SERVED) == PUBLIC,
        print_config=given.print_config,
        print_completion=given.print_completion,
        hop=given.hop,
        pace=given.pace,
        start=given.start,
        duration=given.duration,
        play=given.play,
        speed=given.speed,
        models=models,
        engine=_engine(given),
        threads=given.threads,
        weights=_weights(given.weights, models),
        thresholds=_thresholds(given.threshold, given.thresholds, config),
        gate=given.gate,
        smoothing=given.smoothing,
        no_ui=given.no_ui,
        theme=given.theme,
        json=given.json,
        outputs=outputs,
        record=given.record,
        pre_roll=given.pre_roll,
        osc=given.osc,
        midi=given.midi,
        midi_channel=given.midi_channel,
        force=given.force,
        strict=given.strict,
        log_file=given.log_file,
        verbosity=-1 if given.quiet else given.verbose,
    )


def _engine(given: Namespace) -> str:
    """The engine, and behind it the address of its server."""
    engine: str = given.engine
    remote = engine.partition(":")[0] == "triton"
    if given.url is not None and not remote:
        raise UsageError("--url is a Triton server's, and that was not asked for", "add --engine triton")
    if remote and given.url is None:
        raise UsageError(f"--engine {engine} needs a server's address", "as in --engine triton --url 127.0.0.1:8001")
    if remote and given.benchmark:
        raise UsageError("--benchmark measures this machine, and --engine triton is of another one")
    return f"{engine}@{given.url}" if remote else engine


def _check_playing(given: Namespace) -> None:
    asked = "--play" if given.play else "--speed" if given.speed != 1.0 else None
    if asked is None:
        return
    if given.file is None and not given.demo:
        raise UsageError(f"{asked} is for a file, and no file was given", "add --file FILE, or --demo")
    if given.pace == "max":
        raise UsageError(f"{asked} and --pace max do not go together: nothing is played that fast")


def _unknown(word: str, options: Sequence[str]) -> UsageError:
    help_hint = "instrec-live --help shows all options"
    if word.startswith("-"):
        return UsageError(f"no such option: {word}", nearest(word.split("=")[0], options) or help_hint)
    hint = f"did you mean --file {word}?" if os.path.exists(word) else help_hint
    return UsageError(f"{word!r} belongs to no option", hint)


def _names(text: str | None) -> tuple[str, ...] | None:
    if text is None:
        return None
    names = tuple(name.strip() for name in text.split(","))
    if not all(names):
        raise UsageError(f"--models: {text!r} names no model somewhere", "as in --models passt,ms_crnn")
    return names


def _weights(text: str | None, models: tuple[str, ...] | None) -> tuple[float, ...] | None:
    if text is None:
        return None
    from instrec_live.models.bundle import DEFAULT_MODELS
    from instrec_live.models.ensemble import checked_weights

    try:
        weights = [float(weight) for weight in text.split(",")]
    except ValueError:
        raise UsageError(f"--weights: {text!r} is not a list of numbers", "as in --weights 2,1,0.5") from None
    try:
        return checked_weights(weights, len(models or DEFAULT_MODELS))
    except UsageError as error:
        raise UsageError(f"--weights: {error.message}", error.hint) from None


def _check_names(outputs: Sequence[Path], record: Path | None, file: Path | None) -> None:
    for path in outputs:
        if path.suffix.lower() not in _SUFFIXES:
            raise UsageError(
                f"--output {path}: the kind of output is told by the name", f"end it in {', '.join(_SUFFIXES)}"
            )
    if record is not None and record.suffix.lower() != ".wav":
        raise UsageError(f"--record {record}: the recording is a WAV file", "end its name in .wav")
    # Unlike Path.resolve, realpath minds no links that go in circles; opening the file says so.
    written = [os.path.realpath(path) for path in (*outputs, *([record] if record else []))]
    if len(set(written)) < len(written):
        raise UsageError("two outputs have the same name")
    if file is not None and os.path.realpath(file) in written:
        raise UsageError(f"{file} cannot be read and written at the same time")


def _thresholds(
    every: float | None, some: Path | Mapping[str, Any] | None, config: Path | None
) -> dict[str, float] | None:
    """One for all, overruled by those in a file of their own, or in the settings file."""
    levels = dict.fromkeys(INSTRUMENTS, every) if every is not None else {}
    path, table = (some, _table(some)) if isinstance(some, Path) else (config, some or {})
    for name, level in table.items():
        known = name.strip().lower().replace(" ", "_").replace("-", "_")
        if known not in INSTRUMENTS:
            hint = nearest(known, INSTRUMENTS) or f"they are {', '.join(INSTRUMENTS)}"
            raise UsageError(f"{path}: no instrument is called {name!r}", hint)
        if isinstance(level, bool) or not isinstance(level, int | float) or not 0 < level < 1:
            raise UsageError(f"{path}: the threshold of {name} must be a number between 0 and 1, not {level!r}")
        levels[known] = float(level)
    return levels or None


def _table(path: Path) -> dict[str, Any]:
    """The name = value pairs of a JSON or TOML file."""
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix.lower() == ".toml":
            import tomllib

            table = tomllib.loads(text)
        else:
            import json

            table = json.loads(text)
    except OSError as error:
        raise UsageError(f"--thresholds {path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # JSON, TOML and UTF-8 errors
        raise UsageError(f"--thresholds {path}: not valid {path.suffix[1:].upper() or 'JSON'}: {error}") from error
    if not isinstance(table, dict):
        raise UsageError(f"--thresholds {path}: it must hold names and values", 'as in {"piano": 0.6}')
    return table
