"""Engines that are kept: whose they are, whether they are whole, and what is done with those that are not."""

import dataclasses
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from instrec_live.models.engines import tensorrt_cache
from instrec_live.models.engines.tensorrt_cache import EngineCache, Key
from instrec_live.models.errors import ModelError

KEY = Key(
    model="passt",
    sha256="ab" * 32,
    precision="fp16",
    library="tensorrt 11.4.0.106",
    gpu="NVIDIA H100",
    uuid="01" * 16,
    capability="9.0",
    driver="13.0",
    recipe=1,
)
ENGINE = bytes(range(256)) * 40
posix = pytest.mark.skipif(os.name != "posix", reason="owners and permissions are POSIX's")


@pytest.fixture
def cache(tmp_path):
    return EngineCache(tmp_path / "instrec-live" / "engines")


@pytest.fixture
def kept(cache):
    """The file of an engine that is kept."""
    return cache.store(KEY, ENGINE)


def test_a_stored_engine_is_loaded_again(cache, kept):
    assert cache.load(KEY) == ENGINE
    assert kept.parent == cache.folder
    assert EngineCache(cache.folder / "nowhere").load(KEY) is None


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(Key)])
def test_every_part_of_the_key_counts(cache, kept, field, caplog):
    old = getattr(KEY, field)
    other = dataclasses.replace(KEY, **{field: old + 1 if isinstance(old, int) else f"{old}x"})
    assert other.file != KEY.file
    assert cache.load(other) is None
    assert not caplog.records, "there is none: nothing to complain about"
    kept.rename(kept.with_name(other.file))
    assert cache.load(other) is None
    assert "is not used and is built again: it was built for another model, GPU or TensorRT" in caplog.text


def test_models_of_any_name_are_kept_in_the_folder(cache):
    path = cache.store(dataclasses.replace(KEY, model="../../etc/passwd"), ENGINE)
    assert path.parent == cache.folder


@posix
def test_only_the_owner_can_read_it(cache):
    before = os.umask(0)
    try:
        path = cache.store(KEY, ENGINE)
    finally:
        os.umask(before)
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


HARM = {
    "cut short": lambda content: content[:-1],
    "cut in the header": lambda content: content[:40],
    "empty": lambda content: b"",
    "longer": lambda content: content + b"x",
    "a bit flipped": lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:],
    "another format": lambda content: b"ftrt" + content,
    "no JSON": lambda content: content.replace(b"{", b"[", 1),
    "another size": lambda content: content.replace(b'"nbytes": 10240', b'"nbytes": "many"'),
    "no key": lambda content: content.replace(b'"key"', b'"kye"'),
    "nested deeply": lambda content: tensorrt_cache._MAGIC + b"[" * 9_000 + b"\n",
    "a header without end": lambda content: tensorrt_cache._MAGIC + b"x" * 20_000,
}


@pytest.mark.parametrize("harm", HARM)
def test_a_damaged_engine_is_not_used(cache, kept, harm, caplog):
    kept.write_bytes(HARM[harm](kept.read_bytes()))
    assert cache.load(KEY) is None
    (record,) = caplog.records
    assert record.getMessage().startswith(f"{kept} is not used and is built again: ")
    assert "\n" not in record.getMessage()
    cache.store(KEY, ENGINE)
    assert cache.load(KEY) == ENGINE


@posix
@pytest.mark.parametrize("what", ["folder", "file"])
@pytest.mark.parametrize("mode", [0o020, 0o002, 0o022])
def test_what_others_may_write_is_refused(cache, kept, what, mode):
    path = cache.folder if what == "folder" else kept
    path.chmod(path.stat().st_mode | mode)
    with pytest.raises(ModelError, match=f"{path} can be written by other users.* — delete {path}$") as caught:
        cache.load(KEY)
    assert caught.value.exit_code == 5


@posix
def test_what_belongs_to_another_is_refused(cache, kept, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: kept.stat().st_uid + 1)
    for use in (lambda: cache.load(KEY), lambda: cache.store(KEY, ENGINE), cache.kept, cache.clear):
        with pytest.raises(ModelError, match=f"{cache.folder} belongs to another user"):
            use()
    with pytest.raises(ModelError, match=f"{kept} belongs to another user"):
        tensorrt_cache.read_engine(kept, KEY)


@posix
def test_links_are_refused(cache, kept, tmp_path):
    real = kept.rename(tmp_path / "elsewhere.engine")
    kept.symlink_to(real)
    with pytest.raises(ModelError, match=f"{kept} is a link, .* — delete {kept}"):
        cache.load(KEY)
    assert cache.clear() == 1
    assert real.exists(), "of a link, the link is removed"
    moved = cache.folder.rename(tmp_path / "engines")
    cache.folder.symlink_to(moved)
    with pytest.raises(ModelError, match=f"{cache.folder} must be the folder"):
        cache.load(KEY)


@posix
def test_a_pipe_in_place_of_an_engine_is_refused_without_waiting(cache, kept, caplog):
    kept.unlink()
    os.mkfifo(kept, 0o600)
    assert cache.load(KEY) is None
    assert "it is not a file" in caplog.text


def test_an_interrupted_write_leaves_what_was_there(cache, kept, monkeypatch):
    def die(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", die)
    with pytest.raises(KeyboardInterrupt):
        cache.store(KEY, b"half")
    assert cache.load(KEY) == ENGINE
    assert list(cache.folder.iterdir()) == [kept]


def test_a_full_disk_does_not_end_the_run(cache, kept, monkeypatch, caplog):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    assert cache.store(KEY, b"new") is None
    assert "the engine will be built again next time: No space left on device" in caplog.text
    assert list(cache.folder.iterdir()) == [kept]


def test_a_lock_that_cannot_be_made_is_one_line(cache, kept):
    (cache.folder / ".building.lock").mkdir()
    with (
        pytest.raises(ModelError, match="Is a directory — TensorRT engines are kept there; it must belong to you"),
        cache.build_lock(),
    ):
        pass


def test_an_error_under_the_lock_is_not_reported_as_the_folders(cache):
    with pytest.raises(OSError, match="of the build"), cache.build_lock():
        raise OSError(5, "of the build")


def test_killed_while_it_writes(cache, kept):
    """kill -9 at the worst moment: what was there before is whole."""
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from instrec_live.models.engines import tensorrt_cache\n"
        "os.fsync = lambda _: os.kill(os.getpid(), getattr(signal, 'SIGKILL', signal.SIGTERM))\n"
        "path = Path(sys.argv[1])\n"
        "tensorrt_cache.write_engine(path, tensorrt_cache.read_header(path).key, b'new' * 10_000)\n"
    )
    run = subprocess.run([sys.executable, "-c", program, kept], check=False)
    assert run.returncode != 0
    assert cache.load(KEY) == ENGINE
    assert len(list(cache.folder.iterdir())) == 2, "half a file, under no engine's name"
    assert cache.clear() == 1
    assert list(cache.folder.iterdir()) == []


def test_listed_newest_first_and_timings_not(cache, monkeypatch):
    cache.store(KEY, ENGINE)
    cache.store(KEY.of_timings(), b"timings")
    other = cache.store(dataclasses.replace(KEY, model="ms_crnn"), ENGINE)
    other.write_bytes(b"not one")
    first, second = cache.kept()
    assert first.header.key == KEY
    assert (second.header, second.path) == (None, other)
    assert second.damage == "it is not an engine file of this program"
    assert cache.clear() == 2
    assert cache.kept() == []


def program(tmp_path, *arguments):
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path), "HOME": str(tmp_path), "LOCALAPPDATA": str(tmp_path)}
    call = [sys.executable, "-m", "instrec_live.realtime", *arguments]
    return subprocess.run(call, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def users(tmp_path, monkeypatch):
    for name in ("XDG_CACHE_HOME", "HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path))
    return EngineCache.of_user()


def test_the_command_lists_and_clears(users, tmp_path):
    users.store(KEY, ENGINE)
    listed = program(tmp_path, "--engines")
    header = users.kept()[0].header
    assert listed.returncode == 0
    assert listed.stdout == f"passt: fp16, NVIDIA H100, tensorrt 11.4.0.106, 0.0 MB, {header.built[:10]}\n"
    assert listed.stderr == f"engines kept: 1, 0.0 MB, in {users.folder}\n"
    (record,) = json.loads(program(tmp_path, "--engines", "--json").stdout)
    assert record["gpu"] == "NVIDIA H100"
    assert record["bytes"] > len(ENGINE)
    cleared = program(tmp_path, "--engines", "clear")
    assert (cleared.returncode, cleared.stdout, cleared.stderr) == (0, "", f"1 engine removed from {users.folder}\n")
    empty = program(tmp_path, "--engines", "list")
    assert (empty.returncode, empty.stdout, empty.stderr) == (0, "", f"engines kept: none in {users.folder}\n")
    assert program(tmp_path, "--engines", "clear").stderr == f"no engines removed from {users.folder}\n"


@posix
def test_the_command_s_mistakes_are_one_line(users, tmp_path):
    wrong = program(tmp_path, "--engines", "burn")
    assert wrong.returncode == 2
    assert len(wrong.stderr.splitlines()) == 1
    users.store(KEY, ENGINE)
    users.folder.chmod(0o777)
    refused = program(tmp_path, "--engines")
    assert refused.returncode == 5
    assert refused.stderr.count("\n") == 1
    assert f"{users.folder} can be written by other users" in refused.stderr


def test_listing_loads_no_engine(users, tmp_path):
    code = (
        "import sys; from instrec_live.realtime.cli import main; main(['--engines'])\n"
        "sys.exit(any(name in sys.modules for name in ('onnxruntime', 'tensorrt', 'cuda', 'textual', 'torch')))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    assert Path(users.folder).exists() is False, "looking makes no folder"
