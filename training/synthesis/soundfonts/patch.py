"""Phrases of random synthesiser patches, as a folder of single-instrument sound.

    python -m training.data synthesizer --to DIR [--phrases 150] [--name generated] [--seed 0]

It needs no input, and the sounds are free of rights (CC0): each phrase has its own patch. DIR may hold other
sounds already (DIR/sources.csv), which are left unchanged.

Synthesisers differ from each other more than any other instrument, and soundfonts have a few dozen sounds of them. So
patches are generated: detuned saws and pulses, or two-operator FM (Chowning, JAES 1973), through a resonant low-pass
filter that opens and closes with each note (subtractive synthesis), with chorus, echo and drive. Saws and pulses are
band-limited by polyBLEP (Välimäki & Huovilainen, IEEE Signal Proc. Mag. 2007).
"""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.signal import lfilter
from tqdm import tqdm

from instrec_live.models.arrays import FloatArray
from instrec_live.models.errors import UsageError
from instrec_live.training.data.sounds import check_free, move_in
from instrec_live.training.staging import scratch_folder
from instrec_live.training.synthesis.soundfonts.playing import phrase
from instrec_live.training.synthesis.soundfonts.render import SECONDS, master, vorbis
from instrec_live.training.synthesis.soundfonts.score import BEND, Score, draw_tune
from instrec_live.training.synthesis.soundfonts.synth import RATE, TAIL

BLOCK = 128  # samples in which a filter is constant
GLIDE = 0.12  # seconds from one pitch to the next, at most


@dataclass(frozen=True, slots=True)
class Patch:
    """One sound.

    Attributes:
        wave: "saw", "pulse", "triangle" or "fm".
        voices: oscillators a note.
        detune: cents between the outermost of them.
        octave: whether every second one sounds an octave below.
        width: of a pulse, 0 … 1; its wobble is `wobble` deep.
        ratio, index: of the FM modulator, and how far it bends the carrier when a note begins.
        noise: level relative to the oscillators.
        cutoff: Hz at rest for a note on middle C; follows the key.
        opening: octaves that the filter opens with a note.
        resonance: Q of the filter.
        attack, decay, sustain, release: seconds, seconds, level, seconds.
        wobble, rate: depth 0 … 1 and Hz of the slow oscillator (on width and cutoff).
        chorus, echo, drive: 0 … 1.
        mono: one note at a time, gliding.
    """

    wave: str
    voices: int
    detune: float
    octave: bool
    width: float
    ratio: float
    index: float
    noise: float
    cutoff: float
    opening: float
    resonance: float
    attack: float
    decay: float
    sustain: float
    release: float
    wobble: float
    rate: float
    chorus: float
    echo: float
    drive: float
    mono: bool


def draw_patch(rng: np.random.Generator) -> Patch:
    """A lead, a pad, a pluck or a stab."""
    role = str(rng.choice(["lead", "pad", "pluck", "stab"], p=[0.3, 0.25, 0.3, 0.15]))
    attack = {"lead": (0.002, 0.05), "pad": (0.15, 0.9), "pluck": (0.001, 0.008), "stab": (0.001, 0.02)}[role]
    sustain = {"lead": (0.5, 1.0), "pad": (0.7, 1.0), "pluck": (0.0, 0.25), "stab": (0.2, 0.7)}[role]
    release = {"lead": (0.03, 0.25), "pad": (0.3, 1.0), "pluck": (0.05, 0.5), "stab": (0.03, 0.2)}[role]

    def often(share: float, low: float, high: float) -> float:
        return float(rng.uniform(low, high)) if rng.random() < share else 0.0

    return Patch(
        wave=str(rng.choice(["saw", "pulse", "triangle", "fm"], p=[0.42, 0.28, 0.08, 0.22])),
        voices=int(rng.choice([1, 2, 3, 7], p=[0.25, 0.4, 0.2, 0.15])),
        detune=float(rng.uniform(4, 35)),
        octave=rng.random() < 0.25,
        width=float(rng.uniform(0.08, 0.5)),
        ratio=float(rng.choice([0.5, 1, 1.41, 2, 3, 3.5, 4, 7])),
        index=float(rng.uniform(0.5, 6)),
        noise=often(0.15, 0.01, 0.15),
        cutoff=float(np.exp(rng.uniform(np.log(250), np.log(9000)))),
        opening=often(0.75, 0.5, 5.0),
        resonance=float(np.exp(rng.uniform(np.log(0.7), np.log(9)))),
        attack=float(rng.uniform(*attack)),
        decay=float(np.exp(rng.uniform(np.log(0.05), np.log(1.2)))),
        sustain=float(rng.uniform(*sustain)),
        release=float(rng.uniform(*release)),
        wobble=often(0.5, 0.05, 0.9),
        rate=float(np.exp(rng.uniform(np.log(0.15), np.log(8)))),
        chorus=often(0.4, 0.2, 0.8),
        echo=often(0.4, 0.15, 0.5),
        drive=often(0.3, 0.2, 1.0),
        mono=role == "lead" and rng.random() < 0.5,
    )


def play(patch: Patch, score: Score, tempo: float, rng: np.random.Generator) -> FloatArray:
    """Render a score, mono float32 [n] at 44.1 kHz; the level is not normalised."""
    out = np.zeros(round((score.seconds + TAIL) * RATE), np.float32)
    bend = np.zeros(len(out) // BLOCK + 2)
    at = np.arange(len(bend)) * BLOCK / RATE
    for control in score.controls:
        if control.number == BEND:
            bend[np.searchsorted(at, control.time) :] = control.value
    before = None
    for note in score.notes:
        start, length = round(note.time * RATE), round((note.duration + patch.release) * RATE)
        length = min(length, len(out) - start)
        cents = np.interp(np.arange(length) + start, at * RATE, bend)
        if patch.mono and before is not None:
            cents += 100 * (before - note.key) * np.exp(-np.arange(length) / (GLIDE / 3 * RATE))
        hertz = 440 * 2 ** ((note.key - 69 + cents / 100) / 12)
        slow = patch.wobble * np.sin(2 * np.pi * patch.rate * (np.arange(length) + start) / RATE)
        sound = _oscillators(patch, hertz, slow, rng) * _envelope(patch, note.duration, length)
        opened = patch.opening * np.exp(-np.arange(length) / (patch.decay * RATE)) * note.velocity / 127
        cutoff = patch.cutoff * 2 ** ((note.key - 60) / 24 + opened + slow)
        out[start : start + length] += _low_pass(sound, cutoff, patch.resonance) * (note.velocity / 127) ** 1.5
        before = note.key
    return _effects(patch, out, tempo)


def _envelope(patch: Patch, duration: float, length: int) -> NDArray[np.float64]:
    at = np.arange(length) / RATE
    level = np.where(
        at < patch.attack,
        at / patch.attack,
        patch.sustain + (1 - patch.sustain) * np.exp(-(at - patch.attack) / patch.decay),
    )
    gone = at > duration
    level[gone] *= np.exp(-5 * (at[gone] - duration) / patch.release)
    level[-64:] *= np.linspace(1, 0, min(64, length))
    return level


def _oscillators(patch: Patch, hertz: NDArray[np.float64], slow: NDArray[np.float64], rng: np.random.Generator) -> (
    NDArray[np.float64]
):  # fmt: skip
    spread = np.linspace(-0.5, 0.5, patch.voices) if patch.voices > 1 else np.zeros(1)
    out = patch.noise * rng.standard_normal(len(hertz))
    for i, cents in enumerate(spread * patch.detune):
        step = hertz * 2 ** (cents / 1200) * (0.5 if patch.octave and i % 2 else 1.0) / RATE
        phase = (np.cumsum(step) + rng.random()) % 1
        if patch.wave == "saw":
            sound = _saw(phase, step)
        elif patch.wave == "pulse":
            width = np.clip(patch.width + 0.4 * slow, 0.05, 0.95)
            sound = _saw(phase, step) - _saw((phase + width) % 1, step) + 2 * width - 1
        elif patch.wave == "triangle":
            sound = 4 * np.abs(phase - 0.5) - 1
        else:
            index = patch.index * np.exp(-np.arange(len(step)) / (patch.decay * RATE)) + 0.2
            modulator = np.sin(2 * np.pi * patch.ratio * np.cumsum(step))
            sound = np.sin(2 * np.pi * phase + index * modulator)
        out += sound / np.sqrt(patch.voices)
    return np.asarray(out)


def _saw(phase: NDArray[np.float64], step: NDArray[np.float64]) -> NDArray[np.float64]:
    """A saw with its step smoothed over two samples (polyBLEP)."""
    saw = 2 * phase - 1
    rising, falling = phase < step, phase > 1 - step
    t = phase[rising] / step[rising]
    saw[rising] -= 2 * t - t * t - 1
    t = (phase[falling] - 1) / step[falling]
    saw[falling] -= t * t + 2 * t + 1
    return saw


def _low_pass(sound: NDArray[np.float64], cutoff: NDArray[np.float64], q: float) -> NDArray[np.float64]:
    """Second-order resonant low-pass (Bristow-Johnson's cookbook) with a cutoff [Hz] per block."""
    out, state = np.empty_like(sound), np.zeros(2)
    for start in range(0, len(sound), BLOCK):
        w = 2 * np.pi * min(max(float(cutoff[start]), 40.0), 0.45 * RATE) / RATE
        alpha, cosine = np.sin(w) / (2 * q), np.cos(w)
        b = np.array([(1 - cosine) / 2, 1 - cosine, (1 - cosine) / 2]) / (1 + alpha)
        a = np.array([1.0, -2 * cosine / (1 + alpha), (1 - alpha) / (1 + alpha)])
        out[start : start + BLOCK], state = lfilter(b, a, sound[start : start + BLOCK], zi=state)
    return out


def _effects(patch: Patch, sound: FloatArray, tempo: float) -> FloatArray:
    wet: NDArray[np.floating] = sound
    if patch.drive:
        level = np.abs(sound).max() + 1e-9
        wet = np.tanh(sound / level * (1 + 8 * patch.drive)) * level
    at = np.arange(len(sound))
    if patch.chorus:
        moving = at - RATE * (0.012 + 0.004 * np.sin(2 * np.pi * 0.6 * at / RATE))
        wet = wet + patch.chorus * np.interp(moving, at, wet, left=0.0)
    if patch.echo:
        gap, echo = round(0.75 * 60 / tempo * RATE), wet
        for _ in range(3):
            echo = patch.echo * np.concatenate([np.zeros(gap, np.float32), echo])[: len(sound)]
            wet = wet + echo
    return np.asarray(wet, np.float32)


INSTRUMENT = "synthesizer"


def generate(to: Path, name: str, count: int, seed: int) -> None:
    """Add a source of generated phrases to a folder of sounds, completely or not at all. A phrase depends on the seed
    and its number alone.

    Raises:
        UsageError: a source of that name exists already.
    """
    check_free(to, name, [INSTRUMENT])
    seconds = 0.0
    with scratch_folder(to, "synthesizer", busy=f"{to}: another run is adding to it") as partial:
        folder = partial / INSTRUMENT
        folder.mkdir(parents=True)
        for i in tqdm(range(count), unit="phrase", disable=None):
            rng = np.random.default_rng((seed, i))
            tune = draw_tune(rng)
            score = phrase(INSTRUMENT, tune, rng, rng.uniform(*SECONDS))
            samples = master(play(draw_patch(rng), score, tune.tempo, rng))
            (folder / f"{i:03d}.ogg").write_bytes(vorbis(samples))
            seconds += len(samples) / RATE
        licence, package = "CC0-1.0", "generated by training.synthesis.soundfonts.patch"
        move_in(partial, to, name, [[name, licence, package, INSTRUMENT, count, f"{seconds:.1f}", "rendered phrases"]])


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m training.data synthesizer",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--to", type=Path, required=True, help="the folder of sounds to add to, or a new one")
    parser.add_argument("--name", default="generated", help="name of the source (default: generated)")
    parser.add_argument("--phrases", type=int, default=150, help="number of phrases (default: 150)")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args(argv)
    if not re.fullmatch(r"[\w-][\w.-]*", args.name):
        raise UsageError(f"--name {args.name!r}: letters, digits, '_', '-' and '.' only")
    if args.phrases < 1 or args.seed < 0:
        raise UsageError("--phrases must be at least 1, and --seed at least 0")
    generate(args.to, args.name, args.phrases, args.seed)
    print(f"{args.to}: {args.phrases:,} phrases as {args.name} (CC0-1.0)")
