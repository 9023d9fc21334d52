"""Two real (virtual) microphones in one hub: one is lost and found again, the other continues."""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from tiny_bundle import write_tiny
from virtual_microphone import NAME, VirtualMicrophone, why_not

OTHER = "other_mic"
_SINK = "module-null-sink", "sink_name=other", "rate=48000", "channels=1"


@pytest.fixture
def two_microphones() -> Iterator[VirtualMicrophone]:
    if reason := why_not():
        pytest.skip(reason)
    virtual = VirtualMicrophone()
    with open(virtual.folder / ".asoundrc", "a") as known:
        known.write(f"pcm.{OTHER} {{ type pulse device other.monitor }}\n")
    yield virtual
    virtual.stop()


def control(virtual: VirtualMicrophone, *words: str) -> str:
    return subprocess.run(
        ["pactl", *words], env=virtual.env, capture_output=True, text=True, timeout=120
    ).stdout.strip()


@pytest.mark.timing
def test_one_is_lost_and_found_while_the_other_continues(two_microphones: VirtualMicrophone, tmp_path: Path) -> None:
    control(two_microphones, "load-module", *_SINK)
    write_tiny(tmp_path / "tiny", "tiny")
    command = [sys.executable, "-m", "instrec_live.realtime", "watch", "--no-config", "--models", "./tiny", "--json"]
    process = subprocess.Popen(
        [*command, f"a=device:{NAME}", f"b=device:{OTHER}"],
        cwd=tmp_path,
        env=two_microphones.env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    said: list[dict] = []
    assert process.stdout is not None
    assert process.stderr is not None
    reader = threading.Thread(target=lambda: said.extend(json.loads(line) for line in process.stdout))  # type: ignore[union-attr]
    reader.start()

    def until(kind: str, channel: str, count: int = 1) -> None:
        deadline = time.monotonic() + 120
        while sum((each["type"], each["channel"]) == (kind, channel) for each in said) < count:
            assert process.poll() is None, process.stderr.read()  # type: ignore[union-attr]
            assert time.monotonic() < deadline, f"no {kind} of {channel} in {[each['type'] for each in said]}"
            time.sleep(0.05)

    try:
        until("update", "a", 3)
        until("update", "b", 3)
        # A source that is taken away has its listeners moved to another by the server; this one stands still.
        control(two_microphones, "suspend-sink", "other", "1")
        until("lost", "b")
        heard = sum((each["type"], each["channel"]) == ("update", "a") for each in said)
        until("update", "a", heard + 3)  # while b is looked for
        control(two_microphones, "suspend-sink", "other", "0")
        until("found", "b")
        until("update", "b", sum((each["type"], each["channel"]) == ("update", "b") for each in said) + 3)
    finally:
        process.send_signal(signal.SIGINT)
        process.stderr.read()
        code = process.wait(120)
        reader.join(120)
    assert code == 130
    assert not [each for each in said if each["type"] in ("lost", "found", "error") and each["channel"] == "a"]
    times = [each["time"] for each in said if each["type"] == "update" and each["channel"] == "a"]
    assert all(0.49 < later - sooner < 1.6 for sooner, later in pairwise(times)), times
    assert OTHER in next(e["source"] for e in said if e["type"] == "header" and e["channel"] == "b")
