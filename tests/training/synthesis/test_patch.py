"""The synthesiser of our own: in tune, band-limited, and never the same twice."""

import csv
from pathlib import Path

import numpy as np
import pytest
import soundfile

pytest.importorskip("tqdm", reason="training needs the [train] extra")

from instrec_live.models.errors import UsageError
from instrec_live.training.data import __main__ as datasets
from instrec_live.training.data.sounds import read_sources
from instrec_live.training.synthesis.soundfonts.patch import Patch, draw_patch, play
from instrec_live.training.synthesis.soundfonts.playing import phrase
from instrec_live.training.synthesis.soundfonts.score import BEND, Control, Note, draw_tune, score_of
from instrec_live.training.synthesis.soundfonts.synth import RATE

PLAIN = Patch("saw", 1, 0.0, False, 0.5, 1.0, 0.0, 0.0, 12_000.0, 0.0, 0.7, 0.005, 0.1, 1.0, 0.05, 0.0, 1.0, 0.0, 0.0,
              0.0, False)  # fmt: skip


def spectrum(samples: np.ndarray) -> np.ndarray:
    """dB below the loudest, of one second, a bin a Hz."""
    power = np.abs(np.fft.rfft(samples[:RATE] * np.hanning(RATE))) ** 2
    return 10 * np.log10(power / power.max() + 1e-12)


@pytest.mark.parametrize("wave", ["saw", "pulse", "triangle", "fm"])
def test_a_note_sounds_at_its_pitch_and_its_overtones_alone(wave: str) -> None:
    patch = Patch(**{name: getattr(PLAIN, name) for name in PLAIN.__slots__} | {"wave": wave})
    score = score_of([Note(0.0, 1.2, 93, 110)], [], 1.2)
    db = spectrum(play(patch, score, 120, np.random.default_rng(0))[RATE // 10 :])
    f0 = 440 * 2 ** ((93 - 69) / 12)
    assert abs(int(db.argmax()) - f0) <= 1
    between = [hz for hz in range(300, 12_000) if min(hz % f0, f0 - hz % f0) > 60]
    assert db[between].max() < -35  # of a saw without polyBLEP, aliases lie at -25


def test_a_bend_bends_and_a_released_note_ends() -> None:
    score = score_of([Note(0.0, 1.5, 69, 100)], [Control(0.0, BEND, 100)], 3.0)
    out = play(PLAIN, score, 120, np.random.default_rng(0))
    assert abs(int(spectrum(out[: RATE + 10]).argmax()) - 440 * 2 ** (1 / 12)) <= 1
    assert np.abs(out[round(1.6 * RATE) :]).max() == 0


def test_every_patch_plays_every_score() -> None:
    heard = set()
    for seed in range(40):
        rng = np.random.default_rng(seed)
        tune, patch = draw_tune(rng), draw_patch(rng)
        out = play(patch, phrase("synthesizer", tune, rng, 4.0), tune.tempo, rng)
        assert out.dtype == np.float32
        assert np.isfinite(out).all()
        assert np.sqrt(np.mean(np.square(out))) > 1e-3
        heard.add(patch)
    assert len(heard) == 40


def test_the_command_adds_a_source_once_and_the_same_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for folder in ("one", "two"):
        datasets.main(["synthesizer", "--to", str(tmp_path / folder), "--phrases", "2"])
    assert capsys.readouterr().out.startswith(f"{tmp_path / 'one'}: 2 phrases as generated (CC0-1.0)")
    (source,) = read_sources(tmp_path / "one")
    assert (source.instrument, source.kind, source.licence) == ("synthesizer", "rendered phrases", "CC0-1.0")
    for path in source.files:
        samples, rate = soundfile.read(path)
        again, _ = soundfile.read(tmp_path / "two" / path.relative_to(tmp_path / "one"))
        assert rate == RATE
        assert 8 < len(samples) / rate <= 20
        np.testing.assert_array_equal(samples, again)
    with (tmp_path / "one" / "sources.csv").open(newline="") as handle:
        assert len(list(csv.DictReader(handle))) == 1
    with pytest.raises(UsageError, match="already there"):
        datasets.main(["synthesizer", "--to", str(tmp_path / "one"), "--phrases", "2"])


@pytest.mark.parametrize(("options", "words"), [(["--name", "../x"], "--name"), (["--phrases", "0"], "--phrases")])
def test_a_wrong_option_is_named(tmp_path: Path, options: list[str], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        datasets.main(["synthesizer", "--to", str(tmp_path / "sounds"), *options])
    assert not (tmp_path / "sounds").exists()
