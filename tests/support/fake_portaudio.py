"""A PortAudio whose microphones hum, appear and disappear; and a stream of one of them."""

import threading
from types import SimpleNamespace
from typing import Any
from weakref import WeakSet

import numpy as np
import pytest
from fakes import FakeTagger
from waiting import wait_for

from instrec_live.realtime.audio import MicrophoneSource, devices, microphone
from instrec_live.realtime.audio.devices import InputDevice
from instrec_live.realtime.stream import device_recovery
from instrec_live.realtime.stream.stream import Stream
from instrec_live.realtime.stream.update import Update


class FakePortAudio:
    """Microphones that hum, each at its own rate and loudness; a new one is known after the next start only.

    One that is taken out of `connected` hums no more, and nobody says so; nor does one that is `mute`.
    """

    class PortAudioError(Exception):
        pass

    default = SimpleNamespace(device=[0, -1], hostapi=0)

    def __init__(self) -> None:
        self.connected = {"one": (48_000, 0.01), "two": (44_100, 0.1)}
        self.known = dict(self.connected)
        self.refused: set[str] = set()
        self.mute: set[str] = set()
        self.tried: list[str] = []  # names of the devices that were to be opened
        self.open: dict[str, FakeStream] = {}
        self.starts = 0

    def query_hostapis(self) -> list[dict[str, object]]:
        return [{"name": "Fake", "default_input_device": 0}]

    def query_devices(self) -> list[dict[str, object]]:
        return [
            {"name": name, "max_input_channels": 2, "default_samplerate": float(rate), "hostapi": 0}
            for name, (rate, _) in self.known.items()
        ]

    def InputStream(self, device: int, samplerate: int, blocksize: int, callback: Any, **_: Any) -> "FakeStream":  # noqa: N802
        name = list(self.known)[device]
        self.tried.append(name)
        if name in self.refused or name not in self.connected or samplerate != self.connected[name][0]:
            raise self.PortAudioError("Device unavailable")
        return FakeStream(self, name, samplerate, blocksize, callback)

    def _terminate(self) -> None:
        assert not self.open, "a stream is open"

    def _initialize(self) -> None:
        self.known = dict(self.connected)
        self.starts += 1

    def _exit_handler(self) -> None: ...


class FakeStream:
    def __init__(self, driver: FakePortAudio, name: str, rate: int, block: int, callback: Any) -> None:
        self.driver, self.name, self.rate, self.block, self.callback = driver, name, rate, block, callback
        self.ended = threading.Event()

    def start(self) -> None:
        assert self.name not in self.driver.open, "it is open already"
        self.driver.open[self.name] = self
        threading.Thread(target=self.run, daemon=True).start()

    def run(self) -> None:
        level = self.driver.connected.get(self.name, (0, 0.0))[1]
        noise = np.random.default_rng(1).standard_normal((self.block, 2)) * level
        while not self.ended.wait(self.block / self.rate):
            if self.name not in self.driver.connected:
                return
            if self.name in self.driver.mute:
                continue
            self.callback(noise.astype(np.float32), self.block, None, SimpleNamespace(input_overflow=False))

    def abort(self, ignore_errors: bool) -> None:
        self.ended.set()

    def close(self, ignore_errors: bool) -> None:
        self.driver.open.pop(self.name, None)


class StreamThread:
    """Iterates a stream of a fake microphone, "one" by default, in a thread; `got` has its updates so far."""

    def __init__(self, device: str | None = "one", **options: Any) -> None:
        self.stream = Stream(device=device, tagger=FakeTagger(), hop=0.1, **options)  # type: ignore[arg-type]
        self.got: list[Update] = []
        self.error: Exception | None = None
        self.thread = threading.Thread(target=self.listen)
        self.thread.start()

    def listen(self) -> None:
        try:
            self.got.extend(self.stream)
        except Exception as error:
            self.error = error

    def until(self, jumps: int, updates: int) -> list[Update]:
        """Wait for so many updates after so many jumps; returns those after the last jump."""
        starts: list[int] = []

        def come() -> bool:
            starts[:] = [0, *(n for n, update in enumerate(self.got) if update.jumped)]
            return len(starts) > jumps and len(self.got) >= starts[jumps] + updates

        wait_for(come, f"{updates} updates after {jumps} jumps")
        return self.got[starts[jumps] :]


def use(fake: FakePortAudio, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let it be the PortAudio of this program, and of those that look for it which devices are connected."""
    none: WeakSet[MicrophoneSource] = WeakSet()  # what an earlier test left open would keep PortAudio from a new start
    for module in (devices, microphone):
        monkeypatch.setattr(module, "sounddevice", lambda: fake)
        monkeypatch.setattr(module, "recording", none)

    def fresh() -> list[InputDevice]:
        return [
            InputDevice(index, name, 2, rate, index == 0, "Fake")
            for index, (name, (rate, _)) in enumerate(fake.connected.items())
        ]

    monkeypatch.setattr(device_recovery, "list_input_devices_fresh", fresh)
