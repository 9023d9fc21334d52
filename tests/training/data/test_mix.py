"""Mixtures of labelled solos: exact labels, equal loudness, the same for the same seed."""

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("tqdm", reason="training needs the [train] extra")

from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.training.data import __main__ as datasets
from instrec_live.training.data.clips import read_clip_table, recording_of
from instrec_live.training.data.mix import loudness

PLAYED = {"violin": 330, "flute": 660, "piano": 220, "trumpet": 440}


@pytest.fixture(scope="module")
def solos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tones of very different levels, two recordings an instrument; and a duet, which is no solo."""
    folder = tmp_path_factory.mktemp("solos")
    t = np.arange(4 * 32_000) / 32_000
    rows = ["file,labels,absent,kind,source"]
    for i, (name, hertz) in enumerate(PLAYED.items()):
        for take in range(2):
            file = f"{name}{take}.wav"
            soundfile.write(folder / file, 0.5 / 4**i * np.sin(2 * np.pi * hertz * (1 + take) * t), 32_000, "FLOAT")
            rows.append(f"{file},{name},,solo,{name} {take} @{3 * take}s")
    rows.append("violin0.wav,violin|cello,,duet,x")
    (folder / "labels.csv").write_text("\n".join(rows) + "\n")
    return folder


def mix(clips: Path, to: Path, *options: str) -> list[dict[str, str]]:
    datasets.main(["mix", str(clips), "--to", str(to), *options])
    with (to / "labels.csv").open(encoding="utf-8") as table:
        return list(csv.DictReader(table))


def test_labels_are_exact(solos: Path, tmp_path: Path) -> None:
    rows = mix(solos, tmp_path / "mix", "--count", "6")
    assert [row["kind"] for row in rows] == ["mix2", "mix3", "mix4"] * 2
    for row in rows:
        names, absent = row["labels"].split("|"), row["absent"].split("|")
        assert len(names) == int(row["kind"][-1])
        assert sorted(names + absent) == sorted(INSTRUMENTS)
        voices = row["source"].removeprefix("mix ").split(" + ")
        assert [voice.split()[0] for voice in voices] == names
        assert "@" not in row["source"]
    table = read_clip_table(tmp_path / "mix")
    assert (table.mask == 1).all()
    assert table.group[0] == rows[0]["source"].removeprefix("mix ")


def test_a_quiet_voice_is_recognised_as_well_as_a_loud_one(solos: Path, tmp_path: Path) -> None:
    """Each tone within 9 dB of the loudest, though the solos are up to 36 dB apart; the peak is a half."""
    for row in mix(solos, tmp_path / "mix", "--count", "9"):
        samples, rate = soundfile.read(tmp_path / "mix" / row["file"], dtype="float32")
        assert (len(samples), rate) == (320_000, 32_000)
        assert np.abs(samples).max() == pytest.approx(0.5, abs=1e-3)
        spectrum = np.abs(np.fft.rfft(samples[: 4 * 32_000]))
        takes = [voice.split()[1] for voice in row["source"].removeprefix("mix ").split(" + ")]
        tones = [PLAYED[name] * (1 + int(take)) for name, take in zip(row["labels"].split("|"), takes, strict=True)]
        if len(set(tones)) == len(tones):
            levels = [spectrum[4 * tone] for tone in tones]
            assert max(levels) / min(levels) < 10 ** (9.1 / 20)


def test_the_seed_decides(solos: Path, tmp_path: Path) -> None:
    one, other, different = (
        mix(solos, tmp_path / name, "--count", "3", "--seed", seed)
        for name, seed in (("a", "5"), ("b", "5"), ("c", "6"))
    )
    assert one == other != different
    files = [(tmp_path / name / "mix_0002.flac").read_bytes() for name in ("a", "b")]
    assert files[0] == files[1]


def test_mixtures_are_of_the_groups_of_their_solos(solos: Path, tmp_path: Path) -> None:
    clips = tmp_path / "solos"
    shutil.copytree(solos, clips)
    header, *rows = (solos / "labels.csv").read_text().splitlines()
    grouped = [f"{row},album {i // 3}" if i < 5 else f"{row}," for i, row in enumerate(rows)]
    (clips / "labels.csv").write_text("\n".join([f"{header},group", *grouped]) + "\n")
    mix(clips, tmp_path / "mix", "--count", "9")
    alone, mixed = read_clip_table(clips).group, read_clip_table(tmp_path / "mix").group
    voices = {voice for group in mixed for voice in group.split(" + ")}
    assert voices <= set(alone.tolist())
    assert any(voice.startswith("album") for voice in voices)


def test_loudness_is_of_what_sounds() -> None:
    tone = np.sin(2 * np.pi * 440 * np.arange(32_000) / 32_000).astype(np.float32)
    assert loudness(tone) == pytest.approx(0.5**0.5, rel=1e-3)
    assert loudness(np.concatenate([tone, 0 * tone])) == pytest.approx(loudness(tone))


def test_windows_of_a_recording_and_of_bach10_are_one_recording() -> None:
    assert recording_of("concert @12s") == "concert"
    assert recording_of("mix a @0s + b @10s") == "a + b"
    assert recording_of("Bach10 01 violin @3s") == "bach10"


def test_mistakes_are_one_line(solos: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--count must be at least 1"):
        mix(solos, tmp_path / "mix", "--count", "0")
    few = tmp_path / "few"
    few.mkdir()
    (few / "labels.csv").write_text("file,labels,absent,kind,source\na.wav,violin,,solo,a\n")
    with pytest.raises(InputFileError, match="solos of 1 instruments, mixtures take 4"):
        mix(few, tmp_path / "mix")
    with pytest.raises(InputFileError, match=r"labels\.csv"):
        mix(tmp_path / "gone", tmp_path / "mix")
    gone = tmp_path / "unreadable"
    gone.mkdir()
    (gone / "labels.csv").write_text((solos / "labels.csv").read_text())
    with pytest.raises(InputFileError, match=r"\.wav"):
        mix(gone, tmp_path / "mix")
    assert not (tmp_path / "mix").exists()
    mix(solos, tmp_path / "mix", "--count", "1")
    with pytest.raises(UsageError, match="already there"):
        mix(solos, tmp_path / "mix", "--count", "1")


def test_a_silent_solo_is_not_mixed(solos: Path, tmp_path: Path) -> None:
    shutil.copytree(solos, tmp_path / "solos")
    for take in range(2):
        soundfile.write(tmp_path / "solos" / f"piano{take}.wav", np.zeros(64_000), 32_000)
    with pytest.raises(InputFileError, match=r"piano\d\.wav: silent, though it is labelled piano"):
        mix(tmp_path / "solos", tmp_path / "mix", "--count", "3")
    assert not (tmp_path / "mix").exists()
