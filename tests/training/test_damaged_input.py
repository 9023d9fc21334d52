"""The offline commands where something is wrong: one line on stderr, an exit code, nothing half-written."""

import csv
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fake_nsynth import write_fake_nsynth
from full_disk import full_disk
from tiny_bundle import write_tiny

pytest.importorskip("tqdm", reason="training needs the [train] extra")

from tqdm import tqdm

from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.training import evaluate
from instrec_live.training.command import entry
from instrec_live.training.data import __main__ as datasets
from instrec_live.training.data import music
from instrec_live.training.data.extract import extract
from instrec_live.training.data.npz import write_npy
from instrec_live.training.data.sounds import load, read_sources
from instrec_live.training.staging import exclusive_file, exclusive_folder
from instrec_live.training.synthesis import phrases
from instrec_live.training.synthesis.scenes import paper

RATE = 16_000
Run = Callable[..., tuple[int, str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """(exit code, stderr) of a command."""

    def run(main: Callable[[], None], *arguments: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
        code = 0
        try:
            entry(main)
        except SystemExit as end:
            code = int(end.code or 0)
        return code, capsys.readouterr().err

    return run


def tone(seconds: float = 2.0, hz: float = 440.0) -> np.ndarray:
    noise = np.random.default_rng(0).standard_normal(int(seconds * RATE)) * 0.01
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE) + noise).astype(np.float32)


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """A folder of sounds: a piano, three files of it."""
    folder = tmp_path / "sounds"
    (folder / "piano" / "mine").mkdir(parents=True)
    for i in range(3):
        soundfile.write(folder / "piano" / "mine" / f"{i}.wav", tone(hz=220 * (i + 1)), RATE)
    (folder / "sources.csv").write_text("source,licence,package,class,kind\nmine,CC0,none,piano,phrases\n")
    return folder


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """A folder of three labelled clips, its name as people name folders."""
    folder = tmp_path / "mes clips, été"
    folder.mkdir()
    for i in range(3):
        soundfile.write(folder / f"{i}.wav", tone(hz=220 * (i + 1)), RATE)
    rows = "".join(f"{i}.wav,piano,drums,solo,{i}\n" for i in range(3))
    (folder / "labels.csv").write_text("file,labels,absent,kind,source\n" + rows)
    return folder


def _cut(folder: Path, clips: Path) -> tuple[Callable[[], None], list[object]]:
    return datasets.main, ["cut", clips / "0.wav", "--labels", "piano", "--seconds", 1, "--to", folder / "new"]


def _table(folder: Path, clips: Path) -> tuple[Callable[[], None], list[object]]:
    return datasets.main, ["table", "--data", f"clips:{clips}", "--to", folder / "new" / "table.csv"]


def _music(folder: Path, clips: Path) -> tuple[Callable[[], None], list[object]]:
    return music.main, [clips, "--to", folder / "new" / "music.npy"]


def _phrases(folder: Path, clips: Path) -> tuple[Callable[[], None], list[object]]:
    sounds = clips.parent / "sounds"
    return phrases.main, ["--sounds", sounds, "--count", 4, "--workers", 1, "--to", folder / "new"]


def _paper(folder: Path, clips: Path) -> tuple[Callable[[], None], list[object]]:
    nsynth = extract(write_fake_nsynth(clips.parent, "train", 1), clips.parent / "nsynth-train", limit=10**8,
                     members=100)  # fmt: skip
    return paper.main, ["--nsynth", nsynth, "--subset", "--per-k", 1, "--seconds", 1, "--to", folder / "new"]


def _evaluate(folder: Path, clips: Path) -> tuple[Callable[[], None], list[object]]:
    model = write_tiny(clips.parent / "model" / "tiny").path
    return evaluate.main, ["--data", f"clips:{clips}", "--models", model, "--boot", 0, "--to", folder / "new"]


@pytest.mark.parametrize("command", [_cut, _table, _music, _phrases, _paper, _evaluate])
def test_a_full_disk_is_one_line_and_leaves_nothing(
    tmp_path: Path, sounds: Path, clips: Path, run: Run, command: Callable[..., tuple[Callable[[], None], list[object]]]
) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    main, arguments = command(folder, clips)
    with full_disk(600):
        code, said = run(main, *arguments)
    lines = [line for line in said.replace("\r", "\n").splitlines() if not line.strip() or "%|" not in line]
    assert code == 1, said
    assert lines[-1].startswith(f"error: {folder}/new"), said
    assert "Traceback" not in said
    assert list(folder.iterdir()) == []


def test_a_full_disk_leaves_the_phrases_and_the_music_of_before(
    tmp_path: Path, sounds: Path, clips: Path, run: Run
) -> None:
    for main, arguments in (_phrases(tmp_path, clips), _music(tmp_path, clips)):
        assert run(main, *arguments)[0] == 0
        before = {path: path.read_bytes() for path in (tmp_path / "new").iterdir()}
        with full_disk():
            code, said = run(main, *arguments)
        assert (code, said.count("\n")) == (1, 1)
        assert {path: path.read_bytes() for path in (tmp_path / "new").iterdir()} == before


def test_phrases_on_disk_are_what_numpy_reads(tmp_path: Path, sounds: Path, clips: Path, run: Run) -> None:
    main, arguments = _phrases(tmp_path, clips)
    assert run(main, *arguments) == (0, "")
    mels = np.load(tmp_path / "new" / "mels.npy", mmap_mode="r")
    assert (mels.shape, mels.dtype) == ((4, 128, 600), np.float16)
    assert np.isfinite(mels).all()
    assert [row["count"] for row in json.loads((tmp_path / "new" / "index.json").read_text())["sources"]] == [4]


def test_rows_written_one_by_one_are_as_numpy_writes_them(tmp_path: Path) -> None:
    rows = np.random.default_rng(0).standard_normal((5, 3, 2)).astype(np.float16)
    assert write_npy(tmp_path / "rows.npy", [rows[:2], rows[2:]]) == len(rows)
    whole = io.BytesIO()
    np.save(whole, rows)
    assert (tmp_path / "rows.npy").read_bytes() == whole.getvalue()


@pytest.mark.parametrize("damage", ["nan", "unreadable", "empty"])
def test_one_bad_file_among_good_ones_is_named_in_one_line(
    tmp_path: Path, sounds: Path, clips: Path, run: Run, damage: str
) -> None:
    bad = sounds / "piano" / "mine" / "1.wav"
    if damage == "unreadable":
        bad = bad.rename(bad.with_suffix(".ogg"))
        bad.write_bytes(b"OggS" + bytes(3000))
    elif damage == "empty":
        soundfile.write(bad, np.zeros(0), RATE)
    else:
        soundfile.write(bad, np.where(np.arange(9000) % 700, tone()[:9000], np.nan), RATE, subtype="FLOAT")
    main, arguments = _phrases(tmp_path, clips)
    for code, said in (run(main, *arguments), run(music.main, sounds, "--to", tmp_path / "new" / "m.npy")):
        assert code == 4
        assert said.startswith(f"error: {bad}: ")
        assert said.endswith("remove or replace the file\n" if damage == "unreadable" else " — remove the file\n")
        assert said.count("\n") == 1
        assert not (tmp_path / "new").exists()


def test_a_missing_sound_a_folder_and_no_sound_are_distinguished(tmp_path: Path) -> None:
    (tmp_path / "text.wav").write_text("no sound")
    for name, why in (("gone.wav", "not found"), (".", "is a folder"), ("text.wav", "not a readable sound file")):
        with pytest.raises(InputFileError, match=why) as caught:
            load(tmp_path / name)
        assert str(caught.value).count(str(tmp_path)) == 1


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"\xff\xfe\x00" * 50, "not a csv file"),
        (b"source,licence,package,class,kind\nmine,CC0\n", "line 2: shorter than the header"),
        (b"source,licence,package,class\nmine,CC0,none,piano\n", "column 'kind' is missing"),
        (b"source,licence,package,class,kind\nmine,CC0,none,theremin,notes\n", "line 2: unknown instrument 'theremin'"),
    ],
)
def test_a_damaged_list_of_sources_is_refused(sounds: Path, content: bytes, why: str) -> None:
    (sounds / "sources.csv").write_bytes(content)
    with pytest.raises(InputFileError, match=why):
        read_sources(sounds)


@pytest.mark.parametrize(
    ("option", "value"), [("--count", "0"), ("--workers", "0"), ("--seed", "-1"), ("--to", "sounds/sources.csv")]
)
def test_phrases_refuse_what_makes_no_sense(
    tmp_path: Path, sounds: Path, clips: Path, run: Run, option: str, value: str
) -> None:
    main, arguments = _phrases(tmp_path, clips)
    code, said = run(main, *arguments, option, tmp_path / value if option == "--to" else value)
    assert (code, said.count("\n")) == (2, 1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [clips.name, "sounds"]


def test_music_wants_a_folder_and_the_name_of_a_file(tmp_path: Path, clips: Path, run: Run) -> None:
    assert run(music.main, tmp_path / "gone", "--to", tmp_path / "m.npy") == (
        4, f"error: {tmp_path / 'gone'}: no such folder — give one with sound files in it\n"
    )  # fmt: skip
    code, said = run(music.main, clips, "--to", tmp_path)
    assert (code, said) == (2, f"error: {tmp_path}: is a folder — give the name of a file\n")


def test_two_runs_do_not_write_one_place_at_once(tmp_path: Path) -> None:
    with exclusive_folder(tmp_path / "folder") as first, exclusive_file(tmp_path / "file") as file:
        (first / "one").write_text("mine")
        file.write_text("mine")
        for again in (exclusive_folder, exclusive_file):
            with pytest.raises(UsageError, match="another run is writing it"), again(tmp_path / first.name[1:-8]):
                pass
        with pytest.raises(UsageError, match="another run is writing it"), exclusive_file(tmp_path / "file"):
            pass
    assert (tmp_path / "folder" / "one").read_text() == (tmp_path / "file").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]


def test_a_folder_that_was_there_stays_when_a_command_fails(tmp_path: Path, clips: Path, run: Run) -> None:
    main, arguments = _cut(tmp_path, clips)
    (tmp_path / "new").mkdir()
    arguments[1] = clips / "gone.wav"
    assert run(main, *arguments) == (4, f"error: {clips / 'gone.wav'}: not found — give a sound file\n")
    assert list((tmp_path / "new").iterdir()) == []


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="nothing is forbidden to root")
def test_a_folder_that_may_not_be_written(tmp_path: Path, clips: Path, run: Run) -> None:
    (tmp_path / "new").mkdir(mode=0o555)
    for main, arguments in (_cut(tmp_path, clips), _table(tmp_path, clips), _music(tmp_path, clips)):
        code, said = run(main, *arguments)
        assert (code, said.count("\n")) == (1, 1)
        assert said.endswith("Permission denied — change its permissions, or give another path\n")


def test_a_closed_stdout_is_not_an_error(
    tmp_path: Path, clips: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    main, arguments = _table(tmp_path, clips)
    reader, writer = os.pipe()
    os.close(reader)
    with monkeypatch.context() as patch, os.fdopen(writer, "w") as gone:
        patch.setattr(sys, "stdout", gone)
        assert run(main, *arguments) == (0, "")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", None)
        assert run(main, *arguments) == (0, "")
    with (tmp_path / "new" / "table.csv").open(newline="") as handle:
        assert len(list(csv.reader(handle))) == 4


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a full stdout is played by /dev/full")
def test_a_full_stdout_is_an_error(tmp_path: Path, clips: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    main, arguments = _table(tmp_path, clips)
    with monkeypatch.context() as patch, open("/dev/full", "w") as full:
        patch.setattr(sys, "stdout", full)
        assert run(main, *arguments) == (
            1, "error: stdout: No space left on device — free some disk space, then run it again\n"
        )  # fmt: skip
    with (tmp_path / "new" / "table.csv").open(newline="") as handle:
        assert len(list(csv.reader(handle))) == 4


def test_what_torch_makes_of_a_full_disk_is_a_full_disk_and_its_defects_stay_defects(run: Run) -> None:
    def torn() -> None:
        try:
            raise OSError(28, "No space left on device", "weights.partial")
        finally:
            raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")

    def broken() -> None:
        raise RuntimeError("a defect")

    assert run(torn) == (
        1,
        "error: weights.partial: No space left on device — free some disk space, then run it again\n",
    )
    with pytest.raises(RuntimeError, match="a defect"):
        run(broken)


@pytest.mark.parametrize(
    ("error", "code"),
    [(FileNotFoundError(2, "No such file", "x"), 4), (NotADirectoryError(20, "Not a folder", "x"), 2),
     (PermissionError(13, "Denied", "x"), 1), (OSError("odd"), 1), (KeyboardInterrupt(), 130)],
)  # fmt: skip
def test_an_error_has_a_line_of_its_own_below_the_bar(run: Run, error: BaseException, code: int) -> None:
    bars = []

    def main() -> None:
        bars.append(tqdm(total=2, disable=False))
        bars[0].update()
        raise error

    ended, said = run(main)
    bar, *lines = said.removesuffix("\n").split("\n")
    assert ended == code
    assert "1/2" in bar
    assert len(lines) == (code != 130)
    assert all(line.startswith("error: ") for line in lines)
