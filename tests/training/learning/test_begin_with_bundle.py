"""A network begins with a bundle: the same logits, with or without the scale and bias of its calibration."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the [train] extra")
pytest.importorskip("onnxscript", reason="training needs the [train] extra")

pytest.importorskip("joblib", reason="training needs the [train] extra")
pytest.importorskip("tqdm", reason="training needs the [train] extra")

from instrec_live.models.bundle import Bundle, bundled
from instrec_live.models.calibration import Platt
from instrec_live.models.errors import ModelError
from instrec_live.models.networks.registry import build
from instrec_live.training.cbam_cnn import PROFILES
from instrec_live.training.learning.initial_weights import begin_with_bundle, fold

CONFIGS = {"cbam_cnn": PROFILES["ours"].network, "ms_crnn": {}, "passt": {"size": "tiny"}}


@pytest.mark.parametrize("name", CONFIGS)
def test_it_matches_the_bundle(name: str) -> None:
    bundle = Bundle.load(bundled(name))
    network = build(name, **CONFIGS[name]).eval()
    begin_with_bundle(network, bundle, calibrated=False)
    log_mel, logits = bundle.golden
    example = torch.from_numpy(log_mel[None].copy())
    with torch.inference_mode():
        np.testing.assert_allclose(network(example)[0].numpy(), logits, atol=2e-5)
    fold(network, bundle.calibration)
    expected = Platt(bundle.calibration.scale, bundle.calibration.bias)(logits[:20])
    with torch.inference_mode():
        got = network(example)[0, :20].numpy()
    # Scaled logits are pooled with a sharpness that is scaled against them: the same but for rounding.
    np.testing.assert_allclose(got, expected, atol=1e-3)


def test_another_networks_bundle_is_refused_and_changes_nothing() -> None:
    network = build("cbam_cnn", **CONFIGS["cbam_cnn"])
    before = {key: value.clone() for key, value in network.state_dict().items()}
    with pytest.raises(ModelError, match="its weights do not fit this network"):
        begin_with_bundle(network, Bundle.load(bundled("passt")))
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())
