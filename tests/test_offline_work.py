"""The whole of the offline work on archives laid out as OpenMIC, NSynth and IRMAS are: fetched, verified, unpacked,
pretrained on, trained on, weighed, evaluated, and heard live. Everything is a command, as a user types it."""

import hashlib
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("torch", reason="training needs the [train] extra")
pytest.importorskip("hear21passt", reason="training needs the [train] extra")
pytest.importorskip("matplotlib", reason="training needs the [train] extra")

from fake_irmas import write_fake_irmas_test, write_fake_irmas_train
from fake_nsynth import write_fake_nsynth
from fake_openmic import music, write_fake_openmic
from file_server import FileServer
from warm_python import WarmPython

from instrec_live.models.bundle import Bundle
from instrec_live.models.export import load_checkpoint

NETWORKS = ("passt", "cbam_cnn", "ms_crnn")
pytestmark = pytest.mark.timeout(900)

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def run(warm_python: WarmPython, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Runs python -m instrec_live.<module> … in one folder, and is told if it fails."""
    folder = tmp_path_factory.mktemp("work")

    def command(module: str, *arguments: object, code: int = 0) -> subprocess.CompletedProcess[str]:
        done = warm_python.run(f"instrec_live.{module}", *arguments, cwd=folder, code=code)
        assert "Traceback" not in done.stderr
        return done

    command.folder = folder  # type: ignore[attr-defined]
    return command


@pytest.fixture(scope="module")
def data(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three data sets, fetched from a server on this machine, and unpacked."""
    served = tmp_path_factory.mktemp("served")
    archives = [
        write_fake_openmic(served, clips=60, seconds=3.0),
        *(write_fake_nsynth(served, split, notes_per_family=4) for split in ("train", "valid", "test")),
        write_fake_irmas_train(served, recordings=5),
        *(write_fake_irmas_test(served, part) for part in (1, 2, 3)),
    ]
    sums = "".join(f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.name}\n" for path in archives)
    (served / "MD5SUMS").write_text(sums)
    with FileServer(served) as server:
        for name in ("openmic", "nsynth", "irmas"):
            run("training.datasets", "get", name, "--from", server.url, "--md5", served / "MD5SUMS", "--yes")
    folder: Path = run.folder / "data"  # type: ignore[attr-defined]
    assert sorted(path.name for path in folder.iterdir()) == [
        *(f"IRMAS-{part}" for part in ("TestingData-Part1", "TestingData-Part2", "TestingData-Part3", "TrainingData")),
        *(f"nsynth-{split}" for split in ("test", "train", "valid")),
        "openmic-2018",
    ]
    return folder


@pytest.fixture(scope="module")
def synthetic(run: Run, data: Path) -> Path:
    """The paper's mixtures, a few of each polyphony, in a table."""
    run("training.scenes", "paper", "--nsynth", data / "nsynth-train", "--subset", "--per-k", 2, "--seconds", 3,
        "--to", "synthetic")  # fmt: skip
    return data.parent / "synthetic" / "table.csv"


@pytest.fixture(scope="module")
def trained(run: Run, data: Path, synthetic: Path) -> Path:
    """The three networks: two begin with weights pretrained on IRMAS; then their ensemble. Returns its folder."""
    short = ("--batch", 6, "--workers", 1)
    for network in ("cbam_cnn", "ms_crnn"):
        run("training.pretrain", network, "--irmas", data, "--subset", "--epochs", 1, *short)
    for network in NETWORKS:
        given = () if network == "passt" else ("--init", f"runs/pretrain/{network}/weights.pt")
        profile = ("--profile", "resnet") if network == "cbam_cnn" else ()
        ending = () if network == "ms_crnn" else ("--no-bundle",)
        run(f"training.{network}", "--data", f"openmic-subset:{data / 'openmic-2018'}", "--data", f"table:{synthetic}",
            "--steps", 12, "--evaluate-every", 6, *profile, *given, *short, *ending)  # fmt: skip
    run("training.ensemble", "--valid", f"openmic-subset:{data / 'openmic-2018'}", "--to", "runs/ensemble")
    return data.parent / "runs" / "ensemble"


def test_pretraining_is_really_loaded(run: Run, trained: Path) -> None:
    runs = trained.parent
    pretrained = load_checkpoint(runs / "pretrain" / "ms_crnn" / "weights.pt")
    assert pretrained["state_dict"]["head.weight"].shape[0] == 11
    assert pretrained["provenance"]["command"].startswith("python -m training.pretrain ms_crnn --irmas ")
    line = json.loads((runs / "pretrain" / "ms_crnn" / "log.jsonl").read_text().splitlines()[-1])
    assert {"valid_accuracy", "valid_macro_accuracy", "valid_loss"} <= line.keys()
    done = run("training.ms_crnn", "--phrases", "nowhere", "--init", "runs/pretrain/cbam_cnn/weights.pt", code=5)
    assert "not weights of this network" in done.stderr


def test_every_run_kept_its_figures_and_ended_in_a_bundle(trained: Path) -> None:
    for network in NETWORKS:
        lines = [json.loads(line) for line in (trained.parent / network / "log.jsonl").read_text().splitlines()]
        assert [line["step"] for line in lines] == [6, 12]
        assert all(0 <= line["valid_mAP"] <= 1 for line in lines)
        assert lines[-1]["loss"] < lines[0]["loss"] * 1.05
        assert Bundle.load(trained / network).provenance["recipe"]["select"] == "mAP"
    assert Bundle.load(trained.parent / "ms_crnn" / "bundle").sha256 == Bundle.load(trained / "ms_crnn").sha256


def test_a_network_weighs_by_its_odds_of_ranking_rightly(trained: Path) -> None:
    weights = json.loads((trained / "ensemble.json").read_text())["weights"]
    assert set(weights) == set(NETWORKS)
    assert sum(weights.values()) == pytest.approx(1, abs=0.01)
    pytest.importorskip("torch")
    from instrec_live.training.ensemble import choose_weights

    rng = np.random.default_rng(0)
    truth = (rng.random((400, 20)) < 0.3).astype(np.float32)
    mask = np.ones_like(truth)
    logits = {name: truth + noise * rng.standard_normal(truth.shape) for name, noise in
              (("good", 0.6), ("fair", 0.8), ("poor", 1.2))}  # fmt: skip
    found = choose_weights({name: z.astype(np.float32) for name, z in logits.items()}, truth, mask)
    assert found["good"] > found["fair"] > found["poor"] > 0
    assert found["poor"] < 0.2
    perfect = choose_weights({"a": truth, "b": logits["poor"].astype(np.float32)}, truth, mask)
    assert perfect["a"] > 0.99  # and finite, though its odds are not
    unknown = choose_weights({"a": truth, "b": truth}, truth, np.zeros_like(mask))
    assert unknown == {"a": 0.5, "b": 0.5}


def test_one_report_of_openmic_irmas_and_real_clips(run: Run, data: Path, synthetic: Path, trained: Path) -> None:
    clips = data.parent / "clips"
    clips.mkdir()
    soundfile.write(clips / "duet.wav", music(["piano", "violin"], 3.0, np.random.default_rng(0)), 44_100)
    run("training.evaluate", "--models", *(trained / name for name in NETWORKS),
        "--without", *NETWORKS,
        "--data", f"openmic-subset:{data / 'openmic-2018'}", "--data", f"irmas-test-subset:{data}",
        "--clips", f"{clips / 'duet.wav'}=piano+violin", "--boot", 20, "--to", "report")  # fmt: skip
    report = data.parent / "report"
    page = next(report.glob("*.md")).read_text()
    for words in ("Table I", "Table II", "Table III", "Table IV", "duet.wav"):
        assert words in page
    assert len(list(report.rglob("*.png"))) >= 3


def test_the_paper_protocol_splits_real_and_synthetic_together(
    run: Run, data: Path, synthetic: Path, trained: Path
) -> None:
    done = run("training.datasets", "table", "--data", f"openmic-subset:{data / 'openmic-2018'}", "--data",
               f"table:{synthetic}", "--protocol", "paper", "--to", "paper.csv")  # fmt: skip
    rows = (data.parent / "paper.csv").read_text().splitlines()
    assert len(rows) == 1 + 60 + 22
    assert "82" in done.stdout + done.stderr
    run("training.evaluate", "--models", trained / "ms_crnn", "--protocol", "paper", "--boot", 0, "--to", "paper",
        "--data", f"openmic-subset:{data / 'openmic-2018'}", "--data", f"table:{synthetic}")  # fmt: skip
    (evaluation,) = json.loads((data.parent / "paper" / "metrics.json").read_text())["evaluations"]
    assert evaluation["splits"] == {"test": 9, "train": 65, "valid": 8}  # 80, 10 and 10 %
    assert evaluation["clips"] == 9


def test_the_papers_recipe_under_its_protocol(run: Run, data: Path, synthetic: Path) -> None:
    """The notebook's CBAM-CNN: pretrained with poolings, really loaded, fine-tuned without, chosen by loss."""
    run("training.pretrain", "cbam_cnn", "--irmas", data, "--subset", "--profile", "paper", "--size", "reference",
        "--epochs", 0.2, "--batch", 8, "--to", "runs/paper/pretrained")  # fmt: skip
    done = run("training.cbam_cnn", "--profile", "paper", "--protocol", "paper",
               "--data", f"openmic-subset:{data / 'openmic-2018'}", "--data", f"table:{synthetic}",
               "--init", "runs/paper/pretrained/weights.pt", "--epochs", 0.2, "--batch", 4, "--no-bundle",
               "--to", "runs/paper/cbam_cnn")  # fmt: skip
    assert "beginning with 18 of 20 tensors" in done.stderr  # all but the head
    recipe = load_checkpoint(data.parent / "runs" / "paper" / "cbam_cnn" / "weights.pt")["provenance"]["recipe"]
    assert recipe["network"] == {"trunk": "reference", "pooled": False}
    assert (recipe["select"], recipe["synthetic_weight"], recipe["steps"]) == ("loss", 3.0, 3)


def test_a_trained_ensemble_goes_live(run: Run, trained: Path, data: Path) -> None:
    folder = data.parent
    soundfile.write(folder / "solo.wav", music(["trumpet"], 6.0, np.random.default_rng(1)), 44_100)
    done = run("realtime", "--file", "solo.wav", "--pace", "max", "--json", "--models",
               ",".join(str(trained / name) for name in NETWORKS))  # fmt: skip
    header, *updates, summary = map(json.loads, done.stdout.splitlines())
    assert header["models"].keys() == set(NETWORKS)
    assert header["models"]["passt"] == Bundle.load(trained / "passt").sha256
    assert summary["type"] == "summary"
    assert len(updates) == 12
