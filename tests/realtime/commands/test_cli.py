"""The program as a user runs it: every mistake is one line and its exit code, in a few seconds, no traceback."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from fakes import music
from tiny_bundle import write_tiny

from instrec_live.realtime import cli

RUN = [sys.executable, "-m", "instrec_live.realtime"]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two models, a good file and many bad ones."""
    here = tmp_path_factory.mktemp("cli")
    write_tiny(here / "one", "one")
    write_tiny(here / "two", "two", bias=0.3)
    write_tiny(here / "broken", "broken")
    onnx = bytearray((here / "broken" / "model.onnx").read_bytes())
    onnx[len(onnx) // 2] ^= 1
    (here / "broken" / "model.onnx").write_bytes(onnx)
    soundfile.write(here / "good.wav", music(6.2, 44_100), 44_100)
    (here / "text.wav").write_text("this is no sound at all, but a line of text\n" * 20)
    soundfile.write(here / "whole.flac", music(3), 32_000)
    flac = (here / "whole.flac").read_bytes()
    (here / "cut.flac").write_bytes(flac[: len(flac) // 2])
    soundfile.write(here / "empty.wav", np.zeros(0, np.float32), 32_000)
    (here / "zero.wav").touch()
    (here / "folder").mkdir()
    if os.name == "posix":
        (here / "round.csv").symlink_to("round.csv")
    # A sounddevice that finds no PortAudio, and one that finds no device.
    (here / "no_portaudio").mkdir()
    (here / "no_portaudio" / "sounddevice.py").write_text("raise OSError('PortAudio library not found')\n")
    return here


def run(
    place: Path, *argv: str, models: str = "./one,./two", path: str = "", **options: object
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": path} if path else dict(os.environ)
    return subprocess.run(
        [*RUN, *(["--models", models] if models else []), *argv],
        cwd=place,
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        **options,  # type: ignore[call-overload]
    )


BAD = [
    (["--file", "nowhere.wav"], 4, "nowhere.wav does not exist"),
    (["--file", "folder"], 4, "folder"),
    (["--file", "text.wav"], 4, "not a sound file"),
    (["--file", "empty.wav"], 4, "0 seconds"),
    (["--file", "zero.wav"], 4, "empty"),
    (["--file", "cut.flac", "--pace", "max"], 4, "cut.flac"),
    (["--file", "good.wav", "--start", "99"], 2, "beyond the end"),
    (["--file", "good.wav", "--engine", "abacus"], 2, "abacus"),
    (["--file", "good.wav", "--weights", "1,2,3"], 2, "3 weights for 2 models"),
    (["--file", "good.wav", "--hpo", "1"], 2, "did you mean --hop?"),
    (["--file", "good.wav", "--theme", "drak", "--no-ui"], 2, "no theme 'drak'"),
    (["--file", "good.wav", "--output", "no/where.csv"], 2, "no folder"),
    *([(["--file", "good.wav", "--output", "round.csv"], 2, "round.csv exists already")] if os.name == "posix" else []),
    (["--file", "good.wav", "--output", "taken.csv"], 2, "--force"),
    (["--device", "no such microphone"], 3, ""),
    (["--stdin"], 4, "nothing came"),
]


@pytest.mark.parametrize(("argv", "code", "words"), BAD, ids=[" ".join(argv) for argv, _, _ in BAD])
def test_a_mistake_is_one_line_and_a_code(place: Path, argv: list[str], code: int, words: str) -> None:
    (place / "taken.csv").write_text("precious")
    done = run(place, "-q", *argv, stdin=subprocess.DEVNULL)
    assert_one_line(done, code, words)
    assert (place / "taken.csv").read_text() == "precious"


def assert_one_line(done: subprocess.CompletedProcess[str], code: int, words: str) -> None:
    assert done.returncode == code, done.stderr
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("instrec-live: error: ")
    assert words in lines[0]


@pytest.mark.parametrize(
    ("models", "words"),
    [("./broken", "altered"), ("./nowhere", "no such model folder"), ("pasta", "pasta"), ("./one,./one", "same name")],
)
def test_models_that_do_not_load(place: Path, models: str, words: str) -> None:
    assert_one_line(run(place, "-q", "--file", "good.wav", models=models), 5, words)


def test_without_portaudio_microphones_fail_and_files_work(place: Path) -> None:
    for argv in (["-l"], ["-q"]):
        assert_one_line(run(place, *argv, path=str(place / "no_portaudio")), 3, "PortAudio")
    done = run(place, "-q", "--file", "good.wav", "--pace", "max", "--json", path=str(place / "no_portaudio"))
    assert (done.returncode, done.stderr) == (0, "")


def test_an_instrument_that_does_not_exist(place: Path) -> None:
    (place / "t.json").write_text('{"pinao": 0.5}')
    assert_one_line(run(place, "--file", "good.wav", "--thresholds", "t.json"), 2, "did you mean piano?")


def test_pace_max_gives_the_same_every_time(place: Path) -> None:
    first, second = (run(place, "-q", "--file", "good.wav", "--pace", "max", "--json") for _ in range(2))
    assert first.returncode == second.returncode == 0
    head, *lines = first.stdout.splitlines()
    other_head, *other_lines = second.stdout.splitlines()
    assert lines == other_lines
    assert len(lines) == 13 + 1  # ceil(6.2 / 0.5) updates and the summary
    heads = [json.loads(line) for line in (head, other_head)]
    for each in heads:
        del each["created"]
    assert heads[0] == heads[1]
    times = [json.loads(line)["time"] for line in lines]
    assert times[:3] == [0.5, 1.0, 1.5]
    assert times[-2:] == [6.2, 6.2]


def test_weights_and_smoothing_reach_the_sound_and_the_header(place: Path) -> None:
    argv = ["-q", "--file", "good.wav", "--pace", "max", "--json", "--smoothing", "0", "--weights"]
    both, alone = (
        [json.loads(line) for line in run(place, *argv, weights).stdout.splitlines()] for weights in ("1,1", "0,0.5")
    )
    assert (both[0]["weights"], alone[0]["weights"]) == ({"one": 1.0, "two": 1.0}, {"one": 0.0, "two": 0.5})
    assert both[0]["smoothing"]["tau_up"] == both[0]["smoothing"]["min_on_seconds"] == 0.0
    assert both[0]["smoothing"]["short_seconds"] == 1.0
    for update in alone[1:-1]:
        assert update["probabilities"] == update["by_model"]["two"]
    assert both[5]["probabilities"] != both[5]["by_model"]["two"]


def test_all_outputs_at_once_then_again_with_force(place: Path) -> None:
    argv = ["--file", "good.wav", "--pace", "max", "--threshold", "0.3"]
    for name in ("o.jsonl", "o.csv", "o.txt"):
        argv += ["-o", name]
    done = run(place, *argv, "--record", "o.wav")
    assert done.returncode == 0, done.stderr
    assert "listening to good.wav" in done.stderr
    assert "6.2 s of sound, 13 updates" in done.stderr
    changes = done.stdout.splitlines()
    assert changes
    assert all(line.split()[1] in "+-" for line in changes)
    *_, summary = map(json.loads, (place / "o.jsonl").read_text().splitlines())
    with open(place / "o.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 13 * 20
    seconds: dict[str, float] = {}
    for line in (place / "o.txt").read_text().splitlines():
        onset, offset, words = line.split("\t")
        name = words.rpartition(" ")[0]
        assert 0 <= float(onset) <= float(offset) <= 6.2
        seconds[name] = seconds.get(name, 0) + float(offset) - float(onset)
    assert {name.replace(" ", "_") for name in seconds} == set(summary["active_seconds"])
    assert soundfile.info(place / "o.wav").duration == pytest.approx(6.2, abs=0.01)
    assert_one_line(run(place, *argv, "-q"), 2, "--force")
    assert run(place, *argv, "-q", "--force").returncode == 0


def test_stdin_equals_the_file(place: Path) -> None:
    pcm = (np.clip(music(4), -1, 1) * 32767).astype("<i2")
    soundfile.write(place / "pcm.wav", pcm, 32_000)
    argv = ["-q", "--pace", "max", "--json"]
    file = run(place, *argv, "--file", "pcm.wav")
    assert file.returncode == 0, file.stderr
    done = subprocess.run(
        [*RUN, "--models", "./one,./two", *argv, "--stdin", "--rate", "32000"],
        cwd=place,
        input=pcm.tobytes(),
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert done.stdout.decode().splitlines()[1:] == file.stdout.splitlines()[1:]


def test_a_reader_that_leaves_early_is_no_error(place: Path) -> None:
    command = f"{sys.executable} -m instrec_live.realtime --models ./one -q --file good.wav --json"
    done = subprocess.run(
        ["bash", "-c", f"{command} | head -n 2; exit ${{PIPESTATUS[0]}}"],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert len(done.stdout.splitlines()) == 2


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_signals_end_it_with_everything_written(place: Path, number: int, code: int) -> None:
    name = f"signal{code}.jsonl"
    process = subprocess.Popen(
        [*RUN, "--models", "./one", "--file", "good.wav", "-o", name, "--json", "-q"],
        cwd=place,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # under nohup SIGHUP would be ignored
    )
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.readline()
    process.send_signal(number)
    _, stderr = process.communicate(timeout=120)
    assert (process.returncode, stderr) == (code, "")
    summary = json.loads((place / name).read_text().splitlines()[-1])
    assert (summary["type"], summary["ended"]) == ("summary", "stopped")


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("moment", ["__del__", "weakref"])
def test_a_signal_in_code_whose_exceptions_python_ignores_ends_it(number: int, moment: str) -> None:
    program = f"""
import signal, sys, time, types, weakref
from instrec_live.realtime import cli

class Resource:
    def __del__(self):
        if {moment!r} == "__del__":
            signal.raise_signal({number})

def run(argv):
    resource = Resource()
    if {moment!r} == "weakref":
        reference = weakref.ref(resource, lambda gone: signal.raise_signal({number}))
    del resource
    time.sleep(60)

sys.modules["command"] = types.SimpleNamespace(run=run)
cli.COMMANDS["command"] = "command"
sys.exit(cli.main(["command"]))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=50, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (128 + number, "", "")


def test_realtime_lasts_as_long_as_the_sound(place: Path) -> None:
    started = time.monotonic()
    done = run(place, "--file", "good.wav", "--duration", "1.5", "--json", "--strict")
    assert done.returncode == 0, done.stderr
    assert time.monotonic() - started >= 1.4
    ages = [json.loads(line)["age_s"] for line in done.stdout.splitlines()[1:-1]]
    assert all(age > 0 for age in ages)


@pytest.mark.timing
@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["tag", "--help"], ["watch", "--help"]], ids=" ".join)
def test_help_is_fast(argv: list[str]) -> None:
    times = []
    for _ in range(3):
        started = time.monotonic()
        subprocess.run([*RUN, *argv], capture_output=True, timeout=120, check=True)
        times.append(time.monotonic() - started)
    assert min(times) < 0.3  # s; 0.15 on a machine that does nothing else


def test_help_shows_everything_once() -> None:
    done = subprocess.run([*RUN, "--help"], capture_output=True, text=True, timeout=120, check=True)
    for words in ("--device", "--pace", "examples:", "exit codes:", "130", "--thresholds FILE"):
        assert words in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 110


def test_help_in_an_old_locale() -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([*RUN, "--help"], env=environment, capture_output=True, timeout=120, check=False)
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.skipif(os.name != "posix", reason="a shell that closes descriptors")
@pytest.mark.parametrize(("closed", "code"), [("<&- >&- 2>&-", 0), (">&-", 0), ("--stdin <&-", 4)])
def test_standard_streams_that_are_closed_are_no_defect(place: Path, closed: str, code: int) -> None:
    source = "" if "--stdin" in closed else "--file good.wav --pace max"
    command = f"{sys.executable} -m instrec_live.realtime --models ./one -q {source} {closed}"
    done = subprocess.run(["bash", "-c", command], cwd=place, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == code
    assert "defect" not in done.stderr


@pytest.mark.skipif(os.name != "posix", reason="other systems keep the folder")
def test_a_current_folder_that_was_deleted_is_one_line(place: Path, tmp_path: Path) -> None:
    (tmp_path / "gone").mkdir()
    command = f"cd gone; rmdir ../gone; {sys.executable} -m instrec_live.realtime --file {place / 'good.wav'} --no-ui"
    done = subprocess.run(
        ["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert_one_line(done, 2, "the current folder no longer exists")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_full_disk_from_the_start_is_one_line(place: Path) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*RUN, "--models", "./one", "-q", "--file", "good.wav", "--json"],
            cwd=place, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    assert_one_line(done, 1, "cannot write stdout: No space left")  # type: ignore[arg-type]


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
@pytest.mark.parametrize(
    "argv", ["--help", "--version", "--print-config", "--print-completion bash", "--engines --json", "tag --help"]
)
def test_what_is_only_printed_is_one_line_on_a_full_disk_too(argv: str) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [*RUN, *argv.split()],
            env=environment, stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False,
        )  # fmt: skip
    words = "instrec-live: error: cannot write stdout: No space left on device\n"
    assert (done.returncode, done.stderr) == (1, words if "engines" not in argv else done.stderr)
    assert done.stderr.endswith(words)


@pytest.mark.parametrize(
    ("words", "shown"),
    [(["-vv"], True), (["-v", "x", "--verbose"], True), (["-v"], False), (["--verbose", "-q", "-d", "vv"], False)],
)
def test_other_commands_show_their_traceback_too(
    words: list[str], shown: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("INSTREC_DEBUG", raising=False)
    monkeypatch.setitem(cli.COMMANDS, "divide", "divide_by_zero")
    monkeypatch.setitem(sys.modules, "divide_by_zero", SimpleNamespace(run=lambda argv: 1 / 0))  # type: ignore[arg-type]
    assert cli.main(["divide", *words]) == 1
    assert ("Traceback" in capsys.readouterr().err) is shown


def test_the_end_lists_what_sounded(place: Path) -> None:
    argv = ["--file", "good.wav", "--pace", "max", "--threshold"]
    assert "no instrument recognised" in run(place, *argv, "0.999").stderr
    assert " s, " in run(place, *argv, "0.01").stderr.splitlines()[-1].split(";")[1]


def test_numpy_computes_with_one_thread_by_default() -> None:
    program = "import sys, os; from instrec_live.realtime.cli import main; main(['-l']); print(os.environ['{}'])"
    for name, given, used in [("OMP_NUM_THREADS", "", "1"), ("OPENBLAS_NUM_THREADS", "3", "3")]:
        environment = {key: value for key, value in os.environ.items() if key != name} | (
            {name: given} if given else {}
        )
        done = subprocess.run(
            [sys.executable, "-c", program.format(name)], env=environment, capture_output=True, text=True, timeout=120
        )
        assert done.stdout.splitlines()[-1] == used


def test_help_into_a_closed_pipe_is_quiet() -> None:
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m instrec_live.realtime --help | head -n 1; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_log_file_gets_what_the_terminal_gets(place: Path) -> None:
    run(place, "-q", "--file", "good.wav", "--pace", "max", "--json", "--log-file", "run.log")
    assert "listening to good.wav" in (place / "run.log").read_text()


def test_doctor_distinguishes_good_and_broken_models(place: Path) -> None:
    done = run(place, "--doctor", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0, report
    assert report["able"]
    found = {finding["what"]: finding for finding in report["findings"]}
    assert found["model one"]["ok"]
    assert found["model two"]["ok"]
    assert found["engine onnx"]["ok"]
    assert found["engine auto"]["detail"].partition(":")[0] in ("onnx", "openvino")
    assert "ms of CPU an update on" in found["inference"]["detail"]
    done = run(place, "--doctor", "-q", "--log-file", "doctor.log", models="./one,./broken")
    assert done.returncode == 5
    assert "altered" in done.stdout
    assert done.stdout.splitlines()[-1] == "verdict: not able to run"
    assert done.stderr == ""
    assert (place / "doctor.log").exists()


def test_doctor_without_portaudio_is_content_and_reports_it(place: Path) -> None:
    done = run(place, "--doctor", path=str(place / "no_portaudio"))
    assert done.returncode == 0, done.stdout
    assert "PortAudio" in done.stdout
    assert done.stdout.splitlines()[-1] == "verdict: ready for files and pipes; no microphone can be used"
