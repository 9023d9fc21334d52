"""instrec-live watch: from the command line to the updates of many sources, and an exit code."""

import argparse
import json
import logging
import os
import stat
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TextIO

from instrec_live.models.errors import InputFileError, OutputError, UsageError
from instrec_live.models.files import read_text
from instrec_live.realtime.commands.serve.command import serving, wait_for_signal
from instrec_live.realtime.config.options import Parser, borrow, retyped
from instrec_live.realtime.config.settings import Settings, parse
from instrec_live.realtime.config.settings import parser as main_parser
from instrec_live.realtime.errors import ExitCode, InstrecError, printable
from instrec_live.realtime.logs import configure_logging
from instrec_live.realtime.terminal import can_draw, is_terminal, keyboard_apart

if TYPE_CHECKING:
    from instrec_live.realtime.commands.serve.broadcast import Broadcast
    from instrec_live.realtime.outputs import Sink
    from instrec_live.realtime.stream.hub import Hub, HubEvent
    from instrec_live.realtime.stream.stream import Stream

log = logging.getLogger(__name__)


# The sources that are asked for: `studio=device:Scarlett`, `news=/run/news.wav`, `concert.flac`, `-`.

_DEVICE = "device:"

_LONGEST = 80  # letters of a name


@dataclass(frozen=True, slots=True)
class Listed:
    """A source, and what it is called.

    Attributes:
        name: in this run.
        place: "device:…", "-" for stdin, an address, or the path of a file or a pipe.
    """

    name: str
    place: str

    @property
    def is_device(self) -> bool:
        return self.place.startswith(_DEVICE)

    def opened(self, raw: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of `Stream`. For a pipe without a writer this waits until there is one; the caller
        closes it.

        Args:
            raw: rate, channels and sample_format of sound without a header.

        Raises:
            InputFileError: a pipe that cannot be read.
        """
        if self.is_device:
            return {"device": self.place.removeprefix(_DEVICE) or None}
        if self.place == "-":
            return {"stdin": open(sys.stdin.fileno(), "rb", closefd=False), **raw}  # which others may close
        if "://" in self.place:
            return {"file": self.place}
        if not _is_pipe(self.place):
            return {"file": Path(self.place)}
        try:
            return {"stdin": open(self.place, "rb"), **raw}
        except OSError as error:
            raise InputFileError(f"{self.place} cannot be read: {error.strerror}") from error


def _is_pipe(place: str) -> bool:
    """Whether sound streams from there: out of a pipe, or what looks like one. A file that is missing is a file."""
    try:
        mode = os.stat(place).st_mode
    except (OSError, ValueError):
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def listed(words: Iterable[str]) -> tuple[Listed, ...]:
    """`[NAME=]SOURCE`, each; without a name, a file gets its own name without the folder, a device the one asked for.

    Raises:
        UsageError: two sources of one name, two that are stdin, or an invalid name.
    """
    sources = tuple(_one(word) for word in words)
    names = [source.name for source in sources]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"two sources have the name {name}", "give them names: NAME=SOURCE")
    if sum(source.place == "-" for source in sources) > 1:
        raise UsageError("only one source can be stdin (-)", "give the others as named pipes")
    return sources


def read_list(path: Path) -> list[str]:
    """The sources in a file, one a line; what begins with # is a remark.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        text = sys.stdin.read() if str(path) == "-" else read_text(path)
    except OSError as error:
        raise UsageError(f"--list {path}: {error.strerror}") from error
    except ValueError as error:
        raise UsageError(f"--list {path}: it is not text in UTF-8") from error
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _one(word: str) -> Listed:
    name, equals, place = (part.strip() for part in word.partition("="))
    if not equals or "/" in name or name.startswith(_DEVICE) or os.path.exists(word):
        name, place = _name_of(word), word
    if not place or not name:
        raise UsageError(f"{word!r} is not a source", "for example studio=device:0, news=/run/news.wav or concert.flac")
    if len(name) > _LONGEST or printable(name) != " ".join(name.split()):
        raise UsageError(f"{name!r} cannot be a name", f"a name has at most {_LONGEST} printable characters")
    return Listed(name, place)


def _name_of(place: str) -> str:
    """The name of a source without one; a long one without its middle, since files often begin alike."""
    if "://" in place:
        from instrec_live.realtime.audio.url import label_of

        name = label_of(place)
    elif place == "-":
        name = "stdin"
    else:
        name = place if place.startswith(_DEVICE) else Path(place).name or place
    name = printable(name)
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST // 2]}…{name[1 - _LONGEST // 2 :]}"


_LISTENING = (
    "--hop", "--duration", "--on-loss", "--models", "--weights", "--engine", "--url", "--threads", "--threshold",
    "--thresholds", "--only", "--not", "--gate", "--smoothing", "--channel", "--track",
)  # fmt: skip

_RAW = ("--rate", "--channels", "--format")

_SCREEN = ("--no-ui", "--json", "--theme", "--force")

_SERVING = ("--serve", "--host", "--port", "--public-url", "--viewers")

_PROGRAM = ("--config", "--no-config", "--log-file", "--verbose", "--quiet", "--version", "--help")

_EPILOG = """\
A SOURCE is device:N, device:NAME or device:system, a file, a pipe, an http(s) address, or - for stdin; NAME= gives
it a name. All sources share one set of networks, which costs less than one set each.

examples:
  instrec-live watch left=device:0 right=device:2
  instrec-live watch news=<(ffmpeg -nostdin -v error -i URL -f wav -) jazz=<(ffmpeg -nostdin -v error -i URL -f wav -)
  instrec-live watch --list channels.txt --hop 1 --no-ui --output today.jsonl

The exit code is 0 if every source was read to its end, else that of the first one that was not.
"""


@dataclass(frozen=True, slots=True)
class WatchSettings:
    """What to watch, and how.

    Attributes:
        sources: each with its name.
        output: the JSON lines of all, or None.
        listening: all other options, as the main command has them.
    """

    sources: tuple[Listed, ...]
    output: Path | None
    listening: Settings


def parse_watch(argv: Sequence[str]) -> WatchSettings:
    """Parse and check a command line. --help and --version print and raise SystemExit.

    Raises:
        UsageError: a mistake in it, in one line.
    """
    grammar, shared, raw = _grammar()
    given = grammar.parse_intermixed_args(argv)
    sources = listed([*given.sources, *(read_list(given.list) if given.list is not None else ())])
    if given.list == Path("-") and any(source.place == "-" for source in sources):
        raise UsageError("stdin cannot be both the --list and a source (-)", "keep the list in a file")
    if not sources:
        raise UsageError("nothing to watch", "name sources, or a --list of them")
    if given.output is not None and given.output.suffix.lower() != ".jsonl":
        raise UsageError(f"--output {given.output}: updates of many sources are JSON lines", "end its name in .jsonl")
    words = [word for action in shared for word in retyped(action, given)]
    described = [word for action in raw for word in retyped(action, given)]
    # The format of pipes without a header is given once for all; the main command has it for stdin only.
    listening = parse([*words, *(["--stdin", *described] if described else ["--stdin"])])
    written = [os.path.realpath(path) for path in (given.output, listening.log_file) if path is not None]
    if len(set(written)) < len(written):
        raise UsageError("two outputs have the same name")
    return WatchSettings(sources, given.output, listening)


def parser() -> Parser:
    """The command line of this command."""
    return _grammar()[0]


def _grammar() -> tuple[Parser, list[argparse.Action], list[argparse.Action]]:
    """The parser, and the actions borrowed from the main command: of analysis, and of raw sound."""
    p = Parser(
        prog="instrec-live watch",
        usage="instrec-live watch [NAME=]SOURCE... [--list FILE] [options]",
        description="Listens to many sources at once: one screen that lists them, one stream of data.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        add_help=False,
    )
    p.add_argument("sources", nargs="*", metavar="[NAME=]SOURCE", help="what to listen to, see below")
    group = p.add_argument_group("sources and data")
    group.add_argument("--list", type=Path, metavar="FILE", help="more sources, one per line; # starts a comment")
    group.add_argument("-o", "--output", type=Path, metavar="FILE", help="FILE.jsonl: the updates of all")
    main = main_parser()
    shared = borrow(main, p, "the screen", _SCREEN) + borrow(main, p, "analysis", _LISTENING)
    raw = borrow(main, p, "pipes of raw sound, all alike", _RAW)
    shared += borrow(main, p, "on a web page", _SERVING)
    return p, shared + borrow(main, p, "the program itself", _PROGRAM), raw


class Lines:
    """The outputs of all sources.

    Args:
        settings: of the run.
        ui: whether stdout is the screen.
        broadcast: the viewers of --serve, or None.

    Raises:
        UsageError: the file could not be made.
    """

    def __init__(self, settings: WatchSettings, ui: bool, broadcast: "Broadcast | None" = None) -> None:
        from instrec_live.realtime.outputs import check_writable

        self._settings, self._ui, self._broadcast = settings, ui, broadcast
        self._stdout = _Shared(sys.stdout)
        self._file: _Shared | None = None
        if settings.output is not None:
            check_writable(settings.output, settings.listening.force)

    def begin(self) -> None:
        """Make the file, now that nothing else can keep the listening from beginning.

        Raises:
            UsageError: it cannot be created.
        """
        from instrec_live.realtime.outputs import open_text

        if self._settings.output is not None:
            self._file = _Shared(open_text(self._settings.output, self._settings.listening.force))

    def of(self, name: str, stream: "Stream") -> "list[tuple[str, Sink, TextIO | None]]":
        """A source's outputs, begun.

        Raises:
            UsageError: one cannot be written.
            BrokenPipeError: the reader of stdout has exited.
        """
        from instrec_live.realtime.outputs import Changes, JsonLines, header

        asked = self._settings.listening
        head = header(stream.info, stream.smoothing, asked.gate)
        outputs: list[tuple[str, Sink, TextIO | None]] = []
        if not asked.json and not self._ui:
            outputs.append(("stdout", Changes(self._stdout, name), None))  # type: ignore[arg-type]
        for place, file in self._json():
            with _in_one_line(place):
                outputs.append((place, JsonLines(file, head, name), None))  # type: ignore[arg-type]
        if self._broadcast is not None:
            outputs.append(("--serve", self._broadcast.add(name, head), None))
        return outputs

    def fail(self, name: str, error: str) -> None:
        """Write that a source has failed. Where it cannot be written, the others continue without it.

        Raises:
            BrokenPipeError: the reader of stdout has exited.
        """
        record = {"type": "error", "channel": name, "error": error}
        if self._broadcast is not None:
            self._broadcast.fail(name, error)
        for place, file in self._json():
            known = file.failed
            try:
                with _in_one_line(place):
                    file.write(json.dumps(record) + "\n")
                    file.flush()
            except OutputError as error:
                if not known:
                    log.error("%s", error)

    def close(self) -> None:
        """Close the file.

        Raises:
            OutputError: the rest cannot be written, and nothing failed before.
        """
        if self._file is not None:
            with _in_one_line(str(self._settings.output)):
                self._file.close()

    def _json(self) -> "list[tuple[str, _Shared]]":
        """Where JSON lines go, by name."""
        places = [("stdout", self._stdout)] if self._settings.listening.json else []
        return places if self._file is None else [*places, (str(self._settings.output), self._file)]


@contextmanager
def _in_one_line(place: str) -> Iterator[None]:
    """A failure to write there, for the user.

    Raises:
        OutputError: it cannot be written.
        BrokenPipeError: its reader has exited.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        from instrec_live.models.errors import write_failed

        raise write_failed(place, error) from error


class _Shared:
    """A text file for many threads, each of which writes whole lines. On a full disk it ends with the last whole one.

    Attributes:
        failed: whether something could not be written; the writer has reported it.
    """

    def __init__(self, file: TextIO) -> None:
        from instrec_live.realtime.outputs.files import size_of

        self._file, self._lock = file, threading.Lock()
        self._whole = size_of(file)  # bytes
        self.failed = False

    def write(self, text: str) -> int:
        with self._alone():
            return self._file.write(text)

    def flush(self) -> None:
        from instrec_live.realtime.outputs.files import size_of

        with self._alone():
            self._file.flush()
            self._whole = size_of(self._file)

    def close(self) -> None:
        """Close it. That the rest cannot be written is no news of one that has failed."""
        known = self.failed
        try:
            with self._alone():
                self._file.close()
        except OSError:
            if not known:
                raise

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with self._lock:
            try:
                yield
            except OSError:
                from instrec_live.realtime.outputs.files import cut_back

                if not self.failed:
                    cut_back(self._file, self._whole)
                self.failed = True
                raise


def run(argv: Sequence[str]) -> int:
    """Watch until every source has ended, or the user quits the screen; returns the exit code.

    Raises:
        UsageError, ModelError: nothing could be begun.
        BrokenPipeError: the reader of stdout has exited.
    """
    settings = parse_watch(argv)
    _allow_files()
    pipe, ui = _stdin_and_ui(settings)
    configure_logging(settings.listening, screen=ui and is_terminal(sys.stderr))
    with serving(settings.listening, [source.name for source in settings.sources]) as broadcast:
        code = _watch(settings, pipe, ui, Lines(settings, ui, broadcast))
        if broadcast is not None and not ui:
            wait_for_signal()
    return code


def _allow_files() -> None:
    """Allow this process as many open files as it may have: a shell may give it 256, and a source takes several."""
    with suppress(ImportError, OSError, ValueError):  # not on Windows; a limit that must not be changed
        import resource

        now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
        wanted = min(most, 10_240) if most > 0 else 10_240  # macOS takes no more than that
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(now, wanted), most))


def _watch(settings: WatchSettings, pipe: BinaryIO | None, ui: bool, lines: Lines) -> int:
    try:
        with _hub(settings, lines, pipe, ui) as hub:
            lines.begin()
            count = len(hub.workers)
            log.info("listening to %d source%s with %s", count, "s" * (count != 1), hub.engine_name)
            results = _Results(hub, lines)
            code = _show(results, settings) if ui else _drain(results)
            return code or results.code
    finally:
        lines.close()


def _stdin_and_ui(settings: WatchSettings) -> tuple[BinaryIO | None, bool]:
    """The sound from stdin while there is a screen, and whether there is a screen."""
    asked = settings.listening
    pipe: BinaryIO | None = None
    ui = can_draw() and not asked.no_ui and not asked.json
    if ui and any(source.place == "-" for source in settings.sources):
        pipe, ui = keyboard_apart()
    ui = ui and is_terminal(sys.stdin)
    if asked.theme is not None:
        from instrec_live.realtime.tui.base_app import known_theme

        known_theme(asked.theme)  # before any output is begun
    return pipe, ui


def _show(results: "_Results", settings: WatchSettings) -> int:
    from instrec_live.realtime.audio.devices import list_input_devices_fresh
    from instrec_live.realtime.config.file import default_path
    from instrec_live.realtime.config.keep import ThresholdKeeper
    from instrec_live.realtime.tui.watch import run as show

    listening = settings.listening
    keep = ThresholdKeeper(listening.config or default_path())
    return show(results, listening.theme, listening.log_file, list_input_devices_fresh, keep)


def _drain(results: "_Results") -> int:
    for _ in results:
        pass
    return 0


class _Results:
    """Wraps a hub and writes the failures of its sources to the outputs.

    Attributes:
        workers, engine_name: the hub's.
        code: the exit code that the sources come to so far.
    """

    def __init__(self, hub: "Hub", lines: Lines) -> None:
        self.workers, self.engine_name = hub.workers, hub.engine_name
        self._hub, self._lines, self._code = hub, lines, 0

    @property
    def code(self) -> int:
        failed = any(worker.session is not None and worker.session.failed for worker in self.workers.values())
        return self._code or (ExitCode.INTERNAL if failed else ExitCode.OK)

    def __iter__(self) -> Iterator[tuple[str, "HubEvent"]]:
        for name, result in self._hub:
            if isinstance(result, InstrecError):
                self._code = self._code or result.exit_code
                words = str(result)  # which may begin with the name of the file, as may that of the source
                log.error("%s: %s", name, words.removeprefix(f"{name}: ").removeprefix(f"{name} "))
                self._lines.fail(name, result.message)
            elif isinstance(result, BaseException):
                raise result
            yield name, result

    def close(self) -> None:
        self._hub.close()


def _hub(settings: WatchSettings, lines: Lines, pipe: BinaryIO | None, ui: bool) -> "Hub":
    from instrec_live.realtime.stream.hub import Hub

    asked = settings.listening
    raw = {"rate": asked.rate, "channels": asked.channels, "sample_format": asked.sample_format}

    def opened(source: Listed) -> dict[str, Any]:
        about = source.opened(raw)
        return about if source.place != "-" or pipe is None else about | {"stdin": pipe}

    return Hub(
        {source.name: partial(opened, source) for source in settings.sources},
        config=asked.analysis,
        outputs=lines.of,
        duration=asked.duration,
        on_loss=asked.on_loss,
        keep_mel=ui,
    )
