"""A soundfont plays scores: the right sounds in the right place, a seed's promise kept, nothing half-written."""

import csv
import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("sklearn", reason="training needs the [train] extra")
pytest.importorskip("tqdm", reason="training needs the [train] extra")

from tiny_soundfont import write_soundfont

from instrec_live.models.errors import InputFileError, InstrecError, UsageError
from instrec_live.training.data.sounds import read_sources
from instrec_live.training.synthesis.phrases import Player
from instrec_live.training.synthesis.soundfonts import render as soundfont
from instrec_live.training.synthesis.soundfonts.general_midi import Preset, presets_of
from instrec_live.training.synthesis.soundfonts.playing import phrase
from instrec_live.training.synthesis.soundfonts.render import main, master
from instrec_live.training.synthesis.soundfonts.score import BEND, Control, Note, Score, draw_tune
from instrec_live.training.synthesis.soundfonts.synth import RATE, Soundfont


def missing_fluidsynth() -> str:
    if importlib.util.find_spec("fluidsynth") is None:
        return "pyfluidsynth is not installed: it comes with the [train] extra"
    try:
        import fluidsynth  # noqa: F401
    except (ImportError, OSError) as error:
        return f"the FluidSynth library is not installed: {error}"
    return ""


ABSENT = missing_fluidsynth()
renders = pytest.mark.skipif(bool(ABSENT), reason=ABSENT or "FluidSynth is here")


@pytest.fixture
def tiny(tmp_path: Path) -> Path:
    return write_soundfont(tmp_path / "Tiny GM.sf2")


def run(file: Path, to: Path, *options: str) -> None:
    main([str(file), "--to", str(to), "--licence", "CC0-1.0", "--phrases", "2", *options])


def everything(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def strongest_hz(samples: np.ndarray) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples * np.hanning(len(samples))))) * RATE / len(samples))


def centroid_hz(samples: np.ndarray, rate: int) -> float:
    power = np.abs(np.fft.rfft(samples)) ** 2
    return float((power * np.fft.rfftfreq(len(samples), 1 / rate)).sum() / power.sum())


# Rendering


@renders
def test_a_note_sounds_at_its_pitch_in_its_timbre_and_dry(tiny: Path) -> None:
    font = Soundfont(tiny)
    score = Score((Note(0, 1.0, 57, 100),), (), 2.0)
    flute, piano = (font.render(presets_of(i, font.name_of)[0], score) for i in ("flute", "piano"))
    assert strongest_hz(flute[:RATE]) == pytest.approx(220, rel=0.01)
    assert strongest_hz(piano[:RATE]) == pytest.approx(440, rel=0.01)  # its second harmonic is the strongest
    assert flute.dtype == np.float32
    assert len(flute) == pytest.approx(3.2 * RATE, abs=128)
    assert np.abs(flute[: RATE // 2]).max() > 0.01
    assert np.abs(flute[2 * RATE :]).max() == 0  # no room rings on


@renders
def test_notes_begin_when_they_should_and_bend(tiny: Path) -> None:
    font = Soundfont(tiny)
    bent = Score((Note(0.5, 1.0, 69, 100),), (Control(0.0, BEND, 100),), 2.0)
    samples = font.render(Preset(0, 73, ""), bent)
    assert np.flatnonzero(np.abs(samples) > 1e-4)[0] / RATE == pytest.approx(0.5, abs=0.005)
    assert strongest_hz(samples[RATE // 2 : 3 * RATE // 2]) == pytest.approx(440 * 2 ** (1 / 12), rel=0.005)


@renders
def test_what_was_played_before_is_not_audible(tiny: Path) -> None:
    font, rng = Soundfont(tiny), np.random.default_rng(0)
    score = phrase("piano", draw_tune(rng), rng, 5.0)
    first = font.render(Preset(0, 0, ""), score)
    font.render(Preset(128, 0, ""), phrase("drums", draw_tune(rng), rng, 5.0))
    np.testing.assert_array_equal(font.render(Preset(0, 0, ""), score), first)


def test_levels_are_sane() -> None:
    quiet = np.zeros(4 * RATE, np.float32)
    quiet[RATE : 3 * RATE] = 1e-3 * np.sin(np.arange(2 * RATE) / 10)
    mastered = master(quiet)
    assert len(mastered) / RATE == pytest.approx(2.0, abs=0.03)
    assert 20 * np.log10(np.sqrt(np.mean(mastered**2))) == pytest.approx(-20, abs=0.5)
    clicks = np.zeros(30 * RATE, np.float32)
    clicks[:: RATE // 2] = 3.0
    assert np.abs(master(clicks)).max() == pytest.approx(10 ** (-3 / 20))
    assert len(master(clicks)) == 20 * RATE


# The command


@renders
def test_a_soundfont_becomes_a_folder_of_sounds(tiny: Path, tmp_path: Path, capsys) -> None:
    to = tmp_path / "sounds"
    run(tiny, to, "--instruments", "piano,flute,ukulele,mandolin,accordion,drums,cymbals")
    out, err = capsys.readouterr()
    assert f"{tiny}: no accordion, no mandolin in it" in err
    assert "10 phrases as sf_tiny_gm (CC0-1.0)" in out
    sources = {s.instrument: s for s in read_sources(to)}
    assert set(sources) == {"piano", "flute", "ukulele", "drums", "cymbals"}
    assert {(s.kind, s.licence, s.package) for s in sources.values()} == {
        ("rendered phrases", "CC0-1.0", "Tiny GM.sf2")
    }
    assert sources["ukulele"].files[0].name == "000_b008_p024.ogg"
    assert not (to / "accordion").exists()
    heard = {}
    for name, source in sources.items():
        for path in source.files:
            samples, rate = soundfile.read(path, dtype="float32")
            assert rate == RATE
            assert 10 <= len(samples) / rate <= 20
            assert 0.1 < np.abs(samples).max() < 10 ** (-1 / 20)
            heard[name] = centroid_hz(samples, rate)
    assert np.isfinite(Player(sources["piano"]).phrase(np.random.default_rng(0))).all()
    assert heard["drums"] < 1000 < 4000 < heard["cymbals"]
    with (to / "sources.csv").open(newline="") as handle:
        assert {row["n_files"] for row in csv.DictReader(handle)} == {"2"}


@renders
def test_the_same_seed_gives_the_same_sound_whatever_else_is_rendered(tiny: Path, tmp_path: Path) -> None:
    run(tiny, tmp_path / "one", "--instruments", "piano,flute")
    run(tiny, tmp_path / "two", "--instruments", "flute")
    run(tiny, tmp_path / "other", "--instruments", "flute", "--seed", "1")
    read = lambda where: soundfile.read(tmp_path / where / "flute/sf_tiny_gm/000_b000_p073.ogg")[0]  # noqa: E731
    np.testing.assert_array_equal(read("one"), read("two"))
    assert not np.array_equal(read("one"), read("other"))


@renders
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_sounds_that_are_there_already_stay(tiny: Path, tmp_path: Path, end: str) -> None:
    to = tmp_path / "sounds"
    (to / "piano" / "mine").mkdir(parents=True)
    soundfile.write(to / "piano" / "mine" / "a.ogg", np.ones(3200), 32000)
    table = f'kind,class,source,licence,package,note{end}notes,piano,mine,CC0-1.0,"made, here",kept'  # no last newline
    (to / "sources.csv").write_bytes(table.encode())
    before = everything(to)
    run(tiny, to, "--instruments", "piano", "--name", "new")
    after = everything(to)
    assert after["sources.csv"] == (f"{table}{end}rendered phrases,piano,new,CC0-1.0,Tiny GM.sf2,{end}").encode()
    assert after["piano/mine/a.ogg"] == before["piano/mine/a.ogg"]
    assert [(s.name, s.instrument) for s in read_sources(to)] == [("mine", "piano"), ("new", "piano")]
    with pytest.raises(UsageError, match="already there"):
        run(tiny, to, "--instruments", "flute,piano", "--name", "new")
    assert everything(to) == after


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20_000])


def spoil_inside(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(b"pdta", b"nono"))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (Path.unlink, "not found"),
        (lambda path: path.write_text("not a soundfont"), "not a soundfont"),
        (lambda path: path.write_bytes(b""), "not a soundfont"),
        (cut_short, "truncated"),
        pytest.param(spoil_inside, "damaged", marks=renders),
    ],
)
def test_a_bad_soundfont_is_one_line_and_nothing_is_written(
    tiny: Path, tmp_path: Path, spoil, words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    spoil(tiny)
    with pytest.raises(InputFileError, match=words) as caught:
        run(tiny, tmp_path / "sounds")
    assert caught.value.exit_code == 4
    assert tiny.name in caught.value.message
    assert capfd.readouterr() == ("", "")  # the libraries below have said nothing of their own
    assert not (tmp_path / "sounds").exists()


@renders
def test_a_soundfont_without_what_was_asked_for(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(InputFileError, match="no mandolin, no violin in it"):
        run(tiny, tmp_path / "sounds", "--instruments", "mandolin,violin")
    assert not (tmp_path / "sounds").exists()


@renders
@pytest.mark.parametrize("stage", ["vorbis", "move_in"])
def test_a_full_disk_leaves_what_was_there(tiny: Path, tmp_path: Path, monkeypatch, stage: str) -> None:
    to = tmp_path / "sounds"
    run(tiny, to, "--instruments", "piano", "--name", "old")
    before, calls = everything(to), []

    def full(*arguments):
        calls.append(arguments)
        if stage == "vorbis" and len(calls) < 2:
            return b"sound"
        raise OSError(28, "No space left on device")

    if stage == "vorbis":
        monkeypatch.setattr(soundfont, "vorbis", full)
    else:
        monkeypatch.setattr("os.replace", full)
    with pytest.raises(OSError, match="No space left"):
        run(tiny, to, "--instruments", "piano,flute", "--name", "new")
    assert calls
    assert everything(to) == before
    assert not list(to.glob(".*"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--licence", " "], "licence is empty"),
        (["--instruments", "piano,kazoo"], "'kazoo'"),
        (["--name", "../x"], "--name"),
        (["--phrases", "0"], "--phrases"),
        (["--seed", "-1"], "--seed"),
    ],
)
def test_a_wrong_option_is_named(tiny: Path, tmp_path: Path, options: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        run(tiny, tmp_path / "sounds", *options)
    assert not (tmp_path / "sounds").exists()


def test_a_licence_is_required(tiny: Path, tmp_path: Path, capsys) -> None:
    with pytest.raises(SystemExit) as caught:
        main([str(tiny), "--to", str(tmp_path / "sounds")])
    assert caught.value.code == 2
    assert "--licence" in capsys.readouterr().err


def test_without_fluidsynth_one_line_says_what_to_install(tiny: Path, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "fluidsynth", None)
    with pytest.raises(InstrecError, match="libfluidsynth3"):
        run(tiny, tmp_path / "sounds")
    assert not (tmp_path / "sounds").exists()
