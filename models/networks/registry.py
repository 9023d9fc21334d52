"""The three networks by name; each maps log-mel float32 [B, 128, T] to logits float32 [B, 20]."""

from collections.abc import Callable
from typing import Any

from torch import nn

_PAPER = "reference"  # its name in the checkpoints of 2026


def _passt(**config: Any) -> nn.Module:
    from instrec_live.models.networks.passt import passt

    return passt(**config)


def _cbam_cnn(trunk: str = "mobilenet", **config: Any) -> nn.Module:
    if "words" in config:  # its name in the bundles and checkpoints of 2026
        config["audioset_weight"] = config.pop("words")
    if trunk in ("paper", _PAPER):
        from instrec_live.models.networks.paper_networks import PaperCbamCnn

        return PaperCbamCnn(**config)
    if trunk not in ("mobilenet", "resnet"):
        raise ValueError(f"no CBAM-CNN trunk {trunk!r}: choose from mobilenet, resnet, paper")
    from instrec_live.models.networks.cbam_cnn import CbamCnn

    return CbamCnn(trunk, **config)


def _ms_crnn(size: str = "small", **config: Any) -> nn.Module:
    if size in ("paper", _PAPER):
        from instrec_live.models.networks.paper_networks import PaperMsCrnn

        return PaperMsCrnn(**config)
    if size != "small":
        raise ValueError(f"no MS-CRNN size {size!r}: choose from small, paper")
    from instrec_live.models.networks.ms_crnn import MsCrnn

    return MsCrnn(**config)


NETWORKS: dict[str, Callable[..., nn.Module]] = {"passt": _passt, "cbam_cnn": _cbam_cnn, "ms_crnn": _ms_crnn}


def build(name: str, **config: Any) -> nn.Module:
    """A network with fresh weights.

    Raises:
        ValueError: unknown name.
    """
    if name not in NETWORKS:
        raise ValueError(f"no network {name!r}: choose from {', '.join(NETWORKS)}")
    return NETWORKS[name](**config)
