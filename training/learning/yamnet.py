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
from instrec_live.models.mobilenet import Separable, Stem

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
            if isinstance(network, CbamCnn):
                _fill(network.head.linear, stored, class_map)
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


def _fill(head: nn.Linear, stored: dict[str, torch.Tensor], class_map: Path) -> None:
    with class_map.open(newline="", encoding="utf-8") as handle:
        names = [row["display_name"] for row in csv.DictReader(handle)]
    for row, instrument in enumerate(INSTRUMENTS):
        classes = [names.index(name) for name in AUDIOSET[instrument]]
        head.weight[row] = stored["head.weight"][classes].mean(0)
        head.bias[row] = stored["head.bias"][classes].mean(0)
