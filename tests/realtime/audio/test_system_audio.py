"""What the computer plays: found and named on every system, and read where there is a sound server."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import virtual_microphone
from tiny_bundle import write_tiny
from virtual_microphone import VirtualMicrophone
from waiting import FOREVER

from instrec_live.realtime.audio import devices, monitor, system_audio
from instrec_live.realtime.audio.devices import InputDevice, choose
from instrec_live.realtime.audio.monitor import MonitorSource
from instrec_live.realtime.audio.system_audio import Monitor, default_monitor, is_loopback, monitor_meant
from instrec_live.realtime.errors import AudioDeviceError, UsageError

RUN = [sys.executable, "-m", "instrec_live.realtime"]
DEMO = Path(__file__).parents[3] / "realtime" / "demo" / "demo.ogg"


@pytest.mark.parametrize(
    ("name", "loops"),
    [
        ("BlackHole 2ch", True),
        ("Loopback Audio", True),
        ("Soundflower (2ch)", True),
        ("Stereo Mix (Realtek(R) Audio)", True),
        ("CABLE Output (VB-Audio Virtual Cable)", True),
        ("VoiceMeeter Output (VB-Audio VoiceMeeter VAIO)", True),
        ("Monitor of Built-in Audio Analog Stereo", True),
        ("Scarlett 2i2 USB", False),
        ("MacBook Pro Microphone", False),
        ("Studio Monitor Mic", False),
    ],
)
def test_loopback_devices_are_known_by_name(name: str, loops: bool) -> None:
    assert is_loopback(name) is loops
    assert InputDevice(0, name, 2, 48_000, False, "x").is_loopback is loops


def listed(*names: tuple[str, str]) -> list[InputDevice]:
    return [InputDevice(index, name, 2, 48_000, index == 0, api) for index, (name, api) in enumerate(names)]


def test_system_is_the_loopback_device() -> None:
    found = listed(("Microphone", "Core Audio"), ("BlackHole 2ch", "Core Audio"))
    assert choose(" System ", found).index == 1
    windows = listed(("Mic", "MME"), ("Stereo Mix (Realtek)", "MME"), ("Stereo Mix (Realtek)", "Windows WASAPI"))
    assert choose("system", windows).index == 1  # the default's host API, as ever


def test_several_are_a_choice() -> None:
    found = listed(("BlackHole 2ch", "Core Audio"), ("BlackHole 16ch", "Core Audio"))
    with pytest.raises(AudioDeviceError, match=r"several .*\[1\] BlackHole 16ch"):
        choose("system", found)


@pytest.mark.parametrize(
    ("platform", "words"), [("linux", "pulseaudio-utils"), ("darwin", "BlackHole"), ("win32", "Stereo Mix")]
)
@pytest.mark.parametrize("found", [[], listed(("Microphone", "x"))])
def test_without_a_loopback_device_the_error_says_how_to_install_one(
    platform: str, words: str, found: list[InputDevice], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(AudioDeviceError, match=f"no device here records what the computer plays — .*{words}"):
        choose("system", found)


def test_with_the_tools_but_no_server_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    with pytest.raises(AudioDeviceError, match="— pactl finds no running PulseAudio or PipeWire"):
        choose("system", [])


INFO = "Server Name: PulseAudio (on PipeWire 1.0.5)\nDefault Sink: speakers\nDefault Source: mic\n"
SOURCES = "0\tspeakers.monitor\tmodule\ts16le\tIDLE\n1\tmic\tmodule\ts16le\tIDLE\n"


@pytest.mark.parametrize(
    ("info", "sources", "sink"),
    [
        (INFO, SOURCES, "speakers"),
        (INFO, "1\tmic\tmodule\ts16le\tIDLE\n", None),
        ("", "", None),
        ("Default Sink: \n", SOURCES, None),
    ],
)
def test_the_default_outputs_monitor(
    info: str, sources: str, sink: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(system_audio, "_asked", lambda *words: info if words == ("info",) else sources)
    found = default_monitor()
    assert (found and found.sink) == sink
    assert monitor_meant("Scarlett") is None
    assert monitor_meant(None) is None
    assert monitor_meant("SYSTEM") == found


@pytest.mark.skipif(os.name != "posix", reason="scripts of a shell")
@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo Connection refused >&2; exit 1", "delivers no sound: Connection refused"),
        ("exec sleep 60", "delivers no sound"),
        ("head -c 40000 /dev/zero; exec sleep 60", "no longer delivers sound"),
        ("head -c 40000 /dev/zero", "no longer delivers sound"),
    ],
)
def test_a_server_that_fails_is_one_line(
    script: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = faked(script, tmp_path, monkeypatch)
    with pytest.raises(AudioDeviceError) as error:
        drained(source)
    assert words in str(error.value)
    assert "the sound server run?" in str(error.value)


def drained(source: MonitorSource) -> None:
    while source.read() is not None:
        pass


def faked(script: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> MonitorSource:
    (folder / "parec").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "parec").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    for name in ("START_WITHIN", "LOST_AFTER"):
        monkeypatch.setattr(monitor, name, 0.5)
    return MonitorSource(Monitor("speakers", "test"))


@pytest.mark.skipif(os.name != "posix", reason="scripts of a shell")
def test_closing_ends_a_waiting_read_and_the_recorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = faked("exec sleep 60", tmp_path, monkeypatch)
    monkeypatch.setattr(monitor, "START_WITHIN", FOREVER)
    blocks: list[object] = []
    reader = threading.Thread(target=lambda: blocks.append(source.read()))
    reader.start()
    time.sleep(0.2)
    source.close()
    reader.join()
    assert blocks == [None]
    assert source._process.poll() is not None
    source.close()
    assert source.read() is None


def test_without_parec_it_reports_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(AudioDeviceError, match="parec"):
        MonitorSource(Monitor("speakers", "test"))
    with pytest.raises(UsageError, match="32 channels"):
        MonitorSource(Monitor("speakers", "test"), channels=33)
    assert default_monitor() is None  # nor is there a pactl


@pytest.fixture(scope="module")
def speakers() -> Iterator[VirtualMicrophone]:
    """A sound server whose default output is not its default input's."""
    if reason := virtual_microphone.why_not():
        pytest.skip(reason)
    server = VirtualMicrophone()
    try:
        server._control("load-module", "module-null-sink", "sink_name=elsewhere")
        server._control("set-default-source", "elsewhere.monitor")
        yield server
    finally:
        server.stop()


def test_the_list_and_the_doctor_name_it(speakers: VirtualMicrophone, tmp_path: Path) -> None:
    write_tiny(tmp_path / "one", "one")
    done = subprocess.run([*RUN, "-l"], env=speakers.env, capture_output=True, text=True, timeout=120, check=True)
    assert "  system  what the computer plays (vspk)  (pulseaudio)" in done.stdout.splitlines()
    done = subprocess.run(
        [*RUN, "--doctor", "--models", str(tmp_path / "one")],
        env=speakers.env,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    (line,) = [line for line in done.stdout.splitlines() if "system audio" in line]
    assert line.startswith("ok")
    assert "--device system records what the computer plays (vspk)" in line


@pytest.mark.timing
def test_what_is_played_is_analysed(speakers: VirtualMicrophone) -> None:
    player = speakers.play(DEMO)
    try:
        done = subprocess.run(
            [*RUN, "--device", "system", "--json", "-q", "--duration", "7"],
            env=speakers.env, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    finally:
        player.terminate()
        player.wait()
    assert done.returncode == 0, done.stderr
    head, *updates, summary = map(json.loads, done.stdout.splitlines())
    assert (head["source"], head["rate"], head["channels"]) == ("what the computer plays (vspk)", 48_000, 2)
    assert max(update["peak_db"] for update in updates) > -30
    assert summary["active_seconds"]
    assert summary["skipped"] <= 8
    assert updates[-1]["time"] == pytest.approx(7.0, abs=0.1)


def test_a_device_that_is_asked_for_by_number_is_still_portaudios(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system_audio, "default_monitor", lambda: Monitor("x", "y"))
    assert monitor_meant("3") is None
    monkeypatch.setattr(devices, "list_input_devices", lambda: listed(("Mic", "ALSA")))
    assert devices.resolve("0").name == "Mic"
