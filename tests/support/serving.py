"""A web server on a free port of this machine, and clients that speak plain sockets."""

import http.client
import json
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from fake_stream import info
from waiting import wait_for

from instrec_live.realtime.commands.serve.broadcast import Broadcast
from instrec_live.realtime.commands.serve.guard import Guard
from instrec_live.realtime.commands.serve.server import LimitedProtocol, WebServer, open_port
from instrec_live.realtime.outputs import header
from instrec_live.realtime.stream.smoothing import Smoothing

PATIENCE = 60.0  # s; a busy machine is no defect


class Running:
    """A server that runs.

    Attributes:
        broadcast: what it serves.
        port: its number.
    """

    def __init__(self, broadcast: Broadcast, web: WebServer, port: int) -> None:
        self.broadcast, self.web, self.port = broadcast, web, port

    def connect(self, received: int | None = None) -> socket.socket:
        """A plain connection; `received`: bytes that this end keeps for who does not read."""
        client = socket.socket()
        if received is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, received)
        client.settimeout(PATIENCE)
        client.connect(("127.0.0.1", self.port))
        return client

    def get(self, path: str, method: str = "GET", **headers: str) -> tuple[int, str, dict[str, str]]:
        """Status, text and headers of an answer that ends."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request(method, path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), {name.lower(): value for name, value in answer.getheaders()}
        finally:
            connection.close()

    @contextmanager
    def watch(self, path: str = "/events.jsonl", **headers: str) -> Iterator["Watching"]:
        """A viewer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
            yield Watching(connection.getresponse())
        finally:
            connection.close()

    @property
    def connections(self) -> list[LimitedProtocol]:
        """Those that are open now, as the server sees them."""
        return [each for each in self.web._server.server_state.connections if isinstance(each, LimitedProtocol)]

    @property
    def viewers(self) -> int:
        """How many are connected now."""
        return sum(each.cycle is not None and not each.cycle.response_complete for each in self.connections)


class Watching:
    """The answer to a viewer, line by line."""

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.answer = answer

    def line(self) -> str:
        """The next line of text, "" at the end."""
        return self.answer.readline().decode().rstrip("\n")

    def record(self) -> dict[str, Any]:
        """The next JSON line, or the next server-sent event."""
        while True:
            line = self.line().removeprefix("data: ")
            if line.startswith("{"):
                found: dict[str, Any] = json.loads(line)
                return found
            assert line or not self.answer.isclosed(), "the answer has ended"

    def until(self, kind: str) -> dict[str, Any]:
        """The next record of a kind."""
        while (found := self.record())["type"] != kind:
            pass
        return found


@contextmanager
def serving(broadcast: Broadcast | None = None, guard: Guard | None = None, viewers: int = 100) -> Iterator[Running]:
    """Serve a broadcast until the block ends."""
    broadcast = Broadcast() if broadcast is None else broadcast
    port = open_port("127.0.0.1", 0)
    web = WebServer(broadcast, port, guard or Guard(), viewers)
    running = Running(broadcast, web, port.getsockname()[1])
    web.start()
    wait_for(lambda: web._server.started)
    try:
        yield running
    finally:
        web.stop()


def head(**changes: object) -> Mapping[str, Any]:
    """A header as `--output` has it."""
    return header(info(**changes), Smoothing(), -60.0)


def alive(name: str) -> bool:
    """Whether a thread of that name runs."""
    return any(thread.name == name for thread in threading.enumerate())
