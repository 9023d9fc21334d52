"""In a folder that holds files named as modules are, none of them is imported: in no command, in no child process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import soundfile
from fakes import music
from tiny_bundle import write_tiny

from instrec_live.realtime import cli

MODULES = ("argparse", "json", "multiprocessing", "numpy", "ray", "runpy", "socket", "soundfile", "typing")
PROGRAM = "from instrec_live.realtime.cli import main; import sys; sys.exit(main())"
LOOK = "from instrec_live.realtime.audio.devices import list_input_devices_fresh as look; look()"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of sounds, a model, and modules each of which leaves a mark when it is imported."""
    here = tmp_path_factory.mktemp("hostile")
    write_tiny(here / "one", "one")
    for name in ("a.wav", "b.wav"):
        soundfile.write(here / name, music(4), 32_000)
    for name in ("oud", "ney"):
        (here / "sounds" / name).mkdir(parents=True)
        soundfile.write(here / "sounds" / name / "a.wav", music(4), 32_000)
    head, tail = {"type": "header", "version": 1}, {"type": "summary", "updates": 0}
    (here / "run.jsonl").write_text(f"{json.dumps(head)}\n{json.dumps(tail)}\n")
    for name in MODULES:
        (here / f"{name}.py").write_text(f"open('was-run', 'a').write({name!r} + chr(10))\n")
    return here


def run(place: Path, *command: str) -> subprocess.CompletedProcess[str]:
    words = [sys.executable, *command]
    done = subprocess.run(
        words, cwd=place, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240, check=False
    )
    mark = place / "was-run"
    assert not mark.exists(), mark.read_text()
    return done


COMMANDS = [
    ("--version",),
    ("--list-devices",),
    ("--doctor", "--models", "./one"),
    ("--engines", "list"),
    ("--print-config",),
    ("--print-completion", "bash"),
    ("--file", "a.wav", "--pace", "max", "--no-ui", "--models", "./one", "-o", "t.png", "-o", "t.html", "--force"),
    ("tag", ".", "--models", "./one", "--engine", "onnx", "--jobs", "2", "-q"),
    ("watch", "a.wav", "b.wav", "--models", "./one", "--no-ui", "--pace", "max"),
    ("report", "run.jsonl", "--html", "r.html", "--force"),
    ("learn", "sounds", "--to", "taught", "--force", "-q"),
]


def test_all_commands_are_among_these():
    assert {words[0] for words in COMMANDS} >= cli.COMMANDS.keys()


@pytest.mark.parametrize("words", COMMANDS, ids=lambda words: words[0])
def test_no_command_imports_from_the_current_folder(place, words):
    # As an installed program, whose own folder comes first on the path; and as a module.
    installed = run(place, "-c", f"import sys; del sys.path[0]\n{PROGRAM}", *words)
    as_module = run(place, "-m", "instrec_live.realtime", *words)
    assert installed.returncode == as_module.returncode, as_module.stderr
    assert "Traceback" not in installed.stderr + as_module.stderr


def test_nor_does_the_child_that_looks_for_microphones(place):
    run(place, "-c", f"import sys; del sys.path[0]\n{LOOK}")


@pytest.mark.slow
def test_nor_do_the_processes_of_ray(place):
    pytest.importorskip("ray")
    words = ("tag", "a.wav", "--models", "./one", "--engine", "onnx", "--jobs", "1", "--ray", "local", "-q")
    done = run(place, "-c", f"import sys; del sys.path[0]\n{PROGRAM}", *words)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("a.wav") == 20


def programs() -> list[str]:
    """All that `python -m` can run, by its full name."""
    root, found = Path(__file__).parents[2], []
    for room in ("models", "realtime", "training"):
        for path in sorted((root / room).rglob("*.py")):
            if path.name == "__main__.py" or '__name__ == "__main__"' in path.read_text(encoding="utf-8"):
                parts = path.relative_to(root).with_suffix("").parts
                found.append(".".join(("instrec_live", *parts)).removesuffix(".__main__"))
    return found


@pytest.mark.parametrize(
    "module",
    [
        pytest.param(each, marks=() if each.rpartition(".")[2] in ("data", "write", "export") else pytest.mark.slow)
        for each in programs()
    ],
)
def test_nor_does_any_program_of_the_package(place, module):
    if module.startswith("instrec_live.training") or "export" in module:
        pytest.importorskip("torch")
    run(place, "-m", module, "--help")


def test_every_process_that_is_started_has_a_safe_path(monkeypatch):
    from instrec_live.models.safe_path import python_command, secure_children

    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    secure_children()
    assert os.environ["PYTHONSAFEPATH"] == "1"
    done = subprocess.run([sys.executable, "-c", "import sys; print(sys.flags.safe_path)"], capture_output=True)
    assert done.stdout.strip() == b"True"
    monkeypatch.delenv("PYTHONSAFEPATH")
    done = subprocess.run(python_command("-c", "import sys; print(sys.flags.safe_path)"), capture_output=True)
    assert done.stdout.strip() == b"True"


def test_only_one_file_makes_command_lines_of_python():
    """What starts a Python process asks `python_command`, which leaves the current folder out."""
    root = Path(__file__).parents[2]
    files = [path for room in ("models", "realtime", "training") for path in (root / room).rglob("*.py")]
    starters = [path.name for path in files if "sys.executable" in path.read_text()]
    assert starters == ["safe_path.py"]
