"""--benchmark measures each engine and network in a separate process; a crash or a hang is a row of its table."""

import json
import os
import subprocess
import sys
import time
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from fakes import FakeTagger, music
from tiny_bundle import write_tiny

from instrec_live.models.bundle import Bundle
from instrec_live.models.errors import ModelError
from instrec_live.realtime.commands.benchmark import comparison, measurement
from instrec_live.realtime.commands.benchmark.comparison import COLUMNS, difference, figures_of, wanted
from instrec_live.realtime.commands.benchmark.measurement import (
    HungError,
    RecordingTagger,
    Request,
    attempt,
    demo,
    how_it_ended,
    measure,
    memory,
    updates,
)
from instrec_live.realtime.commands.benchmark.verdict import Timing
from instrec_live.realtime.config.settings import parse
from instrec_live.realtime.stream.analysis import hop_samples

# --- following the demo ---


@pytest.mark.parametrize("hop", [0.1, 0.5, 0.7, 1.0, 3.0, 60.0])
@pytest.mark.parametrize("patchwise", [False, True])
def test_updates_are_whole_beats_of_full_windows(hop: float, patchwise: bool) -> None:
    tagger = FakeTagger()
    measured = list(updates(RecordingTagger(tagger), music(12.0), hop_samples(hop), 0.0, patchwise))  # type: ignore[arg-type]
    assert sum(each.long for each in measured) == 2
    assert measured[-1].long
    assert len(measured) == pytest.approx(2 / min(1.0, hop), abs=2)
    assert all(each.wall > 0 and each.cpu >= 0 for each in measured)
    newest = sum(1 + each.long for each in measured)
    assert set(tagger.lengths[-newest:]) == {100, 1000}


def test_updates_continue_for_so_long_and_once_through_the_sound_at_most(monkeypatch: pytest.MonkeyPatch) -> None:
    ticks = count()
    monkeypatch.setattr(measurement, "perf_counter", lambda: 0.01 * next(ticks))  # an update takes 0.03 s
    tagger = FakeTagger()
    short = list(updates(RecordingTagger(tagger), music(12.0), 16_000, 60.0, False))  # type: ignore[arg-type]
    assert len(short) <= 10
    few = list(updates(RecordingTagger(tagger), music(40.0), 16_000, 0.0, False))  # type: ignore[arg-type]
    more = list(updates(RecordingTagger(tagger), music(40.0), 16_000, 0.6, False))  # type: ignore[arg-type]
    assert len(few) < len(more) < 60


def test_a_network_that_gives_no_numbers_is_not_measured() -> None:
    class Dumb(FakeTagger):
        def calibrated(self, log_mel):  # type: ignore[no-untyped-def]
            return {name: z for name, z in super().calibrated(log_mel).items() if name != "passt"}

    with pytest.raises(ModelError, match="passt gives values that are not numbers"):
        list(updates(RecordingTagger(Dumb()), music(12.0), 16_000, 0.0, False))  # type: ignore[arg-type]


def test_the_demo_is_sound() -> None:
    sound = demo()
    assert sound.dtype == np.float32
    assert len(sound) > 40 * 32_000
    assert 0.1 < np.abs(sound).max() <= 1.5


def test_where_costs_depend_on_the_hop_a_greater_one_is_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = str(write_tiny(tmp_path / "tiny").path)
    tried = []

    def staged(tagger: object, sound: object, hop: int, seconds: float, patchwise: bool) -> list[Timing]:
        tried.append(hop / 32_000)
        long = 0.7 if len(tried) == 1 else 0.9
        return [Timing(0.4, 0.1, long=False), Timing(long, 0.1, long=True)]

    monkeypatch.setattr(measurement, "Tagger", lambda *_: FakeTagger())
    monkeypatch.setattr(measurement, "updates", staged)
    assert measure(Request([folder], "onnx", 1, None, 0.5, 1.0)).smallest_hop == 0.7
    monkeypatch.setattr(Bundle, "width", property(lambda _: 256))
    tried.clear()
    assert measure(Request([folder], "onnx", 1, None, 0.5, 1.0)).smallest_hop == 0.9
    assert tried == [0.5, 0.7]


@pytest.mark.skipif(os.name != "posix", reason="Windows does not tell")
def test_memory_is_reported() -> None:
    now, peak = memory() or (0.0, 0.0)
    assert 10 < now <= peak < 100_000


# --- the comparison ---


def test_differences_are_of_windows_of_both() -> None:
    ours = {(1, 2): [0.1, 0.5], (3, 2): [0.9, 0.9]}
    theirs = {(1, 2): [0.1, 0.25], (5, 2): [0.0, 0.0]}
    assert difference(ours, theirs) == (0.25, 1)
    assert difference(ours, {}) == (None, 0)


def test_figures_of_a_measurement() -> None:
    measured = {
        "runs_on": "abacus 1.0",
        "timings": [(0.1, 0.2, False), (0.3, 0.4, True)],
        "smallest_hop": 0.3,
        "resident_mb": None,
        "added_mb": None,
    }
    found = figures_of(measured, 0.5, (None, 0))
    assert (found.p50_ms, found.p95_ms, found.updates) == (100, 300, 2)
    assert (found.core, found.load) == (pytest.approx(0.6), pytest.approx(0.4))


@pytest.mark.parametrize(
    ("asked", "engines"),
    [
        ("auto", ["onnx", "openvino", "openvino:bf16"]),
        ("openvino", ["openvino", "openvino:bf16"]),
        ("openvino:bf16", ["openvino:bf16"]),
        ("onnx:fp32", ["onnx"]),
    ],
)
def test_which_engines_are_asked_for(asked: str, engines: list[str]) -> None:
    assert [name for name in ("onnx", "openvino", "openvino:bf16") if wanted(asked, name)] == engines


# --- children ---


def test_an_attempt_answers_with_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('a file of the folder one happens to be in')")
    monkeypatch.chdir(tmp_path)
    assert attempt(["-c", "import json; print(json.dumps([1, 2]))"], 30.0) == [1, 2]


CHILDREN = [
    ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", r"crashed \(SIGSEGV\)"),
    ("raise RuntimeError('no such\\x1b[31m luck')", "exit code 1: RuntimeError: no such.* luck"),
    ("raise SystemExit(3)", "exit code 3"),
    ("print('hello')", "without a result"),
    ('print(\'{"error": "the engine refuses"}\')', "the engine refuses"),
]


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
@pytest.mark.parametrize(("program", "words"), CHILDREN)
def test_how_an_attempt_fails(program: str, words: str) -> None:
    with pytest.raises(ModelError, match=words) as caught:
        attempt(["-c", program], 30.0)
    assert caught.value.message.isprintable()


def test_an_attempt_that_hangs_is_ended() -> None:
    with pytest.raises(HungError, match=r"not done after 0\.5 s"):
        attempt(["-c", "import time; time.sleep(100)"], 0.5)


def test_ends_in_words() -> None:
    assert how_it_ended(-9, "") == "it crashed (SIGKILL); did it run out of memory?"
    assert how_it_ended(-200, "") == "it crashed (signal 200)"
    assert how_it_ended(3, "first\nlast\n\n") == "it failed with exit code 3: last"


def test_an_engine_that_hung_is_not_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def never(arguments: list[str], patience: float) -> object:
        tried.append(json.loads(arguments[-1])["engine"])
        raise HungError("stopped, not done after 300 s")

    monkeypatch.setattr(comparison, "attempt", never)
    trials = comparison._trials(["onnx", "openvino"], ["openvino"], ["a", "b"])
    assert [(t.engine, t.label, t.shown) for t in trials] == [
        ("onnx", "a", False), ("onnx", "b", False), ("onnx", "together", False),
        ("openvino", "a", True), ("openvino", "b", True), ("openvino", "together", True),
    ]  # fmt: skip
    rows = comparison._rows(trials, {"a": "/a", "b": "/b"}, parse(["--benchmark"]))
    assert tried == ["onnx", "openvino"]
    assert [row.verdict.startswith("cannot run: not tried") for row in rows] == [False, True, True]


# --- the program ---

RUN = [sys.executable, "-m", "instrec_live.realtime", "--benchmark"]
FIELDS = {
    "engine", "precision", "network", "ok", "verdict", "runs_on", "updates", "p50_ms", "p95_ms", "core", "load",
    "resident_mb", "added_mb", "difference", "compared", "smallest_hop",
}  # fmt: skip


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two models, a damaged one, and ONNX Runtimes that crash or dawdle."""
    here = tmp_path_factory.mktemp("benchmark")
    for name in ("one", "two", "broken"):
        write_tiny(here / name, name)
    (here / "broken" / "model.onnx").write_bytes(b"no network")
    for kind, act in (("crash", "import os; os.abort()"), ("dawdle", "import time; time.sleep(0.12)")):
        (here / kind).mkdir()
        (here / kind / "onnxruntime.py").write_text(FAKE_RUNTIME.format(act=act))
    return here


FAKE_RUNTIME = """
from types import SimpleNamespace
import numpy as np
__version__ = "0.0.1"
class SessionOptions:
    def add_session_config_entry(self, key, value): pass
class InferenceSession:
    def __init__(self, *arguments, **options): pass
    def get_inputs(self): return [SimpleNamespace(name="log_mel", type="tensor(float)", shape=["B", 128, "T"])]
    def get_outputs(self): return [SimpleNamespace(name="logits", type="tensor(float)", shape=["B", 20])]
    def get_overridable_initializers(self): return []
    def run(self, outputs, inputs):
        {act}
        return [np.zeros((len(inputs["log_mel"]), 20), np.float32)]
"""


def run(place: Path, *argv: str, path: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(place / path)} if path else dict(os.environ)
    return subprocess.run(
        [*RUN, *argv], cwd=place, env=environment, capture_output=True, text=True, timeout=240, check=False
    )


def test_two_models_in_json(place: Path) -> None:
    done = run(place, "--models", "./one,./two", "--engine", "onnx:fp32", "--json", "--hop", "1")
    assert done.returncode == 0, done.stderr
    assert "1 of 3: one on onnx" in done.stderr
    told = json.loads(done.stdout)
    assert set(told) == {
        "instrec_live", "python", "system", "processor", "cores", "load", "threads", "hop", "models", "engines", "rows",
        "able", "verdict",
    }  # fmt: skip
    assert (told["hop"], told["threads"], told["able"]) == (1.0, 1, True)
    assert list(told["models"]) == ["one", "two"]
    assert told["engines"] == [{"engine": "onnx", "usable": True, "reason": "ready"}]
    assert [(row["engine"], row["network"]) for row in told["rows"]] == [
        ("onnx", "one"), ("onnx", "two"), ("onnx", "together"),
    ]  # fmt: skip
    for row in told["rows"]:
        assert set(row) == FIELDS
        assert row["ok"]
        assert row["precision"] == "fp32"
        assert 0 < row["p50_ms"] <= row["p95_ms"] < 1000
        assert row["difference"] == 0
        assert row["compared"] > 4
        assert row["smallest_hop"] < 1
        assert "live" in row["verdict"]
        if os.name == "posix":
            assert 5 < row["added_mb"] < row["resident_mb"] < 2_000
    assert "can listen live with one, two together at a hop of 1 s" in told["verdict"]


@pytest.mark.slow  # measures for as long as the command does
def test_the_bundled_models_as_a_table(place: Path) -> None:
    done = run(place, "--engine", "onnx")
    assert done.returncode == 0, done.stderr
    *table, empty, verdict = done.stdout.splitlines()
    assert empty == ""
    assert verdict.startswith("verdict: this machine ")
    assert all(len(line) <= COLUMNS for line in table)
    rows = [line.split() for line in table if line.startswith("onnx ")]
    assert [row[1] for row in rows] == ["passt", "cbam_cnn", "ms_crnn", "together"]
    together, alone = float(rows[-1][3]), [float(row[3]) for row in rows[:-1]]
    assert together > max(alone) / 2  # a loose bound: other programs run here too


@pytest.mark.parametrize(
    ("argv", "code", "words"),
    [
        (["--engine", "abacus"], 2, "no engine 'abacus' — choose from auto"),
        (["--engine", "onnx:fp4"], 2, "no precision 'fp4'"),
        (["--models", "./broken"], 5, "altered"),
        (["--models", "./nowhere"], 5, "no such model folder"),
        (["--models", "./one,./one"], 5, "same name"),
    ],
)
def test_a_mistake_is_one_line(place: Path, argv: list[str], code: int, words: str) -> None:
    done = run(place, "-q", *argv)
    assert (done.returncode, done.stdout) == (code, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("instrec-live: error: ")
    assert words in line


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_an_engine_that_crashes_is_a_row(place: Path) -> None:
    done = run(place, "--models", "./one,./two", "--engine", "onnx", path="crash")
    assert done.returncode == 5, done.stderr
    assert done.stdout.count("it crashed (SIGABRT)") == 4  # two rows, together, and the verdict
    assert "Traceback" not in done.stdout + done.stderr


def test_a_network_too_slow_for_the_hop_gets_one_that_it_keeps_up_with(place: Path) -> None:
    done = run(place, "-q", "--models", "./one", "--engine", "onnx", "--hop", "0.1", "--json", path="dawdle")
    assert (done.returncode, done.stderr) == (0, "")
    told = json.loads(done.stdout)
    (row,) = told["rows"]
    assert 0.24 <= row["smallest_hop"] < 1.0  # two windows of 0.12 s
    assert row["verdict"] == f"keeps up at {row['smallest_hop']:g} s, not at 0.1 s"
    assert row["core"] < 0.5
    assert f"at a hop of {row['smallest_hop']:g} s, not at 0.1 s: on onnx" in told["verdict"]


def test_an_engine_that_is_not_installed_is_listed_with_its_reason(place: Path) -> None:
    (place / "without").mkdir(exist_ok=True)
    (place / "without" / "onnxruntime.py").write_text("raise ImportError('none here')")
    done = run(place, "-q", "--models", "./one", "--engine", "onnx", path="without")
    assert (done.returncode, done.stderr) == (5, "")
    assert "onnx   cannot be used: onnxruntime cannot be imported (none here)" in done.stdout
    assert "verdict: this machine cannot run one: no engine can be used" in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="POSIX signals")
def test_sigterm_ends_its_child_too(place: Path) -> None:
    command = [*RUN, "--engine", "onnx"]
    with subprocess.Popen(command, cwd=place, stderr=subprocess.PIPE, text=True, start_new_session=True) as program:
        assert program.stderr is not None
        while "1 of 4" not in program.stderr.readline():
            assert program.poll() is None
        time.sleep(0.5)
        program.terminate()
        assert program.wait(120) == 143
        with pytest.raises(ProcessLookupError):
            os.killpg(program.pid, 0)  # nobody is left of its group


def test_help_mentions_it() -> None:
    done = subprocess.run([*RUN[:-1], "--help"], capture_output=True, text=True, check=True)
    assert "--benchmark" in done.stdout
