"""The three networks by name; each maps log-mel float32 [B, 128, T] to logits float32 [B, 20]."""

from collections.abc import Callable
from typing import Any

from torch import nn


def _passt(**config: Any) -> nn.Module:
    from instrec_live.models.passt import passt

    return passt(**config)


def _cbam_cnn(**config: Any) -> nn.Module:
    from instrec_live.models.cbam_cnn import CbamCnn

    return CbamCnn(**config)


def _ms_crnn(**config: Any) -> nn.Module:
    from instrec_live.models.ms_crnn import MsCrnn

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
