"""--only and --not: what is left out is neither shown, counted, written nor able to be active."""

import csv
import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fakes import ArraySource, FakeTagger, music
from tiny_bundle import write_tiny

from instrec_live.models import Tagger
from instrec_live.models.errors import UsageError
from instrec_live.models.instruments import INSTRUMENTS, chosen, instrument
from instrec_live.models.learned import class_name
from instrec_live.realtime.commands.serve.broadcast import Broadcast, Viewer
from instrec_live.realtime.commands.tag.command import parse_tag
from instrec_live.realtime.commands.watch import parse_watch
from instrec_live.realtime.config.settings import parse
from instrec_live.realtime.outputs import JsonLines, Labels, SummaryBuilder, TidyCsv, header
from instrec_live.realtime.stream.smoothing import Smoothing
from instrec_live.realtime.stream.stream import Stream
from instrec_live.realtime.stream.update import Update

RUN = [sys.executable, "-m", "instrec_live.realtime"]
ALL_ACTIVE = 1e-3  # a threshold that everything reaches


def updates(**options: object) -> tuple[list[Update], Stream]:
    source = ArraySource(music(8.0), 32_000, blocks=3_200)
    with Stream(
        source=source,
        pace="max",
        tagger=FakeTagger(),
        thresholds=ALL_ACTIVE,
        smoothing=Smoothing().scaled(0),
        **options,
    ) as stream:  # type: ignore[call-overload]
        return list(stream), stream


def test_names_as_people_type_them() -> None:
    assert instrument("Mallet Percussion") == instrument("mallet-percussion") == "mallet_percussion"
    assert chosen(["voice", "PIANO"]) == ("piano", "voice")
    assert chosen(exclude=["piano"]) == tuple(name for name in INSTRUMENTS if name != "piano")
    with pytest.raises(UsageError, match="no instrument is left"):
        chosen(["piano"], ["piano"])


def test_one_name_is_not_its_letters() -> None:
    assert chosen("Piano") == ("piano",)
    assert chosen(exclude="piano") == chosen(exclude=["piano"])
    assert chosen(exclude=None) == INSTRUMENTS
    with pytest.raises(UsageError, match="did you mean piano"):
        chosen("pianoo")


def test_a_name_of_macos_with_separate_accents() -> None:
    known = ("h\u00e4rfe",)
    assert instrument("Ha\u0308rfe", known) == class_name("Ha\u0308rfe") == "h\u00e4rfe"


def test_names_from_a_generator_are_read_once() -> None:
    for options in ({"only": (each for each in ("piano", "voice"))}, {"exclude": (each for each in INSTRUMENTS[2:])}):
        _, stream = updates(**options)
        assert len(stream.info.instruments) == 2


@pytest.mark.parametrize(
    "command", [parse, lambda argv: parse_tag(["x", *argv]), lambda argv: parse_watch(["x", *argv])]
)
@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--only", "pianno"], "--only: there is no instrument 'pianno' — did you mean piano?"),
        (["--not", "drum"], "--not: there is no instrument 'drum' — did you mean drums?"),
        (["--only", "piano,,voice"], "has an empty name"),
        (["--only", "piano", "--not", "voice"], "not allowed with"),
        (["--not", ",".join(INSTRUMENTS)], "no instrument is left"),
        (["--only", "xyzzy"], "they are accordion, banjo"),
    ],
)
def test_a_name_that_is_none_is_one_clear_line(command, argv: list[str], words: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(UsageError) as caught:
        command(argv)
    assert words in str(caught.value)


def test_what_is_left_out_can_never_be_active() -> None:
    every, _ = updates()
    some, stream = updates(only=("voice", "piano"))
    assert {name for update in every for name in update.active} > {"piano", "voice"}
    assert stream.info.instruments == ("piano", "voice")
    rows = [INSTRUMENTS.index(name) for name in ("piano", "voice")]
    for all_of_it, update in zip(every, some, strict=True):
        assert update.active == tuple(name for name in all_of_it.active if name in ("piano", "voice"))
        for p, whole in [
            (update.probabilities, all_of_it.probabilities),
            *zip(update.by_model.values(), all_of_it.by_model.values(), strict=True),
        ]:
            assert np.array_equal(p[rows], whole[rows])  # the networks hear the same
            assert not np.delete(p, rows).any()
        assert not update.also
    without, stream = updates(exclude=["drums"])
    assert stream.info.instruments == tuple(name for name in INSTRUMENTS if name != "drums")
    assert not any("drums" in update.active for update in without)


def test_it_applies_in_silence_too() -> None:
    with Stream(
        source=ArraySource(np.zeros(96_000, np.float32), 32_000, 3_200), pace="max", tagger=FakeTagger(), only=["piano"]
    ) as stream:
        for update in stream:
            assert not np.delete(update.probabilities, INSTRUMENTS.index("piano")).any()


def test_every_output_has_only_the_chosen_ones() -> None:
    found, stream = updates(only=["piano", "voice"])
    head = header(stream.info, Smoothing(), -60.0)
    assert head["instruments"] == ["piano", "voice"]
    assert set(head["thresholds"]) == {"piano", "voice"}
    lines, table, labels, tally = io.StringIO(), io.StringIO(), io.StringIO(), SummaryBuilder(0.5)
    sinks = [JsonLines(lines, head), TidyCsv(table, head), Labels(labels, head)]
    page = Broadcast()
    served = page.add(None, head)
    for update in found:
        for sink in (*sinks, served):
            sink.write(update)
        tally.note(update)
    for sink in sinks:
        sink.close(tally.summary("end"))
    records = [json.loads(line) for line in lines.getvalue().splitlines()]
    assert {tuple(record["probabilities"]) for record in records[1:-1]} == {("piano", "voice")}
    assert set(records[-1]["active_seconds"]) == {"piano", "voice"}
    assert {row["instrument"] for row in csv.DictReader(table.getvalue().splitlines())} == {"piano", "voice"}
    assert {line.split("\t")[2].split()[0] for line in labels.getvalue().splitlines()} == {"piano", "voice"}
    history = next(each for each in map(json.loads, Viewer(page).read()) if each["type"] == "history")
    assert {len(column) for column in history["percent"]} == {2}
    assert {number for column in history["active"] for number in column} <= {0, 1}


def test_the_tagger_too() -> None:
    tagger = Tagger.load(engine="onnx")
    sound = music(4.0)
    every, some = tagger.tag(sound, 32_000), tagger.tag(sound, 32_000, only=["piano"])
    row = INSTRUMENTS.index("piano")
    assert some.probabilities[row] == every.probabilities[row]
    assert not np.delete(some.probabilities, row).any()
    with pytest.raises(UsageError, match="did you mean piano"):
        tagger.tag(sound, 32_000, only=["pianoo"])


def test_in_a_run_its_report_and_a_table(tmp_path: Path) -> None:
    write_tiny(tmp_path / "one", "one")
    soundfile.write(tmp_path / "good.wav", music(6.2), 32_000)

    def run(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*RUN, *argv], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)

    ours = ("--models", "./one", "-q")
    done = run("--file", "good.wav", "--pace", "max", "--not", "drums", "--threshold", "0.01", *ours, "--json")
    assert done.returncode == 0, done.stderr
    (tmp_path / "run.jsonl").write_text(done.stdout)
    assert run("report", "run.jsonl", "--only", "piano,drums", "-o", "a.csv", "-o", "a.html", "-q").returncode == 0
    with open(tmp_path / "a.csv", newline="") as file:
        assert {row["instrument"] for row in csv.DictReader(file)} == {"piano"}
    assert "violin" not in (tmp_path / "a.html").read_text()
    refused = run("report", "run.jsonl", "--only", "drums", "-o", "b.csv")
    assert refused.returncode == 2
    assert "none of these instruments" in refused.stderr
    tag = ("tag", "good.wav", "--jobs", "1", *ours, "-o", "r.csv")
    assert run(*tag, "--only", "piano,voice").returncode == 0
    with open(tmp_path / "r.csv", newline="") as file:
        assert [row["instrument"] for row in csv.DictReader(file)] == ["piano", "voice"]
    assert run(*tag, "--only", "voice,piano").returncode == 0  # the same ones: it is resumed
    other = run(*tag)
    assert other.returncode == 2
    assert "made with different instruments" in other.stderr


def test_in_the_settings_file(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text('only = ["piano", "voice"]\n')
    assert parse(["--config", str(tmp_path / "c.toml")]).only == ("piano", "voice")
    assert parse(["--config", str(tmp_path / "c.toml"), "--not", "voice"]).only is None
