"""--serve under attack: what costs memory, time, places or log lines, and that the others notice nothing."""

import contextlib
import logging
import socket
from collections.abc import Callable

import pytest
from fake_stream import update

pytest.importorskip("starlette", reason="starlette is not installed: pip install '.[serve]'")
pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install '.[serve]'")

from serving import Running, alive, head, serving
from waiting import wait_for

from instrec_live.realtime.commands.serve import guard as guards
from instrec_live.realtime.commands.serve.broadcast import Broadcast
from instrec_live.realtime.commands.serve.guard import Guard
from instrec_live.realtime.commands.serve.server import LimitedProtocol, WebServer

HALF_OPEN = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Never"
VIEWER = b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def closed(client: socket.socket) -> bool:
    """Whether the server closes the connection (or has reset it), within the client's patience."""
    try:
        while client.recv(65_536):
            pass
    except ConnectionError:
        pass
    return True


def test_half_open_connections_leave_room_and_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    with serving() as server, contextlib.ExitStack() as stack:
        monkeypatch.setattr(LimitedProtocol, "head_seconds", 3600.0)
        attackers = [stack.enter_context(server.connect()) for _ in range(150)]
        attackers += [stack.enter_context(server.connect()) for _ in range(200)]
        for attacker in attackers:
            with contextlib.suppress(ConnectionError):
                attacker.sendall(HALF_OPEN)
        assert server.get("/")[0] == 200
        wait_for(lambda: len(server.connections) <= LimitedProtocol.max_waiting)
        assert all(
            closed(attacker) for attacker in attackers[: 350 - LimitedProtocol.max_waiting]
        )  # the oldest had to make room
        monkeypatch.setattr(LimitedProtocol, "head_seconds", 0.1)
        late = [stack.enter_context(server.connect()) for _ in range(10)]
        assert all(closed(attacker) for attacker in late)  # and the others end by themselves


def test_a_request_sent_byte_by_byte_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LimitedProtocol, "head_seconds", 0.3)
    with serving() as server, server.connect() as drip:
        drip.settimeout(0.01)
        ended = False
        while not ended:
            try:
                drip.send(b"G")
                ended = drip.recv(10) == b""
            except TimeoutError:
                pass
            except ConnectionError:
                ended = True
        assert server.get("/")[0] == 200


def test_a_connection_that_is_kept_is_closed_when_nothing_follows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LimitedProtocol, "head_seconds", 0.2)
    with serving() as server, server.connect() as kept:
        for _ in range(3):
            kept.sendall(b"GET /live.js HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
            assert kept.recv(100).startswith(b"HTTP/1.1 200")
            while kept.recv(65_536)[-2:] != b"}\n":
                pass
        kept.sendall(b"GET /")
        assert closed(kept)


@pytest.mark.parametrize(
    "junk",
    [
        b"\x16\x03\x01" + bytes(60_000),
        b"A" * 60_000,
        b"GET /" + b"a" * 100_000,
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 99_999,
    ],
    ids=["tls", "letters", "long path", "many headers"],
)
def test_junk_instead_of_a_request(junk: bytes, caplog: pytest.LogCaptureFixture) -> None:
    with serving() as server:
        for _ in range(20):
            with server.connect() as attacker, contextlib.suppress(ConnectionError):
                attacker.sendall(junk)
                closed(attacker)
        assert server.get("/")[0] == 200
        wait_for(lambda: not server.connections)
    assert len([r for r in caplog.records if r.name.startswith("instrec_live")]) <= 2


def test_junk_from_a_viewer_changes_nothing_and_its_place_is_freed() -> None:
    """FAULTS C3: 20 × 60,000 keys, then close."""
    broadcast = Broadcast()
    source = broadcast.add(None, head())
    with serving(broadcast, viewers=2) as server:
        attacker = server.connect()
        attacker.sendall(VIEWER)
        wait_for(lambda: server.viewers == 1)
        attacker.settimeout(0.2)
        with contextlib.suppress(TimeoutError):
            for _ in range(20):
                attacker.sendall(b"k" * 60_000)
        with server.watch() as other:
            for number in range(50):
                source.write(update(number))
                assert other.until("update")["time"] == update(number).time
        wait_for(lambda: server.viewers == 1)
        (connection,) = [each for each in server.connections if each.cycle and not each.cycle.response_complete]
        assert len(connection.conn._receive_buffer) < 600_000  # what one read takes, and no more
        attacker.close()
        wait_for(lambda: bool(source.write(update(60))) or server.viewers == 0)


def test_a_body_is_not_kept() -> None:
    with serving() as server, server.connect() as attacker:
        attacker.sendall(b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 1000000000\r\n\r\n")
        assert attacker.recv(100).startswith(b"HTTP/1.1 405")
        with contextlib.suppress(ConnectionError):
            for _ in range(200):
                attacker.sendall(bytes(10_000))
        wait_for(lambda: not server.connections)


def stuck(server: Running) -> socket.socket:
    """A viewer who reads nothing."""
    client = server.connect(received=4096)
    client.sendall(VIEWER)
    return client


def flood(source: Callable[[int], None], server: Running) -> None:
    """Write until a connection cannot take more."""
    number = 0
    while not any(each.flow.write_paused for each in server.connections):
        source(number)
        number += 1
        assert number < 20_000


def test_a_viewer_that_reads_nothing_delays_no_other_and_is_disconnected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(LimitedProtocol, "write_seconds", 0.2)
    broadcast = Broadcast()
    source = broadcast.add(None, head())
    with serving(broadcast) as server:
        attacker = stuck(server)
        wait_for(lambda: server.viewers == 1)
        with server.watch() as other:
            other.until("history")

            def write(number: int) -> None:
                source.write(update(number))
                assert other.until("update")["time"] == update(number).time

            flood(write, server)
            wait_for(lambda: server.viewers == 1)  # only the other one is left
        attacker.close()


def test_a_slow_viewer_continues_with_the_newest() -> None:
    broadcast = Broadcast()
    source = broadcast.add(None, head())
    with serving(broadcast) as server, stuck(server) as slow:
        wait_for(lambda: server.viewers == 1)
        flood(lambda number: source.write(update(number)), server)
        for number in range(100):
            source.write(update(number))
        source.label(1.0, "now I read on")
        read = b""
        while b"now I read on" not in read[-100_000:] and b'"missed"' not in read:
            read += slow.recv(65_536)
        assert b'"missed"' in read


def test_stopping_is_bounded_whatever_viewers_do() -> None:
    broadcast = Broadcast()
    source = broadcast.add(None, head())
    with serving(broadcast) as server, contextlib.ExitStack() as stack:
        for _ in range(5):
            stack.enter_context(stuck(server))
            half = stack.enter_context(server.connect())
            half.sendall(HALF_OPEN)
        wait_for(lambda: server.viewers == 5)
        flood(lambda number: source.write(update(number)), server)
        server.web.stop()
        assert not alive("web server")
        with pytest.raises(OSError, match=r"refused|actively"):
            server.connect()


def test_stopping_before_starting() -> None:
    from instrec_live.realtime.commands.serve.server import open_port

    WebServer(Broadcast(), open_port("127.0.0.1", 0), Guard(), 1).stop()


def test_wrong_tokens_are_one_line_a_minute_and_cannot_forge_others(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guards, "_QUIET_SECONDS", 3600.0)
    with serving(guard=Guard(token="s" * 32)) as server:
        for number in range(300):
            path = f"/events?token={number:032}" if number else "/overlay?\r\n"[:9]
            assert server.get(path)[0] == 403
        raw = b"GET /%0A2026-11-29%20ERROR%20forged%1b[31m/../overlay HTTP/1.1\r\nHost: evil\x1b[31m.example\r\n\r\n"
        with server.connect() as attacker:
            attacker.sendall(raw)
            closed(attacker)
    said = [record.getMessage() for record in caplog.records if record.name.startswith("instrec_live")]
    assert len(said) <= 2  # a refusal, and a request that is no HTTP
    assert all(line.isprintable() for line in said)


def test_what_the_library_complains_of_is_rare_and_printable(caplog: pytest.LogCaptureFixture) -> None:
    with serving() as server:
        complaints = logging.getLogger("uvicorn.error")
        for _ in range(50):
            complaints.warning("Invalid request %s", "a\nb\x1b[0m")
        assert server.get("/")[0] == 200
    said = [record.getMessage() for record in caplog.records if record.name.startswith("instrec_live")]
    assert said == ["web server: Invalid request a b\N{REPLACEMENT CHARACTER}[0m"]


def test_a_request_for_a_web_socket_is_answered_like_any_other(caplog: pytest.LogCaptureFixture) -> None:
    with serving() as server, server.connect() as client:
        client.sendall(
            b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        )
        assert client.recv(100).startswith(b"HTTP/1.1 200")
    assert [record for record in caplog.records if record.name.startswith("instrec_live")] == []
