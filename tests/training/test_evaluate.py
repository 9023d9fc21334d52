"""Evaluation from end to end: sound on disk, models, and a report that agrees with independent figures."""

import csv
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from tiny_bundle import write_tiny

sklearn_metrics = pytest.importorskip("sklearn.metrics", reason="training needs the [train] extra")
pytest.importorskip("matplotlib", reason="training needs the [train] extra")
pytest.importorskip("tqdm", reason="training needs the [train] extra")

from instrec_live.models import Tagger
from instrec_live.models.errors import InputFileError, ModelError, UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import SAMPLE_RATE, DcBlocker, log_mel
from instrec_live.models.tagger import OTHERS, held_back
from instrec_live.training.command import entry, without_folders
from instrec_live.training.data.sounds import load
from instrec_live.training.data.table import Table, write_table
from instrec_live.training.evaluate import main
from instrec_live.training.evaluation.candidates import Candidate, joint, open_candidate
from instrec_live.training.evaluation.detections import detections, micro, open_clips
from instrec_live.training.evaluation.listen import listen
from instrec_live.training.evaluation.measure import choose, clip_names
from instrec_live.training.evaluation.report import figure, table


def noise(path: Path, seconds: float = 2.5, seed: int = 0, rate: int = SAMPLE_RATE) -> Path:
    """Noise of some colour, another one for every seed."""
    rng = np.random.default_rng(seed)
    samples = np.convolve(rng.normal(0, 0.05, int(seconds * rate)), rng.normal(size=12), "same").astype(np.float32)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype="FLOAT")
    return path


@pytest.fixture
def models(tmp_path: Path) -> Path:
    write_tiny(tmp_path / "models" / "one", "one", threshold=0.4)
    write_tiny(tmp_path / "models" / "two", "two", bias=-0.5)
    return tmp_path / "models"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A table of 24 test clips of 8 recordings and 2 training clips, two thirds of the cells known."""
    rng = np.random.default_rng(5)
    paths = tuple(noise(tmp_path / "data" / f"{i:02}.wav", seed=i) for i in range(26))
    labels = (rng.random((26, 20)) < 0.4).astype(np.float32)
    labels[:, INSTRUMENTS.index("organ")] = 0
    mask = (rng.random((26, 20)) < 0.67).astype(np.float32)
    group = np.array([f"r{i % 8}" for i in range(26)])
    split = np.array(["test"] * 24 + ["train"] * 2)
    write_table(tmp_path / "data" / "t.csv", Table(paths, np.full(26, "x"), group, split, labels, mask))
    return tmp_path / "data" / "t.csv"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    def run(*arguments: object, pictures: bool = False) -> tuple[int, str]:
        """(exit code, stderr without the progress bars) of the command; pictures take a second, and most tests none."""
        if not pictures:
            monkeypatch.setattr("instrec_live.training.evaluation.publish._pictures", lambda *_: [])
        monkeypatch.setattr(sys, "argv", ["evaluate", *map(str, arguments)])
        code = 0
        try:
            entry(main)
        except SystemExit as end:
            code = int(end.code or 0)
        return code, capsys.readouterr().err.split("\r")[-1].strip()

    return run


def read(path: Path) -> dict[str, dict[str, str]]:
    with path.open(newline="") as handle:
        return {row["file"]: row for row in csv.DictReader(handle)}


def rows_of(markdown: str, first: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in markdown.splitlines()
            if line.startswith(f"| {first} |")]  # fmt: skip


def test_the_report_agrees_with_independent_figures(run, models: Path, data: Path, tmp_path: Path) -> None:
    to = tmp_path / "report"
    arguments = ("--data", f"table:{data}", "--models", models / "one", models / "two", "--to", to, "--boot", 50)
    assert run(*arguments)[0] == 0
    metrics = json.loads((to / "metrics.json").read_text())
    assert sorted([*metrics["files"], "metrics.json"]) == sorted(
        path.relative_to(to).as_posix() for path in to.rglob("*") if path.is_file()
    )
    (found,) = metrics["evaluations"]
    assert (found["clips"], found["groups"], found["splits"]) == (24, 8, {"test": 24, "train": 2})
    assert "organ" not in found["measured"]
    assert [m["sha256"] for m in metrics["models"]] == [Tagger.load([models / n]).sha256s[n] for n in ("one", "two")]
    with data.open(newline="") as handle:
        truth = {row["path"]: row for row in csv.DictReader(handle) if row["split"] == "test"}
    for label in ("one", "two", "ensemble"):
        told = read(to / "predictions" / f"{label}.csv")
        assert told.keys() == truth.keys()
        precisions, scores = {}, []
        for name in INSTRUMENTS:
            known = [file for file in truth if truth[file][f"m_{name}"] == "1"]
            y = [truth[file][f"y_{name}"] == "1" for file in known]
            p = [float(told[file][name]) for file in known]
            if sum(y) >= 4 and not all(y):
                precisions[name] = sklearn_metrics.average_precision_score(y, p)
                scores.append(sklearn_metrics.f1_score(y, np.array(p) >= 0.5, zero_division=0))
        of = found["models"][label]
        assert sorted(precisions) == sorted(found["measured"])
        assert of["mAP"]["value"] == pytest.approx(np.mean(list(precisions.values())), abs=1e-4)
        assert of["F1@0.5"]["value"] == pytest.approx(np.mean(scores), abs=1e-4)
        assert of["loss"]["low"] < of["loss"]["value"] < of["loss"]["high"]
        text = (to / "report.md").read_text()
        assert f"{of['loss']['value']:.3f}" in rows_of(text, label)[0][1]
        assert f"{precisions['piano']:.2f}" in str(rows_of(text, "piano"))
        assert rows_of(text, "organ")[0][3] == "–"


def test_every_picture_is_there_and_shown(run, models: Path, data: Path, tmp_path: Path) -> None:
    to, clip = tmp_path / "report", tmp_path / "song.wav"
    noise(clip, seconds=13, rate=44100)
    code, _ = run("--data", f"table:{data}", "--models", models / "one", "--without", models / "two", "--to", to,
                  "--clips", f"{clip}=piano+voice", "--boot", 20, pictures=True)  # fmt: skip
    assert code == 0
    text = (to / "report.md").read_text()
    pictures = {path.name for path in to.glob("*.png")}
    assert pictures == {"1-table-gain-one.png", "1-table-precision.png", "1-table-reliability.png", "clip-01.png"}
    for name in pictures:
        assert f"]({name})" in text
        header = (to / name).read_bytes()[:24]
        assert header[1:4] == b"PNG"
        assert int.from_bytes(header[16:20], "big") == 1200
    for heading in ("Table I.", "Table II.", "Table III.", "Table IV.", "How this was measured"):
        assert heading in text
    assert "nan" not in text


def test_with_and_without_are_compared_on_the_same_clips(run, models: Path, data: Path, tmp_path: Path) -> None:
    to = tmp_path / "report"
    run("--data", f"table:{data}", "--models", models / "one", models / "two", "--to", to, "--boot", 20,
        "--without", models / "two", models / "two")  # fmt: skip
    (found,) = json.loads((to / "metrics.json").read_text())["evaluations"]
    models_, differences = found["models"], found["differences"]
    assert set(differences) == {"one", "two", "ensemble"}
    for name in ("loss", "mAP", "F1@0.3"):
        by_hand = models_["one"][name]["value"] - models_["one without"][name]["value"]
        assert differences["one"][name]["value"] == pytest.approx(by_hand)
        assert differences["two"][name] == {"value": 0, "low": 0, "high": 0}
    assert differences["one"]["loss"]["value"] != 0


def test_paper_protocol_warns_and_tunes_nothing(run, models: Path, data: Path, tmp_path: Path) -> None:
    for protocol, warned in (("masked", False), ("paper", True)):
        to = tmp_path / protocol
        run("--data", f"table:{data}", "--models", models / "one", "--to", to, "--boot", 0, "--protocol", protocol)
        text = (to / "report.md").read_text()
        assert ("Warning: the paper's protocol" in text) == warned
        assert ("macro-F1@own" in text) != warned


@pytest.mark.parametrize("spoil", ["nan", "text", "empty"])
def test_a_clip_that_cannot_be_read_is_named(run, models: Path, data: Path, tmp_path: Path, spoil: str) -> None:
    bad = data.parent / "03.wav"
    match spoil:
        case "nan":
            soundfile.write(bad, np.full(64000, np.nan, np.float32), SAMPLE_RATE, subtype="FLOAT")
        case "text":
            bad.write_text("no sound")
        case "empty":
            soundfile.write(bad, np.zeros(0, np.float32), SAMPLE_RATE)
    to = tmp_path / "report"
    common = ("--data", f"table:{data}", "--models", models / "one", "--to", to, "--boot", 0)
    code, said = run(*common)
    assert code == 4
    assert said.startswith("error: ")
    assert "03.wav" in said
    assert "\n" not in said
    assert not to.exists()
    assert run(*common, "--skip-unreadable")[0] == 0
    (found,) = json.loads((to / "metrics.json").read_text())["evaluations"]
    assert found["clips"] == 23
    assert "03.wav" in found["unreadable"][0]
    assert "03.wav" in (to / "report.md").read_text().split("Left out")[1]
    assert "03.wav" not in read(to / "predictions" / "one.csv")


def test_only_an_earlier_report_is_replaced(run, models: Path, data: Path, tmp_path: Path) -> None:
    to = tmp_path / "report"
    common = ("--data", f"table:{data}", "--models", models / "one", "--to", to, "--boot", 0)
    assert run(*common)[0] == 0
    before = (to / "report.md").read_text()
    assert run(*common, "--seed", 7)[0] == 0
    assert (to / "report.md").read_text() != before
    (to / "notes.txt").write_text("mine")
    before = (to / "report.md").read_text()
    code, said = run(*common)
    assert (code, "notes.txt" in said) == (2, True)
    assert (to / "notes.txt").read_text() == "mine"
    assert (to / "report.md").read_text() == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_report_that_cannot_be_written_leaves_the_earlier_one(run, models, data, tmp_path, monkeypatch) -> None:
    to = tmp_path / "report"
    common = ("--data", f"table:{data}", "--models", models / "one", "--to", to, "--boot", 0)
    run(*common)
    before = (to / "report.md").read_text()
    disk_full = OSError(28, "No space left on device")
    full = SimpleNamespace(loads=json.loads, dumps=lambda *a, **k: (_ for _ in ()).throw(disk_full))
    monkeypatch.setattr("instrec_live.training.evaluation.publish.json", full)
    code, said = run(*common)
    assert (code, said) == (1, f"error: {to}: No space left on device — free some disk space, then run it again")
    assert (to / "report.md").read_text() == before
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        ([], 2, "nothing to measure"),
        (["--data", "table:{data}", "--boot", "-1"], 2, "--boot must be at least 0"),
        (["--data", "table:{data}", "--models", "{one}", "{one}"], 2, "two models are called one"),
        (["--data", "table:{data}", "--models", "ensemble={one}"], 2, "is called ensemble"),
        (["--data", "table:{data}", "--models", "{one}", "--without", "{one}", "{one}"], 2, "2 models --without"),
        (["--data", "table:{data}", "--models", "{one}", "--split", "valid"], 2, "no clips of the split 'valid'"),
        (["--data", "table:{data}", "--models", "nowhere/at/all"], 5, "no such model folder"),
        (["--data", "table:{data}", "--models", "{data}/x.pt"], 5, "not a readable checkpoint"),
        (["--data", "tables:{data}", "--models", "{one}"], 2, "table"),
        (["--clips", "{clip}=kazoo", "--models", "{one}"], 2, "unknown instrument 'kazoo'"),
        (["--clips", "nothing.wav=piano", "--models", "{one}"], 4, "nothing.wav: no such file"),
    ],
)
def test_a_mistake_is_one_line(run, models: Path, data: Path, tmp_path: Path, arguments, code: int, words: str) -> None:
    if any(".pt" in argument for argument in arguments):
        pytest.importorskip("torch", reason="checkpoints need the [train] extra")
    names = {"data": data, "one": models / "one", "clip": data.parent / "00.wav"}
    filled = [argument.format(**names) for argument in arguments]
    ended, said = run(*filled, "--to", tmp_path / "report")
    assert (ended, said.count("\n")) == (code, 0)
    assert words in said
    assert not (tmp_path / "report").exists()


# Models


def test_long_and_short_clips_are_analysed_as_by_the_tagger(models: Path, tmp_path: Path) -> None:
    paths = [noise(tmp_path / f"{s}.wav", s, seed=i, rate=44100) for i, s in enumerate((0.5, 2.5, 10, 10.1, 17.3))]
    candidates = [open_candidate(str(models / name)) for name in ("one", "two")]
    together = joint(candidates)
    assert together is not None
    heard = listen(paths, candidates, [together])
    tagger = Tagger.load([models / "one", models / "two"])
    np.testing.assert_array_equal(together.thresholds, tagger.thresholds)
    for i, path in enumerate(paths):
        samples, rate = soundfile.read(path, dtype="float32")
        tags = tagger.tag(samples, rate)
        np.testing.assert_allclose(heard.probabilities["ensemble"][i], tags.probabilities, atol=1e-5)
        for name in ("one", "two"):
            np.testing.assert_allclose(heard.probabilities[name][i], tags.by_model[name], atol=1e-5)


def test_other_sounds_hold_the_ensemble_back_as_the_tagger_s(tmp_path: Path) -> None:
    clip = tmp_path / "noise.wav"
    soundfile.write(clip, np.random.default_rng(1).normal(scale=0.1, size=10 * SAMPLE_RATE), SAMPLE_RATE, "FLOAT")
    names = ("passt", "ms_crnn")
    candidates = [open_candidate(name) for name in names]
    together = joint(candidates)
    assert together is not None
    tagger, samples = Tagger.load(names), load(clip)
    assert held_back(tagger.calibrated(log_mel(DcBlocker()(samples)))[OTHERS]).min() > 1
    heard = listen([clip], candidates, [together]).probabilities
    np.testing.assert_allclose(heard["ensemble"][0], tagger.tag(samples, SAMPLE_RATE).probabilities, atol=1e-6)
    assert {each.shape for each in heard.values()} == {(1, len(INSTRUMENTS))}


def test_a_checkpoint_is_analysed_uncalibrated(models: Path, tmp_path: Path) -> None:
    torch = pytest.importorskip("torch", reason="checkpoints need the [train] extra")
    from instrec_live.models.calibration import sigmoid
    from instrec_live.models.networks.registry import build

    config = {"channels": 6, "hidden": 8}
    network = build("ms_crnn", **config).eval()
    path = tmp_path / "runs" / "mine" / "weights.pt"
    path.parent.mkdir(parents=True)
    torch.save({"name": "ms_crnn", "config": config, "state_dict": network.state_dict(), "provenance": {}}, path)
    mine, one = open_candidate(str(path)), open_candidate(f"other={models / 'one'}")
    assert (mine.label, mine.bundle, one.label) == ("mine", None, "other")
    clip = noise(tmp_path / "a.wav")
    together = joint([mine, one])
    assert together is not None
    heard = listen([clip], [mine, one], [together])
    mel = log_mel(DcBlocker()(load(clip)))
    with torch.no_grad():
        expected = network(torch.from_numpy(mel[None]))[0, : len(INSTRUMENTS)].numpy()
    np.testing.assert_allclose(heard.probabilities["mine"][0], sigmoid(expected), atol=1e-5)
    mean = (expected + one.logits(mel)) / 2
    np.testing.assert_allclose(heard.probabilities["ensemble"][0], sigmoid(mean), atol=1e-5)


def test_a_model_that_is_broken_is_named(tmp_path: Path) -> None:
    broken = Candidate("bad", "bad", "", None, np.full(20, 0.5, np.float32), lambda mel: np.full(20, np.nan))
    with pytest.raises(ModelError, match="bad gives values that are not finite"):
        listen([noise(tmp_path / "a.wav")], [broken])


def test_evaluating_bundles_loads_no_torch() -> None:
    code = "import sys, instrec_live.training.evaluate; print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert run.stdout.split() == ["False", "False"]


# Single clips


def test_detections_hide_no_false_positive() -> None:
    truth, mask, p = np.zeros(20, np.float32), np.ones(20, np.float32), np.zeros(20, np.float32)
    where = INSTRUMENTS.index
    truth[[where("piano"), where("voice")]] = 1
    mask[where("drums")] = 0
    p[[where("piano"), where("flute"), where("drums")]] = 0.9, 0.3, 0.8
    found = [detections(truth, mask, p, t) for t in (0.2, 0.3, 0.5)]
    assert [d.hits for d in found] == [("piano",)] * 3
    assert [d.misses for d in found] == [("voice",)] * 3
    assert [d.false for d in found] == [("flute",), ("flute",), ()]
    assert [d.unknown for d in found] == [("drums",)] * 3
    assert micro(found[:1]) == pytest.approx((1 / 2, 1 / 2, 1 / 2))
    assert micro([]) == pytest.approx((np.nan,) * 3, nan_ok=True)


def test_clips_and_their_labels(tmp_path: Path) -> None:
    one, two = noise(tmp_path / "a=b.wav"), noise(tmp_path / "sub" / "two.wav")
    (tmp_path / "labelled").mkdir()
    noise(tmp_path / "labelled" / "three.wav")
    header = "file,labels,absent,kind,source\n"
    (tmp_path / "labelled" / "labels.csv").write_text(f"{header}three.wav,piano,drums|bass,poly,x @0s\n")
    opened = open_clips([f"{one}=piano+voice", str(two.parent), str(tmp_path / "labelled")])
    assert [path.name for path in opened.paths] == ["a=b.wav", "two.wav", "three.wav"]
    assert opened.mask.sum(1).tolist() == [20, 0, 3]
    assert opened.labels.sum(1).tolist() == [2, 0, 1]
    assert open_clips([str(one)]).mask.sum() == 0
    with pytest.raises(UsageError, match="twice"):
        open_clips([f"{one}=piano", str(one)])
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InputFileError, match="no sound files"):
        open_clips([str(tmp_path / "nothing")])


def test_the_report_shows_every_detection(run, models: Path, tmp_path: Path) -> None:
    clip, to = noise(tmp_path / "song.wav", seed=3), tmp_path / "report"
    assert run("--clips", f"{clip}=piano+voice", "--models", models / "one", "--to", to)[0] == 0
    told = json.loads((to / "metrics.json").read_text())["clips"]["one"]["song.wav"]
    p = np.array(list(told["probabilities"].values()), np.float32)
    tags = Tagger.load([models / "one"]).tag(*soundfile.read(clip, dtype="float32"))
    np.testing.assert_allclose(p, tags.probabilities, atol=1e-5)
    over = [name for name, yes in zip(INSTRUMENTS, p >= 0.5, strict=True) if yes]
    assert over
    assert sorted(told["0.5"]["hits"] + told["0.5"]["false"]) == over
    (row,) = rows_of((to / "report.md").read_text(), "`song.wav`")
    for name in set(over) - {"piano", "voice"}:
        assert name.replace("_", " ") in row[5].split("**false**")[1]


# Words


def test_which_clips_are_measured() -> None:
    zeros = np.zeros((3, 20), np.float32)
    paths = tuple(Path(f"{c}.wav") for c in "abc")
    clips = Table(paths, np.full(3, "x"), np.array(["a", "b", "c"]), np.array(["test", "valid", "valid"]), zeros, zeros)
    assert choose("x", clips, None)[0].paths == paths[:1]
    assert choose("x", clips, "valid")[0].paths == paths[1:]
    assert choose("x", clips, "all") == (clips, "all clips: 1 test, 2 valid")
    assert choose("x", clips[1:], None)[1] == "all clips: 2 valid"
    with pytest.raises(UsageError, match="no clips of the split 'test'"):
        choose("x", clips[1:], "test")


def test_names_and_numbers() -> None:
    assert clip_names((Path("/d/a/1.wav"), Path("/d/b/2.wav"))) == ["1.wav", "2.wav"]
    assert clip_names((Path("/d/a/1.wav"), Path("/d/b/1.wav"))) == ["a/1.wav", "b/1.wav"]
    assert figure(np.nan) == "–"
    assert figure(0.5, 0.25, 0.75, 2, sign=True) == "+0.50 [+0.25, +0.75]"
    assert table(["a", "b"], [["x|y", "1"]]) == ["| a | b |", "| --- | ---: |", "| x\\|y | 1 |", ""]


def test_a_command_is_kept_without_this_machine_s_folders() -> None:
    typed = "python -m training.passt --valid clips:/home/me/dev --init ../there/y.npz --to runs/passt --lr 1e-3"
    kept = "python -m training.passt --valid clips:dev --init y.npz --to runs/passt --lr 1e-3"
    assert without_folders(typed) == kept
    assert without_folders(kept) == kept
