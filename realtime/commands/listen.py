"""The main job: settings -> a stream, its outputs, and the screen or plain lines. Heavy imports come when needed."""

import logging
import sys
import threading
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, BinaryIO

from instrec_live.models.instruments import chosen
from instrec_live.realtime.config.settings import Settings, known_instruments

if TYPE_CHECKING:
    from instrec_live.realtime.commands.serve.broadcast import Broadcast
    from instrec_live.realtime.outputs import Sink
    from instrec_live.realtime.outputs.session import Session
    from instrec_live.realtime.stream.stream import Stream


def listen(settings: Settings) -> int:
    """Listen as the settings say, until the sound ends or the user ends it; returns the exit code.

    Raises:
        InstrecError: the run cannot start or cannot continue.
        BrokenPipeError: the reader of stdout has exited.
    """
    from instrec_live.realtime.commands.serve.command import serving, wait_for_signal
    from instrec_live.realtime.logs import configure_logging
    from instrec_live.realtime.outputs import check_output
    from instrec_live.realtime.terminal import is_terminal

    for path in (*settings.outputs, *([settings.record] if settings.record else [])):
        check_output(path, settings.force)
    players = _players(settings)
    pipe, ui = _stdin_and_ui(settings)
    log = configure_logging(settings, screen=ui and is_terminal(sys.stderr))
    with serving(settings) as broadcast:
        code = _listen(settings, players, pipe, ui, log, broadcast)
        if broadcast is not None and not ui:
            wait_for_signal()
    return code


def _listen(
    settings: Settings,
    players: "Mapping[str, Sink]",
    pipe: BinaryIO | None,
    ui: bool,
    log: logging.Logger,
    broadcast: "Broadcast | None",
) -> int:
    from instrec_live.realtime.outputs import header
    from instrec_live.realtime.outputs.session import Session

    with _stream(settings, pipe, ui) as stream:
        session = Session(stream, settings.strict, settings.record, settings.force, settings.pre_roll)
        try:
            head = header(stream.info, stream.smoothing, settings.gate)
            _open_outputs(settings, session, ui, head)
            for name, sink in players.items():
                session.add(name, sink)
            if broadcast is not None:
                session.add("--serve", broadcast.add(None, head))
                session.notify(f"serving at {broadcast.address}")
            if settings.record:
                session.record(True)
            info = session.info
            log.info(
                "listening to %s (%d Hz, %d ch) every %g s with %s on %s",
                *(info.source, info.source_rate, info.source_channels, info.hop),
                *(", ".join(info.models), info.engine),
            )
            code = _show(session, settings) if ui else _drain(session)
        finally:
            summary = session.finish()
            if summary.updates:
                log.info(
                    "%.10g s of sound, %d update%s, %d skipped, %d xrun%s; %s",
                    *(summary.heard_s, summary.updates, "s" * (summary.updates != 1), summary.skipped),
                    *(summary.xruns, "s" * (summary.xruns != 1), summary.in_words),
                )
            if summary.drift_ppm is not None:
                log.info(
                    "the device's clock differs from this machine's by %+.1f ppm: %+.3f s so far",
                    *(summary.drift_ppm, summary.drift_s),
                )
    return code or int(session.failed)


def _stdin_and_ui(settings: Settings) -> tuple[BinaryIO | None, bool]:
    """The sound, if it comes through stdin, and whether there is to be a screen."""
    from instrec_live.realtime.terminal import can_draw, is_terminal, keyboard_apart

    ui = can_draw() and not settings.no_ui and not settings.json
    pipe: BinaryIO | None = None
    if settings.stdin:
        pipe, ui = keyboard_apart() if ui else (sys.stdin.buffer, False)
    else:
        ui = ui and is_terminal(sys.stdin)
    if settings.theme is not None:
        from instrec_live.realtime.tui.base_app import known_theme

        known_theme(settings.theme)  # before any output is begun
    return pipe, ui


def _show(session: "Session", settings: Settings) -> int:
    from instrec_live.realtime.audio.devices import list_input_devices_fresh
    from instrec_live.realtime.config.file import default_path
    from instrec_live.realtime.config.keep import ThresholdKeeper
    from instrec_live.realtime.tui.app import run

    look, keep = list_input_devices_fresh, ThresholdKeeper(settings.config or default_path())
    return run(session, theme=settings.theme, noise=settings.log_file, look=look, keep=keep)


def _drain(session: "Session") -> int:
    """Iterate in another thread, so that a signal interrupts neither a decision nor a write."""
    from instrec_live.realtime.terminal import wait_for_end

    failed: list[BaseException] = []
    ended = threading.Event()

    def iterate() -> None:
        try:
            for _ in session:
                pass
        except BaseException as error:  # raised again by the main thread
            failed.append(error)
        ended.set()

    threading.Thread(target=iterate, name="stream", daemon=True).start()
    wait_for_end(ended, session.stop)
    if failed:
        raise failed[0]
    return 0


def _stream(settings: Settings, pipe: BinaryIO | None, ui: bool) -> "Stream":
    from instrec_live.realtime.stream.stream import Stream

    return Stream(
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
        config=settings.analysis,
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
    names = chosen(settings.only, settings.exclude or (), known_instruments(settings.models))
    if settings.osc is not None:
        from instrec_live.realtime.outputs.osc import Osc

        players[f"--osc {settings.osc}"] = Osc(settings.osc, names)
    if settings.midi is not None:
        from instrec_live.realtime.outputs.midi import Midi

        players[f"--midi {settings.midi}"] = Midi(settings.midi, settings.midi_channel, names)
    return players


def _open_outputs(settings: Settings, session: "Session", ui: bool, head: dict[str, Any]) -> None:
    from instrec_live.realtime.outputs import Changes, JsonLines, open_output, streamed_first

    name = "stdout"
    try:
        if settings.json:
            session.add(name, JsonLines(sys.stdout, head), sys.stdout)
        elif not ui:
            session.add(name, Changes(sys.stdout, head=head), sys.stdout)
        for path in streamed_first(settings.outputs):
            name = str(path)
            for begun in open_output(path, head, settings.force):
                session.add(*begun)
    except BrokenPipeError:
        raise
    except OSError as error:
        from instrec_live.models.errors import write_failed

        raise write_failed(name, error) from error
