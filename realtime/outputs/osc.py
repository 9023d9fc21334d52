"""Updates as OSC messages over UDP, for Max, SuperCollider, TouchDesigner and other programs."""

import socket
from collections.abc import Sequence

from instrec_live.models.errors import UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.outputs.sink import ControlSink, SinkLost, Summary
from instrec_live.realtime.stream.update import Update


def host_and_port(option: str, address: str) -> tuple[str, int]:
    """ "127.0.0.1:9000" -> ("127.0.0.1", 9000); an IPv6 address is in brackets.

    Raises:
        UsageError: it is not such an address.
    """
    host, colon, port = address.rpartition(":")
    host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    if not (colon and _can_be_host(host) and port.isascii() and port.isdigit() and 0 < int(port) < 65_536):
        raise UsageError(f"{option} {address}: not an address", f"as in {option} HOST:PORT, the port from 1 to 65535")
    return host, int(port)


def _can_be_host(name: str) -> bool:
    """Whether the system can be asked for a host of this name."""
    try:
        return bool(name.encode("idna"))
    except UnicodeError:  # an empty part ("a..b"), or one of more than 63 letters
        return False


def needs_control(option: str) -> UsageError:
    return UsageError(f"{option} needs a package that is not installed", "pip install 'instrec-live[control]'")


class Osc(ControlSink):
    """Every update: /instrec/NAME with the probability, /instrec/level in dBFS; on change: /instrec/NAME/active 1 or 0.

    At first, and after a jump, /active is sent for every instrument; labels are /instrec/label. All are 0 while
    a file is paused or has ended, and at the end.

    Args:
        address: HOST:PORT, or [IPV6]:PORT.
        instruments: those listened for.

    Raises:
        UsageError: the address is invalid, the host is not found, or python-osc is not installed.
    """

    def __init__(self, address: str, instruments: Sequence[str] = INSTRUMENTS) -> None:
        host, port = host_and_port("--osc", address)
        try:
            from pythonosc.udp_client import SimpleUDPClient
        except ImportError as error:
            raise needs_control("--osc") from error
        try:
            # Resolved once: the client would ask for the name again with every message.
            numeric = str(socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0][4][0])
            self._client = SimpleUDPClient(numeric, port)
        except OSError as error:
            raise UsageError(
                f"--osc {address}: {error.strerror or error}", "for example --osc 127.0.0.1:9000"
            ) from error
        self._instruments = instruments
        self._sent: dict[str, bool] = {}  # the last /active of each instrument

    def write(self, update: Update) -> None:
        if update.jumped:
            self._sent = {}
        active = self._sounding(update)
        for name, p in zip(update.instruments, update.probabilities, strict=True):
            if name in self._instruments:
                self._send(f"/instrec/{name}", float(p))
                self._send_active(name, name in active)
        self._send("/instrec/level", float(update.level_db))

    def label(self, time: float, text: str) -> None:
        self._send("/instrec/label", text)

    def close(self, summary: Summary) -> None:
        try:
            self._release()
        finally:
            self._client.close()

    def _release(self) -> None:
        for name in self._instruments:
            self._send_active(name, False)

    def _send_active(self, name: str, active: bool) -> None:
        if self._sent.get(name) is not active:
            self._send(f"/instrec/{name}/active", int(active))
            self._sent[name] = active

    def _send(self, address: str, value: float | int | str) -> None:
        try:
            self._client.send_message(address, value)
        except OSError as error:
            raise SinkLost(error.strerror or str(error)) from error
