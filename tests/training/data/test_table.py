"""One table for labelled clips of any origin: read, written, joined by name, and refused where it is damaged."""

import argparse
import base64
import csv
import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("sklearn", reason="training needs the [train] extra")
pytest.importorskip("tqdm", reason="training needs the [train] extra")

from fake_openmic import RATE, lay_out_openmic, timbre

from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.training.data.clips import clips_of, read_clip_table, read_songs
from instrec_live.training.data.provenance import data_sets, learned_clips, non_commercial, record_of
from instrec_live.training.data.specs import main as merge
from instrec_live.training.data.specs import open_all, open_data
from instrec_live.training.data.splits import carve_valid
from instrec_live.training.data.table import COLUMNS, FAMILIES, Table, read_table, write_table

PIANO, VIOLIN = INSTRUMENTS.index("piano"), INSTRUMENTS.index("violin")


def made_up(folder: Path, source: str, count: int = 10, seconds: float = 0.1) -> Table:
    """Clips of the piano, every other one known to be without violin."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    paths = tuple(folder / f"{source}_{i:03d}.wav" for i in range(count))
    for path in paths:
        soundfile.write(path, timbre("piano", seconds, rng), RATE)
    labels, mask = np.zeros((count, 20), np.float32), np.zeros((count, 20), np.float32)
    labels[:, PIANO] = mask[:, PIANO] = mask[::2, VIOLIN] = 1
    group = np.array([f"{source} {i // 2}" for i in range(count)])
    return Table(paths, np.full(count, source), group, np.full(count, "train"), labels, mask)


@pytest.fixture(scope="module")
def openmic(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out_openmic(tmp_path_factory.mktemp("table") / "openmic-2018", clips=30, seconds=0.1)


@pytest.fixture
def synthetic(tmp_path: Path) -> Path:
    table = made_up(tmp_path / "synthetic" / "audio", "synthetic")
    write_table(tmp_path / "synthetic" / "table.csv", table)
    return tmp_path / "synthetic" / "table.csv"


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """A folder of clips with a labels.csv."""
    folder = tmp_path / "labelled"
    made_up(folder, "clip", 4, 2.5)
    rows = [
        "file,labels,absent,kind,source",
        "clip_000.wav,piano,,solo,a/piano.mp3 @70s",
        "clip_001.wav,piano,,solo,a/piano.mp3 @80s",
        "clip_002.wav,piano|violin,drums|bass,mix,b",
        "clip_003.wav,,piano,mix,b",
    ]
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def assert_same(one: Table, other: Table) -> None:
    assert [path.resolve() for path in one.paths] == [path.resolve() for path in other.paths]
    for field in ("source", "group", "split", "labels", "mask", "licence"):
        np.testing.assert_array_equal(getattr(one, field), getattr(other, field))


def test_what_is_written_is_read(tmp_path: Path) -> None:
    table = made_up(tmp_path / "data" / "audio", 'a "source", of sorts')
    table.labels[0, PIANO] = 0.25
    table = replace(table, licence=np.array(["CC0-1.0", *[""] * (len(table) - 1)]))
    write_table(tmp_path / "data" / "table.csv", table)
    assert_same(read_table(tmp_path / "data" / "table.csv"), table)
    assert [path.name for path in (tmp_path / "data").iterdir() if path.is_file()] == ["table.csv"]


def test_a_folder_can_be_moved_with_its_table(synthetic: Path, tmp_path: Path) -> None:
    moved = synthetic.parent.rename(tmp_path / "elsewhere")
    assert all(path.is_file() for path in read_table(moved / "table.csv").paths)


def test_other_columns_are_let_be(synthetic: Path) -> None:
    before = read_table(synthetic)
    lines = synthetic.read_text().splitlines()
    synthetic.write_text("\n".join(f"{line},{'polyphony' if i == 0 else 3}" for i, line in enumerate(lines)) + "\n")
    assert_same(read_table(synthetic), before)


def test_a_failed_write_leaves_what_was_there(synthetic: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = synthetic.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        write_table(synthetic, read_table(synthetic)[:3])
    assert synthetic.read_bytes() == before
    assert [path.name for path in synthetic.parent.iterdir() if path.is_file()] == ["table.csv"]


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("y_violin", "y_fiddle", "column 'y_violin' is missing"),
        ("group,", "gruppe,", "column 'group' is missing"),
        ("train", "dev", "line 2: split 'dev' is not train"),
        (",0,", ",x,", "line 2: y_.* must be 0 to 1, not 'x'"),
        (",0,", ",nan,", "line 2: y_.* must be 0 to 1, not 'nan'"),
        ("audio/synthetic_000.wav", "", "line 2: path is empty"),
        ("audio/synthetic_001.wav,", "", "line 3: shorter than the header"),
    ],
)
def test_a_damaged_table_is_one_clear_line(synthetic: Path, old: str, new: str, words: str) -> None:
    text = synthetic.read_text()
    assert old in text
    synthetic.write_text(text.replace(old, new, 1))
    with pytest.raises(InputFileError, match=words):
        read_table(synthetic)


def test_an_instrument_that_is_none_of_ours_is_named(synthetic: Path) -> None:
    lines = synthetic.read_text().splitlines()
    synthetic.write_text("\n".join(f"{line},{'y_kazoo' if i == 0 else 1}" for i, line in enumerate(lines)))
    with pytest.raises(InputFileError, match="unknown instrument 'kazoo'"):
        read_table(synthetic)


def test_no_table_and_no_csv_are_reported(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="not found"):
        read_table(tmp_path / "none.csv")
    (tmp_path / "sound.csv").write_bytes(b"RIFF\xff\xfe")
    with pytest.raises(InputFileError, match="not a csv file"):
        read_table(tmp_path / "sound.csv")


def test_validation_keeps_groups_whole_and_labels_in_proportion() -> None:
    rng = np.random.default_rng(1)
    n = 2000
    labels = (rng.random((n, 20)) < 0.1).astype(np.float32)
    mask = (rng.random((n, 20)) < 0.3).astype(np.float32)
    group = np.array([f"g{g}" for g in rng.zipf(1.6, n) % 300])
    split = np.where(rng.random(n) < 0.2, "test", "train")
    table = Table(tuple(Path(f"{i}") for i in range(n)), np.full(n, "x"), group, split, labels, mask)
    carved = carve_valid(table, 0.2, seed=5)
    np.testing.assert_array_equal(carved.split == "test", split == "test")
    assert not set(carved.of("train").group) & set(carved.of("valid").group)
    present = [float(((t.labels > 0) & (t.mask > 0)).sum()) for t in (carved.of("valid"), carved.of("train"))]
    assert 0.12 < present[0] / sum(present) < 0.28
    np.testing.assert_array_equal(carved.split, carve_valid(table, 0.2, seed=5).split)


def test_a_folder_with_labels_is_a_table(labelled: Path) -> None:
    table = read_clip_table(labelled)
    assert list(table.group) == ["a/piano.mp3", "a/piano.mp3", "b", "b"]
    assert set(table.split) == {"valid"}
    assert table.mask.sum() == 7
    clips = clips_of(table, quiet=True)
    np.testing.assert_array_equal(clips.truth, table.labels)
    np.testing.assert_array_equal(clips.mask, table.mask)
    assert len(clips.log_mels) == len(table)
    assert not clips.solo.any()  # nobody said that nothing else sounds


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("absent", "missing", "column 'absent' is missing"),
        ("drums", "kazoo", "line 4: unknown instrument 'kazoo'"),
        (",,solo,a/piano.mp3 @80s", "", "line 3: shorter than the header"),
        (",,solo,a/piano.mp3 @80s", ",drums,,solo,a/piano.mp3 @80s", "line 3: longer than the header"),
        (",,solo,a/piano.mp3 @80s", ",piano,solo,a/piano.mp3 @80s", "line 3: piano is in labels and in absent"),
    ],
)
def test_a_damaged_labels_csv_is_one_clear_line(labelled: Path, old: str, new: str, words: str) -> None:
    path = labelled / "labels.csv"
    path.write_text(path.read_text().replace(old, new, 1))
    with pytest.raises(InputFileError, match=words):
        read_clip_table(labelled)


def test_data_by_name(openmic: Path, synthetic: Path, labelled: Path) -> None:
    specs = [f"openmic-subset:{openmic}", f"table:{synthetic}", f"clips:{labelled}"]
    table = open_all(specs)
    assert len(table) == 30 + 10 + 4
    assert_same(table[30:40], read_table(synthetic))
    assert_same(open_data(specs[2]), table[40:])


@pytest.mark.parametrize(
    ("spec", "error", "words"),
    [
        ("openmik:DIR", UsageError, "unknown kind of data 'openmik' — did you mean openmic:PATH"),
        ("xyz:DIR", UsageError, "known kinds: openmic, openmic-subset, irmas-train"),
        ("clips", UsageError, "'clips' is not KIND:PATH — did you mean clips:PATH"),
        ("table:", UsageError, "not KIND:PATH"),
        ("table:none.csv", InputFileError, "none.csv: not found"),
        ("openmic:none", InputFileError, "not found — give the folder that OpenMIC-2018 unpacks to"),
    ],
)
def test_a_wrong_name_gets_a_hint(spec: str, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        open_data(spec)


def test_missing_and_doubled_clips_are_named(synthetic: Path) -> None:
    with pytest.raises(UsageError, match=r"synthetic_000\.wav appears twice in the data"):
        open_all([f"table:{synthetic}", f"table:{synthetic}"])
    (synthetic.parent / "audio" / "synthetic_004.wav").unlink()
    with pytest.raises(InputFileError, match=r"1 of 10 clips are missing, the first is .*synthetic_004\.wav"):
        open_data(f"table:{synthetic}")
    synthetic.write_text(",".join(COLUMNS) + "\n")
    with pytest.raises(InputFileError, match="no clips in it"):
        open_data(f"table:{synthetic}")


def test_the_papers_protocol_knows_all_of_openmic_and_splits_at_random(openmic: Path, synthetic: Path) -> None:
    specs = [f"openmic-subset:{openmic}", f"table:{synthetic}"]
    table = open_all(specs, "paper")
    real = table.source == "openmic"
    assert (table.mask[real] == 1).all()
    np.testing.assert_array_equal(table.mask[~real], read_table(synthetic).mask)
    assert [len(table.of(split)) for split in ("train", "valid", "test")] == [32, 4, 4]
    order = np.random.default_rng(42).permutation(40)
    np.testing.assert_array_equal(np.flatnonzero(table.split == "test"), np.sort(order[36:]))
    alone = open_all(specs[:1], "paper")
    np.testing.assert_array_equal(
        np.flatnonzero(alone.split == "test"), np.sort(np.random.default_rng(42).permutation(30)[27:])
    )
    with pytest.raises(UsageError, match="no protocol 'papers'"):
        open_all(specs, "papers")  # type: ignore[arg-type]


def test_a_merged_table_serves_either_protocol(openmic: Path, synthetic: Path, tmp_path: Path) -> None:
    specs = [f"openmic-subset:{openmic}", f"table:{synthetic}"]
    merge(["--data", specs[0], "--data", specs[1], "--to", str(tmp_path / "all.csv")])
    assert_same(open_data(f"table:{tmp_path / 'all.csv'}"), open_all(specs))
    assert_same(open_data(f"table:{tmp_path / 'all.csv'}", "paper"), open_all(specs, "paper"))


def test_a_merge_keeps_the_licence_of_each_clip(openmic: Path, synthetic: Path, tmp_path: Path) -> None:
    """A network that learns from the merged table has the same record as one that learns from its parts."""
    write_table(synthetic, replace(read_table(synthetic), licence=np.full(10, "CC BY-NC-SA 3.0")))
    specs = [f"openmic-subset:{openmic}", f"table:{synthetic}"]
    merge(["--data", specs[0], "--data", specs[1], "--to", str(tmp_path / "all.csv")])
    for table in (open_all(specs), open_data(f"table:{tmp_path / 'all.csv'}")):
        train = table.of("train")
        sets = data_sets(train)
        assert [each["name"] for each in sets] == ["openmic", "synthetic"]
        licences = [each["licences"] for each in sets]
        of_openmic = int((train.source == "openmic").sum())
        assert licences == [{"Attribution (FMA track; labels CC BY 4.0)": of_openmic}, {"CC BY-NC-SA 3.0": 10}]
        assert non_commercial({"data": sets}) == ["synthetic"]
    assert data_sets(replace(train, licence=np.full(len(train), "")))[1]["licences"] == {"not stated": 10}


def test_the_merge_prints_a_summary(openmic: Path, synthetic: Path, tmp_path: Path, capsys) -> None:
    to = tmp_path / "all.csv"
    merge(["--data", f"openmic-subset:{openmic}", "--data", f"table:{synthetic}", "--to", str(to)])
    said = {line.split("  ")[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines() if line}
    with to.open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert len(rows) == 40
    assert said["synthetic"] == ["10", "0", "0", "0", "10"]
    assert said["all"][-1] == "40"
    known = [row for row in rows if row["m_piano"] == "1"]
    present = sum(float(row["y_piano"]) for row in known)
    assert said["piano"] == [f"{present:.0f}", f"{len(known) - present:.0f}", str(40 - len(known))]


def test_the_merge_refuses_before_it_writes(synthetic: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"give the name of a \.csv file"):
        merge(["--data", f"table:{synthetic}", "--to", str(tmp_path)])
    with pytest.raises(InputFileError):
        merge(["--data", f"table:{synthetic}", "--data", "table:none.csv", "--to", str(tmp_path / "all.csv")])
    assert not (tmp_path / "all.csv").exists()


def test_help_loads_neither_torch_nor_scikit_learn() -> None:
    code = (
        "import sys\n"
        "from instrec_live.training.data import cut, specs\n"
        "for main in (cut.main, specs.main):\n"
        "    try: main(['--help'])\n"
        "    except SystemExit as end: assert not end.code\n"
        "assert not {'torch', 'sklearn'} & set(sys.modules), 'heavy'\n"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert "openmic-subset:DIR" in run.stdout
    assert "--absent" in run.stdout


def test_some_of_a_family_is_kept_by_tables(tmp_path: Path) -> None:
    """In a csv, in its rows, joined with tables that know nothing of families; and refused if it is unknown."""
    table = made_up(tmp_path / "a", "a", 4)
    plain = made_up(tmp_path / "b", "b", 2)
    some = np.zeros((4, len(FAMILIES)), np.float32)
    some[1, list(FAMILIES).index("brass")] = 1
    known = Table(table.paths, table.source, table.group, table.split, table.labels, table.mask, some)
    both = Table.join([plain, known]).resplit(["valid"] * 6)
    write_table(tmp_path / "t.csv", both)
    header = (tmp_path / "t.csv").read_text().splitlines()[0]
    assert header.endswith(",some_brass")
    again = read_table(tmp_path / "t.csv")
    np.testing.assert_array_equal(again.some, np.concatenate([np.zeros((2, len(FAMILIES))), some]))
    np.testing.assert_array_equal(again[again.some.any(1)].some, some[1:2])
    assert not again.mask[again.some.any(1)][:, INSTRUMENTS.index("trumpet")].any()
    (tmp_path / "u.csv").write_text((tmp_path / "t.csv").read_text().replace("some_brass", "some_horns"))
    with pytest.raises(InputFileError, match="unknown family 'horns'"):
        read_table(tmp_path / "u.csv")


def test_a_column_joins_recordings_that_are_not_independent(tmp_path: Path) -> None:
    made_up(tmp_path, "clip", 4)
    rows = ["file,labels,absent,kind,source,group", "clip_000.wav,piano,,solo,a @0s,quartet",
            "clip_001.wav,violin,,solo,b,quartet", "clip_002.wav,piano,,solo,c @3s,",
            "clip_003.wav,piano,,solo,c @9s,"]  # fmt: skip
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    assert read_clip_table(tmp_path).group.tolist() == ["quartet", "quartet", "c", "c"]


def test_songs_are_known_as_a_whole(tmp_path: Path) -> None:
    made_up(tmp_path, "song", 3)
    rows = ["file,labels,complete", "a/one/song_000.wav,piano|some brass,", "song_001.wav,violin,yes"]
    (tmp_path / "songs.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "sources.csv").write_text("class,source,licence\na,one,CC0-1.0\n")
    table = read_songs(tmp_path)
    assert table.licence.tolist() == ["CC0-1.0", ""]
    assert table.mask.sum(1).tolist() == [1, 20]
    assert table.labels.sum(1).tolist() == [1, 1]
    assert table.some.sum(1).tolist() == [1, 0]
    assert len(set(table.group.tolist())) == 2
    (tmp_path / "songs.csv").write_text("file,labels,complete\nsong_000.wav,flute,Yes\n")
    with pytest.raises(InputFileError, match="line 2: complete must be yes or no, not 'Yes'"):
        open_data(f"songs:{tmp_path}")
    (tmp_path / "songs.csv").write_text("file,labels,complete\nsong_000.wav,lute,\n")
    with pytest.raises(InputFileError, match=r"songs\.csv, line 2: unknown instrument 'lute'"):
        open_data(f"songs:{tmp_path}")


def test_clips_of_one_name_and_size_are_told_apart(tmp_path: Path) -> None:
    """Uncompressed takes of one length; a record from before that knows name and size alone is still heeded."""
    paths = tuple(tmp_path / folder / "001.wav" for folder in "abc")
    for seed, path in zip((1, 2, 1), paths, strict=True):
        path.parent.mkdir()
        soundfile.write(path, np.random.default_rng(seed).normal(scale=0.1, size=32_000), 32_000)
    labels, words = np.zeros((3, 20), np.float32), np.array(["train"] * 3)
    table = Table(paths, words, words, words, labels, labels)
    record = record_of(argparse.Namespace(), table[:1], None)
    assert learned_clips(record, table).tolist() == [True, False, True]  # the third is a copy
    assert learned_clips({"started_from": {"record": record}}, table).tolist() == [True, False, True]
    name_and_size = f"001.wav\0{paths[0].stat().st_size}".encode()
    old = {"clips": base64.b64encode(hashlib.sha256(name_and_size).digest()[:5]).decode()}
    assert learned_clips(old, table).all()
