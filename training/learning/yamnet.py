"""YAMNet's weights (AudioSet, Apache-2.0, The TensorFlow Authors) as a place for the networks to start from.

The weights are a .npz of `convs.<i>.weight|bias` and `head.weight|bias`, batch norms folded in; a class map csv with
`display_name` lies beside it.
"""

import csv
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch
from torch import nn

from instrec_live.models.cbam_cnn import CbamCnn, MobileNetTrunk
from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.mobilenet import MelBridge, Separable, Stem

MEL_BRIDGE = Path(__file__).with_name("mel_bridge.npz")  # made by training.mel_bridge

# AudioSet classes that say an instrument is sounding.
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
    """Begin with YAMNet: all of its trunk and a head that is the mean of each instrument's AudioSet rows (CBAM-CNN), or
    the layers of the stem (MS-CRNN, PaSST).

    Raises:
        InputFileError: a file is missing, or is not what it should be.
        UsageError: the network has no layers of YAMNet's shape.
    """
    convs = _convs(network)
    class_map = weights.with_name("yamnet_class_map.csv")
    for path in (weights, class_map):
        if not path.is_file():
            raise InputFileError(f"{path}: not found", "leave out --init to begin with random weights")
    try:
        stored = {k: torch.from_numpy(v.astype(np.float32)) for k, v in np.load(weights).items()}
        with torch.no_grad():
            for i, conv in enumerate(convs):
                conv.weight.copy_(stored[f"convs.{i}.weight"])
                conv.bias.copy_(stored[f"convs.{i}.bias"])
            _bridge(network).load_state_dict(_fitted(), strict=False)
            if isinstance(network, CbamCnn):
                rows = _rows(class_map)
                for row, classes in enumerate(rows):
                    network.head.linear.weight[row] = stored["head.weight"][classes].mean(0)
                    network.head.linear.bias[row] = stored["head.bias"][classes].mean(0)
                if network.words is not None:
                    synonyms = network.words.shape[1]
                    each = [classes[i % len(classes)] for classes in rows for i in range(synonyms)]
                    network.words.rows.weight.copy_(stored["head.weight"][each])
                    network.words.rows.bias.copy_(stored["head.bias"][each])
    except (OSError, EOFError, ValueError, KeyError, IndexError, RuntimeError, AttributeError, BadZipFile) as error:
        raise InputFileError(f"{weights}: not YAMNet's weights and class map: {error}") from error


def _convs(network: nn.Module) -> list[nn.Conv2d]:
    """The layers of YAMNet's shape, in its order."""
    if isinstance(network, CbamCnn) and isinstance(network.trunk, MobileNetTrunk):
        first, rest = network.trunk.stem, network.trunk.stages
    elif stem := next((module for module in network.modules() if isinstance(module, Stem)), None):
        first, rest = stem.conv, stem.layers
    else:
        raise UsageError("YAMNet's weights do not fit this profile's network", "--profile ours")
    layers = [module for module in rest.modules() if isinstance(module, Separable)]
    return [first, *(conv for layer in layers for conv in (layer.depthwise, layer.pointwise))]


def _bridge(network: nn.Module) -> MelBridge:
    return next(module for module in network.modules() if isinstance(module, MelBridge))


def _fitted() -> dict[str, torch.Tensor]:
    return {name: torch.from_numpy(value.astype(np.float32)) for name, value in np.load(MEL_BRIDGE).items()}


def _rows(class_map: Path) -> list[list[int]]:
    """The rows of YAMNet's last layer that speak of each instrument."""
    with class_map.open(newline="", encoding="utf-8") as handle:
        names = [row["display_name"] for row in csv.DictReader(handle)]
    return [[names.index(name) for name in AUDIOSET[instrument]] for instrument in INSTRUMENTS]
