"""The 20 instruments of OpenMIC-2018, in the order of its class-map.json."""

INSTRUMENTS: tuple[str, ...] = (
    "accordion", "banjo", "bass", "cello", "clarinet", "cymbals", "drums", "flute", "guitar",
    "mallet_percussion", "mandolin", "organ", "piano", "saxophone", "synthesizer", "trombone",
    "trumpet", "ukulele", "violin", "voice",
)  # fmt: skip

DISPLAY_NAMES: dict[str, str] = {name: name.replace("_", " ") for name in INSTRUMENTS}
