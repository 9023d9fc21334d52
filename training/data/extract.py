"""Unpacks untrusted archives: only plain files and folders, below the target, of a bounded size.

Owners, permissions and dates in the archive are ignored. Everything is first written to a hidden folder next to the
target, which gets its name when it is complete.
"""

import errno
import gzip
import lzma
import os
import re
import shutil
import stat
import struct
import tarfile
import unicodedata
import zipfile
import zlib
from collections.abc import Generator
from contextlib import closing
from pathlib import Path, PurePosixPath
from typing import BinaryIO, Protocol

from instrec_live.models.errors import InputFileError, InstrecError
from instrec_live.models.fetch.download import Progress, check_space, format_size
from instrec_live.models.fetch.lock import file_lock

_BLOCK = 1 << 18
# What the readers of tar, gzip and zip raise for damaged archives.
_DAMAGED = (
    EOFError, NotImplementedError, ValueError, gzip.BadGzipFile, lzma.LZMAError, struct.error, tarfile.TarError,
    zipfile.BadZipFile, zlib.error,
)  # fmt: skip
_NOT_OURS = ("__MACOSX", ".DS_Store")  # macOS adds these to its zip files


class _Reader(Protocol):
    def read(self, size: int, /) -> bytes: ...


_Member = tuple[str, _Reader | None]  # name in the archive, content; None for a folder


def extract(
    archive: Path,
    to: Path,
    *,
    limit: int,
    members: int,
    estimate: float = 0.0,
    progress: Progress | None = None,
) -> Path:
    """Unpack a .tar.gz or .zip file, completely or not at all.

    Args:
        archive: the file; its format is recognised by content, not by name.
        to: the folder of the content; an only folder of this name in the archive is not nested.
        limit: maximum bytes of content.
        members: maximum number of files and folders.
        estimate: expected bytes of content of a .tar.gz; a .zip file states them.
        progress: called with bytes of the archive or of the content.

    Returns:
        `to`.

    Raises:
        InputFileError: `to` exists, the archive is damaged, or has members that are not allowed.
        InstrecError: too little disk space.
    """
    progress = progress or (lambda done, total: None)
    to.parent.mkdir(parents=True, exist_ok=True)
    staging = to.with_name(f".{to.name}.partial")
    with file_lock(to.with_name(f".{to.name}.lock")):
        if os.path.lexists(to):
            raise InputFileError(f"{to}: exists already", "move it away to unpack the archive again")
        if staging.exists():
            shutil.rmtree(staging)  # of a killed run
        staging.mkdir()
        try:
            _unpack(archive, staging, limit, members, estimate, progress)
            inner = staging / to.name
            (inner if list(staging.iterdir()) == [inner] and inner.is_dir() else staging).rename(to)
        except _DAMAGED as error:
            raise InputFileError(f"{archive}: damaged or cut short: {error}", "fetch it again") from error
        except OSError as error:
            if error.errno == errno.EINVAL:  # an offset before the start of the archive
                raise InputFileError(f"{archive}: damaged: {error.strerror}", "fetch it again") from error
            if error.errno != errno.ENOSPC:
                raise
            raise InstrecError(
                f"{to.parent}: the disk is full", "free some disk space; nothing was left behind"
            ) from error
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return to


def _unpack(archive: Path, staging: Path, limit: int, members: int, estimate: float, progress: Progress) -> None:
    with archive.open("rb") as file:
        magic = file.read(4)
        file.seek(0)
        if magic[:2] == b"\x1f\x8b":
            check_space(staging, estimate)
            content = _tar_members(archive, file, limit, progress)
        elif magic in (b"PK\x03\x04", b"PK\x05\x06"):
            content = _zip_members(archive, file, staging, limit, members, progress)
        else:
            raise InputFileError(f"{archive}: neither a .tar.gz nor a .zip file", "fetch it again")
        taken: set[str] = set()
        with closing(content):
            for count, (name, reader) in enumerate(content):
                if count >= members:
                    raise InputFileError(f"{archive}: more than {members:,} files and folders", "it is not unpacked")
                place = _place(archive, name)
                if reader is not None and not set(place.parts) & set(_NOT_OURS):
                    key = unicodedata.normalize("NFC", place.as_posix()).casefold()
                    if key in taken:
                        raise _refused(archive, name, "is there twice (perhaps in other letter case)")
                    taken.add(key)
                    _write(archive, name, reader, staging / place)
        if not taken:
            raise InputFileError(f"{archive}: holds no files", "it is not the published file")


def _place(archive: Path, name: str) -> PurePosixPath:
    """A member's name, if it is one that stays under the target on every system."""
    if name.startswith("/") or re.match("[A-Za-z]:", name):
        raise _refused(archive, name, "is an absolute path")
    place = PurePosixPath(name)
    if ".." in place.parts:
        raise _refused(archive, name, "leads out of the target")
    odd = "\\" in name or any(unicodedata.category(letter) in ("Cc", "Cs") for letter in name)  # controls, no Unicode
    if odd or not (place.parts or name in (".", "./")):
        raise _refused(archive, name, "is not a sound file name")
    return place


def _write(archive: Path, name: str, reader: _Reader, path: Path) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        target = path.open("xb")
    except (FileExistsError, NotADirectoryError, IsADirectoryError) as error:
        raise _refused(archive, name, "is both a file and a folder") from error
    except OSError as error:
        if error.errno in (errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL):
            raise _refused(archive, name, "is not a sound file name") from error
        raise
    with target:
        while block := reader.read(_BLOCK):
            target.write(block)


class _Bounded:
    """A decompressed stream that raises an error beyond `allowed` bytes."""

    def __init__(self, archive: Path, stream: _Reader) -> None:
        self._archive, self._stream, self._read = archive, stream, 0
        self.allowed = 1 << 20  # the first header, padding, reading ahead

    def read(self, size: int) -> bytes:
        block = self._stream.read(size)
        self._read += len(block)
        if self._read > self.allowed:
            raise _too_much(self._archive, self.allowed)
        return block


def _tar_members(archive: Path, file: BinaryIO, limit: int, progress: Progress) -> Generator[_Member, None, None]:
    whole, declared = archive.stat().st_size, 0
    with gzip.open(file) as stream, tarfile.open(fileobj=(bounded := _Bounded(archive, stream)), mode="r|") as tar:  # type: ignore[call-overload]
        while (member := tar.next()) is not None:
            tar.members.clear()  # otherwise it would keep all members in memory
            if not (member.isdir() or member.isreg()) or member.issparse() or member.size < 0:
                raise _refused(archive, member.name, "is a link or a device, not a plain file")
            declared += member.size
            if declared > limit:
                raise _too_much(archive, limit)
            bounded.allowed += member.size + (1 << 16)  # and the next header with a long name
            yield member.name, tar.extractfile(member)
            progress(file.tell(), whole)
        # tarfile takes any garbage as the end; only zeros up to the end of the gzip stream are valid.
        rest = 0
        while block := tar.fileobj.read(_BLOCK):
            rest += len(block)
            if block.strip(b"\0"):
                raise tarfile.ReadError("garbage between its members")
        if rest < tarfile.BLOCKSIZE:
            raise tarfile.ReadError("it ends too early")


def _zip_members(
    archive: Path, file: BinaryIO, staging: Path, limit: int, members: int, progress: Progress
) -> Generator[_Member, None, None]:
    with zipfile.ZipFile(file) as zipped:
        infos = zipped.infolist()
        declared = sum(info.file_size for info in infos)
        if declared > limit:
            raise _too_much(archive, limit)
        if len(infos) > members:
            raise InputFileError(f"{archive}: more than {members:,} files and folders", "it is not unpacked")
        check_space(staging, declared)
        done = 0
        for info in infos:
            name = info.orig_filename  # zipfile's own ends at a NUL
            if info.flag_bits & 1:
                raise _refused(archive, name, "is encrypted")
            if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise _refused(archive, name, "is a link or a device, not a plain file")
            if info.is_dir():
                yield name, None
                continue
            try:
                with zipped.open(info) as reader:  # reads no more than was declared, then compares the checksum
                    yield name, reader
            except NotImplementedError as error:
                raise _refused(archive, name, f"cannot be unpacked: {error}") from error
            done += info.file_size
            progress(done, declared)


def _refused(archive: Path, name: str, why: str) -> InputFileError:
    return InputFileError(f"{archive}: member {name[:200]!r} {why}", "the archive is not unpacked")


def _too_much(archive: Path, limit: int) -> InputFileError:
    return InputFileError(
        f"{archive}: holds more than {format_size(limit)}", "it is not the published file; not unpacked"
    )
