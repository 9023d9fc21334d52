"""What is written can be read back, by other programs too."""

import csv
import io
import json
import math
from dataclasses import asdict
from pathlib import Path

import pytest
from played import Played, a_stream, an_update, journal_of, play

from instrec_live.models.errors import UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime import settings
from instrec_live.realtime.journal import Journal, TooSlow
from instrec_live.realtime.outputs import (
    DRAWN,
    FORMATS,
    Changes,
    JsonLines,
    Labels,
    Sink,
    Summary,
    TidyCsv,
    check_output,
    check_writable,
    clock,
    header,
)
from instrec_live.realtime.smoothing import Smoothing
from instrec_live.realtime.update import State, Update


def test_json_lines() -> None:
    stream, file = a_stream(), io.StringIO()
    journal = Journal(stream)
    journal.add("x", JsonLines(file, header(stream.info, stream.smoothing, -60.0)))
    play(journal)
    head, *updates, summary = map(json.loads, file.getvalue().splitlines())
    assert head["type"] == "header"
    assert head["instruments"] == list(INSTRUMENTS)
    assert {model: own["voice"] for model, own in head["model_thresholds"].items()} == {
        "passt": 0.6444, "cbam_cnn": 0.7311, "ms_crnn": 0.803,
    }  # fmt: skip
    assert head["models"] == dict.fromkeys(("passt", "cbam_cnn", "ms_crnn"), "0" * 64)
    assert (head["source"], head["rate"], head["channels"], head["hop"]) == ("array", 32_000, 1, 0.5)
    assert head["weights"] == dict.fromkeys(("passt", "cbam_cnn", "ms_crnn"), 1.0)
    assert head["smoothing"] == asdict(Smoothing())
    assert head["smoothing"]["short_seconds"] == 1.0
    assert set(head["thresholds"]) == set(INSTRUMENTS)
    assert [u["time"] for u in updates] == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    for update in updates:
        assert update["type"] == "update"
        assert list(update["probabilities"]) == list(INSTRUMENTS)
        assert list(update["by_model"]) == ["passt", "cbam_cnn", "ms_crnn"]
        assert all(0 <= p <= 1 and round(p, 4) == p for p in update["probabilities"].values())
        assert {"active", "level_db", "skipped", "xruns", "state"} <= set(update)
    assert not any("jumped" in update for update in updates)
    assert (summary["type"], summary["updates"], summary["time"], summary["ended"]) == ("summary", 6, 3.0, "end")


def test_json_is_never_nan() -> None:
    sink = JsonLines(io.StringIO(), {})
    with pytest.raises(ValueError, match="JSON compliant"):
        sink.write(an_update(0.5, p=math.nan))


def test_tidy_csv() -> None:
    file = io.StringIO()
    sink = TidyCsv(file, {})
    sink.write(an_update(0.5, "piano"))
    sink.write(an_update(1.0))
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    assert len(rows) == 40
    assert [row["instrument"] for row in rows[:20]] == list(INSTRUMENTS)
    assert rows[0] == {"time": "0.5", "instrument": "accordion", "probability": "0.1235", "active": "0", "gap": "0"}
    assert [row["instrument"] for row in rows if row["active"] == "1"] == ["piano"]


def test_a_table_has_no_rows_of_a_device_that_is_lost() -> None:
    file = io.StringIO()
    sink = TidyCsv(file, {})
    sink.write(an_update(0.5, "piano"))
    for _ in range(3):
        sink.write(an_update(0.5, p=0.0, state=State.DEVICE_LOST))
    assert len(list(csv.DictReader(io.StringIO(file.getvalue())))) == 20


def test_labels_have_an_onset_and_an_offset() -> None:
    file = io.StringIO()
    updates = [
        an_update(0.5, "piano"),
        an_update(1.0, "piano", "mallet_percussion"),
        an_update(1.5),
        an_update(2.0, "bass"),
    ]
    journal = journal_of(*updates)
    journal.add("x", Labels(file, {}))
    play(journal)
    assert file.getvalue().splitlines() == [
        "0.500\t1.500\tpiano",
        "1.000\t1.500\tmallet percussion",
        "2.000\t2.000\tbass",
    ]


def test_changes_are_lines_to_read() -> None:
    file = io.StringIO()
    sink = Changes(file)
    for update in (an_update(12.5, "piano", p=0.83), an_update(13.0, "piano"), an_update(3723.0, "voice", p=1.0)):
        sink.write(update)
    assert file.getvalue() == "00:12.5  + piano .83\n1:02:03.0  - piano\n1:02:03.0  + voice .99\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "00:00.0"), (59.96, "01:00.0"), (3600, "1:00:00.0"), (36_000.5, "10:00:00.5")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_the_summary_counts_active_time() -> None:
    journal = journal_of(an_update(0.5), an_update(1.0, "piano"), an_update(1.5, "piano"), an_update(2.0))
    for _ in journal:
        pass
    assert journal.finish().active_seconds == {"piano": 1.0}


def test_stopping_early_is_told_from_the_end() -> None:
    journal = Journal(a_stream())
    for _ in journal:
        journal.close()
    assert journal.finish().ended == "stopped"


class Full(io.StringIO):
    """A disk with room for a header."""

    def write(self, text: str) -> int:
        if self.tell() > 100:
            raise OSError(28, "No space left on device")
        return super().write(text)


def test_a_full_disk_costs_one_output_not_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    full, fine = Full(), io.StringIO()
    journal = Journal(a_stream())
    journal.add("full.jsonl", JsonLines(full, {"type": "header"}))
    journal.add("fine.jsonl", JsonLines(fine, {"type": "header"}))
    play(journal)
    assert len(fine.getvalue().splitlines()) == 8
    assert journal.failed
    assert [r.message for r in caplog.records if "full.jsonl" in r.message and "No space left" in r.message]


def test_a_reader_that_hangs_up_ends_the_listening() -> None:
    class HungUp(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    fine = io.StringIO()
    journal = journal_of(an_update(0.5), an_update(1.0))
    journal.add("stdout", Changes(HungUp()))
    journal.add("fine", JsonLines(fine, {"type": "header"}))
    journal.add("gone", Labels(HungUp(), {}))
    list(journal)  # nothing to write to stdout yet
    journal = journal_of(an_update(0.5, "piano"), an_update(1.0))
    journal.add("stdout", Changes(HungUp()))
    journal.add("fine", JsonLines(fine, {"type": "header"}))
    with pytest.raises(BrokenPipeError):
        play(journal)
    assert '"summary"' in fine.getvalue()


def test_strict_ends_when_the_networks_are_late() -> None:
    journal = journal_of(an_update(0.5), an_update(1.0, state=State.CATCHING_UP), strict=True)
    with pytest.raises(TooSlow) as caught:
        play(journal)
    assert caught.value.exit_code == 6


def test_files_are_not_overwritten_unasked(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    check_writable(path, force=False)
    assert not path.exists()
    path.write_text("precious")
    with pytest.raises(UsageError, match="--force"):
        check_writable(path, force=False)
    check_writable(path, force=True)
    assert path.read_text() == "precious"
    with pytest.raises(UsageError, match="no folder"):
        check_writable(tmp_path / "no" / "a.csv", force=True)
    with pytest.raises(UsageError, match="folder"):
        check_writable(tmp_path, force=True)


def test_the_command_line_takes_every_kind_of_output() -> None:
    assert set(settings._SUFFIXES) == {*FORMATS, *DRAWN}


def test_the_sidecar_of_a_csv_is_not_overwritten_unasked_either(tmp_path: Path) -> None:
    (tmp_path / "a.csv.json").write_text("precious")
    with pytest.raises(UsageError, match=r"a\.csv\.json exists already"):
        check_output(tmp_path / "a.csv", force=False)
    check_output(tmp_path / "a.csv", force=True)
    check_output(tmp_path / "a.svl.csv", force=False)  # has none
    assert [path.name for path in tmp_path.iterdir()] == ["a.csv.json"]


def test_a_name_that_cannot_be_made_is_told_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        check_output(tmp_path / f"{'long' * 70}.png", force=False)


def test_jumps_labels_and_changes_in_json() -> None:
    file = io.StringIO()
    stream = Played(an_update(0.5), an_update(9.0, jumped=True), an_update(9.5))
    journal = Journal(stream)  # type: ignore[arg-type]
    journal.add("x", JsonLines(file, {"type": "header"}))
    for update in journal:
        if update.jumped:
            journal.label("  solo\nbegins ")
            journal.label("earlier", 4.25)
            journal.set_thresholds({"piano": 0.25})
            journal.listen_to("Scarlett")
    journal.finish()
    journal.label("too late")
    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    assert [line["type"] for line in lines] == [
        "header", "update", "update", "label", "label", "thresholds", "source", "update", "summary",
    ]  # fmt: skip
    assert [line.get("jumped") for line in lines if line["type"] == "update"] == [None, True, None]
    assert lines[3] == {"type": "label", "time": 9.0, "text": "solo begins"}
    assert lines[4] == {"type": "label", "time": 4.25, "text": "earlier"}
    assert stream.levels == {"piano": 0.25}
    assert set(lines[5]["thresholds"]) == set(INSTRUMENTS)
    assert stream.devices == ["Scarlett"]
    assert lines[6] == {"type": "source", "time": 9.0, "source": "array", "rate": 32_000, "channels": 1}


def test_a_jump_is_not_counted_as_active_time() -> None:
    journal = journal_of(
        an_update(0.5, "piano"), an_update(100.0, "piano", jumped=True), an_update(2.0, "piano", jumped=True)
    )
    for _ in journal:
        pass
    assert journal.finish().active_seconds == {"piano": 1.5}


def test_what_goes_wrong_is_told_once_to_who_asks() -> None:
    journal = journal_of(an_update(0.5), an_update(1.0))
    journal.add("full.jsonl", JsonLines(Full(), {"type": "header"}))
    play(journal)
    (line,) = journal.notices()
    assert "full.jsonl: No space left on device" in line
    assert journal.notices() == []


def test_a_defect_of_one_output_leaves_the_others_their_end() -> None:
    class Defect(Sink):
        def write(self, update: Update) -> None:
            pass

        def close(self, summary: Summary) -> None:
            raise RuntimeError("a defect")

    fine = io.StringIO()
    journal = journal_of(an_update(0.5))
    journal.add("defect", Defect())
    journal.add("fine", JsonLines(fine, {"type": "header"}))
    with pytest.raises(RuntimeError, match="a defect"):
        play(journal)
    assert '"summary"' in fine.getvalue()
