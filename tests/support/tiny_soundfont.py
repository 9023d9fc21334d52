"""A soundfont of a few kilobytes with real sound in it, for tests that render (SoundFont 2.01 technical specification).

Tuned presets are a tone of a few harmonics, looped, true to pitch at every key. A kit has a burst of dull noise at the
keys of the drums, and of bright noise at the keys of the cymbals.
"""

import struct
from pathlib import Path

import numpy as np

from instrec_live.training.synthesis.soundfonts.general_midi import (
    CHINA,
    CLOSED_HAT,
    CRASHES,
    OPEN_HAT,
    PEDAL_HAT,
    RIDE_BELL,
    RIDES,
    SPLASH,
)

RATE = 44_000  # 100 samples a period at 440 Hz
ROOT = 69
CYMBALS = {CLOSED_HAT, PEDAL_HAT, OPEN_HAT, RIDE_BELL, CHINA, SPLASH, *RIDES, *CRASHES}
KEY_RANGE, INSTRUMENT, SAMPLE, LOOP, ROOT_KEY = 43, 41, 53, 54, 58  # generators

# (bank, program, name): amplitudes of the harmonics, or None for a kit. The accordion has no sound in it; the ukulele
# is where Roland GS has it, and what lies in the mandolin's place is none.
TINY = {
    (0, 0, "Grand Piano"): (0.3, 0.6, 0.1),
    (0, 21, "Accordion"): (0.0,),
    (0, 73, "Flute"): (0.8,),
    (8, 24, "Ukulele"): (0.5, 0.2, 0.1, 0.1),
    (16, 25, "12-String Guitar"): (0.5, 0.4),
    (128, 0, "Standard"): None,
}


def tone(harmonics: tuple[float, ...]) -> np.ndarray:
    """0.1 s at 440 Hz."""
    t = np.arange(RATE // 10) / RATE
    return sum(a * np.sin(2 * np.pi * 440 * (h + 1) * t) for h, a in enumerate(harmonics))


def burst(low_hz: float, high_hz: float) -> np.ndarray:
    """0.2 s of noise between two frequencies, dying away."""
    noise = np.fft.rfft(np.random.default_rng(0).standard_normal(RATE // 5))
    hz = np.fft.rfftfreq(RATE // 5, 1 / RATE)
    sound = np.fft.irfft(noise * ((hz > low_hz) & (hz < high_hz)))
    return 0.8 * sound / np.abs(sound).max() * np.exp(-np.arange(len(sound)) / (0.05 * RATE))


def write_soundfont(path: Path, presets=TINY) -> Path:
    """Write the presets as a valid .sf2 file."""
    samples: list[np.ndarray] = []
    zones: list[list[tuple[int, int, int, bool]]] = []  # of each instrument: low key, high key, sample, looped
    for harmonics in presets.values():
        if harmonics:
            zones.append([(0, 127, len(samples), True)])
            samples.append(tone(harmonics))
        else:
            zones.append([(key, key, len(samples) + (key in CYMBALS), False) for key in range(35, 60)])
            samples += [burst(50, 800), burst(4000, 12000)]
    path.write_bytes(_riff(presets, zones, samples))
    return path


def _riff(presets, zones, samples) -> bytes:
    info = _chunk(b"ifil", struct.pack("<HH", 2, 1)) + _chunk(b"isng", b"EMU8000\0") + _chunk(b"INAM", b"tiny\0\0")
    audio = b"".join((s * 32767).astype("<i2").tobytes() + bytes(2 * 46) for s in samples)
    body = (
        _list(b"INFO", info) + _list(b"sdta", _chunk(b"smpl", audio)) + _list(b"pdta", _hydra(presets, zones, samples))
    )
    return _chunk(b"RIFF", b"sfbk" + body)


def _hydra(presets, zones, samples) -> bytes:
    phdr = [(name, program, bank, i) for i, (bank, program, name) in enumerate(presets)] + [("EOP", 0, 0, len(presets))]
    pgen = [(INSTRUMENT, i) for i in range(len(presets))] + [(0, 0)]
    inst, ibag, igen = [], [], []
    for i, of_instrument in enumerate(zones):
        inst.append((f"instrument {i}", len(ibag)))
        for low, high, sample, looped in of_instrument:
            ibag.append(len(igen))
            igen += [(KEY_RANGE, low | high << 8), (LOOP, int(looped)), (ROOT_KEY, ROOT if looped else low)]
            igen.append((SAMPLE, sample))
    inst.append(("EOI", len(ibag)))
    ibag.append(len(igen))
    shdr, at = b"", 0
    for i, s in enumerate(samples):
        # loops over whole periods, well inside the sample
        shdr += struct.pack(
            "<20sIIIIIBbHH", b"sample %d" % i, at, at + len(s), at + 1000, at + 3000, RATE, ROOT, 0, 0, 1
        )
        at += len(s) + 46
    return b"".join(
        [
            _chunk(b"phdr", b"".join(struct.pack("<20sHHHIII", n.encode(), p, b, i, 0, 0, 0) for n, p, b, i in phdr)),
            _chunk(b"pbag", b"".join(struct.pack("<HH", i, 0) for i in range(len(presets) + 1))),
            _chunk(b"pmod", bytes(10)),
            _chunk(b"pgen", b"".join(struct.pack("<HH", *g) for g in pgen)),
            _chunk(b"inst", b"".join(struct.pack("<20sH", n.encode(), i) for n, i in inst)),
            _chunk(b"ibag", b"".join(struct.pack("<HH", i, 0) for i in ibag)),
            _chunk(b"imod", bytes(10)),
            _chunk(b"igen", b"".join(struct.pack("<HH", *g) for g in [*igen, (0, 0)])),
            _chunk(b"shdr", shdr + struct.pack("<20sIIIIIBbHH", b"EOS", 0, 0, 0, 0, 0, 0, 0, 0, 0)),
        ]
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    return kind + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def _list(kind: bytes, content: bytes) -> bytes:
    return _chunk(b"LIST", kind + content)
