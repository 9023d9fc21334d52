"""The loop: masked cells weigh nothing, an interrupted run ends as an uninterrupted one, the best is kept."""

import argparse
import csv
import json
import re
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from full_disk import full_disk

torch = pytest.importorskip("torch", reason="training needs the [train] extra")
pytest.importorskip("onnxscript", reason="training needs the [train] extra")
pytest.importorskip("sklearn", reason="training needs the [train] extra")
pytest.importorskip("tqdm", reason="training needs the [train] extra")

from bands import Bands
from warm_python import WarmPython

from instrec_live.models.audioset import OTHER_SOUNDS
from instrec_live.models.errors import InputFileError, ModelError, UsageError
from instrec_live.models.export.to_onnx import load_checkpoint, network_of
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.networks.patchwise import log_mean_exp
from instrec_live.models.networks.registry import build
from instrec_live.training.data.clips import Clips
from instrec_live.training.data.provenance import record_of
from instrec_live.training.data.table import FAMILIES
from instrec_live.training.example import Example
from instrec_live.training.learning import loop, training_log
from instrec_live.training.learning.batches import Batch, BatchLoader
from instrec_live.training.learning.calibrate import choose_thresholds, fit_platt
from instrec_live.training.learning.distributed import (
    ProcessGroup,
    WholeBatchDropout,
    WholeBatchDropout2d,
    process_group,
)
from instrec_live.training.learning.initial_weights import fill, take_over
from instrec_live.training.learning.loop import save, train
from instrec_live.training.learning.losses import Student, Teacher, loss_of, masked_bce, some_of_family
from instrec_live.training.learning.optimiser import Average, schedule
from instrec_live.training.learning.recipe import Recipe
from instrec_live.training.learning.training_log import TrainingLog
from instrec_live.training.learning.validation import tagging

SMALL = {"channels": 6, "hidden": 8}
RECIPE = Recipe("ms_crnn", SMALL, steps=6, batch=4, warmup=2, seconds=(2.0, 2.2), precision="fp32", evaluate_every=2)


class InterruptedRunError(Exception):
    pass


def loader(recipe: Recipe) -> BatchLoader:
    return BatchLoader([(Bands(), 1.0)], recipe.batch, recipe.seconds, recipe.mixup, recipe.spec_masks, recipe.seed)


def small(seed: int = 0) -> torch.nn.Module:
    torch.manual_seed(seed)
    return build("ms_crnn", **SMALL)


def equal(one: torch.nn.Module, other: torch.nn.Module) -> bool:
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


# Masks


def test_a_masked_cell_adds_exactly_nothing() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(40, 20)).astype(np.float32)
    truth = (rng.random((40, 20)) < 0.4).astype(np.float32)
    mask = (rng.random((40, 20)) < 0.5).astype(np.float32)
    lied = np.where(mask > 0, truth, 1 - truth)
    nonsense = np.where(mask > 0, truth, np.nan).astype(np.float32)
    losses = [masked_bce(*(torch.from_numpy(x) for x in (logits, t, mask))).item() for t in (truth, lied, nonsense)]
    assert losses[0] == losses[1] == losses[2]
    for fit in (fit_platt(logits, truth, mask), fit_platt(logits, lied, mask)):
        np.testing.assert_allclose(fit.scale, fit_platt(logits, truth, mask).scale, rtol=1e-5)
    chosen = [choose_thresholds(1 / (1 + np.exp(-logits)), t, mask) for t in (truth, lied)]
    np.testing.assert_array_equal(*chosen)


@pytest.mark.parametrize("weight", [None, 3.0])
def test_masked_cells_change_no_step_of_training(weight) -> None:
    """Of every loss there is: its value and its gradient, with labels that lie where nobody knows."""
    recipe = replace(RECIPE, distil=1.0, imitate=1.0, centred=True)
    teacher = Teacher(build("cbam_cnn", trunk="resnet"))
    batch = loader(recipe).batch(0)
    lied = Batch(batch.log_mel, torch.where(batch.mask > 0, batch.labels, 1 - batch.labels), batch.mask, batch.real)
    results = []
    for told in (batch, lied):
        student = Student(small(), teacher.width)
        torch.manual_seed(1)
        positive = None if weight is None else torch.full((20,), weight)
        loss = loss_of(student, teacher, recipe, told, ProcessGroup(), positive)
        loss.backward()
        results.append((loss.item(), [p.grad.clone() for p in student.parameters() if p.grad is not None]))
    assert results[0][0] == results[1][0]
    assert all(torch.equal(*pair) for pair in zip(results[0][1], results[1][1], strict=True))


def test_weights_of_positives_are_of_the_first_classes() -> None:
    """A network that also learns other sounds has more classes than there are weights."""
    wide = torch.randn(3, 47), torch.ones(3, 47), torch.ones(3, 47)
    narrow = tuple(part[:, :20] for part in wide)
    twice = torch.full((20,), 2.0)
    plain, weighed = (masked_bce(*wide, None, weight) * 47 for weight in (None, twice))
    assert (weighed - plain).item() == pytest.approx((masked_bce(*narrow) * 20).item(), rel=1e-4)


def test_some_brass_is_a_trumpet_or_a_trombone() -> None:
    """Its loss is that of 1 - prod(1 - p) and moves the likelier of them most; others and other rows not at all."""
    trumpet, trombone = INSTRUMENTS.index("trumpet"), INSTRUMENTS.index("trombone")
    logits = torch.full((2, 20), -2.0)
    logits[:, trumpet] = 0.0
    logits.requires_grad_()
    some = torch.zeros(2, len(FAMILIES))
    some[0, list(FAMILIES).index("brass")] = 1
    nothing = torch.zeros(2, 20)
    batch = Batch(torch.zeros(2, 128, 200), nothing, nothing, torch.ones(2, dtype=torch.bool), some)
    loss = some_of_family(logits, batch.some, batch, ProcessGroup())
    p = torch.sigmoid(torch.tensor([0.0, -2.0]))
    assert loss.item() == pytest.approx(-np.log(1 - np.prod((1 - p).numpy())), rel=1e-5)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[0, trumpet] < logits.grad[0, trombone] < 0
    assert (logits.grad != 0).sum() == 2
    everything = torch.ones(2, 20)  # then it counts as one of 41 cells
    known = Batch(batch.log_mel, nothing, everything, batch.real, some)
    assert some_of_family(logits, some, known, ProcessGroup()).item() == pytest.approx(loss.item() / 41, rel=1e-5)


def test_the_loss_of_a_batch_heeds_families() -> None:
    batch = loader(RECIPE).batch(0)
    assert batch.some.shape == (4, len(FAMILIES))
    student = Student(small(), 0).eval()
    plain = loss_of(student, None, RECIPE, batch, ProcessGroup()).item()
    more = Batch(batch.log_mel, batch.labels, batch.mask, batch.real, torch.ones_like(batch.some))
    assert loss_of(student, None, RECIPE, more, ProcessGroup()).item() > plain


def test_positives_can_weigh_more() -> None:
    logits, mask = torch.zeros(1, 20), torch.ones(1, 20)
    weight = torch.full((20,), 5.0)
    assert masked_bce(logits, torch.ones(1, 20), mask, None, weight) == pytest.approx(5 * np.log(2), rel=1e-6)
    assert masked_bce(logits, torch.zeros(1, 20), mask, None, weight) == pytest.approx(np.log(2), rel=1e-6)


def test_a_teacher_is_heeded_on_music_only_where_so_wished() -> None:
    recipe = replace(RECIPE, distil=1.0, imitate=1.0, music_only=True)
    teacher, batch = Teacher(build("cbam_cnn", trunk="resnet")), loader(RECIPE).batch(0)
    student = Student(small(), teacher.width).eval()

    def loss(real: bool, mine: Recipe = recipe) -> float:
        heard = Batch(batch.log_mel, batch.labels, batch.mask, torch.full((len(batch.mask),), real))
        return loss_of(student, teacher, mine, heard, ProcessGroup()).item()

    alone = loss_of(student, None, recipe, batch, ProcessGroup()).item()
    assert loss(False) == pytest.approx(alone, rel=1e-6)
    assert loss(True) > alone + 0.1
    assert loss(False, replace(recipe, music_only=False)) == pytest.approx(loss(True), rel=1e-6)


# Parts of a batch, and what only a GPU has


@pytest.mark.parametrize("loss", ["bce", "ce"])
def test_the_losses_of_the_parts_of_a_batch_are_that_of_the_whole(loss: str) -> None:
    """And so are their gradients; batch norms and dropout aside."""
    recipe = replace(RECIPE, batch=6, distil=1.0, music_only=True, loss=loss)  # type: ignore[arg-type]
    teacher, whole = Teacher(build("cbam_cnn", trunk="resnet")), loader(recipe).batch(0)
    whole.mask[:3] *= torch.rand(3, 20) < 0.2  # the parts do not know equally much
    gradients = []
    for parts in (1, 3):
        student = Student(small(), 0).eval()
        values = [loss_of(student, teacher, recipe, part, ProcessGroup(), None, whole) for part in whole.parts(parts)]
        for value in values:
            value.backward()
        gradients.append([sum(value.item() for value in values), *(p.grad for p in student.parameters())])
    assert gradients[0][0] == pytest.approx(gradients[1][0], rel=1e-5)
    for one, other in zip(gradients[0][1:], gradients[1][1:], strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)


def test_a_run_with_accumulation_counts_each_batch_once(tmp_path: Path) -> None:
    train(RECIPE, small(), loader(RECIPE), tmp_path, accumulate=2)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [2, 4, 6]
    assert all(np.isfinite(line["loss"]) for line in lines)


def test_a_network_is_compiled_if_asked_and_saved_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compiled = []
    monkeypatch.setattr(torch, "compile", lambda network: compiled.append(network) or network)
    train(RECIPE, small(), loader(RECIPE), tmp_path / "a", compiled=True)
    train(RECIPE, small(), loader(RECIPE), tmp_path / "b")
    assert len(compiled) == 1
    states = [load_checkpoint(tmp_path / name / "weights.pt")["state_dict"] for name in "ab"]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])


def test_what_a_cpu_does_not_have_is_refused() -> None:
    with pytest.raises(UsageError, match="TF32 needs an NVIDIA GPU"):
        replace(RECIPE, precision="tf32").resolved(0, torch.device("cpu"))
    with pytest.raises(UsageError, match="4 rows cannot be divided into 3 equal parts"):
        ProcessGroup().check(4, 3)


# Interruptions


@pytest.mark.parametrize(
    ("name", "average"), [("ms_crnn", "ema"), ("ms_crnn", "swa"), ("ms_crnn", "none"), ("passt", "ema")]
)
def test_an_interrupted_run_ends_as_an_uninterrupted_one(tmp_path: Path, name: str, average: str) -> None:
    if name == "passt":
        pytest.importorskip("hear21passt")
        config = {"size": "tiny", "depth": 2, "s_patchout_t": 20}
    else:
        config = SMALL
    recipe = Recipe(name, {}, steps=5, batch=2, warmup=2, seconds=(2.0, 2.2), distil=1.0, imitate=1.0, mixup=0.3,
                    precision="fp32", average=average, swa_from=1, evaluate_every=1, select="loss")  # fmt: skip
    torch.manual_seed(0)
    teacher = Teacher(build("cbam_cnn", trunk="resnet"))
    start = build(name, **config).state_dict()

    def run(to: Path, stop_after: int | None = None) -> dict:
        network = build(name, **config)
        network.load_state_dict(start)
        judged = []

        def validate(averaged: torch.nn.Module) -> dict:
            with torch.no_grad():
                scores = averaged(torch.linspace(-1, 1, 128 * 200).reshape(1, 128, 200))
            judged.append(scores)
            if stop_after is not None and len(judged) > stop_after:
                raise InterruptedRunError
            return {"valid_loss": float(scores.square().mean())}

        try:
            return train(recipe, network, loader(recipe), to, teacher, validate, checkpoint_every=-1).state_dict()
        except InterruptedRunError:
            return {}

    whole = run(tmp_path / "whole")
    assert run(tmp_path / "cut", stop_after=2) == {}
    resumed = run(tmp_path / "cut")
    assert resumed.keys() == whole.keys()
    for key in whole:
        torch.testing.assert_close(resumed[key], whole[key], rtol=0, atol=0)
    logs = [(tmp_path / to / "log.jsonl").read_text().splitlines() for to in ("whole", "cut")]
    told = [[{k: json.loads(line)[k] for k in ("step", "loss", "lr", "valid_loss")} for line in log] for log in logs]
    assert told[0] == told[1]
    assert [line["step"] for line in told[0]] == [1, 2, 3, 4, 5]


def test_a_finished_run_started_again_changes_nothing(tmp_path: Path) -> None:
    first = train(RECIPE, small(), loader(RECIPE), tmp_path)
    log = (tmp_path / "log.jsonl").read_bytes()
    again = train(RECIPE, small(seed=9), loader(RECIPE), tmp_path)
    assert equal(first, again)
    assert (tmp_path / "log.jsonl").read_bytes() == log
    assert equal(network_of(load_checkpoint(tmp_path / "weights.pt")), first)


def test_large_checkpoints_are_rare_and_the_last_has_no_optimiser_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = []
    save = loop._Run.save

    def counted(run: Any, path: Path, finished: bool = False) -> None:
        steps.append(run.step)
        save(run, path, finished)
        assert ("optimiser" in torch.load(path, weights_only=True)) != finished

    monkeypatch.setattr(loop._Run, "save", counted)
    recipe = replace(RECIPE, steps=4, warmup=1)
    monkeypatch.setattr(loop, "_BYTES_A_SECOND", 1)
    train(recipe, small(), loader(recipe), tmp_path, checkpoint_every=1e-6)
    assert steps == [1, 4]


def test_a_checkpoint_of_another_recipe_is_refused_and_kept(tmp_path: Path) -> None:
    train(RECIPE, small(), loader(RECIPE), tmp_path)
    before = (tmp_path / "checkpoint.pt").read_bytes()
    with pytest.raises(ModelError, match=r"made with lr 0\.001, not 0\.01"):
        train(replace(RECIPE, lr=0.01), small(), loader(RECIPE), tmp_path)
    assert (tmp_path / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"scene_share": 0.1}, "other shares of the data"),
        ({"init": "other.npz"}, "other initial weights"),
        ({"init": None}, "other initial weights"),
    ],
)
def test_a_run_is_not_resumed_with_other_shares_or_initial_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("first.npz", "other.npz"):
        Path(name).write_text(name)

    def again(**options: Any) -> None:
        given = argparse.Namespace(**{"scene_share": 0.9, "init": "first.npz"} | options)
        train(RECIPE, small(), loader(RECIPE), tmp_path, record=record_of(given, None, None))

    again()
    again()
    with pytest.raises(ModelError, match=f"made with {words} than are given now"):
        again(**options)


def test_a_checkpoint_that_cannot_be_resumed_is_refused_and_kept(tmp_path: Path) -> None:
    recipe = replace(RECIPE, imitate=1.0)
    train(recipe, small(), loader(recipe), tmp_path, Teacher(build("cbam_cnn", trunk="resnet")))
    with pytest.raises(ModelError, match="not of this run"):  # without a teacher there is no projection
        train(recipe, small(), loader(recipe), tmp_path)
    checkpoint = tmp_path / "checkpoint.pt"
    for content in (checkpoint.read_bytes()[:1000], b"", b"no archive"):
        checkpoint.write_bytes(content)
        with pytest.raises(ModelError, match="not a readable checkpoint"):
            train(recipe, small(), loader(recipe), tmp_path)
        assert checkpoint.read_bytes() == content
    torch.save({"recipe": {}}, checkpoint)
    with pytest.raises(ModelError, match="another version"):
        train(recipe, small(), loader(recipe), tmp_path)


def test_a_full_disk_is_named_and_left_clean(tmp_path: Path) -> None:
    with full_disk(4096), pytest.raises(OSError, match=r"File too large.*checkpoint\.pt"):
        save(tmp_path / "checkpoint.pt", {"weights": torch.zeros(1_000_000)})
    assert list(tmp_path.iterdir()) == []


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    inner: list[str] = []

    def again(network: torch.nn.Module) -> dict:
        with pytest.raises(UsageError) as caught:
            train(RECIPE, small(), loader(RECIPE), tmp_path)
        inner.append(str(caught.value))
        return {}

    train(RECIPE, small(), loader(RECIPE), tmp_path, validate=again)
    assert "another run is training there" in inner[0]
    assert not (tmp_path / ".lock").exists()


@pytest.mark.parametrize("log", ['{"step": 2}\n{"st', "[]\n", '{"loss": 1}\n'])
def test_a_damaged_log_is_named_and_kept(tmp_path: Path, log: str) -> None:
    (tmp_path / "log.jsonl").write_text(log)
    with pytest.raises(InputFileError, match=r"log\.jsonl: not a log of a run"):
        train(RECIPE, small(), loader(RECIPE), tmp_path)
    assert (tmp_path / "log.jsonl").read_text() == log


def test_a_half_written_checkpoint_is_never_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train(RECIPE, small(), loader(RECIPE), tmp_path / "whole")
    (tmp_path / "cut").mkdir()
    (tmp_path / "cut" / ".checkpoint.pt.partial").write_bytes(b"PK and then the power failed")
    resumed = train(RECIPE, small(), loader(RECIPE), tmp_path / "cut")
    assert equal(resumed, network_of(load_checkpoint(tmp_path / "whole" / "weights.pt")))


def test_a_loss_that_is_not_finite_ends_the_run(tmp_path: Path) -> None:
    class Broken(Bands):
        def example(self, index, rng, frames):
            good = super().example(index, rng, frames)
            return Example(good.log_mel * np.float32("nan"), good.labels, good.mask)

    with pytest.raises(InputFileError, match="loss is nan after 1 steps"):
        train(RECIPE, small(), BatchLoader([(Broken(), 1.0)], 2, (2.0, 2.0)), tmp_path)
    assert not (tmp_path / "weights.pt").exists()


# What is kept


def scripted_validation(scores):
    """A validation that returns these scores in turn, and keeps the weights it saw."""
    seen = []

    def validate(network: torch.nn.Module) -> dict:
        seen.append({k: v.clone() for k, v in network.state_dict().items()})
        return {"valid_mAP": scores[len(seen) - 1], "valid_loss": 1 - scores[len(seen) - 1]}

    return validate, seen


@pytest.mark.parametrize("select", ["mAP", "loss"])
def test_the_best_weights_are_the_result_and_patience_ends_a_run(tmp_path: Path, select: str) -> None:
    recipe = replace(RECIPE, steps=40, evaluate_every=1, select=select, patience=3)
    validate, seen = scripted_validation([0.1, 0.5, 0.4, 0.45, 0.3, 0.9])
    result = train(recipe, small(), loader(recipe), tmp_path, validate=validate)
    assert len(seen) == 5  # the 0.9 is never reached
    assert all(torch.equal(seen[1][k], v) for k, v in result.state_dict().items())
    assert load_checkpoint(tmp_path / "weights.pt")["provenance"]["best"]["step"] == 2
    assert train(recipe, small(), loader(recipe), tmp_path, validate=validate) is not None  # and it stays ended
    assert len(seen) == 5


def test_without_a_choice_the_last_weights_are_the_result(tmp_path: Path) -> None:
    validate, seen = scripted_validation([0.9, 0.1, 0.2])
    result = train(RECIPE, small(), loader(RECIPE), tmp_path, validate=validate)
    assert all(torch.equal(seen[2][k], v) for k, v in result.state_dict().items())


def test_averages() -> None:
    network = torch.nn.Linear(1, 1, bias=False)

    def through(recipe: Recipe, weights: list[float]) -> float:
        network.weight.data.fill_(0.0)
        average = Average(network, recipe)
        for step, weight in enumerate(weights, 1):
            network.weight.data.fill_(weight)
            average.update(network, step)
        return average.network.weight.item()

    assert through(replace(RECIPE, average="none"), [1, 2, 3]) == 3
    swa = replace(RECIPE, average="swa", evaluate_every=2, swa_from=2)
    assert through(swa, [9, 9, 9, 1, 9, 3, 9, 8]) == 4  # of the steps 4, 6 and 8
    assert through(swa, [9, 9, 7]) == 7  # before the first: the newest
    assert through(replace(RECIPE, ema=0.5), [0.0] * 9 + [1.0]) == pytest.approx(0.5)


def test_schedules() -> None:
    cosine = replace(RECIPE, steps=100, warmup=10)
    assert [round(schedule(s, cosine), 2) for s in (0, 9, 10, 55, 100)] == [0.1, 1.0, 1.0, 0.51, 0.02]
    authors = replace(cosine, schedule="exponential")
    assert schedule(0, authors) == pytest.approx(np.exp(-5))
    assert [schedule(s, authors) for s in (10, 99)] == [1.0, 1.0]
    assert schedule(3, replace(cosine, schedule="constant")) == 1.0


def test_a_recipe_in_epochs() -> None:
    recipe = replace(RECIPE, epochs=3, warmup_epochs=1, batch=4).resolved(42, torch.device("cpu"))
    assert (recipe.steps, recipe.warmup, recipe.evaluate_every) == (30, 10, 10)
    fixed = replace(RECIPE, epochs=3, warmup=200, batch=4).resolved(42, torch.device("cpu"))
    assert fixed.warmup == 7  # what was given in steps is kept, up to a quarter of the run
    assert RECIPE.resolved(42, torch.device("cpu")) == RECIPE
    assert replace(RECIPE, precision="auto").resolved(0, torch.device("cpu")).precision in ("fp32", "bf16")


def test_one_right_class(tmp_path: Path) -> None:
    """Cross-entropy as for IRMAS: a network learns which one band is lit."""

    class OneBand:
        def example(self, index, rng, frames):
            right = int(rng.integers(20))
            mel = rng.normal(-1, 0.1, (128, frames)).astype(np.float32)
            mel[6 * right : 6 * right + 6] += 2
            return Example(mel, np.eye(20, dtype=np.float32)[right], np.ones(20, np.float32))

    config = {"trunk": "resnet"}
    recipe = replace(RECIPE, name="cbam_cnn", network=config, loss="ce", steps=24, batch=8, lr=3e-3, spec_masks=(0, 0))
    train(recipe, build("cbam_cnn", **config), BatchLoader([(OneBand(), 1.0)], 8, (2.0, 2.0)), tmp_path)
    losses = [json.loads(line)["loss"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert losses[0] == pytest.approx(np.log(20), rel=0.2)
    assert losses[-1] < 0.9 * losses[0]


# Figures


def test_what_cannot_be_measured_is_left_out_and_the_loss_is_the_one_trained() -> None:
    truth = np.ones((2, 20), np.float32)  # of no instrument is it known where it is not
    clips = Clips(
        ["a", "b"], truth, truth, np.array(["a", "b"]), np.zeros(2, bool), [np.zeros((128, 200), np.float32)] * 2
    )
    line = tagging(clips)(small())
    assert line.keys() == {"valid_loss"}
    weighted = tagging(clips, torch.full((20,), 3.0))(small())
    assert weighted["valid_loss"] == pytest.approx(3 * line["valid_loss"], rel=1e-5)
    some = Clips(clips.files, np.eye(2, 20, dtype=np.float32), truth, clips.recording, clips.solo, clips.log_mels)
    assert "valid_mAP" in tagging(some)(small())


def test_figures_are_kept_as_lines_and_as_a_table(tmp_path: Path) -> None:
    validate, _ = scripted_validation([0.2, 0.4, 0.6])
    train(RECIPE, small(), loader(RECIPE), tmp_path, validate=validate)
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    with (tmp_path / "log.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert [int(row["step"]) for row in rows] == [line["step"] for line in lines] == [2, 4, 6]
    assert [float(row["valid_mAP"]) for row in rows] == [0.2, 0.4, 0.6]
    assert all(line["clips_per_second"] > 0 and 0 <= line["waiting"] <= 1 for line in lines)


def test_weights_and_biases_if_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fake of the package: its run is given the configuration, and each line with its step."""
    started, sent = [], []
    run = SimpleNamespace(log=lambda line, step: sent.append((step, line["loss"])))
    fake = SimpleNamespace(init=lambda **options: started.append(options) or run)
    monkeypatch.setitem(sys.modules, "wandb", fake)
    train(RECIPE, small(), loader(RECIPE), tmp_path, wandb="instruments")
    train(RECIPE, small(), loader(RECIPE), tmp_path, wandb="instruments")
    assert [each["project"] for each in started] == ["instruments"] * 2
    assert started[0]["id"] == started[1]["id"]  # the same run
    assert started[0]["config"]["recipe"]["steps"] == 6
    assert [step for step, _ in sent] == [2, 4, 6]
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(UsageError, match="wandb is not installed"):
        TrainingLog(tmp_path, wandb="instruments")


def test_tensorboard_if_asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(to: Path, step: int) -> None:
        raise UsageError("TensorBoard is not installed")

    monkeypatch.setattr(training_log, "_board", missing)
    TrainingLog(tmp_path)
    with pytest.raises(UsageError, match="TensorBoard is not installed"):
        TrainingLog(tmp_path, tensorboard=True)
    monkeypatch.undo()
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    train(RECIPE, small(), loader(RECIPE), tmp_path / "run", tensorboard=True)
    assert list((tmp_path / "run" / "tensorboard").glob("events.*"))


# Sharing


@pytest.mark.parametrize("layout", ["contiguous", "transposed", "channels last"])
def test_dropout_of_shared_rows_is_that_of_the_whole_batch(layout: str) -> None:
    x = torch.randn(6, 5, 4, 3)
    if layout == "transposed":
        x = x.transpose(1, 2)
    elif layout == "channels last":
        x = x.to(memory_format=torch.channels_last)
    torch.manual_seed(3)
    whole = torch.nn.Dropout(0.4)(x)
    for rank in range(2):
        torch.manual_seed(3)
        part = WholeBatchDropout(0.4, rank, 2)(x[rank::2].clone(memory_format=torch.preserve_format))
        torch.testing.assert_close(part, whole[rank::2])


def test_dropout_of_shared_channels_is_that_of_the_whole_batch() -> None:
    x = torch.randn(6, 5, 4, 3)
    torch.manual_seed(3)
    whole = torch.nn.Dropout2d(0.4)(x)
    for rank in range(3):
        torch.manual_seed(3)
        torch.testing.assert_close(WholeBatchDropout2d(0.4, rank, 3)(x[rank::3]), whole[rank::3])


@pytest.mark.parametrize("world", [1, 4, 8, 512])
def test_an_unlabelled_batch_contributes_nothing(world: int) -> None:
    class Many(ProcessGroup):
        def sum(self, value):
            return value

    values = torch.randn(3, requires_grad=True)
    mean = Many(0, world).mean(values, torch.zeros(3))
    mean.backward()
    assert mean.item() == 0
    assert (values.grad == 0).all()


def test_more_processes_than_gpus_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(UsageError, match="process 3 on this machine has no GPU: there are 2"), process_group():
        pass


# Beginnings


def test_all_but_a_head_of_other_classes_is_taken_over(tmp_path: Path) -> None:
    pretrained = build("ms_crnn", **SMALL, n_classes=11)
    torch.save(
        {"name": "ms_crnn", "config": {}, "state_dict": pretrained.state_dict(), "provenance": {}}, tmp_path / "p.pt"
    )
    network = small()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    said = take_over(network, tmp_path / "p.pt")
    after = network.state_dict()
    changed = {k for k in after if not torch.equal(after[k], before[k])}
    assert f"{len(after) - 4} of {len(after)} tensors" in said
    for name, value in pretrained.state_dict().items():
        if name.startswith(("head.", "attention.")):
            assert name not in changed
        else:
            assert torch.equal(after[name], value)
    assert "scales.branches.0.weight" in changed


def test_weights_of_another_network_are_refused() -> None:
    other = build("ms_crnn", channels=9, hidden=8).state_dict()
    network = small()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    with pytest.raises(ModelError, match="not weights of this network"):
        fill(network, other, "x.pt")
    assert all(torch.equal(before[k], v) for k, v in network.state_dict().items())


# Networks


def test_cbam_attention_begins_as_identity() -> None:
    from instrec_live.models.networks.cbam_cnn import cbam

    x = torch.randn(2, 16, 12, 10)
    torch.testing.assert_close(cbam(16)(x), x)


@pytest.mark.parametrize(
    ("name", "config"), [("cbam_cnn", {"trunk": "mobilenet"}), ("cbam_cnn", {"trunk": "resnet"}), ("ms_crnn", {})]
)
@pytest.mark.parametrize("frames", [200, 288, 333, 1000])
def test_networks_take_any_span_from_2_to_10_s(name: str, config: dict, frames: int) -> None:
    network = build(name, **config).eval()
    with torch.inference_mode():
        logits = network(torch.randn(2, 128, frames))
    assert logits.shape == (2, 20 + (len(OTHER_SOUNDS) if name == "ms_crnn" else 0))
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize(("name", "config"), [("ms_crnn", SMALL), ("passt", {"size": "tiny", "depth": 1})])
def test_networks_on_a_foundation_are_pretrained_on_other_classes(name: str, config: dict) -> None:
    network = build(name, **config, n_classes=11)
    for mode in (True, False):
        assert network.train(mode)(torch.randn(2, 128, 300)).shape == (2, 11)


def test_the_level_does_not_matter_within_what_the_bridge_makes_up_for() -> None:
    from instrec_live.models.logmel import log_mel
    from instrec_live.models.networks.mobilenet import MelAdapter

    sound = np.random.default_rng(0).standard_normal(3 * 32_000).astype(np.float32)
    mel_adapter = MelAdapter()
    heard = [mel_adapter(torch.from_numpy(log_mel(level * sound)[None])).detach() for level in (0.4, 0.2, 0.05, 0.001)]
    torch.testing.assert_close(heard[0], heard[1], atol=0.01, rtol=0)
    torch.testing.assert_close(heard[0], heard[2], atol=0.01, rtol=0)
    assert (heard[0] - heard[3]).mean() > 2  # what is all but silent stays so


def test_the_mel_adapter_gives_yamnets_log_mel() -> None:
    """Our 128 Kaldi mels, bridged, against YAMNet's own front end computed here from its definition."""
    import soxr

    from instrec_live.models.logmel import log_mel
    from instrec_live.models.networks.mobilenet import MelAdapter
    from instrec_live.training.learning.initial_weights import MEL_ADAPTER

    rng = np.random.default_rng(0)
    t = np.arange(5 * 32_000) / 32_000
    sound = sum(np.sin(2 * np.pi * f * t) / k for k, f in enumerate((220, 440, 660, 880, 1760, 3520), 1))
    sound = (0.1 * sound + 0.01 * rng.standard_normal(len(t))).astype(np.float32)
    sound *= np.sqrt(
        MelAdapter.LEVEL / 1000 / np.mean(np.square(sound))
    )  # a level that the mel_adapter leaves as it is
    half = soxr.resample(sound, 32_000, 16_000)
    frames = np.lib.stride_tricks.sliding_window_view(half[120:], 400)[::160] * np.hanning(401)[:400]
    hz = np.linspace(0, 8000, 257)
    mel, edges = (
        1127 * np.log(1 + hz / 700),
        np.linspace(*(1127 * np.log(1 + np.array([125, 7500]) / 700)), 66)[:, None],
    )
    banks = np.maximum(
        0, np.minimum((mel - edges[:-2]) / (edges[1:-1] - edges[:-2]), (edges[2:] - mel) / (edges[2:] - edges[1:-1]))
    )
    theirs = np.log(np.abs(np.fft.rfft(frames, 512)) @ banks.T + 1e-3)
    count = len(theirs) - 4

    def error(mel_adapter: MelAdapter) -> tuple[float, float]:
        ours = (
            mel_adapter(torch.from_numpy(log_mel(sound)[None]))[0].detach().numpy()[2 : 2 + count]
        )  # around the same samples
        together = np.corrcoef(ours.ravel(), theirs[:count].ravel())[0, 1]
        return float(np.abs(ours - theirs[:count]).mean()), float(together)

    fitted = MelAdapter()
    fitted.load_state_dict({k: torch.from_numpy(v.astype(np.float32)) for k, v in np.load(MEL_ADAPTER).items()}, False)
    (plain, _), (learnt, together) = error(MelAdapter()), error(fitted)
    assert learnt < min(0.25, 0.8 * plain)  # nepers; music's own spread is several
    assert together > 0.95


def test_the_mel_bridge_is_fitted_by_a_command(tmp_path: Path, warm_python: WarmPython) -> None:
    """Half a minute of tones in noise; and what it must not do: write where it finds no sound."""
    import soundfile

    rng = np.random.default_rng(0)
    t = np.arange(4 * 32_000) / 32_000
    for i in range(8):
        tone = sum(np.sin(2 * np.pi * f * t) for f in 110 * 2 ** (rng.integers(0, 48, 3) / 12))
        sound = 0.1 * tone + 10 ** -rng.uniform(1, 3) * rng.standard_normal(len(t))
        soundfile.write(tmp_path / f"{i}.wav", sound.astype(np.float32), 32_000, "FLOAT")
    fit = ("instrec_live.training.mel_adapter", tmp_path, "--count", 20, "--to")
    said = warm_python.run(*fit, tmp_path / "b.npz").stdout
    after, before = (float(x) for x in re.findall(r"(0\.\d+)", said)[:2])
    assert after < 0.9 * before
    assert {v.dtype.name for v in np.load(tmp_path / "b.npz").values()} == {"float16"}
    (tmp_path / "empty").mkdir()
    done = warm_python.run(fit[0], tmp_path / "empty", *fit[2:], tmp_path / "c.npz", code=4)
    assert "no sound files in it" in done.stderr
    assert not (tmp_path / "c.npz").exists()


def test_what_yamnet_knew_by_name_is_a_share_of_the_answer_and_never_trained(tmp_path: Path) -> None:
    network = build("cbam_cnn", trunk="mobilenet", audioset_weight=0.5)
    assert not any(p.requires_grad for p in network.audioset_head.parameters())
    x = torch.randn(2, 128, 300)
    features = network.eval().steps(x)
    both = (network.head(features) + network.audioset_head(features)) / 2
    pooled = log_mean_exp(both, network.log_sharpness.exp())
    torch.testing.assert_close(network(x), pooled)
    network.dropout.p = network.head.dropout.p = 0.0
    torch.testing.assert_close(network.train()(x), pooled)  # and learns so
    with torch.no_grad():
        network.audioset_head.rows.weight.zero_()
        network.audioset_head.rows.bias.copy_(torch.arange(80.0))
    torch.testing.assert_close(
        network.audioset_head(features), torch.arange(3.0, 80, 4).expand(2, 3, 20)
    )  # the likeliest of four
