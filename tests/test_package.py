"""Builds the wheel and checks what it installs into site-packages."""

import importlib.metadata
import shutil
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parent.parent
MODELS = ("passt", "cbam_cnn", "ms_crnn")
LIMIT = 45_000_000  # bytes


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    pytest.importorskip("build", reason="build is not installed: pip install '.[test]'")
    try:
        setuptools = int(importlib.metadata.version("setuptools").partition(".")[0])
    except importlib.metadata.PackageNotFoundError:
        setuptools = 0
    if setuptools < 77:
        pytest.skip("setuptools >= 77 is not installed, and without it a build would need the network")
    # A copy, so that an old build/ folder in the checkout cannot leak into the wheel.
    source = tmp_path_factory.mktemp("source")
    for name in ("src", "models", "realtime", "training"):
        shutil.copytree(CHECKOUT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(CHECKOUT / name, source / name)
    out = tmp_path_factory.mktemp("wheel")
    call = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source)]
    run = subprocess.run(call, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout + run.stderr
    return zipfile.ZipFile(next(out.glob("*.whl")))


def test_the_wheel_owns_one_name(wheel: zipfile.ZipFile) -> None:
    tops = {name.partition("/")[0] for name in wheel.namelist()}
    assert {top for top in tops if not top.endswith(".dist-info")} == {"instrec_live"}
    inside = {name.split("/")[1] for name in wheel.namelist() if name.startswith("instrec_live/")}
    assert inside == {"__init__.py", "py.typed", "models", "realtime", "training"}


def test_the_wheel_is_complete(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for package in ("models", "realtime", "training"):
        assert f"instrec_live/{package}/py.typed" in names
    for name in ("demo.ogg", "timeline.json", "CREDITS.md"):
        assert f"instrec_live/realtime/demo/{name}" in names
    assert "instrec_live/training/data/demo_files.txt" in names
    assert any(name.startswith("instrec_live/realtime/tui/") and name.endswith(".tcss") for name in names)
    assert "instrec_live/models/bundles/ensemble.json" in names
    for model in MODELS:
        for name in ("model.onnx", "manifest.json", "golden.npz", "MODEL_CARD.md"):
            assert f"instrec_live/models/bundles/{model}/{name}" in names
    licences = {name.rpartition("/")[2] for name in names if ".dist-info/licenses/" in name}
    assert licences == {"LICENSE", "NOTICE"}


def test_the_wheel_has_every_python_file(wheel: zipfile.ZipFile) -> None:
    names = set(wheel.namelist())
    for package in ("models", "realtime", "training"):
        for path in (CHECKOUT / package).rglob("*.py"):
            assert f"instrec_live/{path.relative_to(CHECKOUT).as_posix()}" in names, (
                "add its folder to pyproject's packages"
            )


def test_the_wheel_is_small(wheel: zipfile.ZipFile) -> None:
    assert sum(entry.file_size for entry in wheel.infolist()) < LIMIT


def test_every_package_is_listed() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    found = {
        "instrec_live." + ".".join(path.parent.relative_to(CHECKOUT).parts)
        for package in ("models", "realtime", "training")
        for path in (CHECKOUT / package).rglob("__init__.py")
    }
    assert set(project["tool"]["setuptools"]["packages"]) == found | {"instrec_live"}


def test_every_public_name_can_be_imported_and_none_is_loaded_before() -> None:
    program = (
        "import sys, instrec_live\n"
        "heavy = {'numpy', 'onnxruntime', 'textual', 'torch'} & set(sys.modules)\n"
        "names = [name for name in instrec_live.__all__ if getattr(instrec_live, name) is None]\n"
        "print(sorted(heavy), names, set(instrec_live.__all__) - set(dir(instrec_live)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "[] [] set()\n", done.stderr
