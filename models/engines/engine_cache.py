"""Engines that were built for this machine's GPU, kept from run to run in a folder that is the user's alone."""

import logging
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from instrec_live.models.engines import engine_file
from instrec_live.models.engines.engine_file import TIMINGS, Header, Key, UnfitError
from instrec_live.models.errors import ModelError
from instrec_live.models.fetch.lock import alone

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kept:
    """A file of the cache: its size in bytes, and its header, or, where that is damaged, None and how so."""

    path: Path
    nbytes: int
    header: Header | None
    damage: str = ""


@dataclass(frozen=True, slots=True)
class EngineCache:
    """The engines in a folder, which is made when the first is kept."""

    folder: Path

    @classmethod
    def of_user(cls) -> "EngineCache":
        """In the user's cache."""
        from platformdirs import user_cache_path

        return cls(user_cache_path("instrec-live") / "engines")

    def load(self, key: Key) -> bytes | None:
        """The engine of that key; None if it must be built: there is none, or, which is logged, not a sound one.

        Raises:
            ModelError: the folder or the file is not the user's alone.
        """
        if not self._checked():
            return None
        path = self.folder / key.file
        try:
            return engine_file.read(path, key)
        except FileNotFoundError:
            return None
        except UnfitError as e:
            _log.warning("%s is not used, and built anew: %s", path, e)
            return None

    def has(self, key: Key) -> bool:
        """Whether there is an engine of that key, by its header.

        Raises:
            ModelError: the folder or the file is not the user's alone.
        """
        try:
            return self._checked() and engine_file.read_header(self.folder / key.file).key == key
        except (UnfitError, FileNotFoundError):
            return False

    def store(self, key: Key, content: bytes) -> Path | None:
        """Keep an engine, whole or not at all, in place of an older one; None, which is logged, where that fails.

        Raises:
            ModelError: the folder is not the user's alone.
        """
        path = self.folder / key.file
        try:
            self._make()
            engine_file.write(path, key, content)
        except OSError as e:
            _log.warning("%s could not be kept, and will be built again next time: %s", path, e.strerror)
            return None
        return path

    @contextmanager
    def alone(self) -> Iterator[None]:
        """One build at a time on this machine: builds measure how fast the GPU is, and who waited may find what it
        wants.

        Raises:
            ModelError: the folder is not the user's alone, or cannot be made or written to.
        """
        with ExitStack() as held:
            try:
                self._make()
                held.enter_context(alone(self.folder / ".building.lock"))
            except OSError as e:
                raise ModelError(f"{self.folder}: {e.strerror}", "it keeps TensorRT's engines and must be yours") from e
            yield

    def kept(self) -> list[Kept]:
        """All engines, newest first, damaged ones last.

        Raises:
            ModelError: the folder, or a file in it, is not the user's alone.
        """
        found = [_kept(path) for path in self._files("*.engine")]
        engines = [kept for kept in found if kept.header is None or kept.header.key.precision != TIMINGS]
        return sorted(engines, key=lambda kept: kept.header.built if kept.header else "", reverse=True)

    def clear(self) -> int:
        """Remove everything that was kept; how many engines that was.

        Raises:
            ModelError: the folder is not the user's alone, or a file cannot be removed.
        """
        removed = 0
        for path in [*self._files("*.engine"), *self._files(".*.partial")]:
            removed += path.suffix == ".engine" and not _of_timings(path)
            try:
                path.unlink()  # of a link, the link
            except OSError as e:
                raise ModelError(f"{path} cannot be removed: {e.strerror}") from e
        return removed

    def _files(self, pattern: str) -> list[Path]:
        return sorted(self.folder.glob(pattern)) if self._checked() else []

    def _make(self) -> None:
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError):
            self.folder.mkdir(mode=0o700)
        self._checked()

    def _checked(self) -> bool:
        """Whether the folder is there, and then the user's alone."""
        try:
            status = self.folder.lstat()
        except FileNotFoundError:
            return False
        if not stat.S_ISDIR(status.st_mode):
            raise ModelError(f"{self.folder} must be a folder for TensorRT's engines", f"delete {self.folder}")
        engine_file.check_own(self.folder, status)
        return True


def _kept(path: Path) -> Kept:
    size = path.lstat().st_size
    try:
        return Kept(path, size, engine_file.read_header(path))
    except (UnfitError, FileNotFoundError) as e:
        return Kept(path, size, None, str(e))


def _of_timings(path: Path) -> bool:
    try:
        return engine_file.read_header(path).key.precision == TIMINGS
    except (UnfitError, ModelError, OSError):  # whatever it is, it goes
        return False
