"""Who may import whom: the written contracts, and what a running program really loads."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
DEMO = CHECKOUT / "realtime" / "demo" / "demo.ogg"
HEAVY = (
    "numpy",
    "onnxruntime",
    "openvino",
    "scipy",
    "sounddevice",
    "soundfile",
    "soxr",
    "tensorrt",
    "textual",
    "torch",
)


def loaded_after(code: str, blocked: tuple[str, ...] = ()) -> set[str]:
    """The heavy packages that `code` loads in a fresh interpreter in which `blocked` cannot be imported."""
    script = (
        "import sys, json\n"
        f"for name in {blocked!r}: sys.modules[name] = None\n"
        "try:\n" + "".join(f"    {line}\n" for line in code.splitlines()) + "except SystemExit as end:\n"
        "    assert not end.code, f'exit code {end.code}'\n"
        f"loaded = [name for name in {HEAVY!r} if sys.modules.get(name) is not None]\n"
        "print('\\n' + json.dumps(loaded))\n"
    )
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert run.returncode == 0, run.stderr
    return set(json.loads(run.stdout.splitlines()[-1]))


def command(*arguments: str) -> str:
    lines = [
        f"sys.argv = ['instrec-live', *{arguments!r}]",
        "from instrec_live.realtime.cli import main",
        "sys.exit(main())",
    ]
    return "\n".join(lines)


@pytest.mark.parametrize("option", ["--help", "--version"])
def test_help_and_version_load_nothing_heavy(option: str) -> None:
    assert loaded_after(command(option)) == set()


LIGHT = ["instrec_live.models", "instrec_live.realtime", "instrec_live.realtime.stream.update"]


@pytest.mark.parametrize("package", LIGHT)
def test_importing_a_package_is_light(package: str) -> None:
    assert loaded_after(f"import {package}") == set()


def test_a_run_without_screen_loads_neither_screen_nor_microphone_nor_torch() -> None:
    loaded = loaded_after(command("--demo", "--no-ui", "--json", "--pace", "max", "--duration", "3"))
    assert "onnxruntime" in loaded
    assert not loaded & {"textual", "sounddevice", "torch"}


def test_tagger_and_stream_work_without_torch() -> None:
    loaded = loaded_after(
        "import numpy as np\n"
        "from instrec_live import Tagger\n"
        "from instrec_live import Stream\n"
        "tags = Tagger.load().tag(np.zeros(64_000, np.float32), 32_000)\n"
        "assert np.isfinite(tags.probabilities).all()\n"
        f"with Stream(file={str(DEMO)!r}, pace='max', duration=3.0) as stream:\n"
        "    assert len(list(stream)) == 6",
        blocked=("torch", "torchaudio", "hear21passt", "textual"),
    )
    assert "onnxruntime" in loaded


def test_import_contracts_hold(tmp_path: Path) -> None:
    pytest.importorskip("importlinter", reason="import-linter is not installed: pip install '.[dev]'")
    # A plain copy is found after every kind of install; the linter cannot see through an editable finder.
    for package in ("models", "realtime", "training"):
        shutil.copytree(
            CHECKOUT / package,
            tmp_path / "instrec_live" / package,
            ignore=lambda folder, names: [
                name for name in names if not (name.endswith(".py") or (Path(folder) / name).is_dir())
            ],
        )
    run = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
            "--config",
            str(CHECKOUT / "pyproject.toml"),
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "0 broken" in run.stdout
