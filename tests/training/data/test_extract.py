"""Archives, good and wicked: unpacked whole under the target, or refused in one line with nothing left behind."""

import errno
import gzip
import io
import os
import shutil
import stat
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from waiting import wait_for

from instrec_live.models.errors import InputFileError, InstrecError
from instrec_live.models.fetch import download
from instrec_live.training.data import extract as module
from instrec_live.training.data.extract import extract

FILES = {
    "set/readme.txt": b"hello",
    "set/audio/000/a.ogg": np.random.default_rng(0).bytes(300_000),
    "set/audio/001/b (1) - é.ogg": b"",
}


def tar(path: Path, members: dict[str, bytes] | list[tarfile.TarInfo], kind: int = tarfile.GNU_FORMAT) -> Path:
    with tarfile.open(path, "w:gz", format=kind) as archive:
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member, io.BytesIO(bytes(member.size)))
            else:
                info = tarfile.TarInfo(member)
                info.size, info.mode = len(members[member]), 0o6777
                archive.addfile(info, io.BytesIO(members[member]))
    return path


def zipped(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


MAKERS = {"tar": tar, "zip": zipped}


def unpack(archive: Path, to: Path, **changes) -> Path:
    return extract(archive, to, **({"limit": 1 << 20, "members": 20} | changes))


def contents(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def nothing_left(to: Path) -> bool:
    return not to.parent.exists() or list(to.parent.iterdir()) == []


@pytest.fixture
def to(tmp_path: Path) -> Path:
    return tmp_path / "data" / "set"


@pytest.fixture(params=MAKERS)
def make(request: pytest.FixtureRequest):
    return MAKERS[request.param]


def test_unpacking_gives_the_packed_files(tmp_path: Path, to: Path, make) -> None:
    told = []
    assert unpack(make(tmp_path / "a", FILES), to, progress=lambda *at: told.append(at)) == to
    assert contents(to) == {name.removeprefix("set/"): content for name, content in FILES.items()}
    assert [p.name for p in to.parent.iterdir()] == ["set"]
    assert told[-1][0] == told[-1][1]
    assert stat.S_IMODE((to / "readme.txt").stat().st_mode) & 0o7022 == 0  # not the archive's 6777


def test_a_folder_of_another_name_is_kept_within(tmp_path: Path, make) -> None:
    to = unpack(make(tmp_path / "a", FILES), tmp_path / "IRMAS-TestingData-Part1")
    assert contents(to) == FILES


def test_what_a_mac_leaves_is_left_out(tmp_path: Path, to: Path, make) -> None:
    more = FILES | {"__MACOSX/set/._readme.txt": b"x", "set/.DS_Store": b"x"}
    assert len(contents(unpack(make(tmp_path / "a", more), to))) == len(FILES)
    assert (to / "readme.txt").is_file()


def test_folders_and_dots_are_harmless(tmp_path: Path, to: Path) -> None:
    archive = tmp_path / "a"
    with tarfile.open(archive, "w:gz", format=tarfile.PAX_FORMAT) as out:
        for name in (".", "./set", "./set/deep"):
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE
            out.addfile(info)
        info = tarfile.TarInfo("./set/deep/" + "n" * 150)
        info.size = 5
        out.addfile(info, io.BytesIO(b"12345"))
    assert contents(unpack(archive, to)) == {"deep/" + "n" * 150: b"12345"}


def test_a_target_that_is_there_is_left_alone(tmp_path: Path, to: Path, make) -> None:
    to.mkdir(parents=True)
    (to / "mine").write_text("mine")
    with pytest.raises(InputFileError, match="exists already"):
        unpack(make(tmp_path / "a", FILES), to)
    assert contents(to) == {"mine": b"mine"}


def test_the_leavings_of_a_killed_run_are_cleared(tmp_path: Path, to: Path, make) -> None:
    old = to.parent / ".set.partial" / "set"
    old.mkdir(parents=True)
    (old / "half").write_text("half")
    unpack(make(tmp_path / "a", FILES), to)
    assert "half" not in contents(to)
    assert [p.name for p in to.parent.iterdir()] == ["set"]


def test_a_killed_run_leaves_no_half_data_set(tmp_path: Path, to: Path) -> None:
    archive = tar(tmp_path / "a", {f"set/{i}": b"x" * 100 for i in range(200)})
    script = (
        "import sys, time; from pathlib import Path; from instrec_live.training.data.extract import extract\n"
        "extract(Path(sys.argv[1]), Path(sys.argv[2]), limit=10**6, members=300, progress=lambda *at: time.sleep(.01))"
    )
    process = subprocess.Popen([sys.executable, "-c", script, archive, to])
    wait_for(lambda: list(to.parent.glob(".set.partial/set/*")))
    process.kill()
    process.wait()
    assert 0 < len(list(to.parent.glob(".set.partial/set/*"))) < 200
    assert not to.exists()
    assert len(contents(unpack(archive, to, members=300))) == 200
    assert [p.name for p in to.parent.iterdir()] == ["set"]


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("/etc/evil", "absolute"),
        ("C:/evil", "absolute"),
        ("c:evil", "absolute"),
        ("../evil", "leads out"),
        ("set/../../evil", "leads out"),
        ("set/..", "leads out"),
        ("set\\..\\evil", "not a sound file name"),
        ("set/bell\a", "not a sound file name"),
        ("set/two\nlines", "not a sound file name"),
        ("set/" + "n" * 300, "not a sound file name"),
    ],
)
def test_names_that_lead_elsewhere(tmp_path: Path, to: Path, make, name: str, words: str) -> None:
    with pytest.raises(InputFileError, match=words) as caught:
        unpack(make(tmp_path / "a", FILES | {name: b"evil"}), to)
    assert repr(name[:200]) in str(caught.value)
    assert nothing_left(to)
    assert not (tmp_path / "evil").exists()
    assert not (to.parent / "evil").exists()


def test_a_name_with_a_nul(tmp_path: Path, to: Path) -> None:
    archive = zipped(tmp_path / "a", FILES | {"set/good@bad": b""})
    archive.write_bytes(archive.read_bytes().replace(b"good@bad", b"good\0bad"))
    with pytest.raises(InputFileError, match=r"good\\x00bad.*not a sound file name"):
        unpack(archive, to)
    pax = tar(tmp_path / "b", FILES | {"set/good@bad" + "é" * 60: b""}, tarfile.PAX_FORMAT)
    pax.write_bytes(gzip.compress(gzip.decompress(pax.read_bytes()).replace(b"good@bad", b"good\0bad")))
    with pytest.raises(InputFileError):
        unpack(pax, to)
    assert nothing_left(to)


@pytest.mark.parametrize("names", [("set/A", "set/a"), ("set/é", "set/e\u0301"), ("set/a", "set/./a")])
def test_names_that_collide(tmp_path: Path, to: Path, make, names: tuple[str, str]) -> None:
    with pytest.raises(InputFileError, match="is there twice"):
        unpack(make(tmp_path / "a", FILES | dict.fromkeys(names, b"x")), to)
    assert nothing_left(to)


@pytest.mark.parametrize("names", [("set/a", "set/a/b"), ("set/a/b", "set/a")])
def test_a_file_that_is_a_folder_too(tmp_path: Path, to: Path, make, names: tuple[str, str]) -> None:
    with pytest.raises(InputFileError, match="both a file and a folder"):
        unpack(make(tmp_path / "a", FILES | dict.fromkeys(names, b"x")), to)
    assert nothing_left(to)


@pytest.mark.parametrize(
    "kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE, b"Q"]
)
def test_links_and_devices(tmp_path: Path, to: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("set/odd")
    info.type, info.linkname = kind, "/etc/passwd"
    with pytest.raises(InputFileError, match="'set/odd' is a link or a device"):
        unpack(tar(tmp_path / "a", [info]), to)
    assert nothing_left(to)


def test_a_sparse_file(tmp_path: Path, to: Path) -> None:
    info = tarfile.TarInfo("set/holes")
    info.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.map": "0,0",
                        "GNU.sparse.size": str(1 << 40)}  # fmt: skip
    with tarfile.open(tmp_path / "a", "w:gz", format=tarfile.PAX_FORMAT) as out:
        out.addfile(info)
    with pytest.raises(InputFileError, match="not a plain file"):
        unpack(tmp_path / "a", to)


def test_a_link_in_a_zip_file(tmp_path: Path, to: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a", "w") as archive:
        info = zipfile.ZipInfo("set/odd")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(InputFileError, match="'set/odd' is a link or a device"):
        unpack(tmp_path / "a", to)
    assert nothing_left(to)


def test_an_encrypted_zip_file(tmp_path: Path, to: Path) -> None:
    archive = zipped(tmp_path / "a", FILES)
    content = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + offset] |= 1
    archive.write_bytes(content)
    with pytest.raises(InputFileError, match=r"'set/readme\.txt' is encrypted"):
        unpack(archive, to)
    assert nothing_left(to)


# Bombs


def test_more_content_than_published(tmp_path: Path, to: Path, make) -> None:
    archive = make(tmp_path / "a", FILES | {"set/zeros": bytes(2 << 20)})
    assert archive.stat().st_size < 400_000
    with pytest.raises(InputFileError, match="holds more than"):
        unpack(archive, to)
    assert nothing_left(to)
    unpack(archive, to, limit=3 << 20)


def test_more_files_than_published(tmp_path: Path, to: Path, make) -> None:
    with pytest.raises(InputFileError, match="more than 20 files"):
        unpack(make(tmp_path / "a", {f"set/{i}": b"" for i in range(21)}), to)
    assert nothing_left(to)


def test_a_zip_file_that_lies_about_its_size(tmp_path: Path, to: Path) -> None:
    zeros = 4 << 20
    archive = zipped(tmp_path / "a", {"set/zeros": bytes(zeros)})
    archive.write_bytes(archive.read_bytes().replace(zeros.to_bytes(4, "little"), (1000).to_bytes(4, "little")))
    with pytest.raises(InputFileError, match="damaged"):
        unpack(archive, to)
    assert nothing_left(to)


def test_a_header_without_end(tmp_path: Path, to: Path) -> None:
    """A pax header of 8 MB is read into memory by tarfile; it may not grow as it likes."""
    info = tarfile.TarInfo("set/a")
    info.pax_headers = {"comment": "x" * (8 << 20)}
    with tarfile.open(tmp_path / "a", "w:gz", format=tarfile.PAX_FORMAT) as out:
        out.addfile(info)
    with pytest.raises(InputFileError, match="holds more than"):
        unpack(tmp_path / "a", to)
    assert nothing_left(to)


def test_padding_without_end(tmp_path: Path, to: Path) -> None:
    archive = tar(tmp_path / "a", FILES)
    archive.write_bytes(gzip.compress(gzip.decompress(archive.read_bytes()) + bytes(8 << 20)))
    with pytest.raises(InputFileError, match="holds more than"):
        unpack(archive, to)
    assert nothing_left(to)


# Damage


def test_no_archive_at_all(tmp_path: Path, to: Path) -> None:
    for content in (b"", b"<html>404</html>", b"\x1f\x8b", b"\x1f\x8bnot gzip", b"PK\x03\x04nothing", b"PK\x05\x06"):
        (tmp_path / "a").write_bytes(content)
        with pytest.raises(InputFileError):
            unpack(tmp_path / "a", to)
        assert nothing_left(to)
    (tmp_path / "a").write_bytes(gzip.compress(b"text, not tar" * 1000))
    with pytest.raises(InputFileError, match="damaged"):
        unpack(tmp_path / "a", to)
    zipped(tmp_path / "a", {})
    with pytest.raises(InputFileError, match="holds no files"):
        unpack(tmp_path / "a", to)
    assert nothing_left(to)


@pytest.mark.parametrize("share", [0.02, 0.5, 0.9, 0.9999])
def test_a_truncated_archive(tmp_path: Path, to: Path, make, share: float) -> None:
    archive = make(tmp_path / "a", FILES)
    content = archive.read_bytes()
    archive.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputFileError, match=r"damaged or cut short|neither"):
        unpack(archive, to)
    assert nothing_left(to)


@pytest.mark.parametrize("keep", [512, 1024, 1536, 2000, 301_000])
def test_a_tar_file_cut_short_within_sound_gzip(tmp_path: Path, to: Path, keep: int) -> None:
    archive = tar(tmp_path / "a", FILES)
    archive.write_bytes(gzip.compress(gzip.decompress(archive.read_bytes())[:keep]))
    with pytest.raises(InputFileError, match="damaged"):
        unpack(archive, to)
    assert nothing_left(to)


def test_a_damaged_header_within_sound_gzip(tmp_path: Path, to: Path) -> None:
    """tarfile takes it for the end of the archive."""
    archive = tar(tmp_path / "a", FILES)
    content = bytearray(gzip.decompress(archive.read_bytes()))
    content[1024 + 150] ^= 1  # in the second member's header's checksum
    archive.write_bytes(gzip.compress(content))
    with pytest.raises(InputFileError, match="damaged"):
        unpack(archive, to)
    assert nothing_left(to)


def test_any_flipped_bit_is_found_or_harmless(tmp_path: Path, to: Path, make) -> None:
    sound = make(tmp_path / "a", {name: content[:500] for name, content in FILES.items()}).read_bytes()
    rng = np.random.default_rng(0)
    refused = 0
    for _ in range(120):
        content = bytearray(sound)
        content[rng.integers(len(content))] ^= 1 << rng.integers(8)
        (tmp_path / "a").write_bytes(content)
        try:
            unpack(tmp_path / "a", to)
        except InputFileError:
            refused += 1
            assert nothing_left(to)
        else:
            assert sorted(map(len, contents(to).values())) == [0, 5, 500]
            shutil.rmtree(to)
    assert refused > 80


# The disk


def test_the_disk_is_asked_first(tmp_path: Path, to: Path, make, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(download.shutil, "disk_usage", lambda folder: usage(0, 0, 200_000))
    with pytest.raises(InstrecError, match="needed, 200 kB free") as caught:
        unpack(make(tmp_path / "a", FILES), to, estimate=300_000)
    assert caught.value.exit_code == 1
    assert nothing_left(to)


def test_a_disk_that_fills_up(tmp_path: Path, to: Path, make, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(io.FileIO):
        def write(self, block) -> int:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    real = Path.open
    monkeypatch.setattr(
        module.Path, "open", lambda path, mode="r": Full(path, mode) if mode == "xb" else real(path, mode)
    )
    with pytest.raises(InstrecError, match="the disk is full"):
        unpack(make(tmp_path / "a", FILES), to)
    assert nothing_left(to)


def test_two_at_once(tmp_path: Path, to: Path, make) -> None:
    archive = make(tmp_path / "a", FILES)
    said: list[str] = []

    def run() -> None:
        try:
            said.append(str(unpack(archive, to)))
        except InputFileError as error:
            said.append(error.message)

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted("already" in words for words in said) == [False, True, True]
    assert contents(to) == {name.removeprefix("set/"): content for name, content in FILES.items()}
