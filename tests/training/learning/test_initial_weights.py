"""Where weights begin: checkpoints of ours, and as others publish them; a plain message where none can be had."""

import hashlib
import re
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the [train] extra")
pytest.importorskip("hear21passt", reason="training needs the [train] extra")
pytest.importorskip("onnxscript", reason="training needs the [train] extra")
pytest.importorskip("tqdm", reason="training needs the [train] extra")

from instrec_live.models.errors import ModelError
from instrec_live.models.export.to_onnx import network_of
from instrec_live.models.networks import hear21passt_shim as shim
from instrec_live.models.networks.mn04 import Mn04Head, Mn04Trunk
from instrec_live.models.networks.registry import build
from instrec_live.training.data.provenance import start_of
from instrec_live.training.learning import initial_weights
from instrec_live.training.learning.teachers import begin_with_mn04

SHAPE = {"size": "passt_s", "depth": 1, "embed_dim": 24, "num_heads": 2}


def unreachable(name: str) -> Path:
    raise ModelError(f"{name} cannot be fetched: no network")


def copy(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_without_a_network_and_without_the_file_it_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    """Random weights in place of AudioSet's would cost a whole run before anybody noticed."""
    monkeypatch.setattr(initial_weights, "fetch_checkpoint", unreachable)
    with pytest.raises(ModelError, match="cannot be fetched") as caught:
        initial_weights.audioset(build("passt", **SHAPE))
    assert "passt-s-f128-p16-s10-ap.476-swa.pt, with --init, or --init none" in str(caught.value.hint)


@pytest.mark.parametrize("classes", [20, 527])
def test_a_checkpoint_as_its_authors_publish_it(tmp_path: Path, classes: int) -> None:
    """A bare state dict of hear21passt's own class, as passt-s-f128-p16-s10-ap.476-swa.pt and OpenMIC's are."""
    torch.manual_seed(1)
    shape = {"img_size": (128, 998), "patch_size": 16, "stride": (10, 10), "in_chans": 1, "distilled": True}
    with shim.silence():
        theirs = shim.PaSST(**shape, num_classes=classes, embed_dim=96, depth=2, num_heads=4).eval()
    torch.save(theirs.state_dict(), tmp_path / "published.pt")
    ours = build("passt", size="passt_s", embed_dim=96, depth=2, num_heads=4, n_classes=20).eval()
    said = initial_weights.take_over(ours, tmp_path / "published.pt")
    assert ("new are head.1.weight" in said) == (classes == 527)
    log_mel = torch.randn(1, 128, 998)
    with shim.silence(), torch.inference_mode():
        logits, features = theirs(log_mel[:, None])
        if classes == 20:
            torch.testing.assert_close(ours(log_mel), logits, atol=1e-5, rtol=0)
        torch.testing.assert_close(ours.features(log_mel), features, atol=1e-5, rtol=0)


def test_mn04_as_its_authors_publish_it(tmp_path: Path) -> None:
    trunk, head = Mn04Trunk(), Mn04Head()
    rng = np.random.default_rng(0)
    state = published_mn04(trunk, head, rng)
    torch.save({name: torch.from_numpy(value) for name, value in state.items()}, tmp_path / "mn04_as_mAP_432.pt")
    np.savez(tmp_path / "mn04_as.npz", **state)
    networks = []
    for file in ("mn04_as_mAP_432.pt", "mn04_as.npz"):
        assert start_of(tmp_path / file) == {
            "name": "mn04_as (EfficientAT, MIT)",
            "sha256": hashlib.sha256((tmp_path / file).read_bytes()).hexdigest(),
            "data": "ImageNet, AudioSet",
        }
        assert initial_weights.is_mn04(tmp_path / file)
        network = build("ms_crnn")
        begin_with_mn04(network, tmp_path / file)
        networks.append(network)
    one, other = (network.trunk.state_dict() for network in networks)
    assert all(torch.equal(one[name], other[name]) for name in one)
    other_file = tmp_path / "on mn04_as.pt"  # a run's own record counts, not the name of the file
    provenance = {"trained_on": {"data": []}}
    torch.save({"name": "ms_crnn", "config": {}, "state_dict": {}, "provenance": provenance}, other_file)
    assert not initial_weights.is_mn04(other_file)
    assert start_of(other_file)["record"] == {"data": []}


def published_mn04(trunk: Mn04Trunk, head: Mn04Head, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Random weights under the names of EfficientAT's state dict."""
    wanted: dict[str, np.ndarray] = {}

    for name, value in trunk.state_dict().items():
        theirs = re.sub(r"\.(fc[12])\.", r".conc_se_layers.0.\1.", name)
        if value.is_floating_point():
            wanted[theirs] = np.abs(rng.normal(0.1, 0.05, value.shape)).astype(np.float32)
    for name, layer in (("classifier.2", head.hidden), ("classifier.5", head.out)):
        for part in ("weight", "bias"):
            wanted[f"{name}.{part}"] = rng.normal(0, 0.05, getattr(layer, part).shape).astype(np.float32)
    return wanted


def test_audiosets_527_classes_leave_their_body_to_our_20(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    public = build("passt", **SHAPE, n_classes=527)
    torch.save(public.state_dict(), tmp_path / "audioset.pt")
    monkeypatch.setattr(initial_weights, "fetch_checkpoint", lambda name: tmp_path / "audioset.pt")
    network = build("passt", **SHAPE)
    before = copy(network)
    said = initial_weights.audioset(network)
    assert said.endswith("new are head.1.weight, head.1.bias, head_dist.weight, head_dist.bias")
    theirs = public.state_dict()
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name] if name.startswith(("head.1.", "head_dist.")) else theirs[name]), name


def test_a_checkpoint_of_the_same_classes_is_taken_whole(tmp_path: Path) -> None:
    other = build("ms_crnn", channels=6, hidden=8)
    torch.save({"name": "ms_crnn", "config": {}, "state_dict": other.state_dict(), "provenance": {}}, tmp_path / "x.pt")
    network = build("ms_crnn", channels=6, hidden=8)
    assert "new are" not in initial_weights.take_over(network, tmp_path / "x.pt")
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in network.state_dict().items())


def test_a_checkpoint_of_another_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(build("passt", **SHAPE | {"embed_dim": 48}, n_classes=527).state_dict(), tmp_path / "audioset.pt")
    monkeypatch.setattr(initial_weights, "fetch_checkpoint", lambda name: tmp_path / "audioset.pt")
    with pytest.raises(ModelError, match="not weights of this network"):
        initial_weights.audioset(build("passt", **SHAPE))


def test_part_of_the_way_back_leaves_counters() -> None:
    """The paper's MS-CRNN has batch norms, which count their batches in whole numbers."""
    torch.manual_seed(0)
    network = build("ms_crnn", size="paper")
    back = initial_weights.way_back(network, 0.25)
    first = copy(network)
    with torch.no_grad():
        for value in network.state_dict().values():
            value.add_(4)
    back(network)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, first[name] + (3 if value.is_floating_point() else 4))


def test_a_checkpoint_from_before_the_fitted_rows_is_taken_over_and_opened() -> None:
    network = build("ms_crnn")
    state = {name: value for name, value in copy(network).items() if not name.startswith("audioset.fitted.")}
    assert len(state) == len(network.state_dict()) - 2
    assert "new are audioset.fitted.weight" in initial_weights.fill(network, state, "weights.pt")
    opened = network_of({"name": "ms_crnn", "config": {}, "state_dict": state, "provenance": {}})
    assert (opened.state_dict()["audioset.fitted.bias"] == -10).all()
