"""Where weights begin: the public AudioSet PaSST where it can be had, a plain message where not."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the [train] extra")
pytest.importorskip("hear21passt", reason="training needs the [train] extra")
pytest.importorskip("onnxscript", reason="training needs the [train] extra")

from instrec_live.models.errors import ModelError
from instrec_live.models.networks import build
from instrec_live.training.learning import init

SHAPE = {"size": "passt_s", "depth": 1, "embed_dim": 24, "num_heads": 2}


def unreachable(name: str) -> Path:
    raise ModelError(f"{name} could not be fetched: no network")


def copy(network: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.state_dict().items()}


def test_without_a_network_weights_are_random_and_that_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init, "fetch", unreachable)
    network = build("passt", **SHAPE)
    before = copy(network)
    said = init.audioset(network, insist=False)
    assert said.startswith("beginning from random weights")
    assert "no network" in said
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_who_insists_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(init, "fetch", unreachable)
    with pytest.raises(ModelError, match="could not be fetched"):
        init.audioset(build("passt", **SHAPE), insist=True)


def test_audiosets_527_classes_leave_their_body_to_our_20(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    public = build("passt", **SHAPE, n_classes=527)
    torch.save(public.state_dict(), tmp_path / "audioset.pt")
    monkeypatch.setattr(init, "fetch", lambda name: tmp_path / "audioset.pt")
    network = build("passt", **SHAPE)
    before = copy(network)
    said = init.audioset(network, insist=True)
    assert said.endswith("new are head.1.weight, head.1.bias, head_dist.weight, head_dist.bias")
    theirs = public.state_dict()
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name] if name.startswith(("head.1.", "head_dist.")) else theirs[name]), name


def test_a_checkpoint_of_the_same_classes_is_taken_whole(tmp_path: Path) -> None:
    other = build("ms_crnn", channels=6, hidden=8)
    torch.save({"name": "ms_crnn", "config": {}, "state_dict": other.state_dict(), "provenance": {}}, tmp_path / "x.pt")
    network = build("ms_crnn", channels=6, hidden=8)
    assert "new are" not in init.take_over(network, tmp_path / "x.pt")
    assert all(torch.equal(value, other.state_dict()[name]) for name, value in network.state_dict().items())


def test_a_checkpoint_of_another_size_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.save(build("passt", **SHAPE | {"embed_dim": 48}, n_classes=527).state_dict(), tmp_path / "audioset.pt")
    monkeypatch.setattr(init, "fetch", lambda name: tmp_path / "audioset.pt")
    with pytest.raises(ModelError, match="not weights of this network"):
        init.audioset(build("passt", **SHAPE), insist=True)
