"""From torch to ONNX: one file for every batch size and every span from 2 to 10 s, checked before writing.

A patchwise network (patchwise.py) has a second output, "embeddings", of its patches, and an optional second input,
"heard", the cached embeddings of earlier patches.

A checkpoint is a .pt file of {"name", "config", "state_dict", "provenance"}.
"""

import copy
import os
import re
import statistics
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from instrec_live.models.bundle import CACHED_EMBEDDINGS, FRAMES
from instrec_live.models.errors import ModelError, cannot_write
from instrec_live.models.files import atomic_bytes
from instrec_live.models.logmel import N_MELS, chord
from instrec_live.models.networks.patchwise import patches
from instrec_live.models.networks.registry import build
from instrec_live.models.onnx_file import has_external_data

TOLERANCE = 1e-4  # |difference| of logits from torch's
FP16_TOLERANCE = 0.1  # mn04's logits reach ±10; measured on 20 clips: .05 of the instruments', .07 of other sounds'
_CONTENT = {"name": str, "config": dict, "state_dict": dict, "provenance": dict}  # of a checkpoint
# What networks raise for a wrong configuration, and torch for weights of another network.
_UNFIT = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
CHECKED_SHAPES = ((1, 1000), (1, 200), (2, 250), (3, 437), (1, 998))  # (batch, frames)


class Checkpoint(dict[str, Any]):
    """A training checkpoint: "name" and "config" for `networks.registry.build`, "state_dict", "provenance"."""


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint; no code in it is executed.

    Raises:
        ModelError: missing, unreadable, or not a checkpoint of instrec-live.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as e:
        raise ModelError(f"{path}: not found", "give a checkpoint (.pt) written by training") from e
    except Exception as e:  # torch passes on any error of its unpickler or zip reader
        raise ModelError(f"{path}: not a readable checkpoint: {first_line(e)}") from e
    if not (
        isinstance(content, dict)
        and all(isinstance(content.get(part), kind) for part, kind in _CONTENT.items())
        and all(isinstance(value, Tensor) for value in content["state_dict"].values())
    ):
        raise ModelError(f"{path}: not a checkpoint of instrec-live (name, config, state_dict, provenance)")
    content["state_dict"] = {_key_of_today(key): value for key, value in content["state_dict"].items()}
    return Checkpoint(content)


def _key_of_today(key: str) -> str:
    """The name of a weight whose module had another name in the checkpoints of 2026."""
    for old, new in (("bridge.", "mel_adapter."), ("words.", "audioset_head.")):
        key = re.sub(rf"(^|\.){re.escape(old)}", rf"\g<1>{new}", key)
    return key


def network_of(checkpoint: Checkpoint) -> nn.Module:
    """The checkpoint's network, in eval mode.

    Raises:
        ModelError: its weights do not fit its configuration.
    """
    try:
        network = build(checkpoint["name"], **checkpoint["config"])
        own = network.state_dict()
        later = {name: own[name] for name in own if name.startswith("audioset.fitted.")}  # 0.2.0's have none
        network.load_state_dict(later | checkpoint["state_dict"])
    except _UNFIT as e:
        raise ModelError(f"the checkpoint does not fit: {first_line(e)}") from e
    return network.eval()


def first_line(error: Exception) -> str:
    """The first line of a torch error, or the error's class if it has no message."""
    return (str(error).strip() or type(error).__name__).split("\n")[0][:160]


def export_onnx(network: nn.Module, path: str | os.PathLike[str], *, tolerance: float = TOLERANCE) -> float:
    """Write a network as ONNX (input "log_mel" float32 [B, 128, T], output "logits" [B, 20], T 200…1000).

    Returns:
        the greatest |difference| of its logits from torch's over `CHECKED_SHAPES`.

    Raises:
        ModelError: it needs external files, or differs by more than the tolerance; nothing is written.
        UsageError: it cannot be written there.
    """
    model = to_onnx(network)
    difference = difference_from_torch(network, model)
    if not difference <= tolerance:
        raise ModelError(f"the ONNX file's logits are {difference:.2g} off torch's (tolerance {tolerance:g})")
    write(Path(path), model)
    return difference


def write(path: Path, content: bytes) -> None:
    """Write a file completely or not at all, and make its folder.

    Raises:
        UsageError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_bytes(path, content)
    except OSError as e:
        raise cannot_write(path, e) from e


class _WithCachedEmbeddings(nn.Module):
    """A patchwise network with an input for cached embeddings.

    (log-mel [B, 128, T], embeddings [B * K, width] of the K patches before it, K >= 0) -> (logits [B, 20] of all
    patches, embeddings [B * (T // 96), width] of the new ones).
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, log_mel: Tensor, cached: Tensor) -> tuple[Tensor, Tensor]:
        batch, width = log_mel.shape[0], cached.shape[1]
        new = self.network.embed(patches(log_mel))
        earlier = cached.reshape(batch, cached.shape[0] // batch, width)
        both = torch.cat((earlier, new.reshape(batch, new.shape[0] // batch, width)), 1)
        return self.network.classify(both), new


def to_onnx(network: nn.Module) -> bytes:
    """The network in eval mode as the bytes of an ONNX file, unchecked."""
    network = with_exportable_gru(copy.deepcopy(network).eval().float().cpu())
    low, high = FRAMES
    example: tuple[Tensor, ...] = (torch.randn(2, N_MELS, 400),)
    batch, time = torch.export.Dim("batch"), torch.export.Dim("time", min=low, max=high)
    shapes: tuple[dict[int, Any], ...] = ({0: batch, 2: time},)
    width = getattr(network, "width", 0)
    if width:
        network = _WithCachedEmbeddings(network).eval()
        example += (torch.randn(4, width),)
        shapes += ({0: torch.export.Dim(CACHED_EMBEDDINGS, min=0)},)
    with _quiet(), torch.no_grad():
        program = torch.export.export(
            network, example, dynamic_shapes=shapes, prefer_deferred_runtime_asserts_over_guards=True
        )
        exported = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
            input_names=["log_mel", CACHED_EMBEDDINGS][: len(example)],
            output_names=["logits", "embeddings"][: len(example)],
            dynamic_shapes=shapes,
            verbose=False,
        )
    assert exported is not None
    model = exported.model_proto
    _strip_notes(model)
    if width:  # with an initial value, no embeddings, the input is optional
        model.graph.initializer.add(name=CACHED_EMBEDDINGS, data_type=1, dims=(0, width))
    content: bytes = model.SerializeToString(deterministic=True)
    if has_external_data(content):
        raise ModelError("the exported network has weights in another file")
    return content


def difference_from_torch(network: nn.Module, model: bytes, log_mels: Sequence[NDArray[np.float32]] = ()) -> float:
    """The greatest |difference| of the file's logits from torch's, over noise of `CHECKED_SHAPES` and over the given
    log-mels [128, T] (real audio shows differences that noise of one level does not). NaN if any logit is NaN."""
    session = _session(model)
    network = copy.deepcopy(network).eval().float().cpu()
    generator = torch.Generator().manual_seed(0)
    differences = []
    noise = [torch.randn(batch, N_MELS, frames, generator=generator) for batch, frames in CHECKED_SHAPES]
    for log_mel in (*noise, *(torch.from_numpy(mels[None]) for mels in log_mels)):
        with torch.inference_mode():
            expected = network(log_mel).numpy()
        (logits,) = session.run(["logits"], {"log_mel": log_mel.numpy()})
        differences.append(np.abs(logits - expected).max())
    return float(np.max(differences))  # unlike Python's max, it returns NaN if there is one


def _session(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # it warns about the optional input
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def milliseconds(model: bytes, seconds: float, times: int = 15) -> float:
    """What a window of so many seconds costs on one core of this machine: the median of some runs in ONNX Runtime."""
    session = _session(model)
    window = {"log_mel": chord(seconds)[None]}
    session.run(None, window)
    taken = []
    for _ in range(times):
        began = time.perf_counter()
        session.run(None, window)
        taken.append(time.perf_counter() - began)
    return 1000 * statistics.median(taken)


def _strip_notes(model: Any) -> None:
    """Remove the exporter's notes: stack traces with this machine's paths."""
    graph = model.graph
    for message in (
        model,
        graph,
        *graph.node,
        *graph.input,
        *graph.output,
        *graph.initializer,
        *graph.value_info,
    ):
        message.ClearField("metadata_props")
        message.ClearField("doc_string")


@contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns about its own deprecated calls
        yield


OPSET = 18


def with_exportable_gru(network: nn.Module) -> nn.Module:
    """The network with its GRUs replaced by modules that are exported as one node per layer.

    Raises:
        ModelError: a GRU is not bidirectional, batch first, with biases.
    """
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.GRU):
            network.set_submodule(name, _OnnxGru(module))
    return network


class _OnnxGru(nn.Module):
    """ONNX's GRU in place of torch's, which torch.export would unroll; both directions, batch first, one node per
    layer."""

    def __init__(self, gru: nn.GRU) -> None:
        super().__init__()
        if not (gru.bidirectional and gru.batch_first and gru.bias):
            raise ModelError(f"cannot export {gru}: only bidirectional, batch first, with biases")
        self.hidden = gru.hidden_size
        self.layers = nn.ModuleList(nn.ParameterList(gru_layer_parts(gru, layer)) for layer in range(gru.num_layers))

    def forward(self, sequence: Tensor) -> tuple[Tensor, None]:
        batch, time, _ = sequence.shape
        for parts in self.layers:
            out = torch.onnx.ops.symbolic(
                "GRU",
                (sequence.transpose(0, 1), *cast("nn.ParameterList", parts)),
                attrs={"hidden_size": self.hidden, "direction": "bidirectional", "linear_before_reset": 1},
                dtype=sequence.dtype,
                shape=(time, 2, batch, self.hidden),
                version=OPSET,
            )
            sequence = out.permute(2, 0, 1, 3).flatten(2)
        return sequence, None


def gru_layer_parts(gru: nn.GRU, layer: int) -> list[Tensor]:
    """ONNX's W [2, 3 H, in], R [2, 3 H, H] and B [2, 6 H] of one layer."""
    weight_ih, weight_hh, bias_ih, bias_hh = (
        torch.stack([_gates_zrn(getattr(gru, f"{name}_l{layer}{side}").detach()) for side in ("", "_reverse")])
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    return [weight_ih, weight_hh, torch.cat((bias_ih, bias_hh), dim=1)]


def _gates_zrn(weights: Tensor) -> Tensor:
    """torch's gate order (reset, update, new) -> ONNX's (update, reset, new)."""
    reset, update, new = weights.chunk(3)
    return torch.cat((update, reset, new))


_SMALLEST = 1024  # values; below, the cast would cost more than it saves


@torch.no_grad()
def round_to_fp16(network: nn.Module) -> nn.Module:
    """Round the network's matrices and kernels, in place, to float16 values; returns the network."""
    for parameter in network.parameters():
        if parameter.dim() > 1:
            parameter.copy_(parameter.half().float())
    return network


def pack_fp16_weights(model: bytes) -> bytes:
    """The same ONNX network with large weights that are float16 values stored as float16: half the size on disk.

    Engines fold the casts when they load the file, so the arithmetic and its speed are unchanged.
    """
    import onnx
    from onnx import helper, numpy_helper

    proto = onnx.load_model_from_string(model)
    graph, casts = proto.graph, []
    for initializer in graph.initializer:
        if initializer.data_type != onnx.TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(initializer)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if values.size < _SMALLEST or not np.array_equal(half.astype(np.float32), values):
            continue
        name = initializer.name
        initializer.CopyFrom(numpy_helper.from_array(half, f"{name}_half"))
        casts.append(helper.make_node("Cast", [f"{name}_half"], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)
    packed: bytes = proto.SerializeToString(deterministic=True)
    return packed
