"""Labels that no output keeps, and the events of a run so far: both go into files of their own."""

import numpy as np
import pytest
from fake_stream import update
from fakes import ArraySource

from instrec_live.models.errors import UsageError
from instrec_live.models.instruments import DISPLAY_NAMES
from instrec_live.realtime.outputs.event_log import EventLog
from instrec_live.realtime.outputs.session import Session
from instrec_live.realtime.outputs.tables import JsonLines
from instrec_live.realtime.stream.stream import Stream


@pytest.fixture
def session(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Stream(source=ArraySource(np.zeros(64_000, np.float32), 32_000), pace="max") as stream:
        yield Session(stream)


def test_a_label_that_no_output_keeps_goes_into_a_file(session):
    updates = iter(session)
    next(updates)
    path = session.label("verse")
    assert session.label("chorus", 1.25) == path
    list(updates)
    assert path.name.startswith("instrec-")
    assert path.read_text() == "0.500\t0.500\tverse\n1.250\t1.250\tchorus\n"
    with pytest.raises(UsageError, match="no label can be added"):
        session.label("too late")


def test_where_an_output_keeps_labels_there_is_no_further_file(session, tmp_path):
    with open(tmp_path / "a.jsonl", "w") as file:
        session.add("a.jsonl", JsonLines(file, {"type": "header"}))
        assert session.label("verse") is None
        list(session)
    assert '"text": "verse"' in (tmp_path / "a.jsonl").read_text()
    assert [each.name for each in tmp_path.iterdir()] == ["a.jsonl"]


def test_the_events_so_far(session):
    updates = iter(session)
    next(updates)
    session.label("verse")
    first, second = session.export_events(), session.export_events()
    assert first != second
    assert first.read_text() == second.read_text() == "0.500\t0.500\tverse\n"
    list(updates)
    assert session.export_events().read_text() == "0.500\t0.500\tverse\n"


def test_what_still_sounds_is_among_the_events(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = EventLog({"hop": 0.5})
    for number in (58, 59, 60):
        log.write(update(number))
    lines = [line.split("\t") for line in log.export("instrec").read_text().splitlines()]
    assert {name for _, stop, name in lines if stop == "30.500"} == {DISPLAY_NAMES[n] for n in update(60).active}
