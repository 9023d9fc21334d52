"""The child of fuzz.py: feeds inputs to the program's own readers, and says of each how it ended.

    python benchmarks/fuzz_child.py MODULE KIND SEED FIRST LAST FOLDER

MODULE has `KINDS`, by name: `prepare()` once, then `check()` if it has one, which raises if what is undamaged cannot be
used within the limit on memory, then `run(rng)` for each input, in FOLDER, which is all that may be
written. On stdout, JSON: the number of an input before it is tried, and how it ended after it.
"""

import ctypes
import json
import logging
import os
import re
import resource
import sys
import threading
import time
import traceback
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

ROOM = 1 << 30  # bytes that it may take beyond what it has to begin with
LARGEST_FILE = 256 << 20  # bytes
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_ALTERS = {  # audit event -> which of its arguments are paths that it alters
    "os.mkdir": (0,), "os.rename": (0, 1), "os.remove": (0,), "os.rmdir": (0,), "os.link": (1,), "os.symlink": (1,),
    "os.truncate": (0,), "os.chmod": (0,), "os.chown": (0,), "shutil.rmtree": (0,), "shutil.move": (0, 1),
}  # fmt: skip
_NEVER = ("subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "pickle.find_class", "os.forkpty")


class Guard:
    """Notes what an input has made the program do that no input may; writing outside the folder is also stopped."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._on = folder.resolve(), False
        self.breaches: list[str] = []
        self.where = ""  # the last of them came from
        sys.addaudithook(self._heard)

    def watch(self, on: bool) -> None:
        self._on = on

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._on:
            return
        before = len(self.breaches)
        try:
            self._refuse(event, arguments)
        finally:
            if len(self.breaches) > before:
                self.where = "".join(traceback.format_stack()[-9:-1])

    def _refuse(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event in _NEVER:
            self.breaches.append(f"{event} {arguments[:1]!r}")
            raise PermissionError(event)
        if event == "open":
            path, mode, flags = arguments
            altered = [path] if flags & _WRITES or any(letter in (mode or "") for letter in "wax+") else []
        else:
            altered = [arguments[i] for i in _ALTERS.get(event, ())]
        for path in altered:
            if isinstance(path, str | bytes | os.PathLike) and not self._inside(os.fsdecode(path)):
                self.breaches.append(f"{event} {os.fsdecode(path)!r}")
                raise PermissionError(event)

    def _inside(self, path: str) -> bool:
        try:
            real = Path(path).resolve()
        except (OSError, ValueError, RuntimeError):
            return True  # no such path can be
        return real == Path(os.devnull) or real.is_relative_to(self._folder)


class Stream:
    """Where a descriptor of this process leads from now on, and what native code has written there."""

    def __init__(self, descriptor: int, path: Path) -> None:
        self.name, self._path, self._read = path.stem, path, 0
        os.dup2(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND), descriptor)

    def written(self) -> bytes:
        """Since the last call."""
        ctypes.CDLL(None).fflush(None)
        content = self._path.read_bytes()[self._read :]
        self._read += len(content)
        return content


def outcome(kind: Any, rng: np.random.Generator) -> tuple[str, bool, str]:
    """How an input ends, in words without what is different in each; whether that is a defect; more of it if so."""
    from instrec_live.models.errors import InstrecError

    try:
        return _alike(kind.run(rng) or "fine"), False, ""
    except InstrecError as error:
        line = str(error)
        told = f"{type(error).__name__} ({error.exit_code}): {_alike(error.message)}"
        return told, error.exit_code == 1 or "\n" in line or not error.message, line[:300]
    except BaseException as error:
        return f"{type(error).__name__}: {_alike(str(error))}", True, traceback.format_exc()[-2_500:]


def _alike(words: str) -> str:
    """Words without the names, numbers and quotations of one input."""
    words = re.sub(r"/?(?:[\w.\-]*/)+[\w.\-]*|'(?:[^'\\]|\\.)*'|\"[^\"]*\"", "…", words)
    words = re.sub(r"-?\d[\d.e+\-]*|\b(?:nan|inf)\b", "#", "".join(c if c.isprintable() else "?" for c in words))
    return words[:120]


def size(field: str) -> int:
    """A figure of this process out of /proc, bytes."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(field)]
    return int(line.split()[1]) * 1024


def main() -> None:
    module, name, seed, first, last, folder = sys.argv[1:7]
    kind = import_module(module).KINDS[name]
    logging.getLogger("instrec_live").addHandler(logging.NullHandler())  # its warnings are no library's noise
    say = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_RDWR), 0)
    streams = [Stream(descriptor, Path(folder) / file) for descriptor, file in ((1, "stdout.txt"), (2, "stderr.txt"))]
    os.chdir(folder)
    kind.prepare()
    resource.setrlimit(resource.RLIMIT_AS, (size("VmSize") + ROOM,) * 2)
    resource.setrlimit(resource.RLIMIT_FSIZE, (LARGEST_FILE,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if hasattr(kind, "check"):
        kind.check()
    guard, idle = Guard(Path(folder)), threading.active_count()
    for number in range(int(first), int(last)):
        print(json.dumps({"begun": number}), file=say)
        Path("/proc/self/clear_refs").write_text("5")  # resets the peak
        before, wall, cpu = size("VmRSS"), time.monotonic(), time.process_time()
        guard.watch(True)
        how, defect, more = outcome(kind, np.random.default_rng([int(seed), *name.encode(), number]))
        guard.watch(False)
        wall, cpu = time.monotonic() - wall, time.process_time() - cpu
        for stream in streams:
            if noise := stream.written():
                how, defect, more = (
                    f"{stream.name} gets {noise[:40].decode(errors='replace')!r} after {how}",
                    True,
                    more,
                )
        if guard.breaches:
            how, defect, more = f"breach: {_alike(guard.breaches[0])}", True, "; ".join([*guard.breaches, guard.where])
            guard.breaches.clear()
        grown = max(0, size("VmHWM") - before) / 1e6
        done = {"number": number, "outcome": how, "defect": defect, "more": more}
        print(json.dumps(done | {"seconds": wall, "cpu": cpu, "grown_mb": grown}), file=say)
        if threading.active_count() > idle:  # something was given up, and may still be at work
            return


if __name__ == "__main__":
    main()
