"""The page on your own networks works: its script makes a bundle that goes live, and its new network is trained."""

import json
import shutil
from pathlib import Path

import pytest
import soundfile
from demo_sound import clip
from docs_pages import CHECKOUT, blocks, files, lines, type_in

pytest.importorskip("torch", reason="the page's networks need torch: pip install 'instrec-live[train]'")
pytest.importorskip("onnxscript", reason="the export needs onnxscript: pip install 'instrec-live[train]'")
pytest.importorskip("tqdm", reason="training needs the [train] extra")

from spectral_phrases import write_phrases

from instrec_live.models.bundle import Bundle
from instrec_live.models.instruments import INSTRUMENTS

PAGE = (CHECKOUT / "docs" / "networks.md").read_text(encoding="utf-8")
SCRIPT, *_ = blocks(PAGE, "python")
ADDED, *_ = [b for b in blocks(PAGE, "python") if b.startswith("# models/networks/registry.py, at the end\n")]
OWN, TRAINED = (lines(block) for block in blocks(PAGE, "sh"))
FEW = " --steps 4 --batch 4 --evaluate-every 2"


def heard(folder: Path, line: str, env: dict[str, str] | None = None) -> list[dict]:
    """The header and the updates of a line that listens to concert.wav."""
    head, *updates, _ = map(json.loads, type_in(folder, f"{line.split('  ')[0]} --pace max --json", env).splitlines())
    assert updates[-1]["probabilities"].keys() == set(INSTRUMENTS)
    return [head, *updates]


@pytest.fixture
def here(tmp_path: Path) -> Path:
    soundfile.write(tmp_path / "concert.wav", clip(2.0), 44_100)
    return tmp_path


def test_a_bundle_of_any_network(here: Path) -> None:
    (here / "make.py").write_text(SCRIPT, encoding="utf-8")
    type_in(here, "python make.py")
    bundle = Bundle.load(here / "my" / "bundle")
    assert sorted(file.name for file in bundle.path.iterdir()) == [
        "MODEL_CARD.md",
        "golden.npz",
        "manifest.json",
        "model.onnx",
    ]
    examine, alone, beside = OWN
    assert "verdict: ready" in type_in(here, examine)
    assert list(heard(here, alone)[0]["models"]) == ["toy"]
    head, *_, last = heard(here, beside)
    assert head["weights"] == {"toy": 1, "passt": 2, "cbam_cnn": 2}
    assert last["by_model"].keys() == {"toy", "passt", "cbam_cnn"}


@pytest.fixture
def house(here: Path) -> Path:
    """A copy of the checkout's packages with what the page adds to them."""
    packages = here / "house" / "instrec_live"
    unneeded = shutil.ignore_patterns("__pycache__", "bundles", "*.npz")
    shutil.copytree(CHECKOUT / "src" / "instrec_live", packages)
    for package in ("models", "realtime", "training"):
        shutil.copytree(CHECKOUT / package, packages / package, ignore=unneeded)
    (packages / "models" / "bundles").symlink_to(CHECKOUT / "models" / "bundles")
    for name, content in files(PAGE).items():
        assert not (packages / name).exists(), "what the page calls new is there already"
        (packages / name).write_text(content, encoding="utf-8")
    with (packages / "models" / "networks" / "registry.py").open("a", encoding="utf-8") as networks:
        networks.write(f"\n\n{ADDED}")
    return packages.parent


def test_a_new_network_and_its_recipe(here: Path, house: Path) -> None:
    write_phrases(here / "runs" / "phrases")
    env = {"PYTHONPATH": str(house)}
    train, examine, listen = TRAINED
    type_in(here, train.replace("-m training.", "-m instrec_live.training.") + FEW, env)
    bundle = Bundle.load(here / "runs" / "bands" / "bundle")
    assert (bundle.name, bundle.width) == ("bands", 64)
    assert "verdict: ready" in type_in(here, examine, env)
    assert list(heard(here, listen, env)[0]["models"]) == ["bands"]


LINT = 'python -c "from importlinter.cli import lint_imports_command; lint_imports_command()"'


def test_the_contracts_are_those_that_the_page_names(house: Path) -> None:
    pytest.importorskip("importlinter", reason="the contracts need the [dev] extra")
    before = (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8")
    layers = '"cbam_cnn | ensemble'
    assert before.count(layers) == 1
    after = before.replace(layers, layers.replace("cbam_cnn", "bands | cbam_cnn"))
    env = {"PYTHONPATH": str(house)}
    (house / "pyproject.toml").write_text(after, encoding="utf-8")
    assert "0 broken" in type_in(house, LINT, env)
    (house / "pyproject.toml").write_text(before, encoding="utf-8")
    assert "1 broken" in type_in(house, f"{LINT} || true", env)
