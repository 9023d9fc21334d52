"""The screen in a browser: who gets in, what they see and press, and that nothing is left running."""

import asyncio
import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fakes import music
from tiny_bundle import write_tiny

aiohttp = pytest.importorskip("aiohttp", reason="aiohttp is not installed: pip install '.[serve]'")
pytest.importorskip("textual_serve", reason="textual-serve is not installed: pip install '.[serve]'")

from instrec_live.models.errors import InputFileError
from instrec_live.realtime.browser.guard import Guard, is_loopback, origin_of
from instrec_live.realtime.browser.serve import check
from instrec_live.realtime.browser.server import NOT_A_KEY, hand_on
from instrec_live.realtime.settings import parse

RUN = [sys.executable, "-m", "instrec_live.realtime"]
CHROMIUM = shutil.which("chromium")
AWKWARD = 'it\'s "a" $(touch pwned) & b.wav'


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and two minutes of sound under an awkward name."""
    here = tmp_path_factory.mktemp("serve")
    write_tiny(here / "one", "one")
    soundfile.write(here / AWKWARD, np.tile(music(6), 20), 32_000)
    return here


class Served:
    """A server that runs: its address, and its process."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        assert process.stdout is not None
        self.address = process.stdout.readline().strip()
        assert self.address.startswith("http"), process.communicate()
        self.root, _, self.query = self.address.partition("?")

    def children(self) -> list[int]:
        path = f"/proc/{self.process.pid}/task/{self.process.pid}/children"
        return [int(number) for number in Path(path).read_text().split()]


@contextlib.contextmanager
def served(place: Path, *argv: str, stderr: int = subprocess.PIPE) -> Iterator[Served]:
    command = [*RUN, "--serve", "--port", "0", "--models", "./one", "--file", AWKWARD, *argv]
    process = subprocess.Popen(command, cwd=place, stdout=subprocess.PIPE, stderr=stderr, text=True)
    try:
        yield Served(process)
    finally:
        process.terminate()
        process.wait(20)
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


Talk = Callable[[aiohttp.ClientWebSocketResponse], Awaitable[None]]


def talk(server: Served, what: Talk, **headers: str) -> aiohttp.ClientWebSocketResponse:
    """Open the websocket as the page does, do `what`, close it."""

    async def whole() -> aiohttp.ClientWebSocketResponse:
        address = f"{server.root}ws?width=100&height=30&{server.query}"
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(address, headers=headers, max_msg_size=0) as websocket,
        ):
            await asyncio.wait_for(what(websocket), 40)
            return websocket

    return asyncio.run(whole())


async def until(websocket: aiohttp.ClientWebSocketResponse, text: str) -> str:
    """All that is shown until `text` is."""
    shown = ""
    while text not in re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown):
        message = await websocket.receive()
        assert message.type is aiohttp.WSMsgType.BINARY, (message, shown[-300:])
        shown += message.data.decode()
    return shown


async def closed(websocket: aiohttp.ClientWebSocketResponse) -> str:
    """The reason that the server gives at the end."""
    while True:
        message = await websocket.receive()
        if message.type is aiohttp.WSMsgType.CLOSE:
            return str(message.extra or "")
        if message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
            return ""


def fetch(address: str, **headers: str) -> tuple[int, str, dict[str, str]]:
    async def whole() -> tuple[int, str, dict[str, str]]:
        async with aiohttp.ClientSession() as session, session.get(address, headers=headers) as answer:
            return answer.status, await answer.text(), dict(answer.headers)

    return asyncio.run(whole())


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def gone(pids: list[int], patience: float = 15.0) -> bool:
    deadline = time.monotonic() + patience
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    return not any(alive(pid) for pid in pids)


linux = pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for children in Linux's /proc")


def test_screen_keys_and_end(place: Path) -> None:
    async def press(websocket: aiohttp.ClientWebSocketResponse) -> None:
        first = await until(websocket, "voice")
        assert "b.wav" in first
        await websocket.send_json(["resize", {"width": 100, "height": 40}])
        await websocket.send_json(["stdin", "?"])
        await until(websocket, "How to read the screen")
        await websocket.send_json(["stdin", "\x1b"])
        await asyncio.sleep(0.5)
        await websocket.send_json(["ping", "7"])
        while (message := await websocket.receive()).type is not aiohttp.WSMsgType.TEXT:
            pass
        assert message.json() == ["pong", "7"]
        await websocket.send_json(["stdin", "q"])
        assert await closed(websocket) == ""

    with served(place) as server:
        talk(server, press)
        assert gone(server.children()) if sys.platform == "linux" else True
    assert not (place / "pwned").exists()


@linux
def test_a_tab_that_closes_ends_its_child_and_no_other(place: Path) -> None:
    with served(place) as server:

        async def two(first: aiohttp.ClientWebSocketResponse) -> None:
            await until(first, "voice")
            (one,) = server.children()
            async with aiohttp.ClientSession() as session:
                async with session.ws_connect(f"{server.root}ws", max_msg_size=0) as second:
                    await until(second, "voice")
                    (other,) = set(server.children()) - {one}
                assert await asyncio.to_thread(gone, [other])
            assert alive(one)

        talk(server, two)


@linux
def test_a_tab_that_closes_while_the_networks_load_ends_its_child(place: Path) -> None:
    async def glance(websocket: aiohttp.ClientWebSocketResponse) -> None:
        await asyncio.sleep(0.2)

    with served(place) as server:
        talk(server, glance)
        assert gone(server.children())


@linux
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)], ids=["int", "term", "kill"]
)
def test_when_the_server_ends_so_do_its_children(place: Path, number: int, code: int) -> None:
    with served(place) as server:

        async def end(websocket: aiohttp.ClientWebSocketResponse) -> None:
            await until(websocket, "voice")
            children = server.children()
            assert len(children) == 1
            server.process.send_signal(number)
            reason = await closed(websocket)
            assert reason == ("" if code < 0 else "The program was ended.")
            assert await asyncio.to_thread(gone, children)

        talk(server, end)
        assert server.process.wait(20) == code
        assert server.process.stderr is not None
        assert "Traceback" not in server.process.stderr.read()


def test_there_is_room_for_so_many_viewers(place: Path) -> None:
    with served(place, "--viewers", "1") as server:

        async def full(websocket: aiohttp.ClientWebSocketResponse) -> None:
            await until(websocket, "voice")
            status, text, _ = await asyncio.to_thread(fetch, server.address)
            assert (status, "1 are watching already" in text) == (503, True)
            async with aiohttp.ClientSession() as session:
                with pytest.raises(aiohttp.WSServerHandshakeError, match="503"):
                    await session.ws_connect(f"{server.root}ws")

        talk(server, full)
        deadline = time.monotonic() + 15
        while fetch(server.address)[0] != 200 and time.monotonic() < deadline:
            time.sleep(0.1)
        assert fetch(server.address)[0] == 200


def test_what_is_no_key_ends_that_session_only(place: Path) -> None:
    async def spoil(websocket: aiohttp.ClientWebSocketResponse, message: str) -> None:
        await until(websocket, "voice")
        await websocket.send_str(message)
        await closed(websocket)

    with served(place) as server:
        for message in ("no json", '["stdin", "\\ud800"]'):
            talk(server, lambda websocket, message=message: spoil(websocket, message))
        talk(server, lambda websocket: until(websocket, "voice"))


@pytest.mark.parametrize(
    "envelope", [[], 3, None, ["stdin"], ["stdin", 3], ["resize", {}], ["resize", [9, 9]], ["ping"]]
)
def test_what_else_is_no_key(envelope: object) -> None:
    with pytest.raises(NOT_A_KEY):
        asyncio.run(hand_on(envelope, None, None))  # type: ignore[arg-type]


def test_a_screen_has_a_size_that_can_be(place: Path) -> None:
    async def grow(websocket: aiohttp.ClientWebSocketResponse) -> None:
        await until(websocket, "voice")
        await websocket.send_json(["resize", {"width": 10**9, "height": -1}])
        await websocket.send_json(["resize", {"width": 90, "height": 25}])
        await until(websocket, "voice")

    with served(place) as server:
        talk(server, grow)


def test_the_page_is_this_servers_alone(place: Path) -> None:
    with served(place) as server:
        status, page, headers = fetch(server.address)
        assert status == 200
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert (headers["Referrer-Policy"], headers["Cache-Control"]) == ("no-referrer", "no-store")
        names = [*re.findall(r'(?:src|href)="([^"]+)"', page), "static/fonts/RobotoMono-VariableFont_wght.ttf"]
        assert len(names) > 4
        for name in names:
            assert "//" not in name
            if not name.startswith("data:"):
                assert asyncio.run(status_of(server.root + name)) == 200
        for name in ("static/", "static/../server.py", "static/%2e%2e/server.py", "nothing", "download/x"):
            assert asyncio.run(status_of(server.root + name)) in (403, 404)


async def status_of(address: str) -> int:
    async with aiohttp.ClientSession() as session, session.get(address) as answer:
        return int(answer.status)


def test_other_sites_do_not_get_in(place: Path) -> None:
    with served(place) as server:
        assert fetch(server.address, Host="evil.example:80")[0] == 403  # a name that leads here
        assert fetch(f"{server.root}static/js/textual.js", Host="evil.example")[0] == 403
        for origin in ("http://evil.example", "null", server.root.replace("http", "https").rstrip("/") + "0"):
            with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
                talk(server, lambda websocket: until(websocket, "voice"), Origin=origin)
        talk(server, lambda websocket: until(websocket, "voice"), Origin=server.root.rstrip("/"))


def test_a_server_for_others_has_a_token_and_its_visitors_write_nothing(place: Path) -> None:
    before = set(place.iterdir())
    with served(place, "--host", "0.0.0.0") as server:
        assert re.fullmatch(r"token=[\w-]{32}", server.query)
        port = server.root.rstrip("/").rpartition(":")[2]
        server.root = f"http://127.0.0.1:{port}/"
        assert fetch(server.root)[0] == 403
        assert fetch(f"{server.root}?token=x")[0] == 403
        assert fetch(f"{server.root}?token=ü")[0] == 403
        assert fetch(f"{server.root}?{server.query}")[0] == 200
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            talk(Outside(server), lambda websocket: until(websocket, "voice"))

        async def record(websocket: aiohttp.ClientWebSocketResponse) -> None:
            await until(websocket, "voice")
            await websocket.send_json(["stdin", "r"])
            await until(websocket, "not for visitors")

        talk(server, record)
        server.process.terminate()
        _, said = server.process.communicate(timeout=20)
    assert "instrec-live: warning: others can reach this server" in said
    assert server.query.partition("=")[2] not in said
    assert set(place.iterdir()) == before


class Outside:
    """Somebody who knows the server but not the token."""

    def __init__(self, server: Served) -> None:
        self.root, self.query = server.root, ""


def test_behind_a_proxy(place: Path) -> None:
    with served(place, "--public-url", "https://music.example/") as server:
        assert re.fullmatch(r"https://music\.example/\?token=[\w-]{32}", server.address)


@pytest.mark.parametrize(("public", "told"), [([], True), (["--host", "0.0.0.0"], False)], ids=["own", "public"])
def test_a_child_that_fails_says_why_to_its_owner_alone(place: Path, public: list[str], told: bool) -> None:
    async def fail(websocket: aiohttp.ClientWebSocketResponse) -> None:
        reason = await closed(websocket)
        assert ("no such model folder" in reason) == told

    with served(place, "--models", "./nowhere", *public) as server:
        server.root = f"http://127.0.0.1:{server.root.rstrip('/').rpartition(':')[2]}/"
        talk(server, fail)
        server.process.terminate()
        assert "no such model folder" in server.process.communicate(timeout=20)[1]


BAD = [
    (["--stdin"], "heard only once"),
    (["--demo", "--output", "a.csv"], "--output does not go with --serve"),
    (["--demo", "--record", "a.wav"], "--record does not go with --serve"),
    (["--demo", "--json"], "--json does not go with --serve"),
    (["--port", "65536"], "0 to 65535"),
    (["--host", "no.such.host.invalid"], "--host no.such.host.invalid"),
    (["--host", "192.0.2.1"], "cannot be had"),
    (["--public-url", "music"], "not an address"),
    (["--viewers", "0"], "1 to 64"),
]


def mistake(*argv: str, path: str = "") -> str:
    environment = os.environ | ({"PYTHONPATH": path} if path else {})
    done = subprocess.run([*RUN, *argv], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout) == (2, ""), done
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize(("argv", "words"), BAD, ids=[" ".join(argv) for argv, _ in BAD])
def test_a_mistake_is_one_line(argv: list[str], words: str) -> None:
    assert words in mistake("--serve", *argv)


def test_a_file_of_an_impossible_name_does_not_exist() -> None:
    with pytest.raises(InputFileError, match="does not exist"):
        check(parse(["--no-config", "--serve", "--file", "a" * 300]))


def test_its_options_are_nothing_without_it() -> None:
    assert "--port is of --serve" in mistake("--port", "80")


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        assert f"port {port} of 127.0.0.1 cannot be had: Address already in use" in mistake("--serve", "--port", port)


def test_without_the_packages_it_says_how_to_get_them(tmp_path: Path) -> None:
    (tmp_path / "aiohttp.py").write_text("raise ModuleNotFoundError('no', name='aiohttp')\n")
    assert "pip install 'instrec-live[serve]'" in mistake("--serve", "--demo", path=str(tmp_path))


@pytest.mark.parametrize(
    ("headers", "token", "let_in"),
    [
        ({"Host": "127.0.0.1:8000"}, None, True),
        ({"Host": "localhost:9"}, None, True),
        ({"Host": "[::1]:8000", "Origin": "http://[::1]:8000"}, None, True),
        ({"Host": "127.0.0.1.evil.example"}, None, False),
        ({"Host": "localhost.evil.example"}, None, False),
        ({"Host": "evil@127.0.0.1"}, None, True),  # no browser sends it, and no rebinding can
        ({"Host": "[::1"}, None, False),
        ({}, None, False),
        ({"Host": "localhost:9", "Origin": "http://localhost:8"}, None, False),
        ({"Host": "10.0.0.5:8000", "Origin": "http://10.0.0.5:8000"}, "secret", True),
        ({"Host": "10.0.0.5:8000", "Origin": "http://10.0.0.6:8000"}, "secret", False),
        ({"Host": "inner:8000", "Origin": "https://music.example"}, "secret", True),
        ({"Host": "10.0.0.5:8000"}, "secre", False),
        ({"Host": "10.0.0.5:8000"}, "", False),
    ],
)
def test_who_gets_in(headers: dict[str, str], token: str | None, let_in: bool) -> None:
    guard = Guard(None if token is None else "secret", "https://music.example")
    assert (guard.refusal(headers, token or "", True) is None) == let_in


def test_addresses() -> None:
    assert [is_loopback(host) for host in ("127.9.9.9", "::1", "localhost", "0.0.0.0", "music.example", "")] == (
        [True] * 3 + [False] * 3
    )
    assert origin_of("https://Music.example:443/live/") == "https://music.example"
    assert origin_of("http://[::1]:8000") == "http://[::1]:8000"
    assert [origin_of(wrong) for wrong in ("music", "ftp://music", "http://", "http://a:b")] == [None] * 4


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_in_a_real_browser(place: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install '.[dev]'")
    asked_for: list[str] = []
    complaints: list[str] = []
    shown: list[bytes] = []
    with served(place, stderr=subprocess.DEVNULL) as server, playwright.sync_playwright() as play:
        browser = play.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1000, "height": 640})
        page.on("request", lambda request: asked_for.append(request.url))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda line: complaints.append(line.text) if line.type == "error" else None)
        page.on(
            "websocket",
            lambda socket: socket.on(
                "framereceived", lambda data: shown.append(data if isinstance(data, bytes) else b"")
            ),
        )
        page.goto(server.address)
        page.wait_for_selector("body.-first-byte", timeout=40_000)
        page.wait_for_timeout(2_000)
        first = page.screenshot()
        page.wait_for_timeout(2_000)
        assert page.screenshot() != first, "the bars do not move"
        assert page.evaluate("document.fonts.check(\"16px 'Roboto Mono'\")")

        page.keyboard.press("Space")  # the picture stands still
        page.wait_for_timeout(1_000)
        frozen = page.screenshot()
        page.wait_for_timeout(1_000)
        assert page.screenshot() == frozen
        page.keyboard.press("?")
        page.wait_for_timeout(1_000)
        assert page.screenshot() != frozen, "the key ? does nothing"
        assert b"How to read" in re.sub(rb"\x1b\[[0-9;?]*[a-zA-Z]", b"", b"".join(shown))
        page.keyboard.press("Escape")
        page.wait_for_timeout(500)
        page.keyboard.press("q")
        page.wait_for_selector("#again", timeout=20_000)
        page.click("#again")
        page.wait_for_selector("body.-first-byte", timeout=40_000)
        browser.close()
    assert complaints == []
    assert len(asked_for) > 5
    assert all(address.startswith((server.root, "data:")) for address in asked_for), asked_for
