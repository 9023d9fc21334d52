"""The entry point: argv -> settings -> command -> exit code. Heavy imports happen where they are needed."""

import os
import re
import signal
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from io import BufferedWriter, RawIOBase, TextIOWrapper

from instrec_live.models.errors import UsageError
from instrec_live.models.safe_path import secure_children
from instrec_live.realtime.config.settings import Settings, parse, parser
from instrec_live.realtime.terminal import ENDING_SIGNALS, finish_output, stop_waiting_for_readers

# name: the module, whose `run(argv)` returns the exit code and whose `parser()` is its command line
COMMANDS: dict[str, str] = {
    "learn": "instrec_live.realtime.commands.learn",
    "report": "instrec_live.realtime.commands.report",
    "tag": "instrec_live.realtime.commands.tag.command",
    "watch": "instrec_live.realtime.commands.watch",
}


class Signalled(KeyboardInterrupt):
    """SIGINT (Ctrl-C), SIGTERM, SIGHUP or another signal that ends the program; its exit code is 128 and its number."""

    def __init__(self, number: int) -> None:
        self.number = number


def _check_folder() -> None:
    """Libraries fail without a current folder, even where all paths are absolute.

    Raises:
        UsageError: it has been deleted.
    """
    try:
        os.getcwd()
    except FileNotFoundError as error:
        raise UsageError("the current folder no longer exists", "change into another one") from error


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program and return its exit code; the user's mistakes are one line on stderr, never a traceback."""
    debug = False
    received: list[int] = []  # signals
    secure_children()
    # The matrices of a hop are small: two numpy threads take twice the CPU time and are no faster.
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, "1")
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:  # closed by the parent process
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115 - for as long as the program runs
    if isinstance(sys.stdout, TextIOWrapper):
        if isinstance(sys.stdout.buffer, RawIOBase):  # PYTHONUNBUFFERED: half a write would pass for a whole one
            sys.stdout = TextIOWrapper(BufferedWriter(sys.stdout.buffer), sys.stdout.encoding)
        sys.stdout.reconfigure(errors="backslashreplace")  # an unknown locale is no reason to fail
    try:
        with _signals(received):
            words = list(sys.argv[1:] if argv is None else argv)
            _check_folder()
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
        if received:  # a signal inside a lock's own code shows as that lock's error
            return 128 + received[0]
        from instrec_live.realtime.errors import report

        return report(error, debug)
    finally:
        finish_output()


def _tracebacks(words: Sequence[str]) -> bool:
    """Whether -vv is among the words, before they are parsed."""
    return sum(word.count("v") for word in words if re.fullmatch("-v+|--verbose", word)) >= 2


@contextmanager
def _signals(received: list[int]) -> Iterator[None]:
    """Let the signals that end the program end it tidily, and note which came."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    raised, in_hook, main = threading.Event(), False, threading.get_ident()

    def stop(number: int, frame: object) -> None:
        received.append(number)
        stop_waiting_for_readers()
        if not in_hook:
            raised.set()
            raise Signalled(number)

    def send_again(number: int) -> None:
        while not raised.wait(0.05):
            if hasattr(signal, "pthread_kill"):  # it also interrupts what the main thread waits for
                signal.pthread_kill(main, number)
            else:
                signal.raise_signal(number)

    def unraisable(ignored: "sys.UnraisableHookArgs") -> None:
        nonlocal in_hook
        if isinstance(ignored.exc_value, Signalled):
            in_hook = True
            raised.clear()
            threading.Thread(target=send_again, args=[ignored.exc_value.number], daemon=True).start()
            in_hook = False
        else:
            hook(ignored)

    # Python ignores what a handler raises inside `__del__` or a callback of weakref; it only tells this hook.
    hook = sys.unraisablehook
    sys.unraisablehook = unraisable
    # Signals that nohup ignores stay ignored.
    heeded = [each for each in ENDING_SIGNALS if each == signal.SIGINT or signal.getsignal(each) != signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        sys.unraisablehook = hook


def _run(settings: Settings, words: Sequence[str]) -> int:
    if settings.print_config:
        from instrec_live.realtime.config.file import show_config

        return show_config(words, parser())
    if settings.print_completion:
        from instrec_live.realtime.config.options import show_completion

        return show_completion(
            settings.print_completion,
            parser(),
            {name: import_module(module).parser() for name, module in COMMANDS.items()},
        )
    if settings.list_devices:
        return _list_devices(settings.json)
    if settings.doctor:
        from instrec_live.realtime.commands.doctor import examine

        return examine(settings)
    if settings.benchmark:
        from instrec_live.realtime.commands.benchmark.comparison import compare

        return compare(settings)
    if settings.engines:
        from instrec_live.realtime.commands.doctor import show

        return show(settings)
    from instrec_live.realtime.commands.listen import listen

    return listen(settings)


def _list_devices(as_json: bool) -> int:
    from dataclasses import asdict

    from instrec_live.realtime.audio.devices import list_input_devices
    from instrec_live.realtime.audio.system_audio import default_monitor

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
