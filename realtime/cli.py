"""argv -> settings -> run -> exit code. Everything heavy is imported where it is needed."""

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from io import TextIOWrapper

from instrec_live.realtime.settings import Settings, parse

# name: the module whose `run(argv)` does the job and returns the exit code
COMMANDS: dict[str, str] = {
    "report": "instrec_live.realtime.report.command",
    "tag": "instrec_live.realtime.tagging.command",
    "watch": "instrec_live.realtime.hub.command",
}


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
            debug = _tracebacks(words)
            try:
                if words and words[0] in COMMANDS:
                    code = int(import_module(COMMANDS[words[0]]).run(words[1:]))
                else:
                    settings = parse(words)
                    debug = settings.verbosity >= 2
                    code = _run(settings, words)
            except SystemExit as end:  # --help and --version
                code = int(end.code or 0)
            sys.stdout.flush()
            return code
    except Signalled as stop:
        return 128 + stop.number
    except BaseException as error:
        if received:  # a signal may strike inside a lock's own code, which then fails in its own way
            return 128 + received[0]
        from instrec_live.realtime.errors import report

        return report(error, debug)


def _tracebacks(words: Sequence[str]) -> bool:
    """Whether -vv is among the words, before it is known whether they make sense."""
    return sum(word.count("v") for word in words if re.fullmatch("-v+|--verbose", word)) >= 2


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
    # What nohup lets us ignore goes on being ignored.
    heeded = [number for number in numbers if number == signal.SIGINT or signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _run(settings: Settings, words: Sequence[str]) -> int:
    if settings.print_config:
        from instrec_live.realtime.config.printing import show as show_config

        return show_config(words)
    if settings.print_completion:
        from instrec_live.realtime.config.completion import show as show_completion

        return show_completion(settings.print_completion, COMMANDS)
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
    if settings.serve:
        from instrec_live.realtime.terminal import served

        if not served():  # else this is what the server starts
            from instrec_live.realtime.browser.serve import serve

            return serve(settings, words)
    from instrec_live.realtime.listening import listen

    return listen(settings)


def _list_devices(as_json: bool) -> int:
    from dataclasses import asdict

    from instrec_live.realtime.devices import list_input_devices
    from instrec_live.realtime.system_audio import default_monitor

    devices = list_input_devices()
    if as_json:
        import json

        print(json.dumps([asdict(device) for device in devices], indent=2, ensure_ascii=False))
        return 0
    if not devices:
        print("no microphone is connected", file=sys.stderr)
    for device in devices:
        mark, plays = "*" if device.is_default else " ", ", what the computer plays" if device.is_loopback else ""
        facts = f"{device.channels} ch, {device.rate} Hz, {device.host_api}{plays}"
        print(f"{mark} {device.index:3d}  {device.name}  ({facts})")
    if monitor := default_monitor():
        print(f"  system  {monitor.label}  ({monitor.server})")
    return 0


if __name__ == "__main__":
    sys.exit(main())
