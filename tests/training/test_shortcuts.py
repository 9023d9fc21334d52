"""No shortcut betrays a synthetic clip: a probe that tells the paper's mixtures from recordings at once is at a loss
before our scenes, be they of notes sampled at 16 kHz, 4 s long, peak-normalised, with digital silence after them."""

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import soundfile
import soxr

pytest.importorskip("sklearn", reason="training needs the [train] extra")
pytest.importorskip("tqdm", reason="training needs the [train] extra")

from shortcuts import CUES, FLOOR, FRAMES, cues, paper_mixture, probe

from instrec_live.models.logmel import SAMPLE_RATE, log_mel
from instrec_live.training.synthesis import phrases
from instrec_live.training.synthesis.channel import channel, channel_of_log, log_of
from instrec_live.training.synthesis.scenes.mixer import Phrases, Scenes

INSTRUMENTS = ("piano", "guitar", "flute", "violin", "trumpet", "cello")
CLIPS = 160
# Of two kinds that are the same, an AUC of 160 + 160 clips has a standard error of .032. So .65 is between four and
# five of them from chance, and far from what a shortcut gives.
BOUND, TOLD = 0.65, 0.95


def note(rng: np.random.Generator, bright: float, seconds: float) -> np.ndarray:
    """A note of an instrument of some brightness, full band: harmonics that die the sooner the higher, and breath."""
    t = np.arange(int(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    pitch, slope, decay = 150 * 2 ** rng.uniform(0, 3), rng.normal(9, 2) - bright, rng.uniform(0.3, 2.5)
    turn = np.exp((2j * np.pi * pitch - 0.08 * decay) * t).astype(np.complex64)
    partial, sound = np.exp(-decay * t).astype(np.complex64), np.zeros(len(t), np.complex64)
    for n in range(1, int(15_900 / pitch) + 1):
        partial *= turn
        sound += (
            np.complex64(10 ** ((-slope * np.log2(n) + rng.normal(0, 3)) / 20) * np.exp(1j * rng.uniform(0, 6)))
            * partial
        )
    breath = rng.standard_normal(len(t)) * np.exp(-decay * t)
    mix = sound.real / sound.real.std() + 10 ** (rng.uniform(-50, -30) / 20) * breath / breath.std()
    return (mix * np.minimum(1, t / rng.uniform(0.004, 0.08)) * np.minimum(1, (seconds - t) / 0.05)).astype(np.float32)


def tune(notes: list[np.ndarray], rng: np.random.Generator) -> np.ndarray:
    """A few seconds of playing, one note after another, here and there a rest; it may begin late or end early."""
    out, stop = np.zeros(FRAMES * 320, np.float32), FRAMES * 320
    at = int(rng.uniform(0, 0.8) * stop) if rng.random() < 0.3 else 0
    stop = int(rng.uniform(0.3, 1) * stop) if rng.random() < 0.3 else stop
    while at < stop:
        played = notes[int(rng.integers(len(notes)))][: int(rng.uniform(0.2, 1.0) * SAMPLE_RATE)].copy()
        played[-800:] *= np.linspace(1, 0, 800, dtype=np.float32)
        out[at : at + len(played)] += played[: len(out) - at] * np.float32(10 ** (rng.normal(0, 2.5) / 20))
        at += int(len(played) * rng.uniform(0.8, 1.1)) * (2 if rng.random() < 0.08 else 1)
    return out


def recordings(rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Stand-ins for them: one to three players, each with notes of its own, in a room that is not silent."""
    players = [[note(rng, bright, 1.0) for _ in range(6)] for bright in rng.normal(0, 2, 12)]
    while True:
        band = [
            tune(players[i], rng) * 10 ** (rng.uniform(-14, 0) / 20) for i in rng.permutation(12)[: rng.integers(1, 4)]
        ]
        mix = np.sum(band, 0)
        room = np.cumsum(rng.standard_normal(len(mix))) * 1e-3 + rng.standard_normal(len(mix))
        mix = mix / (mix.std() + 1e-9) + 10 ** (rng.uniform(-60, -35) / 20) * room / room.std()
        yield (mix * 10 ** (rng.uniform(-32, -16) / 20)).astype(np.float32)


def sounds(root: Path, low_rate: bool) -> list[np.ndarray]:
    """A folder of notes for training.synthesis.phrases, as NSynth's are or as they were played; the notes at 32 kHz."""
    rng, rows, notes = np.random.default_rng(0), [], []
    for instrument in INSTRUMENTS:
        folder, bright = root / instrument / "made", rng.normal(0, 2)
        folder.mkdir(parents=True)
        for i in range(6):
            played = note(rng, bright, 3.0)
            if low_rate:
                played = soxr.resample(np.pad(played, (0, SAMPLE_RATE)), SAMPLE_RATE, 16_000)
                played[48_000:] = 0
                played /= np.abs(played).max()
                soundfile.write(folder / f"{i}.wav", played, 16_000)
                played = soxr.resample(played, 16_000, SAMPLE_RATE)
            else:
                played = 0.05 * played + 1e-4 * rng.standard_normal(len(played)).astype(np.float32)
                soundfile.write(folder / f"{i}.wav", played, SAMPLE_RATE)
            notes.append(played)
        rows.append({"source": "made", "licence": "CC0-1.0", "package": "made here", "class": instrument,
                     "n_files": 6, "seconds": 24, "kind": "notes"})  # fmt: skip
    with (root / "sources.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return notes


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """The cues of every kind of clip, [CLIPS, cues]."""
    root, rng, out = tmp_path_factory.mktemp("shortcuts"), np.random.default_rng(1), {}
    for name, low_rate in (("low", True), ("full", False)):
        notes = sounds(root / name, low_rate)
        with pytest.MonkeyPatch.context() as patch:
            argv = ["phrases", "--sounds", root / name, "--to", root / f"{name}_phrases", "--count", 48, "--workers", 1]
            patch.setattr("sys.argv", [str(arg) for arg in argv])
            phrases.main()
        supply = Scenes(Phrases(root / f"{name}_phrases"), polyphony=(0, 1, 1, 1))
        mixes = [supply.mix(rng, FRAMES)[0] for _ in range(CLIPS)]
        out[name] = np.array([cues(channel(mix, rng)) for mix in mixes])
        out[f"bare {name}"] = np.array([cues(log_of(mix)) for mix in mixes])
        if low_rate:
            out["paper"] = np.array([cues(log_mel(paper_mixture(notes, rng))) for _ in range(CLIPS)])
    found = [log_mel(samples) for samples in islice(recordings(rng), CLIPS)]
    out["bare recordings"] = np.array([cues(mel) for mel in found])
    out["recordings"] = np.array([cues(channel_of_log(mel, rng)) for mel in found])
    return out


def test_the_probe_works(tables: dict[str, np.ndarray]) -> None:
    """The control: it tells the paper's mixtures from recordings, and our scenes too before they took the channel."""
    assert probe(tables["paper"], tables["bare recordings"])["auc"] >= TOLD
    assert probe(tables["bare low"], tables["bare recordings"])["auc"] >= 0.8


@pytest.mark.parametrize(("one", "other"), [("low", "recordings"), ("full", "recordings"), ("low", "full")])
def test_the_probe_cannot_tell(tables: dict[str, np.ndarray], one: str, other: str) -> None:
    told = probe(tables[one], tables[other])
    assert told["auc"] <= BOUND, told


def test_cues_say_what_they_say() -> None:
    rng = np.random.default_rng(0)
    hiss = (0.1 * rng.standard_normal(FRAMES * 320)).astype(np.float32)
    named = dict(zip(CUES, cues(log_mel(hiss)), strict=True))
    assert named["reach"] == 127
    assert named["silence"] == 0
    assert named["floor"] < 1e-3
    assert named["repetition"] < 0.5
    assert abs(named["level"] + 20) < 0.5
    dull = soxr.resample(soxr.resample(hiss, SAMPLE_RATE, 16_000), 16_000, SAMPLE_RATE)
    assert dict(zip(CUES, cues(log_mel(dull)), strict=True))["treble"] < named["treble"] - 30
    looped = np.tile(hiss[: 2 * SAMPLE_RATE], 3)[: len(hiss)]
    assert dict(zip(CUES, cues(log_mel(looped)), strict=True))["repetition"] > 0.99
    hiss[SAMPLE_RATE:] = 0
    assert dict(zip(CUES, cues(log_mel(hiss)), strict=True))["silence"] == pytest.approx(0.8, abs=0.02)
    assert log_mel(hiss).min() == pytest.approx(FLOOR, abs=1e-4)
