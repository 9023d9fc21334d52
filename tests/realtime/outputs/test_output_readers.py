"""Every output is read by the program it is for, or by that program's own published rules."""

import csv
import json
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from played import a_head, an_update, written

from instrec_live.models.instruments import DISPLAY_NAMES, INSTRUMENTS
from instrec_live.realtime.outputs import Summary, open_output
from instrec_live.realtime.stream.update import Update

CONCERT = (
    an_update(0.5, "piano"),
    an_update(1.0, "piano", "mallet_percussion"),
    an_update(1.5, "piano"),
    an_update(2.0),
    an_update(2.5, "voice"),
)
NASTY = 'a <b> & "c", \\d\\ --> 5\' <script>'


def put(path: Path, *updates: Update, labels: dict[float, str] | None = None) -> Path:
    begun = open_output(path, a_head(), force=True)
    for _, sink, _ in begun:
        written(sink, *updates, labels=labels)
    for _, _, file in begun:
        if file is not None:
            file.close()
    return path


@st.composite
def journeys(draw: st.DrawFn) -> tuple[Update, ...]:
    """Updates of any instruments, with jumps forwards and backwards, said or (a defect) not."""
    time, updates = 0.0, []
    for _ in range(draw(st.integers(1, 25))):
        jump = draw(st.sampled_from([None] * 4 + [0.5, 3.0, 40.0]))
        time = time + 0.5 if jump is None else jump
        active = draw(st.sets(st.sampled_from(["piano", "voice", "mallet_percussion"])))
        updates.append(an_update(time, *active, jumped=jump is not None and draw(st.booleans())))
    return tuple(updates)


# Audacity: "start<tab>end<tab>text" a line, seconds, end not before start (manual, Importing and Exporting Labels).


def sure(words: str) -> str:
    """What sounds, without how sure that is: "piano 0.12" is piano."""
    return re.sub(r" (0\.\d\d|1\.00)(?=$|,)", "", words)


def audacity(path: Path) -> list[tuple[float, float, str]]:
    text = path.read_text(encoding="utf-8")
    assert text == "" or text.endswith("\n")
    labels = []
    for line in text.splitlines():
        assert re.fullmatch(r"\d+\.\d+\t\d+\.\d+\t[^\t]+", line), line
        start, end, words = line.split("\t")
        assert float(start) <= float(end)
        labels.append((float(start), float(end), sure(words)))
    return labels


def test_audacity_reads_the_labels(tmp_path: Path) -> None:
    assert audacity(put(tmp_path / "x.txt", *CONCERT, labels={1.0: NASTY})) == [
        (1.0, 1.0, NASTY),
        (1.0, 1.5, "mallet percussion"),
        (0.5, 2.0, "piano"),
        (2.5, 2.5, "voice"),
    ]


def test_a_jump_ends_every_stretch_where_it_was_left(tmp_path: Path) -> None:
    updates = [an_update(0.5, "piano"), an_update(1.0, "piano"), an_update(60.0, "piano", jumped=True),
               an_update(60.5, "piano"), an_update(3.0, "voice", jumped=True), an_update(3.5)]  # fmt: skip
    assert audacity(put(tmp_path / "x.txt", *updates)) == [
        (0.5, 1.0, "piano"), (60.0, 60.5, "piano"), (3.0, 3.5, "voice"),
    ]  # fmt: skip


# Sonic Visualiser 5: the rules by which it guesses what the columns are (svcore, data/fileio/CSVFormat.cpp).


def sonic_visualiser(path: Path) -> list[tuple[float, float, float, str]]:
    """Time, value, duration and label of each region, where the file is taken for a layer of regions."""
    head, *rows = [split_quoted(line) for line in path.read_text(encoding="utf-8").splitlines()]
    assert not any(is_number(cell) for cell in head), "a first line without a number is a line of headings"
    purposes = []
    for place, heading in enumerate(head):
        word = heading.split(" ")[0].lower()
        numeric = all(is_number(row[place]) for row in rows)
        known = {"time": "start", "duration": "duration", "value": "value", "label": "label"}
        purposes.append(known.get(word) or ("value" if numeric else "label"))
    assert purposes == ["start", "value", "duration", "label"], "a duration makes it a layer of regions"
    assert all(len(row) == 4 for row in rows)
    return [(float(row[0]), float(row[1]), float(row[2]), sure(row[3])) for row in rows]


def is_number(cell: str) -> bool:
    return re.fullmatch(r"-?\d+(\.\d+)?", cell) is not None


def split_quoted(line: str) -> list[str]:
    """A quote begins a quoted cell where a cell begins, and ends it; a backslash takes the next sign as it is."""
    cells, cell, quote, fresh, signs = [], "", "", True, iter(line)
    for sign in signs:
        if sign == "\\":
            cell += next(signs)
        elif quote:
            cell, quote = (cell, "") if sign == quote else (cell + sign, quote)
        elif sign in "\"'" and fresh:
            quote, fresh = sign, False
        elif sign == ",":
            cells, cell, fresh = [*cells, cell], "", True
        else:
            cell, fresh = cell + sign, False
    return [*cells, cell]


def test_sonic_visualiser_finds_regions(tmp_path: Path) -> None:
    number = {name: float(1 + row) for row, name in enumerate(INSTRUMENTS)}
    assert sonic_visualiser(put(tmp_path / "x.svl.csv", *CONCERT, labels={1.0: NASTY, 2.0: "'tis, he said"})) == [
        (1.0, 0.0, 0.0, "a <b> & 'c', /d/ --> 5' <script>"),
        (1.0, number["mallet_percussion"], 0.5, "mallet percussion"),
        (0.5, number["piano"], 1.5, "piano"),
        (2.0, 0.0, 0.0, "'tis, he said"),
        (2.5, number["voice"], 0.0, "voice"),
    ]


# WebVTT, the W3C's syntax for authors: blocks between blank lines, ends after starts, starts that never go back.

STAMP = r"(\d{2,}):([0-5]\d):([0-5]\d)\.(\d{3})"


def web_vtt(path: Path) -> list[tuple[float, float, str]]:
    text = path.read_text(encoding="utf-8")
    head, *blocks = text.rstrip("\n").split("\n\n")
    assert re.fullmatch(r"WEBVTT([ \t].*)?", head)
    cues: list[tuple[float, float, str]] = []
    for block in blocks:
        first, *lines = block.split("\n")
        assert lines
        assert not any("-->" in line for line in lines)
        if re.match(r"NOTE([ \t].*)?$", first):
            continue
        times = re.fullmatch(f"{STAMP} --> {STAMP}", first)
        assert times, first
        parts = list(map(int, times.groups()))
        start, end = (h * 3600 + m * 60 + s + ms / 1000 for h, m, s, ms in (parts[:4], parts[4:]))
        assert start < end
        assert not cues or cues[-1][0] <= start
        words = "\n".join(lines)
        assert re.fullmatch(r"([^&<>]|&amp;|&lt;|&gt;)+", words), words
        cues.append((start, end, sure(words)))
    return cues


def test_a_player_shows_what_sounds(tmp_path: Path) -> None:
    webvtt = pytest.importorskip("webvtt", reason="webvtt-py is not installed: pip install '.[test]'")
    path = put(tmp_path / "x.vtt", *CONCERT, labels={1.0: NASTY})
    assert web_vtt(path) == [
        (0.5, 1.0, "piano"),
        (1.0, 1.5, "mallet percussion, piano"),
        (1.0, 3.0, 'a &lt;b&gt; &amp; "c", \\d\\ --&gt; 5\' &lt;script&gt;'),
        (1.5, 2.0, "piano"),
        (2.0, 2.5, "voice"),  # has no next update that would end it: shown during its own hop
    ]
    captions = list(webvtt.read(str(path)))
    assert [(c.start_in_seconds, sure(c.text)) for c in captions if "script" not in c.text] == [
        (0, "piano"), (1, "mallet percussion, piano"), (1, "piano"), (2, "voice"),
    ]  # fmt: skip
    assert captions[0].start == "00:00:00.500"


# SubRip: a number, times with a comma, the text, a blank line.


def sub_rip(path: Path) -> list[tuple[float, float, str]]:
    stamp, cues = r"(\d\d):([0-5]\d):([0-5]\d),(\d{3})", []
    blocks = path.read_text(encoding="utf-8").rstrip("\n").split("\n\n") if path.stat().st_size else []
    for number, block in enumerate(blocks, start=1):
        first, times, *lines = block.split("\n")
        assert first == str(number)
        parts = [int(each) for each in re.fullmatch(f"{stamp} --> {stamp}", times).groups()]  # type: ignore[union-attr]
        start, end = (h * 3600 + m * 60 + s + ms / 1000 for h, m, s, ms in (parts[:4], parts[4:]))
        assert start < end
        assert not cues or cues[-1][0] <= start
        assert lines
        cues.append((start, end, sure("\n".join(lines))))
    return cues


def test_subrip_has_the_cues_of_webvtt(tmp_path: Path) -> None:
    back = [an_update(60.0, "piano"), an_update(60.5, "piano"), an_update(3.0, "voice", jumped=True), an_update(3.5)]
    for number, updates in enumerate((CONCERT, back)):
        web = web_vtt(put(tmp_path / f"{number}.vtt", *updates, labels={1.0: "now"}))
        assert sub_rip(put(tmp_path / f"{number}.srt", *updates, labels={1.0: "now"})) == web


# Raven: a table between tabs whose columns Raven knows by these names (Raven Pro User's Manual, Selection Tables).


def test_raven_finds_selections(tmp_path: Path) -> None:
    path = put(tmp_path / "x.selections.txt", *CONCERT, labels={1.0: NASTY})
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    assert list(rows[0])[:7] == [
        "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)"
    ]  # fmt: skip
    assert [int(row["Selection"]) for row in rows] == [1, 2, 3, 4]
    assert all(float(row["Begin Time (s)"]) <= float(row["End Time (s)"]) for row in rows)
    assert all(float(row["Low Freq (Hz)"]) < float(row["High Freq (Hz)"]) == 16_000 for row in rows)
    assert [(row["Annotation"], row["Probability"]) for row in rows] == [
        (NASTY, ""), ("mallet percussion", "0.1235"), ("piano", "0.1235"), ("voice", "0.1235"),
    ]  # fmt: skip


# Praat's TextGrid: intervals of a tier adjoin and fill it (Praat manual, TextGrid file formats).


def praat(path: Path) -> dict[str, list[tuple[float, float, str]]]:
    text = path.read_text(encoding="utf-8")
    assert text.startswith('File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = ')
    tiers = {}
    for part in re.split(r"    item \[\d+\]:\n", text)[1:]:
        name = re.search(r'name = "(.*)"', part)[1]  # type: ignore[index]
        end = float(re.search(r"xmax = (\S+)", part)[1])  # type: ignore[index]
        found = re.findall(r'xmin = (\S+)\n\s+xmax = (\S+)\n\s+text = "(.*)"', part)
        if "IntervalTier" in part:
            tiers[name] = [(float(a), float(b), words) for a, b, words in found]
            assert len(found) == int(re.search(r"intervals: size = (\d+)", part)[1])  # type: ignore[index]
            edges = [0.0, *(b for _, b, _ in tiers[name])]
            assert [a for a, _, _ in tiers[name]] == edges[:-1]
            assert edges[-1] == end
        else:
            points = re.findall(r'number = (\S+)\n\s+mark = "(.*)"', part)
            tiers[name] = [(float(a), float(a), words.replace('""', '"')) for a, words in points]
    assert len(tiers) == int(re.search(r"^size = (\d+)", text, re.MULTILINE)[1])  # type: ignore[index]
    return tiers


def test_praat_and_elan_find_tiers(tmp_path: Path) -> None:
    tiers = praat(put(tmp_path / "x.TextGrid", *CONCERT, labels={1.0: NASTY}))
    assert tiers["piano"] == [(0.0, 0.5, ""), (0.5, 2.0, "0.12"), (2.0, 2.5, "")]
    assert tiers["labels"] == [(1.0, 1.0, NASTY)]
    back = [an_update(0.5, "piano"), an_update(2.0, "piano"), an_update(1.0, "piano", jumped=True), an_update(3.0)]
    assert praat(put(tmp_path / "y.TextGrid", *back))["piano"][:2] == [(0.0, 0.5, ""), (0.5, 2.0, "0.12")]
    assert praat(put(tmp_path / "z.TextGrid", an_update(0.5))) == {}


def test_a_label_in_silence_is_written_at_once(tmp_path: Path) -> None:
    ((_, sink, file),) = open_output(tmp_path / "x.vtt", a_head(), force=False)
    sink.write(an_update(0.5))
    sink.label(0.5, "quiet")
    assert web_vtt(tmp_path / "x.vtt") == [(0.5, 2.5, "quiet")]
    assert file is not None
    file.close()


@pytest.mark.parametrize("suffix", [".vtt", ".srt"])
def test_a_label_in_silence_ends_with_the_sound_and_one_without_words_is_left_out(tmp_path: Path, suffix: str) -> None:
    silence = [an_update(0.5), an_update(1.0), an_update(1.5)]
    text = put(tmp_path / f"x{suffix}", *silence, labels={0.5: " ", 1.0: "applause"}).read_text(encoding="utf-8")
    assert re.findall(r"(\S+) --> (\S+)\n(.+)", text.replace(",", ".")) == [
        ("00:00:01.000", "00:00:01.500", "applause")
    ]
    assert text.count("-->") == 1


def test_a_label_behind_what_was_heard_keeps_its_time(tmp_path: Path) -> None:
    """A file may be paused and sought in before the label is written."""
    for suffix in (".vtt", ".TextGrid"):
        for _, sink, file in open_output(tmp_path / f"x{suffix}", a_head(), force=False):
            sink.write(an_update(0.5, "piano"))
            sink.label(20.0, "there")
            sink.close(Summary(1, 0.5, "stopped", {}, 0, 0, 0))
            if file is not None:
                file.close()
    assert (20.0, 22.0, "there") in web_vtt(tmp_path / "x.vtt")
    assert praat(tmp_path / "x.TextGrid")["labels"] == [(20.0, 20.0, "there")]


def test_after_a_seek_backwards_the_cues_are_in_order_again(tmp_path: Path) -> None:
    updates = [an_update(60.0, "piano"), an_update(60.5, "piano"), an_update(3.0, "voice", jumped=True),
               an_update(3.5), an_update(4.0, "bass")]  # fmt: skip
    cues = web_vtt(put(tmp_path / "x.vtt", *updates))
    assert cues == [(3.0, 3.5, "voice"), (3.5, 4.0, "bass"), (60.0, 60.5, "piano")]


@settings(max_examples=40)
@given(
    journeys(), st.lists(st.tuples(st.integers(0, 50), st.text(st.characters(codec="utf-8"), min_size=1)), max_size=3)
)
def test_every_reader_accepts_any_run(
    tmp_path_factory: pytest.TempPathFactory, updates: tuple[Update, ...], labels: list[tuple[int, str]]
) -> None:
    from instrec_live.realtime.errors import printable

    place = tmp_path_factory.getbasetemp()
    said = {time / 2: printable(text) for time, text in labels if printable(text)}
    spoken = {time for time in said if any(update.time >= time for update in updates)}
    marks = audacity(put(place / "j.txt", *updates, labels=said))
    regions = sonic_visualiser(put(place / "j.svl.csv", *updates, labels=said))
    cues = web_vtt(put(place / "j.vtt", *updates, labels=said))
    assert [(a, round(b - a, 3)) for a, b, _ in marks] == [(a, d) for a, _, d, _ in regions]
    sounding = [mark for mark in marks if mark[2] in DISPLAY_NAMES.values() and mark[2] not in said.values()]
    assert len(marks) - len(sounding) == len(spoken)
    # At every update's time a cue names what was active; where one cue ends and another begins, both are looked at.
    for update in updates:
        names = ", ".join(DISPLAY_NAMES[name] for name in update.active)
        shown = [words for start, end, words in cues if start <= update.time <= end]
        assert not names or names in shown


# CSV, by pandas, and its sidecar by json.


def test_pandas_reads_the_csv_and_json_the_rest(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: pip install '.[test]'")
    table = pandas.read_csv(put(tmp_path / "x.csv", *CONCERT, labels={1.0: NASTY}))
    assert list(table.columns) == ["time", "instrument", "probability", "active", "gap"]
    assert len(table) == 5 * 20
    assert [str(kind) for kind in table.dtypes][0::2] == ["float64", "float64", "int64"]
    wide = table.pivot(index="time", columns="instrument", values="probability")
    assert wide.shape == (5, 20)
    np.testing.assert_allclose(wide.to_numpy(), 0.1235)
    sounding = table[table.active == 1].groupby("instrument").size()
    assert sounding.to_dict() == {"piano": 3, "mallet_percussion": 1, "voice": 1}
    side = json.loads((tmp_path / "x.csv.json").read_text())
    assert side["header"]["hop"] == 0.5
    assert side["labels"] == [{"time": 1.0, "text": NASTY}]
    assert side["summary"]["active_seconds"]["piano"] == 1.5


def test_the_sidecar_is_there_from_the_start(tmp_path: Path) -> None:
    begun: Sequence = open_output(tmp_path / "x.csv", a_head(), force=False)
    side = json.loads((tmp_path / "x.csv.json").read_text())
    assert (side["header"]["type"], side["labels"], "summary" in side) == ("header", [], False)
    for _, sink, _ in begun:
        sink.label(3.0, "now")
        sink.change({"type": "source", "time": 4.0, "source": "[1] Other"})
    side = json.loads((tmp_path / "x.csv.json").read_text())
    assert side["labels"] == [{"time": 3.0, "text": "now"}]
    assert side["changes"] == [{"type": "source", "time": 4.0, "source": "[1] Other"}]


def test_the_python_of_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pandas", reason="pandas is not installed: pip install '.[test]'")
    monkeypatch.chdir(tmp_path)
    for name in ("concert.csv", "concert.jsonl"):
        put(Path(name), *CONCERT, labels={1.0: NASTY})
    page = (Path(__file__).parents[3] / "docs" / "outputs.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    names: dict = {}
    exec(code, names)
    assert names["seconds"].to_dict() == {"piano": 1.5, "mallet_percussion": 0.5, "voice": 0.5}
    assert names["heat"].shape == (20, 5)
    assert names["levels"].to_dict() == dict.fromkeys((0.5, 1.0, 1.5, 2.0, 2.5), -18.2)
