"""A Python that has torch loaded already, and forks for each command: the seconds of loading are spent once.

A command runs as `python -m MODULE …` does: in a process of its own, with its own folder, streams and exit code.
"""

import json
import os
import runpy
import select
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

LOADED = (
    *("torch", "torch.export", "torch.onnx", "torch.utils.data", "onnxruntime", "onnxscript", "scipy.signal"),
    *("sklearn.metrics", "soundfile", "tqdm", "matplotlib.pyplot", "instrec_live.models.networks.passt"),
)
ENVIRONMENT = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", "MPLBACKEND": "agg"}

Done = subprocess.CompletedProcess[str]


class WarmPython:
    """Runs one command at a time, until `stop`; begins with the first."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="warm-")
        self._server: subprocess.Popen[bytes] | None = None
        self._argv: list[str] = []

    def start(self, module: str, *arguments: object, cwd: Path | None = None) -> int:
        """Start `python -m module arguments`, of which `end` must be asked before the next; its process id."""
        if self._server is None:
            command, pipe = [sys.executable, __file__, self._folder.name], subprocess.PIPE
            self._server = subprocess.Popen(command, bufsize=0, env=os.environ | ENVIRONMENT, stdin=pipe, stdout=pipe)
        self._argv = [module, *map(str, arguments)]
        assert self._server.stdin is not None
        self._server.stdin.write(json.dumps([str(cwd or Path.cwd()), *self._argv]).encode() + b"\n")
        return int(self._answer())

    def runs(self) -> bool:
        """Whether the command that was started has not ended yet."""
        assert self._server is not None
        return not select.select([self._server.stdout], [], [], 0)[0]

    def end(self) -> Done:
        """Wait for its end: what it has said, and its exit code, or minus the signal that ended it."""
        code = int(self._answer())
        stdout, stderr = (Path(self._folder.name, name).read_text() for name in ("stdout", "stderr"))
        return subprocess.CompletedProcess(self._argv, code, stdout, stderr)

    def run(self, module: str, *arguments: object, cwd: Path | None = None, code: int = 0) -> Done:
        """A command from start to end, which must be of this exit code."""
        self.start(module, *arguments, cwd=cwd)
        done = self.end()
        assert done.returncode == code, done.stderr
        return done

    def stop(self) -> None:
        """End the Python."""
        if self._server is not None:
            self._server.communicate(timeout=120)
        self._folder.cleanup()

    def _answer(self) -> bytes:
        assert self._server is not None
        assert self._server.stdout is not None
        return self._server.stdout.readline()


def _serve(folder: str) -> None:
    for name in LOADED:
        __import__(name)
    while line := sys.stdin.readline():
        cwd, *argv = json.loads(line)
        if (pid := os.fork()) == 0:
            os._exit(_become(argv, cwd, folder))  # an orderly end would wait for threads that only the parent has
        print(pid, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _become(argv: list[str], cwd: str, folder: str) -> int:
    """Run the module in the folder `cwd`; its exit code."""
    for number, path in enumerate((os.devnull, f"{folder}/stdout", f"{folder}/stderr")):
        opened = os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        os.dup2(opened, number)
        os.close(opened)
    os.chdir(cwd)
    sys.path[0], sys.argv = cwd, argv
    code = 0
    try:
        runpy.run_module(argv[0], run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stdout.flush()
    sys.stderr.flush()
    return code


if __name__ == "__main__":
    _serve(sys.argv[1])
