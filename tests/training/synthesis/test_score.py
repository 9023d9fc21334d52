"""Scores that their instrument could play, in the tune's key, and the same for the same seed."""

from itertools import pairwise

import numpy as np
import pytest
from tiny_soundfont import CYMBALS

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.training.data.sounds import DISTRACTORS
from instrec_live.training.synthesis.soundfonts.general_midi import COMPASS, PROGRAMS, Preset, compass_of, presets_of
from instrec_live.training.synthesis.soundfonts.playing import phrase
from instrec_live.training.synthesis.soundfonts.score import BEND, SCALES, Note, Score, Tune, draw_tune, score_of


@pytest.mark.parametrize("instrument", INSTRUMENTS + DISTRACTORS)
def test_a_phrase_is_playable(instrument: str) -> None:
    for seed in range(25):
        rng = np.random.default_rng(seed)
        score = phrase(instrument, draw_tune(rng), rng, rng.uniform(13, 17))
        assert 10 < score.seconds < 20
        assert len(score.notes) >= 8
        assert [n.time for n in score.notes] == sorted(n.time for n in score.notes)
        assert all(n.time >= 0 and n.time + n.duration <= score.seconds for n in score.notes)
        assert all(1 <= n.velocity <= 127 for n in score.notes)
        assert all(0 <= c.value <= 127 or (c.number == BEND and -200 <= c.value <= 200) for c in score.controls)
        for key in {n.key for n in score.notes}:
            on_key = [n for n in score.notes if n.key == key]
            assert all(a.time + a.duration <= b.time for a, b in pairwise(on_key))
        if instrument in COMPASS:
            low, high = COMPASS[instrument]
            assert all(low - 1 <= n.key <= high + 4 for n in score.notes)  # ornaments may step out
        else:
            assert {n.key in CYMBALS for n in score.notes} == {instrument == "cymbals"}


@pytest.mark.parametrize("instrument", ["clarinet", "bass", "piano", "ukulele"])
def test_notes_belong_to_the_key(instrument: str) -> None:
    tune = Tune(tonic=2, scale=SCALES["major"], chords=(0, 4, 5, 3), tempo=100)
    in_key = {(2 + step) % 12 for step in SCALES["major"]}
    for seed in range(10):
        notes = phrase(instrument, tune, np.random.default_rng(seed)).notes
        assert np.mean([n.key % 12 in in_key for n in notes]) > 0.95  # some grace notes come from a semitone below


def test_instruments_play_as_they_are_played() -> None:
    def most_at_once(instrument: str) -> int:
        most = 0
        for seed in range(12):
            rng = np.random.default_rng(seed)
            notes = phrase(instrument, draw_tune(rng), rng).notes
            most = max(most, *(sum(m.time <= n.time + 0.02 < m.time + m.duration for m in notes) for n in notes))
        return most

    assert most_at_once("trumpet") <= 2  # a grace note may overlap
    assert most_at_once("ukulele") >= 3
    assert most_at_once("piano") >= 4


def test_a_seed_is_a_promise_and_another_seed_another_phrase() -> None:
    def written(seed: int) -> Score:
        rng = np.random.default_rng(seed)
        return phrase("violin", draw_tune(rng), rng)

    assert written(3) == written(3)
    assert len({written(seed).notes for seed in range(20)}) == 20


def test_parts_of_one_tune_go_together() -> None:
    tune = Tune(tonic=0, scale=SCALES["minor"], chords=(0, 3), tempo=120, swing=0.62)
    parts = [phrase(name, tune, np.random.default_rng(i)) for i, name in enumerate(("piano", "bass", "drums"))]
    assert len({part.seconds for part in parts}) == 1
    assert tune.seconds(1.5) == pytest.approx((1 + 0.62) * 0.5)


def test_a_note_ends_where_the_next_on_its_key_begins() -> None:
    score = score_of([Note(0, 2, 60, 90), Note(1, 9, 60, 90), Note(0.5, 1, 64, 300), Note(-0.1, 1, 67, 80)], [], 4)
    ends = [(n.key, round(n.time + n.duration, 3)) for n in score.notes]
    assert ends == [(67, 1.0), (60, 0.995), (64, 1.5), (60, 3.995)]
    assert score.notes[2].velocity == 127


def test_every_instrument_has_its_place_and_no_program_two() -> None:
    assert {*PROGRAMS, "drums", "cymbals", "mandolin", "ukulele"} == {*INSTRUMENTS, *DISTRACTORS}
    programs = [p for of_instrument in PROGRAMS.values() for p in of_instrument]
    assert len(programs) == len(set(programs))
    assert all(low + 12 < high for i in PROGRAMS for p in PROGRAMS[i] for low, high in [compass_of(i, p)])


def test_a_variation_bank_must_say_what_it_is() -> None:
    names = {(8, 24): "Ukulele", (16, 25): "12-Str. Guitar", (96, 25): "MANDOLIN", (0, 73): "Flute"}
    assert presets_of("ukulele", lambda b, p: names.get((b, p))) == [Preset(8, 24, "Ukulele")]
    assert presets_of("mandolin", lambda b, p: names.get((b, p))) == [Preset(96, 25, "MANDOLIN")]
    assert presets_of("flute", lambda b, p: names.get((b, p))) == [Preset(0, 73, "Flute")]
    assert presets_of("piano", lambda b, p: names.get((b, p))) == []
