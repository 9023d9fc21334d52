"""Long recordings become labelled clips: exact pieces, rows with labels and masks, and nothing lost or half done."""

import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("tqdm", reason="training needs the [train] extra")

from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.training.data import cut as module
from instrec_live.training.data.cut import Slices, cut, labels_of, main
from instrec_live.training.data.sounds import read
from instrec_live.training.data.table import read_table

RATE = 8000
PIANO = labels_of("piano", "")


def recording(path: Path, seconds: float = 3.5, rate: int = RATE, channels: int = 1, **options: str) -> Path:
    """A ramp, so that a piece tells where it is from."""
    ramp = np.linspace(0.1, 0.9, int(seconds * rate), dtype=np.float32)
    soundfile.write(path, np.stack([ramp, *[-ramp] * (channels - 1)], axis=1), rate, **options)
    return path


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_pieces_are_the_recordings_own_samples(tmp_path: Path) -> None:
    source = recording(tmp_path / "take.wav", subtype="PCM_24")
    table, silent = cut([source], tmp_path / "clips", Slices(1, 1), PIANO)
    whole, _ = soundfile.read(source)
    assert (len(table), silent) == (3, 0)  # the last half second is dropped
    for i, path in enumerate(table.paths):
        piece, rate = soundfile.read(path)
        assert rate == RATE
        np.testing.assert_array_equal(piece, whole[i * RATE : (i + 1) * RATE])


@pytest.mark.parametrize(
    ("pieces", "starts", "lengths"),
    [
        (Slices(1, 0.5), [0, 0.5, 1, 1.5, 2, 2.5], [1] * 6),
        (Slices(1, 2), [0, 2], [1, 1]),
        (Slices(1, 1, pad=True), [0, 1, 2, 3], [1] * 4),
        (Slices(1, 1, start=0.25, end=2.5), [0.25, 1.25], [1, 1]),
        (Slices(1, 1, start=0.25, end=2.5, pad=True), [0.25, 1.25, 2.25], [1] * 3),
        (Slices(1, 1, end=99), [0, 1, 2], [1] * 3),
        (Slices(5, 5, pad=True), [0], [5]),
        (Slices(3.5, 3.5), [0], [3.5]),
        (Slices(1, 0.7, pad=True), [0, 0.7, 1.4, 2.1, 2.8], [1] * 5),
    ],
)
def test_where_pieces_lie(tmp_path: Path, pieces: Slices, starts: list[float], lengths: list[float]) -> None:
    source = recording(tmp_path / "take.wav", subtype="FLOAT")
    whole, _ = soundfile.read(source, dtype="float32", always_2d=True)
    stop = int(min(pieces.end, 3.5) * RATE)
    found = list(pieces.of(source))
    assert [start for start, _, _ in found] == pytest.approx(starts)
    assert [len(samples) / rate for _, samples, rate in found] == pytest.approx(lengths)
    for start, samples, _ in found:
        first = round(start * RATE)
        there = whole[first : min(first + len(samples), stop)]
        np.testing.assert_array_equal(samples[: len(there)], there)
        assert not samples[len(there) :].any()


@pytest.mark.parametrize("name", ["take.flac", "take.ogg", "take.mp3", "take.aiff"])
def test_any_format_and_rate_is_cut(tmp_path: Path, name: str) -> None:
    source = recording(tmp_path / name, rate=22_050, channels=2)
    table, _ = cut([source], tmp_path / "clips", Slices(1, 1), PIANO)
    assert len(table) == 3
    info = soundfile.info(table.paths[1])
    assert (info.samplerate, info.channels, info.frames, info.format) == (22_050, 2, 22_050, "FLAC")


def test_more_than_two_channels_become_one(tmp_path: Path) -> None:
    table, _ = cut([recording(tmp_path / "six.wav", channels=6)], tmp_path / "clips", Slices(1, 1), PIANO)
    assert soundfile.info(table.paths[0]).channels == 1


def test_rows_have_labels_and_masks(tmp_path: Path) -> None:
    source = recording(tmp_path / "take.wav")
    main([str(source), "--labels", "piano, mallet percussion", "--absent", "drums", "--seconds", "1", "--split", "test",
          "--to", str(tmp_path / "clips")])  # fmt: skip
    table = read_table(tmp_path / "clips" / "table.csv")
    present, known = {"piano", "mallet_percussion"}, {"piano", "mallet_percussion", "drums"}
    for labels, mask in zip(table.labels, table.mask, strict=True):
        assert {INSTRUMENTS[i] for i in np.flatnonzero(labels)} == present
        assert {INSTRUMENTS[i] for i in np.flatnonzero(mask)} == known
    assert set(table.group) == {"cut take"}
    assert set(table.split) == {"test"}
    assert labels_of("piano", "all")[1].all()
    assert labels_of("", "all")[0].sum() == 0


def test_later_runs_add_to_the_table(tmp_path: Path) -> None:
    to = tmp_path / "clips"
    first = recording(tmp_path / "take.wav")
    cut([first], to, Slices(1, 1, end=2), PIANO)
    before = {name: (to / name).read_bytes() for name in files(to) if name != "table.csv"}
    cut([first], to, Slices(1, 1, start=2), labels_of("violin", "all"))
    cut([recording(tmp_path / "other.wav")], to, Slices(1, 1), PIANO, licence="CC0-1.0")
    table = read_table(to / "table.csv")
    assert len(table) == 3 + 3
    assert table.licence.tolist() == [""] * 3 + ["CC0-1.0"] * 3
    assert list(table.group) == ["cut take"] * 3 + ["cut other"] * 3
    assert all(path.is_file() for path in table.paths)
    assert {name: (to / name).read_bytes() for name in before} == before


def test_silence_is_left_out_and_counted(tmp_path: Path, capsys) -> None:
    samples = np.zeros(3 * RATE, np.float32)
    samples[:RATE] = 0.5
    soundfile.write(tmp_path / "take.wav", samples, RATE)
    main([str(tmp_path / "take.wav"), "--labels", "piano", "--seconds", "1", "--to", str(tmp_path / "clips")])
    assert len(read_table(tmp_path / "clips" / "table.csv")) == 1
    assert "2 silent pieces left out" in capsys.readouterr().out
    with pytest.raises(InputFileError, match="no clips: 2 pieces were silent"):
        cut([tmp_path / "take.wav"], tmp_path / "none", Slices(1, 1, start=1), PIANO)
    assert not (tmp_path / "none").exists()


def broken(path: Path) -> Path:
    path.write_bytes(b"OggS, it says, and is none")
    return path


def with_nan(path: Path) -> Path:
    samples = np.full(3 * RATE, 0.5, np.float32)
    samples[-100] = np.nan
    soundfile.write(path, samples, RATE, subtype="FLOAT")
    return path


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: broken(folder / "broken.ogg"), "broken.ogg"),
        (lambda folder: with_nan(folder / "nan.wav"), r"nan.wav: some samples after 2\.2 s are not numbers"),
        (lambda folder: folder / "missing.wav", "missing.wav"),
        (lambda folder: recording(folder / "short.wav", 0.2), "short.wav: it ends at 0.2 s, before --start"),
    ],
)
def test_one_bad_recording_changes_nothing(tmp_path: Path, spoil, words: str) -> None:
    to, good = tmp_path / "clips", recording(tmp_path / "good.wav")
    cut([recording(tmp_path / "take.wav")], to, Slices(1, 1), PIANO)
    before = {name: (to / name).read_bytes() for name in files(to)}
    with pytest.raises(InputFileError, match=words):
        cut([good, spoil(tmp_path)], to, Slices(1, 1, start=0.25), PIANO)
    assert {name: (to / name).read_bytes() for name in files(to)} == before
    assert {path.name for path in to.iterdir()} == {"audio", "table.csv"}


def test_no_clip_is_overwritten(tmp_path: Path) -> None:
    to, source = tmp_path / "clips", recording(tmp_path / "take.wav")
    cut([source], to, Slices(1, 1), PIANO)
    with pytest.raises(UsageError, match=r"take_00000000\.flac: already there"):
        cut([source], to, Slices(1, 1), labels_of("violin", ""))
    (tmp_path / "b").mkdir()
    namesake = recording(tmp_path / "b" / "take.wav", 2)
    with pytest.raises(UsageError, match="already there"):
        cut([source, namesake], tmp_path / "other", Slices(1, 1), PIANO)
    assert not (tmp_path / "other").exists()
    foreign = tmp_path / "third" / "audio" / "take_00001000.flac"
    foreign.parent.mkdir(parents=True)
    foreign.write_bytes(b"mine")
    with pytest.raises(UsageError, match="already there, with another content"):
        cut([source], tmp_path / "third", Slices(1, 1), PIANO)
    assert foreign.read_bytes() == b"mine"
    assert files(tmp_path / "third") == {"audio/take_00001000.flac"}


def test_a_killed_run_is_made_good_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    to, source = tmp_path / "clips", recording(tmp_path / "take.wav")
    (to / ".cut.partial").mkdir(parents=True)
    (to / ".cut.partial" / "left.flac").write_bytes(b"half")
    with monkeypatch.context() as patch:  # the moment after the clips were moved in
        patch.setattr(module, "write_table", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            cut([source], to, Slices(1, 1), PIANO)
    assert not (to / "table.csv").exists()
    cut([source], to, Slices(1, 1), PIANO)
    table = read_table(to / "table.csv")
    assert files(to) == {"table.csv", *(f"audio/{path.name}" for path in table.paths)}


def test_additional_columns_of_a_table_are_not_lost(tmp_path: Path) -> None:
    to = tmp_path / "clips"
    cut([recording(tmp_path / "take.wav")], to, Slices(1, 1), PIANO)
    lines = (to / "table.csv").read_text().splitlines()
    (to / "table.csv").write_text("\n".join(f"{line},{'mood' if i == 0 else 'sad'}" for i, line in enumerate(lines)))
    with pytest.raises(UsageError, match="its column 'mood' would be lost"):
        cut([recording(tmp_path / "other.wav")], to, Slices(1, 1), PIANO)


@pytest.mark.parametrize(
    ("labels", "absent", "words"),
    [
        ("pinao", "", "unknown instrument 'pinao' — did you mean piano"),
        ("piano", "kazoo", "--absent: unknown instrument 'kazoo'"),
        ("piano", "piano", "piano cannot be in --labels and --absent"),
        ("", "", "no labels for these recordings"),
    ],
)
def test_labels_that_make_no_sense(labels: str, absent: str, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        labels_of(labels, absent)


@pytest.mark.parametrize("times", [(0, 1), (1, 0), (-1, 1), (float("nan"), 1), (1, 1, -1), (1, 1, 5, 5), (1, 1, 5, 4)])
def test_times_that_make_no_sense(times: tuple[float, ...]) -> None:
    with pytest.raises(UsageError):
        Slices(*times)


def test_a_long_recording_is_not_held_in_memory(tmp_path: Path) -> None:
    seconds, rate = 200, 48_000
    with soundfile.SoundFile(tmp_path / "long.wav", "w", rate, 2, subtype="PCM_16") as sound:
        for _ in range(seconds // 10):
            sound.write(np.full((10 * rate, 2), 0.5, np.float32))
    tracemalloc.start()
    try:
        for hop in (5, 100):
            assert {len(samples) for _, samples, _ in Slices(10, hop).of(tmp_path / "long.wav")} == {10 * rate}
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 10 * rate * 2 * 4 < peak < 4 * 10 * rate * 2 * 4


def test_recordings_of_a_group_are_one(tmp_path: Path) -> None:
    first, second = recording(tmp_path / "a.wav"), recording(tmp_path / "b.wav")
    main(
        [
            str(first),
            str(second),
            "--labels",
            "piano",
            "--seconds",
            "1",
            "--group",
            "album",
            "--to",
            str(tmp_path / "c"),
        ]
    )
    assert set(read_table(tmp_path / "c" / "table.csv").group.tolist()) == {"cut album"}


def test_a_label_can_be_a_family(tmp_path: Path) -> None:
    source = recording(tmp_path / "a.wav", 4.0)
    labels = ("--labels", "piano,some brass", "--absent", "all")
    main([str(source), *labels, "--seconds", "2", "--to", str(tmp_path / "c")])
    table = read_table(tmp_path / "c" / "table.csv")
    assert table.some.sum() == len(table) == 2
    assert not table.mask[:, INSTRUMENTS.index("trumpet")].any()  # it may be a trombone
    assert table.mask.sum(1).tolist() == [18, 18]
    with pytest.raises(UsageError, match=r"unknown instrument 'some brasses'.*did you mean some brass"):
        labels_of("some brasses", "")


@pytest.mark.parametrize("scale", [4.0, 32767.0])
def test_what_is_louder_than_a_flac_can_be_is_not_clipped(tmp_path: Path, scale: float) -> None:
    """Floats over full scale, and floats that hold integers."""
    source = tmp_path / "take.wav"
    soundfile.write(source, np.rint(scale * np.linspace(-0.9, 0.9, RATE) * 100) / 100, RATE, "FLOAT")
    (clip,) = cut([source], tmp_path / "clips", Slices(1, 1), PIANO)[0].paths
    whole, piece = soundfile.read(source)[0], soundfile.read(clip)[0]
    np.testing.assert_allclose(piece / np.abs(piece).max(), whole / np.abs(whole).max(), atol=1e-6)


@pytest.mark.parametrize("channels", [2, 4])
def test_channels_of_opposite_polarity_are_not_silence(tmp_path: Path, channels: int) -> None:
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)
    soundfile.write(tmp_path / "take.wav", np.stack([tone, -tone] * (channels // 2), axis=1), RATE, "FLOAT")
    (clip,) = cut([tmp_path / "take.wav"], tmp_path / "clips", Slices(2, 2), PIANO)[0].paths
    assert np.abs(read(clip)[0]).max() == pytest.approx(0.3, abs=0.01)
