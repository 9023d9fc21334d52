"""The soak test detects growth, lost seconds and open files; the page has its results."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pages
import pytest
import soak_sound
import vitals
from soak_updates import UpdateCheck

if sys.platform != "linux":
    pytest.skip("/proc is Linux's", allow_module_level=True)

from soak_run import Run

CHECKOUT = Path(__file__).parents[3]
HOURS = {"soak_max": 8.0, "soak_live": 1.0}
GROWTH = {"soak_max": pages.GROWTH_LIMIT, "soak_live": 4.0}  # MB an hour; in an hour a single step is a slope
DEMO = CHECKOUT / "realtime" / "demo" / "demo.ogg"


def test_growth_is_the_slope_after_the_warm_up() -> None:
    hours = np.linspace(0.0, 8.0, 500)
    noise = np.random.default_rng(0).normal(0.0, 0.5, 500)
    leaks = 200.0 + 3.0 * hours + noise
    assert vitals.slope(hours, leaks) == pytest.approx(3.0, abs=0.05)
    warm = np.where(hours < 0.7, 100.0 * hours, 200.0) + noise
    assert vitals.slope(hours, warm) == pytest.approx(0.0, abs=0.05)
    assert vitals.slope(hours, warm, warm_up=0.0) > 3.0


def test_too_little_makes_no_slope() -> None:
    with pytest.raises(ValueError, match="make no slope"):
        vitals.slope([], [])
    with pytest.raises(ValueError, match="make no slope"):
        vitals.slope([0.0, 1.0], [1.0, 2.0])


@pytest.mark.parametrize("count", [1, 2, 199, 200, 201, 5000])
def test_a_curve_is_thinned_with_both_its_ends(count: int) -> None:
    places = vitals.thinned(range(count), 200)
    assert places[0] == 0
    assert places[-1] == count - 1
    assert len(places) == min(count, 200)
    assert places == sorted(set(places))


def test_a_look_sees_files_threads_and_memory() -> None:
    program = "import sys, threading\nfor line in sys.stdin: exec(line); print(flush=True)"
    with subprocess.Popen([sys.executable, "-c", program], stdin=-1, stdout=-1, text=True, bufsize=1) as child:
        assert child.stdin is not None
        assert child.stdout is not None

        def then(line: str) -> vitals.Vitals:
            child.stdin.write(line + "\n")  # type: ignore[union-attr]
            child.stdout.readline()  # type: ignore[union-attr]
            seen = vitals.look_at(child.pid)
            assert seen is not None
            return seen

        before = then("pass")
        assert then(f"kept = [open({os.devnull!r}) for _ in range(3)]").files == before.files + 3
        assert (
            then("threading.Thread(target=threading.Event().wait, daemon=True).start()").threads == before.threads + 1
        )
        after = then("much = b'x' * 20_000_000")
        assert after.own_mb - before.own_mb == pytest.approx(20.0, abs=3.0)
        assert after.memory_mb >= after.own_mb
        child.kill()
        child.wait()
        assert vitals.look_at(child.pid) is None


def lines(*updates: tuple[float, int], age: float = 0.1) -> list[dict[str, Any]]:
    same = {"type": "update", "xruns": 0, "bad_samples": 0, "state": "OK", "active": ["piano"], "age_s": age}
    said = [{**same, "time": time, "skipped": skipped} for time, skipped in updates]
    return [{"type": "header", "hop": 0.5}, *said]


def heard(*updates: tuple[float, int]) -> UpdateCheck:
    found = UpdateCheck()
    for line in lines(*updates):
        found.note(line, 10.0)
    return found


def test_each_update_has_its_time() -> None:
    assert heard((0.5, 0), (1.0, 0), (2.5, 2), (3.0, 2)).wrong == 0
    assert heard((0.5, 0), (1.5, 0), (2.0, 0)).wrong == 2  # a second was lost, and nobody counted it
    assert heard((0.5, 0), (0.5, 0)).wrong == 1
    assert heard((0.501, 0)).wrong == 1


def test_what_grows_between_time_and_arrival_is_drift() -> None:
    found = UpdateCheck()
    for number, line in enumerate(lines(*((0.5 * n, 0) for n in range(1, 9)))[1:]):
        found.note({"type": "header", "hop": 0.5}, 0.0)
        found.note(line | {"age_s": 0.01 * number}, line["time"] + 2.0 + 0.1 * number)
    late, oldest = found.reset()
    assert late == pytest.approx(2.0)
    assert oldest == pytest.approx(0.07)
    assert found.reset() == (None, None)


def test_the_music_is_the_same_of_the_same_seed_and_has_pauses() -> None:
    once, again, other = (b"".join(soak_sound.cut(soak_sound.endless([DEMO], seed), 60.0)) for seed in (0, 0, 1))
    assert once == again != other
    assert len(once) == 60 * soak_sound.RATE * soak_sound.CHANNELS * 2
    pieces = soak_sound.endless([DEMO])
    peaks = [int(np.abs(next(pieces).astype(int)).max()) for _ in range(40)]
    assert 1 <= sum(peak == 0 for peak in peaks) <= 8
    assert sum(peak > 1000 for peak in peaks) > 25


def test_a_process_that_leaks_is_found_out(tmp_path: Path) -> None:
    """A program that keeps a megabyte and a file of each update, and one that does not."""
    leaks = "kept.append((b'x' * 1_000_000, open(os.devnull)))"
    program = (
        "import json, os, sys, time; kept = []; print(json.dumps({'type': 'header', 'hop': 0.5}), flush=True)\n"
        "for n in range(1, 101):\n"
        "    if len(sys.argv) > 1: exec(sys.argv[1])\n"
        "    print(json.dumps({'type': 'update', 'time': n / 2, 'skipped': 0, 'xruns': 0, 'bad_samples': 0,\n"
        "                      'state': 'OK', 'active': [], 'age_s': 0.0}), flush=True); time.sleep(0.01)\n"
    )
    read: Callable[[Run], Iterator[str]] = lambda run: map(bytes.decode, run.process.stdout or ())  # noqa: E731
    found = []
    for words in ([], [leaks]):
        run = Run("made up", [sys.executable, "-c", program, *words], lines=read)
        while not run.ended():
            run.look()
        found.append(run.record())
    for record in found:
        assert (record["updates"], record["wrong_times"], record["exit"]) == (100, 0, 0)
    quiet, leaking = found
    assert abs(quiet["slopes"]["memory_mb_per_heard_hour"]) < 100.0
    assert leaking["slopes"]["memory_mb_per_heard_hour"] == pytest.approx(7200.0, rel=0.2)  # 1 MB each half second
    assert quiet["ranges"]["files"][0] == quiet["ranges"]["files"][1]
    assert leaking["ranges"]["files"][1] > leaking["ranges"]["files"][0] + 50


@pytest.mark.slow
def test_a_minute_of_the_program(tmp_path: Path) -> None:
    to = tmp_path / "soak.json"
    command = [sys.executable, "benchmarks/soak.py", "max", "--hours", "0.0166666667", "--to", str(to)]
    done = subprocess.run(command, cwd=CHECKOUT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    record = json.loads(to.read_text(encoding="utf-8"))
    run = record["runs"]["max"]
    assert (run["exit"], run["updates"], run["wrong_times"], run["skipped"]) == (0, 120, 0, 0)
    assert run["summary_agrees"]
    assert run["ended"] == "end"
    assert record["recordings"] == 1
    assert str(CHECKOUT) not in json.dumps(record)
    assert [path.name for path in tmp_path.iterdir()] == ["soak.json"]


@pytest.mark.parametrize("path", pages.soak_results(), ids=lambda path: path.stem)
def test_the_promises_were_kept(path: Path) -> None:
    record = json.loads(path.read_text(encoding="utf-8"))
    for run in record["runs"].values():
        assert run["heard_h"] == pytest.approx(HOURS[path.stem], abs=1e-3)
        assert (run["exit"], run["wrong_times"], run["bad_samples"]) == (0, 0, 0)
        assert run["summary_agrees"]
        assert pages.growth(run) < GROWTH[path.stem]
        assert run["instruments_shown"] >= 10  # it was music
        for key in ("files", "threads"):
            least, most = run["ranges"][key]
            assert least == most, key
