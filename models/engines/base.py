"""What an engine is: a bundle's network, ready to run."""

from typing import Protocol, runtime_checkable

import numpy as np

from instrec_live.models.arrays import FloatArray
from instrec_live.models.bundle import Bundle
from instrec_live.models.calibration import sigmoid
from instrec_live.models.errors import ModelError
from instrec_live.models.instruments import INSTRUMENTS

# Greatest |difference| of the golden clip's probabilities from the trained network's, by precision.
# bf16 has eight bits of mantissa: a logit of 2 is off by up to .01, the calibrated sum of several by more.
PROBABILITY_TOLERANCE = {"fp32": 1e-4, "bf16": 5e-2, "fp16": 1e-2}


class Engine(Protocol):
    """A network, ready to run.

    Attributes:
        name: library, version, device and, if not fp32, precision, e.g. "onnxruntime 1.32 cpu".
    """

    name: str

    def logits(self, log_mel: FloatArray) -> FloatArray:
        """log-mel float32 [B, 128, T], T 200…1000 (patchwise networks: from 96) -> logits float32 [B, 20]."""
        ...


@runtime_checkable
class CachingEngine(Engine, Protocol):
    """An engine that accepts the embeddings which a patchwise network (patchwise.py) computed of earlier patches.

    Attributes:
        width: of an embedding.
    """

    width: int

    def run(self, log_mel: FloatArray, cached_embeddings: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Run the network on new patches and the embeddings of those before them.

        Args:
            log_mel: float32 [B, 128, 96 n], n new patches (n may be 0).
            cached_embeddings: float32 [B * K, width], of the K patches before them (K may be 0).

        Returns:
            logits float32 [B, 20] of all K + n patches, embeddings float32 [B * n, width] of the new ones.
        """
        ...


def verify_golden(engine: Engine, bundle: Bundle, precision: str = "fp32") -> float:
    """Run the bundle's golden input; the greatest |difference| from its golden logits, or, in another precision than
    fp32, from their probabilities.

    Raises:
        ModelError: it is greater than the bundle's tolerance, or the precision's in `PROBABILITY_TOLERANCE`.
    """
    log_mel, expected = bundle.golden
    logits = engine.logits(log_mel[None])[0]
    what, tolerance = "logits", bundle.golden_tolerance
    if precision != "fp32":
        what, tolerance = "probabilities", PROBABILITY_TOLERANCE[precision]
        own = len(INSTRUMENTS)
        logits, expected = sigmoid(bundle.calibration(logits[:own])), sigmoid(bundle.calibration(expected[:own]))
    difference = float(np.abs(logits - expected).max())
    if not difference <= tolerance:  # also catches NaN
        raise ModelError(
            f"{bundle.name} on {engine.name}: its {what} differ from the golden ones by {difference:.2g} "
            f"(tolerance {tolerance:g})",
            "try another --engine, and please report this",
        )
    return difference
