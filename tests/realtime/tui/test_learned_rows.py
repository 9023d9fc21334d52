"""Instruments of a learned bundle on the screen: rows like the others, without results of networks that lack them."""

from dataclasses import replace

import numpy as np
from fake_stream import MODELS, info, update
from screen import lines, play

from instrec_live.models import INSTRUMENTS
from instrec_live.realtime.tui.state import ScreenState, Sorting

NEW = (*INSTRUMENTS, "french_horn", "oud")


def facts(**changes: object):
    limits = dict.fromkeys(NEW, 0.5)
    models = (*MODELS, "mine")
    return info(
        models=models, sha256s=dict.fromkeys(models, "0" * 64), weights=dict.fromkeys(models, 1.0), thresholds=limits,
        model_thresholds=dict.fromkeys(models, limits), instruments=NEW, classes=NEW, hop=3600.0, **changes,
    )  # fmt: skip


def heard(number: int = 60):
    plain = update(number)
    nothing = np.full(2, np.nan, np.float32)
    networks = {name: np.append(p, nothing).astype(np.float32) for name, p in plain.by_model.items()}
    mine = np.append(np.full(20, np.nan), [0.91, 0.03]).astype(np.float32)
    return replace(
        plain,
        probabilities=np.append(plain.probabilities, [0.91, 0.03]).astype(np.float32),
        by_model=networks | {"mine": mine},
        active=(*plain.active, "french_horn"),
        instruments=NEW,
    )


def test_the_state_has_learned_instruments() -> None:
    state = ScreenState(facts())
    assert state.bars(0.0).shape == (1, 22)
    state = state.after(heard())
    assert "french_horn" in state.active
    assert state.order(Sorting.FIXED) == NEW
    assert state.order(Sorting.RECENT)[-1] != "french_horn"
    opinions = dict(zip(state.info.models, state.opinions("french_horn"), strict=True))
    assert opinions["passt"] == (None, 0.5)
    assert opinions["mine"][0] > 0.9
    assert state.opinions("piano")[3][0] is None
    assert state.columns(30).shape == (22, 30)


def test_they_have_rows_below_the_others() -> None:
    async def body(app, pilot, stream):
        shown = lines(app)
        (row,) = [line for line in shown if "french horn" in line and "▸" in line]
        assert ".91" in row
        assert any(line.startswith("   oud ") for line in shown)
        await pilot.press("slash", *"horn", "enter")
        await pilot.pause()
        assert not any("piano" in line for line in lines(app)[3:20])
        assert any("french horn" in line for line in lines(app)[3:20])

    play(body, [heard()], size=(100, 30), facts=facts())


def test_a_choice_shows_its_rows_alone() -> None:
    state = ScreenState(replace(facts(), instruments=("piano", "oud"))).after(heard())
    assert state.order(Sorting.FIXED) == ("piano", "oud")
    assert set(state.order(Sorting.SCORE)) == {"piano", "oud"}
