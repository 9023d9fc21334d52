"""Measures what --serve costs with many viewers of one run, and under attack.

    python benchmarks/serve.py [--viewers 100] [--seconds 30]

The program analyses a long file at the pace realtime, with `--serve --json --no-ui`. Measured from outside, for
--seconds each: without viewers; with --viewers; the same, while 150 half-open connections are kept up, five viewers
read nothing, one sends junk, and a thread sends requests with a wrong host as fast as it can. For each: the share of a
core, memory, how old an update is when it is there (`age_s` of the update, and its way from stdout to the viewers), and
how long the page takes. A busy machine makes updates fewer and older: compare `cpu_ms_an_update`. Last, "server
alone": the demo's updates twice a second without networks, so that all of the CPU time is the web server's; without
and with the viewers. Linux only. Writes benchmarks/results/serve.json.
"""

import argparse
import asyncio
import contextlib
import http.client
import json
import re
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from vitals import look_at

from instrec_live.models.engine_selection import processor

CHECKOUT = Path(__file__).parent.parent
DEMO = CHECKOUT / "realtime" / "demo" / "demo.ogg"
RESULTS = CHECKOUT / "benchmarks" / "results" / "serve.json"
HALF_OPEN, STUCK = 150, 5
WARM = 3.0  # s before measuring
_UPDATE = re.compile(rb'"type": ?"update", ?"time": ?([\d.]+)')


class Program:
    """The program, and when each of its updates was on stdout (s of the monotonic clock), by its time."""

    def __init__(self, process: "subprocess.Popen[bytes]") -> None:
        self.process = process
        self.lines: list[str] = []
        self.written: dict[bytes, tuple[float, float]] = {}
        assert process.stderr is not None
        while "serving at" not in (self.lines or [""])[-1]:
            self.lines.append(process.stderr.readline().decode())
        self.port = int(re.findall(r":(\d+)/", self.lines[-1])[0])
        threading.Thread(target=self._read, daemon=True).start()
        threading.Thread(target=self._listen, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if found := _UPDATE.search(line):
                self.written[found[1]] = (time.monotonic(), json.loads(line)["age_s"])

    def _listen(self) -> None:
        assert self.process.stderr is not None
        self.lines += (line.decode() for line in self.process.stderr)


@contextmanager
def program(seconds: float, viewers: int) -> Iterator[Program]:
    """It runs, and analyses so many seconds of music."""
    with tempfile.TemporaryDirectory() as folder:
        samples, rate = soundfile.read(DEMO, dtype="int16")
        soundfile.write(f"{folder}/long.flac", np.tile(samples, (int(seconds * rate / len(samples)) + 1, 1)), rate)
        command = [sys.executable, "-m", "instrec_live.realtime", "--no-config", "--serve", "--port", "0", "--json"]
        command += ["--viewers", str(viewers + STUCK + 1), "--file", f"{folder}/long.flac"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        try:
            yield Program(process)
        finally:
            process.terminate()
            process.wait(30)


async def watch(port: int, seen: list[tuple[bytes, float]]) -> None:
    """A viewer: notes when each update came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**20)
    writer.write(b"GET /events.jsonl HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    try:
        while line := await reader.readline():
            if found := _UPDATE.search(line):
                seen.append((found[1], time.monotonic()))
    finally:
        writer.close()


@asynccontextmanager
async def viewers(port: int, number: int) -> AsyncIterator[list[list[tuple[bytes, float]]]]:
    """So many viewers watch."""
    seen: list[list[tuple[bytes, float]]] = [[] for _ in range(number)]
    tasks = [asyncio.create_task(watch(port, each)) for each in seen]
    try:
        yield seen
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@contextmanager
def attack(port: int) -> Iterator[list[int]]:
    """Keep up half-open connections, viewers who read nothing, junk, and wrong hosts, whose number is counted."""
    over, refused, sockets = threading.Event(), [0], []

    def connect(content: bytes) -> None:
        with contextlib.suppress(OSError):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(1.0)
            client.connect(("127.0.0.1", port))
            client.sendall(content)
            sockets.append(client)

    def half_open() -> None:
        while not over.wait(2.0):
            for _ in range(HALF_OPEN):
                connect(b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Never")
            while len(sockets) > 3 * HALF_OPEN:
                sockets.pop(0).close()

    def wrong_hosts() -> None:
        while not over.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException):
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
                connection.request("GET", "/%0Aforged%1b[31m", headers={"Host": "evil.example"})
                refused[0] += connection.getresponse().status == 403
                connection.close()

    for _ in range(STUCK):
        connect(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
    connect(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" + b"k" * 60_000 * 20)
    threads = [threading.Thread(target=each, daemon=True) for each in (half_open, wrong_hosts)]
    for thread in threads:
        thread.start()
    try:
        yield refused
    finally:
        over.set()
        for thread in threads:
            thread.join(10)
        for client in sockets:
            client.close()


def serve_alone() -> None:
    """Serve the demo's updates twice a second for ever; prints the port. The networks are gone by then."""
    from instrec_live import Stream
    from instrec_live.realtime.commands.serve.broadcast import Broadcast
    from instrec_live.realtime.commands.serve.guard import Guard
    from instrec_live.realtime.commands.serve.server import WebServer, open_port
    from instrec_live.realtime.outputs import header

    with Stream(file=DEMO, pace="max") as stream:
        updates, head = list(stream), header(stream.info, stream.smoothing, -60.0)
    broadcast, port = Broadcast(), open_port("127.0.0.1", 0)
    WebServer(broadcast, port, Guard(), 1000).start()
    source = broadcast.add(None, head)
    print(port.getsockname()[1], flush=True)
    began = time.monotonic()
    for number in count():
        source.write(replace(updates[number % len(updates)], time=0.5 * (number + 1)))
        time.sleep(max(0.0, began + 0.5 * (number + 1) - time.monotonic()))


async def measure_alone(pid: int, port: int, seconds: float, number: int) -> dict[str, Any]:
    """One phase of the server alone."""
    async with viewers(port, number) as seen:
        await asyncio.sleep(WARM)
        before, began, had = look_at(pid), time.monotonic(), sum(map(len, seen))
        await asyncio.sleep(seconds)
        after, passed = look_at(pid), time.monotonic() - began
    assert before is not None
    assert after is not None
    return {
        "viewers": number,
        "share_of_a_core": round((after.cpu_s - before.cpu_s) / passed, 4),
        "memory_mb": round(after.memory_mb, 1),
        "updates_received": sum(map(len, seen)) - had,
        "updates_due": number * round(2 * passed),
    }


def measure_server(seconds: float, number: int) -> list[dict[str, Any]]:
    """The server alone, without and with so many viewers."""
    process = subprocess.Popen([sys.executable, __file__, "--alone"], stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        port = int(process.stdout.readline())
        return [asyncio.run(measure_alone(process.pid, port, seconds, each)) for each in (0, number)]
    finally:
        process.terminate()
        process.wait(30)


def page_seconds(port: int) -> float:
    """How long the page takes."""
    began = time.monotonic()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    connection.request("GET", "/")
    assert connection.getresponse().status == 200
    connection.close()
    return time.monotonic() - began


async def measure(run: Program, seconds: float, number: int) -> dict[str, Any]:
    """One phase."""
    async with viewers(run.port, number) as seen:
        await asyncio.sleep(WARM)
        pages: list[float] = []
        before, began, most = look_at(run.process.pid), time.monotonic(), 0.0
        while time.monotonic() < began + seconds:
            pages.append(await asyncio.to_thread(page_seconds, run.port))
            await asyncio.sleep(0.5)
            now = look_at(run.process.pid)
            assert now is not None
            most = max(most, now.memory_mb)
        after, passed = look_at(run.process.pid), time.monotonic() - began
        assert before is not None
        assert after is not None
    times = [(run.written[name], at) for each in seen for name, at in each if name in run.written and at > began]
    ways = [at - written for (written, _), at in times] or [0.0]
    ages = [age + max(0.0, at - written) for (written, age), at in times]
    ages = ages or [age for at, age in run.written.values() if at > began]
    updates = sum(began < at < began + passed for at, _ in run.written.values())
    return {
        "viewers": number,
        "updates": updates,
        "cpu_ms_an_update": round(1000 * (after.cpu_s - before.cpu_s) / max(1, updates), 1),
        "share_of_a_core": round((after.cpu_s - before.cpu_s) / passed, 4),
        "memory_mb": round(most, 1),
        "updates_received": len(times),
        "way_ms": {p: round(1000 * float(np.percentile(ways, int(p[1:]))), 1) for p in ("p50", "p95")},
        "age_s": {p: round(float(np.percentile(ages, int(p[1:]))), 3) for p in ("p50", "p95")},
        "page_ms": {p: round(1000 * float(np.percentile(pages, int(p[1:]))), 1) for p in ("p50", "p95")},
    }


def main() -> None:
    """Measure all phases."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--viewers", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.alone:
        serve_alone()
        return
    phases: dict[str, dict[str, Any]] = {}
    with program(6 * options.seconds + 120, options.viewers) as run:
        while len(run.written) < 6:
            time.sleep(0.5)
        phases["nobody"] = asyncio.run(measure(run, options.seconds, 0))
        phases["watched"] = asyncio.run(measure(run, options.seconds, options.viewers))
        said = len(run.lines)
        with attack(run.port) as refused:
            phases["attacked"] = asyncio.run(measure(run, options.seconds, options.viewers))
        phases["attacked"] |= {"refused": refused[0], "lines_logged": len(run.lines) - said}
        time.sleep(6)
        phases["after"] = asyncio.run(measure(run, options.seconds, 0))
    for name, phase in phases.items():
        print(
            f"{name:<9} {phase['viewers']:4d} viewers  {phase['share_of_a_core']:6.1%} of a core  "
            f"{phase['cpu_ms_an_update']:5.0f} ms of it an update ({phase['updates']})  "
            f"{phase['memory_mb']:6.1f} MB  age p95 {phase['age_s']['p95']:.2f} s  "
            f"page p95 {phase['page_ms']['p95']:.0f} ms"
        )
    record: dict[str, Any] = {
        "command": f"python benchmarks/serve.py --viewers {options.viewers} --seconds {options.seconds:g}",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": processor(),
        "phases": phases,
        "server_alone": measure_server(options.seconds, options.viewers),
    }
    for phase in record["server_alone"]:
        print("server alone", phase)
    RESULTS.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
