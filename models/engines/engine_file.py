"""One engine on disk: a header that says what it is of and for, then the engine.

An engine is a program: whoever can write this file makes its user run it. So it is read only if it is the user's own,
writable by nobody else, no link, and, by its header, what is wanted and whole. All of that is looked at before a byte
of it reaches TensorRT.
"""

import hashlib
import json
import os
import stat
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from instrec_live.models.errors import ModelError

TIMINGS = "timings"

_MAGIC = b"instrec-live engine 1\n"
_LONGEST_HEADER = 10_000  # bytes
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class UnfitError(Exception):
    """The file is not what is wanted, or not whole; the text says how so."""


@dataclass(frozen=True, slots=True)
class Key:
    """What an engine is of and for; where any of these differs, it is another engine.

    Attributes:
        model: name, e.g. "passt".
        sha256: of the bundle's model.onnx.
        precision: "fp16" or "fp32"; `TIMINGS` for what builds learn about the GPU.
        library: that built it, with its full version.
        gpu, uuid, capability, driver: the GPU, as `cuda.Identity` has it.
        recipe: how this program builds.
    """

    model: str
    sha256: str
    precision: str
    library: str
    gpu: str
    uuid: str
    capability: str
    driver: str
    recipe: int

    @property
    def file(self) -> str:
        """Name of its file."""
        return f"{hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:32]}.engine"

    def of_timings(self) -> "Key":
        """The key of what builds learn about this GPU with this library, whatever they build."""
        return replace(self, model="", sha256="", precision=TIMINGS)


@dataclass(frozen=True, slots=True)
class Header:
    """What a file says of itself: its key, the size and sha256 of its engine, and when it was built (ISO 8601, UTC)."""

    key: Key
    nbytes: int
    sha256: str
    built: str


def read(path: Path, key: Key) -> bytes:
    """The engine of that key.

    Raises:
        FileNotFoundError: there is none.
        UnfitError: it is another's, damaged, or cannot be read.
        ModelError: it is not the user's alone.
    """
    with _opened(path) as file:
        header = _header(file)
        if header.key != key:
            raise UnfitError("it is of another model, GPU or TensorRT")
        content = _read(file, -1)
    if len(content) != header.nbytes or hashlib.sha256(content).hexdigest() != header.sha256:
        raise UnfitError("it is cut short or altered")
    return content


def read_header(path: Path) -> Header:
    """What a file says of itself; raises as `read`."""
    with _opened(path) as file:
        return _header(file)


def write(path: Path, key: Key, content: bytes) -> None:
    """Write an engine whole or not at all, in place of what stands there, for its owner's eyes only.

    Raises:
        OSError: it cannot be written.
    """
    made = datetime.now(UTC).isoformat(timespec="seconds")
    header = {
        "key": asdict(key),
        "nbytes": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "built": made,
    }
    # A temporary file is its owner's only.
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=".", suffix=".partial", delete=False) as scratch:
        try:
            scratch.write(_MAGIC + json.dumps(header).encode() + b"\n" + content)
            scratch.flush()
            os.fsync(scratch.fileno())
            scratch.close()
            os.replace(scratch.name, path)
        except BaseException:
            scratch.close()
            with suppress(OSError):
                os.unlink(scratch.name)
            raise


def check_own(path: Path, status: os.stat_result) -> None:
    """Nothing, if a file or folder is the user's own and nobody else may write it; Windows has other means.

    Raises:
        ModelError: it is not.
    """
    if os.name != "posix":
        return
    if status.st_uid != os.geteuid():
        _refuse(path, "belongs to another user")
    if status.st_mode & _OTHERS_WRITE:
        _refuse(path, "can be written by other users")


def _refuse(path: Path, why: str) -> None:
    raise ModelError(f"{path} {why}, so no engine is taken from there: it is a program", f"delete {path}")


def _opened(path: Path) -> BinaryIO:
    if path.is_symlink():
        _refuse(path, "is a link")
    # Neither follow a link nor wait for the other end of a pipe.
    flags = [getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY")]
    try:
        file = os.fdopen(os.open(path, os.O_RDONLY | flags[0] | flags[1] | flags[2]), "rb")
    except FileNotFoundError:
        raise
    except OSError as e:
        raise UnfitError(f"it cannot be read ({e.strerror})") from e
    try:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise UnfitError("it is no file")
        check_own(path, status)
    except BaseException:
        file.close()
        raise
    return file


def _header(file: BinaryIO) -> Header:
    if _read(file, len(_MAGIC)) != _MAGIC:
        raise UnfitError("it does not begin as an engine of this program does")
    try:
        line: dict[str, Any] = json.loads(file.readline(_LONGEST_HEADER))
        key = Key(**line.pop("key"))
        header = Header(key, **line)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as e:
        raise UnfitError("its header is damaged") from e
    if not all(isinstance(getattr(key, f.name), f.type) for f in fields(Key) if isinstance(f.type, type)):
        raise UnfitError("its header is damaged")
    if not isinstance(header.nbytes, int) or not isinstance(header.built, str):
        raise UnfitError("its header is damaged")
    return header


def _read(file: BinaryIO, nbytes: int) -> bytes:
    try:
        return file.read(nbytes)
    except OSError as e:
        raise UnfitError(f"it cannot be read ({e.strerror})") from e
