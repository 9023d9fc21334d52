"""Initial weights of a network: from another run, a public checkpoint, or YAMNet.

YAMNet's weights (AudioSet, Apache-2.0, The TensorFlow Authors) are a .npz of `convs.<i>.weight|bias` and
`head.weight|bias`, batch norms folded in; a class map csv with `display_name` is next to it.
"""

import copy
import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast
from zipfile import BadZipFile

import numpy as np
import torch
from torch import nn

from instrec_live.models.bundle import Bundle
from instrec_live.models.calibration import Platt
from instrec_live.models.catalog import CHECKPOINTS, fetch_checkpoint
from instrec_live.models.errors import InputFileError, InstrecError, ModelError, UsageError
from instrec_live.models.export.public_passt import read_state_dict
from instrec_live.models.export.to_onnx import gru_layer_parts, load_checkpoint, to_onnx
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.networks.cbam_cnn import CbamCnn, MobileNetTrunk
from instrec_live.models.networks.mobilenet import MelAdapter, Separable
from instrec_live.models.networks.passt import Passt

# Weights that depend on the classes, which differ between tasks and versions.
HEADS = ("head.", "head_dist.", "attention.", "log_sharpness", "audioset.fitted.")


def take_over(network: nn.Module, path: Path) -> str:
    """Load the weights of a checkpoint of instrec-live, or of a bare state dict as PaSST's authors publish theirs;
    returns a line that describes them. A head for other classes than the network's stays random.

    Raises:
        ModelError: unreadable, or of another network: a weight is missing or has another shape.
    """
    try:
        state = load_checkpoint(path)["state_dict"]
    except ModelError as error:
        try:
            state = read_state_dict(path)
        except ModelError:
            raise error from None
    return fill(network, state, str(path))


def is_mn04(path: Path) -> bool:
    """Whether a file holds mn04's weights: an .npz, or EfficientAT's own state dict."""
    if path.suffix == ".npz" or not path.is_file():
        return path.suffix == ".npz"
    try:
        return "features.0.0.weight" in read_state_dict(path)
    except ModelError:
        return False


@torch.no_grad()
def begin_with_bundle(network: nn.Module, bundle: Bundle, calibrated: bool = True) -> None:
    """Begin with the weights of a bundle's ONNX file, for a network of the same shape.

    The exporter transposes, folds, renames and shares tensors. So the network is exported with a known value in each of
    its weights; where that value appears in the graph, the bundle has the weight.

    Args:
        network: one that ships, with the configuration of the bundle.
        bundle: exported by this program.
        calibrated: the scale and bias of the bundle's calibration become part of the weights.

    Raises:
        ModelError: of another network.
    """
    probe = copy.deepcopy(network)
    generator = torch.Generator().manual_seed(0)
    for parameter in probe.parameters():
        parameter.copy_(torch.rand(parameter.shape, generator=generator) + 0.5)
    for module in probe.modules():
        if isinstance(module, nn.BatchNorm2d):  # folded into a convolution, it leaves the convolution's weights alone
            nn.init.constant_(module.weight, 2)
            nn.init.zeros_(cast("torch.Tensor", module.running_mean))
            nn.init.constant_(cast("torch.Tensor", module.running_var), 4 - module.eps)
    pairs = _constants_of(to_onnx(probe), bundle.onnx)
    found = {}
    for name, value in probe.state_dict().items():
        for known, wanted in pairs:
            if (weight := _as_stored(value, known, wanted)) is not None:
                found[name] = weight
                break
    for name, module in probe.named_modules():
        if isinstance(module, nn.BatchNorm2d) and f"{name}.running_var" not in found:  # folded into a convolution
            folded = {key: value for key, value in module.state_dict().items() if key != "bias"}
            found |= {f"{name}.{key}": value for key, value in folded.items()}
        if isinstance(module, nn.GRU):
            found |= {f"{name}.{key}": value for key, value in _gru_weights(module, pairs).items()}
    if isinstance(probe, Passt):  # the sum of token and position is stored
        tokens = torch.cat((probe.cls_token, probe.dist_token), 1) + probe.new_pos_embed
        stored = next((w for known, wanted in pairs if (w := _as_stored(tokens, known, wanted)) is not None), None)
        if stored is not None:
            found |= {"cls_token": stored[:, :1], "dist_token": stored[:, 1:]}
            found["new_pos_embed"] = torch.zeros_like(stored)
    own = network.state_dict()
    # What does not reach the logits, as PaSST's second head, stays as it is.
    unused = {name for name in own if name.startswith("head_dist.") or name.endswith("num_batches_tracked")}
    if wrong := [
        key for key, value in own.items() if key not in unused and (key not in found or found[key].shape != value.shape)
    ]:
        raise ModelError(f"{bundle.path}: its weights do not fit this network: {len(wrong)} of {len(own)}, {wrong[0]}")
    network.load_state_dict(found, strict=False)
    if calibrated:
        fold(network, bundle.calibration)


def _constants_of(known: bytes, wanted: bytes) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The constants of two exports of one network, in pairs; none, if the graphs differ."""
    one, other = (_inputs(content) for content in (known, wanted))
    if [kind for kind, _ in one] != [kind for kind, _ in other]:
        return []
    return [
        (a, b)
        for (_, mine), (_, theirs) in zip(one, other, strict=True)
        for a, b in zip(mine, theirs, strict=True)
        if a is not None and b is not None and a.shape == b.shape
    ]


def _inputs(content: bytes) -> list[tuple[str, list[torch.Tensor | None]]]:
    """Of every node of an ONNX graph, but the casts of stored weights: its kind, and its inputs that are constant."""
    import onnx  # part of [train]; only beginning with a bundle needs it
    from onnx import numpy_helper

    graph = onnx.load_from_string(content).graph
    stored = {each.name: torch.from_numpy(numpy_helper.to_array(each).copy()) for each in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type == "Cast" and node.input[0] in stored:
            stored[node.output[0]] = stored[node.input[0]].float()
        else:
            nodes.append((node.op_type, [stored.get(name) for name in node.input]))
    return nodes


def _as_stored(value: torch.Tensor, known: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor | None:
    """`wanted` in the form of `value`, if `known` is `value` as the exporter may have changed it."""
    if value.numel() != known.numel() or not (value.is_floating_point() and known.is_floating_point()):
        return None
    if torch.allclose(known.reshape(value.shape), value, rtol=1e-5, atol=1e-6):
        return wanted.reshape(value.shape)
    if value.dim() == 2 and known.shape == value.T.shape and torch.allclose(known, value.T, rtol=1e-5, atol=1e-6):
        return wanted.T.contiguous()
    if torch.allclose(known.reshape(value.shape), value.exp(), rtol=1e-5, atol=1e-6):
        return wanted.reshape(value.shape).log()
    return None


def _gru_weights(gru: nn.GRU, pairs: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> dict[str, torch.Tensor]:
    """torch's weights of a GRU out of ONNX's."""
    out = {}
    for layer in range(gru.num_layers):
        parts = [
            next((wanted for known, wanted in pairs if known.shape == part.shape and torch.allclose(known, part)), None)
            for part in gru_layer_parts(gru, layer)
        ]
        if any(part is None for part in parts):
            continue
        weight_ih, weight_hh, bias = cast("list[torch.Tensor]", parts)
        bias_ih, bias_hh = bias.chunk(2, 1)
        named = {"weight_ih": weight_ih, "weight_hh": weight_hh, "bias_ih": bias_ih, "bias_hh": bias_hh}
        for name, both in named.items():
            for side, each in zip(("", "_reverse"), both, strict=True):
                update, reset, new = each.chunk(3)
                out[f"{name}_l{layer}{side}"] = torch.cat((reset, update, new))
    return out


@torch.no_grad()
def fold(network: Any, calibration: Platt) -> None:
    """Make the scale and bias of a calibration part of the network's weights."""
    scale, bias = torch.from_numpy(calibration.scale.copy()), torch.from_numpy(calibration.bias.copy())
    if not isinstance(network, CbamCnn):
        last = network.head if isinstance(network.head, nn.Linear) else network.head[-1]
        last.weight.mul_(scale[:, None])
        last.bias.mul_(scale)
        network.audioset.scale.mul_(scale)
        network.audioset.bias.mul_(scale).add_(bias)
        network.audioset.log_sharpness.sub_(scale.log())
        return
    for layer in (network.head.linear, network.head.more):
        layer.weight.mul_(scale[:, None])
        layer.bias.mul_(scale)
    network.log_sharpness.sub_(scale.log())
    network.head.linear.bias.add_(bias / (1 - network.audioset_weight))
    if network.audioset_head is not None:
        rows = network.audioset_head.rows
        repeated = scale.repeat_interleave(rows.out_features // len(scale))
        rows.weight.mul_(repeated[:, None])
        rows.bias.mul_(repeated)


@torch.no_grad()
def between(network: nn.Module, anchor: nn.Module, keep: float) -> None:
    """Move `network`'s weights the share `keep` of the way to `anchor`'s."""
    for now, then in zip(network.state_dict().values(), anchor.state_dict().values(), strict=True):
        if now.is_floating_point():  # batch norms also count their batches
            now.lerp_(then, keep)


def way_back(network: nn.Module, keep: float) -> Callable[[nn.Module], None]:
    """What moves a trained network the share `keep` of the way back to the weights that `network` has now."""
    first = copy.deepcopy(network)
    return lambda result: between(result, first, keep)


def audioset(network: nn.Module) -> str:
    """Load the public AudioSet PaSST (Koutini et al., 2022); returns a line that describes the weights.

    Raises:
        ModelError: it cannot be fetched, or does not fit the network.
    """
    try:
        path = fetch_checkpoint("passt-audioset")
    except InstrecError as error:
        raise ModelError(
            error.message,
            f"give its file, {CHECKPOINTS['passt-audioset'].file}, with --init, or --init none for random weights",
        ) from error
    return fill(network, read_state_dict(path), "the AudioSet checkpoint")


def fill(network: nn.Module, state: dict[str, torch.Tensor], where: str) -> str:
    """Copy weights from a state dict; see `take_over`."""
    own = network.state_dict()
    fitting = {name: state[name] for name, value in own.items() if name in state and state[name].shape == value.shape}
    wrong = [name for name in own if name not in fitting and not name.startswith(HEADS)]
    if wrong:
        raise ModelError(
            f"{where}: not weights of this network: {len(wrong)} of {len(own)} do not fit, first {wrong[0]}",
            "start from a checkpoint of the same network and size",
        )
    network.load_state_dict(fitting, strict=False)
    new = f"; new are {', '.join(name for name in own if name not in fitting)}" if len(fitting) < len(own) else ""
    return f"starting with {len(fitting)} of {len(own)} tensors from {where}{new}"


MEL_ADAPTER = Path(__file__).with_name("mel_adapter.npz")  # made by training.mel_adapter

# The AudioSet classes of each instrument.
AUDIOSET: dict[str, tuple[str, ...]] = {
    "accordion": ("Accordion",),
    "banjo": ("Banjo",),
    "bass": ("Bass guitar", "Double bass"),
    "cello": ("Cello",),
    "clarinet": ("Clarinet",),
    "cymbals": ("Cymbal", "Hi-hat"),
    "drums": ("Drum kit", "Drum", "Snare drum", "Bass drum"),
    "flute": ("Flute",),
    "guitar": ("Guitar", "Electric guitar", "Acoustic guitar", "Steel guitar, slide guitar"),
    "mallet_percussion": ("Mallet percussion", "Marimba, xylophone", "Glockenspiel", "Vibraphone"),
    "mandolin": ("Mandolin",),
    "organ": ("Organ", "Electronic organ", "Hammond organ"),
    "piano": ("Piano", "Electric piano", "Keyboard (musical)"),
    "saxophone": ("Saxophone",),
    "synthesizer": ("Synthesizer", "Sampler"),
    "trombone": ("Trombone",),
    "trumpet": ("Trumpet",),
    "ukulele": ("Ukulele",),
    "violin": ("Violin, fiddle",),
    "voice": ("Singing", "Choir", "Vocal music"),
}


def load_yamnet(network: nn.Module, weights: Path) -> None:
    """Load YAMNet's weights: the whole trunk, and a head with the mean of each instrument's AudioSet rows (CBAM-CNN).

    Raises:
        InputFileError: a file is missing or malformed.
        UsageError: the network has no layers of YAMNet's shape.
    """
    convs = _convs(network)
    class_map = weights.with_name("yamnet_class_map.csv")
    for path in (weights, class_map):
        if not path.is_file():
            raise InputFileError(f"{path}: not found", "leave out --init to start with random weights")
    try:
        stored = {k: torch.from_numpy(v.astype(np.float32)) for k, v in np.load(weights).items()}
        with torch.no_grad():
            for i, conv in enumerate(convs):
                conv.weight.copy_(stored[f"convs.{i}.weight"])
                assert conv.bias is not None
                conv.bias.copy_(stored[f"convs.{i}.bias"])
            _mel_adapter(network).load_state_dict(_fitted(), strict=False)
            if isinstance(network, CbamCnn):
                rows = _rows(class_map)
                for row, classes in enumerate(rows):
                    network.head.linear.weight[row] = stored["head.weight"][classes].mean(0)
                    network.head.linear.bias[row] = stored["head.bias"][classes].mean(0)
                if network.audioset_head is not None:
                    synonyms = network.audioset_head.shape[1]
                    each = [classes[i % len(classes)] for classes in rows for i in range(synonyms)]
                    network.audioset_head.rows.weight.copy_(stored["head.weight"][each])
                    network.audioset_head.rows.bias.copy_(stored["head.bias"][each])
    except (OSError, EOFError, ValueError, KeyError, IndexError, RuntimeError, AttributeError, BadZipFile) as error:
        raise InputFileError(f"{weights}: not YAMNet's weights and class map: {error}") from error


def _convs(network: nn.Module) -> list[nn.Conv2d]:
    """The layers of YAMNet's shape, in YAMNet's order."""
    if isinstance(network, CbamCnn) and isinstance(network.trunk, MobileNetTrunk):
        first, rest = network.trunk.stem, network.trunk.stages
    else:
        raise UsageError("YAMNet's weights do not fit this profile's network", "--profile ours")
    layers = [module for module in rest.modules() if isinstance(module, Separable)]
    return [first, *(conv for layer in layers for conv in (layer.depthwise, layer.pointwise))]


def _mel_adapter(network: nn.Module) -> MelAdapter:
    return next(module for module in network.modules() if isinstance(module, MelAdapter))


def _fitted() -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(value.astype(np.float32)) for name, value in np.load(MEL_ADAPTER).items()}


def _rows(class_map: Path) -> list[list[int]]:
    """The rows of YAMNet's last layer for each instrument."""
    with class_map.open(newline="", encoding="utf-8") as handle:
        names = [row["display_name"] for row in csv.DictReader(handle)]
    return [[names.index(name) for name in AUDIOSET[instrument]] for instrument in INSTRUMENTS]
