"""A public PaSST checkpoint becomes a bundle."""

import datetime
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import onnxscript  # noqa: F401 - torch asks for it only when it exports
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from instrec_live.models.bundle import Bundle, write_bundle
from instrec_live.models.calibration import Platt
from instrec_live.models.errors import ModelError
from instrec_live.models.export import TOLERANCE, difference_from_torch, first_line, to_onnx
from instrec_live.models.golden import chord
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.passt import passt

FloatArray = NDArray[np.float32]

AUTHORS = "Khaled Koutini, Jan Schlüter, Hamid Eghbal-zadeh, Gerhard Widmer (Johannes Kepler University Linz)"
LICENCE = "Apache-2.0"
_UNUSED = ("head_dist.",)  # hear21passt makes a second head, which neither its forward nor ours asks
# Training with binary cross-entropy makes 0.5 the probability from which an instrument is likelier there than not;
# its authors publish no thresholds, for mean average precision needs none.
_THRESHOLD = 0.5


class Origin(Protocol):
    """What is known of a public checkpoint."""

    @property
    def url(self) -> str: ...
    @property
    def sha256(self) -> str: ...
    @property
    def config(self) -> Mapping[str, Any]: ...
    @property
    def data(self) -> str: ...


def read_state_dict(path: Path) -> dict[str, Tensor]:
    """Read a bare state dict; nothing in it is executed.

    Raises:
        ModelError: unreadable, not a state dict, or not all numbers are finite.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as e:  # torch raises whatever its unpickler or zip reader met
        raise ModelError(f"{path}: not a readable checkpoint: {first_line(e)}") from e
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ModelError(f"{path}: not a state dict")
    for key, value in content.items():
        if not value.isfinite().all():
            raise ModelError(f"{path}: {key} is not finite")
    return content


def filled(config: Mapping[str, Any], state: Mapping[str, Tensor]) -> nn.Module:
    """A PaSST, in eval mode, whose every tensor comes from the state dict, and which leaves none of it out.

    Raises:
        ModelError: they do not fit.
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
    """Write the bundle of a checkpoint, checked against torch.

    Raises:
        ModelError: it is no state dict of this network, or its ONNX file differs from torch.
    """
    network = filled(origin.config, read_state_dict(path))
    model = to_onnx(network)
    difference = difference_from_torch(network, model)
    if not difference <= TOLERANCE:
        raise ModelError(f"{name}: the ONNX file's logits are {difference:.2g} off torch's")
    heard = chord()
    with torch.inference_mode():
        answer = network(torch.from_numpy(heard[None]))[0].numpy()
    parameters = sum(p.numel() for key, p in network.named_parameters() if not key.startswith(_UNUSED))
    return write_bundle(
        to,
        name=name,
        onnx=model,
        network={"name": "passt", "config": dict(origin.config), "parameters": parameters},
        calibration=Platt.identity(),
        thresholds=np.full(len(INSTRUMENTS), _THRESHOLD, np.float32),
        golden=(heard, answer),
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
Interspeech 2022), as its authors published it; only its file format was changed.

- Parameters: {parameters:,}
- Input: log-mel float32 [B, 128, T], 32 kHz, hop 10 ms, 2 to 10 s. Output: logits of 20 instruments.
- Trained on: {origin.data}
- Authors: {AUTHORS}
- Licence: {LICENCE}
- From: {origin.url}
- sha256 of the checkpoint: {origin.sha256}

It was trained on windows of 10 s and is most at home there. Its probabilities are as the network gives them
(no calibration), and its thresholds are {_THRESHOLD} for every instrument.
"""
