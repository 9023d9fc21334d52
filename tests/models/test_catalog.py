"""Public PaSST checkpoints: fetched, verified, exported and cached once; from then on no torch and no network."""

import errno
import hashlib
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from file_server import FileServer
from test_imports import loaded_after
from tiny_bundle import write_tiny

from instrec_live.models import Tagger, catalog
from instrec_live.models.bundle import Bundle
from instrec_live.models.errors import ModelError
from instrec_live.models.fetch import download
from instrec_live.models.logmel import DcBlocker, log_mel

torch = pytest.importorskip("torch", reason="export needs torch: pip install 'instrec-live[train]'")
pytest.importorskip("onnxscript", reason="export needs onnxscript")

from instrec_live.models.export import public_passt
from instrec_live.models.networks import registry

NAME = "passt-openmic"
SMALL = {"size": "passt_s", "depth": 1, "embed_dim": 24, "num_heads": 3}


def published(root: Path, state: object, **changes: object) -> catalog.Checkpoint:
    """Write a checkpoint where the server finds it; what the program would know of it."""
    torch.save(state, root / "small.pt")
    content = (root / "small.pt").read_bytes()
    known = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "config": SMALL}
    return replace(catalog.CHECKPOINTS[NAME], **(known | changes))


def state_dict() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    network = registry.build("passt", **SMALL)
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.kaiming_normal_(parameter)
    return network.state_dict()


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HOME", "XDG_CACHE_HOME", "LOCALAPPDATA", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setattr(download, "PAUSE", 0.001)
    return tmp_path / "home"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    (tmp_path / "served").mkdir()
    with FileServer(tmp_path / "served") as running:
        yield running


@pytest.fixture
def offered(server: FileServer, monkeypatch: pytest.MonkeyPatch) -> catalog.Checkpoint:
    """A small network stands in for the published one."""
    checkpoint = published(server.root, state_dict(), url=f"{server.url}/small.pt")
    monkeypatch.setitem(catalog.CHECKPOINTS, NAME, checkpoint)
    return checkpoint


def offer(monkeypatch: pytest.MonkeyPatch, server: FileServer, state: object, **changes: object) -> None:
    monkeypatch.setitem(
        catalog.CHECKPOINTS, NAME, published(server.root, state, url=f"{server.url}/small.pt", **changes)
    )


def test_first_runs_at_once_then_tags_without_torch_or_network(offered: catalog.Checkpoint, server: FileServer) -> None:
    script = (
        "import sys\n"
        "from dataclasses import replace\n"
        "from instrec_live.models import catalog\n"
        f"known = catalog.CHECKPOINTS[{NAME!r}]\n"
        f"catalog.CHECKPOINTS[{NAME!r}] = replace(known, url=sys.argv[1], sha256=sys.argv[2], size=None,\n"
        f"                                       config={SMALL!r})\n"
        f"print(catalog.public_bundle({NAME!r}))"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", script, offered.url, offered.sha256],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    folder = catalog.public_bundle(NAME)
    assert other.communicate(timeout=200) == (f"{folder}\n", "")  # no terminal, no narration
    assert other.returncode == 0
    # The checkpoint itself is not kept, and nobody else may look.
    cache = catalog.cache_folder()
    assert [path.name for path in cache.iterdir()] == [f"{NAME}-{offered.sha256[:12]}-v1"]
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert len(server.requests) == 1

    network = registry.build("passt", **SMALL).eval()
    network.load_state_dict(state_dict())
    samples = np.random.default_rng(0).standard_normal(320_000).astype(np.float32) * 0.1
    with torch.inference_mode():
        expected = network(torch.from_numpy(log_mel(DcBlocker()(samples))[None]))[0].sigmoid().numpy()
    assert np.ptp(expected) > 0.05
    loaded = loaded_after(
        "import socket\n"
        "from dataclasses import replace\n"
        "import numpy as np\n"
        "from instrec_live.models import Tagger, catalog\n"
        "socket.socket = None\n"
        f"checkpoint = replace(catalog.CHECKPOINTS[{NAME!r}], sha256={offered.sha256!r})\n"
        f"catalog.CHECKPOINTS[{NAME!r}] = checkpoint\n"
        f"tagger = Tagger.load(models=({NAME!r}, 'ms_crnn'), engine='onnx')\n"
        "samples = np.random.default_rng(0).standard_normal(320_000).astype(np.float32) * 0.1\n"
        f"given = tagger.tag(samples, 32_000).by_model[{NAME!r}]\n"
        f"np.testing.assert_allclose(given, {expected.tolist()}, atol=1e-4)",
        blocked=("torch", "torchaudio", "hear21passt", "onnx", "onnxscript", "tqdm", "http", "urllib.request"),
    )
    assert "torch" not in loaded
    says_where_it_comes_from(Bundle.load(folder), offered)


def says_where_it_comes_from(bundle: Bundle, offered: catalog.Checkpoint) -> None:
    assert bundle.name == NAME
    assert bundle.network["config"] == SMALL
    unused = 24 * 20 + 20
    assert bundle.network["parameters"] == sum(v.numel() for v in state_dict().values()) - unused
    assert bundle.provenance["url"] == offered.url
    assert bundle.provenance["sha256"] == offered.sha256
    assert bundle.provenance["licence"] == "Apache-2.0"
    assert "Koutini" in bundle.provenance["authors"]
    assert bundle.provenance["difference_from_torch"] <= 1e-4
    np.testing.assert_array_equal(bundle.thresholds, np.full(20, 0.5, np.float32))
    assert bundle.golden[0].shape == (128, 200)
    assert np.ptp(bundle.golden[1]) > 0.1
    card = (bundle.path / "MODEL_CARD.md").read_text()
    assert offered.url in card
    assert "Apache-2.0" in card


def test_a_file_that_training_fetched_stays(
    offered: catalog.Checkpoint, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(public_passt, "bundle_of", lambda path, to, name, origin: write_tiny(to, name))
    path = catalog.fetch_checkpoint(NAME)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == offered.sha256
    assert Tagger.load(models=(NAME,)).models == (NAME,)
    assert catalog.fetch_checkpoint(NAME) == path
    assert len(server.requests) == 1


def test_a_disk_that_fills_up_is_one_line(offered: catalog.Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "model.onnx")

    monkeypatch.setattr(public_passt, "bundle_of", full)
    with pytest.raises(ModelError, match=r"cannot be exported: model\.onnx: No space left"):
        catalog.public_bundle(NAME)
    (catalog.cache_folder() / offered.file).unlink()
    monkeypatch.setattr("shutil.disk_usage", lambda folder: SimpleNamespace(free=10))
    with pytest.raises(ModelError, match="10 bytes free"):
        catalog.public_bundle(NAME)


def test_without_torch_one_line_and_nothing_is_fetched(server: FileServer, home: Path) -> None:
    loaded_after(
        "from instrec_live.models import Tagger\n"
        "from instrec_live.models.errors import ModelError\n"
        "try:\n"
        f"    Tagger.load(models=({NAME!r},))\n"
        "except ModelError as error:\n"
        "    assert error.exit_code == 5\n"
        "    assert 'needs torch' in str(error), error\n"
        "    assert \"pip install 'instrec-live[train]'\" in str(error), error\n"
        "else:\n"
        "    raise AssertionError",
        blocked=("torch",),
    )
    assert list(catalog.cache_folder().iterdir()) == []


def test_without_network_the_command_reports_it_in_one_line(home: Path) -> None:
    nowhere = dict.fromkeys(("http_proxy", "https_proxy", "HTTPS_PROXY", "HTTP_PROXY"), "http://127.0.0.1:9")
    run = subprocess.run(
        [sys.executable, "-m", "instrec_live.realtime", "--demo", "--json", "--models", NAME],
        env={**os.environ, **nowhere, "no_proxy": "", "NO_PROXY": ""},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 5
    assert run.stdout == ""
    assert run.stderr.startswith(f"instrec-live: error: {NAME} cannot be fetched: https://github.com/kkoutini")
    assert run.stderr.count("\n") == 1
    assert list(catalog.cache_folder().iterdir()) == []


def without(state: dict[str, torch.Tensor], key: str) -> dict[str, torch.Tensor]:
    return {name: value for name, value in state.items() if name != key}


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda state: without(state, "cls_token"), "does not fit: 1 tensors differ, first cls_token"),
        (lambda state: state | {"extra": torch.zeros(1)}, "first extra"),
        (lambda state: state | {"head.1.weight": torch.zeros(527, 24)}, r"first head\.1\.weight"),
        (lambda state: state | {"norm.bias": torch.full((24,), torch.nan)}, r"norm\.bias is not finite"),
        (lambda state: {"model": state}, "not a state dict"),
        (lambda state: [1, 2], "not a state dict"),
    ],
)
def test_a_checkpoint_that_does_not_fit(monkeypatch, server: FileServer, spoil, words: str) -> None:
    offer(monkeypatch, server, spoil(state_dict()))
    with pytest.raises(ModelError, match=words):
        catalog.public_bundle(NAME)
    assert not any(path.is_dir() for path in catalog.cache_folder().iterdir())


def test_without_the_second_head_it_fits_too() -> None:
    state = without(without(state_dict(), "head_dist.weight"), "head_dist.bias")
    network = public_passt.load_network(SMALL, state)
    for key, value in network.state_dict().items():
        if key in state:
            assert torch.equal(value, state[key])


def test_a_pickle_is_not_executed(monkeypatch, server: FileServer, tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    offer(monkeypatch, server, {"cls_token": Bomb()})
    with pytest.raises(ModelError, match="not a readable checkpoint"):
        catalog.public_bundle(NAME)
    assert not (tmp_path / "executed").exists()


def test_another_file_than_published(monkeypatch, offered: catalog.Checkpoint) -> None:
    for changes, words in (({"sha256": "0" * 64}, "was published"), ({"size": 5}, "published: 5")):
        monkeypatch.setitem(catalog.CHECKPOINTS, NAME, replace(offered, **changes))
        with pytest.raises(ModelError, match=words):
            catalog.public_bundle(NAME)
        assert list(catalog.cache_folder().iterdir()) == []


def test_audioset_s_classes_are_for_training(monkeypatch, server: FileServer) -> None:
    wide = SMALL | {"n_classes": 527}
    state = registry.build("passt", **wide).state_dict()
    small = published(server.root, state, url=f"{server.url}/small.pt", config=wide, tagger=False)
    monkeypatch.setitem(catalog.CHECKPOINTS, "passt-audioset", small)
    read = public_passt.read_state_dict(catalog.fetch_checkpoint("passt-audioset"))
    assert public_passt.load_network(wide, read)(torch.zeros(1, 128, 200)).shape == (1, 527)
    with pytest.raises(ModelError, match=r"cannot tag instruments.*passt-openmic"):
        Tagger.load(models=("passt-audioset",))
    with pytest.raises(ModelError, match="no public model 'nonesuch'"):
        catalog.fetch_checkpoint("nonesuch")


def test_an_unknown_name_lists_the_models() -> None:
    with pytest.raises(ModelError, match=r"no bundled model 'nonesuch'.*cbam_cnn.*passt-openmic can be fetched"):
        Tagger.load(models=("nonesuch",))
    with pytest.raises(ModelError, match="the name of a model is empty"):
        Tagger.load("")


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_that_cannot_be_made(home: Path) -> None:
    home.mkdir(mode=0o500)
    with pytest.raises(ModelError, match="Permission denied"):
        catalog.public_bundle(NAME)


def test_a_cache_in_the_way(home: Path) -> None:
    home.mkdir()
    for name in (".cache", "instrec-live", "Library"):
        (home / name).touch()
    with pytest.raises(ModelError, match="fetched models are kept there"):
        catalog.public_bundle(NAME)


def test_the_published_network_has_this_shape() -> None:
    """The published file is as long as such a state dict: its numbers, and some kilobytes of names."""
    known = catalog.CHECKPOINTS[NAME]
    state = registry.build("passt", **known.config).state_dict()
    assert state["head.1.weight"].shape == (20, 768)
    assert state["time_new_pos_embed"].shape == (1, 768, 1, 99)
    assert 0 < known.size - 4 * sum(value.numel() for value in state.values()) < 100_000
