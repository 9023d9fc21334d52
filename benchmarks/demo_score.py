"""What the demo clip plays: who enters when, from which files, under which licence."""

from dataclasses import dataclass

SECONDS = 72.0


@dataclass(frozen=True)
class Part:
    """Excerpts of one recording, joined, from `start` for at most `length` seconds: a soloist or an ensemble."""

    instruments: tuple[str, ...]  # all that play in it; the first names the folder
    source: str
    files: tuple[str, ...]
    start: float
    length: float
    gain_db: float = 0.0
    pan: float = 0.0  # -1 left … 1 right
    fade_in: float = 0.02
    fade_out: float = 0.4


@dataclass(frozen=True)
class Hits:
    """A beat of single strokes: pattern per file, one character a sixteenth, x loud, o soft."""

    instruments: tuple[str, ...]
    source: str
    start: float
    bars: tuple[dict[str, str], ...]
    gain_db: float = 0.0
    bpm: float = 100.0


DRUMS = (
    {"bd_haus": "x.....x...x.....", "drum_snare_hard": "....x..o....x...", "drum_tom_hi_hard": "..............x."},
    {"bd_haus": "x.....x...x.....", "drum_snare_hard": "....x..o.o..x.x.", "drum_tom_lo_hard": "........x......."},
    {"bd_haus": "x.....x...x.....", "drum_snare_hard": "....x..o....x..."},
    {"bd_haus": "x.....x...x.....", "drum_snare_hard": "....x..o.o..x.xx", "drum_tom_mid_hard": "...............x"},
)
CYMBALS = (
    {
        "drum_splash_hard": "x...............",
        "drum_cymbal_closed": "x.x.x.x.x.x.x...",
        "drum_cymbal_open": "..............x.",
    },
    {
        "drum_cymbal_soft": "x...............",
        "drum_cymbal_closed": "..x.x.x.x.x.x...",
        "drum_cymbal_open": "..............x.",
    },
    {"drum_cymbal_hard": "x...............", "drum_cymbal_closed": "..x.x.x.x.x.x.x."},
)

SCORE: tuple[Part | Hits, ...] = (
    # solos that open
    Part(("flute",), "medley_solos_db", ("training_3_1acfda50", "training_3_2b7eae74"), 0.0, 5.9, pan=0.2),
    Part(("guitar",), "fof_sectoid", ("Feelings_0",), 4.4, 11.0, gain_db=-1.0, pan=-0.15, fade_out=1.0),
    Part(("voice",), "medley_solos_db", ("training_2_0d77761c", "training_2_1b06853b"), 9.0, 5.9, gain_db=1.5),
    Part(("piano",), "medley_solos_db", ("training_4_0b199fb6", "training_4_00b70a1f"), 14.5, 5.9, pan=-0.2),
    # a duo, then a string orchestra
    Part(
        ("cello", "piano"), "ligoratti_colliard_swan", ("swan_090", "swan_100"), 20.0, 14.0, fade_in=0.6, fade_out=1.0
    ),
    Part(("violin", "cello", "bass"), "librosa_data", ("hungarian_020",), 33.5, 10.0, fade_in=0.3, fade_out=0.8),
    # a band whose players enter one after another
    Hits(("drums",), "sonic_pi", 43.2, DRUMS * 2, gain_db=-0.5),
    Hits(("cymbals",), "sonic_pi", 45.6, CYMBALS * 2, gain_db=-3.0),
    Part(
        ("saxophone",),
        "medley_solos_db",
        ("training_5_0b9c92b9", "training_5_0bb90380", "training_5_2bab383f"),
        48.0,
        8.8,
        pan=0.1,
    ),
    Part(("trumpet",), "medley_solos_db", ("training_6_01baf3fb", "training_6_1d479197"), 55.4, 5.8, 1.5, pan=-0.1),
    # and one from a studio
    Part(
        ("synthesizer", "drums", "cymbals"),
        "everythingisfree_mix",
        ("Sodium_152",),
        62.0,
        10.0,
        fade_in=0.3,
        fade_out=1.5,
    ),
)

SOURCES = {
    "medley_solos_db": (
        "Medley-solos-DB",
        "Vincent Lostanlen, Carmine-Emanuele Cella, Rachel Bittner, Slim Essid",
        "CC BY 4.0",
        "https://zenodo.org/records/1344103",
    ),
    "fof_sectoid": (
        "Frets on Fire songs, guitar stem of “Feelings”",
        "Carlos Viola Iborra (Sectoid), © 2006–2007",
        "MIT",
        "Debian package fretsonfire-songs-sectoid",
    ),
    "sonic_pi": (
        "Sonic Pi samples (single strokes, sequenced here)",
        "menegass (drums, cymbals: freesound.org 100053–100067), Rodrigo The Mad (bd_haus: 137722)",
        "CC0 1.0",
        "Debian package sonic-pi-samples",
    ),
    "ligoratti_colliard_swan": (
        "Camille Saint-Saëns, The Swan",
        "Matilda Colliard (cello), Stefano Ligoratti (piano)",
        "CC BY 4.0",
        "https://github.com/RuanKiu/ConFuoko, attributions.html",
    ),
    "librosa_data": (
        "Johannes Brahms, Hungarian dance no. 5, for string orchestra",
        "United States Army Strings, by way of Musopen",
        "public domain",
        "https://github.com/librosa/data",
    ),
    "everythingisfree_mix": (
        "Everything is Free, “Sodium”, mixed from its stems",
        "Software-Entwicklungskit",
        "CC0 1.0",
        "https://github.com/ichbinsoftware/everythingisremixed",
    ),
}

# The bundled networks were trained on these recordings, and on none of the others.
TRAINED_ON = ("ligoratti_colliard_swan", "librosa_data", "everythingisfree_mix")

# Other cuts of a recording that the clip uses: not played, but training must not see them either.
SAME_RECORDING = ("guitar/fof_sectoid/Feelings_30.ogg", "guitar/fof_sectoid/Feelings_90.ogg")


def file_names(part: Part | Hits) -> list[str]:
    """The part's sound files, without folder and suffix."""
    return list(part.files) if isinstance(part, Part) else sorted({name for bar in part.bars for name in bar})
