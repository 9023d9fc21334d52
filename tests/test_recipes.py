"""The recipes as commands: killed at any moment they end as if not, shared by processes as if by one, and go live."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the [train] extra")
pytest.importorskip("hear21passt", reason="training needs the [train] extra")
pytest.importorskip("tqdm", reason="training needs the [train] extra")

from spectral_phrases import write_phrases

from instrec_live.models import Tagger
from instrec_live.models.bundle import Bundle
from instrec_live.models.export import load_checkpoint
from instrec_live.models.networks import build

ENVIRONMENT = os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
SHORT = ("--steps", "6", "--batch", "4", "--evaluate-every", "2", "--precision", "fp32", "--checkpoint-every", "0")
PROFILE = {"cbam_cnn": ("--profile", "resnet"), "ms_crnn": (), "passt": ()}


@pytest.fixture(scope="module")
def phrases(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phrases(tmp_path_factory.mktemp("data") / "phrases")


def command(network: str, phrases: Path, to: Path, *options: str) -> list[str]:
    return [
        *(f"instrec_live.training.{network}", "--phrases", str(phrases), "--to", str(to)),
        *(*SHORT, *PROFILE[network], *options),
    ]


def run(*arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, "-m", *arguments], env=ENVIRONMENT, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == code, done.stderr
    return done


def weights(to: Path) -> dict[str, torch.Tensor]:
    return load_checkpoint(to / "weights.pt")["state_dict"]


@pytest.mark.skipif(os.name != "posix", reason="SIGKILL is a POSIX signal")
@pytest.mark.parametrize("network", ["cbam_cnn", "ms_crnn", "passt"])
def test_a_killed_run_ends_as_one_that_was_not(phrases: Path, tmp_path: Path, network: str) -> None:
    """SIGKILL at random moments after the first checkpoint, twice; bit for bit the same weights in the end."""
    whole = command(network, phrases, tmp_path / "whole", "--no-bundle")
    run(*whole)
    steps = []
    for _ in range(2):
        arguments = command(network, phrases, tmp_path / "cut", "--no-bundle")
        # A run outlives a fast machine: it is told to be nice, and is killed some steps further on.
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments], env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        checkpoint = tmp_path / "cut" / "checkpoint.pt"
        before = checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0
        while process.poll() is None and (not checkpoint.exists() or checkpoint.stat().st_mtime_ns == before):
            time.sleep(0.01)
        time.sleep(random.uniform(0, 0.4))
        process.send_signal(signal.SIGKILL)
        process.wait()
        steps.append(torch.load(checkpoint, weights_only=True)["step"])
    assert steps[0] < 6, "it ended before it was killed"
    run(*command(network, phrases, tmp_path / "cut", "--no-bundle"))
    expected, got = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    log = [json.loads(line)["step"] for line in (tmp_path / "cut" / "log.jsonl").read_text().splitlines()]
    assert log == [2, 4, 6]


@pytest.mark.parametrize("network", ["cbam_cnn", "ms_crnn", "passt"])
def test_two_processes_do_as_one(phrases: Path, tmp_path: Path, network: str) -> None:
    """torchrun with gloo, half of each batch in each process: batch norms, dropout, losses and all as in one."""
    options = ("--no-bundle", "--workers", "0", "--steps", "2", "--evaluate-every", "1")
    run(*command(network, phrases, tmp_path / "one", *options))
    run("torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--standalone", "-m",
        *command(network, phrases, tmp_path / "two", *options))  # fmt: skip
    logs = [(tmp_path / to / "log.jsonl").read_text().splitlines() for to in ("one", "two")]
    losses = [[json.loads(line)["loss"] for line in log] for log in logs]
    assert losses[1] == pytest.approx(losses[0], rel=3e-4)
    checkpoint = load_checkpoint(tmp_path / "one" / "weights.pt")
    torch.manual_seed(0)
    start = build(network, **checkpoint["config"]).state_dict()
    one, two = checkpoint["state_dict"], weights(tmp_path / "two")
    assert one.keys() == two.keys()
    names = [name for name, value in one.items() if value.is_floating_point()]
    moved, apart = (sum(float((a[n] - b[n]).square().sum()) for n in names) for a, b in ((one, start), (one, two)))
    # Sums in another order differ in their last digits, and Adam makes much of a gradient that is all last digits.
    print("APART", network, (apart / moved) ** 0.5)
    assert apart < 0.1**2 * moved
    assert moved > 0


def test_batches_that_cannot_be_shared_are_refused(phrases: Path, tmp_path: Path) -> None:
    arguments = command("ms_crnn", phrases, tmp_path / "run", "--no-bundle")
    arguments[arguments.index("4")] = "5"
    done = run("torch.distributed.run", "--nproc-per-node", "2", "--standalone", "-m", *arguments, code=1)
    assert "error: 2 processes cannot share batches of 5 evenly" in done.stderr


@pytest.mark.parametrize("network", ["ms_crnn"])
def test_a_recipe_ends_in_a_bundle_that_goes_live(phrases: Path, tmp_path: Path, network: str) -> None:
    done = run(*command(network, phrases, tmp_path / "run"))
    assert f"instrec-live --models {tmp_path / 'run' / 'bundle'}" in done.stderr
    assert "Traceback" not in done.stderr
    bundle = Bundle.load(tmp_path / "run" / "bundle")
    assert bundle.provenance["recipe"]["steps"] == 6
    assert "--steps 6" in bundle.provenance["command"]
    tags = Tagger.load(models=[tmp_path / "run" / "bundle"]).tag([0.0] * 64_000, 32_000)
    assert tags.probabilities.shape == (20,)


@pytest.mark.parametrize(
    ("options", "words", "code"),
    [
        (("--lr", "-1"), "--lr must be more than 0", 2),
        (("--phrases", "nowhere"), "nowhere/index.json: not found", 4),
        (("--valid", "kazoo:x"), "unknown kind of data 'kazoo'", 2),
        (("--data", "openmic:nowhere"), "nowhere", 4),
        (("--init", "nowhere.pt"), "nowhere.pt: not a readable checkpoint", 5),
        (("--teacher", "nowhere.pt"), "nowhere.pt: not a readable checkpoint", 5),
        (("--profile", "paper"), "counted in epochs of recordings", 2),
        (("--scene-share", "2", "--data", "openmic:nowhere"), "nowhere", 4),
    ],
)
def test_mistakes_are_one_line(phrases: Path, tmp_path: Path, options: tuple, words: str, code: int) -> None:
    arguments = [*command("ms_crnn", phrases, tmp_path / "run"), *options]
    if "paper" in options:
        arguments = [word for word in arguments if word not in ("--steps", "6")]
    done = run(*arguments, code=code)
    assert words in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "run" / "weights.pt").exists()
