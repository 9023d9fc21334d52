"""Files that others wrote, and users without a home."""

import os
import shutil
import subprocess
import sys
import tempfile
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile
from tiny_bundle import write_tiny

from instrec_live.models.files import as_utf8, atomic_folder, read_regular
from instrec_live.realtime.commands.tag.find import find
from instrec_live.realtime.config.file import table
from instrec_live.realtime.errors import InputFileError, UsageError


@pytest.mark.skipif(os.name != "posix", reason="pipes and devices of POSIX")
def test_only_regular_files_are_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.txt")
    (tmp_path / "zero.txt").symlink_to("/dev/zero")
    for name in ("pipe.txt", "zero.txt"):
        with pytest.raises(OSError, match="not a regular file"):
            read_regular(tmp_path / name)
        with pytest.raises(InputFileError, match="not a regular file"):
            find([tmp_path / name])
        with pytest.raises(UsageError, match="not a regular file"):
            table(tmp_path / name)


def test_a_file_of_another_size_is_refused(tmp_path: Path) -> None:
    (tmp_path / "large").write_bytes(bytes(11))
    assert len(read_regular(tmp_path / "large", 11)) == 11
    with pytest.raises(OSError, match="larger than"):
        read_regular(tmp_path / "large", 10)


def test_an_older_folder_stays_if_its_successor_cannot_take_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "head.npz").write_bytes(b"older")

    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "move", interrupted)
    with pytest.raises(KeyboardInterrupt), atomic_folder(tmp_path / "mine") as fresh:
        (fresh / "head.npz").write_bytes(b"newer")
    assert (tmp_path / "mine" / "head.npz").read_bytes() == b"older"
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]


def test_reading_takes_the_memory_of_the_file_not_of_the_limit(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(bytes(11))
    tracemalloc.start()
    try:
        read_regular(tmp_path / "small", 2_000_000_000)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_lists_and_settings_as_powershell_writes_them(tmp_path: Path, encoding: str) -> None:
    assert as_utf8("é\r\n".encode(encoding)) == "é\r\n".encode()
    (tmp_path / "list.txt").write_bytes("a é.wav\r\nb.wav\r\n".encode(encoding))
    assert [item.name for item in find([tmp_path / "list.txt"]).items] == ["a é.wav", "b.wav"]
    (tmp_path / "config.toml").write_bytes("hop = 1.0\r\n".encode(encoding))
    assert table(tmp_path / "config.toml") == {"hop": 1.0}


@pytest.mark.skipif(not shutil.which("setpriv") or os.geteuid() != 0, reason="needs setpriv, and to be root")
@pytest.mark.parametrize("home", [{}, {"HOME": "/root"}], ids=["no home", "another's"])
def test_a_user_who_may_write_nothing_but_the_output(home: dict[str, str]) -> None:
    """The user and the environment of a container that runs as any number; who may read, for Python may be root's."""
    shared = Path(tempfile.mkdtemp())
    write_tiny(shared / "one", "one")
    soundfile.write(shared / "good.wav", np.zeros(32_000, np.float32), 16_000)
    (shared / "out").mkdir()
    os.chown(shared / "out", 12345, 12345)
    user = "setpriv --reuid=12345 --regid=12345 --clear-groups --inh-caps=+dac_read_search"
    argv = [*user.split(), "--ambient-caps=+dac_read_search", sys.executable, "-m", "instrec_live.realtime"]
    argv += ["--models", "../one", "--file", "../good.wav", "--pace", "max", "--engine", "onnx", "-q", "--no-ui"]
    done = subprocess.run(
        [*argv, "-o", "a.png", "-o", "a.jsonl"],
        cwd=shared / "out", env={"PATH": os.environ["PATH"], **home}, capture_output=True, text=True,
    )  # fmt: skip
    written = sorted(path.name for path in (shared / "out").iterdir())
    shutil.rmtree(shared)
    assert done.returncode == 0, done.stderr
    assert written == ["a.jsonl", "a.png"]
    assert len(done.stderr.splitlines()) == (0 if home else 1), done.stderr


@pytest.mark.skipif(os.name != "posix", reason="users of POSIX")
@pytest.mark.parametrize("words", ["--print-config", "--no-config --engines list"])
def test_a_user_without_a_home(tmp_path: Path, words: str) -> None:
    """As in a container that runs as any number, which no line of /etc/passwd names."""
    program = (
        "import pwd, sys\n"
        "def nobody(number): raise KeyError(number)\n"
        "pwd.getpwuid = nobody\n"
        f"from instrec_live.realtime.cli import main; sys.exit(main({words.split()!r}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("no home folder") == 1
    assert list(tmp_path.iterdir()) == []
