"""The recipes as commands: killed at any moment they end as if not, shared by processes as if by one, and go live."""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

torch = pytest.importorskip("torch", reason="training needs the [train] extra")
pytest.importorskip("hear21passt", reason="training needs the [train] extra")
pytest.importorskip("onnxscript", reason="training needs the [train] extra")
pytest.importorskip("sklearn", reason="training needs the [train] extra")
pytest.importorskip("joblib", reason="training needs the [train] extra")
pytest.importorskip("tqdm", reason="training needs the [train] extra")

from spectral_phrases import write_phrases
from warm_python import WarmPython

from instrec_live.models import Tagger
from instrec_live.models.bundle import Bundle
from instrec_live.models.errors import InputFileError, InstrecError, ModelError, UsageError
from instrec_live.models.export.to_onnx import load_checkpoint
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.networks.registry import build
from instrec_live.training import cbam_cnn, ensemble, ms_crnn, passt, pretrain
from instrec_live.training.command import entry
from instrec_live.training.data.clips import Clips
from instrec_live.training.data.table import Table, write_table
from instrec_live.training.learning import options as options_module
from instrec_live.training.learning import run as run_module
from instrec_live.training.learning.card import ClipScores
from instrec_live.training.learning.distributed import ProcessGroup

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
def test_a_killed_run_ends_as_one_that_was_not(
    phrases: Path, tmp_path: Path, network: str, warm_python: WarmPython
) -> None:
    """SIGKILL at random moments after the first checkpoint, twice; bit for bit the same weights in the end, as those of
    a Python of its own, with other hashes."""
    run(*command(network, phrases, tmp_path / "whole", "--no-bundle"))
    cut = command(network, phrases, tmp_path / "cut", "--no-bundle")
    checkpoint, steps = tmp_path / "cut" / "checkpoint.pt", []
    for _ in range(2):
        before, pid = written(checkpoint), warm_python.start(*cut)
        while written(checkpoint) == before and warm_python.runs():
            time.sleep(0.005)
        time.sleep(random.uniform(0, 0.1))
        if warm_python.runs():
            os.kill(pid, signal.SIGKILL)
        warm_python.end()
        steps.append(torch.load(checkpoint, weights_only=True)["step"])
    assert steps[0] < 6, "it ended before it was killed"
    warm_python.run(*cut)
    expected, got = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[name], got[name]) for name in expected)
    log = [json.loads(line)["step"] for line in (tmp_path / "cut" / "log.jsonl").read_text().splitlines()]
    assert log == [2, 4, 6]


def written(checkpoint: Path) -> int:
    return checkpoint.stat().st_mtime_ns if checkpoint.exists() else 0


@pytest.mark.parametrize("network", ["cbam_cnn", "ms_crnn", "passt"])
def test_two_processes_do_as_one(phrases: Path, tmp_path: Path, network: str, warm_python: WarmPython) -> None:
    """torchrun with gloo, half of each batch in each process: batch norms, dropout, losses and all as in one."""
    options = ("--no-bundle", "--workers", "0", "--steps", "2", "--evaluate-every", "1")
    warm_python.run(*command(network, phrases, tmp_path / "one", *options))
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
        (("--init", "nowhere.pt"), "nowhere.pt: not ", 5),
        (("--init", "nowhere.npz"), "nowhere.npz: not found", 4),
        (("--unions", "nowhere"), "--unions takes the place of scenes", 2),
        (("--profile", "paper"), "counted in epochs of recordings", 2),
        (("--scene-share", "2", "--data", "openmic:nowhere"), "nowhere", 4),
    ],
)
def test_mistakes_are_one_line(
    phrases: Path,
    tmp_path: Path,
    options: tuple,
    words: str,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    arguments = [*command("ms_crnn", phrases, tmp_path / "run"), *options]
    if "paper" in options:
        arguments = [word for word in arguments if word not in ("--steps", "6")]
    monkeypatch.setattr(sys, "argv", arguments)
    with pytest.raises(SystemExit) as end:
        entry(ms_crnn.main)
    said = capsys.readouterr().err
    assert end.value.code == code
    assert words in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run" / "weights.pt").exists()


# Options, in this process


def labelled(folder: Path, splits: list[str], known: bool = True) -> Path:
    """A table of clips of 2 s; clip i has instrument i % 20, and not the others, or nobody knows of those."""
    rng, n = np.random.default_rng(0), len(splits)
    folder.mkdir(parents=True, exist_ok=True)
    paths = tuple(folder / f"{i}.flac" for i in range(n))
    for path in paths:
        soundfile.write(path, rng.uniform(-0.1, 0.1, 64_000), 32_000)
    labels = np.eye(20, dtype=np.float32)[np.arange(n) % 20]
    names, source = np.array([str(i) for i in range(n)]), np.full(n, "clips")
    mask = np.ones_like(labels) if known else labels
    write_table(folder / "table.csv", Table(paths, source, names, np.array(splits), labels, mask))
    return folder / "table.csv"


def parse_engine(*options: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    options_module.add_options(parser, "ms_crnn", ms_crnn.PROFILES)
    return parser.parse_args([*options])


def opened(*options: str) -> options_module.Data:
    args = parse_engine(*options)
    return options_module.open_data(args, options_module.recipe_of(args, ms_crnn.PROFILES))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--batch", "0"), "--batch must be more than 0"),
        (("--lr", "nan"), "--lr must be more than 0"),
        (("--workers", "-1"), "--workers must be at least 0"),
        (("--threads", "0"), "--threads must be at least 1"),
        (("--accumulate", "0"), "--accumulate must be at least 1"),
        (("--seed", "-1"), "--seed must be at least 0"),
        (("--steps", "3", "--epochs", "3"), "give one of them"),
        (("--epochs", "3", "--evaluate-every", "3", "--data", "x"), "evaluated after each"),
    ],
)
def test_numbers_that_make_no_sense_or_would_have_no_effect(options: tuple, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        options_module.recipe_of(parse_engine(*options), ms_crnn.PROFILES)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--compile",), "--compile is for a GPU"),
        (("--accumulate", "7"), "cannot be divided into 7 equal parts"),
    ],
)
def test_what_makes_no_sense_where_it_runs(options: tuple, words: str) -> None:
    args = parse_engine(*options)
    recipe = options_module.recipe_of(args, ms_crnn.PROFILES)
    with pytest.raises(UsageError, match=words):
        options_module.check_device(args, recipe, ProcessGroup())
    with pytest.raises(UsageError, match="imitates a teacher"):
        options_module.check_device(parse_engine("--accumulate", "2"), replace(recipe, imitate=1.0), ProcessGroup())


@pytest.mark.parametrize(
    ("cores", "local", "threads", "workers"),
    [(2, "1", "1", 1), (1, "1", "1", 1), (16, "1", "2", 14), (64, "4", "1", 15)],
)
def test_workers_by_cores(cores: int, local: str, threads: str, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(options_module, "cpu_count", lambda: cores)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", local)
    assert options_module.workers_of(parse_engine("--threads", threads)) == workers
    assert options_module.workers_of(parse_engine("--workers", "0")) == 0


def test_validation_uses_only_the_valid_split(tmp_path: Path) -> None:
    train, valid = (
        labelled(tmp_path / "a", ["train"] * 3),
        labelled(tmp_path / "b", ["train", "valid", "test", "valid"]),
    )
    data = opened("--data", f"table:{train}", "--valid", f"table:{valid}")
    assert [Path(file).name for file in data.clips.files] == ["1.flac", "3.flac"]
    with pytest.raises(UsageError, match="3 clips are both in --data to train on and in --valid"):
        opened("--data", f"table:{train}", "--valid", f"table:{train}")


def test_an_epoch_is_every_recording_once_whatever_is_mixed_in(phrases: Path, tmp_path: Path) -> None:
    data = ("--data", f"table:{labelled(tmp_path / 'a', ['train'] * 6)}")
    assert opened(*data).epoch == 6
    assert opened(*data, "--phrases", str(phrases), "--scene-share", "0.25").epoch == 8
    assert opened(*data, "--phrases", str(phrases), "--scene-share", "1").epoch == 0
    with pytest.raises(UsageError, match="--scene-share must be over 0 and below 1"):
        opened(*data, "--phrases", str(phrases), "--scene-share", "1", "--epochs", "2")


def test_the_best_by_a_measure_that_is_not_there_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Clips that all hold their one instrument and say nothing of others have no mAP."""
    monkeypatch.setitem(ms_crnn.PROFILES, "ours", replace(ms_crnn.PROFILES["ours"], select="mAP"))
    silent = labelled(tmp_path / "a", ["train", "valid", "valid"], known=False)
    with pytest.raises(UsageError, match="the best mAP cannot be chosen"):
        opened("--data", f"table:{silent}")


@pytest.mark.parametrize(
    ("known", "scenes", "patience", "expected"),
    [
        (True, False, (), ("mAP", 8)),
        (True, False, ("--patience", "3"), ("mAP", 3)),
        (True, False, ("--patience", "0"), ("last", 0)),
        (False, False, (), ("last", 0)),
        (False, False, ("--patience", "3"), None),
        (True, True, (), ("last", 0)),
        (True, True, ("--patience", "3"), ("mAP", 3)),
    ],
)
def test_when_a_run_ends_early(
    phrases: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known, scenes, patience, expected
) -> None:
    carried = []
    monkeypatch.setattr(run_module, "train", lambda recipe, *_, **__: carried.append(recipe))
    table = f"table:{labelled(tmp_path / 'a', ['train', 'valid', 'valid'], known)}"
    data = ("--phrases", str(phrases), "--valid", table) if scenes else ("--data", table)
    args = parse_engine(*data, *patience, "--no-bundle", "--device", "cpu")
    recipe = options_module.recipe_of(args, ms_crnn.PROFILES)
    if expected is None:
        with pytest.raises(UsageError, match="--patience needs validation clips"):
            run_module.carry_out(args, recipe, build("ms_crnn"))
    else:
        run_module.carry_out(args, recipe, build("ms_crnn"))
        assert (carried[0].select, carried[0].patience) == expected


def test_the_papers_cbam_cnn_begins_with_the_log_odds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "train", lambda *_, **__: None)
    args = parse_engine("--data", f"table:{labelled(tmp_path / 'a', ['train', 'train', 'valid'])}", "--no-bundle")
    network = build("cbam_cnn", trunk="paper")
    run_module.carry_out(args, cbam_cnn.PROFILES["paper"], network)
    expected = np.log(np.array([2 / 2, 2 / 2, 1 / 3]))  # one of two, one of two, none of two; one added to each
    np.testing.assert_allclose(network.head.bias.detach().numpy()[:3], expected, rtol=1e-5)


def test_music_is_checked_before_it_is_analysed(phrases: Path, tmp_path: Path) -> None:
    music = tmp_path / "music.npy"
    with pytest.raises(InputFileError, match=r"music\.npy: not found"):
        opened("--phrases", str(phrases), "--music", str(music))
    music.write_bytes(b"no array")
    with pytest.raises(InputFileError, match="not a readable array"):
        opened("--phrases", str(phrases), "--music", str(music))
    for array, words in (
        (np.zeros((2, 64, 1000), np.float16), "no log-mels"),
        (np.zeros((2, 128, 1000)), "no log-mels"),
        (np.zeros((2, 128, 300), np.float16), "no windows of 6 s"),
        (np.zeros((0, 128, 1000), np.float16), "no windows"),
    ):
        np.save(music, array)
        with pytest.raises(InputFileError, match=words):
            opened("--phrases", str(phrases), "--music", str(music))
    np.save(music, np.zeros((2, 128, 1000), np.float16))
    assert opened("--phrases", str(phrases), "--music", str(music)).loader.batch(0).real.dtype == torch.bool
    table = f"table:{labelled(tmp_path / 'a', ['train'])}"
    with pytest.raises(UsageError, match="--music is used in scenes"):
        opened("--data", table, "--music", str(music))


def test_the_result_lies_between_the_anchor_and_what_was_learnt() -> None:
    networks = [build("cbam_cnn", trunk="mobilenet", audioset_weight=0.4) for _ in range(2)]
    states = [{k: v.clone() for k, v in network.state_dict().items()} for network in networks]
    cbam_cnn.between(networks[0], networks[1], 0.25)
    for name, value in networks[0].state_dict().items():
        torch.testing.assert_close(value, 0.75 * states[0][name] + 0.25 * states[1][name])


@pytest.mark.parametrize(
    "config", [{"trunk": "resnet"}, {"trunk": "mobilenet", "audioset_weight": 0.4, "n_classes": 11}]
)
def test_an_anchor_of_another_shape_is_refused_before_anything_is_learnt(tmp_path: Path, config: dict) -> None:
    path, state = tmp_path / "anchor.pt", build("cbam_cnn", **config).state_dict()
    torch.save({"name": "cbam_cnn", "config": config, "state_dict": state, "provenance": {}}, path)
    with pytest.raises(ModelError, match="another network than the trained one"):
        cbam_cnn._anchor(path, build("cbam_cnn", trunk="mobilenet", audioset_weight=0.4))


def test_an_ensemble_s_runs_are_called_as_their_networks(tmp_path: Path) -> None:
    """Else card and weights would be of one name, and the bundle of another."""
    path = tmp_path / "mine" / "weights.pt"
    path.parent.mkdir()
    torch.save({"name": "ms_crnn", "config": {}, "state_dict": {}, "provenance": {}}, path)
    with pytest.raises(ModelError, match="holds a ms_crnn, not a mine"):
        ensemble._checkpoint(path, "mine")
    assert ensemble._checkpoint(path, "ms_crnn")["name"] == "ms_crnn"


@pytest.mark.parametrize(
    ("module", "options", "words"),
    [
        (cbam_cnn, ("--profile", "resnet", "--init", "yamnet.npz"), "do not fit this profile"),
        (cbam_cnn, ("--init", "yamnet.npz"), "not YAMNet's weights"),
        (cbam_cnn, ("--init", "yamnet.npz", "--keep", "1.5"), "--keep must be 0 to 1"),
        (cbam_cnn, ("--keep", "0.5"), "--anchor and --keep need a network that starts with YAMNet's weights"),
        (cbam_cnn, ("--profile", "resnet", "--init", "a.pt", "--anchor", "b.pt"), "--anchor and --keep need"),
        (passt, ("--init", "audioset"), "the AudioSet checkpoint is a PaSST-S"),
        (pretrain, ("ms_crnn", "--irmas", "x", "--batch", "0"), "--batch must be more than 0"),
        (pretrain, ("ms_crnn", "--irmas", "x", "--size", "tiny"), "no MS-CRNN size 'tiny'"),
        (pretrain, ("cbam_cnn", "--irmas", "x", "--size", "tiny"), "no CBAM-CNN trunk 'tiny'"),
        (pretrain, ("ms_crnn", "--irmas", "x", "--profile", "paper", "--patience", "3"), "keeps the last weights"),
    ],
)
def test_options_of_single_recipes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module, options, words) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "yamnet.npz").write_bytes(b"PK no archive")
    (tmp_path / "yamnet_class_map.csv").write_text("display_name\n")
    monkeypatch.setattr("sys.argv", ["recipe", *options])
    with pytest.raises(InstrecError, match=words):
        module.main()


def test_clips_that_measure_nothing_are_refused_before_they_are_read() -> None:
    n = 4
    truth = np.eye(n, len(INSTRUMENTS), dtype=np.float32)
    paths, words = tuple(Path(f"{i}.wav") for i in range(n)), np.full(n, "clips")
    table = Table(paths, words, np.array(list("abcd")), np.full(n, "valid"), truth, np.ones_like(truth))
    ensemble.check_measurable({"some": table})
    with pytest.raises(UsageError, match="solos measures nothing"):
        ensemble.check_measurable({"some": table, "solos": replace(table, mask=truth)})
    with pytest.raises(UsageError, match="of one recording"):
        ensemble.check_measurable({"some": replace(table, group=words)})


def test_top_1_of_the_ensemble_ignores_what_is_unknown() -> None:
    """Two solos; in the second, an instrument that may sound too is likeliest."""
    truth, mask = np.zeros((4, 20), np.float32), np.ones((4, 20), np.float32)
    truth[:2, 0] = truth[2:, 1] = 1
    p = np.full((4, 20), 0.1, np.float32)
    p[:2, 0] = p[2:, 1] = 0.8
    p[1, 2] = 0.9
    clips = Clips(list("abcd"), truth, mask, np.array(list("abcd")), np.array([True, True, False, False]), [])
    for known, right, mistaken in ((0, 1.0, "0 of 2"), (1, 0.5, "1 of 2: bass 1")):
        mask[1, 2] = known
        sets = ensemble.Sets.joined({"some": clips})
        assert ensemble.figures_of(sets, {"one": (p, p > 0.5)})["one"]["some"]["top1"] == right
        assert ClipScores(clips, p).mistaken(0) == mistaken
