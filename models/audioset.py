"""AudioSet's classes that this program knows by name: for its 20 instruments, other instruments, and kinds of sound.

The numbers are rows of AudioSet's 527 classes in their published order (Gemmeke et al., "Audio Set: an ontology and
human-labeled dataset for audio events", ICASSP 2017); after them come the rows of `FITTED`.
"""

from instrec_live.models.instruments import INSTRUMENTS

CLASSES = 527

# Instruments of bands and orchestras that are none of the 20, and that AudioSet lacks or recognises badly: their
# rows are fitted (training.learning.distractors).
FITTED: tuple[str, ...] = ("bassoon", "french_horn", "harmonica", "harp", "oboe", "tuba")

INSTRUMENT_ROWS: dict[str, tuple[int, ...]] = {
    "accordion": (209,),
    "banjo": (147,),
    "bass": (142, 194),  # bass guitar, double bass
    "cello": (193,),
    "clarinet": (198,),
    "cymbals": (171, 172),  # cymbal, hi-hat
    "drums": (162, 164, 165, 168),  # drum kit, drum, snare drum, bass drum
    "flute": (196,),
    "guitar": (140, 141, 143, 144),  # guitar, electric guitar, acoustic guitar, steel guitar
    "mallet_percussion": (179, 180, 181, 182),  # mallet percussion, marimba and xylophone, glockenspiel, vibraphone
    "mandolin": (149,),
    "organ": (155, 156, 157),  # organ, electronic organ, Hammond organ
    "piano": (153, 154, 152),  # piano, electric piano, keyboard
    "saxophone": (197,),
    "synthesizer": (158, 159),  # synthesizer, sampler
    "trombone": (188,),
    "trumpet": (187,),
    "ukulele": (151,),
    "violin": (191,),
    "voice": (27, 28, 254),  # singing, choir, vocal music
}

KIND_ROWS: dict[str, tuple[int, ...]] = {
    "music": (137, 138),  # music, musical instrument
    "speech": (0, 1, 2, 3, 4, 5),  # speech of men, women, children; conversation; narration
    "applause": (63, 66, 67, 69),  # clapping, cheering, applause, crowd
    # noise (environmental, white, pink), static, hiss, hum, wind, rain, water, vehicle, engine
    "noise": (84, 283, 288, 289, 300, 343, 496, 513, 514, 515, 520, 521),
    "silence": (500,),
}

# Sound that is no music. While one of these leads music, instruments are suppressed.
NOT_MUSIC: tuple[str, ...] = ("speech", "applause", "noise")

OTHER_INSTRUMENT_ROWS: dict[str, tuple[int, ...]] = {
    **{name: (CLASSES + i,) for i, name in enumerate(FITTED)},
    "bagpipes": (210,),
    "sitar": (148,),
    "harpsichord": (160,),
    "zither": (150,),
    "steelpan": (183,),
    "timpani": (169,),
    "tabla": (170,),
    "tambourine": (174,),
    "gong": (177,),
    "bell": (178, 200, 201, 202, 205, 206),  # tubular, church and jingle bells, chimes
    "theremin": (213,),
    "didgeridoo": (211,),
    "singing_bowl": (214,),
    "scratching": (215,),
    "whistling": (40,),
    "beatboxing": (218,),
}

# The instruments of the 20 that each of them would be taken for.
RESEMBLING: dict[str, tuple[str, ...]] = {
    "bassoon": ("saxophone", "trombone", "organ", "cello", "accordion", "synthesizer"),
    "french_horn": ("trombone", "trumpet", "flute", "saxophone", "clarinet", "organ", "synthesizer"),
    "harmonica": ("accordion", "violin", "organ", "saxophone", "clarinet", "flute", "trumpet", "voice", "synthesizer"),
    "harp": ("piano", "guitar", "mallet_percussion", "mandolin", "ukulele", "banjo", "bass", "synthesizer"),
    "oboe": ("clarinet", "saxophone", "flute", "trumpet", "violin", "organ", "accordion", "synthesizer"),
    "tuba": ("trombone", "bass", "saxophone", "organ", "cello", "synthesizer"),
}

OTHER_NAMES: dict[str, str] = {
    name: name.replace("_", " ").replace("french", "French") for name in OTHER_INSTRUMENT_ROWS
}

# What a network can recognise in addition to the 20 instruments, in the order of its further logits.
OTHER_SOUNDS: tuple[str, ...] = (*KIND_ROWS, *OTHER_INSTRUMENT_ROWS)

ROWS: tuple[tuple[int, ...], ...] = (
    *(INSTRUMENT_ROWS[name] for name in INSTRUMENTS),
    *KIND_ROWS.values(),
    *OTHER_INSTRUMENT_ROWS.values(),
)
