"""Pooling over time, and the networks that use it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason="the networks need torch: pip install 'instrec-live[train]'")
pytest.importorskip("hear21passt", reason="PaSST is built on hear21passt")

from instrec_live.models.logmel import PATCH
from instrec_live.models.networks.mn04 import Mn04Head
from instrec_live.models.networks.ms_crnn import MsCrnn
from instrec_live.models.networks.patchwise import log_mean_exp
from instrec_live.models.networks.registry import build

CBAM_CNN = {"trunk": "mobilenet", "audioset_weight": 0.4}


def drawn(*shape: int, seed: int = 0, scale: float = 3.0) -> "torch.Tensor":
    return scale * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(seed=st.integers(0, 1000), steps=st.integers(1, 12), sharpness=st.floats(0.01, 50))
def test_the_pooled_logits_lie_between_mean_and_maximum(seed: int, steps: int, sharpness: float) -> None:
    logits = drawn(2, steps, 20, seed=seed)
    pooled = log_mean_exp(logits, torch.full((20,), sharpness))
    assert (pooled >= logits.mean(1) - 1e-3).all()
    assert (pooled <= logits.amax(1) + 1e-3).all()


def test_sharpness_goes_from_the_mean_to_the_maximum() -> None:
    logits = drawn(3, 10, 20)
    torch.testing.assert_close(log_mean_exp(logits, torch.full((20,), 1e-3)), logits.mean(1), atol=0.02, rtol=0)
    torch.testing.assert_close(log_mean_exp(logits, torch.full((20,), 200.0)), logits.amax(1), atol=0.02, rtol=0)


def test_extreme_logits_stay_finite() -> None:
    logits = torch.tensor([[[-1e4], [1e4]]], requires_grad=True)
    pooled = log_mean_exp(logits, torch.ones(1))
    pooled.sum().backward()
    assert torch.isfinite(pooled).all()
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize(("name", "config"), [("cbam_cnn", CBAM_CNN), ("passt", {})])
def test_a_window_of_one_patch_is_that_patch(name: str, config: dict[str, object]) -> None:
    """The pool changes nothing where there is nothing to pool: a live short window is not affected by it."""
    network = build(name, **config).eval()
    patch = drawn(1, 128, PATCH, scale=1.0)
    sharpness = network.log_sharpness if name == "cbam_cnn" else network.audioset.log_sharpness
    with torch.no_grad():
        before = network(patch)
        sharpness.add_(2.0)
        torch.testing.assert_close(network(patch), before)


def test_the_cbam_cnn_pools_the_logits_of_its_patches() -> None:
    network = build("cbam_cnn", **CBAM_CNN).eval()
    embeddings = drawn(2, 10, network.width, scale=1.0).abs()
    with torch.no_grad():
        alone = torch.stack([network.classify(embeddings[:, k : k + 1]) for k in range(10)], 1)
        pooled = network.classify(embeddings)
    torch.testing.assert_close(pooled, log_mean_exp(alone, network.log_sharpness.exp()))


def test_an_instrument_in_one_part_of_a_window_counts_more_than_in_the_mean_of_it() -> None:
    head = Mn04Head().eval()
    parts = drawn(1, 10, 384)
    with torch.no_grad():
        each = head.instruments(head(parts))
        assert (head.pooled(parts) >= each.mean(1) - 1e-4).all()
        assert (head.pooled(parts) > each.mean(1) + 1e-3).any()
        torch.testing.assert_close(head.pooled(parts[:, :1]), each[:, 0])


@pytest.mark.parametrize("columns", [7, 9, 31])
def test_the_parts_of_the_ms_crnn_end_where_the_window_ends(columns: int) -> None:
    maps = drawn(2, 384, 4, columns)
    parts = MsCrnn.parts(maps)
    assert parts.shape == (2, columns // 3, 384)
    torch.testing.assert_close(parts[:, -1], maps[..., -3:].mean((2, 3)))
