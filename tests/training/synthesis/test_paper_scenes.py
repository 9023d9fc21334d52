"""The paper's mixtures: its numbers and statistics, what they sound like, and what --corrected mends."""

import csv
import errno
import os
import subprocess
import sys
from pathlib import Path

import fake_nsynth
import numpy as np
import pytest
import soundfile

pytest.importorskip("tqdm", reason="training needs the [train] extra")

from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.training.data.nsynth import FAMILIES, TAGS, Notes, paper_labels, read_nsynth
from instrec_live.training.data.table import read_table
from instrec_live.training.synthesis.scenes.paper import Mixture, loop, main, plan, play

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def nsynth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("nsynth")
    fake_nsynth.unpack(fake_nsynth.write_fake_nsynth(to, "train", 6), to)
    return to / "nsynth-train"


@pytest.fixture(scope="module")
def notes(nsynth: Path) -> Notes:
    return read_nsynth(nsynth, subset=True)


def unheard(per_family: int, families: tuple[str, ...] = FAMILIES) -> Notes:
    """Notes without audio: enough for a plan."""
    n = per_family * len(families)
    family = np.repeat([FAMILIES.index(name) for name in families], per_family)
    number = np.arange(n)
    return Notes(Path("nsynth-train"), number.astype(str), family, number % 3, number // 5, number, number)


def sounding(samples: np.ndarray) -> set[str]:
    """The fake's families that have power in their own bands."""
    power = np.square(np.abs(np.fft.rfft(samples)))
    hz = np.fft.rfftfreq(len(samples), 1 / 16_000)
    low, high = fake_nsynth.EDGES[:-1], fake_nsynth.EDGES[1:]
    of = np.array([power[(hz > a) & (hz < b)].sum() for a, b in zip(low, high, strict=True)])
    return {FAMILIES[i] for i in np.flatnonzero(of > of.max() * 1e-3)}


def test_2200_mixtures_200_of_each_k() -> None:
    notes = unheard(40)
    mixtures = plan(notes)
    assert [len(m.families) for m in mixtures] == [k for k in range(1, 12) for _ in range(200)]
    for m in mixtures:
        assert len(set(m.families)) == len(m.families) == len(m.notes) == len(m.gains_db)
        assert [FAMILIES[notes.family[note]] for note in m.notes] == list(m.families)
        assert set(m.families) & set(TAGS)
    assert all(set(m.families) == set(FAMILIES) for m in mixtures[-200:])
    # Alone, only families with a tag; and these are shuffled when there are more.
    assert {m.families[0] for m in mixtures[:200]} == set(TAGS)
    assert {m.families[0] for m in mixtures[-200:]} == set(FAMILIES)
    assert len({note for m in mixtures for note in m.notes}) == len(notes)


def test_gains_are_uniform_over_10_db() -> None:
    gains = np.concatenate([m.gains_db for m in plan(unheard(5))])
    assert len(gains) == 200 * 66
    assert -10 <= gains.min() < -9.95
    assert -0.05 < gains.max() <= 0
    assert abs(gains.mean() + 5) < 4 * 10 / np.sqrt(12 * len(gains))


def test_a_tag_is_present_with_probability_0_5625() -> None:
    """Within 4 standard errors: binomial in each k for a tag alone, hypergeometric in each k for all eight together."""
    mixtures = plan(unheard(40))
    cells = [paper_labels(list(m.families)) for m in mixtures]
    labels, mask = np.stack([c[0] for c in cells]), np.stack([c[1] for c in cells])
    known = [INSTRUMENTS.index(tag) for tag in TAGS.values()]
    assert mask.sum() == 2200 * 8
    assert (mask[:, known] == 1).all()
    assert labels[mask == 0].sum() == 0
    k = np.arange(1, 12)
    p = 1 / 8 + 7 / 8 * (k - 1) / 10
    assert p.mean() == 0.5625
    error = np.sqrt((p * (1 - p)).sum() * 200) / 2200
    assert (np.abs(labels[:, known].mean(0) - 0.5625) < 4 * error).all()
    variance = (k - 1) * 0.7 * 0.3 * (11 - k) / 9
    assert abs(labels[:, known].mean() - 0.5625) < 4 * np.sqrt(variance.sum() * 200) / (2200 * 8)
    q = (k - 1) / 10
    for family in set(FAMILIES) - set(TAGS):
        share = np.mean([family in m.families for m in mixtures])
        assert abs(share - 0.5) < 4 * np.sqrt((q * (1 - q)).sum() * 200) / 2200


def test_a_plan_is_its_seeds() -> None:
    assert plan(unheard(5)) == plan(unheard(5))
    assert plan(unheard(5)) != plan(unheard(5), seed=43)


def test_a_family_without_notes_is_named() -> None:
    notes = unheard(5, tuple(f for f in FAMILIES if f != "synth_lead"))
    with pytest.raises(InputFileError, match=r"no notes of synth_lead — leave them out: --families bass,.*,vocal"):
        plan(notes)
    families = [f for f in FAMILIES if f != "synth_lead"]
    mixtures = plan(notes, per_k=3, families=families)
    assert len(mixtures) == 30
    assert set(mixtures[-1].families) == set(families)


def test_impossible_sizes_are_refused() -> None:
    with pytest.raises(UsageError, match="--max-k must be 1 to 11"):
        plan(unheard(5), max_k=12)
    with pytest.raises(UsageError, match="must hold one of bass"):
        plan(unheard(5), families=["brass", "reed"])


def test_a_mixture_sounds_as_the_papers_do(notes: Notes) -> None:
    for mixture in plan(notes, per_k=2)[::3]:
        samples = loop(mixture, notes, 10)
        assert samples.dtype == np.float32
        assert samples.shape == (160_000,)
        assert np.abs(samples).max() == 1.0
        np.testing.assert_array_equal(samples[64_000:], samples[:-64_000])
        assert sounding(samples) == set(mixture.families)


def test_gains_are_applied(notes: Notes) -> None:
    """Each note peaks at its gain under full scale, the mixture at full scale."""
    flute, organ = (int(np.flatnonzero(notes.family == FAMILIES.index(name))[0]) for name in ("flute", "organ"))
    both = loop(Mixture(("flute", "organ"), (flute, organ), (0.0, -9.0)), notes, 4)
    alone = loop(Mixture(("organ",), (organ,), (-3.0,)), notes, 4)
    assert np.abs(alone).max() == 1.0
    one = notes.load(flute) / np.abs(notes.load(flute)).max() + alone * 10 ** (-9 / 20)
    np.testing.assert_allclose(both, one / np.abs(one).max(), atol=1e-5)


def test_the_corrected_neither_loop_nor_peak_nor_fall_silent(notes: Notes) -> None:
    peaks = []
    for i, mixture in enumerate(plan(notes, per_k=2)):
        samples = play(mixture, notes, 10, np.random.default_rng(i))
        assert samples.dtype == np.float32
        assert samples.shape == (160_000,)
        peaks.append(np.abs(samples).max())
        likeness = np.corrcoef(samples[64_000:], samples[:-64_000])[0, 1]
        assert likeness < 0.9
        assert np.abs(samples).reshape(-1, 160).max(1).min() > 0
        # Softest, an instrument is 10 dB down and plays for half a second, but is never absent.
        assert sounding(samples) >= {family for family in mixture.families if len(mixture.families) < 4}
    assert max(peaks) < 0.9
    assert 20 * np.log10(max(peaks) / min(peaks)) > 10


def test_a_silent_note_is_not_played(notes: Notes, tmp_path: Path) -> None:
    audio = tmp_path / "audio"
    audio.mkdir()
    for i in range(3):
        soundfile.write(audio / f"{i}.wav", np.zeros(64_000) if i < 2 else np.full(64_000, 0.5), 16_000)
    zeros = np.zeros(3, np.int64)
    some = Notes(tmp_path, np.array(["0", "1", "2"]), zeros, zeros, zeros, zeros, zeros)
    mixture = Mixture(("bass",), (0,), (0.0,))
    samples = play(mixture, some, 2, np.random.default_rng(0))
    assert np.abs(np.mean(samples)) > 0.1 * np.abs(samples).max()
    assert (loop(mixture, some, 2) == 0).all()
    with pytest.raises(InputFileError, match="silent, as are all notes of its instrument"):
        play(mixture, some[np.array([0, 1])], 2, np.random.default_rng(0))


def test_the_command_writes_a_table_and_the_same_bytes_again(nsynth: Path, tmp_path: Path) -> None:
    for name, more in (("one", []), ("two", []), ("corrected", ["--corrected"]), ("again", ["--corrected"])):
        main(["--nsynth", str(nsynth), "--to", str(tmp_path / name), "--per-k", "1", "--subset", *more])
    written = {
        name: {p.relative_to(tmp_path / name): p.read_bytes() for p in sorted((tmp_path / name).rglob("*.*"))}
        for name in ("one", "two", "corrected", "again")
    }
    assert written["one"] == written["two"] != written["corrected"] == written["again"]
    assert [p.name for p in sorted((tmp_path / "one" / "audio").iterdir())] == [f"mix_{i:05d}.wav" for i in range(11)]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["again", "corrected", "one", "two"]
    for name in ("one", "corrected"):
        table = read_table(tmp_path / name / "table.csv")
        with (tmp_path / name / "mixtures.csv").open(newline="") as handle:
            rows = list(csv.DictReader(handle))
        assert (set(table.source), set(table.group), set(table.split)) == ({"synthetic"}, {"nsynth-train"}, {"train"})
        assert [int(row["polyphony"]) for row in rows] == list(range(1, 12))
        for i, (path, row) in enumerate(zip(table.paths, rows, strict=True)):
            info = soundfile.info(path)
            assert (info.samplerate, info.channels, info.subtype, info.frames) == (16_000, 1, "PCM_16", 160_000)
            peak = np.abs(soundfile.read(path, dtype="int16")[0].astype(int)).max()
            assert peak in (32_767, 32_768) if name == "one" else 0 < peak < 30_000
            assert path.name == Path(row["file"]).name
            families = row["chosen_families"].split("|")
            assert [note.rpartition("_")[0].rpartition("_")[0] for note in row["notes"].split("|")] == families
            labels, mask = paper_labels(families)
            if name == "one":
                np.testing.assert_array_equal(table.labels[i], labels)
                np.testing.assert_array_equal(table.mask[i], mask)
    # Drums are never in NSynth: known, where that is what labels mean.
    assert table.mask[:, INSTRUMENTS.index("drums")].all()
    assert (table.labels <= table.mask).all()


def test_only_the_kinds_of_instrument_asked_for(nsynth: Path, tmp_path: Path) -> None:
    families = "bass,flute,keyboard,vocal"
    main(["--nsynth", str(nsynth), "--to", str(tmp_path / "mix"), "--per-k", "3", "--subset", "--seconds", "1",
          "--source", "acoustic", "--families", families])  # fmt: skip
    assert len(read_table(tmp_path / "mix" / "table.csv")) == 12
    rows = list(csv.DictReader((tmp_path / "mix" / "mixtures.csv").open(newline="")))
    assert all("_acoustic_" in note for row in rows for note in row["notes"].split("|"))
    with pytest.raises(InputFileError, match="no notes of synth_lead"):
        main(["--nsynth", str(nsynth), "--to", str(tmp_path / "no"), "--subset", "--source", "acoustic"])


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--per-k", "0"], "--per-k must be at least 1, not 0"),
        (["--seconds", "nan"], "--seconds must be 0.1 to 3600"),
        (["--seed", "-1"], "--seed must be 0 to"),
        (["--source", "acoustic,organic"], "--source: 'organic' is not one of acoustic"),
        (["--families", "bass,bass"], "--families: 'bass' is not one of .* or is named twice"),
        (["--max-k", "12"], "--max-k must be 1 to 11"),
    ],
)
def test_a_wrong_option_is_named(nsynth: Path, tmp_path: Path, options: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        main(["--nsynth", str(nsynth), "--to", str(tmp_path / "mix"), "--subset", *options])
    assert not list(tmp_path.iterdir())


def test_nothing_half_written_is_left_and_nothing_overwritten(nsynth: Path, notes: Notes, tmp_path: Path) -> None:
    broken = tmp_path / "nsynth-train"
    broken.mkdir()
    (broken / "examples.json").write_bytes((nsynth / "examples.json").read_bytes())
    (broken / "audio").mkdir()
    for name in notes.names:
        os.link(nsynth / "audio" / f"{name}.wav", broken / "audio" / f"{name}.wav")
    bad = plan(notes, per_k=1)[4].notes[0]
    path = broken / "audio" / f"{notes.names[bad]}.wav"
    path.unlink()
    soundfile.write(path, np.full(64_000, np.nan), 16_000, "FLOAT")
    command = ["--nsynth", str(broken), "--to", str(tmp_path / "mix"), "--per-k", "1", "--subset"]
    with pytest.raises(InputFileError, match=f"{path.name}: not every sample is a finite number"):
        main(command)
    assert [p.name for p in tmp_path.iterdir()] == ["nsynth-train"]
    (tmp_path / "mix").mkdir()
    (tmp_path / "mix" / "mine").write_text("precious")
    with pytest.raises(UsageError, match="already there"):
        main(command)
    assert (tmp_path / "mix" / "mine").read_text() == "precious"


def test_a_full_disk_is_reported_with_its_place(nsynth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="mix") as error:
        main(["--nsynth", str(nsynth), "--to", str(tmp_path / "mix"), "--per-k", "1", "--subset"])
    assert (error.value.errno, error.value.filename) == (errno.ENOSPC, str(tmp_path / "mix"))
    assert not list(tmp_path.iterdir())


def test_leftovers_of_a_killed_run_do_no_harm(nsynth: Path, tmp_path: Path) -> None:
    (tmp_path / ".mix.partial" / "audio").mkdir(parents=True)
    (tmp_path / ".mix.partial" / "audio" / "mix_99999.wav").write_bytes(b"half")
    main(["--nsynth", str(nsynth), "--to", str(tmp_path / "mix"), "--per-k", "1", "--max-k", "1", "--subset"])
    assert [p.name for p in (tmp_path / "mix" / "audio").iterdir()] == ["mix_00000.wav"]
    assert [p.name for p in tmp_path.iterdir()] == ["mix"]


def test_the_shell_lists_its_commands_and_ends_a_mistake_in_one_line(tmp_path: Path) -> None:
    def run(*argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "training.synthesis.scenes", *argv],
            cwd=CHECKOUT,
            capture_output=True,
            text=True,
            timeout=60,
        )

    shown = run("--help")
    assert shown.returncode == 0
    assert "scenes paper" in shown.stdout
    assert "scenes write" in shown.stdout
    assert "--per-k" in run("paper", "--help").stdout
    assert run("juggle").returncode == 2
    wrong = run("paper", "--nsynth", str(tmp_path), "--to", str(tmp_path / "mix"))
    assert wrong.returncode == 4
    assert wrong.stderr.startswith("error: ")
    assert wrong.stderr.count("\n") == 1
    light = "import sys, instrec_live.training.synthesis.scenes.paper; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", light], timeout=60).returncode == 0
