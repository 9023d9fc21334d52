"""What is written can be read back, by other programs too."""

import csv
import io
import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from fake_stream import FakeTransport
from played import Played, a_stream, an_update, play, session_of

from instrec_live.models.errors import UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.config import settings
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
    open_output,
)
from instrec_live.realtime.outputs.session import Session, TooSlow
from instrec_live.realtime.stream.smoothing import Smoothing, live_thresholds
from instrec_live.realtime.stream.update import State, Update


def test_json_lines() -> None:
    stream, file = a_stream(), io.StringIO()
    session = Session(stream)
    session.add("x", JsonLines(file, header(stream.info, stream.smoothing, -60.0)))
    play(session)
    head, *updates, summary = map(json.loads, file.getvalue().splitlines())
    assert head["type"] == "header"
    assert head["instruments"] == list(INSTRUMENTS)
    own = [thresholds["voice"] for thresholds in head["model_thresholds"].values()]
    assert own == pytest.approx(live_thresholds(np.array([0.4, 0.5, 0.6]), Smoothing()), abs=1e-4)
    assert list(head["model_thresholds"]) == ["passt", "cbam_cnn", "ms_crnn"]
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
    session = session_of(*updates)
    session.add("x", Labels(file, {}))
    play(session)
    assert file.getvalue().splitlines() == [
        "0.500\t1.500\tpiano 0.12",
        "1.000\t1.500\tmallet percussion 0.12",
        "2.000\t2.000\tbass 0.12",
    ]


def test_changes_are_lines_to_read() -> None:
    file = io.StringIO()
    sink = Changes(file)
    for update in (an_update(12.5, "piano", p=0.83), an_update(13.0, "piano"), an_update(3723.0, "voice", p=1.0)):
        sink.write(update)
    assert file.getvalue() == "00:12.5  + piano .83\n1:02:03.0  - piano\n1:02:03.0  + voice .99\n"


def test_a_name_with_a_number_in_it_is_unchanged() -> None:
    file = io.StringIO()
    sink = Changes(file, "mix 0.9.wav")
    sink.write(an_update(12.5, "piano", p=0.83))
    sink.write(an_update(13.0))
    assert file.getvalue() == "00:12.5  mix 0.9.wav  + piano .83\n00:13.0  mix 0.9.wav  - piano\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "00:00.0"), (59.96, "01:00.0"), (3600, "1:00:00.0"), (36_000.5, "10:00:00.5")]
)
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def test_the_summary_counts_active_time() -> None:
    session = session_of(an_update(0.5), an_update(1.0, "piano"), an_update(1.5, "piano"), an_update(2.0))
    for _ in session:
        pass
    assert session.finish().active_seconds == {"piano": 1.0}


def test_outputs_get_pauses_and_seeks_while_paused() -> None:
    told: list[tuple[bool, float, bool]] = []

    class Told(JsonLines):
        def pause(self, paused: bool, time: float, jumped: bool = False) -> None:
            told.append((paused, time, jumped))

    stream = a_stream()
    stream.transport = FakeTransport()
    session = Session(stream)
    session.add("told", Told(io.StringIO(), {"type": "header"}))
    transport = session.transport
    transport.seek(30.0)
    transport.pause(True)
    transport.seek(41.5)
    transport.pause(False)
    assert told == [(True, 30.0, False), (True, 41.5, True), (False, 41.5, False)]


def test_what_changes_in_a_pause_has_the_time_that_was_sought_to() -> None:
    file = io.StringIO()
    stream = Played(an_update(0.5), an_update(42.0, jumped=True))
    stream.transport = FakeTransport()
    session = Session(stream)  # type: ignore[arg-type]
    session.add("x", JsonLines(file, {"type": "header"}))
    for update in session:
        if not update.jumped:
            session.transport.pause(True)
            session.transport.seek(41.5)
        session.label("here")
        session.set_thresholds({"piano": 0.25})
    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    times = [(line["type"], line["time"]) for line in lines if line["type"] in ("label", "thresholds")]
    assert times == [("label", 41.5), ("thresholds", 41.5), ("label", 42.0), ("thresholds", 42.0)]


def test_stopping_early_differs_from_the_end() -> None:
    session = Session(a_stream())
    for _ in session:
        session.close()
    assert session.finish().ended == "stopped"


def test_what_is_drawn_at_the_end_is_there_before_the_screen_is_closed(tmp_path: Path) -> None:
    """With a microphone, a screen and --duration the screen stays after the end, perhaps for hours."""
    stream, path = a_stream(), tmp_path / "run.html"
    session = Session(stream)
    for begun in open_output(path, header(stream.info, stream.smoothing, -60.0), force=False):
        session.add(*begun)
    for _ in session:
        assert not path.exists()
    assert path.read_text().startswith("<!DOCTYPE html>")
    session.finish()


class Full(io.StringIO):
    """A disk with room for a header."""

    def write(self, text: str) -> int:
        if self.tell() > 100:
            raise OSError(28, "No space left on device")
        return super().write(text)


def test_a_full_disk_costs_one_output_not_the_rest(caplog: pytest.LogCaptureFixture) -> None:
    full, fine = Full(), io.StringIO()
    session = Session(a_stream())
    session.add("full.jsonl", JsonLines(full, {"type": "header"}))
    session.add("fine.jsonl", JsonLines(fine, {"type": "header"}))
    play(session)
    assert len(fine.getvalue().splitlines()) == 8
    assert session.failed
    assert [r.message for r in caplog.records if "full.jsonl" in r.message and "No space left" in r.message]


def test_a_reader_that_hangs_up_ends_the_listening() -> None:
    class HungUp(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    fine = io.StringIO()
    session = session_of(an_update(0.5), an_update(1.0))
    session.add("stdout", Changes(HungUp()))
    session.add("fine", JsonLines(fine, {"type": "header"}))
    session.add("gone", Labels(HungUp(), {}))
    list(session)  # nothing to write to stdout yet
    session = session_of(an_update(0.5, "piano"), an_update(1.0))
    session.add("stdout", Changes(HungUp()))
    session.add("fine", JsonLines(fine, {"type": "header"}))
    with pytest.raises(BrokenPipeError):
        play(session)
    assert '"summary"' in fine.getvalue()


def test_strict_ends_when_the_networks_are_late() -> None:
    session = session_of(an_update(0.5), an_update(1.0, state=State.CATCHING_UP), strict=True)
    with pytest.raises(TooSlow) as caught:
        play(session)
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


def test_a_name_that_cannot_be_created_is_reported_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot write"):
        check_output(tmp_path / f"{'long' * 70}.png", force=False)


def test_jumps_labels_and_changes_in_json() -> None:
    file = io.StringIO()
    stream = Played(an_update(0.5), an_update(9.0, jumped=True), an_update(9.5))
    session = Session(stream)  # type: ignore[arg-type]
    session.add("x", JsonLines(file, {"type": "header"}))
    for update in session:
        if update.jumped:
            session.label("  solo\nbegins ")
            session.label("earlier", 4.25)
            session.set_thresholds({"piano": 0.25})
            session.listen_to("Scarlett")
    session.finish()
    with pytest.raises(UsageError, match="no label can be added"):
        session.label("too late")
    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    assert [line["type"] for line in lines] == [
        "header", "update", "update", "label", "label", "thresholds", "source", "update", "summary",
    ]  # fmt: skip
    assert [line.get("jumped") for line in lines if line["type"] == "update"] == [None, True, None]
    assert lines[3] == {"type": "label", "time": 9.0, "text": "solo begins"}
    assert lines[4] == {"type": "label", "time": 4.25, "text": "earlier"}
    assert stream.thresholds == {"piano": 0.25}
    assert set(lines[5]["thresholds"]) == set(INSTRUMENTS)
    assert stream.devices == ["Scarlett"]
    assert lines[6] == {"type": "source", "time": 9.0, "source": "array", "rate": 32_000, "channels": 1}


def test_a_jump_is_not_counted_as_active_time() -> None:
    session = session_of(
        an_update(0.5, "piano"), an_update(100.0, "piano", jumped=True), an_update(2.0, "piano", jumped=True)
    )
    for _ in session:
        pass
    summary = session.finish()
    assert summary.active_seconds == {"piano": 1.5}
    assert (summary.heard_s, summary.time) == (1.5, 2.0)


def test_a_failure_is_reported_once() -> None:
    session = session_of(an_update(0.5), an_update(1.0))
    session.add("full.jsonl", JsonLines(Full(), {"type": "header"}))
    play(session)
    (line,) = session.notices()
    assert "full.jsonl: No space left on device" in line
    assert session.notices() == []


def test_a_defect_of_one_output_leaves_the_others_their_end() -> None:
    class Defect(Sink):
        def write(self, update: Update) -> None:
            pass

        def close(self, summary: Summary) -> None:
            raise RuntimeError("a defect")

    fine = io.StringIO()
    session = session_of(an_update(0.5))
    session.add("defect", Defect())
    session.add("fine", JsonLines(fine, {"type": "header"}))
    with pytest.raises(RuntimeError, match="a defect"):
        play(session)
    assert '"summary"' in fine.getvalue()
