"""Where a network's weights begin: with those of another run, of a public checkpoint, or at random."""

from pathlib import Path

import torch
from torch import nn

from instrec_live.models.conversion import read_state_dict
from instrec_live.models.errors import InstrecError, ModelError
from instrec_live.models.export import load_checkpoint
from instrec_live.models.public import fetch

# What may depend on the classes, which differ from task to task.
HEADS = ("head.", "head_dist.", "attention.", "log_sharpness")


def take_over(network: nn.Module, path: Path) -> str:
    """Begin with the weights of a checkpoint of ours; returns a line that says what was taken. A head for other classes
    than the network's is left, and begins at random.

    Raises:
        ModelError: unreadable, or not of this network: a weight is missing, or of another shape.
    """
    checkpoint = load_checkpoint(path)
    return fill(network, checkpoint["state_dict"], str(path))


def audioset(network: nn.Module, insist: bool) -> str:
    """Begin with the public AudioSet PaSST (Koutini et al., 2022); returns a line that says what was done.

    Args:
        insist: an error, not random weights, where it cannot be fetched.

    Raises:
        ModelError: it cannot be fetched, or does not fit.
    """
    try:
        path = fetch("passt-audioset")
    except InstrecError as error:
        if insist:
            raise
        return f"beginning from random weights, since the AudioSet checkpoint cannot be had: {error}"
    return fill(network, read_state_dict(path), "the AudioSet checkpoint")


def fill(network: nn.Module, state: dict[str, torch.Tensor], where: str) -> str:
    """Copy weights from a state dict; see `take_over`."""
    own = network.state_dict()
    fitting = {name: state[name] for name, value in own.items() if name in state and state[name].shape == value.shape}
    wrong = [name for name in own if name not in fitting and not name.startswith(HEADS)]
    if wrong:
        raise ModelError(
            f"{where}: not weights of this network: {len(wrong)} of {len(own)} do not fit, first {wrong[0]}",
            "begin from a checkpoint of the same network and size",
        )
    network.load_state_dict(fitting, strict=False)
    new = f"; new are {', '.join(name for name in own if name not in fitting)}" if len(fitting) < len(own) else ""
    return f"beginning with {len(fitting)} of {len(own)} tensors from {where}{new}"
