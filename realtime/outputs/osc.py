"""Updates as OSC messages over UDP, for Max, SuperCollider, TouchDesigner and whatever else listens."""

import socket

from instrec_live.models.errors import UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.outputs.address import host_and_port, needs_control
from instrec_live.realtime.outputs.sink import LostOnTheWay, Sink, Summary
from instrec_live.realtime.update import Update


class Osc(Sink):
    """Every update: /instrec/NAME with the probability, /instrec/level in dBFS; on change: /instrec/NAME/active 1 or 0.

    At first, and after a jump, every instrument's /active is told; labels are /instrec/label. At the end all are 0.

    Args:
        address: HOST:PORT, or [IPV6]:PORT.

    Raises:
        UsageError: the address is none, the host is not found, or python-osc is not installed.
    """

    def __init__(self, address: str) -> None:
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
            raise UsageError(f"--osc {address}: {error.strerror or error}", "as in --osc 127.0.0.1:9000") from error
        self._told: dict[str, bool] = {}

    def write(self, update: Update) -> None:
        if update.jumped:
            self._told = {}
        for name, p in zip(INSTRUMENTS, update.probabilities, strict=True):
            self._send(f"/instrec/{name}", float(p))
            self._tell(name, name in update.active)
        self._send("/instrec/level", float(update.level_db))

    def label(self, time: float, text: str) -> None:
        self._send("/instrec/label", text)

    def close(self, summary: Summary) -> None:
        try:
            for name in INSTRUMENTS:
                self._tell(name, False)
        finally:
            self._client.close()

    def _tell(self, name: str, active: bool) -> None:
        if self._told.get(name) is not active:
            self._send(f"/instrec/{name}/active", int(active))
            self._told[name] = active

    def _send(self, address: str, value: float | int | str) -> None:
        try:
            self._client.send_message(address, value)
        except OSError as error:
            raise LostOnTheWay(error.strerror or str(error)) from error
