"""argv -> settings -> run -> exit code. Everything heavy is imported where it is needed."""

import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from io import TextIOWrapper
from typing import TYPE_CHECKING, Any, BinaryIO

from instrec_live.realtime.settings import Settings, parse

if TYPE_CHECKING:
    from instrec_live.realtime.journal import Journal
    from instrec_live.realtime.stream import Stream


class Signalled(KeyboardInterrupt):
    """SIGTERM or SIGHUP: as Ctrl-C, but with its own exit code."""

    def __init__(self, number: int) -> None:
        self.number = number


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code; mistakes become one line on stderr, never a traceback."""
    debug = False
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # an old locale is no reason to fail
    try:
        with _signals():
            settings = parse(sys.argv[1:] if argv is None else argv)
            debug = settings.verbosity >= 2
            code = _run(settings)
            sys.stdout.flush()
            return code
    except Signalled as stop:
        return 128 + stop.number
    except SystemExit as end:  # --help and --version
        return _flushed(int(end.code or 0))
    except BaseException as error:
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
def _signals() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the program as tidily as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: object) -> None:
        raise Signalled(number)

    numbers = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
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
    from instrec_live.realtime.outputs import check_writable
    from instrec_live.realtime.recorder import Recorder

    for path in (*settings.outputs, *([settings.record] if settings.record else [])):
        check_writable(Path(path), settings.force)
    ui = not settings.no_ui and not settings.json and sys.stdout.isatty()
    pipe, ui = _keyboard_apart(ui) if settings.stdin else (None, ui and sys.stdin.isatty())
    log = _log(settings, on_stderr=not ui)
    with _stream(settings, pipe) as stream:
        journal = Journal(stream, settings.strict)
        try:
            _open_outputs(settings, journal, ui)
            if settings.record:
                journal.record(Recorder(settings.record))
            info = journal.info
            log.info(
                "listening to %s (%d Hz, %d ch) every %g s with %s on %s",
                *(info.source, info.source_rate, info.source_channels, info.hop),
                *(", ".join(info.models), info.engine),
            )
            code = _show(journal) if ui else _drain(journal)
        finally:
            summary = journal.finish()
            log.info(
                "%g s heard, %d updates, %d skipped, %d xruns",
                *(summary.time, summary.updates, summary.skipped, summary.xruns),
            )
    return code or int(journal.failed)


def _show(journal: "Journal") -> int:
    from instrec_live.realtime.tui.app import run

    return run(journal)


def _drain(journal: "Journal") -> int:
    for _ in journal:
        pass
    return 0


def _stream(settings: Settings, pipe: BinaryIO | None) -> "Stream":
    from instrec_live.models.bundle import DEFAULT_MODELS
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
        thresholds=settings.thresholds,
        gate_db=settings.gate,
        start=settings.start,
        duration=settings.duration,
        rate=settings.rate,
        channels=settings.channels,
        sample_format=settings.sample_format,
    )


def _demo() -> Any:
    from importlib.resources import files

    return files("instrec_live.realtime") / "demo" / "demo.ogg"


def _open_outputs(settings: Settings, journal: "Journal", ui: bool) -> None:
    from instrec_live.realtime.outputs import FORMATS, Changes, JsonLines, header, open_text
    from instrec_live.realtime.smoothing import Smoothing

    head = header(journal.info, Smoothing(), settings.gate)
    for path in settings.outputs:
        file = open_text(path, settings.force)
        journal.add(str(path), FORMATS[path.suffix.lower()](file, head), file)
    if settings.json:
        journal.add("stdout", JsonLines(sys.stdout, head))
    elif not ui:
        journal.add("stdout", Changes(sys.stdout))


def _keyboard_apart(ui: bool) -> tuple[BinaryIO, bool]:
    """Sound comes through stdin: a copy of it for the sound, and the terminal, if there is one, for the keys."""
    import os

    if not ui:
        return sys.stdin.buffer, False
    sound = os.fdopen(os.dup(0), "rb", buffering=0)
    with suppress(OSError):
        terminal = os.open("/dev/tty", os.O_RDWR)
        os.dup2(terminal, 0)
        os.close(terminal)
        return sound, True
    return sound, False


def _log(settings: Settings, on_stderr: bool) -> Any:
    """The program's logger: to stderr where no screen is in the way, and to the log file."""
    import logging

    from instrec_live.realtime.errors import UsageError, printable

    class OneLine(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return f"instrec-live: {printable(record.getMessage())}"

    log = logging.getLogger("instrec_live")
    log.setLevel(logging.DEBUG)
    log.propagate = False
    for handler in log.handlers[:]:
        log.removeHandler(handler)
        handler.close()
    handlers: list[logging.Handler] = [logging.NullHandler()]
    if on_stderr:
        handlers.append(logging.StreamHandler(sys.stderr))
        handlers[-1].setFormatter(OneLine())
        handlers[-1].setLevel({-1: logging.ERROR, 0: logging.INFO}.get(settings.verbosity, logging.DEBUG))
    if settings.log_file is not None:
        try:
            handlers.append(logging.FileHandler(settings.log_file, encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"--log-file {settings.log_file}: {error.strerror}") from error
        handlers[-1].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    for handler in handlers:
        log.addHandler(handler)
    return logging.getLogger("instrec_live.realtime.cli")


if __name__ == "__main__":
    sys.exit(main())
