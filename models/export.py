"""From torch to ONNX: one file for every batch size and every span from 2 to 10 s, checked before writing.

A network that hears patch by patch (patchwise.py) also gives what it made of the patches, "embeddings", and takes what
it made of earlier ones back, "heard", an input that may be left out.

`python -m instrec_live.models.export CHECKPOINT --to FOLDER` writes FOLDER/model.onnx from a checkpoint,
a .pt file of {"name", "config", "state_dict", "provenance"}. `--triton DIR` writes the repository of
a Triton server, from bundles.
"""

import argparse
import copy
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from instrec_live.models.bundle import DEFAULT_MODELS, FRAMES, Bundle
from instrec_live.models.errors import InstrecError, ModelError, UsageError
from instrec_live.models.exportable_gru import OPSET, with_exportable_gru
from instrec_live.models.golden import chord
from instrec_live.models.half_precision import to_half
from instrec_live.models.logmel import N_MELS
from instrec_live.models.networks import build
from instrec_live.models.onnx_file import has_external_data
from instrec_live.models.patchwise import patches

TOLERANCE = 1e-4  # |difference| of logits from torch's
HALF_TOLERANCE = 2e-2
_CONTENT = {"name": str, "config": dict, "state_dict": dict, "provenance": dict}  # of a checkpoint
# What networks make of a configuration that is none, and torch of weights that are another's.
_UNFIT = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
CHECKED_SHAPES = ((1, 1000), (1, 200), (2, 250), (3, 437), (1, 998))  # (batch, frames)


class Checkpoint(dict[str, Any]):
    """What training saves: "name" and "config" for `networks.build`, "state_dict", "provenance"."""


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Read a checkpoint; nothing in it is executed.

    Raises:
        ModelError: missing, unreadable, or not a checkpoint of ours.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as e:
        raise ModelError(f"{path}: not found", "give a checkpoint (.pt) that training has written") from e
    except Exception as e:  # torch raises whatever its unpickler or zip reader met
        raise ModelError(f"{path}: not a readable checkpoint: {first_line(e)}") from e
    if not (
        isinstance(content, dict)
        and all(isinstance(content.get(part), kind) for part, kind in _CONTENT.items())
        and all(isinstance(value, Tensor) for value in content["state_dict"].values())
    ):
        raise ModelError(f"{path}: not a checkpoint of instrec-live (name, config, state_dict, provenance)")
    return Checkpoint(content)


def network_of(checkpoint: Checkpoint) -> nn.Module:
    """The checkpoint's network, in eval mode.

    Raises:
        ModelError: its weights do not fit its configuration.
    """
    try:
        network = build(checkpoint["name"], **checkpoint["config"])
        network.load_state_dict(checkpoint["state_dict"])
    except _UNFIT as e:
        raise ModelError(f"the checkpoint does not fit: {first_line(e)}") from e
    return network.eval()


def first_line(error: Exception) -> str:
    """What is wrong, of the many lines torch says; of an error without words, its kind."""
    return (str(error).strip() or type(error).__name__).split("\n")[0][:160]


def export_onnx(network: nn.Module, path: str | os.PathLike[str], *, tolerance: float = TOLERANCE) -> float:
    """Write a network as ONNX (input "log_mel" float32 [B, 128, T], output "logits" [B, 20], T 200…1000).

    Returns:
        the greatest |difference| of its logits from torch's over `CHECKED_SHAPES`.

    Raises:
        ModelError: it needs other files, or differs by more than the tolerance; nothing is written.
        UsageError: it cannot be written there.
    """
    model = to_onnx(network)
    difference = difference_from_torch(network, model)
    if not difference <= tolerance:
        raise ModelError(f"the ONNX file's logits are {difference:.2g} off torch's (tolerance {tolerance:g})")
    _write(Path(path), model)
    return difference


def _write(path: Path, content: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as scratch:
            fresh = Path(scratch) / path.name
            fresh.write_bytes(content)
            os.replace(fresh, path)
    except OSError as e:
        raise UsageError(f"{path} cannot be written: {e.strerror}") from e


class _Recalling(nn.Module):
    """A patchwise network with a memory.

    (log-mel [B, 128, T], embeddings of the patches before it [B * K, width], K windows' worth from 0 on) -> (logits
    [B, 20] of all patches, embeddings of the new ones [B * (T // 96), width]).
    """

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, log_mel: Tensor, heard: Tensor) -> tuple[Tensor, Tensor]:
        batch, width = log_mel.shape[0], heard.shape[1]
        new = self.network.embed(patches(log_mel))
        known = heard.reshape(batch, heard.shape[0] // batch, width)
        both = torch.cat((known, new.reshape(batch, new.shape[0] // batch, width)), 1)
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
        network = _Recalling(network).eval()
        example += (torch.randn(4, width),)
        shapes += ({0: torch.export.Dim("heard", min=0)},)
    with _quiet(), torch.no_grad():
        program = torch.export.export(
            network, example, dynamic_shapes=shapes, prefer_deferred_runtime_asserts_over_guards=True
        )
        exported = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            external_data=False,
            input_names=["log_mel", "heard"][: len(example)],
            output_names=["logits", "embeddings"][: len(example)],
            dynamic_shapes=shapes,
            verbose=False,
        )
    assert exported is not None
    model = exported.model_proto
    _strip_notes(model)
    if width:  # an input that has a value, none heard, may be left out
        model.graph.initializer.add(name="heard", data_type=1, dims=(0, width))
    content: bytes = model.SerializeToString(deterministic=True)
    if has_external_data(content):
        raise ModelError("the exported network keeps weights in another file")
    return content


def difference_from_torch(network: nn.Module, model: bytes, heard: Sequence[NDArray[np.float32]] = ()) -> float:
    """The greatest |difference| of the file's logits from torch's over noise of `CHECKED_SHAPES` and over what else
    there is to hear, log-mels [128, T]: real sound finds what noise of one loudness does not. NaN if any is."""
    session = _session(model)
    network = copy.deepcopy(network).eval().float().cpu()
    generator = torch.Generator().manual_seed(0)
    differences = []
    noise = [torch.randn(batch, N_MELS, frames, generator=generator) for batch, frames in CHECKED_SHAPES]
    for log_mel in (*noise, *(torch.from_numpy(mels[None]) for mels in heard)):
        with torch.inference_mode():
            expected = network(log_mel).numpy()
        (logits,) = session.run(["logits"], {"log_mel": log_mel.numpy()})
        differences.append(np.abs(logits - expected).max())
    return float(np.max(differences))  # max, unlike Python's, does not lose a NaN


def _session(model: bytes) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3  # it warns of "heard", which may be left out
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
        warnings.simplefilter("ignore")  # torch warns of its own deprecations
        yield


def _bundles(models: Sequence[str]) -> list[Bundle]:
    from instrec_live.models.tagger import folder_of

    return [Bundle.load(folder_of(model)) for model in models]


def _build_engines(models: Sequence[str]) -> int:
    from instrec_live.models.engines.tensorrt import build_ahead

    for stored in build_ahead(_bundles(models)):
        how = "was there" if stored.seconds is None else f"built in {stored.seconds:.0f} s"
        print(f"{stored.model} {stored.precision}: {how}, {len(stored.engine) / 1e6:.1f} MB", file=sys.stderr)
    return 0


def _write_repository(folder: str, models: Sequence[str]) -> int:
    from instrec_live.models.engines.triton_repository import write_repository

    names = write_repository(_bundles(models), folder)
    size = sum(file.stat().st_size for file in Path(folder).rglob("*.onnx"))
    print(f"{folder}: {', '.join(names)}; {size / 1e6:.1f} MB", file=sys.stderr)
    return 0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m instrec_live.models.export", description=__doc__)
    parser.add_argument("checkpoint", nargs="?", help="a .pt file that training wrote")
    parser.add_argument("--to", metavar="FOLDER", help="where model.onnx goes")
    parser.add_argument("--half", action="store_true", help="also write model.fp16.onnx")
    parser.add_argument(
        "--tensorrt",
        nargs="*",
        metavar="BUNDLE",
        help="instead: build the engines of these bundles, by name or folder (the defaults), for this machine's GPU",
    )
    parser.add_argument(
        "--triton",
        nargs="+",
        metavar=("DIR", "BUNDLE"),
        help="instead: write a Triton server's model repository, of these bundles, by name or folder (the defaults)",
    )
    arguments = parser.parse_args(argv)
    given = [arguments.checkpoint, arguments.to]
    instead = [option for option in (arguments.tensorrt, arguments.triton) if option is not None]
    if len(instead) > 1 or (None in given if not instead else given != [None, None]):
        parser.error("give a checkpoint and --to, or --tensorrt, or --triton")
    try:
        if arguments.triton is not None:
            folder, *models = arguments.triton
            return _write_repository(folder, models or DEFAULT_MODELS)
        if arguments.tensorrt is not None:
            return _build_engines(arguments.tensorrt or DEFAULT_MODELS)
        network = network_of(load_checkpoint(arguments.checkpoint))
        target = Path(arguments.to) / "model.onnx"
        difference = export_onnx(network, target)
        if arguments.half:
            half = to_half(target.read_bytes())
            if not difference_from_torch(network, half) <= HALF_TOLERANCE:
                raise ModelError(f"{arguments.checkpoint} loses too much in float16")
            _write(target.with_name("model.fp16.onnx"), half)
    except InstrecError as e:
        print(f"error: {e}", file=sys.stderr)
        return e.exit_code
    print(
        f"{target}: {target.stat().st_size / 1e6:.1f} MB, logits within {difference:.1g} of torch",
        file=sys.stderr,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
