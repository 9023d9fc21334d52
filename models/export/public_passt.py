"""Export of a public PaSST checkpoint to a bundle."""

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxscript  # noqa: F401 - torch asks for it only when it exports
import torch
from torch import Tensor, nn

from instrec_live.models.bundle import Bundle, write_bundle
from instrec_live.models.calibration import Platt
from instrec_live.models.errors import ModelError
from instrec_live.models.export.to_onnx import TOLERANCE, difference_from_torch, first_line, to_onnx
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import chord
from instrec_live.models.networks.passt import passt

AUTHORS = "Khaled Koutini, Jan Schlüter, Hamid Eghbal-zadeh, Gerhard Widmer (Johannes Kepler University Linz)"
LICENCE = "Apache-2.0"
_UNUSED = ("head_dist.",)  # a second head, which neither hear21passt's forward nor ours uses
# Trained with binary cross-entropy, an output above 0.5 means that the instrument is more likely present than not. The
# authors publish no thresholds, since mean average precision needs none.
_THRESHOLD = 0.5


class Origin(Protocol):
    """The part of `catalog.Checkpoint` that an export needs."""

    @property
    def url(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def config(self) -> Mapping[str, Any]: ...
    @property
    def data(self) -> str: ...


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a bare state dict; no code in it is executed.

    Raises:
        ModelError: unreadable, not a state dict, or not all numbers are finite.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # torch passes on any error of its unpickler or zip reader
        raise ModelError(f"{path}: not a readable checkpoint: {first_line(e)}") from e
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ModelError(f"{path}: not a state dict")
    for key, value in content.items():
        if not value.isfinite().all():
            raise ModelError(f"{path}: {key} is not finite")
    return content


def load_network(config: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
    """A PaSST in eval mode with exactly the weights of the state dict.

    Raises:
        ModelError: the state dict lacks a tensor, has one too many, or one of another shape.
    """
    network = passt(**config)
    needed = {k: v.shape for k, v in network.state_dict().items() if not k.startswith(_UNUSED)}
    given = {k: v.shape for k, v in state.items() if not k.startswith(_UNUSED)}
    if needed != given:
        differing = sorted(k for k in needed.keys() | given.keys() if needed.get(k) != given.get(k))
        raise ModelError(f"the checkpoint does not fit: {len(differing)} tensors differ, first {differing[0]}")
    network.load_state_dict({k: v for k, v in state.items() if k in given}, strict=False)
    return network.eval()


def bundle_of(path: Path, to: Path, name: str, origin: Origin) -> Bundle:
    """Write the bundle of a checkpoint; its logits are checked against torch's.

    Raises:
        ModelError: not a state dict of this network, or the ONNX file differs from torch.
    """
    network = load_network(origin.config, read_state_dict(path))
    model = to_onnx(network)
    difference = difference_from_torch(network, model)
    if not difference <= TOLERANCE:
        raise ModelError(f"{name}: the ONNX file's logits are {difference:.2g} off torch's")
    log_mel = chord()
    with torch.inference_mode():
        answer = network(torch.from_numpy(log_mel[None]))[0].numpy()
    parameters = sum(p.numel() for key, p in network.named_parameters() if not key.startswith(_UNUSED))
    return write_bundle(
        to,
        name=name,
        onnx=model,
        network={"name": "passt", "config": dict(origin.config), "parameters": parameters},
        calibration=Platt.identity(),
        thresholds=np.full(len(INSTRUMENTS), _THRESHOLD, np.float32),
        golden=(log_mel, answer),
        provenance={
            "url": origin.url,
            "sha256": origin.sha256,
            "licence": LICENCE,
            "authors": AUTHORS,
            "data": [origin.data],
            "date": datetime.date.today().isoformat(),
            "difference_from_torch": difference,
        },
        model_card=_card(name, parameters, origin),
    )


def _card(name: str, parameters: int, origin: Origin) -> str:
    return f"""# {name}

PaSST, a patchout audio transformer (Koutini et al., "Efficient Training of Audio Transformers with Patchout",
Interspeech 2022), as its authors published it, in another file format.

- Parameters: {parameters:,}
- Input: log-mel float32 [B, 128, T], 32 kHz, hop 10 ms, 2 to 10 s. Output: logits of 20 instruments.
- Trained on: {origin.data}
- Authors: {AUTHORS}
- Licence: {LICENCE}
- From: {origin.url}
- sha256 of the checkpoint: {origin.sha256}

It was trained on windows of 10 s and is most accurate there. Its probabilities are the network's own (no calibration),
and its thresholds are {_THRESHOLD} for every instrument.
"""
