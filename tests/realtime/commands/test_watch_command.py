"""`instrec-live watch` as a user runs it, and the report of one of its sources."""

import io
import json
import os
import signal
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fakes import music
from hypothesis import given
from hypothesis import strategies as st
from tiny_bundle import write_tiny
from waiting import wait_for

from instrec_live.realtime.commands.watch import Listed, listed, parse_watch, read_list
from instrec_live.realtime.errors import UsageError

RUN = [sys.executable, "-m", "instrec_live.realtime"]
WATCH = [*RUN, "watch", "--no-config", "--models", "./tiny", "--hop", "0.5"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    here = tmp_path_factory.mktemp("watch")
    write_tiny(here / "tiny", "tiny")
    soundfile.write(here / "left.wav", music(2.2, 44_100), 44_100)
    soundfile.write(here / "right.flac", music(3.2, 32_000, seed=1), 32_000)
    (here / "text.wav").write_text("this is no sound\n" * 9)
    raw = (32_767 * np.clip(music(1.6, 16_000), -1, 1)).astype("<i2")
    (here / "raw").write_bytes(raw.tobytes())
    return here


def watch(place: Path, *argv: str, **options: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*WATCH, *argv], cwd=place, capture_output=True, text=True, timeout=60, check=False, **options
    )  # type: ignore[call-overload]


def by_channel(lines: str) -> dict[str, list[dict]]:
    records = defaultdict(list)
    for line in lines.splitlines():
        record = json.loads(line)
        records[record["channel"]].append(record)
    return records


@pytest.fixture(scope="module")
def watched(place: Path) -> subprocess.CompletedProcess[str]:
    """Two files, one that is none, a pipe, and data in two places."""
    os.mkfifo(place / "pipe")
    writer = subprocess.Popen(["sh", "-c", "cat raw > pipe"], cwd=place)
    sources = ["left.wav", "b=right.flac", "none=nowhere.wav", "c=text.wav", "pipe"]
    done = watch(place, *sources, "--json", "-o", "all.jsonl", "--rate", "16000", "--channels", "1")
    writer.wait(120)
    return done


def test_each_source_is_analysed_to_its_end_when_others_fail(watched) -> None:
    records = by_channel(watched.stdout)
    for name, seconds in (("left.wav", 2.2), ("b", 3.2), ("pipe", 1.6)):
        head, *updates, summary = records[name]
        assert head["type"] == "header"
        assert {update["type"] for update in updates} == {"update"}
        assert (summary["type"], summary["ended"]) == ("summary", "end")
        assert summary["time"] == pytest.approx(seconds, abs=0.021)
        times = [update["time"] for update in updates]
        assert times == sorted(times)
        assert times[1] - times[0] == pytest.approx(0.5)


def test_a_source_that_cannot_be_read_is_one_line_and_one_record(watched) -> None:
    assert watched.returncode == 4
    for name, words in (("none", "nowhere.wav does not exist"), ("c", "text.wav")):
        (record,) = by_channel(watched.stdout)[name]
        assert record["type"] == "error"
        assert words in record["error"]
        (line,) = [line for line in watched.stderr.splitlines() if f" {name}: " in line]
        assert words in line
    assert "Traceback" not in watched.stderr


def test_a_failure_names_its_source_once(place: Path) -> None:
    done = watch(place, "text.wav", "t=text.wav", "--no-ui", "-q")
    begins = sorted(line.partition(" not a ")[0] for line in done.stderr.splitlines())
    assert begins == ["instrec-live: t: text.wav is", "instrec-live: text.wav: is"]


def test_the_file_has_what_stdout_has(watched, place: Path) -> None:
    said, kept = by_channel(watched.stdout), by_channel((place / "all.jsonl").read_text())
    assert said == kept


def test_a_report_of_one_of_the_sources(watched, place: Path) -> None:
    def report(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*RUN, "report", "all.jsonl", *argv], cwd=place, capture_output=True, text=True, timeout=60, check=False
        )

    done = report("--channel", "b", "-o", "b.jsonl", "-o", "b.csv")
    assert done.returncode == 0, done.stderr
    records = [json.loads(line) for line in (place / "b.jsonl").read_text().splitlines()]
    wanted = [{k: v for k, v in r.items() if k != "channel"} for r in by_channel(watched.stdout)["b"]]
    assert records == wanted
    again = subprocess.run([*RUN, "report", "b.jsonl", "-o", "c.jsonl"], cwd=place, timeout=60, check=False)
    assert again.returncode == 0
    assert (place / "c.jsonl").read_text() == (place / "b.jsonl").read_text()
    for argv in ((), ("--channel", "none"), ("--channel", "nobody")):
        done = report(*argv, "-o", "x.csv")
        assert done.returncode == 4
        assert "--channel NAME" in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_sigterm_ends_it_with_everything_written(place: Path, number: int, code: int, tmp_path: Path) -> None:
    soundfile.write(place / "long.wav", music(20, 16_000), 16_000)
    out = tmp_path / "out.jsonl"
    sources = ["a=long.wav", "b=long.wav", "--no-ui", "-o", str(out)]
    with subprocess.Popen([*WATCH, *sources], cwd=place, stdout=subprocess.DEVNULL) as running:
        wait_for(lambda: out.exists() and out.read_text().count('"update"') >= 4)
        running.send_signal(number)
        assert running.wait(120) == code
    for records in by_channel(out.read_text()).values():
        assert (records[-1]["type"], records[-1]["ended"]) == ("summary", "stopped")


def test_a_reader_that_leaves_early_is_no_error(place: Path) -> None:
    with subprocess.Popen(
        [*WATCH, "a=long.wav", "b=left.wav", "--json"], cwd=place, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as running:
        assert running.stdout is not None
        assert running.stderr is not None
        running.stdout.readline()
        running.stdout.close()
        assert running.wait(120) == 0
        assert b"Traceback" not in running.stderr.read()


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ([], "nothing to watch"),
        (["a.wav", "x/a.wav"], "two sources have the name a.wav"),
        (["-", "b=-"], "only one source can be stdin"),
        (["=x.wav"], "is not a source"),
        (["a="], "is not a source"),
        ([f"{'a' * 81}=a.wav"], "cannot be a name — a name has at most 80"),
        (["a.wav", "--output", "a.csv"], ".jsonl"),
        (["--list", "nowhere.txt"], "nowhere.txt"),
        (["a.wav", "--hop", "0"], "--hop"),
        (["a.wav", "--file", "b.wav"], "--file"),
    ],
)
def test_a_mistake_is_one_line(argv: list[str], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_watch([*argv, "--no-config"])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
@pytest.mark.parametrize("sources", [["left.wav"], ["nowhere.wav", "left.wav"]])
def test_a_full_disk_is_one_line_a_source(place: Path, tmp_path: Path, sources: list[str]) -> None:
    full = tmp_path / "full.jsonl"
    full.symlink_to("/dev/full")
    done = watch(place, *sources, "-q", "--no-ui", "-o", str(full), "--force")
    assert done.returncode == (1 if len(sources) == 1 else 4)
    lines = [line for line in done.stderr.splitlines() if "No space left on device" in line]
    assert sum("left.wav: " in line for line in lines) == 1
    assert len(lines) <= len(sources)  # a failure whose record cannot be written says nothing if that is known already
    assert all(any(f"{name}: " in line for line in done.stderr.splitlines()) for name in sources)
    assert "defect" not in done.stderr


def test_what_could_not_begin_leaves_no_file(place: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    for code, argv in ((5, ["--models", "./nowhere"]), (0, [])):
        assert watch(place, "left.wav", "--no-ui", "-o", str(out), *argv).returncode == code
        assert out.exists() is (code == 0)


def test_stdin_is_the_list_or_a_source(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("left.wav\n"))
    with pytest.raises(UsageError, match="both"):
        parse_watch(["--list", "-", "b=-", "--no-config"])


def test_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a=b.wav").touch()
    words = ["x/song.wav", "news=/run/a=b", "device:0", "mic=device:Scarlett 2i2", "-", "a=b.wav", "./q=r.wav"]
    words[5:5] = ["https://radio.example/live.mp3?bitrate=128", "jazz=http://radio.example/jazz?id=4"]
    assert listed(words)[6].opened({"rate": 8_000}) == {"file": "http://radio.example/jazz?id=4"}
    assert listed(words) == (
        Listed("song.wav", "x/song.wav"),
        Listed("news", "/run/a=b"),
        Listed("device:0", "device:0"),
        Listed("mic", "device:Scarlett 2i2"),
        Listed("stdin", "-"),
        Listed("live.mp3", "https://radio.example/live.mp3?bitrate=128"),
        Listed("jazz", "http://radio.example/jazz?id=4"),
        Listed("a=b.wav", "a=b.wav"),
        Listed("q=r.wav", "./q=r.wav"),
    )


def test_a_file_may_have_any_name() -> None:
    long = "Concerto for " + "two violins, " * 9 + "part 1.wav"
    words = [long, long.replace("part 1", "part 2")]
    words += ["at 10.00\u202fAM.wav", "👩\u200d🎤.wav", "\udcff.wav", "a\nb.wav", "."]
    names = [source.name for source in listed(words)]
    assert names[0].startswith("Concerto for two violins, ")
    assert names[0].endswith(" violins, part 1.wav")
    assert [len(name) for name in names[:2]] == [80, 80]
    assert names[2:] == ["at 10.00 AM.wav", "👩\u200d🎤.wav", "\ufffd.wav", "a b.wav", "."]
    assert [source.place for source in listed(words)] == words


@given(st.lists(st.text(max_size=12), max_size=4))
def test_any_words_are_sources_or_refused(words: list[str]) -> None:
    try:
        found = listed(words)
    except UsageError:
        return
    assert len({source.name for source in found}) == len(words)


def test_a_list_of_sources(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text("# the studio\nleft=device:0\n\n  news = /run/news.wav \n")
    assert listed(read_list(path)) == (Listed("left", "device:0"), Listed("news", "/run/news.wav"))
    path.write_bytes(b"left=\xff\xfe")
    with pytest.raises(UsageError, match="UTF-8"):
        read_list(path)


def test_raw_sound_is_described_once_for_all() -> None:
    asked = parse_watch(["p", "q", "--rate", "48000", "--channels", "2", "--format", "f32le", "--no-config"]).listening
    assert (asked.rate, asked.channels, asked.sample_format) == (48_000, 2, "f32le")
    asked = parse_watch(["p", "--no-config"]).listening
    assert (asked.rate, asked.sample_format) == (None, None)  # nothing says that it is raw
