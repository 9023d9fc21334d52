"""A bundle of a network of one matrix, for tests that need a model but no trained one."""

from pathlib import Path

import numpy as np
import pytest

from instrec_live.models.bundle import Bundle, write_bundle
from instrec_live.models.calibration import Platt

TINY_ONNX = Path(__file__).parents[1] / "data" / "tiny.onnx"


def tiny_logits(log_mel: np.ndarray) -> np.ndarray:
    """What tiny.onnx computes, in numpy: [128, T] -> [20]."""
    matrix = np.random.default_rng(1).standard_normal((128, 20)).astype(np.float32) / 16
    return log_mel.mean(axis=1) @ matrix


def write_tiny(path: Path, name: str = "tiny", *, bias: float = 0.0, threshold: float = 0.5, **changes) -> Bundle:
    """Write a sound bundle named `name`; `changes` override arguments of `write_bundle`."""
    log_mel = np.random.default_rng(2).standard_normal((128, 200)).astype(np.float32)
    content = {
        "name": name,
        "onnx": TINY_ONNX.read_bytes(),
        "network": {"name": "tiny", "config": {}, "parameters": 2560},
        "calibration": Platt(np.full(20, 1.5, np.float32), np.full(20, bias, np.float32)),
        "thresholds": np.full(20, threshold, np.float32),
        "golden": (log_mel, tiny_logits(log_mel)),
        "provenance": {"command": "tests/support/tiny_bundle.py", "seed": 1, "date": "2025-01-01", "licences": []},
        "model_card": "# tiny\n",
    }
    return write_bundle(path, **(content | changes))


def onnx_with_external_data(location: str) -> bytes:
    """tiny.onnx, but its matrix is to be read from another file."""
    onnx = pytest.importorskip("onnx", reason="making an external tensor needs onnx")
    model = onnx.load(TINY_ONNX)
    matrix = model.graph.initializer[1]
    matrix.ClearField("raw_data")
    matrix.data_location = onnx.TensorProto.EXTERNAL
    matrix.external_data.add(key="location", value=location)
    content: bytes = model.SerializeToString()
    return content
