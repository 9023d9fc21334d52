"""From a bundle's network to a serialised TensorRT engine.

The library comes as an argument: the tests build with its sibling for RTX cards, which needs no GPU for that.
"""

from dataclasses import dataclass
from typing import Any

from instrec_live.models.bundle import FRAMES
from instrec_live.models.engines.tensorrt_listeners import Report, monitor_for, undisturbed
from instrec_live.models.errors import ModelError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import N_MELS, PATCH

BATCHES = (1, 16)
RECIPE = 1  # of all that follows: raise it when an engine would come out otherwise, and kept ones are built anew

_WORKSPACE = 1 << 30  # bytes that a single layer may use while it works


@dataclass(frozen=True, slots=True)
class Built:
    """An engine, serialised, and what was learnt about the GPU's speed on the way, for the next build."""

    engine: bytes
    timings: bytes


def precise(onnx: bytes, precision: str) -> bytes:
    """The network as TensorRT takes it: a strongly typed file, whose float type is the precision, "fp16" or "fp32".

    Raises:
        ValueError: not an ONNX network that gives logits.
    """
    from instrec_live.models.half_precision import to_half
    from instrec_live.models.onnx_trim import trimmed

    return to_half(onnx) if precision == "fp16" else trimmed(onnx)


def build(trt: Any, onnx: bytes, logger: Any, timings: bytes = b"", report: Report | None = None) -> Built:
    """Build an engine for batches 1…16 of 96…1000 frames, fastest for one window of 10 s.

    Args:
        trt: the library.
        onnx: from `precise`.
        logger: from `logger_for` the same library.
        timings: of an earlier build on this GPU; what does not fit is left aside.
        report: told how far it is.

    Raises:
        ModelError: TensorRT does not take the network, or fails to build it.
    """
    with undisturbed():
        built = _build(trt, onnx, logger, timings, report)
    logger.happened.raise_what_happened()
    if isinstance(built, ModelError):
        raise built
    return built


def _build(trt: Any, onnx: bytes, logger: Any, timings: bytes, report: Report | None) -> Built | ModelError:
    """An error is returned, for one that is raised would keep the builder alive in its traceback."""
    builder = trt.Builder(logger)
    network = builder.create_network()
    parser = trt.OnnxParser(network, logger)
    if not parser.parse(onnx):
        return ModelError(f"TensorRT does not take the network: {_first_error(parser)}", "run it with --engine onnx")
    wrong = _wrong_faces(trt, network)
    if wrong is not None:
        return wrong
    config = builder.create_builder_config()
    config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, _WORKSPACE)
    config.clear_flag(trt.BuilderFlag.TF32)  # float32 is meant to be float32
    config.max_aux_streams = 0  # the networks share one stream
    config.add_optimization_profile(_profile(builder))
    _use_timings(config, timings)
    if report is not None:
        config.progress_monitor = monitor_for(trt, report, logger.happened)
    logger.last_error = ""
    engine = builder.build_serialized_network(network, config)
    if engine is None:
        return ModelError(f"TensorRT could not build an engine: {logger.last_error or 'it does not say why'}")
    learnt = config.get_timing_cache()
    return Built(bytes(engine), bytes(learnt.serialize()) if learnt else b"")


def shape(batch: int, frames: int) -> tuple[int, int, int]:
    """Of log_mel."""
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


def _wrong_faces(trt: Any, network: Any) -> ModelError | None:
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
        [("log_mel", trt.DataType.FLOAT, (N_MELS,))],
        [("logits", trt.DataType.FLOAT, (len(INSTRUMENTS),))],
    ]
    if faces == expected:
        return None
    return ModelError(
        f"the network maps {faces[0]} to {faces[1]}",
        f"it must map log_mel float [B, {N_MELS}, T] to logits float [B, {len(INSTRUMENTS)}]",
    )


def _first_error(parser: Any) -> str:
    errors = [parser.get_error(i) for i in range(parser.num_errors)]
    return " ".join(str(errors[0].desc()).split())[:200] if errors else "it does not say why"
