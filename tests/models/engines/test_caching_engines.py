"""Engines that are reminded of earlier patches, on a network that is small enough to reckon by hand."""

import numpy as np
import pytest
from tiny_bundle import write_tiny

from instrec_live.models.engines.base import CachingEngine
from instrec_live.models.engines.registry import available, open_engine
from instrec_live.models.errors import ModelError

torch = pytest.importorskip("torch", reason="exporting a network needs torch")

from instrec_live.models.export.to_onnx import to_onnx
from instrec_live.models.networks.patchwise import Patchwise

USABLE = [name for name, usable, _ in available() if usable and name in ("onnx", "openvino")]


class MeanOfPatches(Patchwise, torch.nn.Module):
    """A patch's embedding is the mean of its frames; a window's logits are the mean of the embeddings' first 20."""

    width = 128

    def __init__(self):
        super().__init__()
        self.register_buffer("first", torch.eye(128)[:, :20])

    def embed(self, patch):
        return patch.mean(2)

    def classify(self, embeddings):
        return embeddings.mean(1) @ self.first

    def forward(self, log_mel):
        return self.classify(self.embeddings(log_mel))


@pytest.fixture(scope="module")
def patchwise(tmp_path_factory):
    log_mel = np.random.default_rng(3).standard_normal((128, 288)).astype(np.float32)
    return write_tiny(
        tmp_path_factory.mktemp("bundles") / "mean",
        "mean",
        onnx=to_onnx(MeanOfPatches()),
        network={"name": "mean", "config": {}, "parameters": 0, "width": 128},
        golden=(log_mel, log_mel.mean(axis=1)[:20]),
    )


@pytest.mark.parametrize("name", USABLE)
@pytest.mark.parametrize(("batch", "new", "known"), [(1, 3, 0), (1, 1, 2), (1, 0, 4), (2, 2, 3), (5, 0, 2), (4, 1, 0)])
def test_new_patches_after_known_ones(patchwise, name, batch, new, known):
    engine = open_engine(patchwise, name)
    assert isinstance(engine, CachingEngine)
    rng = np.random.default_rng(0)
    log_mel = rng.standard_normal((batch, 128, 96 * new)).astype(np.float32)
    heard = rng.standard_normal((batch, known, 128)).astype(np.float32)
    fresh = log_mel.reshape(batch, 128, new, 96).mean(axis=3).transpose(0, 2, 1)
    logits, embeddings = engine.run(log_mel, heard.reshape(-1, 128))
    np.testing.assert_allclose(embeddings, fresh.reshape(-1, 128), atol=1e-6)
    np.testing.assert_allclose(logits, np.concatenate((heard, fresh), 1).mean(axis=1)[:, :20], atol=1e-6)


@pytest.mark.parametrize("name", USABLE)
def test_answers_are_the_caller_s_to_keep(patchwise, name):
    """An engine that hands out its own buffers would change them at the next call."""
    engine = open_engine(patchwise, name)
    nothing = np.empty((0, 128), np.float32)
    first = engine.run(np.ones((1, 128, 96), np.float32), nothing)
    copies = [out.copy() for out in first]
    engine.run(np.zeros((1, 128, 96), np.float32), nothing)
    assert all(np.array_equal(out, copy) for out, copy in zip(first, copies, strict=True))


@pytest.mark.parametrize("name", USABLE)
def test_a_width_that_is_not_the_network_s(patchwise, tmp_path, name):
    network = {**patchwise.network, "width": 64}
    bundle = write_tiny(tmp_path / "b", onnx=patchwise.onnx, network=network, golden=patchwise.golden)
    with pytest.raises(ModelError):
        open_engine(bundle, name)
