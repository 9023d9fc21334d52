"""Sound that is not music shows no instrument: silence, noise, a room, applause, and speech (may show a voice)."""

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

RATE, SECONDS = 32_000, 30
SPEECH = (
    "Good evening. The orchestra has left the hall, and nobody is playing any more. The caretaker walks along the "
    "rows, picks up a programme here, a forgotten glove there, and tells the usher about the weather in the north. "
    "Tomorrow there will be snow, they say, and the trains will be late again. At ten the doors are locked."
)


def dbfs(samples: NDArray[np.float64], level: float) -> NDArray[np.float64]:
    return samples * 10 ** (level / 20) / np.sqrt(np.mean(np.square(samples)))


def coloured(rng: np.random.Generator, exponent: float) -> NDArray[np.float64]:
    """Noise whose power goes with frequency to this exponent."""
    count = RATE * SECONDS
    hz = np.maximum(np.fft.rfftfreq(count, 1 / RATE), 20)
    return np.fft.irfft(np.fft.rfft(rng.standard_normal(count)) * hz ** (exponent / 2), count)


def applause(rng: np.random.Generator) -> NDArray[np.float64]:
    """Sixty people, each clapping three to five times a second: bursts of noise of some ms about 1 kHz."""
    out = np.zeros(RATE * SECONDS)
    for _ in range(60):
        length = int(rng.uniform(0.008, 0.03) * RATE)
        at = np.arange(length) / RATE
        clap = rng.standard_normal(length) * np.exp(-at * rng.uniform(120, 400))
        clap = np.convolve(clap, np.sin(2 * np.pi * rng.uniform(700, 2000) * np.arange(64) / RATE) * np.hanning(64))
        every, when = 1 / rng.uniform(3, 5), rng.uniform(0, 0.3)
        while when < SECONDS - 0.1:
            start = int(when * RATE)
            piece = clap[: len(out) - start] * rng.uniform(0.5, 1)
            out[start : start + len(piece)] += piece
            when += every * rng.normal(1, 0.07)
    return out


def room(rng: np.random.Generator) -> NDArray[np.float64]:
    """A quiet room: brown noise, mains hum, a fan, a creak now and then."""
    at = np.arange(RATE * SECONDS) / RATE
    out = dbfs(coloured(rng, -2), -58) + dbfs(coloured(rng, -1), -64)
    out += 10 ** (-66 / 20) * (np.sin(2 * np.pi * 50 * at) + 0.4 * np.sin(2 * np.pi * 150 * at))
    for when in rng.uniform(0, SECONDS - 1, 5):
        start, length = int(when * RATE), int(0.08 * RATE)
        out[start : start + length] += 0.004 * rng.standard_normal(length) * np.exp(-np.arange(length) / 500)
    return out


SOUNDS = {
    "silence": lambda rng: np.zeros(RATE * SECONDS),
    "faint hiss": lambda rng: dbfs(coloured(rng, 0), -75),
    "white noise": lambda rng: dbfs(coloured(rng, 0), -25),
    "pink noise": lambda rng: dbfs(coloured(rng, -1), -25),
    "brown noise": lambda rng: dbfs(coloured(rng, -2), -30),
    "room": room,
    "applause": lambda rng: dbfs(applause(rng), -22),
}


def shares(path: Path) -> dict[str, float]:
    """The share of all updates in which the program shows each instrument as active."""
    command = [sys.executable, "-m", "instrec_live.realtime", "--file", str(path), "--no-ui", "--json", "--pace", "max"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    updates = [u for u in map(json.loads, done.stdout.splitlines()) if u["type"] == "update"]
    assert len(updates) > SECONDS
    counts = Counter(name for update in updates for name in update["active"])
    return {name: count / len(updates) for name, count in counts.items()}


@pytest.mark.parametrize("name", SOUNDS)
def test_no_instrument_is_shown(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / "sound.wav", SOUNDS[name](np.random.default_rng(1)), RATE)
    assert {k: v for k, v in shares(tmp_path / "sound.wav").items() if v > 0.02} == {}


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="speech is spoken by espeak-ng, which is not installed")
@pytest.mark.parametrize("voice", ["en-us", "en-gb+f3", "de+m3"])
def test_speech_shows_at_most_a_voice(tmp_path: Path, voice: str) -> None:
    command = ["espeak-ng", "-v", voice, "-s", "150", "-w", str(tmp_path / "speech.wav"), SPEECH]
    subprocess.run(command, check=True)
    shown = {k: v for k, v in shares(tmp_path / "speech.wav").items() if v > 0.02 and k != "voice"}
    assert shown == {}
