"""The whole of the offline work on archives laid out as OpenMIC, NSynth and IRMAS are: fetched, verified, unpacked,
pretrained on, trained on, weighed, evaluated, and heard live. Everything is a command, as a user types it."""

import csv
import hashlib
import json
import re
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("torch", reason="training needs the [train] extra")
pytest.importorskip("hear21passt", reason="training needs the [train] extra")
pytest.importorskip("matplotlib", reason="training needs the [train] extra")
pytest.importorskip("tqdm", reason="training needs the [train] extra")

from fake_irmas import write_fake_irmas_test, write_fake_irmas_train
from fake_nsynth import write_fake_nsynth
from fake_openmic import music, write_fake_openmic
from file_server import FileServer
from warm_python import WarmPython

from instrec_live.models.bundle import Bundle
from instrec_live.models.export.to_onnx import load_checkpoint

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
            run("training.data", "get", name, "--from", server.url, "--md5", served / "MD5SUMS", "--yes")
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
    run("training.synthesis.scenes", "paper", "--nsynth", data / "nsynth-train", "--subset", "--per-k", 2,
        "--seconds", 3, "--to", "synthetic")  # fmt: skip
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


def test_every_network_has_a_weight_and_a_card(trained: Path) -> None:
    weights = json.loads((trained / "ensemble.json").read_text())["weights"]
    assert set(weights) == set(NETWORKS)
    assert sum(weights.values()) == pytest.approx(1, abs=0.01)
    assert all(weight > 0 for weight in weights.values())
    figures = json.loads((trained.parent / "figures.json").read_text())["figures"]
    assert set(figures) == {*NETWORKS, "ensemble"}
    assert all(0 <= rows["openmic-2018"]["mAP"] <= 1 for rows in figures.values())
    for name in NETWORKS:
        assert "| openmic-2018 (" in (trained / name / "MODEL_CARD.md").read_text()


def test_cards_name_every_source_and_licence_and_invent_nothing(trained: Path) -> None:
    """From IRMAS, over OpenMIC and synthetic clips, to the ensemble's cards: IRMAS is not for commercial use."""
    for name in NETWORKS:
        card = (trained / name / "MODEL_CARD.md").read_text()
        provenance = Bundle.load(trained / name).provenance
        assert "freely licensed" not in card
        assert "Attribution (FMA track; labels CC BY 4.0)" in card
        assert "| CC BY 4.0 (NSynth) |" in card  # the synthetic clips
        began_with_irmas = name != "passt"
        assert ("CC BY-NC-SA 3.0" in card) == began_with_irmas
        assert ("**Not for commercial use:**" in card) == began_with_irmas
        assert ("non_commercial" in provenance) == began_with_irmas
        assert ("/weights.pt |" in card) == began_with_irmas
        assert "teachers" not in card  # nobody taught it
        assert "that it was not trained on" in card
        assert "; of its weights, those with the best mAP there were kept." in card
        assert ("A ResNet-like trunk" in card) == (name == "cbam_cnn")
        record = provenance["trained_on"]
        assert {each["name"] for each in record["data"]} == {"openmic", "synthetic"}
        assert record["versions"].keys() >= {"torch", "numpy", "instrec-live"}
        start = record["started_from"]
        assert (start is not None) == began_with_irmas
        if start is not None:
            assert [each["licences"] for each in start["record"]["data"]] == [{"CC BY-NC-SA 3.0": 88}]
    assert json.loads((trained.parent / "ms_crnn" / "run.json").read_text())["trained_on"]["fingerprint"]


def test_clips_that_a_network_learned_from_do_not_measure_it(run: Run, data: Path, trained: Path) -> None:
    run("training.data", "table", "--data", f"openmic-subset:{data / 'openmic-2018'}", "--to", "split.csv")
    (data.parent / "any.csv").write_text((data.parent / "split.csv").read_text().replace(",train,", ",,"))
    rows = (data.parent / "any.csv").read_text().splitlines()
    (data.parent / "any.csv").write_text("\n".join(row for row in rows if ",valid," not in row) + "\n")
    done = run("training.ensemble", "--valid", "table:any.csv", "--models", "ms_crnn", "--to", "runs/wrong", code=2)
    assert re.search(r"34 of \d+ clips of any\.csv are clips that ms_crnn learned from", done.stderr)
    assert not (data.parent / "runs" / "wrong").exists()


def test_a_run_is_not_resumed_with_other_data(run: Run, data: Path, trained: Path) -> None:
    done = run("training.ms_crnn", "--data", f"openmic-subset:{data / 'openmic-2018'}", "--steps", 12,
               "--evaluate-every", 6, "--init", "runs/pretrain/ms_crnn/weights.pt", "--batch", 6, "--workers", 1,
               code=5)  # fmt: skip
    assert "made with other data than are given now" in done.stderr


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
    done = run("training.data", "table", "--data", f"openmic-subset:{data / 'openmic-2018'}", "--data",
               f"table:{synthetic}", "--protocol", "paper", "--to", "paper.csv")  # fmt: skip
    rows = (data.parent / "paper.csv").read_text().splitlines()
    assert len(rows) == 1 + 60 + 22
    assert "82" in done.stdout + done.stderr
    given = ("--models", trained / "ms_crnn", "--protocol", "paper", "--boot", 0, "--to", "paper",
             "--data", f"openmic-subset:{data / 'openmic-2018'}", "--data", f"table:{synthetic}",
             "--min-positives", 1)  # fmt: skip
    done = run("training.evaluate", *given, code=2)
    assert re.search(r"\d of 9 clips of .* are clips that ms_crnn learned from", done.stderr)
    run("training.evaluate", *given, "--leave-out-learned")
    metrics = json.loads((data.parent / "paper" / "metrics.json").read_text())
    (evaluation,) = metrics["evaluations"]
    assert evaluation["splits"] == {"test": 9, "train": 65, "valid": 8}  # 80, 10 and 10 %
    (learned,) = metrics["learned"]
    assert 0 < learned["learned"] < 9
    assert evaluation["clips"] == 9 - learned["learned"]


@pytest.mark.parametrize("variant", ["A", "B", "C", "D"])
def test_one_test_set_serves_networks_with_and_without_synthetic_clips(
    run: Run, data: Path, synthetic: Path, variant: str
) -> None:
    given = ("--data", f"openmic-subset:{data / 'openmic-2018'}", "--data", f"table:{synthetic}",
             "--protocol", "paper", "--variant", variant)  # fmt: skip
    run("training.data", "table", *given, "--to", f"{variant}.csv")
    run("training.data", "table", *given, "--without-synthetic", "--to", f"{variant}-real.csv")
    rows = {}
    for name in (variant, f"{variant}-real"):
        with (data.parent / f"{name}.csv").open(newline="") as file:
            rows[name] = {(row["source"], Path(row["path"]).name): row["split"] for row in csv.DictReader(file)}
    with_synthetic, without = rows[variant], rows[f"{variant}-real"]
    assert {clip: split for clip, split in with_synthetic.items() if clip[0] != "synthetic"} == without
    assert len(with_synthetic) == (60 if variant == "B" else 82)
    test_clips = {clip for clip, split in without.items() if split == "test"}
    assert test_clips
    assert not test_clips & {clip for clip, split in with_synthetic.items() if split == "train"}


@pytest.mark.parametrize("variant", ["A", *(pytest.param(name, marks=pytest.mark.slow) for name in "BCD")])
def test_the_papers_tables_under_each_variant(run: Run, data: Path, synthetic: Path, variant: str) -> None:
    """Tables I to IV, of a network with and one without synthetic clips, on clips that neither learned from."""
    given = ("--data", f"openmic-subset:{data / 'openmic-2018'}", "--data", f"table:{synthetic}",
             "--protocol", "paper", "--variant", variant)  # fmt: skip
    runs = {"with": (), "without": ("--without-synthetic",)}
    for name, more in runs.items():
        run("training.ms_crnn", "--profile", "paper", *given, *more, "--steps", 2, "--batch", 4, "--evaluate-every", 2,
            "--workers", 0, "--no-bundle", "--to", f"runs/{variant}/{name}")  # fmt: skip
    clip = data.parent / f"{variant}.wav"
    soundfile.write(clip, music(["piano", "violin"], 3.0, np.random.default_rng(0)), 44_100)
    run("training.evaluate", *given, "--without-synthetic", "--models", f"runs/{variant}/with/weights.pt", "--without",
        f"runs/{variant}/without/weights.pt", "--clips", f"{clip}=piano+violin", "--boot", 20, "--min-positives", 1,
        "--to", f"tables/{variant}")  # fmt: skip
    report = (data.parent / "tables" / variant / "report.md").read_text()
    metrics = json.loads((data.parent / "tables" / variant / "metrics.json").read_text())
    assert [each["learned"] for each in metrics["learned"]] == [0, 0]
    assert [each["model"] for each in metrics["learned"]] == ["with", "with without"]
    (evaluation,) = metrics["evaluations"]
    for words in (
        f"{evaluation['clips']} clips (the test split)",
        "### Table I. Loss and macro-F1",
        "### Table II. With and without synthetic data",
        "### Table III. By instrument",
        "## Table IV. Real clips",
        f"| with | {evaluation['clips']} | 0 |",
        f"| with without | {evaluation['clips']} | 0 |",
    ):
        assert words in report
    tables = {line.split(" | ")[0].removeprefix("| ") for line in report.splitlines() if line.startswith("| ")}
    assert {"with", "with without", "piano", f"`{clip.name}`"} <= tables


def test_the_papers_recipe_under_its_protocol(run: Run, data: Path, synthetic: Path) -> None:
    """The notebook's CBAM-CNN: pretrained with poolings, really loaded, fine-tuned without, chosen by loss."""
    run("training.pretrain", "cbam_cnn", "--irmas", data, "--subset", "--profile", "paper", "--size", "paper",
        "--epochs", 0.2, "--batch", 8, "--to", "runs/paper/pretrained")  # fmt: skip
    done = run("training.cbam_cnn", "--profile", "paper", "--protocol", "paper",
               "--data", f"openmic-subset:{data / 'openmic-2018'}", "--data", f"table:{synthetic}",
               "--init", "runs/paper/pretrained/weights.pt", "--epochs", 0.2, "--batch", 4, "--no-bundle",
               "--to", "runs/paper/cbam_cnn")  # fmt: skip
    assert "starting with 18 of 20 tensors" in done.stderr  # all but the head
    recipe = load_checkpoint(data.parent / "runs" / "paper" / "cbam_cnn" / "weights.pt")["provenance"]["recipe"]
    assert recipe["network"] == {"trunk": "paper", "pooled": False}
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


def test_published_figures_and_ours_in_one_table(run: Run, data: Path) -> None:
    """On OpenMIC and IRMAS in small: the bundled networks, and a head learned on the training part."""
    done = run("training.published", "--openmic", data / "openmic-2018", "--irmas", data, "--subset", "--to", "beside")
    page = (data.parent / "beside" / "published.md").read_text()
    assert page.strip() in done.stdout
    for words in ("ensemble, zero-shot", "a head learned on OpenMIC's training", "DyMN-L", "| .870 |", "Han et al.",
                  "not to be compared"):  # fmt: skip
        assert words in page
    rows = json.loads((data.parent / "beside" / "published.json").read_text())
    assert [row["system"] for row in rows["openmic"]][-1].startswith("a head learned")
    assert all(0 <= row["mAP"] <= 1 for row in rows["openmic"])
    assert all(0 <= row["macro F1"] <= 1 for row in rows["irmas"])


def test_irmas_training_part_is_masked_to_its_one_instrument(run: Run, data: Path) -> None:
    run("training.data", "table", "--data", f"irmas-train-subset:{data}", "--to", "irmas.csv")
    with (data.parent / "irmas.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            known = [name for name, value in row.items() if name.startswith("m_") and float(value) > 0]
            assert len(known) == 1
            assert float(row["y_" + known[0].removeprefix("m_")]) == 1
            assert row["licence"] == "CC BY-NC-SA 3.0"
