"""How each pitched instrument is played: what the writers of melodies and chords go by."""

from dataclasses import dataclass, field

from instrec_live.training.soundfonts.score import Tune


@dataclass(frozen=True, slots=True)
class Manner:
    """Habits of one instrument.

    Attributes:
        textures: how likely it plays "melody", "line" (a bass's), "chords", "broken" chords, "strum", or "both" hands.
        shortest: seconds; no written note is shorter.
        longest: seconds; no note of a melody is held longer, since it would have died away.
        blown: a note is kept up by breath, bow or bellows: it can swell, and ends when it should.
        voices: fewest and most notes of a chord.
        vibrato: cents, at most.
        slide: chance that a note is slid into.
        trill: chance that a long note is ornamented.
        tremolo: chance that a long note is repeated fast instead of held.
    """

    textures: dict[str, float] = field(default_factory=lambda: {"melody": 1.0})
    shortest: float = 0.09
    longest: float = 3.0
    blown: bool = True
    voices: tuple[int, int] = (3, 4)
    vibrato: float = 0.0
    slide: float = 0.0
    trill: float = 0.06
    tremolo: float = 0.0


MANNERS: dict[str, Manner] = {
    "accordion": Manner({"melody": 1.5, "both": 2, "chords": 1}, trill=0.1),
    "banjo": Manner({"broken": 4, "melody": 2, "strum": 1}, 0.1, 0.8, False, (3, 4), slide=0.05),
    "bass": Manner({"line": 3, "melody": 1}, 0.13, 1.8, False, slide=0.06, trill=0.02),
    "cello": Manner(shortest=0.11, vibrato=28, slide=0.06, trill=0.04),
    "clarinet": Manner(shortest=0.08, trill=0.08),
    "flute": Manner(shortest=0.08, vibrato=18, trill=0.1),
    "guitar": Manner({"melody": 1.5, "strum": 2, "broken": 2, "chords": 0.5}, 0.1, 1.8, False, (3, 6), 12, 0.08),
    "mallet_percussion": Manner(
        {"melody": 3, "broken": 1, "chords": 1, "both": 1}, 0.1, 0.9, False, (2, 4), tremolo=0.3
    ),
    "mandolin": Manner({"melody": 3, "strum": 1.5, "broken": 0.7}, 0.1, 0.8, False, (3, 4), trill=0.03, tremolo=0.5),
    "organ": Manner({"both": 2, "chords": 2, "melody": 1, "broken": 0.5}, 0.1, 4.0, voices=(3, 5)),
    "piano": Manner({"both": 3, "broken": 1.5, "chords": 1, "melody": 1}, 0.08, 2.0, False, (2, 5)),
    "saxophone": Manner(vibrato=20, slide=0.15, trill=0.05),
    "synthesizer": Manner({"melody": 2, "chords": 2, "broken": 2, "line": 0.7, "both": 0.5}, slide=0.08, trill=0.03),
    "trombone": Manner(shortest=0.12, vibrato=12, slide=0.2, trill=0.02),
    "trumpet": Manner(vibrato=15, slide=0.05),
    "ukulele": Manner({"strum": 4, "broken": 1.5, "melody": 1}, 0.1, 0.8, False, (3, 4), trill=0.03),
    "violin": Manner(vibrato=30, slide=0.06, trill=0.08),
    "voice": Manner({"melody": 1.5, "chords": 2}, 0.16, 3.5, True, (2, 4), 25, 0.1, 0.02),
    "bassoon": Manner(shortest=0.1, trill=0.04),
    "french_horn": Manner(shortest=0.12, trill=0.02),
    "harmonica": Manner({"melody": 2, "chords": 1}, 0.1, voices=(2, 3), vibrato=15, slide=0.1),
    "harp": Manner({"broken": 3, "both": 1, "chords": 1, "melody": 1}, 0.1, 1.8, False, (3, 5)),
    "oboe": Manner(shortest=0.09, vibrato=18, trill=0.08),
    "tuba": Manner({"melody": 1, "line": 1}, 0.15, trill=0.02),
}


@dataclass(frozen=True, slots=True)
class Part:
    """What is to be written: so many bars of a tune, between two keys, in a manner."""

    tune: Tune
    bars: int
    low: int
    high: int
    manner: Manner

    @property
    def beat(self) -> float:
        """Seconds a beat."""
        return 60 / self.tune.tempo

    def chord(self, bar: int) -> list[int]:
        """All keys within reach that belong to the bar's chord, from low to high."""
        root = self.tune.root(bar)
        return [self.tune.key(d) for d in self.tune.degrees(self.low, self.high) if (d - root) % 7 in (0, 2, 4)]
