"""PaSST against hear21passt's own forward, and the shim that makes hear21passt importable."""

import subprocess
import sys
import types

import pytest

torch = pytest.importorskip("torch", reason="the networks need torch: pip install 'instrec-live[train]'")
pytest.importorskip("hear21passt", reason="PaSST is built on hear21passt")

from instrec_live.models.audioset import CLASSES, OTHER_SOUNDS
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.networks import hear21passt_shim as shim
from instrec_live.models.networks.mn04 import Mn04Trunk
from instrec_live.models.networks.passt import Passt, passt
from instrec_live.models.networks.registry import build


@pytest.fixture(scope="module")
def tiny() -> Passt:
    torch.manual_seed(0)
    return passt("tiny", pool="special", foundation=False, stride=(16, 16)).eval()


def upstream_logits(network: Passt, log_mel):
    """hear21passt's own forward with the same weights."""
    with shim.silence(), torch.inference_mode():
        logits, _features = shim.PaSST.forward(UpstreamView(network), log_mel[:, None])
    return logits


class UpstreamView:
    """Calls hear21passt's methods on our network (ours overrides only `forward`)."""

    def __init__(self, network):
        self.network = network

    def __getattr__(self, name):
        return getattr(self.network, name)


@pytest.mark.parametrize("frames", [998, 1000, 997, 500, 250, 200, 16])
def test_equals_hear21passt(tiny, frames):
    log_mel = torch.randn(2, 128, frames, generator=torch.Generator().manual_seed(frames))
    with torch.inference_mode():
        ours = tiny(log_mel)
    assert ours.shape == (2, 20)
    torch.testing.assert_close(ours, upstream_logits(tiny, log_mel), atol=1e-5, rtol=0)


def test_equals_hear21passt_at_the_public_stride():
    network = passt("tiny", stride=(10, 10), depth=2, pool="special", foundation=False).eval()
    log_mel = torch.randn(1, 128, 998)
    with torch.inference_mode():
        ours = network(log_mel)
    torch.testing.assert_close(ours, upstream_logits(network, log_mel), atol=1e-5, rtol=0)


def test_passt_s_takes_the_public_checkpoints():
    """Its keys and shapes are those of hear21passt's get_model(arch="openmic")."""
    with shim.silence():
        theirs = shim.upstream_passt().get_model(arch="openmic", pretrained=False, n_classes=20)
        ours = passt("passt_s")
    shapes = {key: tuple(value.shape) for key, value in theirs.state_dict().items()}
    assert shapes["time_new_pos_embed"] == (1, 768, 1, 99)
    assert shapes["freq_new_pos_embed"] == (1, 768, 12, 1)
    assert shapes["new_pos_embed"] == (1, 2, 768)
    assert shapes["patch_embed.proj.weight"] == (768, 1, 16, 16)
    assert shapes["blocks.11.attn.qkv.weight"] == (2304, 768)
    assert shapes["head.1.weight"] == shapes["head_dist.weight"] == (20, 768)
    assert {key: tuple(value.shape) for key, value in ours.state_dict().items()} == shapes
    ours.load_state_dict(theirs.state_dict())


def test_patchout_drops_the_stated_share(tiny):
    network = passt("tiny", depth=1, foundation=False, stride=(16, 16), s_patchout_t=30, s_patchout_f=2).train()
    lengths = []
    network.blocks[0].norm1.register_forward_pre_hook(lambda _, inputs: lengths.append(inputs[0].shape[1]))
    network(torch.randn(1, 128, 1000))
    network(torch.randn(1, 128, 200))
    network.eval()
    network(torch.randn(1, 128, 1000))
    assert lengths == [2 + 6 * (62 - 30), 2 + 6 * (12 - 5), 2 + 8 * 62]


def test_training_takes_time_positions_from_anywhere():
    network = passt("tiny", depth=1).train()
    torch.nn.init.normal_(network.head[1].weight)  # it begins as nothing
    log_mel = torch.randn(1, 128, 200)
    torch.manual_seed(0)
    with torch.no_grad():
        logits = {tuple(network(log_mel)[0].tolist()) for _ in range(8)}
    assert len(logits) > 1


def test_gradients_reach_every_parameter_but_the_unused_head():
    network = passt("tiny", depth=2, s_patchout_t=10, s_patchout_f=1).train()
    network(torch.randn(2, 128, 300)).square().sum().backward()
    idle = {name for name, parameter in network.named_parameters() if parameter.grad is None}
    assert idle == {"head_dist.weight", "head_dist.bias"}


@pytest.mark.parametrize("name", ["passt", "ms_crnn"])
def test_networks_start_from_the_results_of_their_foundation(name):
    network = build(name).eval()
    log_mel = torch.randn(2, 128, 480)
    with torch.inference_mode():
        heard = network.embeddings(log_mel) if name == "passt" else log_mel
        instruments, audioset = network.both(heard)
        assert torch.allclose(instruments, network.audioset.instruments(audioset))
        assert network(log_mel).shape == (2, len(INSTRUMENTS) + len(OTHER_SOUNDS))
        assert network.train()(log_mel).shape == (2, len(INSTRUMENTS) + CLASSES)


def test_the_foundations_norms_never_learn_from_a_batch():
    trunk = Mn04Trunk().train()
    assert not any(module.training for module in trunk.modules())


def test_unknown_size():
    with pytest.raises(ValueError, match="choose from passt_s, tiny"):
        passt("huge")  # type: ignore[arg-type]


# The shim


def test_building_and_running_is_silent():
    program = (
        "import torch; from instrec_live.models.networks.passt import passt; import sys\n"
        "passt('tiny', depth=1).eval()(torch.zeros(1, 128, 1000))\n"
        "assert all(m.__spec__ for n, m in sys.modules.items() if n.startswith('timm')), 'false timm left'\n"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (run.stdout, run.stderr) == ("", "")


def test_a_working_import_is_left_alone(monkeypatch):
    real = types.ModuleType("fakelib")
    monkeypatch.setitem(sys.modules, "fakelib", real)
    shim.import_or_stub("fakelib", lambda: pytest.fail("stubbed though the import works"))
    assert sys.modules["fakelib"] is real


def test_a_failing_import_is_purged_and_stubbed(tmp_path, monkeypatch):
    package = tmp_path / "brokenlib"
    package.mkdir()
    (package / "__init__.py").write_text("from brokenlib import part\nraise OSError('no such library')\n")
    (package / "part.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    stub = types.ModuleType("brokenlib")
    try:
        shim.import_or_stub("brokenlib", lambda: {"brokenlib": stub})
        assert sys.modules["brokenlib"] is stub
        assert "brokenlib.part" not in sys.modules
    finally:
        sys.modules.pop("brokenlib", None)


def test_its_patches_may_come_from_a_foundation():
    network = passt("tiny", depth=2).eval()
    with torch.inference_mode():
        for frames in (200, 250, 1000):
            assert network(torch.randn(2, 128, frames)).shape == (2, len(INSTRUMENTS) + len(OTHER_SOUNDS))
    assert network.time_new_pos_embed.shape[-1] == 30
    assert network.freq_new_pos_embed.shape[-2] == 2
