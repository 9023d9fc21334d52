"""The benchmarks can import all that they use."""

import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parent.parent
SCRIPTS = sorted(path for folder in ("benchmarks", "docs") for path in (CHECKOUT / folder).glob("*.py"))


@pytest.mark.slow
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_it_can_be_imported(script: Path) -> None:
    pytest.importorskip("torch", reason="some benchmarks need [dev]")
    code = "import runpy, sys; sys.path.insert(0, sys.argv[1]); runpy.run_path(sys.argv[2], run_name='imported')"
    words = [sys.executable, "-c", code, str(script.parent), str(script)]
    ended = subprocess.run(words, capture_output=True, text=True, timeout=280, cwd=CHECKOUT)
    assert ended.returncode == 0, ended.stderr
