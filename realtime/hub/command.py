"""instrec-live watch: from the command line to the updates of many sources, and an exit code."""

import logging
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, BinaryIO

from instrec_live.realtime.errors import ExitCode, InstrecError, printable
from instrec_live.realtime.hub.lines import Lines
from instrec_live.realtime.hub.listed import Listed
from instrec_live.realtime.hub.options import WatchSettings, parse_watch
from instrec_live.realtime.narration import narrate
from instrec_live.realtime.terminal import can_draw, is_terminal, keyboard_apart

if TYPE_CHECKING:
    from instrec_live.realtime.hub.channel import Said
    from instrec_live.realtime.hub.hub import Hub

log = logging.getLogger(__name__)


def run(argv: Sequence[str]) -> int:
    """Watch until every source has ended, or the user quits the screen; returns the exit code.

    Raises:
        UsageError, ModelError: nothing could be begun.
        BrokenPipeError: whoever read stdout has gone.
    """
    settings = parse_watch(argv)
    pipe, ui = _stdin_and_ui(settings)
    narrate(settings.listening, screen=ui and is_terminal(sys.stderr))
    lines = Lines(settings, ui)
    try:
        with _hub(settings, lines, pipe, ui) as hub:
            lines.begin()
            count = len(hub.channels)
            log.info("listening to %d source%s with %s", count, "s" * (count != 1), hub.engine_name)
            told = _Told(hub, lines)
            code = _show(told, settings) if ui else _drain(told)
            return code or told.code
    finally:
        lines.close()


def _stdin_and_ui(settings: WatchSettings) -> tuple[BinaryIO | None, bool]:
    """The sound that comes through stdin beside a screen, and whether there is to be a screen."""
    asked = settings.listening
    pipe: BinaryIO | None = None
    ui = can_draw() and not asked.no_ui and not asked.json
    if ui and any(source.place == "-" for source in settings.sources):
        pipe, ui = keyboard_apart()
    ui = ui and is_terminal(sys.stdin)
    if ui and asked.theme is not None:
        from instrec_live.realtime.tui.themes import known_theme

        known_theme(asked.theme)  # before any output is begun
    return pipe, ui


def _show(told: "_Told", settings: WatchSettings) -> int:
    from instrec_live.realtime.devices import list_input_devices_fresh
    from instrec_live.realtime.tui.watch import run as show

    return show(told, settings.listening.theme, settings.listening.log_file, list_input_devices_fresh)


def _drain(told: "_Told") -> int:
    for _ in told:
        pass
    return 0


class _Told:
    """A hub whose sources' failures are written down while they pass.

    Attributes:
        channels, engine_name: the hub's.
        code: the exit code that the sources come to so far.
    """

    def __init__(self, hub: "Hub", lines: Lines) -> None:
        self.channels, self.engine_name = hub.channels, hub.engine_name
        self._hub, self._lines, self._code = hub, lines, 0

    @property
    def code(self) -> int:
        failed = any(channel.journal is not None and channel.journal.failed for channel in self.channels.values())
        return self._code or (ExitCode.INTERNAL if failed else ExitCode.OK)

    def __iter__(self) -> Iterator[tuple[str, "Said"]]:
        for name, said in self._hub:
            if isinstance(said, InstrecError):
                self._code = self._code or said.exit_code
                log.error("%s: %s", printable(name), said)
                self._lines.tell({"type": "error", "channel": name, "error": said.message})
            elif isinstance(said, BaseException):
                raise said
            yield name, said

    def close(self) -> None:
        self._hub.close()


def _hub(settings: WatchSettings, lines: Lines, pipe: BinaryIO | None, ui: bool) -> "Hub":
    from instrec_live.realtime.hub.hub import Hub

    asked = settings.listening
    raw = {"rate": asked.rate, "channels": asked.channels, "sample_format": asked.sample_format}

    def opened(source: Listed) -> dict[str, Any]:
        about = source.opened(raw)
        return about if source.place != "-" or pipe is None else about | {"stdin": pipe}

    return Hub(
        {source.name: partial(opened, source) for source in settings.sources},
        **asked.hearing,
        outputs=lines.of,
        duration=asked.duration,
        on_loss=asked.on_loss,
        keep_mel=ui,
    )
