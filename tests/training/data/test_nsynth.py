"""NSynth is read as published, what is wrong with a folder is named, and labels claim only what is certain."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import fake_nsynth
import numpy as np
import pytest
import soundfile

pytest.importorskip("tqdm", reason="training needs the [train] extra")

from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.training.data.nsynth import (
    CERTAIN,
    FAMILIES,
    FIELDS,
    POSSIBLE,
    PUBLISHED,
    SOURCES,
    TAGS,
    certain_labels,
    main,
    paper_labels,
    read_nsynth,
)
from instrec_live.training.data.sounds import load, read_sources


@pytest.fixture(scope="module")
def extracted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A train split of 6 notes a family."""
    to = tmp_path_factory.mktemp("nsynth")
    fake_nsynth.unpack(fake_nsynth.write_fake_nsynth(to, "train", 6), to)
    return to / "nsynth-train"


@pytest.fixture
def folder(extracted: Path, tmp_path: Path) -> Path:
    """A copy of it, to be spoilt."""
    return Path(shutil.copytree(extracted, tmp_path / "nsynth-train"))


def edit(folder: Path, change: Callable[[dict], object]) -> None:
    examples = json.loads((folder / "examples.json").read_text())
    change(examples)
    (folder / "examples.json").write_text(json.dumps(examples))


NOTE = "bass_synthetic_000-060-025"


def test_notes_are_what_their_names_say(folder: Path) -> None:
    notes = read_nsynth(folder, subset=True)
    assert len(notes) == 66
    assert np.bincount(notes.family).tolist() == [6] * 11
    i = notes.names.tolist().index(NOTE)
    assert notes.kind(i) == ("bass", "synthetic")
    assert (notes.pitch[i], notes.velocity[i]) == (60, 25)
    assert notes.path(i) == folder / "audio" / f"{NOTE}.wav"
    assert len(notes.load(i)) == 64_000
    # Numbers of instruments go with names of instruments.
    of_name = {(name.split("-")[0], number) for name, number in zip(notes.names, notes.instrument, strict=True)}
    assert len(of_name) == len(np.unique(notes.instrument)) == len({name for name, _ in of_name})


def test_the_fake_has_every_field_of_the_real_one(folder: Path) -> None:
    examples = json.loads((folder / "examples.json").read_text())
    assert all(tuple(note) == FIELDS and len(note["qualities"]) == 10 for note in examples.values())
    info = soundfile.info(folder / "audio" / f"{NOTE}.wav")
    assert (info.samplerate, info.channels, info.subtype, info.frames) == (16_000, 1, "PCM_16", 64_000)


def test_splits_share_no_instrument_and_synth_lead_is_in_train_only(tmp_path: Path) -> None:
    parts = {}
    for split in ("train", "valid", "test"):
        fake_nsynth.unpack(fake_nsynth.write_fake_nsynth(tmp_path, split, 3), tmp_path)
        parts[split] = read_nsynth(tmp_path / f"nsynth-{split}", subset=True)
    assert sum(len(set(p.instrument)) for p in parts.values()) == len(
        set().union(*(set(p.instrument) for p in parts.values()))
    )
    assert [FAMILIES.index("synth_lead") in p.family for p in parts.values()] == [True, False, False]


def test_another_number_of_notes_than_published_is_refused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert PUBLISHED == {"nsynth-train": 289_205, "nsynth-valid": 12_678, "nsynth-test": 4_096}
    with pytest.raises(InputFileError, match="66 notes, not 289,205 as published"):
        read_nsynth(folder)
    with pytest.raises(InputFileError, match=r"66 notes, not 289,205, 12,678, 4,096"):
        read_nsynth(folder.rename(folder.with_name("other")))
    folder.with_name("other").rename(folder)
    monkeypatch.setitem(PUBLISHED, "nsynth-train", 66)
    assert len(read_nsynth(folder)) == 66


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda f: (f / "examples.json").unlink(), "examples.json: not found — give the folder of one split"),
        (lambda f: (f / "examples.json").write_text('{"bass'), "not JSON"),
        (lambda f: (f / "examples.json").write_bytes(b"\xff\xfe\x00"), "not JSON"),
        (lambda f: (f / "examples.json").write_text("[]"), "holds no notes"),
        (lambda f: (f / "audio" / f"{NOTE}.wav").unlink(), f"{NOTE}.wav: not found — extract"),
        (lambda f: [p.unlink() for p in (f / "audio").iterdir()], "not found, and 65 others"),
        (lambda f: edit(f, lambda e: e[NOTE].pop("velocity")), f"{NOTE}: velocity is missing"),
        (lambda f: edit(f, lambda e: e.update({NOTE: None})), f"{NOTE}: note is missing"),
        (lambda f: edit(f, lambda e: e.update({"kazoo_acoustic_000-060-025": {}})), "'kazoo_acoustic_000-060-025' is"),
        (lambda f: edit(f, lambda e: e.update({f"../{NOTE}": e[NOTE]})), "is not a note"),
        (lambda f: edit(f, lambda e: e[NOTE].update(pitch=61)), "pitch is 61, its name says 60"),
        (lambda f: edit(f, lambda e: e[NOTE].update(instrument_family_str="organ")), "'organ', its name says 'bass'"),
        (lambda f: edit(f, lambda e: e[NOTE].update(instrument="one")), "instrument must be a number, not 'one'"),
    ],
)
def test_what_is_wrong_is_named(folder: Path, spoil: Callable[[Path], object], words: str) -> None:
    spoil(folder)
    with pytest.raises(InputFileError, match=words):
        read_nsynth(folder, subset=True)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (lambda path: path.write_bytes(b"not a sound"), "(?i)format"),
        (lambda path: soundfile.write(path, np.zeros(0, np.float32), 16_000), "no audio in it"),
        (lambda path: soundfile.write(path, np.full(99, np.nan), 16_000, "FLOAT"), "finite"),
    ],
)
def test_a_bad_note_is_named(folder: Path, content: Callable[[Path], object], words: str) -> None:
    notes = read_nsynth(folder, subset=True)
    content(notes.path(7))
    with pytest.raises(InputFileError, match=words) as error:
        notes.load(7)
    assert notes.names[7] in error.value.message


def test_another_rate_and_two_channels_become_16_khz_mono(folder: Path) -> None:
    notes = read_nsynth(folder, subset=True)
    t = np.arange(44_100) / 44_100
    sound = 0.5 * np.sin(2 * np.pi * 440 * t)
    soundfile.write(notes.path(0), np.stack([sound, 0 * sound], 1), 44_100)
    expected = 0.25 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)
    np.testing.assert_allclose(notes.load(0)[500:-500], expected[500:-500], atol=2e-3)


def test_the_papers_labels_know_eight_tags() -> None:
    labels, mask = paper_labels(["reed", "keyboard", "bass", "string"])
    assert {INSTRUMENTS[i] for i in np.flatnonzero(labels)} == {"piano", "bass"}
    assert {INSTRUMENTS[i] for i in np.flatnonzero(mask)} == set(TAGS.values())
    assert mask.sum() == 8


def test_certain_labels_claim_no_more_than_the_notes() -> None:
    assert set(CERTAIN) <= {(family, source) for family in FAMILIES for source in SOURCES}
    assert set(POSSIBLE) == set(FAMILIES)
    labels, mask = certain_labels([("keyboard", "electronic"), ("brass", "acoustic"), ("flute", "acoustic")])
    assert {INSTRUMENTS[i] for i in np.flatnonzero(labels)} == {"flute"}
    assert {INSTRUMENTS[i] for i in np.flatnonzero(mask == 0)} == {
        "accordion", "organ", "piano", "synthesizer", "trombone", "trumpet",
    }  # fmt: skip
    # One certain piano settles it, whatever else is unsure.
    labels, mask = certain_labels([("keyboard", "acoustic"), ("keyboard", "electronic")])
    assert labels[INSTRUMENTS.index("piano")] == mask[INSTRUMENTS.index("piano")] == 1
    # A bass that a synthesizer plays is a synthesizer; whether it is a bass, opinions differ.
    labels, mask = certain_labels([("bass", "synthetic")])
    assert labels[INSTRUMENTS.index("synthesizer")] == 1
    assert mask[INSTRUMENTS.index("bass")] == 0
    assert (labels <= mask).all()


def test_certain_notes_become_a_folder_of_sounds(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    to = tmp_path / "sounds"
    main([str(folder), "--to", str(to), "--subset", "--notes", "1"])
    sources = read_sources(to)
    # Of the 6 notes of a family, 2 to 6 are of each source, from two instruments; one of each remains.
    expected = {(family, source) for family, source in CERTAIN if SOURCES.index(source) in fake_nsynth.HAS[family]}
    assert sorted(s.instrument for s in sources) == sorted(2 * [CERTAIN[kind] for kind in expected])
    assert all(len(s.files) == 1 and s.kind == "notes" and s.licence == "CC BY 4.0" for s in sources)
    assert len({s.name for s in sources}) == len(sources)
    for source in sources:
        family = source.name.split("_acoustic")[0].split("_electronic")[0].split("_synthetic")[0][len("nsynth_") :]
        band = fake_nsynth.EDGES[FAMILIES.index(family) :][:2]
        spectrum = np.abs(np.fft.rfft(load(source.files[0])))
        assert band[0] < np.argmax(spectrum) / len(spectrum) * 16_000 < band[1]
    with (to / "sources.csv").open() as handle:
        assert sum(float(row["seconds"]) for row in csv.DictReader(handle)) == 4.0 * len(sources)
    assert f"{len(sources)} notes (CC BY 4.0" in capsys.readouterr().out


def test_a_folder_of_sounds_is_whole_or_not_there(folder: Path, tmp_path: Path) -> None:
    to = tmp_path / "sounds"
    to.mkdir()
    (to / "mine").write_text("precious")
    with pytest.raises(UsageError, match="already there"):
        main([str(folder), "--to", str(to), "--subset"])
    assert [p.name for p in to.iterdir()] == ["mine"]
    soundfile.write(folder / "audio" / "vocal_acoustic_001-060-025.wav", np.full(99, np.nan), 16_000, "FLOAT")
    with pytest.raises(InputFileError, match="vocal_acoustic_001"):
        main([str(folder), "--to", str(tmp_path / "new"), "--subset"])
    assert not [p.name for p in tmp_path.iterdir() if "new" in p.name]
