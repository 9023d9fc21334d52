"""The main job: settings -> a stream, its outputs, and the screen or plain lines. Heavy imports come when needed."""

import sys
from typing import TYPE_CHECKING, Any, BinaryIO

from instrec_live.realtime.settings import Settings

if TYPE_CHECKING:
    from instrec_live.realtime.journal import Journal
    from instrec_live.realtime.outputs import Sink
    from instrec_live.realtime.stream import Stream


def listen(settings: Settings) -> int:
    """Listen as the settings say, until the sound ends or the user ends it; returns the exit code.

    Raises:
        InstrecError: what was asked for cannot be done, or cannot go on.
        BrokenPipeError: whoever read stdout has gone.
    """
    from instrec_live.realtime.journal import Journal
    from instrec_live.realtime.narration import narrate
    from instrec_live.realtime.outputs import check_output, header
    from instrec_live.realtime.terminal import is_terminal

    for path in (*settings.outputs, *([settings.record] if settings.record else [])):
        check_output(path, settings.force)
    players = _players(settings)
    pipe, ui = _stdin_and_ui(settings)
    log = narrate(settings, screen=ui and is_terminal(sys.stderr))
    with _stream(settings, pipe, ui) as stream:
        journal = Journal(stream, settings.strict, settings.record, settings.force, settings.pre_roll)
        try:
            _open_outputs(settings, journal, ui, header(stream.info, stream.smoothing, settings.gate))
            for name, sink in players.items():
                journal.add(name, sink)
            if settings.record:
                journal.record(True)
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
            if summary.drift_ppm is not None:
                log.info(
                    "the device's clock runs %+.1f ppm against this machine's; it is %+.3f s from it by now",
                    *(summary.drift_ppm, summary.drift_s),
                )
    return code or int(journal.failed)


def _stdin_and_ui(settings: Settings) -> tuple[BinaryIO | None, bool]:
    """The sound, if it comes through stdin, and whether there is to be a screen."""
    from instrec_live.realtime.terminal import can_draw, is_terminal, keyboard_apart, served

    ui = can_draw() and not settings.no_ui and not settings.json
    pipe: BinaryIO | None = None
    if settings.stdin:
        pipe, ui = keyboard_apart() if ui else (sys.stdin.buffer, False)
    else:
        ui = ui and (served() or is_terminal(sys.stdin))
    if ui and settings.theme is not None:
        from instrec_live.realtime.tui.themes import known_theme

        known_theme(settings.theme)  # before any output is begun
    return pipe, ui


def _show(journal: "Journal", settings: Settings) -> int:
    from instrec_live.realtime.devices import list_input_devices_fresh
    from instrec_live.realtime.tui.app import run

    look = list_input_devices_fresh
    return run(journal, theme=settings.theme, noise=settings.log_file, visitor=settings.visitor, look=look)


def _drain(journal: "Journal") -> int:
    for _ in journal:
        pass
    return 0


def _stream(settings: Settings, pipe: BinaryIO | None, ui: bool) -> "Stream":
    from instrec_live.realtime.stream import Stream

    return Stream(
        **settings.hearing,
        file=_demo() if settings.demo else settings.file,
        device=settings.device,
        stdin=pipe,
        pace=settings.pace,
        start=settings.start,
        duration=settings.duration,
        speed=settings.speed,
        play=settings.play,
        stay=ui,
        keep_mel=ui,
        on_loss=settings.on_loss,
        rate=settings.rate,
        channels=settings.channels,
        sample_format=settings.sample_format,
    )


def _demo() -> Any:
    from importlib.resources import files

    return files("instrec_live.realtime") / "demo" / "demo.ogg"


def _players(settings: Settings) -> "dict[str, Sink]":
    """What plays along through a network or a cable, by name."""
    players: dict[str, Sink] = {}
    if settings.osc is not None:
        from instrec_live.realtime.outputs.osc import Osc

        players[f"--osc {settings.osc}"] = Osc(settings.osc)
    if settings.midi is not None:
        from instrec_live.realtime.outputs.midi import Midi

        players[f"--midi {settings.midi}"] = Midi(settings.midi, settings.midi_channel)
    return players


def _open_outputs(settings: Settings, journal: "Journal", ui: bool, head: dict[str, Any]) -> None:
    from instrec_live.realtime.errors import UsageError
    from instrec_live.realtime.outputs import Changes, JsonLines, open_output, streamed_first

    name = "stdout"
    try:
        if settings.json:
            journal.add(name, JsonLines(sys.stdout, head))
        elif not ui:
            journal.add(name, Changes(sys.stdout))
        for path in streamed_first(settings.outputs):
            name = str(path)
            for begun in open_output(path, head, settings.force):
                journal.add(*begun)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise UsageError(f"{name} cannot be written: {error.strerror}") from error
