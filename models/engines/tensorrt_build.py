"""From a bundle's network to a serialised TensorRT engine.

The library comes as an argument: the tests build with its sibling for RTX cards, which needs no GPU for that.

TensorRT calls its logger and its progress monitor from C++ that does not handle Python exceptions: one that escaped
would end the process. An exception in such a call (also Ctrl-C) is stored; `raise_stored` raises it afterwards.
"""

import gc
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from instrec_live.models.audioset import OTHER_SOUNDS
from instrec_live.models.bundle import FRAMES
from instrec_live.models.errors import ModelError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import N_MELS, PATCH

Report = Callable[[str, int, int], None]  # phase, steps done, total steps

_log = logging.getLogger(__name__)


class _Collector:
    """Pauses Python's garbage collector as long as any caller needs that."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pauses = 0
        self._ran = True

    @contextmanager
    def paused(self) -> Iterator[None]:
        with self._lock:
            if self._pauses == 0:
                self._ran = gc.isenabled()
            self._pauses += 1
            gc.disable()
        try:
            yield
        finally:
            with self._lock:
                self._pauses -= 1
                if self._pauses == 0 and self._ran:
                    gc.enable()


# Hold it around calls in which TensorRT may call back. It calls back with its lock held; if the collector ran then and
# freed a builder or an engine, that would wait for the same lock forever.
gc_paused = _Collector().paused


class StoredError:
    """An exception of a callback, to be raised after the call."""

    def __init__(self) -> None:
        self._error: BaseException | None = None

    def __bool__(self) -> bool:
        return self._error is not None

    def keep(self, error: BaseException) -> None:
        self._error = self._error or error

    def raise_stored(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error


def logger_for(trt: Any) -> Any:
    """A `trt.ILogger` that writes to Python's logging, at DEBUG, and never to a terminal.

    Its `last_error` is the text of the latest error or "", its `stored_error` a `StoredError`.
    """
    severity = trt.ILogger.Severity

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.last_error = ""
            self.stored_error = StoredError()

        def log(self, level: Any, message: str) -> None:
            try:
                if level in (severity.INTERNAL_ERROR, severity.ERROR):
                    self.last_error = " ".join(message.split())[:300]
                if level != severity.VERBOSE:  # thousands of lines a build
                    _log.debug("%s: %s", level.name.lower().replace("_", " "), message)
            except BaseException as e:
                self.stored_error.keep(e)

    return Logger()


def monitor_for(trt: Any, report: Report, stored_error: StoredError) -> Any:
    """A `trt.IProgressMonitor` that reports the steps of the outermost phases, and stops the build once an exception is
    stored."""

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            try:
                if not parent_phase:
                    self._steps[phase_name] = num_steps
                    report(phase_name, 0, num_steps)
            except BaseException as e:
                stored_error.keep(e)

        def step_complete(self, phase_name: str, step: int) -> bool:
            try:
                if phase_name in self._steps:
                    report(phase_name, step + 1, self._steps[phase_name])
            except BaseException as e:
                stored_error.keep(e)
            return not stored_error

        def phase_finish(self, phase_name: str) -> None:
            try:
                self._steps.pop(phase_name, None)
            except BaseException as e:
                stored_error.keep(e)

    return Monitor()


BATCHES = (1, 16)
RECIPE = 1  # version of the build below: raise it when engines would differ, and cached ones are built again

_WORKSPACE = 1 << 30  # bytes of scratch memory for a single layer


@dataclass(frozen=True, slots=True)
class Built:
    """A serialised engine, and the timing cache of its build, which speeds up the next one."""

    engine: bytes
    timings: bytes


def network_for(onnx: bytes, precision: str) -> bytes:
    """The network for TensorRT, a strongly typed file whose float type is the precision, "fp16" or "fp32".

    Raises:
        ValueError: not an ONNX network with the output logits.
    """
    from instrec_live.models.onnx_graph import to_fp16, trimmed

    return to_fp16(onnx) if precision == "fp16" else trimmed(onnx)


def build(trt: Any, onnx: bytes, logger: Any, timings: bytes = b"", report: Report | None = None) -> Built:
    """Build an engine for batches 1…16 of 96…1000 frames, fastest for one window of 10 s.

    Args:
        trt: the library.
        onnx: from `network_for`.
        logger: from `logger_for` the same library.
        timings: of an earlier build on this GPU; ignored if they do not fit.
        report: called with the progress.

    Raises:
        ModelError: TensorRT does not accept the network, or fails to build it.
    """
    with gc_paused():
        built = _build(trt, onnx, logger, timings, report)
    logger.stored_error.raise_stored()
    if isinstance(built, ModelError):
        raise built
    return built


def _build(trt: Any, onnx: bytes, logger: Any, timings: bytes, report: Report | None) -> Built | ModelError:
    """Errors are returned: a raised one would keep the builder alive in its traceback."""
    builder = trt.Builder(logger)
    network = builder.create_network()
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx):
        return ModelError(f"TensorRT does not accept the network: {_first_error(parser)}", "run it with --engine onnx")
    wrong = _wrong_signature(trt, network)
    if wrong is not None:
        return wrong
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, _WORKSPACE)
    config.clear_flag(trt.BuilderFlag.TF32)  # float32 must not become TF32
    config.max_aux_streams = 0  # the networks share one stream
    config.add_optimization_profile(_profile(builder))
    _use_timings(config, timings)
    if report is not None:
        config.progress_monitor = monitor_for(trt, report, logger.stored_error)
    logger.last_error = ""
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        return ModelError(f"TensorRT could not build an engine: {logger.last_error or 'no reason given'}")
    learnt = config.get_timing_cache()
    return Built(bytes(engine), bytes(learnt.serialize()) if learnt else b"")


def shape(batch: int, frames: int) -> tuple[int, int, int]:
    """The shape of log_mel."""
    return batch, N_MELS, frames


def _profile(builder: Any) -> Any:
    profile = builder.create_optimization_profile()
    low, high = shape(BATCHES[0], PATCH), shape(BATCHES[1], FRAMES[1])
    profile.set_shape("log_mel", low, shape(1, FRAMES[1]), high)
    return profile


def _use_timings(config: Any, timings: bytes) -> None:
    cache = config.create_timing_cache(timings)
    if cache is None or not config.set_timing_cache(cache, False):
        config.set_timing_cache(config.create_timing_cache(b""), False)


def _wrong_signature(trt: Any, network: Any) -> ModelError | None:
    for output in [network.get_output(i) for i in range(network.num_outputs)]:
        if output.name != "logits":
            network.unmark_output(output)
    faces = [
        [(face.name, face.dtype, tuple(face.shape)[1:2]) for face in tensors]
        for tensors in (
            [network.get_input(i) for i in range(network.num_inputs)],
            [network.get_output(i) for i in range(network.num_outputs)],
        )
    ]
    expected = [
        [[("log_mel", trt.DataType.FLOAT, (N_MELS,))], [("logits", trt.DataType.FLOAT, (classes,))]]
        for classes in (len(INSTRUMENTS), len(INSTRUMENTS) + len(OTHER_SOUNDS))
    ]
    if faces in expected:
        return None
    return ModelError(
        f"the network maps {faces[0]} to {faces[1]}",
        f"it must map log_mel float [B, {N_MELS}, T] to logits float [B, {len(INSTRUMENTS)}]",
    )


def _first_error(parser: Any) -> str:
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    return " ".join(str(errors[0].desc()).split())[:200] if errors else "no reason given"
