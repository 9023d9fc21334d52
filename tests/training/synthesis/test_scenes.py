"""Scenes: annotations are exact, masks are respected, and a seed determines the result; as mels and as sound."""

import csv
import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("sklearn", reason="training needs the [train] extra")
pytest.importorskip("tqdm", reason="training needs the [train] extra")

from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import SAMPLE_RATE, log_mel
from instrec_live.training.data.sounds import read_sources
from instrec_live.training.data.table import read_table
from instrec_live.training.synthesis.channel import CENTRES, Channel, log_of, power_of
from instrec_live.training.synthesis.scenes import write
from instrec_live.training.synthesis.scenes.mixer import Phrases, Scenes
from instrec_live.training.synthesis.scenes.plan import Cast, Event, Part, annotate, draw_parts


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


def by_instrument(power: np.ndarray) -> np.ndarray:
    """Power mels [128, T] -> what each instrument of `phrases` has in its bands, [20, T]."""
    return power[:120].reshape(20, 6, -1).sum(1)


def test_activity_is_exact_frame_by_frame(phrases: Phrases) -> None:
    """With each instrument in bands of its own, the activity is what stands there, frame for frame."""
    scenes, rng, kinds = Scenes(phrases), np.random.default_rng(0), set()
    for _ in range(80):
        power, annotation, parts, real = scenes.mix(rng, 400)
        assert not real
        seen = by_instrument(power)
        top = max((x[x > x.max() * 1e-3].mean() for x in seen if x.max() > 0), default=1.0)
        audible, trace = seen > top * 10**-1.8, seen > top * 10**-3.5
        song = any(INSTRUMENTS[part.instrument] == "voice" for part in parts)
        playing = {part.instrument for part in parts}
        for i in range(20):
            if i in playing:
                # Frames at the very edge of what is audible may fall to either side.
                unclear = np.abs(10 * np.log10(seen[i] / top + 1e-12) + 18) < 0.1
                assert (annotation.activity[i] == audible[i])[~unclear].all()
                if not unclear.any():
                    assert annotation.labels[i] == (audible[i].sum() >= 30)
                    assert annotation.mask[i] == (audible[i].sum() >= 30 or (trace[i].sum() < 10 and not song))
            else:
                assert not annotation.activity[i].any()
                assert annotation.labels[i] == 0
                assert annotation.mask[i] == (not song)
            kinds.add((i in playing, float(annotation.labels[i]), float(annotation.mask[i])))
    assert kinds >= {(True, 1, 1), (False, 0, 1), (False, 0, 0)}


def test_parts_enter_and_leave_when_planned(phrases: Phrases) -> None:
    rng, late, early = np.random.default_rng(1), 0, 0
    for _ in range(60):
        power, annotation, parts, _ = Scenes(phrases).mix(rng, 500)
        seen = by_instrument(power)
        for part in parts:
            heard = np.flatnonzero(seen[part.instrument] > 1e-6)  # what half precision makes of silence is below
            assert heard[0] == part.onset
            assert heard[-1] < part.offset + part.release
            late, early = late + (part.onset > 0), early + (part.offset < 500)
            events = [e for e in annotation.events() if e.instrument == INSTRUMENTS[part.instrument]]
            if events and part.gain_db > -10:
                assert events[0].onset == pytest.approx(part.onset / 100)
                assert part.offset / 100 <= events[-1].offset + 0.011
                assert events[-1].offset <= min(500, part.offset + part.release) / 100
    assert min(late, early) > 10


def test_events_bridge_short_rests_and_leave_out_what_is_not_labelled() -> None:
    power = np.zeros(400, np.float32)
    power[50:100] = power[105:150] = power[250:300] = 1
    faint = np.where(np.arange(400) < 20, 0.1, 0).astype(np.float32)
    annotation = annotate([12, 3], [power, faint], 400, loudest=1.0)
    assert annotation.events() == [Event("piano", 0.5, 1.5), Event("piano", 2.5, 3.0)]
    assert annotation.events(gap=0.01)[0] == Event("piano", 0.5, 1.0)
    assert (annotation.labels[3], annotation.mask[3]) == (0, 0)  # 0.2 s: audible, but too short to say


@pytest.mark.parametrize(
    ("db", "frames", "label", "mask"),
    [(-17, 30, 1, 1), (-17, 29, 0, 0), (-19, 400, 0, 0), (-34, 10, 0, 0), (-34, 9, 0, 1), (-36, 400, 0, 1)],
)
def test_what_is_faint_is_masked(db: float, frames: int, label: float, mask: float) -> None:
    power = np.where(np.arange(400) < frames, 10 ** (db / 10), 0).astype(np.float32)
    annotation = annotate([0, 5], [np.ones(400, np.float32), power], 400, loudest=1.0)
    assert (annotation.labels[5], annotation.mask[5]) == (label, mask)
    assert (annotation.labels[0], annotation.mask[0]) == (1, 1)


def test_what_is_drowned_by_a_song_may_be_in_it_too() -> None:
    parts = [np.ones(400, np.float32), np.full(400, 1e-5, np.float32)]
    known, unknown = (annotate([0, 5], parts, 400, 1.0, others_known=others).mask[5] for others in (True, False))
    assert (known, unknown) == (1, 0)


def test_in_a_song_unlabelled_instruments_are_masked(phrases: Phrases) -> None:
    voice, rng = INSTRUMENTS.index("voice"), np.random.default_rng(1)
    scenes = [Scenes(phrases).scene(rng, 300).annotation for _ in range(200)]
    songs = [scene for scene in scenes if scene.labels[voice]]
    assert songs
    assert all((scene.mask == 0)[scene.labels == 0].mean() > 0.9 for scene in songs)
    assert all(scene.mask[scene.labels == 1].all() for scene in songs)


def test_real_music_is_masked_but_for_what_is_laid_on_top(phrases: Phrases) -> None:
    music = np.full((3, 128, 1000), 0.5, np.float16)
    scenes, rng, laid = Scenes(phrases, music, music_share=1.0), np.random.default_rng(2), 0
    for _ in range(40):
        scene = scenes.scene(rng, 300)
        assert scene.real
        assert scene.annotation.mask.sum() <= len(scene.parts) <= 2  # two: drums and cymbals
        assert (scene.annotation.labels <= scene.annotation.mask).all()
        laid += len(scene.parts)
    assert 4 <= laid <= 24


def test_an_example_depends_on_the_rng_alone(phrases: Phrases) -> None:
    scenes = Scenes(phrases)
    first = scenes.example(0, np.random.default_rng(5), 333)
    again = Scenes(phrases).example(9, np.random.default_rng(5), 333)
    other = scenes.example(0, np.random.default_rng(6), 333)
    assert first.log_mel.shape == (128, 333)
    assert first.log_mel.dtype == np.float32
    np.testing.assert_array_equal(first.log_mel, again.log_mel)
    np.testing.assert_array_equal(first.labels, again.labels)
    assert (first.log_mel != other.log_mel).any()


def test_workers_that_are_not_forked_map_the_files_themselves(phrases: Phrases, tmp_path: Path) -> None:
    np.save(tmp_path / "music.npy", np.full((3, 128, 1000), 0.5, np.float16))
    scenes = Scenes(phrases, np.load(tmp_path / "music.npy", mmap_mode="r"), 0.5)
    sent = pickle.dumps(scenes)
    assert len(sent) < 5000
    for seed in range(4):
        one, other = (s.example(0, np.random.default_rng(seed), 200) for s in (scenes, pickle.loads(sent)))
        np.testing.assert_array_equal(one.log_mel, other.log_mel)


@pytest.mark.parametrize("frames", [40, 200, 1000, 1700])
def test_scenes_of_any_length(phrases: Phrases, frames: int) -> None:
    rng = np.random.default_rng(0)
    for _ in range(10):
        scene = Scenes(phrases).scene(rng, frames)
        assert scene.log_mel.shape == (128, frames)
        assert np.isfinite(scene.log_mel).all()


def test_sources_play_as_often_as_they_have_phrases() -> None:
    cast, rng = Cast([("piano", 30), ("flute", 4), ("piano", 10)]), np.random.default_rng(0)
    drawn = [cast.source(INSTRUMENTS.index("piano"), rng) for _ in range(2000)]
    assert set(drawn) == {0, 2}
    assert abs(np.mean(np.array(drawn) == 0) - 0.75) < 4 * np.sqrt(0.75 * 0.25 / 2000)
    np.testing.assert_allclose(cast.chances[[12, 7]], np.sqrt([40, 4]) / np.sqrt([40, 4]).sum())
    assert len(draw_parts(rng, 300, cast.chances, 6)) == 2  # no more instruments than there are


def test_drums_and_cymbals_are_usually_one_kit() -> None:
    rng, chances = np.random.default_rng(0), np.full(20, 1 / 20)
    drums, cymbals = INSTRUMENTS.index("drums"), INSTRUMENTS.index("cymbals")
    plans = [draw_parts(rng, 300, chances, 1) for _ in range(3000)]
    kits = [plan for plan in plans if plan[0].instrument in (drums, cymbals)]
    whole = [plan for plan in kits if len(plan) == 2]
    assert abs(len(whole) / len(kits) - 0.7) < 4 * np.sqrt(0.7 * 0.3 / len(kits))
    for one, other in whole:
        assert {one.instrument, other.instrument} == {drums, cymbals}
        assert (one.onset, one.offset, one.release) == (other.onset, other.offset, other.release)
        assert -14 <= other.gain_db <= 0
    assert all(len(plan) == 1 for plan in plans if plan not in kits)
    chances[cymbals] = 0  # nobody has any
    assert all(len(draw_parts(rng, 300, chances / chances.sum(), 1)) == 1 for _ in range(200))


def test_a_distractor_is_mixed_in_and_has_no_label(phrases: Phrases) -> None:
    def mixes(cast: Cast) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        phrases.cast = cast
        found = []
        for seed in range(200):
            mix, annotation, _, _ = Scenes(phrases, polyphony=(1.0,), distractors=0.25).mix(
                np.random.default_rng(seed), 200
            )
            found.append((mix, annotation.labels, annotation.mask))
        return found

    known = [(source["instrument"], source["count"]) for source in phrases.sources]
    assert Cast(known).distractors == []
    assert all((mix == 0).all() for mix, _, _ in mixes(Cast(known)))
    with_bassoon = Cast([("bassoon", known[0][1]), *known[1:]])
    heard = mixes(with_bassoon)
    share = np.mean([mix.any() for mix, _, _ in heard])
    assert abs(share - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 200)
    assert all((labels == 0).all() and (mask == 1).all() for _, labels, mask in heard)


def test_an_envelope_is_silent_before_and_after() -> None:
    envelope = Part(0, -6, 20, 50, 10).envelope(80)
    assert (envelope[:20] == 0).all()
    np.testing.assert_allclose(envelope[20:50], 10**-0.6, rtol=1e-5)
    assert (np.diff(envelope[50:60]) < 0).all()
    assert (envelope[60:] == 0).all()


FREQUENCIES = {"piano": 400, "flute": 1500, "voice": 5000}
LICENCES = {"piano": "CC0-1.0", "flute": "CC BY-NC 4.0", "voice": "CC0-1.0"}


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """Three instruments, each steady noise in a third of an octave of its own; the voice is a song's."""
    rng, rows = np.random.default_rng(0), []
    for instrument, kind in (("piano", "phrases"), ("flute", "phrases"), ("voice", "song")):
        folder = tmp_path / "sounds" / instrument / "one"
        folder.mkdir(parents=True)
        spectrum = np.fft.rfft(rng.standard_normal(8 * SAMPLE_RATE))
        hz = np.fft.rfftfreq(8 * SAMPLE_RATE, 1 / SAMPLE_RATE)
        sound = np.fft.irfft(np.where(np.abs(np.log2((hz + 1) / FREQUENCIES[instrument])) < 1 / 6, spectrum, 0))
        soundfile.write(folder / "a.flac", 0.1 * sound / sound.std(), SAMPLE_RATE)
        rows.append({"source": "one", "licence": LICENCES[instrument], "package": "made here", "class": instrument,
                     "n_files": 1, "seconds": 8, "kind": kind})  # fmt: skip
    with (tmp_path / "sounds" / "sources.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return tmp_path / "sounds"


def render(sounds: Path, to: Path, *more: str) -> None:
    write.main(["--sounds", str(sounds), "--to", str(to), "--count", "6", "--seconds", "3", *more])


def test_written_scenes_are_whole_and_the_same_again(sounds: Path, tmp_path: Path) -> None:
    for name, workers in (("one", "1"), ("two", "2")):
        render(sounds, tmp_path / name, "--workers", workers)
    files = sorted(path.relative_to(tmp_path / "one") for path in (tmp_path / "one").rglob("*") if path.is_file())
    assert len(files) == 8
    for file in files:
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()
    table = read_table(tmp_path / "one" / "table.csv")
    assert [path.is_file() for path in table.paths] == [True] * 6
    assert set(table.split) == {"train"}
    assert len(set(table.group)) == 6
    for labels, licence in zip(table.labels, table.licence, strict=True):
        sounding = {LICENCES[INSTRUMENTS[i]] for i in np.flatnonzero(labels)}
        assert sounding <= set(licence.split("; ")) <= set(LICENCES.values())
    for path in table.paths:
        info = soundfile.info(path)
        assert (info.samplerate, info.channels, info.frames) == (SAMPLE_RATE, 1, 3 * SAMPLE_RATE)
    render(sounds, tmp_path / "other", "--seed", "1", "--workers", "1")
    assert (tmp_path / "other" / "table.csv").read_bytes() != (tmp_path / "one" / "table.csv").read_bytes()


def test_written_events_match_the_sound(sounds: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through a channel that does nothing, each instrument's band is loud in its events, and not outside them."""
    monkeypatch.setattr(Channel, "draw", staticmethod(lambda rng: Channel()))
    monkeypatch.setattr(write, "codec", lambda samples, rng: samples)
    stage, checked = write.Stage(read_sources(sounds)), 0
    for seed in range(12):
        samples, annotation, _ = stage.scene(np.random.default_rng(seed), 400)
        assert samples.shape == (4 * SAMPLE_RATE,)
        power = power_of(log_mel(samples))
        for name, hz in FREQUENCIES.items():
            i = INSTRUMENTS.index(name)
            if not annotation.labels[i]:
                continue
            heard = power[np.abs(np.log2(CENTRES / hz)) < 0.3].sum(0)
            on, off = heard[annotation.activity[i]], heard[~annotation.activity[i]]
            strong = np.median(on) > 0.1 * power.sum(0).max()  # a faint part wanders about the threshold
            checked += strong and len(off) > 50
            assert not strong or len(off) < 50 or np.median(off) < 0.1 * np.median(on)
    assert checked >= 3


def test_a_folder_in_use_and_a_sound_that_fails_leave_no_mess(sounds: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="already there"):
        render(sounds, tmp_path / "full")
    (sounds / "flute" / "one" / "a.flac").write_bytes(b"fLaC, it says")
    with pytest.raises(InputFileError, match=r"flute/one/a\.flac"):
        render(sounds, tmp_path / "new", "--workers", "1")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["full", "sounds"]
    assert [path.name for path in (tmp_path / "full").iterdir()] == ["mine.txt"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda folder: (folder / "sources.csv").unlink(), r"sources\.csv: not found"),
        (lambda folder: shutil.rmtree(folder / "flute"), "no sound files"),
    ],
)
def test_a_bad_folder_is_named(sounds: Path, tmp_path: Path, spoil: Callable[[Path], None], words: str) -> None:
    spoil(sounds)
    with pytest.raises(InputFileError, match=words):
        render(sounds, tmp_path / "new")


def test_odd_numbers_are_refused(sounds: Path, tmp_path: Path) -> None:
    for option, value in (("--count", "0"), ("--seconds", "0.5"), ("--workers", "0")):
        with pytest.raises(UsageError, match=f"{option} must be"):
            render(sounds, tmp_path / "new", option, value)
