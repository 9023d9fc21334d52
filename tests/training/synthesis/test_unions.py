"""Mixtures learn the union of the teachers' results for each voice, exactly, and are the same for the same seed."""

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("tqdm", reason="training needs the [train] extra")

from bank import GROUPS, write_bank

from instrec_live.models.audioset import CLASSES
from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import N_MELS, PATCH, SAMPLE_RATE, log_mel
from instrec_live.training.synthesis import unions
from instrec_live.training.synthesis.channel import power_of
from instrec_live.training.synthesis.unions import LENGTHS, Track, Unions, noise, power_of_offset, windows

EVERYTHING = len(INSTRUMENTS) + CLASSES


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bank(tmp_path_factory.mktemp("unions") / "bank")


def test_the_target_is_the_union_of_what_is_recognised_in_each_voice(
    bank: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    supply, heard = Unions(bank), []
    window = Unions._window

    def overheard(self, group, length, rng):
        power, _ = window(self, group, length, rng)
        heard.append(rng.random(EVERYTHING).astype(np.float32))
        return power, heard[-1]

    monkeypatch.setattr(Unions, "_window", overheard)
    voices = set()
    for index in range(40):
        heard.clear()
        example = supply.example(index, np.random.default_rng(index), 2 * PATCH)
        absent = np.ones(EVERYTHING, np.float32)
        for probabilities in heard:
            absent *= 1 - probabilities
        np.testing.assert_array_equal(example.labels, 1 - absent)
        voices.add(len(heard))
    assert voices == {1, 2, 3, 4}


@pytest.mark.parametrize("patches", LENGTHS)
def test_an_example_is_as_long_as_asked_for_and_weighs_as_given(bank: Path, patches: int) -> None:
    example = Unions(bank).example(0, np.random.default_rng(1), patches * PATCH)
    assert example.log_mel.shape == (N_MELS, patches * PATCH)
    assert example.log_mel.dtype == np.float32
    assert np.isfinite(example.log_mel).all()
    assert (example.mask[:20] == 1).all()
    np.testing.assert_allclose(example.mask[20:], 4 * 20 / CLASSES)
    assert any(np.allclose(example.labels, 1 - 0.75**voices) for voices in (1, 2, 3, 4))


def test_the_seed_decides_everything(bank: Path) -> None:
    one, other = (Unions(bank).example(0, np.random.default_rng(7), 5 * PATCH) for _ in range(2))
    np.testing.assert_array_equal(one.log_mel, other.log_mel)
    np.testing.assert_array_equal(one.labels, other.labels)
    different = Unions(bank).example(0, np.random.default_rng(8), 5 * PATCH)
    assert not np.array_equal(one.log_mel, different.log_mel)


def test_every_kind_of_sound_is_drawn_and_only_what_there_is(bank: Path, tmp_path: Path) -> None:
    rng, supply = np.random.default_rng(0), Unions(bank)
    drawn = [supply._group(rng) for _ in range(4000)]
    shares = {group: drawn.count(group) / len(drawn) for group in GROUPS}
    assert shares == pytest.approx(
        {"music": 0.08, "song": 0.08, "distractor": 0.06, "violin": 0.38, "flute": 0.38}, abs=0.03
    )
    assert drawn.count("noise") / len(drawn) == pytest.approx(0.02, abs=0.01)
    few = Unions(write_bank(tmp_path / "few", ("violin", "flute")))
    assert {few._group(rng) for _ in range(200)} == {"violin", "flute", "noise"}


def test_noises_are_different_and_are_no_instrument(bank: Path) -> None:
    rng = np.random.default_rng(0)
    noises = np.stack([noise(200, rng) for _ in range(60)])
    assert np.isfinite(noises).all()
    assert (noises >= 0).all()
    np.testing.assert_allclose(noises.sum(2).mean(1), 1, rtol=1e-3)
    unsteady = noises.sum(2).std(1)
    assert unsteady.min() < 0.2 < 0.5 < unsteady.max()
    _, probabilities = Unions(bank)._window("noise", 2, rng)
    assert not probabilities.any()


def test_an_offset_is_low_and_grows_with_its_square() -> None:
    power = power_of_offset()
    assert power.shape == (N_MELS,)
    assert power[:4].sum() > 0.9 * power.sum()
    half = power_of(log_mel(np.full(SAMPLE_RATE, 0.5, np.float32))[:, 50])
    np.testing.assert_allclose(half[:4], power[:4] / 4, rtol=1e-3)


def test_windows_of_a_track_do_not_overlap_and_a_short_one_is_whole() -> None:
    track = Track(960, 12, "violin", "x", ("violin",), True)
    assert windows(track, 5) == [(960, 5), (960 + 5 * PATCH, 5)]
    assert windows(Track(0, 3, "violin", "x", ("violin",), True), 5) == [(0, 3)]


def test_a_damaged_bank_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match=r"index\.json: not found — make it with"):
        Unions(tmp_path / "nowhere")
    for file in ("frames.npy", "targets.npz"):
        bank = write_bank(tmp_path / file)
        (bank / file).unlink()
        with pytest.raises(InputFileError, match=f"{file}: not found"):
            Unions(bank)
    for file, content in (
        ("index.json", b"{"), ("index.json", b"{}"), ("index.json", b'{"sources": [], "tracks": [{}]}'),
        ("frames.npy", b""), ("targets.npz", b"PK no"), ("targets.npz", b"PK\x03\x04"),
    ):  # fmt: skip
        bank = write_bank(tmp_path / f"damaged {len(list(tmp_path.iterdir()))}")
        (bank / file).write_bytes(content)
        with pytest.raises(InputFileError, match=r"not a bank of sounds|no targets of a bank"):
            Unions(bank)
    bank = write_bank(tmp_path / "short")
    np.save(bank / "frames.npy", np.load(bank / "frames.npy")[:-PATCH])
    with pytest.raises(InputFileError, match=r"frames\.npy is not of the tracks"):
        Unions(bank)


def test_teachers_of_another_bank_are_refused(tmp_path: Path) -> None:
    bank, other = write_bank(tmp_path / "a"), write_bank(tmp_path / "b", GROUPS[:2])
    (bank / "targets.npz").write_bytes((other / "targets.npz").read_bytes())
    with pytest.raises(InputFileError, match="targets are of other windows"):
        Unions(bank)


def test_a_group_without_a_long_or_loud_window_is_named(tmp_path: Path) -> None:
    short = Unions(write_bank(tmp_path / "short", ("violin",), patches=2))
    with pytest.raises(InputFileError, match="no window of 5 patches in which violin is recognised"):
        short.example(0, np.random.default_rng(0), 5 * PATCH)


def test_a_bank_is_made_of_folders(tmp_path: Path) -> None:
    """Notes are joined to phrases, a phrase is kept, music is cut and has no labels, a sound effect is left out; and a
    folder that is there is left alone."""
    rng = np.random.default_rng(0)
    t = np.arange(12 * 32_000) / 32_000
    tone = (0.2 * np.sin(2 * np.pi * 440 * t) + 0.001 * rng.standard_normal(len(t))).astype(np.float32)
    sounds, music = tmp_path / "sounds", tmp_path / "music" / "band"
    (sounds / "violin" / "notes").mkdir(parents=True)
    (sounds / "flute" / "phrases").mkdir(parents=True)
    music.mkdir(parents=True)
    for i in range(3):
        soundfile.write(sounds / "violin" / "notes" / f"{i}.wav", tone[: 2 * 32_000], 32_000)
    soundfile.write(sounds / "flute" / "phrases" / "a.wav", tone[: 6 * 32_000], 32_000)
    soundfile.write(music / "a.wav", np.tile(tone, 4), 32_000)
    soundfile.write(music / "effect.wav", tone[: 6 * 32_000], 32_000)
    soundfile.write(music / "silent.wav", np.tile(0 * tone, 2), 32_000)
    (sounds / "sources.csv").write_text(
        "source,licence,package,class,n_files,seconds,kind\n"
        "notes,CC0-1.0,x,violin,3,6,notes\nphrases,CC0-1.0,x,flute,1,6,phrases\n"
    )
    (music.parent / "sources.csv").write_text("source,licence,package,seconds\nband,CC-BY-3.0,y,12\n")
    to = tmp_path / "bank"
    unions.make_bank(sounds, [music.parent], to, processes=1)
    index = json.loads((to / "index.json").read_text())
    tracks = {track["group"]: track for track in index["tracks"]}
    assert {group: track["patches"] for group, track in tracks.items()} == {"violin": 6, "flute": 6, "music": 10}
    assert [track["patches"] for track in index["tracks"] if track["group"] == "music"] == [40, 10]
    assert {group: track["labels"] for group, track in tracks.items()} == {
        "violin": ["violin"], "flute": ["flute"], "music": []
    }  # fmt: skip
    assert [track["complete"] for track in tracks.values()].count(False) == 1
    frames = np.load(to / "frames.npy")
    assert frames.shape == (62 * PATCH, N_MELS)
    assert {(source["class"], source["licence"]) for source in index["sources"]} == {
        ("violin", "CC0-1.0"), ("flute", "CC0-1.0"), ("music", "CC-BY-3.0")
    }  # fmt: skip
    with pytest.raises(UsageError, match="already there"):
        unions.make_bank(sounds, [], to, processes=1)


@pytest.mark.parametrize("patches", [1, 2])
def test_a_short_window_is_taught_what_is_recognised_in_the_five_patches_around(
    bank: Path, monkeypatch: pytest.MonkeyPatch, patches: int
) -> None:
    asked = []
    window = Unions._window

    def overheard(self, group, length, rng):
        asked.append((group, length))
        return window(self, group, length, rng)

    monkeypatch.setattr(Unions, "_window", overheard)
    for index in range(40):
        example = Unions(bank).example(index, np.random.default_rng(index), patches * PATCH)
        assert example.log_mel.shape == (N_MELS, patches * PATCH)
    assert {length for group, length in asked if group in INSTRUMENTS} == {5}
    assert {length for group, length in asked if group in ("song", "music")} == {2}


def test_an_instrument_that_pauses_in_a_short_window_is_not_taught(bank: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    supply = Unions(bank)
    power = np.zeros((5 * PATCH, N_MELS), np.float32)
    power[: 2 * PATCH] = 1 / N_MELS
    monkeypatch.setattr(supply, "_window", lambda *_: (power, np.full(EVERYTHING, 0.9, np.float32)))
    seen = []
    for seed in range(60):
        heard, probabilities = supply._excerpt("violin", PATCH, np.random.default_rng(seed))
        share = heard.sum(1).mean()  # 1: it sounds all along
        seen.append((share, probabilities.max()))
    assert all(p == np.float32(0.9) for share, p in seen if share > 0.2)
    assert all(p == 0 for share, p in seen if share < 0.005)
    assert {p for _, p in seen} >= {np.float32(0.9), np.float32(0)}


def test_the_share_of_music_is_as_asked_for(bank: Path) -> None:
    supply = Unions(bank, music_share=0.5)
    rng = np.random.default_rng(0)
    groups = [supply._group(rng) for _ in range(4000)]
    assert np.isin(groups, ("song", "music")).mean() == pytest.approx(0.5, abs=0.03)
