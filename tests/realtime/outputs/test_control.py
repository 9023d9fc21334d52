"""OSC and MIDI, by real receivers on loopback; receivers that are not there, or go."""

import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fakes import music
from played import an_update, play, session_of
from tiny_bundle import write_tiny
from waiting import wait_for

pythonosc = pytest.importorskip("pythonosc", reason="needs the [control] extra")
mido = pytest.importorskip("mido", reason="needs the [control] extra")
from mido.sockets import PortServer
from pythonosc.dispatcher import Dispatcher
from pythonosc.osc_server import ThreadingOSCUDPServer

from instrec_live.models.errors import UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.outputs.midi import CONTROLLERS, NOTES, Midi, chosen, level
from instrec_live.realtime.outputs.osc import Osc
from instrec_live.realtime.outputs.sink import SinkGroup, SummaryBuilder
from instrec_live.realtime.stream.update import State

RUN = [sys.executable, "-m", "instrec_live.realtime", "--models", "./one", "--no-ui", "-q"]
Message = tuple[str, object]


@pytest.fixture
def osc() -> Iterator[tuple[str, list[Message]]]:
    """Where an OSC receiver listens, and what it got."""
    got: list[Message] = []
    dispatcher = Dispatcher()
    dispatcher.set_default_handler(lambda address, *values: got.append((address, *values)))
    with ThreadingOSCUDPServer(("127.0.0.1", 0), dispatcher) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield f"127.0.0.1:{server.server_address[1]}", got
        server.shutdown()


@pytest.fixture
def midi() -> Iterator[tuple[str, PortServer]]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with PortServer("127.0.0.1", port) as server:
        yield f"tcp://127.0.0.1:{port}", server


def messages_of(server: PortServer) -> list:
    """All that the only client has sent, once it has hung up."""
    port, got = server.accept(), []

    def closed() -> bool:
        got.extend(port.iter_pending())
        return bool(port.closed)

    wait_for(closed, "the client to hang up")
    return got


def test_osc_sends_probabilities_always_and_activity_on_change(
    osc: tuple[str, list[Message]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # a label that no file keeps goes into one
    address, got = osc
    session = session_of(an_update(0.5, p=0.25), an_update(1.0, "piano", p=0.75), an_update(1.5, "piano", p=0.5))
    session.add("osc", Osc(address))
    for update in session:
        if update.time == 1.0:
            session.label("sólo")
    session.finish()
    wait_for(lambda: len(got) >= 3 * 21 + 20 + 1 + 1 + 1)
    piano = sorted((value for path, value in got if path == "/instrec/piano"), key=float)
    assert piano == [0.25, 0.5, 0.75]
    assert sorted(value for path, value in got if path == "/instrec/piano/active") == [0, 0, 1]
    assert [value for path, value in got if path == "/instrec/voice/active"] == [0]
    assert [round(float(value), 2) for path, value in got if path == "/instrec/level"] == [-18.23] * 3  # type: ignore[arg-type]
    assert ("/instrec/label", "sólo") in got
    assert {path for path, *_ in got} == {
        *(f"/instrec/{name}" for name in INSTRUMENTS), *(f"/instrec/{name}/active" for name in INSTRUMENTS),
        "/instrec/level", "/instrec/label",
    }  # fmt: skip


def test_osc_sends_all_again_after_a_jump(osc: tuple[str, list[Message]]) -> None:
    address, got = osc
    session = session_of(an_update(0.5, "piano"), an_update(9.0, "piano", jumped=True))
    session.add("osc", Osc(address))
    play(session)
    wait_for(lambda: len(got) >= 2 * 41 + 1)
    assert sorted(value for path, value in got if path == "/instrec/piano/active") == [0, 1, 1]


def test_an_osc_network_that_is_down_is_reported_once_and_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    sink, sent = Osc("127.0.0.1:9"), []
    down = [True]

    class Client:
        def send_message(self, address: str, value: object) -> None:
            if down[0]:
                raise OSError(101, "Network is unreachable")
            sent.append(address)

        def close(self) -> None:
            pass

    sink._client = Client()  # type: ignore[assignment]
    session = session_of(an_update(0.5), an_update(1.0), an_update(1.5, "piano"))
    session.add("--osc", sink)
    for update in session:
        down[0] = update.time < 1.0
    session.finish()
    assert session.notices() == ["cannot reach --osc"]
    assert len([record for record in caplog.records if "Network is unreachable" in record.message]) == 1
    assert "/instrec/piano/active" in sent
    assert not session.failed


def test_midi_plays_a_note_while_it_sounds(midi: tuple[str, PortServer]) -> None:
    address, server = midi
    session = session_of(
        an_update(0.5, p=0.0), an_update(1.0, "piano", p=0.5), an_update(1.5, "piano", p=0.5), an_update(2.0, p=0.001),
        an_update(2.5, "voice", p=0.001),
    )  # fmt: skip
    session.add("midi", Midi(address, channel=3))
    play(session)
    got = messages_of(server)
    assert {message.channel for message in got} == {2}
    notes = [(message.type, message.note, message.velocity) for message in got if message.type.startswith("note")]
    piano, voice = NOTES["piano"], NOTES["voice"]
    assert notes == [("note_on", piano, 64), ("note_off", piano, 0), ("note_on", voice, 1), ("note_off", voice, 0)]
    turned = [(m.control, m.value) for m in got if m.type == "control_change"]
    assert turned == [(c, value) for value in (0, 64, 0) for c in CONTROLLERS.values()]  # only what has changed
    assert not session.failed


class Told:
    """A MIDI port and an OSC client that note what sounds."""

    def __init__(self) -> None:
        self.notes: set[int] = set()
        self.active: set[str] = set()

    def send(self, message: mido.Message) -> None:
        if message.type.startswith("note"):
            (self.notes.add if message.type == "note_on" else self.notes.remove)(message.note)

    def send_message(self, address: str, value: object) -> None:
        if address.endswith("/active"):
            (self.active.add if value else self.active.discard)(address.split("/")[2])

    def close(self) -> None:
        pass


def test_nothing_sounds_while_a_file_is_paused_or_has_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told()
    monkeypatch.setattr("instrec_live.realtime.outputs.midi._over_tcp", lambda address: told)
    osc = Osc("127.0.0.1:9")
    osc._client.close()
    osc._client = told  # type: ignore[assignment]
    sinks = SinkGroup()
    sinks.add("midi", Midi("tcp://x:1"))
    sinks.add("osc", osc)

    def sounds() -> bool:
        assert told.notes == {NOTES[name] for name in told.active}
        return told.active == {"piano"}

    sinks.write(an_update(0.5, "piano"))
    assert sounds()
    sinks.pause(True, 0.5)
    assert not sounds()
    sinks.write(an_update(1.0, "piano"))  # of sound from before the pause
    assert not sounds()
    sinks.pause(False, 0.5)
    sinks.write(an_update(1.5, "piano"))
    assert sounds()
    sinks.at_end(an_update(1.5, "piano", state=State.ENDED))
    assert not sounds()
    sinks.write(an_update(0.5, "piano", jumped=True))  # played again
    assert sounds()
    sinks.close(SummaryBuilder(0.5).summary("end"))
    assert not sounds()
    assert not sinks.failed


def test_the_numbers_of_midi() -> None:
    assert list(NOTES) == list(CONTROLLERS) == list(INSTRUMENTS)
    assert list(NOTES.values()) == list(range(60, 80))
    undefined = {*range(20, 32), *range(102, 120)}  # by the MIDI 1.0 specification
    assert len(set(CONTROLLERS.values())) == 20
    assert set(CONTROLLERS.values()) <= undefined
    assert [level(p) for p in (-1, 0, 0.5, 1, float(np.float32(1.0001)))] == [0, 0, 64, 127, 127]


def test_the_page_has_these_numbers() -> None:
    page = (Path(__file__).parents[3] / "docs" / "outputs.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\d+) \| ([a-z ]+) \| (\d+) \| (\d+) \|$", page, re.MULTILINE)
    assert [(int(row), name.replace(" ", "_"), int(note), int(control)) for row, name, note, control in rows] == [
        (row, name, NOTES[name], CONTROLLERS[name]) for row, name in enumerate(INSTRUMENTS, 1)
    ]


def test_a_lost_midi_receiver_is_one_notice(midi: tuple[str, PortServer], caplog: pytest.LogCaptureFixture) -> None:
    address, server = midi
    updates = [an_update(0.5 * i, *(["piano"] if i % 2 else []), p=(i % 2) * 0.5) for i in range(1, 200)]
    session = session_of(*updates)
    session.add("--midi x", Midi(address))
    for number, _ in enumerate(session):
        if number == 3:
            port = server.accept()
            port._socket.shutdown(socket.SHUT_RDWR)
            port.close()
    assert session.finish().updates == 199
    assert session.failed
    assert "cannot write --midi x (its receiver closed the connection" in caplog.text
    assert len(session.notices()) == 1


def test_a_midi_receiver_that_hangs_does_not_hold_the_sound_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("instrec_live.realtime.outputs.midi._PATIENCE", 0.2)
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        server.bind(("127.0.0.1", 0))
        server.listen()
        sink = Midi(f"tcp://127.0.0.1:{server.getsockname()[1]}")
        with pytest.raises(OSError, match="its receiver closed the connection"):  # noqa: PT012 - once the pipe is full
            for number in range(1_000_000):
                sink.write(an_update(0.5 * number, p=number % 2))


def test_a_port_by_its_name_or_a_part_of_it() -> None:
    names = ["Midi Through:0 14:0", "FLUID Synth 128:0", "Fluid", "Launchpad A", "Launchpad B"]
    assert chosen("through", names) == names[0]
    assert chosen("Fluid", names) == "Fluid"
    with pytest.raises(UsageError, match="several MIDI ports match 'launch' — choose one of: Launchpad A, Launchpad B"):
        chosen("launch", names)
    with pytest.raises(UsageError, match="no MIDI port matches 'x' — choose one of: Midi Through"):
        chosen("x", names)
    with pytest.raises(UsageError, match="there are none; connect one"):
        chosen("x", [])


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("control")
    write_tiny(here / "one", "one")
    soundfile.write(here / "good.wav", music(3.0), 32_000)
    (here / "without").mkdir()
    for name in ("pythonosc", "mido"):
        (here / "without" / f"{name}.py").write_text("raise ImportError('not installed')\n")
    return here


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--osc", "nowhere.invalid:9000"], "--osc nowhere.invalid:9000: "),
        (["--osc", "127.0.0.1"], "not an address"),
        (["--osc", "127.0.0.1:99999"], "the port from 1 to 65535"),
        (["--osc", ":9000"], "not an address"),
        (["--osc", "studio..local:9000"], "not an address"),
        (["--midi", f"tcp://{'a' * 64}:9000"], "not an address"),
        (["--midi", "tcp://127.0.0.1:1"], "Connection refused"),
        (["--midi", "tcp://127.0.0.1"], "not an address"),
        (["--midi", "no such synthesizer"], "--midi: "),
        (["--midi-channel", "17"], "--midi-channel"),
    ],
)
def test_a_mistake_is_one_line(place: Path, argv: list[str], words: str) -> None:
    done = subprocess.run(
        [*RUN, "--file", "good.wav", *argv], cwd=place, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith("instrec-live: error: ")
    assert words in line


@pytest.mark.parametrize("argv", [["--osc", "127.0.0.1:9000"], ["--midi", "tcp://127.0.0.1:9000"]])
def test_without_the_extra_it_says_what_to_install(place: Path, argv: list[str], monkeypatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(place / "without"))
    done = subprocess.run(
        [*RUN, "--file", "good.wav", *argv], cwd=place, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.endswith(f"{argv[0]} needs a package that is not installed — pip install 'instrec-live[control]'")


def test_the_program_plays_along(place: Path, osc: tuple[str, list[Message]], midi: tuple[str, PortServer]) -> None:
    (address, got), (port, server) = osc, midi
    process = subprocess.Popen(
        [*RUN, "--file", "good.wav", "--pace", "max", "--osc", address, "--midi", port, "--threshold", "0.01"],
        cwd=place,
        stdout=subprocess.DEVNULL,
    )
    messages = messages_of(server)
    assert process.wait(timeout=60) == 0
    wait_for(lambda: len([1 for path, *_ in got if path == "/instrec/level"]) == 6)
    notes = [message.type for message in messages if message.type.startswith("note")]
    assert notes.count("note_on") == notes.count("note_off") > 0
    assert {path for path, value, *_ in got if path.endswith("/active") and value == 1}
