"""The engine for a bundle on this GPU: the one that is kept, or, once, a fresh one."""

import logging
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from instrec_live.models.bundle import Bundle
from instrec_live.models.engines.cuda import GpuError, Identity
from instrec_live.models.engines.engine_cache import EngineCache
from instrec_live.models.engines.engine_file import Key
from instrec_live.models.engines.tensorrt_build import RECIPE, Built, build, precise
from instrec_live.models.errors import ModelError

_LINE_EVERY = 10.0  # seconds, in the log
_OUT_OF_MEMORY = ("out of memory", "outofmemory", "memory allocation")

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Stored:
    """A serialised engine.

    Attributes:
        model, precision: what it is of.
        engine: its bytes.
        path: where it is kept; None where that failed.
        seconds: that building it took; None if it was there.
    """

    model: str
    precision: str
    engine: bytes
    path: Path | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class Store:
    """Where engines come from.

    Attributes:
        trt: the library.
        logger: from `logger_for` it.
        gpu: that they are for.
        cache: that keeps them.
    """

    trt: Any
    logger: Any
    gpu: Identity
    cache: EngineCache

    def get(self, bundle: Bundle, precision: str, anew: bool = False) -> Stored:
        """The engine of a bundle's network; `anew`: whatever is kept.

        Raises:
            ModelError: TensorRT does not take the network or cannot build it, or the cache is not the user's alone.
            GpuError: the GPU has no memory left for building.
        """
        key = self._key(bundle, precision)
        engine = None if anew else self.cache.load(key)
        if engine is None:
            with self.cache.alone():
                engine = None if anew else self.cache.load(key)  # another process may just have built it
                if engine is None:
                    return self._built(bundle, key)
        return Stored(bundle.name, precision, engine, self.cache.folder / key.file, None)

    def has(self, bundle: Bundle, precision: str) -> bool:
        """Whether the engine of a bundle's network is kept.

        Raises:
            ModelError: the cache is not the user's alone.
        """
        return self.cache.has(self._key(bundle, precision))

    def _built(self, bundle: Bundle, key: Key) -> Stored:
        _log.info(
            "%s: building its TensorRT engine for %s (%s), once: minutes", bundle.name, self.gpu.name, key.precision
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
            return build(self.trt, precise(bundle.onnx, precision), self.logger, timings, report)
        except ValueError as e:
            raise ModelError(f"{bundle.path}: model.onnx: {e}", "export it again") from e
        except ModelError as e:
            if any(words in e.message.lower() for words in _OUT_OF_MEMORY):  # TensorRT says so in words only
                raise GpuError(e.message) from e
            raise ModelError(
                f"{bundle.path}: {e.message}", e.hint or "try --engine onnx, and please report this"
            ) from e

    def _key(self, bundle: Bundle, precision: str) -> Key:
        gpu = {("gpu" if name == "name" else name): value for name, value in asdict(self.gpu).items()}
        library = f"{self.trt.__name__} {self.trt.__version__}"
        return Key(bundle.name, bundle.sha256, precision, library, recipe=RECIPE, **gpu)


class _Progress:
    """How far a build is: a line on stderr that is written over and over, where that is a terminal; in the log, a line
    now and then."""

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
