"""Updates as MIDI: a note while an instrument sounds, a controller with its probability."""

import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from instrec_live.models.errors import UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.outputs.osc import host_and_port, needs_control
from instrec_live.realtime.outputs.sink import ControlSink, Summary
from instrec_live.realtime.stream.update import Update

#: of each instrument, from middle C upwards
NOTES: dict[str, int] = {name: 60 + row for row, name in enumerate(INSTRUMENTS)}
#: of each instrument; those that MIDI leaves undefined
CONTROLLERS: dict[str, int] = dict(zip(INSTRUMENTS, (*range(20, 32), *range(102, 110)), strict=True))
#: of instruments that learned bundles add, in their order, as far as they go; their notes follow those of the others
MORE_CONTROLLERS = (*range(110, 120), 85, 86, 87, 89, 90)
_TCP = "tcp://"
_PATIENCE = 2.0  # s; a receiver that takes longer is dropped, since the sound does not wait


class Port(Protocol):
    """What is needed of a port of mido."""

    def send(self, msg: object) -> None: ...
    def close(self) -> None: ...


class Midi(ControlSink):
    """note_on at an onset (velocity: its probability), note_off at an offset, one controller per instrument.

    No note sounds while a file is paused or has ended.

    Args:
        port: the name of an output port or a part of it, or tcp://HOST:PORT.
        channel: 1…16.
        instruments: those listened for.

    Raises:
        UsageError: there is no such port, or the MIDI packages are not installed.
    """

    def __init__(self, port: str, channel: int = 1, instruments: Sequence[str] = INSTRUMENTS) -> None:
        self._port: Port = _over_tcp(port) if port.startswith(_TCP) else _of_this_machine(port)
        self._channel, self._instruments = channel - 1, instruments
        new = [name for name in instruments if name not in INSTRUMENTS]
        self._notes = NOTES | dict(zip(new, range(60 + len(INSTRUMENTS), 128), strict=False))
        self._controllers = CONTROLLERS | dict(zip(new, MORE_CONTROLLERS, strict=False))
        self._on: tuple[str, ...] = ()
        self._values: dict[str, int] = {}

    def write(self, update: Update) -> None:
        every = zip(update.instruments, map(float, update.probabilities), strict=True)
        values = {name: level(p) for name, p in every if name in self._instruments}
        active = self._sounding(update)
        self._release(except_for=active)
        for name in active:
            if name not in self._on and name in self._notes:
                self._send("note_on", note=self._notes[name], velocity=max(1, values[name]))  # 0 would mean off
        for name, value in values.items():
            if self._values.get(name) != value and name in self._controllers:
                self._send("control_change", control=self._controllers[name], value=value)
        self._on, self._values = active, values

    def close(self, summary: Summary) -> None:
        try:
            self._release()
        finally:
            self._port.close()

    def _release(self, except_for: Sequence[str] = ()) -> None:
        for name in self._on:
            if name not in except_for and name in self._notes:
                self._send("note_off", note=self._notes[name], velocity=0)
        self._on = tuple(name for name in self._on if name in except_for)

    def _send(self, kind: str, **content: int) -> None:
        from mido import Message

        try:
            self._port.send(Message(kind, channel=self._channel, **content))
        except (OSError, ValueError, IndexError) as error:  # what mido makes of a connection that has gone or hangs
            raise OSError(f"its receiver closed the connection ({type(error).__name__})") from error


def level(probability: float) -> int:
    """0…1 -> 0…127."""
    return round(127 * min(1.0, max(0.0, probability)))


def chosen(name: str, names: Sequence[str]) -> str:
    """The port with this name, or the only one whose name contains it, ignoring case.

    Raises:
        UsageError: there is none, or there are several.
    """
    found = [each for each in names if each == name] or [each for each in names if name.lower() in each.lower()]
    if len(set(found)) == 1:
        return found[0]
    problem = "several MIDI ports match" if found else "no MIDI port matches"
    there = ", ".join(found or names) or "there are none; connect one, or use --midi tcp://HOST:PORT"
    raise UsageError(f"--midi: {problem} {name!r}", f"choose one of: {there}" if names else there)


def _of_this_machine(name: str) -> Port:
    if sys.platform == "linux" and not Path("/dev/snd/seq").exists():  # ALSA would say so at length, on stderr
        raise UsageError(
            "--midi: this machine has no MIDI (/dev/snd/seq is missing)",
            "load the kernel module snd-seq, or use --midi tcp://HOST:PORT",
        )
    try:
        import mido
        import rtmidi  # noqa: F401 - mido would look for it only later
    except ImportError as error:
        raise needs_control("--midi") from error
    try:
        port: Port = mido.open_output(chosen(name, mido.get_output_names()))
    except UsageError:
        raise
    except Exception as error:  # rtmidi has its own errors, which are not OSErrors
        raise UsageError(f"--midi {name}: {error}") from error
    return port


def _over_tcp(address: str) -> Port:
    host, port = host_and_port("--midi", address.removeprefix(_TCP))
    try:
        from mido.sockets import SocketPort
    except ImportError as error:
        raise needs_control("--midi") from error
    try:
        connection = socket.create_connection((host, port), timeout=_PATIENCE)
    except OSError as error:
        raise UsageError(f"--midi {address}: {error.strerror or error}", "is its receiver running?") from error
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)  # so that one that hangs is detected soon
    opened: Port = SocketPort(host, port, conn=connection)
    return opened
