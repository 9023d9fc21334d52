"""--serve: what viewers are given, who is let in, and that one run serves all of them."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from fake_stream import update
from fakes import music
from tiny_bundle import write_tiny

pytest.importorskip("starlette", reason="starlette is not installed: pip install '.[serve]'")
pytest.importorskip("uvicorn", reason="uvicorn is not installed: pip install '.[serve]'")

from serving import head, serving
from waiting import wait_for

from instrec_live.models.errors import UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.commands.serve import app as web_app
from instrec_live.realtime.commands.serve.app import media_type
from instrec_live.realtime.commands.serve.broadcast import MAX_LAG, SPAN, Broadcast, History, Source, Viewer
from instrec_live.realtime.commands.serve.guard import Guard, RareLog, is_loopback, origin_of
from instrec_live.realtime.commands.serve.server import TOKEN, address, open_port, token_for
from instrec_live.realtime.config.settings import parse
from instrec_live.realtime.outputs import Summary, update_record
from instrec_live.realtime.stream.update import State

RUN = [sys.executable, "-m", "instrec_live.realtime", "--no-config"]
SUMMARY = Summary(3, 1.5, "end", {}, 0, 0, 0)


def records(lines: list[bytes]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines]


def kinds(lines: list[bytes]) -> list[str]:
    return [record["type"] for record in records(lines)]


def begun(name: str | None = None, updates: int = 0) -> tuple[Broadcast, Source]:
    """A broadcast of one source (of that name, among others), after so many updates."""
    broadcast = Broadcast() if name is None else Broadcast([name, "other"])
    source = broadcast.add(name, head())
    for number in range(updates):
        source.write(update(number))
    return broadcast, source


# What viewers are given


def test_a_viewer_gets_the_header_and_then_every_record_once() -> None:
    broadcast, source = begun()
    viewer = Viewer(broadcast)
    assert kinds(viewer.read()) == ["header", "history"]
    assert viewer.read() == []
    source.write(update(0))
    source.label(0.5, "verse")
    source.change({"type": "lost", "time": 0.5})
    source.at_end(update(0))
    source.close(SUMMARY)
    assert kinds(viewer.read()) == ["update", "label", "lost", "ended", "summary"]
    assert viewer.finished


def test_an_update_is_as_in_a_file_of_json_lines() -> None:
    broadcast, source = begun()
    viewer = Viewer(broadcast)
    viewer.read()
    source.write(update(30))
    (record,) = records(viewer.read())
    assert record.pop("states") == dict.fromkeys(update(30).active, "on")
    assert record == update_record(update(30))
    source.write(update(31, state=State.QUIET, level_db=-70.0))
    (record,) = records(viewer.read())
    assert record.pop("reason").startswith("too quiet to judge")
    del record["states"]
    assert record == update_record(update(31, state=State.QUIET, level_db=-70.0))


def test_a_late_viewer_gets_the_pause() -> None:
    broadcast, source = begun(updates=3)
    viewer = Viewer(broadcast)
    viewer.read()
    source.pause(True, 1.5)
    source.write(update(3))  # one that was under way
    assert kinds(viewer.read()) == ["paused", "update"]
    assert kinds(Viewer(broadcast).read()) == ["header", "history", "update", "paused"]
    source.pause(False, 1.5)
    assert kinds(Viewer(broadcast).read()) == ["header", "history", "update"]


def test_a_seek_while_paused_is_sent_and_old_results_are_cleared() -> None:
    broadcast, source = begun(updates=3)
    viewer = Viewer(broadcast)
    viewer.read()
    source.pause(True, 1.5)
    source.pause(True, 31.5, jumped=True)
    assert records(viewer.read())[-1] == {"type": "paused", "paused": True, "time": 31.5, "jumped": True}
    assert kinds(Viewer(broadcast).read()) == ["header", "history", "paused"]


def test_updates_have_the_state_of_active_instruments() -> None:
    broadcast, source = begun()
    viewer = Viewer(broadcast)
    (header, *_) = records(viewer.read())
    p = update(30).probabilities.copy()
    for name, value in {"piano": 0.9, "violin": 0.3, "cello": 0.01}.items():
        p[INSTRUMENTS.index(name)] = value
    source.write(replace(update(30), probabilities=p, active=("cello", "piano", "violin")))
    assert records(viewer.read())[0]["states"] == {"cello": "leaving", "piano": "on", "violin": "held"}
    assert all(header["off_thresholds"][name] < header["thresholds"][name] for name in INSTRUMENTS)


def test_a_late_viewer_gets_the_last_ten_minutes() -> None:
    broadcast, _ = begun(updates=1300)
    header, history, newest = records(Viewer(broadcast).read())
    assert header["names"]["mallet_percussion"] == "mallet percussion"
    assert newest["time"] == history["times"][-1] == 650.0
    assert history["times"][0] == 650.0 - SPAN + 0.5
    assert len(history["times"]) == len(history["percent"]) == len(history["active"]) == 1200
    last = update(1299)
    assert history["percent"][-1] == [round(100 * round(float(p), 4)) for p in last.probabilities]
    assert [INSTRUMENTS[n] for n in history["active"][-1]] == list(last.active)
    assert all(50.0 < event["time"] <= 650.0 for event in history["events"])
    assert len(header) + len(json.dumps(history)) < 150_000


def test_a_short_hop_shares_columns_and_a_long_one_has_its_own() -> None:
    fine = History(0.1)
    for number in range(100):
        fine.note(update_record(replace(update(number), time=round(0.1 * (number + 1), 3))))
    assert fine.step == 0.5
    assert len(json.loads(fine.encoded(None))["times"]) == 21
    assert History(2.0).step == 2.0


def test_a_jump_back_removes_later_history() -> None:
    broadcast, source = begun(updates=60)
    source.write(replace(update(10), jumped=True))
    _, history, newest = records(Viewer(broadcast).read())
    assert newest["jumped"]
    assert history["times"] == [0.5 * (n + 1) for n in range(10)] + [5.5]
    assert all(event["time"] <= 5.5 for event in history["events"])


def test_what_sounded_before_a_jump_forward_ends_where_it_was_left() -> None:
    broadcast, source = begun(updates=60)
    source.write(replace(update(200), active=("violin",), jumped=True))
    _, history, _ = records(Viewer(broadcast).read())
    exits = [{"type": "exit", "time": 30.0, "name": name} for name in update(59).active]
    assert history["events"][-len(exits) - 1 :] == [*exits, {"type": "entry", "time": 100.5, "name": "violin"}]


def test_what_sounded_only_later_has_no_exit_after_a_jump_back() -> None:
    broadcast, source = begun()
    for number in range(8):
        source.write(replace(update(number), active=("guitar",) if number >= 6 else ()))
    source.write(replace(update(0), active=(), jumped=True))
    _, history, _ = records(Viewer(broadcast).read())
    assert history["events"] == []
    broadcast, source = begun()
    for number in range(8):
        source.write(replace(update(number), active=("guitar",) if number >= 2 else ()))
    source.write(replace(update(4), active=(), jumped=True))
    _, history, _ = records(Viewer(broadcast).read())
    assert history["events"] == [
        {"type": "entry", "time": 1.5, "name": "guitar"}, {"type": "exit", "time": 2.5, "name": "guitar"}
    ]  # fmt: skip


def test_a_label_set_after_a_jump_back_does_not_keep_later_history() -> None:
    broadcast, source = begun(updates=60)
    source.label(1.0, "the first song")  # of a file that is paused
    source.write(replace(update(1), active=(), jumped=True))
    _, history, _ = records(Viewer(broadcast).read())
    assert {"type": "label", "time": 1.0, "text": "the first song"} in history["events"]
    assert all(event["time"] <= 1.0 for event in history["events"])


def test_a_viewer_who_fell_behind_skips_to_the_newest() -> None:
    broadcast, source = begun()
    slow, quick = Viewer(broadcast), Viewer(broadcast)
    slow.read()
    quick.read()
    for number in range(MAX_LAG + 1):
        source.write(update(number))
        quick.read()
    source.change({"type": "thresholds", "time": 1.0, "thresholds": dict.fromkeys(INSTRUMENTS, 0.25)})
    missed = slow.read()
    assert kinds(missed) == ["header", "update", "missed"]
    assert records(missed)[0]["thresholds"]["piano"] == 0.25
    assert records(missed)[1]["time"] == update(MAX_LAG).time
    assert records(missed)[2]["records"] == MAX_LAG + 2
    assert slow.read() == []
    assert kinds(quick.read()) == ["thresholds"]


def test_a_viewer_that_reconnects_resumes() -> None:
    broadcast, source = begun(updates=3)
    first = Viewer(broadcast)
    first.read()
    source.write(update(3))
    again = Viewer(broadcast, last_id=first.id)
    assert kinds(again.read()) == ["update"]
    for number in range(MAX_LAG + 5):
        source.write(update(4 + number))
    assert kinds(Viewer(broadcast, last_id=first.id).read()) == ["header", "history", "update"]  # too long ago


@pytest.mark.parametrize("last_id", ["", "0", "other.3", "RUN.x", "RUN.-1", "RUN.99999", "RUN." + "9" * 99, "RUN.٣"])
def test_an_id_that_means_nothing_starts_again(last_id: str) -> None:
    broadcast, _ = begun(updates=3)
    viewer = Viewer(broadcast, last_id=last_id.replace("RUN", broadcast.run))
    assert kinds(viewer.read()) == ["header", "history", "update"]


def test_many_sources_and_one_of_them() -> None:
    broadcast, source = begun("hall")
    every, hall, other = Viewer(broadcast), Viewer(broadcast, "hall"), Viewer(broadcast, "other")
    assert records(every.read())[0] == {"type": "sources", "sources": ["hall", "other"]}
    assert kinds(hall.read()) == ["header", "history"]
    assert other.read() == []
    source.write(update(0))
    broadcast.fail("other", "there is no such device")
    assert [record["channel"] for record in records(every.read())] == ["hall", "other"]
    assert kinds(hall.read()) == ["update"]
    assert records(other.read()) == [{"type": "error", "channel": "other", "error": "there is no such device"}]
    assert (other.finished, hall.finished, every.finished) == (True, False, False)
    source.close(SUMMARY)
    assert every.finished
    assert kinds(Viewer(broadcast).read()) == ["sources", "header", "history", "update", "summary", "error"]


def test_viewers_do_not_see_the_text_of_an_error() -> None:
    broadcast = Broadcast(["a"], discreet=True)
    broadcast.fail("a", "/home/me/secret.wav does not exist")
    assert records(Viewer(broadcast).read())[-1] == {"type": "error", "channel": "a", "error": "the source failed"}


def test_the_state_of_late_viewers_is_the_present_one() -> None:
    broadcast, source = begun(updates=2)
    source.at_end(update(1))
    assert kinds(Viewer(broadcast).read())[-1] == "ended"
    source.write(replace(update(0), jumped=True))  # it was sent back
    assert kinds(Viewer(broadcast).read()) == ["header", "history", "update"]
    source.change({"type": "source", "time": 1.0, "source": "[7] Other", "rate": 44_100, "channels": 1})
    assert records(Viewer(broadcast).read())[0]["source"] == "[7] Other"


def test_what_is_kept_does_not_grow() -> None:
    broadcast, source = begun(updates=3000)
    for number in range(1000):
        source.label(1500.0, f"label {number}")
    lines = Viewer(broadcast).read()
    assert sum(map(len, lines)) < 200_000
    assert len(broadcast._records) == MAX_LAG


# Who is let in


OWN, OTHERS = Guard(), Guard(token="a" * 32, public="https://music.example")


@pytest.mark.parametrize(
    ("guard", "headers", "token", "allowed"),
    [
        (OWN, {"host": "127.0.0.1:8000"}, "", True),
        (OWN, {"host": "localhost:8000"}, "", True),
        (OWN, {"host": "[::1]:8000"}, "", True),
        (OWN, {"host": "evil.example:8000"}, "", False),  # a name that leads here
        (OWN, {"host": ""}, "", False),
        (OWN, {}, "", False),
        (OWN, {"host": "127.0.0.1.evil.example"}, "", False),
        (OWN, {"host": "127.0.0.1:8000", "origin": "http://127.0.0.1:8000"}, "", True),
        (OWN, {"host": "127.0.0.1:8000", "origin": "http://evil.example"}, "", False),
        (OWN, {"host": "127.0.0.1:8000", "origin": "null"}, "", False),
        (OWN, {"host": "127.0.0.1:8000", "sec-fetch-mode": "no-cors", "sec-fetch-site": "cross-site"}, "", False),
        (OWN, {"host": "127.0.0.1:8000", "sec-fetch-mode": "cors", "sec-fetch-site": "same-site"}, "", False),
        (OWN, {"host": "127.0.0.1:8000", "sec-fetch-mode": "cors", "sec-fetch-site": "same-origin"}, "", True),
        (OWN, {"host": "127.0.0.1:8000", "sec-fetch-mode": "navigate", "sec-fetch-site": "cross-site"}, "", True),
        (OTHERS, {"host": "stage:8000"}, "", False),
        (OTHERS, {"host": "stage:8000"}, "a" * 31, False),
        (OTHERS, {"host": "stage:8000"}, "ä" * 32, False),
        (OTHERS, {"host": "stage:8000"}, "\ud800", False),
        (OTHERS, {"host": "stage:8000"}, "a" * 32, True),
        (OTHERS, {"host": "stage:8000", "origin": "https://music.example"}, "a" * 32, True),
        (OTHERS, {"host": "stage:8000", "origin": "https://evil.example"}, "a" * 32, False),
    ],
)
def test_who_is_let_in(guard: Guard, headers: dict[str, str], token: str, allowed: bool) -> None:
    assert (guard.refusal(headers, token, secret=True) is None) == allowed


def test_the_files_of_the_page_need_no_token() -> None:
    assert OTHERS.refusal({"host": "stage:8000"}, "", secret=False) is None


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1"])
def test_loopback(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.0", "::", "192.168.0.1", "localhost.evil.example", "2130706433"])
def test_not_loopback(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://music.example/", "https://music.example"),
        ("https://music.example:443/live", "https://music.example"),
        ("http://music.example:8080", "http://music.example:8080"),
        ("http://[::1]:80/", "http://[::1]"),
        ("music.example", None),
        ("ftp://music.example", None),
        ("https://", None),
        ("https://[", None),
        ("https://music.example:99999", None),
    ],
)
def test_origin_of_an_address(url: str, origin: str | None) -> None:
    assert origin_of(url) == origin


def test_the_same_trouble_is_one_line_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    now = [0.0]
    log = RareLog(lambda: now[0])
    for number in range(100_000):
        now[0] = number / 1000  # 100 s
        log.warn("refused", f"refused number {number}")
    log.warn("other", "another kind\nforged: line\x1b[31m")
    said = [record.getMessage() for record in caplog.records]
    assert said[0] == "refused number 0"
    assert said[1] == "refused number 60000 (and 59999 more like it since the last such line)"
    assert said[2] == "another kind forged: line\N{REPLACEMENT CHARACTER}[31m"
    assert len(said) == 3


# The web server


def test_the_pages_and_what_they_may_load() -> None:
    with serving() as server:
        for path in ("/", "/overlay"):
            status, text, headers = server.get(path)
            assert (status, headers["content-type"]) == (200, "text/html; charset=utf-8")
            assert "default-src 'none'" in headers["content-security-policy"]
            assert (headers["referrer-policy"], headers["cache-control"]) == ("no-referrer", "no-store")
            names = re.findall(r'(?:src|href)="([^"]+)"', text)
            assert names
            for name in names:
                assert name.startswith("data:") or "/" not in name
                assert name.startswith("data:") or server.get(f"/{name}")[0] == 200
            assert "style=" not in text
            assert "<script>" not in text
        for path in ("/nothing", "/live.js/", "/../app.py", "/%2e%2e/app.py", "//", "/pages/index.html"):
            assert server.get(path)[0] == 404
        assert server.get("/", method="HEAD")[1] == ""
        for method in ("POST", "PUT", "DELETE", "OPTIONS"):
            assert server.get("/events", method=method)[0] == 405


def test_no_page_asks_another_site() -> None:
    from importlib.resources import files

    for page in (files("instrec_live.realtime.commands.serve") / "pages").iterdir():
        text = page.read_text().replace("http://www.w3.org/2000/svg", "").replace("xmlns='", "")
        assert "//" not in re.sub(r"^\s*//.*$|\s// .*$|/\*.*?\*/", "", text, flags=re.MULTILINE | re.DOTALL), page
        assert "innerHTML" not in text


def test_events_as_they_come_in_both_forms() -> None:
    broadcast, source = begun(updates=2)
    with serving(broadcast) as server:
        with server.watch("/events") as events, server.watch("/events.jsonl") as lines:
            assert events.answer.getheader("content-type") == "text/event-stream; charset=utf-8"
            assert lines.answer.getheader("content-type") == "application/x-ndjson"
            assert events.line() == "retry: 1000"
            for viewer in (events, lines):
                assert viewer.until("update")["time"] == 1.0
            source.write(update(2))
            assert events.until("update") == lines.until("update")
            source.close(SUMMARY)
            assert lines.until("summary")["ended"] == "end"
            assert lines.answer.read() == b""  # a program's lines end with the sound; the page stays
            assert events.until("summary")["ended"] == "end"
        with server.watch("/events", Last_Event_ID=f"{broadcast.run}.3") as events:
            assert events.record()["type"] == "update"
        wait_for(lambda: server.viewers == 0)


def test_an_idle_viewer_gets_a_sign_that_the_connection_is_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_app, "IDLE_SECONDS", 0.01)
    broadcast, _ = begun()
    with serving(broadcast) as server, server.watch("/events") as events, server.watch() as lines:
        assert lines.until("idle") == {"type": "idle"}
        while events.line() != ": idle":
            pass


@pytest.mark.parametrize(
    ("path", "accept", "kind"),
    [
        ("/events", "", "text/event-stream"),
        ("/events", "*/*", "text/event-stream"),
        ("/events", "text/event-stream", "text/event-stream"),
        ("/events", "application/x-ndjson", "application/x-ndjson"),
        ("/events", "text/html, Application/JSONL;q=0.9", "application/x-ndjson"),
        ("/events.jsonl", "text/event-stream", "application/x-ndjson"),
    ],
)
def test_the_form_is_chosen_by_address_or_accept(path: str, accept: str, kind: str) -> None:
    assert media_type(path, {"accept": accept}) == kind


def test_the_token_opens_pages_and_events() -> None:
    broadcast, _ = begun()
    with serving(broadcast, Guard(token="s" * 32)) as server:
        for path in ("/", "/overlay", "/events", "/events.jsonl"):
            status, _, headers = server.get(path, method="HEAD")
            assert (status, headers["connection"]) == (403, "close")
            assert server.get(f"{path}?token={'s' * 31}x", method="HEAD")[0] == 403
            assert server.get(f"{path}?token=%ed%a0%80", method="HEAD")[0] == 403
            assert server.get(f"{path}?token={'s' * 32}", method="HEAD")[0] == 200
            assert server.get(path, method="HEAD", Authorization=f"Bearer {'s' * 32}")[0] == 200
        assert server.get("/live.js")[0] == 200


def test_a_source_that_is_not_there() -> None:
    broadcast, _ = begun("hall")
    with serving(broadcast) as server:
        assert server.get("/events?source=nowhere")[0] == 404
        with server.watch("/events.jsonl?source=hall") as viewer:
            assert viewer.record()["channel"] == "hall"


def test_there_is_room_for_so_many_viewers() -> None:
    broadcast, _ = begun()
    with serving(broadcast, viewers=2) as server:
        with server.watch() as first, server.watch() as second:
            first.record()
            second.record()
            status, text, headers = server.get("/events")
            assert (status, headers["retry-after"]) == (503, "10")
            assert "2 viewers" in text
            assert server.get("/")[0] == 200
        wait_for(lambda: server.viewers == 0)
        with server.watch() as third:
            third.record()


# The whole program


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a model and sounds."""
    here = tmp_path_factory.mktemp("serve")
    write_tiny(here / "one", "one")
    soundfile.write(here / "short.wav", music(4), 32_000)
    soundfile.write(here / "long.wav", np.tile(music(6), 20), 32_000)
    return here


class Program:
    """A run of the program with --serve."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.said: list[str] = []
        self.address = self.until("serving at").split()[-1]
        self.port = int(re.search(r":(\d+)/", self.address).group(1))  # type: ignore[union-attr]

    def until(self, words: str) -> str:
        """The next line of stderr with these words."""
        assert self.process.stderr is not None
        while line := self.process.stderr.readline():
            self.said.append(line)
            if words in line:
                return line
        raise AssertionError(f"never said {words!r}: {self.said}")

    def end(self, number: int = signal.SIGINT) -> tuple[int, str, str]:
        """Exit code, stdout and the rest of stderr after a signal."""
        self.process.send_signal(number)
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, "".join(self.said) + err


@contextmanager
def program(place: Path, *argv: str, words: tuple[str, ...] = (), **environment: str) -> Iterator[Program]:
    command = [
        *RUN[:3],
        *words,
        "--no-config",
        "--serve",
        "--port",
        "0",
        "--models",
        "./one",
        "--engine",
        "onnx",
        *argv,
    ]
    process = subprocess.Popen(
        command, cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment
    )
    try:
        yield Program(process)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no pseudo terminals")
def test_the_screen_and_the_page_are_of_one_run(place: Path) -> None:
    from pseudo_terminal import in_terminal

    with open_port("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    seen: list[dict[str, Any]] = []

    def look(process: "subprocess.Popen[bytes]", write: Any) -> None:
        import http.client

        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("GET", "/events.jsonl")
        answer = connection.getresponse()
        while not seen or seen[-1]["type"] != "update":
            seen.append(json.loads(answer.readline()))
        connection.close()
        write(b"q")

    options = ["--serve", "--port", str(port), "--models", "./one", "--engine", "onnx", "--file", "long.wav"]
    code, shown = in_terminal([*RUN[1:], *options], look, cwd=place)
    assert code == 0
    assert f"serving at http://127.0.0.1:{port}/" in shown
    assert [record["type"] for record in seen][:2] == ["header", "history"]


def watched(port: int, query: str = "") -> list[dict[str, Any]]:
    """All records until the server ends the answer."""
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", f"/events.jsonl{query}")
    found = [json.loads(line) for line in connection.getresponse()]
    connection.close()
    return found


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_one_run_is_shown_written_and_recorded(place: Path, tmp_path: Path) -> None:
    out, take = tmp_path / "run.jsonl", tmp_path / "take.wav"
    argv = ("--file", "short.wav", "--no-ui", "--output", str(out), "--record", str(take))
    with program(place, *argv) as run:
        seen = watched(run.port)
        late = watched(run.port)
        run.until("the sound has ended; the page is served until Ctrl-C")
        code, stdout, stderr = run.end()
    assert (code, stdout.count("serving")) == (130, 0)
    assert "Traceback" not in stderr
    written = [json.loads(line) for line in out.read_text().splitlines()]
    shown = [record for record in seen if record["type"] == "update"]
    assert [{n: v for n, v in each.items() if n not in ("reason", "states")} for each in shown] == written[
        -1 - len(shown) : -1
    ]
    assert seen[-1] == late[-1] == written[-1]
    assert [record["type"] for record in late] == ["header", "history", "update", "summary"]
    assert late[1]["times"][-1] == written[-2]["time"] == 4.0
    assert soundfile.info(take).frames == 4 * 32_000

    # What a program has kept of it is a run like any other.
    kept = tmp_path / "kept.jsonl"
    kept.write_text("".join(json.dumps(record) + "\n" for record in seen))
    done = subprocess.run([*RUN[:3], "report", str(kept)], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_watch_serves_all_its_sources(place: Path) -> None:
    sources = ("a=short.wav", "b=nowhere.wav")
    with program(place, *sources, "--json", "--hop", "1", words=("watch",)) as run:
        seen = watched(run.port)
        code, stdout, stderr = run.end()
    assert code == 130
    assert "nowhere.wav does not exist" in stderr
    assert seen[0] == {"type": "sources", "sources": ["a", "b"]}
    last = {record["channel"]: record["type"] for record in seen[1:]}
    assert last == {"a": "summary", "b": "error"}
    assert json.loads(stdout.splitlines()[0])["type"] in ("header", "error")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such signals")
def test_a_signal_ends_it_while_a_viewer_watches(place: Path, number: int) -> None:
    import http.client

    with program(place, "--file", "long.wav", "--json") as run:
        connection = http.client.HTTPConnection("127.0.0.1", run.port, timeout=60)
        connection.request("GET", "/events.jsonl")
        answer = connection.getresponse()
        while json.loads(answer.readline())["type"] != "update":
            pass
        code, stdout, stderr = run.end(number)
        rest = answer.read().splitlines()
        connection.close()
    assert code == 128 + number
    assert json.loads(rest[-1])["type"] == "summary"
    assert json.loads(stdout.splitlines()[-1])["type"] == "summary"
    assert "Traceback" not in stderr


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_for_others_the_address_has_a_token(place: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with program(place, "--file", "long.wav", "--no-ui", "--host", "0.0.0.0", "--log-file", str(log)) as run:
        token = run.address.partition("?token=")[2]
        assert re.fullmatch(r"[\w-]{32}", token)
        assert any("others can reach this server" in line for line in run.said)
        import http.client

        for path, status in (("/", 403), (f"/?token={token}", 200), ("/%0A2026%1b[31m%20forged", 404)):
            connection = http.client.HTTPConnection("127.0.0.1", run.port, timeout=60)
            connection.request("GET", path)
            assert connection.getresponse().status == status
            connection.close()
        code, _, _ = run.end()
    assert code == 130
    lines = log.read_text().splitlines()
    assert all(re.match(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d+ [A-Z]+ instrec_live", line) for line in lines), lines
    assert token not in log.read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGINT for one process")
def test_a_token_of_the_environment_stays(place: Path) -> None:
    token = "keep this & that 16"
    with program(place, "--file", "long.wav", "--no-ui", "--host", "0.0.0.0", **{TOKEN: token}) as run:
        assert run.address.endswith("?token=keep%20this%20%26%20that%2016")
        assert run.end()[0] == 130


@pytest.mark.parametrize(
    ("asked", "token", "expected"),
    [
        (["--public-url", "https://music.example/live/"], "t", "https://music.example/live/?token=t"),
        (["--host", "127.0.0.1"], None, "http://127.0.0.1:PORT/"),
        (["--host", "localhost"], "a b", "http://127.0.0.1:PORT/?token=a%20b"),
    ],
)
def test_the_address_to_type(asked: list[str], token: str | None, expected: str) -> None:
    settings = parse(["--no-config", "--serve", "--port", "0", *asked])
    with open_port("127.0.0.1", 0) as port:
        assert address(settings, port, token) == expected.replace("PORT", str(port.getsockname()[1]))


def test_a_public_address_has_a_token_even_on_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_port("127.0.0.1", 0) as port:
        assert token_for(parse(["--no-config", "--serve"]), port) is None
        public = parse(["--no-config", "--serve", "--public-url", "https://music.example"])
        assert re.fullmatch(r"[\w-]{32}", token_for(public, port) or "")
        monkeypatch.setenv(TOKEN, "too short")
        with pytest.raises(UsageError, match="at least 16"):
            token_for(public, port)


BAD = [
    (["--port", "65536"], "0 to 65535"),
    (["--host", "no.such.host.invalid"], "--host no.such.host.invalid"),
    (["--host", "192.0.2.1"], "cannot listen on port"),
    (["--public-url", "music"], "not an address"),
    (["--viewers", "0"], "1 to 1000"),
    (["--file", "nowhere.wav"], "nowhere.wav"),
]


@pytest.mark.parametrize(("argv", "words"), BAD, ids=[" ".join(argv) for argv, _ in BAD])
def test_a_mistake_is_one_line(place: Path, argv: list[str], words: str) -> None:
    command = [*RUN, "--serve", "--models", "./one", "--engine", "onnx", *argv]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == (4 if "--file" in argv else 2)
    assert done.stdout == ""
    assert words in done.stderr.splitlines()[-1]
    assert len(done.stderr.splitlines()) == (2 if "--file" in argv else 1)


def test_a_port_in_use_is_named() -> None:
    with open_port("127.0.0.1", 0) as port:
        number = port.getsockname()[1]
        with pytest.raises(UsageError, match=f"cannot listen on port {number}"):
            open_port("127.0.0.1", number)


def test_without_its_packages_it_says_which(place: Path, tmp_path: Path) -> None:
    (tmp_path / "uvicorn.py").write_text("raise ImportError(name='uvicorn')")
    command = [*RUN, "--serve", "--models", "./one", "--file", "short.wav"]
    done = subprocess.run(
        command,
        cwd=place,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines()[-1].endswith("(uvicorn) — pip install 'instrec-live[serve]'")
