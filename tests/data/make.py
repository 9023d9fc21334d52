"""Makes the files in this folder (needs the [train] extra): `python tests/data/make.py`.

logmel_golden.npz: 0.7 s of sound and what hear21passt's own front end makes of it.
tiny.onnx: a network of one matrix: the mean of the log-mel over time times a random [128, 20].
"""

from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from instrec_live.models.networks import hear21passt_shim as shim

HERE = Path(__file__).parent


def make_logmel_golden() -> None:
    rng = np.random.default_rng(0)
    t = np.arange(22_501) / 32_000
    sweep = np.sin(2 * np.pi * (60 + 6000 * t) * t) * np.exp(-3 * t)
    samples = np.round(8000 * sweep + 100 * rng.standard_normal(len(t))).astype(np.int16)
    samples[:2000] = 0  # digital silence, where the floor of the logarithm shows
    with shim.silence(), torch.inference_mode():
        log_mel = shim.augment_mel_stft()(torch.from_numpy(samples / np.float32(32768))[None])[0].numpy()
    np.savez_compressed(HERE / "logmel_golden.npz", samples=samples, log_mel=log_mel)


def make_tiny() -> None:
    matrix = np.random.default_rng(1).standard_normal((128, 20)).astype(np.float32) / 16
    graph = helper.make_graph(
        [
            helper.make_node("ReduceMean", ["log_mel", "axes"], ["mean"], keepdims=0),
            helper.make_node("MatMul", ["mean", "matrix"], ["logits"]),
        ],
        "tiny",
        [helper.make_tensor_value_info("log_mel", TensorProto.FLOAT, ["batch", 128, "time"])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 20])],
        [numpy_helper.from_array(np.array([2]), "axes"), numpy_helper.from_array(matrix, "matrix")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.checker.check_model(model)
    onnx.save(model, HERE / "tiny.onnx")


if __name__ == "__main__":
    make_logmel_golden()
    make_tiny()
