"""General MIDI: which presets of a soundfont, and which keys of a drum kit, are which instrument.

Programs count from 0, keys are MIDI keys (60 is middle C). Source: General MIDI System Level 1 (MMA, 1991); kits and
variation banks are Roland GS's. Programs that could be either of two of our instruments are left out, since every label
must be exact: harpsichord and clavinet (6, 7), celesta and music box (8, 10), tubular bells and dulcimer (14, 15),
synth basses (38, 39), viola (41), the bowed double bass (43), synthetic voices (54, 85, 91, 94), orchestral and effect
kits. Distractors (training.data.sounds) are none of the 20.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

PROGRAMS: dict[str, tuple[int, ...]] = {
    "accordion": (21, 23),
    "banjo": (105,),
    "bass": (32, 33, 34, 35, 36, 37),
    "cello": (42,),
    "clarinet": (71,),
    "flute": (73, 72),
    "guitar": (24, 25, 26, 27, 28, 29, 30, 31),
    "mallet_percussion": (11, 12, 13, 9),
    "organ": (16, 17, 18, 19, 20),
    "piano": (0, 1, 2, 3, 4, 5),
    "saxophone": (64, 65, 66, 67),
    "synthesizer": (80, 81, 90, 62, 50, 88, 89, 63, 51, 82, 84, 86, 87, 92, 93, 95, 96, 98, 99, 100, 101, 102, 103),
    "trombone": (57,),
    "trumpet": (56, 59),
    "violin": (40, 110),
    "voice": (52, 53),
    # Distractors.
    "bassoon": (70,),
    "french_horn": (60,),
    "harmonica": (22,),
    "harp": (46,),
    "oboe": (68, 69),
    "tuba": (58,),
}
# Only in variation banks, whose numbers differ (GS: 8 for the ukulele, 16 for the mandolin), so the name decides.
VARIATIONS = {"mandolin": (25, re.compile(r"mandol", re.I)), "ukulele": (24, re.compile(r"\buk[eu]", re.I))}
KIT_BANK = 128
KIT_ALONE = re.compile(r"kit|drum|\dpc", re.I)  # a soundfont with a single kit has it at bank 0, program 0
KITS = (0, 8, 16, 24, 25, 32, 40)  # standard, room, power, electronic, TR-808, jazz, brush

KICKS, SNARES, SIDE_STICK, TOMS = (36, 35), (38, 40), 37, (50, 48, 47, 45, 43, 41)  # toms from high to low
CLOSED_HAT, PEDAL_HAT, OPEN_HAT, RIDES, RIDE_BELL = 42, 44, 46, (51, 59), 53
CRASHES, CHINA, SPLASH = (49, 57), 52, 55

COMPASS: dict[str, tuple[int, int]] = {
    "accordion": (53, 89),
    "banjo": (48, 84),
    "bass": (28, 55),
    "cello": (36, 76),
    "clarinet": (50, 89),
    "flute": (60, 96),
    "guitar": (40, 83),
    "mallet_percussion": (53, 89),
    "mandolin": (55, 88),
    "organ": (36, 91),
    "piano": (28, 100),
    "saxophone": (49, 80),
    "synthesizer": (36, 91),
    "trombone": (40, 72),
    "trumpet": (54, 84),
    "ukulele": (60, 84),
    "violin": (55, 96),
    "voice": (43, 79),
    "bassoon": (34, 72),
    "french_horn": (41, 77),
    "harmonica": (60, 91),
    "harp": (36, 96),
    "oboe": (58, 88),
    "tuba": (28, 58),
}
# Programs of another size of the instrument: glockenspiel, marimba, xylophone, guitar harmonics, the
# saxophones, piccolo.
COMPASS_OF_PROGRAM: dict[int, tuple[int, int]] = {
    9: (72, 103), 12: (45, 91), 13: (65, 103), 31: (52, 86),
    64: (56, 87), 65: (49, 80), 66: (44, 75), 67: (36, 68), 72: (74, 103),
}  # fmt: skip


class Preset(NamedTuple):
    """A preset of a soundfont, with the soundfont's name of it."""

    bank: int
    program: int
    name: str


def presets_of(instrument: str, name_of: Callable[[int, int], str | None]) -> list[Preset]:
    """The soundfont's presets of this instrument.

    Args:
        name_of: (bank, program) -> the preset's name, or None if the soundfont has no such preset.
    """
    if instrument in VARIATIONS:
        program, word = VARIATIONS[instrument]
        named = [(bank, program, name_of(bank, program)) for bank in range(1, KIT_BANK)]
        return [Preset(bank, program, name) for bank, program, name in named if name and word.search(name)]
    if instrument in ("drums", "cymbals"):
        alone = name_of(0, 0)
        places = [(0, 0)] if alone and KIT_ALONE.search(alone) else [(KIT_BANK, kit) for kit in KITS]
    else:
        places = [(0, program) for program in PROGRAMS[instrument]]
    return [Preset(bank, program, name) for bank, program in places if (name := name_of(bank, program)) is not None]


def compass_of(instrument: str, program: int) -> tuple[int, int] | None:
    """Lowest and highest key of a preset; None for unpitched percussion."""
    if instrument in PROGRAMS and program in COMPASS_OF_PROGRAM:
        return COMPASS_OF_PROGRAM[program]
    return COMPASS.get(instrument)
