"""The networks of the reference's notebooks: as many parameters as theirs, and exportable like ours."""

import pytest

torch = pytest.importorskip("torch", reason="the networks need torch: pip install 'instrec-live[train]'")
pytest.importorskip("onnxscript", reason="export needs onnxscript")

from instrec_live.models.export.to_onnx import TOLERANCE, difference_from_torch, to_onnx
from instrec_live.models.networks.paper_networks import standardised
from instrec_live.models.networks.registry import build

NETWORKS = [
    ("cbam_cnn", {"trunk": "paper", "pooled": False}, 42_182),
    ("cbam_cnn", {"trunk": "paper", "pooled": True}, 42_182),
    ("ms_crnn", {"size": "paper"}, 2_250_709),
]


@pytest.mark.parametrize(("name", "config", "parameters"), NETWORKS)
def test_they_are_as_large_as_in_the_notebooks(name, config, parameters):
    assert sum(p.numel() for p in build(name, **config).parameters()) == parameters


def test_the_body_of_the_cbam_cnn_is_as_large_as_what_was_pretrained():
    network = build("cbam_cnn", trunk="paper")
    assert sum(p.numel() for p in network.trunk.parameters()) == 20_402


@pytest.mark.parametrize(("name", "config", "parameters"), [NETWORKS[1], NETWORKS[2]])
def test_onnx_equals_torch(name, config, parameters):
    network = build(name, **config).eval()
    assert difference_from_torch(network, to_onnx(network)) <= TOLERANCE


def test_a_window_is_standardised_in_pairs_of_frames():
    x = standardised(3 * torch.randn(2, 128, 300) - 7)
    assert x.shape == (2, 1, 128, 150)
    torch.testing.assert_close(x.mean((1, 2, 3)), torch.zeros(2), atol=1e-4, rtol=0)
    torch.testing.assert_close(x.std((1, 2, 3)), torch.ones(2), atol=1e-2, rtol=0)


def test_poolings_have_no_parameters_so_the_reference_could_take_them_out():
    with_pools, without = build("cbam_cnn", trunk="paper"), build("cbam_cnn", trunk="paper", pooled=False)
    without.load_state_dict(with_pools.state_dict())
    x = torch.randn(1, 128, 200)
    assert not torch.allclose(with_pools.eval()(x), without.eval()(x))


def test_a_size_that_is_not_there():
    with pytest.raises(ValueError, match="no MS-CRNN size 'huge'"):
        build("ms_crnn", size="huge")
    with pytest.raises(ValueError, match="no CBAM-CNN trunk 'huge'"):
        build("cbam_cnn", trunk="huge")
