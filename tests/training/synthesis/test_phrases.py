"""From folders of sounds to phrases: what is read is checked, what is rendered is seeded, and no half work is left."""

import csv
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("sklearn", reason="training needs the [train] extra")
pytest.importorskip("tqdm", reason="training needs the [train] extra")

from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.logmel import SAMPLE_RATE
from instrec_live.training.data import music
from instrec_live.training.data.sounds import Source, full_band, load, read_sources, split_on_silence
from instrec_live.training.synthesis import phrases
from instrec_live.training.synthesis.phrases import SAMPLES, Player, share
from instrec_live.training.synthesis.scenes.mixer import Phrases


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
        (lambda root: [p.unlink() for p in (root / "flute" / "two").glob("*")], "no sound files"),
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


@pytest.mark.parametrize(
    ("samples", "words"),
    [
        (np.array([0.1, np.nan, 0.2] * 4000, np.float32), "4000 of its samples are not finite"),
        (np.array([0.1, np.inf, 0.2] * 4000, np.float32), "4000 of its samples are not finite"),
        (np.zeros(0, np.float32), "no audio in it"),
    ],
)
def test_a_sound_that_is_none_is_named(tmp_path: Path, samples: np.ndarray, words: str) -> None:
    soundfile.write(tmp_path / "odd.wav", samples, SAMPLE_RATE, subtype="FLOAT")
    for read in (load, full_band):
        with pytest.raises(InputFileError, match=rf"odd\.wav: {words}"):
            read(tmp_path / "odd.wav")


def test_an_unreadable_sound_among_good_ones_is_named(sounds: Path) -> None:
    (sounds / "flute" / "two" / "1.ogg").write_bytes(b"OggS, it says")
    source = next(source for source in read_sources(sounds) if source.name == "two")
    with pytest.raises(InputFileError, match=r"1\.ogg"):
        Player(source)


def test_flac_and_wav_are_sounds_too(sounds: Path) -> None:
    soundfile.write(sounds / "flute" / "two" / "more.flac", tone(440, 1), 44_100)
    files = next(source for source in read_sources(sounds) if source.name == "two").files
    assert [file.name for file in files] == ["0.ogg", "1.ogg", "2.ogg", "more.flac"]


def test_low_rates_are_filled_up_for_training_and_left_alone_elsewhere(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    soundfile.write(tmp_path / "note.wav", 0.1 * rng.standard_normal(16_000), 16_000)

    def treble(samples: np.ndarray) -> float:
        spectrum = np.abs(np.fft.rfft(samples)) ** 2
        return float(spectrum[9000:15_000].mean() / spectrum[1000:7000].mean())  # one second: a bin is 1 Hz

    assert treble(load(tmp_path / "note.wav")) < 1e-5
    assert treble(full_band(tmp_path / "note.wav")) > 1e-3
    np.testing.assert_array_equal(full_band(tmp_path / "note.wav"), full_band(tmp_path / "note.wav"))


def run(monkeypatch: pytest.MonkeyPatch, main, *argv: object) -> None:
    monkeypatch.setattr("sys.argv", ["command", *map(str, argv)])
    main()


def test_phrases_are_written_whole_and_the_same_again(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, workers in (("one", 1), ("two", 2)):
        run(monkeypatch, phrases.main, "--sounds", sounds, "--to", tmp_path / name, "--count", 12, "--workers", workers)
    one, two = Phrases(tmp_path / "one"), Phrases(tmp_path / "two")
    assert one.mels.shape == (12, 128, 600)
    assert [s["instrument"] for s in one.sources] == ["piano", "flute", "voice"]
    np.testing.assert_array_equal(one.mels, two.mels)
    assert np.isfinite(one.mels).all()
    assert sorted(path.name for path in (tmp_path / "one").iterdir()) == ["index.json", "mels.npy"]


def test_a_run_that_fails_leaves_the_old_phrases_alone(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, phrases.main, "--sounds", sounds, "--to", tmp_path / "p", "--count", 12, "--workers", 1)
    before = Phrases(tmp_path / "p").mels.copy()
    (sounds / "voice" / "three" / "0.ogg").write_bytes(b"")
    with pytest.raises(InputFileError, match=r"three/0\.ogg"):
        run(monkeypatch, phrases.main, "--sounds", sounds, "--to", tmp_path / "p", "--count", 24, "--workers", 1)
    np.testing.assert_array_equal(Phrases(tmp_path / "p").mels, before)
    (tmp_path / "p" / "index.json").unlink()
    with pytest.raises(InputFileError, match="not found"):
        Phrases(tmp_path / "p")


def test_phrases_that_are_not_those_of_the_index_are_refused(
    sounds: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(monkeypatch, phrases.main, "--sounds", sounds, "--to", tmp_path / "p", "--count", 12, "--workers", 1)
    np.save(tmp_path / "p" / "mels.npy", np.zeros((11, 128, 600), np.float16))
    with pytest.raises(InputFileError, match="does not match"):
        Phrases(tmp_path / "p")
    (tmp_path / "p" / "mels.npy").write_bytes(b"half a file")
    with pytest.raises(InputFileError, match="not a complete set of phrases"):
        Phrases(tmp_path / "p")


def test_music_becomes_windows_of_ten_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "music" / "band"
    folder.mkdir(parents=True)
    soundfile.write(folder / "song.flac", np.tile(tone(330, 1), 16), SAMPLE_RATE)
    soundfile.write(folder / "silence.flac", np.zeros(12 * SAMPLE_RATE), SAMPLE_RATE)
    soundfile.write(folder / "door.flac", tone(330, 3.0), SAMPLE_RATE)  # a game's noise, not its music
    run(monkeypatch, music.main, tmp_path / "music", "--shortest", 5, "--to", tmp_path / "music.npy")
    mels = np.load(tmp_path / "music.npy")
    assert mels.shape == (2, 128, 1000)  # from 0 s and from 5 s
    assert mels.dtype == np.float16
    (folder / "song.flac").unlink()
    with pytest.raises(InputFileError, match="not silent"):
        run(monkeypatch, music.main, tmp_path / "music", "--shortest", 5, "--to", tmp_path / "music.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "music.npy"), mels)


def test_phrases_of_several_folders_without_a_source(
    sounds: Path, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = tmp_path_factory.mktemp("more")
    (more / "organ" / "font").mkdir(parents=True)
    soundfile.write(more / "organ" / "font" / "0.ogg", tone(330, 8.0), SAMPLE_RATE)
    (more / "sources.csv").write_text(
        "source,licence,package,class,n_files,seconds,kind\nfont,MIT,made here,organ,1,8,rendered phrases\n"
    )
    argv = ["phrases", "--sounds", str(sounds), str(more), "--count", "8", "--workers", "1", "--to", str(more / "out")]
    monkeypatch.setattr("sys.argv", [*argv, "--without", "two"])
    phrases.main()
    made = Phrases(more / "out").sources
    assert [(s["source"], s["kind"]) for s in made] == [
        ("one", "notes"),
        ("three", "song"),
        ("font", "rendered phrases"),
    ]
    monkeypatch.setattr("sys.argv", [*argv, "--without", "tow"])
    with pytest.raises(UsageError, match="--without tow: no source of that name"):
        phrases.main()


def test_recorded_playing_gives_more_phrases_than_rendered(sounds: Path) -> None:
    recorded, rendered = (
        Source("flute", "x", kind, "CC0-1.0", "x", tuple(sounds / str(i) for i in range(40)))
        for kind in ("phrases", "rendered phrases")
    )
    assert rendered.continuous
    many, few = share([recorded, rendered], 300)
    assert many > 1.8 * few


def test_more_windows_of_music_take_no_more_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "music").mkdir()
    sound = np.random.default_rng(0).normal(scale=0.1, size=30 * SAMPLE_RATE)
    soundfile.write(tmp_path / "music" / "a.wav", sound, SAMPLE_RATE)
    peaks = []
    for every, count in (("20", 2), ("0.25", 81)):
        monkeypatch.setattr(
            "sys.argv", ["music", str(tmp_path / "music"), "--every", every, "--to", str(tmp_path / "m.npy")]
        )
        tracemalloc.start()
        music.main()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
        assert np.load(tmp_path / "m.npy", mmap_mode="r").shape == (count, 128, 1000)
    assert peaks[1] < peaks[0] + 5_000_000  # they are 20 MB
