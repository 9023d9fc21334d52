"""Files and radio at addresses: a server on loopback that works, lies, stalls, ends and returns."""

import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest
from fakes import FakeTagger
from inputs import RATE, SECONDS, encoded, music, muxed, plain

from instrec_live.realtime.audio import FileSource, Source, open_url, web
from instrec_live.realtime.audio.url import ConnectionLost, RadioSource, is_url, label_of
from instrec_live.realtime.errors import InputFileError, UsageError
from instrec_live.realtime.stream import device_recovery
from instrec_live.realtime.stream.stream import Stream
from instrec_live.realtime.stream.update import State

Answer = Callable[["Handler"], None]


class Handler(BaseHTTPRequestHandler):
    """Answers as the test wants; says nothing itself."""

    server: "Server"

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers.get("Range")))
        self.server.answer(self)

    def log_message(self, *_: object) -> None:
        """Nothing."""

    def give(self, data: bytes, kind: str = "audio/wav", length: int | None = None, **headers: str) -> None:
        """A whole answer, which may claim another length."""
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data) if length is None else length))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def radio(self, data: bytes, titles: dict[int, str] | None = None, every: int = 8_000) -> None:
        """MP3 with titles between every so many bytes; `titles`: by the number of the place."""
        self.send_response(200)
        self.send_header("Content-Type", "audio/mpeg")
        self.send_header("icy-name", "test")
        self.send_header("icy-metaint", str(every))
        self.end_headers()
        for number, at in enumerate(range(0, len(data), every)):
            piece = data[at : at + every]
            self.wfile.write(piece)
            if len(piece) == every:
                text = f"StreamTitle='{(titles or {})[number]}';".encode() if number in (titles or {}) else b""
                text += bytes(-len(text) % 16)
                self.wfile.write(bytes([len(text) // 16]) + text)
        self.wfile.flush()


class Server(ThreadingHTTPServer):
    """On a port of its own."""

    daemon_threads = True
    answer: Answer

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, str | None]] = []
        self.released = threading.Event()  # what stalls does so until then

    def at(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(web, "STALL_S", 1.0)
    server = Server()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield server
    server.released.set()
    server.shutdown()
    server.server_close()


def heard(source: Source) -> tuple[np.ndarray, str | None]:
    blocks, error = [], None
    try:
        while (block := source.read()) is not None:
            blocks.append(block)
    except InputFileError as fault:
        error = str(fault)
        assert error.isprintable()
    source.close()
    return np.concatenate(blocks), error


@pytest.mark.parametrize("make", [plain, lambda: muxed("ipod", "aac"), lambda: encoded("MP3")])
def test_a_file_is_analysed_as_from_the_disk(make: Callable[[], bytes], server: Server) -> None:
    data = make()
    server.answer = lambda handler: handler.give(data)
    source = open_url(server.at("some%20where/a%20song.x?key=1"))
    assert isinstance(source, FileSource)
    assert source.label == "a song.x"
    assert source.duration == pytest.approx(SECONDS, abs=0.001)
    sound, error = heard(source)
    assert error is None
    assert len(sound) == len(music())
    assert np.corrcoef(sound[:, 0], music()[:, 0])[0, 1] > 0.98
    assert not source.path.exists()


def test_a_part_of_it(server: Server) -> None:
    server.answer = lambda handler: handler.give(plain())
    sound, _ = heard(open_url(server.at("a.wav"), start=2.0, duration=1.0))
    np.testing.assert_allclose(sound, music()[2 * RATE : 3 * RATE], atol=1e-4)


def test_a_server_that_sends_less_than_it_claims(server: Server) -> None:
    data = encoded("MP3")[:50_000]
    server.answer = lambda handler: handler.give(data, length=len(data) + 50_000)
    sound, error = heard(open_url(server.at("a.mp3")))
    assert 2 < len(sound) / RATE < 4
    assert error is not None
    assert "ends early, at" in error


def test_a_connection_that_ends_is_taken_up_where_it_ended(server: Server) -> None:
    data = plain()

    def answer(handler: Handler) -> None:
        asked = handler.headers.get("Range")
        if asked is None:
            handler.give(data[:400_000], length=len(data))
            return
        first = int(asked.removeprefix("bytes=").removesuffix("-"))
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")
        handler.send_header("Content-Length", str(len(data) - first))
        handler.end_headers()
        handler.wfile.write(data[first:])

    server.answer = answer
    sound, error = heard(open_url(server.at("a.wav")))
    assert error is None
    np.testing.assert_allclose(sound, music(), atol=1e-4)
    assert [asked for _, asked in server.asked] == [None, "bytes=400000-"]


def test_a_server_that_stalls_is_given_up(server: Server) -> None:
    def answer(handler: Handler) -> None:
        handler.give(plain()[:100_000], length=len(plain()))
        handler.wfile.flush()
        server.released.wait()

    server.answer = answer
    sound, error = heard(open_url(server.at("a.wav")))
    assert len(sound) / RATE == pytest.approx(0.567, abs=0.001)
    assert error is not None
    assert "ends early, at 0.57 of 6.00 s" in error


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda handler: handler.send_error(404), "404"),
        (lambda handler: handler.give(b"<!DOCTYPE html><html></html>", "text/html"), "a web page"),
        (lambda handler: handler.give(b""), "0 bytes"),
        (lambda handler: handler.wfile.write(b"hello\r\n\r\n"), "does not speak HTTP"),
        (lambda handler: handler.give(b"#EXTM3U\n", "audio/x-mpegurl"), "without an address"),
        (lambda handler: handler.give(b"#EXTM3U\nagain.m3u\n", "audio/x-mpegurl"), "playlists lead"),
    ],
)
def test_input_that_is_not_sound_is_one_clear_line(answer: Answer, said: str, server: Server) -> None:
    server.answer = answer
    with pytest.raises(InputFileError, match=said) as error:
        open_url(server.at("a.wav"))
    assert str(error.value).isprintable()


def test_an_address_without_a_server_is_one_line() -> None:
    server = Server()
    address = server.at("a.wav")
    server.server_close()
    with pytest.raises(InputFileError, match="cannot be reached"):
        open_url(address)


@pytest.mark.parametrize("address", ["zip://a.zip", "zip://::x.zip", "ftp://a/b.wav", "file:///etc/passwd"])
def test_other_schemes_are_refused_by_name(address: str) -> None:
    assert is_url(address)
    with pytest.raises(UsageError, match="not a supported kind of address") as error:
        open_url(address)
    assert str(error.value).isprintable()


@pytest.mark.parametrize("address", ["http://", "https:///concert.ogg"])
def test_an_address_without_a_host_is_named(address: str) -> None:
    with pytest.raises(UsageError, match=f"{address} names no host — as in http://example.org/concert.ogg"):
        open_url(address)


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("http://[::1/a.wav", "not a valid address"),
        ("http://localhost:port/a.wav", "not a valid address"),
        ("http://localhost:99999/a.wav", "not a valid address"),
        ("http://me:secret@localhost/a.wav", "user's name"),
    ],
)
def test_what_is_no_address_is_refused_without_its_password(address: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as error:
        open_url(address)
    assert "secret" not in str(error.value)


@pytest.mark.parametrize(
    ("typed", "sent"),
    [
        ("a b.wav", "/a%20b.wav"),
        ("Tr\u00e4ume.wav?k=\u00fc b", "/Tr%C3%A4ume.wav?k=%C3%BC%20b"),
        ("a%20b+c.wav?x=1&y=%2F", "/a%20b+c.wav?x=1&y=%2F"),
    ],
)
def test_spaces_and_letters_of_all_languages_are_escaped(typed: str, sent: str, server: Server) -> None:
    server.answer = lambda handler: handler.give(plain())
    source = open_url(server.at(typed))
    samples, error = heard(source)
    assert (len(samples) / source.rate, error) == (pytest.approx(SECONDS), None)
    assert server.asked == [(sent, None)]


def test_a_redirection_to_the_disk_is_refused(server: Server) -> None:
    def answer(handler: Handler) -> None:
        handler.send_response(302)
        handler.send_header("Location", "file:///etc/passwd")
        handler.end_headers()

    server.answer = answer
    with pytest.raises((InputFileError, UsageError)):
        open_url(server.at("a.wav"))


def test_titles_of_a_radio_become_labels(server: Server) -> None:
    titles = {0: "Anna - One", 2: "Anna - One", 3: "Bert – Zwei\x1b[2J"}
    server.answer = lambda handler: handler.radio(encoded("MP3"), titles)
    source = open_url(server.at("radio"))
    assert isinstance(source, RadioSource)
    assert source.returns
    sound, error = heard(source)
    assert len(sound) / RATE > SECONDS - 0.1
    assert error is not None
    assert "the connection ended" in error
    told = source.titles()
    assert told[0] == "Anna - One"
    assert told[1].startswith("Bert – Zwei")
    assert "\x1b" not in told[1]
    assert len(told) == 2


def test_an_old_radio_and_a_playlist(server: Server) -> None:
    def answer(handler: Handler) -> None:
        if handler.path.endswith(".pls"):
            handler.give(f"[playlist]\nFile1={server.at('radio')}\n".encode(), "audio/x-scpls")
            return
        handler.wfile.write(b"ICY 200 OK\r\nicy-name: old\r\nContent-Type: audio/mpeg\r\n\r\n" + encoded("MP3"))

    server.answer = answer
    source = open_url(server.at("radio.pls"))
    assert isinstance(source, RadioSource)
    sound, _ = heard(source)
    assert len(sound) / RATE > SECONDS - 0.1


def test_a_radio_that_stalls_is_lost_and_found(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(device_recovery, "FIRST_PAUSE", 0.05)
    labels, data = [], encoded("MP3")[:60_000]

    def answer(handler: Handler) -> None:
        handler.radio(data)
        if len(server.asked) == 1:
            server.released.wait()  # a stall
        # else the connection ends

    server.answer = answer
    states, times, restarts = [], [], 0
    with Stream(server.at("radio"), tagger=FakeTagger(), hop=0.5) as stream:  # type: ignore[arg-type]
        assert stream.info.live
        for update in stream:
            states.append(update.state)
            times.append(update.time)
            restarts += update.jumped
            labels += stream.titles()
            if restarts:
                break
    assert State.DEVICE_LOST in states
    assert restarts == 1
    assert times == sorted(times)
    # The time without sound counts, from the last sound on: the stall is noticed a second later.
    assert times[-1] > times[states.index(State.DEVICE_LOST) - 1] + 1.0


def test_at_the_pace_max_a_radio_that_ends_is_an_error(server: Server) -> None:
    server.answer = lambda handler: handler.radio(encoded("MP3"))
    updates = []
    with Stream(server.at("radio"), tagger=FakeTagger(), pace="max") as stream:  # type: ignore[arg-type]
        with pytest.raises(ConnectionLost):
            updates.extend(stream)
        assert stream.info.live


@pytest.mark.parametrize("live", [False, True])
def test_hls(live: bool, server: Server, tmp_path: Path) -> None:
    _write_hls(tmp_path, ends=not live)

    def answer(handler: Handler) -> None:
        name = handler.path.rsplit("/", 1)[-1]
        kind = "application/vnd.apple.mpegurl" if name.endswith("m3u8") else "video/mp2t"
        handler.give((tmp_path / name).read_bytes(), kind)

    server.answer = answer
    source = open_url(server.at("a.m3u8"))
    assert isinstance(source, RadioSource)
    assert source.returns == live
    sound, error = heard(source)
    if live:  # begins near the end of what there is, and waits in vain for more
        assert len(sound) / source.rate > 2
        assert error is not None
        assert "no longer delivers sound" in error
    else:
        assert len(sound) / source.rate == pytest.approx(SECONDS, abs=0.3)
        assert error is None


def _write_hls(folder: Path, ends: bool) -> None:
    (folder / "all.ts").write_bytes(muxed("mpegts", "aac"))
    with (
        av.open(str(folder / "all.ts")) as source,
        av.open(str(folder / "a.m3u8"), "w", format="hls", options={"hls_time": "2", "hls_list_size": "0"}) as target,
    ):
        stream = target.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                target.mux(packet)
    playlist = folder / "a.m3u8"
    if not ends:
        playlist.write_text(playlist.read_text().replace("#EXT-X-ENDLIST\n", ""))


def test_names() -> None:
    assert label_of("https://example.org/a/b%20c.mp3?x=1") == "b c.mp3"
    assert label_of("https://example.org/") == "example.org"
    assert not is_url("C:\\a.wav")
    assert not is_url("a.wav")
    assert not is_url(Path("http://a"))
