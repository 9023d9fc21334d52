"""The demo's yardstick on toy timelines, and the demo clip's own sanity."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from demo_timeline import Event, Shown, good_enough, main, read_timeline, score
from hypothesis import given
from hypothesis import strategies as st

from instrec_live.models.instruments import INSTRUMENTS

DEMO = Path(__file__).parents[3] / "realtime" / "demo"
EVENTS = [Event("piano", 1.0, 5.0), Event("flute", 4.0, 8.0)]


def shown_from(spans: list[Event], hop: float = 0.5, duration: float = 10.0) -> list[Shown]:
    times = np.arange(hop, duration + hop / 2, hop)
    return [Shown(float(t), frozenset(e.instrument for e in spans if e.onset <= t < e.offset)) for t in times]


def test_a_perfect_run_has_perfect_figures() -> None:
    result = score(EVENTS, shown_from(EVENTS), 10.0)
    assert result["strict"] == result["tolerant"] == {"precision": 1.0, "recall": 1.0}
    assert (result["entries_in_time"], result["share_in_time"]) == (2, 1.0)
    assert (result["median_detection_s"], result["median_release_s"]) == (0.0, 0.0)
    assert not any(entry["early"] for entry in result["by_entry"])
    assert result["false_seconds"] == {}
    assert good_enough(result)


def test_a_silent_run_finds_nothing_and_fails() -> None:
    result = score(EVENTS, shown_from([]), 10.0)
    assert result["entries_in_time"] == 0
    assert result["strict"] == {"precision": 0.0, "recall": 0.0}
    assert result["median_detection_s"] is None
    assert result["median_release_s"] is None
    assert not good_enough(result)


def test_no_updates_at_all() -> None:
    assert score(EVENTS, [], 10.0)["share_in_time"] == 0.0


def test_delays_are_measured_from_the_event() -> None:
    late = [Event("piano", 2.5, 7.0), Event("flute", 4.0, 8.5)]
    result = score(EVENTS, shown_from(late), 10.0)
    piano, flute = result["by_entry"]
    assert (piano["detection_s"], piano["release_s"]) == (1.5, 2.0)
    assert (flute["detection_s"], flute["release_s"]) == (0.0, 0.5)
    # Shown 4.5 + 4.5 s, of which right 2.5 + 4; both overhangs lie within the release tolerance.
    assert result["strict"]["precision"] == pytest.approx(6.5 / 9.0, abs=1e-3)
    assert result["tolerant"]["precision"] == 1.0
    assert result["strict"]["recall"] == pytest.approx(6.5 / 8.0, abs=1e-3)


def test_an_entry_detected_too_late_does_not_count() -> None:
    result = score(EVENTS, shown_from([Event("piano", 4.5, 5.0), EVENTS[1]]), 10.0)
    assert result["by_entry"][0]["detection_s"] == 3.5
    assert result["entries_in_time"] == 1
    assert not good_enough(result)


def test_showing_an_instrument_only_after_it_stopped_is_not_a_detection() -> None:
    result = score(EVENTS, shown_from([Event("piano", 5.5, 7.0)]), 10.0)
    assert result["by_entry"][0]["detection_s"] is None
    assert result["by_entry"][0]["release_s"] is None


def test_an_entry_shown_before_its_time_does_not_flatter_the_median() -> None:
    result = score(EVENTS, shown_from([Event("piano", 0.5, 5.0), Event("flute", 5.0, 8.0)]), 10.0)
    assert [entry["early"] for entry in result["by_entry"]] == [True, False]
    assert result["median_detection_s"] == 1.0
    assert result["entries_in_time"] == 2


def test_tolerance_ends_after_three_seconds() -> None:
    result = score([Event("piano", 1.0, 3.0)], shown_from([Event("piano", 1.0, 9.0)]), 10.0)
    assert result["false_seconds"] == {"piano": 3.0}
    assert result["tolerant"]["precision"] == pytest.approx(2 / 5)
    assert result["strict"]["precision"] == pytest.approx(2 / 8)


def test_a_returning_instrument_is_not_hidden_between() -> None:
    events = [Event("piano", 1.0, 3.0), Event("piano", 5.0, 7.0)]
    result = score(events, shown_from([Event("piano", 1.0, 8.0)]), 10.0)
    assert [entry["release_s"] for entry in result["by_entry"]] == [None, 1.0]


def test_false_instruments_come_most_seconds_first() -> None:
    ghosts = [*EVENTS, Event("organ", 1.0, 2.0), Event("banjo", 1.0, 4.0)]
    assert list(score(EVENTS, shown_from(ghosts), 10.0)["false_seconds"].items()) == [
        ("banjo", 3.0),
        ("organ", 1.0),
    ]


spans = st.lists(
    st.builds(
        lambda name, onset, length: Event(name, onset / 10, (onset + length) / 10),
        st.sampled_from(["piano", "flute", "drums"]),
        st.integers(0, 80),
        st.integers(1, 60),
    ),
    max_size=6,
)


@given(truth=spans, shown=spans)
def test_figures_stay_figures(truth: list[Event], shown: list[Event]) -> None:
    result = score(truth, shown_from(shown), 10.0)
    for kind in ("strict", "tolerant"):
        assert all(0.0 <= value <= 1.0 for value in result[kind].values())
    assert result["tolerant"]["precision"] >= result["strict"]["precision"]
    assert result["tolerant"]["recall"] == result["strict"]["recall"]
    json.dumps(result, allow_nan=False)


def test_a_finished_run_is_scored_from_its_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    events, duration = read_timeline()
    lines = [{"type": "header", "version": 1}]
    lines += [
        {"type": "update", "time": u.time, "active": sorted(u.active)} for u in shown_from(events, duration=duration)
    ]
    jsonl, output = tmp_path / "run.jsonl", tmp_path / "result.json"
    jsonl.write_text("\n".join(json.dumps(line) for line in [*lines, {"type": "summary"}]))
    assert main([str(jsonl), "--output", str(output)]) == 0
    assert json.loads(output.read_text())["share_in_time"] == 1.0
    assert "entries in time" in capsys.readouterr().out


# The clip


def test_the_clip_is_a_healthy_sound_file() -> None:
    path = DEMO / "demo.ogg"
    samples, rate = soundfile.read(path)
    _, duration = read_timeline()
    assert path.stat().st_size < 1_200_000
    assert rate == 44_100
    assert len(samples) / rate == pytest.approx(duration, abs=0.01)
    assert 0.5 < np.abs(samples).max() < 0.85, "peak about -3 dBFS"


def test_the_timeline_is_sane() -> None:
    events, duration = read_timeline()
    assert all(0 <= event.onset < event.offset <= duration for event in events)
    assert {event.instrument for event in events} <= set(INSTRUMENTS)
    assert len({event.instrument for event in events}) >= 6
    assert [event.onset for event in events] == sorted(event.onset for event in events)
    assert all(event.offset - event.onset >= 4 for event in events), "each long enough to be recognised"


def test_no_second_of_the_clip_is_without_its_instruments() -> None:
    samples, rate = soundfile.read(DEMO / "demo.ogg")
    events, duration = read_timeline()
    for second in range(int(duration)):
        level = 10 * np.log10(np.mean(samples[second * rate : (second + 1) * rate] ** 2) + 1e-12)
        assert any(e.onset < second + 1 and e.offset > second for e in events)
        assert level > -45, f"second {second} is silent"


def test_the_clip_has_solos_and_ensembles() -> None:
    events, duration = read_timeline()
    at_once = [len({e.instrument for e in events if e.onset <= t < e.offset}) for t in range(int(duration))]
    assert 60 <= duration <= 90
    assert at_once[0] == 1
    assert max(at_once) >= 3


CREDIT = re.compile(r"\| ([a-z, ]+) \| `(\w+)` \| `(\w+)` \| (yes|no) \|")


def test_every_file_of_the_clip_is_credited_and_kept_from_training_unless_it_says_otherwise() -> None:
    timeline = json.loads((DEMO / "timeline.json").read_text())
    credits = (DEMO / "CREDITS.md").read_text()
    rows = {
        (source, name): (players.split(", "), trained_on)
        for players, source, name, trained_on in CREDIT.findall(credits)
    }
    kept = set((DEMO.parent.parent / "training" / "data" / "demo_files.txt").read_text().split())
    for event in timeline["events"]:
        source, files = event["source"].split(": ")
        assert f"| `{source}`: " in credits, f"{source} has no row with author and licence"
        for name in files.split(", "):
            players, trained_on = rows[source, name]
            assert event["instrument"] in players
            assert (f"{players[0]}/{source}/{name}.ogg" in kept) == (trained_on == "no")
