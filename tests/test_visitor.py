"""What a visitor of --serve may do: look, and nothing that writes, opens or tells what is not theirs."""

import asyncio
from pathlib import Path

import pytest
from fake_stream import FakeStream, info, update
from test_tui_app import settled

pytest.importorskip("aiohttp", reason="aiohttp is not installed: pip install '.[serve]'")
pytest.importorskip("textual_serve", reason="textual-serve is not installed: pip install '.[serve]'")

import aiohttp
from test_serve import Served, linux, place, served, talk, until  # noqa: F401

from instrec_live.realtime.browser.environment import needed
from instrec_live.realtime.devices import InputDevice
from instrec_live.realtime.tui.app import InstrecApp
from instrec_live.realtime.tui.glyphs import UNICODE

LEAVES = {"q", "ctrl+q", "ctrl+c"}
CONFIRMS = ("x", "enter", "escape", "escape")  # whatever a key has opened


class Watched(FakeStream):
    """A stream that remembers what it was asked for and a visitor must not."""

    def __init__(self) -> None:
        super().__init__([update(60)], info(hop=3600.0), hold=True)
        self.asked: list[str] = []

    def record(self, on: bool) -> Path:
        self.asked.append("record")
        return super().record(on)

    def label(self, text: str, time: float) -> None:
        self.asked.append("label")

    def listen_to(self, device: int | str | None) -> None:
        self.asked.append("listen_to")


def asked_for(visitor: bool, palette: bool) -> set[str]:
    """What the stream is asked for when every key is pressed, or every command of ours is chosen."""
    stream = Watched()
    looked: list[str] = []

    def look() -> list[InputDevice]:
        looked.append("list of microphones")
        return [InputDevice(0, "Built-in", 2, 44_100, True, "ALSA")]

    async def go() -> None:
        app = InstrecApp(stream, glyphs=UNICODE, visitor=visitor, look=look)  # type: ignore[arg-type]
        async with app.run_test(size=(80, 24), notifications=True) as pilot:
            await settled(app, pilot, lambda: app.picture.update is not None)
            if palette:
                for command in app.commands():
                    command.callback()
                    await pilot.press(*CONFIRMS)
            else:
                for key in sorted(set(app.active_bindings) - LEAVES):
                    await pilot.press(key)
                    if len(app.screen_stack) > 1 or app.board.prompt.display:
                        await pilot.press(*CONFIRMS)
            await pilot.pause()

    asyncio.run(go())
    return {*stream.asked, *looked}


@pytest.mark.parametrize("palette", [False, True], ids=["keys", "palette"])
def test_no_key_and_no_command_gives_a_visitor_more_than_a_look(
    palette: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert asked_for(visitor=True, palette=palette) == set()
    if palette:  # so this would notice
        assert asked_for(visitor=False, palette=True) == {"record", "label", "list of microphones", "listen_to"}
    assert list(tmp_path.iterdir()) == []


def test_what_a_child_needs_of_the_environment() -> None:
    own = {
        "PATH": "/bin", "Home": "C:/me", "LC_ALL": "C.UTF-8", "PULSE_SERVER": "unix:/x", "XDG_RUNTIME_DIR": "/run",
        "TEXTUAL_DRIVER": "web", "OMP_NUM_THREADS": "1",
    }  # fmt: skip
    others = {
        "AWS_SECRET_ACCESS_KEY": "s", "GITHUB_TOKEN": "t", "DATABASE_URL": "u", "SSH_AUTH_SOCK": "v", "MY_PATH": "w",
        "TEXTUAL": "devtools", "LD_PRELOAD": "x.so", "PYTHONSTARTUP": "x.py", "PASSWORD": "p",
    }  # fmt: skip
    assert needed(own | others) == own


@linux
@pytest.mark.parametrize(("options", "let_through"), [(["--host", "0.0.0.0"], False), ([], True)])
def test_a_visitors_child_does_not_know_other_programs_secrets(
    place: Path,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    options: list[str],
    let_through: bool,
) -> None:
    """Whoever is on this machine has the owner's environment anyway; there nothing is kept back."""
    monkeypatch.setenv("SOME_TOKEN", "do-not-tell")
    with served(place, *options) as server:
        port = server.root.rstrip("/").rpartition(":")[2]
        server.root = f"http://127.0.0.1:{port}/"

        async def check(websocket: aiohttp.ClientWebSocketResponse) -> None:
            await until(websocket, "voice")
            (child,) = server.children()
            environment = Path(f"/proc/{child}/environ").read_bytes()
            assert (b"do-not-tell" in environment) == let_through
            open_files = [path.readlink() for path in Path(f"/proc/{child}/fd").iterdir()]
            listening = _listening_sockets(server)
            assert listening
            assert not listening & {str(path) for path in open_files}, "a child can take the server's port"

        talk(server, check)


def _listening_sockets(server: Served) -> set[str]:
    """The server's open ports, as /proc names them."""
    table = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    inodes = {f"socket:[{line[9]}]" for line in table if line[3] == "0A"}
    held = {str(path.readlink()) for path in Path(f"/proc/{server.process.pid}/fd").iterdir()}
    return inodes & held
