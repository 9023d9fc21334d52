"""Every network leaves torch as one ONNX file for all lengths, equal to torch, or not at all."""

import numpy as np
import pytest
from tiny_bundle import write_tiny

torch = pytest.importorskip("torch", reason="export needs torch: pip install 'instrec-live[train]'")
pytest.importorskip("onnxscript", reason="export needs onnxscript")

from instrec_live.models.bundle import bundled
from instrec_live.models.engines.registry import open_engine
from instrec_live.models.errors import ModelError
from instrec_live.models.export import __main__, to_onnx
from instrec_live.models.export.public_passt import read_state_dict
from instrec_live.models.networks import registry
from instrec_live.models.networks.mn04 import Mn04Trunk
from instrec_live.models.onnx_graph import to_fp16

# Beyond training's 1e-4: with random weights, CBAM-CNN magnifies rounding where a band is silent.
TOLERANCE = 5e-4
SMALL = [("passt", {"size": "tiny", "depth": 2}), ("cbam_cnn", {}), ("ms_crnn", {})]


def fresh(name, config):
    """A network as if trained: weights large enough that the input is heard through all layers, and, on a foundation,
    whose many layers would magnify it, batch norms that know what they hear."""
    torch.manual_seed(0)
    network = registry.build(name, **config).eval()
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter)
    if isinstance(getattr(network, "trunk", None), Mn04Trunk):
        norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        for norm in norms:
            norm.train().momentum = 1.0
        with torch.no_grad():
            network(torch.randn(2, 128, 480))
    return network.eval()


@pytest.fixture(scope="module", params=SMALL, ids=[name for name, _ in SMALL])
def exported(request, tmp_path_factory):
    network = fresh(*request.param)
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    difference = to_onnx.export_onnx(network, path, tolerance=TOLERANCE)
    return network, path, difference


def test_equals_torch_at_every_span(exported, tmp_path):
    network, path, difference = exported
    assert difference <= TOLERANCE
    sound = torch.randn(1, 128, 200)
    with torch.inference_mode():
        golden = sound[0].numpy(), network(sound)[0].numpy()
    bundle = write_tiny(tmp_path / "b", onnx=path.read_bytes(), golden=golden)
    engine = open_engine(bundle, "onnx")
    spans = set()
    for batch, frames in [(1, 200), (1, 201), (2, 250), (1, 613), (1, 999), (3, 1000)]:
        log_mel = torch.randn(batch, 128, frames)
        with torch.inference_mode():
            expected = network(log_mel).numpy()
        logits = engine.logits(log_mel.numpy())
        np.testing.assert_allclose(logits, expected, atol=TOLERANCE)
        spans.add(round(float(logits[0, 0]), 6))
    assert len(spans) > 1


def test_nothing_of_this_machine_is_in_the_file(exported):
    _, path, _ = exported
    content = path.read_bytes()
    for trace in (b"stack_trace", b".py", b"site-packages", b"original_node_name"):
        assert trace not in content
    assert [file.name for file in path.parent.iterdir()] == ["model.onnx"]


def test_half_precision(exported):
    network, path, _ = exported
    half = to_fp16(path.read_bytes())
    assert len(half) < 0.6 * path.stat().st_size
    assert to_onnx.difference_from_torch(network, half) <= to_onnx.FP16_TOLERANCE


class Drifting(torch.nn.Module):
    """Its logits are random: no export can equal it."""

    def forward(self, log_mel):
        return log_mel.mean(2)[:, :20] + torch.randn(20)


def test_a_difference_from_torch_is_not_written(tmp_path):
    with pytest.raises(ModelError, match="off torch's"):
        to_onnx.export_onnx(Drifting(), tmp_path / "deep" / "model.onnx")
    assert not (tmp_path / "deep").exists()


def test_a_gru_onnx_does_not_have_is_refused():
    class OneWay(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.rnn = torch.nn.GRU(128, 10, batch_first=True)

    with pytest.raises(ModelError, match="only bidirectional"):
        to_onnx.to_onnx(OneWay())


# Checkpoints


def checkpoint(path, **changes):
    network = registry.build("passt", size="tiny", depth=1)
    content = {
        "name": "passt",
        "config": {"size": "tiny", "depth": 1},
        "state_dict": network.state_dict(),
        "provenance": {},
    } | changes
    torch.save(content, path)
    return path


class Bands(torch.nn.Module):
    """Twenty bands' means: exported in a moment."""

    def forward(self, log_mel):
        return log_mel.mean(2)[:, :20]


def test_command_line(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(registry.NETWORKS, "bands", Bands)
    path = checkpoint(tmp_path / "bands.pt", name="bands", config={}, state_dict={})
    assert __main__.main([str(path), "--to", str(tmp_path / "out")]) == 0
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.count("\n") == 1
    assert [file.name for file in (tmp_path / "out").iterdir()] == ["model.onnx"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"state_dict": {}}, "does not fit"),
        ({"name": "nonesuch"}, "no network 'nonesuch'"),
        ({"config": {"size": "tiny", "depth": 2}}, "does not fit"),
        ({"config": {"colour": "red"}}, "does not fit"),
    ],
)
def test_checkpoints_that_do_not_fit(tmp_path, changes, words, capsys):
    path = checkpoint(tmp_path / "c.pt", **changes)
    assert __main__.main([str(path), "--to", str(tmp_path / "out")]) == 5
    assert words in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "changes",
    [{"state_dict": 3}, {"state_dict": {"head.1.bias": "x"}}, {"config": []}, {"name": 7}, {"provenance": "unknown"}],
)
def test_checkpoints_whose_parts_are_something_else(tmp_path, changes):
    with pytest.raises(ModelError, match=r"c\.pt: not a checkpoint of instrec-live"):
        to_onnx.load_checkpoint(checkpoint(tmp_path / "c.pt", **changes))


def test_a_checkpoint_with_a_size_that_no_network_has(tmp_path):
    path = checkpoint(tmp_path / "c.pt", config={"size": "tiny", "num_heads": 0})  # by which it divides
    with pytest.raises(ModelError, match=r"the checkpoint does not fit: \S"):
        to_onnx.network_of(to_onnx.load_checkpoint(path))


@pytest.mark.parametrize("read", [to_onnx.load_checkpoint, read_state_dict])
def test_an_empty_file_is_refused_as_a_checkpoint(tmp_path, read):
    """Of which torch says nothing at all."""
    (tmp_path / "c.pt").write_bytes(b"")
    with pytest.raises(ModelError, match=r"c\.pt: not a readable checkpoint: EOFError$"):
        read(tmp_path / "c.pt")


@pytest.mark.parametrize("in_the_way", ["out", "out/model.onnx"])
def test_a_place_that_cannot_be_written_is_one_line(tmp_path, capsys, monkeypatch, in_the_way):
    monkeypatch.setitem(registry.NETWORKS, "bands", Bands)
    path = checkpoint(tmp_path / "bands.pt", name="bands", config={}, state_dict={})
    if in_the_way == "out":
        (tmp_path / "out").write_text("a file")
    else:
        (tmp_path / "out" / "model.onnx").mkdir(parents=True)
    assert __main__.main([str(path), "--to", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"error: cannot write {tmp_path / 'out' / 'model.onnx'}: ")
    assert said.count("\n") == 1
    assert sorted(file.name for file in tmp_path.rglob("*")) == sorted({"bands.pt", *in_the_way.split("/")})


def test_a_bundled_name_is_the_bundled_network_in_any_folder(tmp_path, monkeypatch):
    """In the folder of the runs, passt is also a folder, and no bundle."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "passt").mkdir()
    own = write_tiny(tmp_path / "own", "own")
    assert [bundle.path for bundle in __main__._bundles(["passt", str(own.path)])] == [bundled("passt"), own.path]


def test_a_pickle_is_not_executed(tmp_path):
    import pickle

    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    path = tmp_path / "bomb.pt"
    with pytest.raises(ModelError, match=r"bomb\.pt: not found"):
        to_onnx.load_checkpoint(path)
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ModelError, match="not a readable checkpoint"):
        to_onnx.load_checkpoint(path)
    torch.save({"weights": Bomb()}, path)
    with pytest.raises(ModelError, match="not a readable checkpoint"):
        to_onnx.load_checkpoint(path)
    torch.save({"weights": 1}, path)
    with pytest.raises(ModelError, match="not a checkpoint of instrec-live"):
        to_onnx.load_checkpoint(path)
    assert not (tmp_path / "executed").exists()
