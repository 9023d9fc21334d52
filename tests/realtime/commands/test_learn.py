"""`instrec-live learn`, from sounds to rows: as a user would."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from instrec_live.models.audioset import NOT_MUSIC
from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.learned import LearnedBundle
from instrec_live.realtime.commands.learn import Collection, Recording, collect, encode, run

RATE = 32_000
RUN = [sys.executable, "-m", "instrec_live.realtime"]
DEFAULT = "passt,cbam_cnn,ms_crnn"


def siren(seed: int, seconds: float = 3.0) -> np.ndarray:
    """A tone that goes up and down."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE)) / RATE
    hz = 900 + 400 * np.sin(2 * np.pi * rng.uniform(1.5, 2.5) * t + rng.uniform(0, 6))
    return (0.3 * np.sin(2 * np.pi * np.cumsum(hz) / RATE)).astype(np.float32)


def rattle(seed: int, seconds: float = 3.0) -> np.ndarray:
    """Clicks in quick succession."""
    rng = np.random.default_rng(seed)
    sound = np.zeros(round(seconds * RATE), np.float32)
    for at in np.arange(0.0, seconds - 0.05, rng.uniform(0.04, 0.06)):
        begin = round(at * RATE)
        sound[begin : begin + 400] += (rng.standard_normal(400) * np.exp(-np.arange(400) / 60)).astype(np.float32)
    return 0.2 * sound


@pytest.fixture(scope="module")
def learned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict]:
    """A bundle of two classes, and its figures."""
    here = tmp_path_factory.mktemp("learn")
    for name, make in (("Fire Siren", siren), ("rattle", rattle)):
        (here / "sounds" / name).mkdir(parents=True)
        for seed in range(5):
            soundfile.write(here / "sounds" / name / f"{seed}.wav", make(seed), RATE)
    command = [*RUN, "learn", "sounds", "--to", "mine", "--json", "-q"]
    result = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=280)
    assert (result.returncode, result.stderr) == (0, "")
    return here, json.loads(result.stdout)


def test_it_reports_its_accuracy(learned: tuple[Path, dict]) -> None:
    here, figures = learned
    assert list(figures) == ["fire_siren", "rattle"]
    for each in figures.values():
        assert (each["recordings"], each["held_out"]) == (5, "files")
        assert each["ap"] > 0.9
        assert each["false_alarms"] <= 0.02
        assert each["ap_mixed"] is not None
    bundle = LearnedBundle.load(here / "mine")
    assert bundle.new == ("fire_siren", "rattle")
    assert bundle.evaluation == figures
    assert bundle.held_back_by == dict.fromkeys(figures, NOT_MUSIC)
    card = (here / "mine" / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "fire siren" in card
    assert "held out file by file" in card


def test_it_runs_with_the_twenty_and_alone(learned: tuple[Path, dict]) -> None:
    """In the data, in the lines for people, in all outputs."""
    here, _ = learned
    quiet = 0.003 * np.random.default_rng(0).standard_normal(4 * RATE).astype(np.float32)
    soundfile.write(here / "take.wav", np.concatenate([quiet, siren(11, 6.0), quiet]), RATE)
    for models in (f"{DEFAULT},./mine", "./mine"):
        outputs = [f"--output={here / name}" for name in ("run.jsonl", "run.csv", "run.txt", "run.svg", "run.html")]
        command = [*RUN, "--no-config", "--file", "take.wav", "--pace", "max", "--no-ui", "--models", models, *outputs,
                   "--engine", "onnx", "--force"]  # fmt: skip
        result = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=280)
        assert result.returncode == 0, result.stderr
        assert "+ fire siren" in result.stdout
        head, *updates = [json.loads(line) for line in (here / "run.jsonl").read_text().splitlines()]
        assert head["instruments"][-2:] == ["fire_siren", "rattle"]
        assert len(head["instruments"]) == (22 if "," in models else 2)
        assert {"fire_siren", "rattle"} <= head["thresholds"].keys()
        heard = [update for update in updates if update["type"] == "update" and 6 < update["time"] < 10]
        assert all(update["probabilities"].keys() == set(head["instruments"]) for update in heard)
        assert all("fire_siren" in update["active"] for update in heard)
        assert not any("rattle" in update["active"] for update in heard)
        assert all(update["by_model"]["mine"].keys() == {"fire_siren", "rattle"} for update in heard)
        assert "fire siren" in (here / "run.txt").read_text()
        assert ",fire_siren," in (here / "run.csv").read_text()
        assert "fire siren" in (here / "run.svg").read_text()
        again = subprocess.run([*RUN, "report", "run.jsonl", "-o", "again.svg", "--force", "-q"], cwd=here, timeout=280)
        assert again.returncode == 0
        assert (here / "again.svg").read_text() == (here / "run.svg").read_text()


def test_thresholds_and_only_accept_the_new_names(learned: tuple[Path, dict]) -> None:
    here, _ = learned
    (here / "own.json").write_text('{"fire siren": 0.99}')
    command = [*RUN, "--no-config", "--file", "take.wav", "--pace", "max", "--no-ui", "--json", "--engine", "onnx",
               "--models", f"{DEFAULT},./mine", "--only", "fire siren,piano", "--thresholds", "own.json"]  # fmt: skip
    soundfile.write(here / "take.wav", siren(1, 3.0), RATE)
    result = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=280)
    assert result.returncode == 0, result.stderr
    head = json.loads(result.stdout.splitlines()[0])
    assert head["instruments"] == ["piano", "fire_siren"]
    assert head["thresholds"]["fire_siren"] > 0.98
    wrong = subprocess.run([*RUN, "--no-config", "--file", "take.wav", "--models", "./mine", "--only", "piano"],
                           cwd=here, capture_output=True, text=True, timeout=280)  # fmt: skip
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)


def test_tags_and_resumes(learned: tuple[Path, dict]) -> None:
    here, _ = learned
    soundfile.write(here / "one.wav", siren(21, 3.0), RATE)
    command = [
        *RUN,
        "tag",
        "one.wav",
        "--models",
        "./mine",
        "--engine",
        "onnx",
        "--no-config",
        "-o",
        "r.csv",
        "-j",
        "1",
    ]
    for _ in range(2):
        result = subprocess.run(command, cwd=here, capture_output=True, text=True, timeout=280)
        assert result.returncode == 0, result.stderr
    rows = list(csv.DictReader((here / "r.csv").read_text().splitlines()))
    assert [row["instrument"] for row in rows] == ["fire_siren", "rattle"]
    assert float(rows[0]["active_seconds"]) == pytest.approx(3.0, abs=0.5)
    assert float(rows[1]["active_seconds"]) == 0


def sound(path: Path, seconds: float = 1.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, siren(sum(path.name.encode()), seconds), RATE)
    return path


def test_a_folder_is_read_by_its_rules(tmp_path: Path) -> None:
    sound(tmp_path / "Harp" / "anna" / "a.wav")
    sound(tmp_path / "Harp" / "anna" / "b.wav")
    sound(tmp_path / "Harp" / "ben" / "c.flac")
    sound(tmp_path / "oud" / "x.wav")
    sound(tmp_path / "take.wav", 8.0).with_suffix(".txt").write_text(
        "0.0\t2.0\tHarp\n\\\t100\t200\n2.5\t6.0\tkora\n3.0\t6.0\tpiano\n7\t7\ta point\n"
    )
    found = collect(tmp_path)
    assert found.classes == ("harp", "oud", "kora")
    assert found.grouping == {"harp": "folders", "oud": "one recording", "kora": "one recording"}
    groups = {each.path.name: each.group for each in found.recordings}
    assert groups["a.wav"] == groups["b.wav"] != groups["c.flac"]
    folds = found.folds()
    assert folds[groups["a.wav"]] != folds[groups["c.flac"]]
    assert folds[groups["x.wav"]] is None
    take = next(each for each in found.recordings if each.path.name == "take.wav")
    assert take.sounding(0.0, 2.0) == {"harp"}
    assert take.sounding(3.5, 5.5) == {"kora", "piano"}
    assert take.sounding(1.0, 3.0) is None  # half of it is harp
    assert take.sounding(6.0, 8.0) == frozenset()


def test_a_class_that_would_be_in_one_fold_is_divided_in_time(tmp_path: Path) -> None:
    """The only recording of a kora also holds a harp, of which there are others."""
    sound(tmp_path / "harp" / "a.wav")
    sound(tmp_path / "harp" / "b.wav")
    take = sound(tmp_path / "take.wav", 8.0)
    take.with_suffix(".txt").write_text("0\t4\tharp\n4\t8\tkora\n")
    found = collect(tmp_path)
    folds = found.folds()
    assert folds[str(take)] is None
    assert {folds[str(tmp_path / "harp" / name)] for name in ("a.wav", "b.wav")} == {0, 1}
    assert found.held_out("harp") == "files"
    labels = ((0.0, 4.0, "harp"), (4.0, 8.0, "kora"))  # of the first and the sixth harp, which are in one fold
    harps = [Recording(Path(n), n, labels if n in "05" else None, "harp") for n in "012345"]
    found = Collection(harps, ("harp", "kora"), {"harp": "files", "kora": "files"})
    assert found.folds() == {"0": None, "1": 1, "2": 2, "3": 3, "4": 4, "5": None}
    assert (found.held_out("harp"), found.held_out("kora")) == ("files", "parts")


def test_copies_of_a_recording_are_held_out_together(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name in ("harp/anna/a", "harp/anna/b", "harp/ben/copy", "harp/ben/other"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / f"{name}.wav", siren(0 if name[-1] in "ay" else len(name)), RATE)
    collection = collect(tmp_path)
    groups = {each.path.stem: Path(each.group).name for each in collection.recordings}
    assert groups == {"a": "anna", "b": "anna", "copy": "anna", "other": "ben"}
    assert [record.message for record in caplog.records] == [
        f"{tmp_path}/harp/ben/copy.wav: a copy of {tmp_path}/harp/anna/a.wav; the two are held out together"
    ]


def test_one_recording_and_its_copies_are_divided_in_time(tmp_path: Path) -> None:
    (tmp_path / "harp").mkdir()
    for name in "abc":
        soundfile.write(tmp_path / "harp" / f"{name}.wav", siren(0), RATE)
    collection = collect(tmp_path)
    assert set(collection.folds().values()) == {None}
    assert collection.held_out("harp") == "parts"


def test_a_class_too_soft_to_count_is_one_clear_line(tmp_path: Path) -> None:
    """31 dB below the rest of its recording: some of its windows count, but only with other sound added."""
    loud, soft = 0.9 * siren(0, 20.0) / 0.3, 0.9 * 10 ** (-32 / 20) * siren(1, 20.0) / 0.3
    (tmp_path / "sounds").mkdir()
    soundfile.write(tmp_path / "sounds" / "take.wav", np.concatenate([loud, soft]), RATE)
    (tmp_path / "sounds" / "take.txt").write_text("0\t20\tkora\n20\t40\tharp\n")
    with pytest.raises(InputFileError, match="very soft sound, of harp"):
        run([str(tmp_path / "sounds"), "--to", str(tmp_path / "out"), "-q"])


def unheard(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What an `Encoder` gives beside embeddings, of music, if no class is a correction."""
    return np.empty((len(windows), 0), np.float32), np.zeros((len(windows), 3), np.float32)


def test_a_window_and_its_mixed_copy_are_in_one_fold(tmp_path: Path) -> None:
    sound(tmp_path / "harp" / "a.wav", 71.0)  # more than one chunk

    def encoder(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return np.zeros((len(windows), 1), np.float32), *unheard(windows)

    examples, seconds = encode(collect(tmp_path), encoder)  # type: ignore[arg-type]
    harp = examples.labels[:, 0]
    dry, mixed = examples.folds[harp & ~examples.mixed], examples.folds[harp & examples.mixed]
    assert np.array_equal(dry, mixed)
    assert np.array_equal(dry, np.arange(70) * 5 // 70)
    assert seconds == {"harp": 70.0}


def test_what_is_mixed_is_of_one_fold(tmp_path: Path) -> None:
    """Two recordings divided in time: tones that rise, so that each window's pitch says when it is from."""
    t = np.arange(40 * RATE) / RATE
    for name, hz in (("harp", 400), ("oud", 2000)):
        (tmp_path / name).mkdir()
        soundfile.write(tmp_path / name / "a.wav", 0.3 * np.sin(2 * np.pi * (hz * t + 5 * t**2)), RATE)  # + 10 Hz a s
    frequencies = np.fft.rfftfreq(2 * RATE, 1 / RATE)

    def encoder(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        power = np.abs(np.fft.rfft(windows)) ** 2
        bands = [(frequencies > low) & (frequencies < low + 400) for low in (400, 2000)]
        begins = [power[:, band] @ (frequencies[band] - frequencies[band][0]) / power[:, band].sum(1) / 10 - 1
                  for band in bands]  # fmt: skip
        return np.stack(begins, 1).astype(np.float32), *unheard(windows)

    examples, _ = encode(collect(tmp_path), encoder)  # type: ignore[arg-type]
    both = examples.labels.all(axis=1)
    assert both.sum() > 10
    folds = np.rint(examples.features[both]).astype(int).clip(0, 38) * 5 // 39
    assert np.array_equal(folds[:, 0], folds[:, 1])
    assert np.array_equal(folds[:, 0], examples.folds[both])


def test_the_demo_s_sound_is_in_no_class_and_divided_among_the_folds(tmp_path: Path) -> None:
    sound(tmp_path / "harp" / "a.wav", 20.0)

    def encoder(windows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return np.zeros((len(windows), 1), np.float32), *unheard(windows)

    examples, _ = encode(collect(tmp_path), encoder)  # type: ignore[arg-type]
    demo = ~examples.labels.any(axis=1)
    assert demo.sum() > 30
    assert not examples.mixed[demo].any()
    assert (np.bincount(examples.folds[demo]) > 5).all()


def test_windows_of_labels() -> None:
    whole = Recording(Path("a.wav"), "a", None, "harp")
    assert whole.sounding(3, 5) == {"harp"}


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda p: None, InputFileError, "no sounds of any instrument"),
        (lambda p: sound(p / "<b>" / "a.wav"), InputFileError, "cannot be the name of an instrument"),
        (lambda p: [sound(p / "French Horn" / "a.wav"), sound(p / "french-horn" / "b.wav")], InputFileError, "another"),
        (lambda p: sound(p / "a.wav").with_suffix(".txt").write_text("no track\n"), InputFileError, "not an Audacity"),
        (lambda p: sound(p / "a.wav").with_suffix(".txt").write_text("5\t2\toud\n"), InputFileError, "from 5 to 2"),
        (lambda p: sound(p / "a.wav").with_suffix(".txt").write_text("0\tnan\tx\n"), InputFileError, "from 0 to nan"),
        (lambda p: soundfile.write(sound(p / "harp" / "a.wav"), np.zeros(RATE), RATE), InputFileError, "silence"),
    ],
    ids=["empty", "name", "twice", "track", "reversed", "nan", "silence"],
)
def test_what_cannot_be_learned_is_one_clear_line(tmp_path: Path, make, error, words: str) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "sounds").mkdir()
    make(tmp_path / "sounds")
    with pytest.raises(error, match=words):
        run([str(tmp_path / "sounds"), "--to", str(tmp_path / "out"), "-q"])
    assert not (tmp_path / "out").exists()


def test_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    sound(tmp_path / "sounds" / "harp" / "a.wav")
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious" / "letter.txt").touch()
    for to, force, words in [
        (tmp_path / "precious", [], "exists"),
        (tmp_path / "precious", ["--force"], "not a bundle"),
        (tmp_path / "sounds", ["--force"], "not a bundle|replace the sounds"),
        (tmp_path, ["--force"], "not a bundle|replace the sounds"),
    ]:
        with pytest.raises(UsageError, match=words):
            run([str(tmp_path / "sounds"), "--to", str(to), "-q", *force])
    with pytest.raises(InputFileError, match="no such folder"):
        run([str(tmp_path / "gone"), "--to", str(tmp_path / "out"), "-q"])
