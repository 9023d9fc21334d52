"""What the demo clip plays: who enters when, from which files, under which licence."""

from dataclasses import dataclass

SECONDS = 48.0


@dataclass(frozen=True)
class Part:
    """One player's turn: excerpts of one recording, joined, from `start` for at most `length` seconds."""

    instrument: str
    source: str
    files: tuple[str, ...]
    start: float
    length: float
    gain_db: float = 0.0
    pan: float = 0.0  # -1 left … 1 right
    fade_out: float = 0.4


@dataclass(frozen=True)
class Hits:
    """A beat of single strokes: pattern per file, one character a sixteenth, x loud, o soft."""

    instrument: str
    source: str
    start: float
    bars: tuple[dict[str, str], ...]
    gain_db: float = 0.0
    bpm: float = 100.0


SCORE: tuple[Part | Hits, ...] = (
    Part("piano", "medley_solos_db", ("training_4_0a58662f", "training_4_0addd1de"), 0.2, 5.9, pan=-0.2),
    Part("flute", "medley_solos_db", ("training_3_1acfda50", "training_3_2b7eae74"), 5.6, 5.9, pan=0.2),
    Part("guitar", "fof_sectoid", ("Feelings_0",), 9.4, 9.6, gain_db=-1.0, pan=-0.15, fade_out=1.0),
    Part("voice", "medley_solos_db", ("training_2_0d77761c", "training_2_1b06853b"), 14.8, 5.9, gain_db=1.5),
    Hits(
        "drums",
        "sonic_pi",
        20.4,
        (
            {
                "bd_haus": "x...............",
                "drum_snare_hard": "....x..o.o..x...",
                "drum_tom_hi_hard": "......x.........",
            },
            {
                "bd_haus": "x.....x...x.....",
                "drum_snare_hard": "....x..o....x.xx",
                "drum_tom_lo_hard": "........x.......",
            },
            {"bd_haus": "x.....x...x.....", "drum_snare_hard": "....x..o....x..."},
            {
                "bd_haus": "x.....x...x.....",
                "drum_snare_hard": "....x..o.o..x.x.",
                "drum_tom_mid_hard": "...............x",
            },
        ),
        gain_db=-0.5,
    ),
    Hits(
        "cymbals",
        "sonic_pi",
        22.8,
        (
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
        ),
        gain_db=-3.0,
    ),
    Part(
        "saxophone",
        "medley_solos_db",
        ("training_5_0b9c92b9", "training_5_0bb90380", "training_5_2bab383f"),
        25.6,
        8.8,
        pan=0.1,
    ),
    Part("violin", "medley_solos_db", ("training_7_0a90c743", "training_7_0ac6e728"), 33.7, 5.9, pan=0.15),
    Part(
        "piano",
        "medley_solos_db",
        ("training_4_0b199fb6", "training_4_00b70a1f"),
        37.2,
        5.4,
        gain_db=-1.0,
        pan=-0.2,
    ),
    Part("trumpet", "medley_solos_db", ("training_6_01baf3fb", "training_6_1d479197"), 41.9, 5.8, pan=0.1),
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
}

# Other cuts of a recording that the clip uses: not played, but training must not see them either.
SAME_RECORDING = ("guitar/fof_sectoid/Feelings_30.ogg", "guitar/fof_sectoid/Feelings_90.ogg")


def file_names(part: Part | Hits) -> list[str]:
    """The part's sound files, without folder and suffix."""
    return list(part.files) if isinstance(part, Part) else sorted({name for bar in part.bars for name in bar})
