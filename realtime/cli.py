"""argv -> settings -> run -> exit code. Everything heavy is imported where it is needed."""

import os
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, BinaryIO

from instrec_live.realtime.settings import Settings, parse

if TYPE_CHECKING:
    from instrec_live.realtime.journal import Journal
    from instrec_live.realtime.stream import Stream

# name: the module whose `run(argv)` does the job and returns the exit code
COMMANDS: dict[str, str] = {}


class Signalled(KeyboardInterrupt):
    """SIGINT (Ctrl-C), SIGTERM or SIGHUP, each with its own exit code."""

    def __init__(self, number: int) -> None:
        self.number = number


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code; mistakes become one line on stderr, never a traceback."""
    debug = False
    received: list[int] = []  # signals
    # A hop's matrices are small: two threads of numpy take twice the CPU time for them, and are no faster.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by whoever started us
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - for as long as the program runs
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # an old locale is no reason to fail
    try:
        with _signals(received):
            words = list(sys.argv[1:] if argv is None else argv)
            if words and words[0] in COMMANDS:
                return _flushed(int(import_module(COMMANDS[words[0]]).run(words[1:])))
            settings = parse(words)
            debug = settings.verbosity >= 2
            code = _run(settings)
            sys.stdout.flush()
            return code
    except Signalled as stop:
        return 128 + stop.number
    except SystemExit as end:  # --help and --version
        return _flushed(int(end.code or 0))
    except BaseException as error:
        if received:  # a signal may strike inside a lock's own code, which then fails in its own way
            return 128 + received[0]
        from instrec_live.realtime.errors import report

        return report(error, debug)


def _flushed(code: int) -> int:
    try:
        sys.stdout.flush()
    except BrokenPipeError as error:
        from instrec_live.realtime.errors import report

        return report(error)
    return code


@contextmanager
def _signals(received: list[int]) -> Iterator[None]:
    """Let SIGINT, SIGTERM and SIGHUP end the program tidily, and note which came."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        received.append(number)
        raise Signalled(number)

    numbers = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {number: signal.signal(number, stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(settings: Settings) -> int:
    if settings.list_devices:
        return _list_devices(settings.json)
    if settings.doctor:
        from instrec_live.realtime.doctor import examine

        return examine(settings)
    if settings.benchmark:
        from instrec_live.realtime.benchmark.comparison import compare

        return compare(settings)
    if settings.engines:
        from instrec_live.realtime.kept_engines import show

        return show(settings)
    return _listen(settings)


def _list_devices(as_json: bool) -> int:
    from dataclasses import asdict

    from instrec_live.realtime.devices import list_input_devices

    devices = list_input_devices()
    if as_json:
        import json

        print(json.dumps([asdict(device) for device in devices], indent=2, ensure_ascii=False))
        return 0
    if not devices:
        print("no microphone is connected", file=sys.stderr)
    for device in devices:
        mark = "*" if device.is_default else " "
        print(f"{mark} {device.index:3d}  {device.name}  ({device.channels} ch, {device.rate} Hz, {device.host_api})")
    return 0


def _listen(settings: Settings) -> int:
    from pathlib import Path

    from instrec_live.realtime.journal import Journal
    from instrec_live.realtime.narration import narrate
    from instrec_live.realtime.outputs import check_writable, header
    from instrec_live.realtime.recorder import Recorder
    from instrec_live.realtime.terminal import is_terminal

    for path in (*settings.outputs, *([settings.record] if settings.record else [])):
        check_writable(Path(path), settings.force)
    pipe, ui = _stdin_and_ui(settings)
    log = narrate(settings, screen=ui and is_terminal(sys.stderr))
    with _stream(settings, pipe) as stream:
        journal = Journal(stream, settings.strict)
        try:
            _open_outputs(settings, journal, ui, header(stream.info, stream.smoothing, settings.gate))
            if settings.record:
                journal.record(Recorder(settings.record))
            info = journal.info
            log.info(
                "listening to %s (%d Hz, %d ch) every %g s with %s on %s",
                *(info.source, info.source_rate, info.source_channels, info.hop),
                *(", ".join(info.models), info.engine),
            )
            code = _show(journal, settings) if ui else _drain(journal)
        finally:
            summary = journal.finish()
            if summary.updates:
                log.info(
                    "%g s heard, %d updates, %d skipped, %d xruns; %s",
                    *(summary.time, summary.updates, summary.skipped, summary.xruns),
                    summary.in_words,
                )
    return code or int(journal.failed)


def _stdin_and_ui(settings: Settings) -> tuple[BinaryIO | None, bool]:
    """The sound, if it comes through stdin, and whether there is to be a screen."""
    from instrec_live.realtime.terminal import can_draw, is_terminal, keyboard_apart

    ui = can_draw() and not settings.no_ui and not settings.json
    pipe: BinaryIO | None = None
    if settings.stdin:
        pipe, ui = keyboard_apart() if ui else (sys.stdin.buffer, False)
    else:
        ui = ui and is_terminal(sys.stdin)
    if ui and settings.theme is not None:
        from instrec_live.realtime.tui.themes import known_theme

        known_theme(settings.theme)  # before any output is begun
    return pipe, ui


def _show(journal: "Journal", settings: Settings) -> int:
    from instrec_live.realtime.tui.app import run

    return run(journal, theme=settings.theme, noise=settings.log_file)


def _drain(journal: "Journal") -> int:
    for _ in journal:
        pass
    return 0


def _stream(settings: Settings, pipe: BinaryIO | None) -> "Stream":
    from instrec_live.models.bundle import DEFAULT_MODELS
    from instrec_live.realtime.smoothing import Smoothing
    from instrec_live.realtime.stream import Stream

    return Stream(
        file=_demo() if settings.demo else settings.file,
        device=settings.device,
        stdin=pipe,
        hop=settings.hop,
        pace=settings.pace,
        models=settings.models or DEFAULT_MODELS,
        engine=settings.engine,
        threads=settings.threads,
        weights=settings.weights,
        thresholds=settings.thresholds,
        gate_db=settings.gate,
        smoothing=Smoothing().scaled(settings.smoothing),
        start=settings.start,
        duration=settings.duration,
        rate=settings.rate,
        channels=settings.channels,
        sample_format=settings.sample_format,
    )


def _demo() -> Any:
    from importlib.resources import files

    return files("instrec_live.realtime") / "demo" / "demo.ogg"


def _open_outputs(settings: Settings, journal: "Journal", ui: bool, head: dict[str, Any]) -> None:
    from instrec_live.realtime.errors import UsageError
    from instrec_live.realtime.outputs import FORMATS, Changes, JsonLines, open_text

    name = "stdout"
    try:
        if settings.json:
            journal.add(name, JsonLines(sys.stdout, head))
        elif not ui:
            journal.add(name, Changes(sys.stdout))
        for path in settings.outputs:
            name, file = str(path), open_text(path, settings.force)
            journal.add(name, FORMATS[path.suffix.lower()](file, head), file)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(f"{name} cannot be written: {error.strerror}") from error


if __name__ == "__main__":
    sys.exit(main())
