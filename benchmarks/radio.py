"""Measures two radios: a dump of half an hour whose rate changes halfway, and a stream that stalls for 20 s.

    python benchmarks/radio.py [--minutes 30] [--stall 20]    # writes benchmarks/results/radio.json

The dump is chained Ogg Vorbis, the first half at 44.1 kHz and the second at 48 kHz, as a receiver writes it that
appends one programme to the other. What is found in it is compared with what is found in one WAV of the same sound.
The stream is MP3 from a server on loopback, at the pace of the music, with a title: after 15 s it stalls for a
while, and a new connection gets what the station plays at that time.
"""

import argparse
import datetime
import io
import json
import subprocess
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from archive import ALIKE, PROGRAM, labels, ran
from cost import RESULTS
from demo_timeline import CHECKOUT

from instrec_live.models.engine_selection import processor

RATES = (44_100, 48_000)
BEFORE_S, AFTER_S = 15.0, 25.0  # of sound around the stall


def demo(rate: int) -> np.ndarray:
    """The demo clip, float32 [n, channels]."""
    clip, own = soundfile.read(CHECKOUT / "realtime" / "demo" / "demo.ogg", dtype="float32", always_2d=True)
    return np.asarray(soxr.resample(clip, own, rate), np.float32)


def dump(minutes: float, where: Path) -> dict[str, Any]:
    """The chained Ogg file, and the same sound as one WAV."""
    links, plain = [], []
    for rate in RATES:
        clip, memory = demo(rate), io.BytesIO()
        frames = round(minutes * 30 * rate)
        with soundfile.SoundFile(memory, "w", rate, clip.shape[1], "VORBIS", format="OGG") as file:
            for at in range(0, frames, len(clip)):  # at once, long sound overflows the encoder's stack
                for first in range(0, len(clip), rate):
                    file.write(clip[first : min(first + rate, max(first, frames - at))])
        links.append(memory.getvalue())
        memory.seek(0)
        sound, _ = soundfile.read(memory, dtype="float32", always_2d=True)
        plain.append(sound if rate == RATES[0] else soxr.resample(sound, rate, RATES[0]))
    (where / "dump.ogg").write_bytes(b"".join(links))
    soundfile.write(where / "dump.wav", np.concatenate(plain), RATES[0], "FLOAT")
    record: dict[str, Any] = {"minutes": minutes, "rates": RATES}
    for kind in ("ogg", "wav"):
        outputs = ("-o", f"{kind}.txt", "-o", f"{kind}.jsonl")
        run = ran("--file", f"dump.{kind}", "--pace", "max", "--no-ui", *outputs, where=where)
        last = json.loads((where / f"{kind}.jsonl").read_text(encoding="utf-8").splitlines()[-1])
        record[kind] = {"cpu_s": run["cpu_s"], "heard_s": last["time"], "segments": len(labels(where / f"{kind}.txt"))}
    found = [labels(where / f"{kind}.txt") for kind in ("ogg", "wav")]
    return record | {"same_segments": len(found[0] & found[1])}


class Station(BaseHTTPRequestHandler):
    """Plays to every client, from the present position of the music; stalls once."""

    server: "Server"

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def do_GET(self) -> None:
        station = self.server
        self.send_response(200)
        self.send_header("Content-Type", "audio/mpeg")
        self.send_header("icy-name", "loopback")
        self.end_headers()
        first = place = station.place()
        try:
            while True:
                now = station.place()
                if station.stalls_at <= now < station.stalls_at + station.stall * station.bytes_a_second:
                    if first < station.stalls_at:  # earlier connections get no more data
                        station.over.wait()
                        return
                elif place < now:
                    self.wfile.write(station.sound[place:now])
                    place = now
                time.sleep(0.05)
        except OSError:  # the listener has left
            return


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, stall: float) -> None:
        super().__init__(("127.0.0.1", 0), Station)
        memory = io.BytesIO()
        clip = demo(RATES[0])
        soundfile.write(memory, np.concatenate([clip] * 4), RATES[0], format="MP3")
        self.sound, self.stall, self.over = memory.getvalue(), stall, threading.Event()
        self.bytes_a_second = len(self.sound) * RATES[0] / (4 * len(clip))
        self.stalls_at = round(BEFORE_S * self.bytes_a_second)
        self._began: float | None = None

    def place(self) -> int:
        """Where in the sound the station is, bytes; it begins with the first listener."""
        self._began = self._began or time.monotonic()
        return round((time.monotonic() - self._began) * self.bytes_a_second)


def stalled(stall: float, where: Path) -> dict[str, Any]:
    """What a live run makes of a radio that stalls."""
    server = Server(stall)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_address[1]}/radio"
    seconds = BEFORE_S + stall + AFTER_S
    say = ("--file", address, "--no-ui", "--duration", str(seconds), "-o", "radio.jsonl", *ALIKE)
    began = time.monotonic()
    done = subprocess.run([*PROGRAM, *say], cwd=where, check=False, capture_output=True, text=True)
    took = time.monotonic() - began
    server.over.set()
    server.shutdown()
    lines = [json.loads(line) for line in (where / "radio.jsonl").read_text(encoding="utf-8").splitlines()]
    told = {kind: [line for line in lines if line["type"] == kind] for kind in ("lost", "found", "update", "summary")}
    return {
        "stall_s": stall,
        "asked_s": seconds,
        "took_s": round(took, 1),
        "exit": done.returncode,
        "lost_at_s": [line["time"] for line in told["lost"]],
        "found_after_s": [line["after_s"] for line in told["found"]],
        "updates": len(told["update"]),
        "updates_in_a_gap": sum(bool(line.get("gap")) for line in told["update"]),
        "last_time_s": told["summary"][-1]["time"],
        "ended": told["summary"][-1]["ended"],
        "skipped": told["summary"][-1]["skipped"],
        "said": done.stderr.splitlines(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--stall", type=float, default=20.0)
    args = parser.parse_args()
    record: dict[str, Any] = {
        "command": f"python benchmarks/radio.py --minutes {args.minutes:g} --stall {args.stall:g}",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": processor(),
    }
    with tempfile.TemporaryDirectory() as made:
        record["stalled"] = stalled(args.stall, Path(made))
        print(json.dumps(record, indent=1), flush=True)
        record["dump"] = dump(args.minutes, Path(made))
    (RESULTS / "radio.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
