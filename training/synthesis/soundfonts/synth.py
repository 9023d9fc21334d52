"""Renders scores through a soundfont with FluidSynth: no reverb, chorus, dither or clipping."""

import os
import struct
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from instrec_live.models.arrays import FloatArray
from instrec_live.models.errors import InputFileError, InstrecError
from instrec_live.training.synthesis.soundfonts.general_midi import Preset
from instrec_live.training.synthesis.soundfonts.score import BEND, Score

RATE = 44_100
BLOCK = 64  # samples; FluidSynth acts on events at multiples of it
TAIL = 1.2  # seconds for the last note to die away


class Soundfont:
    """A soundfont, open in FluidSynth.

    Raises:
        InputFileError: not found, not a soundfont, or a damaged one.
        InstrecError: FluidSynth is not installed.
    """

    def __init__(self, path: Path) -> None:
        _check(path)
        self._path, self._fluidsynth = path, _fluidsynth()
        self._synth, self._font = self._fresh()  # kept open, so that FluidSynth keeps the samples in memory
        # pyfluidsynth's own get_samples is 16-bit: it dithers, and clips.
        c_int, c_void_p = self._fluidsynth.c_int, self._fluidsynth.c_void_p
        arguments = [("synth", c_void_p, 1), ("count", c_int, 1)]
        for side in ("left", "right"):
            arguments += [(f"{side}_out", c_void_p, 1), (f"{side}_offset", c_int, 1), (f"{side}_stride", c_int, 1)]
        self._write = self._fluidsynth.cfunc("fluid_synth_write_float", c_int, *arguments)

    def close(self) -> None:
        self._synth.delete()

    def name_of(self, bank: int, program: int) -> str | None:
        """The soundfont's name of a preset, or None if it has no such preset."""
        name: str | None = self._synth.sfpreset_name(self._font, bank, program)
        return name

    def render(self, preset: Preset, score: Score) -> FloatArray:
        """The score, played dry: mono float32 [n] at 44.1 kHz, at the soundfont's level.

        The same score always gives the same samples. A used synthesiser would start notes slightly differently, even
        after a reset (FluidSynth 2.3), so every score gets a new one.
        """
        synth, font = self._fresh()
        try:
            synth.program_select(0, font, preset.bank, preset.program)
            return self._play(synth, score)
        finally:
            synth.delete()

    def _fresh(self) -> tuple[Any, int]:
        """A synthesiser with the soundfont loaded, and the soundfont's number in it."""
        dry = {"synth.reverb.active": 0, "synth.chorus.active": 0, "synth.midi-channels": 16}
        with _suppress_stderr():
            synth = self._fluidsynth.Synth(gain=0.3, samplerate=float(RATE), **dry)
            font = synth.sfload(os.fspath(self._path))
        if font < 0:
            synth.delete()
            raise InputFileError(f"{self._path}: a damaged soundfont", "fetch it again")
        return synth, font

    def _play(self, synth: Any, score: Score) -> FloatArray:
        parts, at = [], 0
        for time, event in _events(score):
            until = round(time * RATE / BLOCK) * BLOCK
            parts.append(self._samples(synth, until - at))
            at = until
            match event:
                case ("on", key, velocity):
                    synth.noteon(0, key, velocity)
                case ("off", key, _):
                    synth.noteoff(0, key)
                case (_, number, cents) if number == BEND:
                    synth.pitch_bend(0, round(cents * 8192 / 200))
                case (_, number, value):
                    synth.cc(0, number, value)
        parts.append(self._samples(synth, round(TAIL * RATE / BLOCK) * BLOCK))
        return np.concatenate(parts)

    def _samples(self, synth: Any, count: int) -> FloatArray:
        out = np.empty((2, count), np.float32)
        self._write(synth.synth, count, out[0].ctypes.data, 0, 1, out[1].ctypes.data, 0, 1)
        return np.asarray(out.mean(0))


def _fluidsynth() -> Any:
    try:
        import fluidsynth
    except (ImportError, OSError) as error:  # the package is missing, or the library that it loads
        raise InstrecError(
            f"FluidSynth cannot be loaded: {error}",
            "pip install 'instrec-live[train]', and the library: apt install libfluidsynth3, brew install fluid-synth",
        ) from error
    return fluidsynth


@contextmanager
def _suppress_stderr() -> Iterator[None]:
    """Discard the messages of FluidSynth and its libraries about a bad file; an error of ours follows."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _check(path: Path) -> None:
    """Check for a RIFF file of form sfbk with the stated length (SoundFont 2.01 §4)."""
    if not path.is_file():
        raise InputFileError(f"{path}: not found", "give a General MIDI soundfont (.sf2, .sf3)")
    with path.open("rb") as handle:
        head = handle.read(12)
    if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"sfbk":
        raise InputFileError(f"{path}: not a soundfont", "give a General MIDI soundfont (.sf2, .sf3)")
    stated, found = struct.unpack("<I", head[4:8])[0] + 8, path.stat().st_size
    if found < stated:
        raise InputFileError(f"{path}: truncated, {found:,} of {stated:,} bytes", "fetch it again")


def _events(score: Score) -> list[tuple[float, tuple[str, int, int]]]:
    """Events by time; at equal times, notes end first, then controls change, then notes start."""
    events = [(n.time + n.duration, 0, ("off", n.key, 0)) for n in score.notes]
    events += [(c.time, 1, ("control", c.number, c.value)) for c in score.controls]
    events += [(n.time, 2, ("on", n.key, n.velocity)) for n in score.notes]
    return [(time, event) for time, _, event in sorted([*events, (score.seconds, 3, ("control", BEND, 0))])]
