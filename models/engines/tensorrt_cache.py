"""Engines that were built for this machine's GPU, kept from run to run in a folder that is the user's alone.

An engine is a program: whoever can write its file makes the user run it. So a file is read only if it is the user's
own, writable by nobody else, no link, and, by its header, the one wanted and complete. All of that is checked before a
byte of it reaches TensorRT.
"""

import hashlib
import json
import logging
import os
import stat
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from instrec_live.models.bundle import Bundle
from instrec_live.models.engines.cuda import GpuError, Identity
from instrec_live.models.engines.tensorrt_build import RECIPE, Built, build, network_for
from instrec_live.models.errors import ModelError
from instrec_live.models.fetch.lock import file_lock
from instrec_live.models.files import atomic_bytes, user_folder

_log = logging.getLogger(__name__)

TIMINGS = "timings"

_MAGIC = b"instrec-live engine 1\n"
_LONGEST_HEADER = 10_000  # bytes
_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


class UnfitError(Exception):
    """The file is not the wanted one, or not complete; the text says why."""


@dataclass(frozen=True, slots=True)
class Key:
    """Identifies an engine: its network and precision, the library, the GPU, the build.

    Attributes:
        model: name, e.g. "passt".
        sha256: of the bundle's model.onnx.
        precision: "fp16" or "fp32"; `TIMINGS` for a timing cache.
        library: the one that built it, with its full version.
        gpu, uuid, capability, driver: the GPU, as `cuda.Identity` has it.
        recipe: version of the build (`tensorrt_build.RECIPE`).
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
        """The file's name."""
        return f"{hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:32]}.engine"

    def of_timings(self) -> "Key":
        """The key of the timing cache of this GPU and library, which all builds share."""
        return replace(self, model="", sha256="", precision=TIMINGS)


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a file: key, size and sha256 of its engine, and when it was built (ISO 8601, UTC)."""

    key: Key
    nbytes: int
    sha256: str
    built: str


def read_engine(path: Path, key: Key) -> bytes:
    """The engine of that key.

    Raises:
        FileNotFoundError: there is none.
        UnfitError: it has another key, is damaged, or cannot be read.
        ModelError: other users own or may write it.
    """
    with _opened(path) as file:
        header = _header(file)
        if header.key != key:
            raise UnfitError("it was built for another model, GPU or TensorRT")
        content = _read(file, -1)
    if len(content) != header.nbytes or hashlib.sha256(content).hexdigest() != header.sha256:
        raise UnfitError("it is truncated or altered")
    return content


def read_header(path: Path) -> Header:
    """The header of a file; raises as `read_engine`."""
    with _opened(path) as file:
        return _header(file)


def write_engine(path: Path, key: Key, content: bytes) -> None:
    """Write an engine completely or not at all, in place of an older one, readable by its owner only.

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
    atomic_bytes(path, _MAGIC + json.dumps(header).encode() + b"\n" + content, private=True)


def check_own(path: Path, status: os.stat_result) -> None:
    """Check that a file or folder is the user's own and that nobody else may write it (not on Windows).

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
    raise ModelError(f"{path} {why}, so no engine is loaded from there: an engine is a program", f"delete {path}")


def _opened(path: Path) -> BinaryIO:
    if path.is_symlink():
        _refuse(path, "is a link")
    # Do not follow a link, nor block on a pipe.
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
            raise UnfitError("it is not a file")
        check_own(path, status)
    except BaseException:
        file.close()
        raise
    return file


def _header(file: BinaryIO) -> Header:
    if _read(file, len(_MAGIC)) != _MAGIC:
        raise UnfitError("it is not an engine file of this program")
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


@dataclass(frozen=True, slots=True)
class Kept:
    """A file of the cache: its size in bytes, and its header; if that is damaged, None and the reason."""

    path: Path
    nbytes: int
    header: Header | None
    damage: str = ""


@dataclass(frozen=True, slots=True)
class EngineCache:
    """The engines in a folder, which is made with the first one."""

    folder: Path

    @classmethod
    def of_user(cls) -> "EngineCache":
        """The one in the user's cache folder."""
        return cls(user_folder("cache") / "engines")

    def load(self, key: Key) -> bytes | None:
        """The engine of that key; None if there is none, or no valid one, which is logged.

        Raises:
            ModelError: other users own or may write the folder or the file.
        """
        if not self._checked():
            return None
        path = self.folder / key.file
        try:
            return read_engine(path, key)
        except FileNotFoundError:
            return None
        except UnfitError as e:
            _log.warning("%s is not used and is built again: %s", path, e)
            return None

    def has(self, key: Key) -> bool:
        """Whether there is an engine of that key, by its header.

        Raises:
            ModelError: other users own or may write the folder or the file.
        """
        try:
            return self._checked() and read_header(self.folder / key.file).key == key
        except (UnfitError, FileNotFoundError):
            return False

    def store(self, key: Key, content: bytes) -> Path | None:
        """Keep an engine, in place of an older one; None if it cannot be written, which is logged.

        Raises:
            ModelError: other users own or may write the folder.
        """
        path = self.folder / key.file
        try:
            self._make()
            write_engine(path, key, content)
        except OSError as e:
            _log.warning("cannot write %s; the engine will be built again next time: %s", path, e.strerror)
            return None
        return path

    @contextmanager
    def build_lock(self) -> Iterator[None]:
        """Allow one build at a time on this machine: builds measure the GPU's speed, and a waiting process may find its
        engine built.

        Raises:
            ModelError: other users own or may write the folder, or it cannot be made or written to.
        """
        with ExitStack() as held:
            try:
                self._make()
                held.enter_context(file_lock(self.folder / ".building.lock"))
            except OSError as e:
                raise ModelError(
                    f"{self.folder}: {e.strerror}", "TensorRT engines are kept there; it must belong to you"
                ) from e
            yield

    def kept(self) -> list[Kept]:
        """All engines, newest first, damaged ones last.

        Raises:
            ModelError: other users own or may write the folder, or a file in it.
        """
        found = [_kept(path) for path in self._files("*.engine")]
        engines = [kept for kept in found if kept.header is None or kept.header.key.precision != TIMINGS]
        return sorted(engines, key=lambda kept: kept.header.built if kept.header else "", reverse=True)

    def clear(self) -> int:
        """Remove all files of the cache; the number of engines removed.

        Raises:
            ModelError: other users own or may write the folder, or a file cannot be removed.
        """
        removed = 0
        for path in [*self._files("*.engine"), *self._files(".*.partial")]:
            removed += path.suffix == ".engine" and not _of_timings(path)
            try:
                path.unlink()  # of a link, the link
            except OSError as e:
                raise ModelError(f"cannot remove {path}: {e.strerror}") from e
        return removed

    def _files(self, pattern: str) -> list[Path]:
        return sorted(self.folder.glob(pattern)) if self._checked() else []

    def _make(self) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            self.folder.mkdir(mode=0o700)
        self._checked()

    def _checked(self) -> bool:
        """Whether the folder exists; ModelError if other users own or may write it."""
        try:
            status = self.folder.lstat()
        except (FileNotFoundError, NotADirectoryError):  # the second: a user without a home
            return False
        if not stat.S_ISDIR(status.st_mode):
            raise ModelError(f"{self.folder} must be the folder of TensorRT engines", f"delete {self.folder}")
        check_own(self.folder, status)
        return True


def _kept(path: Path) -> Kept:
    size = path.lstat().st_size
    try:
        return Kept(path, size, read_header(path))
    except (UnfitError, FileNotFoundError) as e:
        return Kept(path, size, None, str(e))


def _of_timings(path: Path) -> bool:
    try:
        return read_header(path).key.precision == TIMINGS
    except (UnfitError, ModelError, OSError):  # it is removed in any case
        return False


_LINE_EVERY = 10.0  # seconds, in the log
_OUT_OF_MEMORY = ("out of memory", "outofmemory", "memory allocation")


@dataclass(frozen=True, slots=True)
class Stored:
    """A serialised engine.

    Attributes:
        model, precision: of the network.
        engine: its bytes.
        path: its file; None if it could not be written.
        seconds: that the build took; None if it was in the cache.
    """

    model: str
    precision: str
    engine: bytes
    path: Path | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Store:
    """Loads engines from the cache, or builds them.

    Attributes:
        trt: the library.
        logger: from `logger_for`.
        gpu: that they are built for.
        cache: of engines.
    """

    trt: Any
    logger: Any
    gpu: Identity
    cache: EngineCache

    def get(self, bundle: Bundle, precision: str, rebuild: bool = False) -> Stored:
        """The engine of a bundle's network; `rebuild`: even if the cache has it.

        Raises:
            ModelError: TensorRT does not accept the network or cannot build it, or other users may write the cache.
            GpuError: the GPU has too little memory for the build.
        """
        key = self._key(bundle, precision)
        engine = None if rebuild else self.cache.load(key)
        if engine is None:
            with self.cache.build_lock():
                engine = None if rebuild else self.cache.load(key)  # another process may have built it meanwhile
                if engine is None:
                    return self._built(bundle, key)
        return Stored(bundle.name, precision, engine, self.cache.folder / key.file, None)

    def has(self, bundle: Bundle, precision: str) -> bool:
        """Whether the engine of a bundle's network is in the cache.

        Raises:
            ModelError: other users own or may write the cache.
        """
        return self.cache.has(self._key(bundle, precision))

    def _built(self, bundle: Bundle, key: Key) -> Stored:
        _log.info(
            "%s: building its TensorRT engine for %s (%s), once; this takes minutes",
            bundle.name,
            self.gpu.name,
            key.precision,
        )
        began = time.monotonic()
        timings = self.cache.load(key.of_timings()) or b""
        with _Progress(bundle.name) as report:
            built = self._build(bundle, key.precision, timings, report)
        seconds = time.monotonic() - began
        _log.info("%s: built in %.0f s, %.1f MB", bundle.name, seconds, len(built.engine) / 1e6)
        if built.timings:
            self.cache.store(key.of_timings(), built.timings)
        return Stored(bundle.name, key.precision, built.engine, self.cache.store(key, built.engine), seconds)

    def _build(self, bundle: Bundle, precision: str, timings: bytes, report: Callable[[str, int, int], None]) -> Built:
        try:
            return build(self.trt, network_for(bundle.onnx, precision), self.logger, timings, report)
        except ValueError as e:
            raise ModelError(f"{bundle.path}: model.onnx: {e}", "export it again") from e
        except ModelError as e:
            if any(words in e.message.lower() for words in _OUT_OF_MEMORY):  # TensorRT reports it only in the message
                raise GpuError(e.message) from e
            raise ModelError(
                f"{bundle.path}: {e.message}", e.hint or "try --engine onnx, and please report this"
            ) from e

    def _key(self, bundle: Bundle, precision: str) -> Key:
        gpu = {("gpu" if name == "name" else name): value for name, value in asdict(self.gpu).items()}
        library = f"{self.trt.__name__} {self.trt.__version__}"
        return Key(bundle.name, bundle.sha256, precision, library, recipe=RECIPE, **gpu)


class _Progress:
    """Progress of a build: one line on stderr that is updated, if that is a terminal; in the log, a line every 10 s."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._logged = time.monotonic()
        self._drawn = False

    def __enter__(self) -> Callable[[str, int, int], None]:
        return self._report

    def __exit__(self, *_: object) -> None:
        if self._drawn:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)

    def _report(self, phase: str, done: int, steps: int) -> None:
        text = f"{self._model}: building its TensorRT engine (minutes, once): {phase.lower()}, {done} of {steps}"
        if sys.stderr is not None and sys.stderr.isatty():
            print(f"\r\x1b[K{text[:79]}", end="", file=sys.stderr, flush=True)
            self._drawn = True
        if time.monotonic() - self._logged >= _LINE_EVERY:
            self._logged = time.monotonic()
            _log.debug("%s", text)
