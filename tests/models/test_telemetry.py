"""Libraries keep to themselves: none puts files into the home folder, or opens a connection, because networks run."""

import os
import subprocess
import sys
from pathlib import Path

QUIET = {"ORT_DISABLE_TELEMETRY", "ORT_RUNNING_UNIT_TESTS", "CI", "GITHUB_ACTIONS"}  # what keeps it quiet anyway
PROGRAM = """
import os
from pathlib import Path
from instrec_live.models import Tagger
tagger = Tagger.load(engine="onnx")
import numpy as np
tagger.tag(np.zeros(32_000, np.float32), 32_000)
folder = Path("/proc/self/fd")
if folder.exists():
    for each in folder.iterdir():
        if each.exists() or each.is_symlink():
            print(os.readlink(each))
"""


def test_onnx_runtime_comes_without_its_telemetry(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path), "USERPROFILE": str(tmp_path), "XDG_CACHE_HOME": str(tmp_path / "cache")}
    environment = {name: value for name, value in os.environ.items() if name not in QUIET}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], env=environment | home, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    assert "socket" not in done.stdout
    assert str(tmp_path) not in done.stdout
    assert [str(path) for path in tmp_path.rglob("*") if "icrosoft" in str(path) or "onnx" in str(path)] == []
