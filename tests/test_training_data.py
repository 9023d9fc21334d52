"""Sounds to phrases to scenes: labels are exact, masks are the law, and a seed is a promise."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("sklearn", reason="training needs the [train] extra")
pytest.importorskip("tqdm", reason="training needs the [train] extra")

from instrec_live.models.errors import InputFileError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import SAMPLE_RATE
from instrec_live.training.augment import noise_mel, random_response, spec_augment, transpose
from instrec_live.training.datasets.sounds import read_sources, split_on_silence
from instrec_live.training.phrases import SAMPLES, Player, share
from instrec_live.training.scenes.mixer import Phrases, Scenes, log_of, power_of


def tone(hz: float, seconds: float) -> np.ndarray:
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    return (0.3 * np.sin(2 * np.pi * hz * t) * np.exp(-3 * t)).astype(np.float32)


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """A folder laid out as the training sounds are: three instruments, one source held out, one song."""
    rows = []
    for instrument, source, kind in (("piano", "one", "notes"), ("flute", "two", "phrases"), ("voice", "three", "song"),
                                     ("piano", "sf_timgm", "sampled soundfont")):  # fmt: skip
        folder = tmp_path / instrument / source
        folder.mkdir(parents=True)
        for i in range(3):
            soundfile.write(folder / f"{i}.ogg", tone(220 * (i + 1), 1.5), SAMPLE_RATE)
        rows.append({"source": source, "licence": "CC0-1.0", "package": "made here", "class": instrument,
                     "n_files": 3, "seconds": 4.5, "kind": kind})  # fmt: skip
    with (tmp_path / "sources.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return tmp_path


@pytest.fixture
def phrases(tmp_path: Path) -> Phrases:
    """Phrases whose band says which instrument they are: instrument i fills bands 6 i … 6 i + 5."""
    mels = np.full((40, 128, 600), log_of(np.zeros(1, np.float32))[0], np.float16)
    for i in range(20):
        mels[2 * i : 2 * i + 2, 6 * i : 6 * i + 6] = 1.0
    folder = tmp_path / "phrases"
    folder.mkdir()
    np.save(folder / "mels.npy", mels)
    rows = [{"instrument": name, "source": "x", "kind": "song" if name == "voice" else "notes",
             "first": 2 * i, "count": 2} for i, name in enumerate(INSTRUMENTS)]  # fmt: skip
    (folder / "index.json").write_text(json.dumps({"sources": rows}))
    return Phrases(folder)


def test_sources_are_read_and_held_out_ones_kept_apart(sounds: Path) -> None:
    assert [(s.instrument, s.name) for s in read_sources(sounds)] == [
        ("piano", "one"),
        ("flute", "two"),
        ("voice", "three"),
    ]
    assert [s.name for s in read_sources(sounds, only_held_out=True)] == ["sf_timgm"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda root: (root / "sources.csv").unlink(), "not found"),
        (lambda root: (root / "sources.csv").write_text("source,class\nx,piano\n"), "'kind' is missing"),
        (
            lambda root: (root / "sources.csv").write_text("source,class,kind,licence,package\nx,kazoo,notes,,\n"),
            "kazoo",
        ),
        (lambda root: [p.unlink() for p in (root / "flute" / "two").glob("*")], "no .ogg files"),
    ],
)
def test_a_bad_folder_is_named(sounds: Path, spoil, words: str) -> None:
    spoil(sounds)
    with pytest.raises(InputFileError, match=words):
        read_sources(sounds)


def test_notes_are_split_on_silence() -> None:
    silence = np.zeros(SAMPLE_RATE // 2, np.float32)
    notes = split_on_silence(np.concatenate([silence, tone(440, 1), silence, tone(220, 1), silence]))
    assert len(notes) == 2
    assert all(0.9 < len(note) / SAMPLE_RATE < 1.1 for note in notes)
    assert split_on_silence(silence) == []


def test_phrases_are_loud_enough_and_seeded(sounds: Path) -> None:
    for source in read_sources(sounds):
        player = Player(source)
        phrase = player.phrase(np.random.default_rng(3))
        assert phrase.shape == (SAMPLES,)
        assert phrase.dtype == np.float32
        assert np.isfinite(phrase).all()
        assert 0.02 < np.sqrt(np.mean(phrase**2)) < 0.2
        np.testing.assert_array_equal(phrase, player.phrase(np.random.default_rng(3)))


def test_every_source_gets_a_share(sounds: Path) -> None:
    counts = share(read_sources(sounds), 100)
    assert min(counts) >= 4
    assert 90 <= sum(counts) <= 110


def test_transposing_an_octave_halves_the_length() -> None:
    assert abs(len(transpose(tone(200, 1), 12)) - SAMPLE_RATE / 2) <= 1


def test_power_and_log_are_inverse() -> None:
    mel = np.random.default_rng(0).normal(0, 0.25, (128, 50)).astype(np.float32)
    np.testing.assert_allclose(log_of(power_of(mel)), mel, atol=2e-3)


def test_effects_keep_shapes_and_stay_finite() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        response, noise = random_response(rng), noise_mel(rng, 77)
        assert response.shape == (128, 1)
        assert (response > 0).all()
        assert noise.shape == (128, 77)
        assert noise.mean() == pytest.approx(1.0, rel=1e-3)
    mels = rng.normal(size=(4, 128, 90)).astype(np.float32)
    spec_augment(mels, rng)
    assert np.isfinite(mels).all()


def test_a_batch_depends_on_seed_and_step_alone(phrases: Phrases) -> None:
    scenes = Scenes(phrases, seed=5)
    first, again, other = scenes.batch(3, 8), Scenes(phrases, seed=5).batch(3, 8), scenes.batch(4, 8)
    np.testing.assert_array_equal(first.log_mel, again.log_mel)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert first.log_mel.shape != other.log_mel.shape or (first.log_mel != other.log_mel).any()


def test_labels_say_what_is_in_the_scene(phrases: Phrases) -> None:
    """With each instrument in bands of its own, a label of 1 must show there, a label of 0 must not."""
    scenes = Scenes(phrases, seed=1)
    rng = np.random.default_rng(0)
    scenes._room = lambda mix, rng, empty: log_of(mix)  # type: ignore[method-assign]
    for _ in range(60):
        mel, labels, mask, real = scenes.scene(rng, 400)
        power = power_of(mel)[: 6 * 20].reshape(20, 6, -1).sum(1)
        sounding = (power > power.max() * 10**-3.3 + 1e-5).sum(1)
        assert not real
        assert (sounding[labels == 1] >= 30).all()
        assert (sounding[(labels == 0) & (mask == 1)] < 30).all()


def test_a_song_says_nothing_of_the_others(phrases: Phrases) -> None:
    voice = INSTRUMENTS.index("voice")
    scenes, rng = Scenes(phrases, seed=0), np.random.default_rng(1)
    songs = [s for s in (scenes.scene(rng, 300) for _ in range(200)) if s[1][voice]]
    assert songs
    assert all((mask == 0)[labels == 0].all() for _, labels, mask, _ in songs)


def test_real_music_is_masked_but_for_what_is_laid_on_top(phrases: Phrases) -> None:
    music = np.full((3, 128, 1000), 0.5, np.float16)
    scenes, rng = Scenes(phrases, music, music_share=1.0), np.random.default_rng(2)
    for _ in range(40):
        _, labels, mask, real = scenes.scene(rng, 300)
        assert real
        assert mask.sum() <= 1
        assert (labels <= mask).all()
