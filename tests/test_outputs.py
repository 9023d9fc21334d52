"""What is written can be read back, by other programs too."""

import csv
import io
import json
import math
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from fakes import ArraySource, FakeTagger, music

from instrec_live.models.errors import UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.journal import Journal, TooSlow
from instrec_live.realtime.outputs import Changes, JsonLines, Labels, TidyCsv, check_writable, clock, header
from instrec_live.realtime.recorder import Recorder
from instrec_live.realtime.smoothing import Smoothing
from instrec_live.realtime.stream import Stream
from instrec_live.realtime.update import State, Update


def an_update(time: float, *active: str, p: float = 0.123456, state: State = State.OK) -> Update:
    probabilities = np.full(20, p, np.float32)
    return Update(
        time=time,
        probabilities=probabilities,
        active=tuple(name for name in INSTRUMENTS if name in active),
        by_model={"passt": probabilities},
        level_db=-18.23,
        peak_db=-6.02,
        state=state,
        filled_s=10.0,
        age_s=0.1234,
        inference_s=0.05,
        skipped=0,
        xruns=0,
        bad_samples=0,
    )


def a_stream(seconds: float = 3.0) -> Stream:
    return Stream(source=ArraySource(music(seconds)), pace="max", tagger=FakeTagger())  # type: ignore[arg-type]


class Played:
    """Updates made up beforehand, in the place of a stream."""

    def __init__(self, *updates: Update) -> None:
        self.info = a_stream().info
        self.updates = updates

    def __iter__(self):  # type: ignore[no-untyped-def]
        return iter(self.updates)

    def close(self) -> None:
        pass


def journal_of(*updates: Update, strict: bool = False) -> Journal:
    return Journal(Played(*updates), strict)  # type: ignore[arg-type]


def play(journal: Journal) -> None:
    try:
        for _ in journal:
            pass
    finally:
        journal.finish()


def test_json_lines() -> None:
    stream, file = a_stream(), io.StringIO()
    journal = Journal(stream)
    journal.add("x", JsonLines(file, header(stream.info, stream.smoothing, -60.0)))
    play(journal)
    head, *updates, summary = map(json.loads, file.getvalue().splitlines())
    assert head["type"] == "header"
    assert head["instruments"] == list(INSTRUMENTS)
    assert {model: own["voice"] for model, own in head["model_thresholds"].items()} == {
        "passt": 0.4986, "cbam_cnn": 0.5987, "ms_crnn": 0.6911,
    }  # fmt: skip
    assert head["models"] == dict.fromkeys(("passt", "cbam_cnn", "ms_crnn"), "0" * 64)
    assert (head["source"], head["rate"], head["channels"], head["hop"]) == ("array", 32_000, 1, 0.5)
    assert head["weights"] == dict.fromkeys(("passt", "cbam_cnn", "ms_crnn"), 1.0)
    assert head["smoothing"] == asdict(Smoothing())
    assert head["smoothing"]["short_seconds"] == 2.5
    assert set(head["thresholds"]) == set(INSTRUMENTS)
    assert [u["time"] for u in updates] == [0.5, 1.0, 1.5, 2.0, 2.5, 3.0]
    for update in updates:
        assert update["type"] == "update"
        assert list(update["probabilities"]) == list(INSTRUMENTS)
        assert list(update["by_model"]) == ["passt", "cbam_cnn", "ms_crnn"]
        assert all(0 <= p <= 1 and round(p, 4) == p for p in update["probabilities"].values())
        assert {"active", "level_db", "skipped", "xruns", "state"} <= set(update)
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
    assert rows[0] == {"time": "0.5", "instrument": "accordion", "probability": "0.1235", "active": "0"}
    assert [row["instrument"] for row in rows if row["active"] == "1"] == ["piano"]


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


def test_the_recording_is_the_sound(tmp_path: Path) -> None:
    soundfile = pytest.importorskip("soundfile")
    sound = music(3.0)
    journal = Journal(Stream(source=ArraySource(sound), pace="max", tagger=FakeTagger()))  # type: ignore[arg-type]
    journal.record(Recorder(tmp_path / "take.wav"))
    play(journal)
    recorded, rate = soundfile.read(tmp_path / "take.wav", dtype="float32")
    assert rate == 32_000
    assert soundfile.info(tmp_path / "take.wav").subtype == "PCM_16"
    np.testing.assert_allclose(recorded, sound, atol=2**-15)


def test_a_recording_that_cannot_be_made(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written"):
        Recorder(tmp_path / "no" / "take.wav")


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
