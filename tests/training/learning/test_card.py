"""The card of an ensemble's member says what its run recorded, and nothing else."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="training needs the [train] extra")
pytest.importorskip("tqdm", reason="training needs the [train] extra")

from instrec_live.models.bundle import DEFAULT_MODELS, Bundle, bundled
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.training.data.clips import Clips
from instrec_live.training.learning.card import ClipScores, model_card, sources_of

BANK = [{"source": name, "licence": "CC0-1.0", "package": "made here", "class": "piano"} for name in ("one", "two")]
RECIPE = {"network": {"size": "paper"}, "steps": 10, "batch": 4, "lr": 1e-3, "seed": 0, "select": "last"}
RECORD = {
    "data": [{"name": "mixtures of one", "licences": {"CC0-1.0": 1}, "clips": {}}],
    "validation": [{"name": "clips", "licences": {"CC0-1.0": 2}, "clips": {"valid": 2}}],
}


def card(name: str, config: dict, outputs: int, provenance: dict) -> str:
    truth = np.tile(np.eye(2, 20, dtype=np.float32), (6, 1))
    clips = Clips(
        [str(i) for i in range(12)], truth, np.ones_like(truth), np.arange(12).astype(np.str_), truth[:, 0] > 0, []
    )
    provenance = {"recipe": RECIPE | {"network": config}, **provenance}
    scores = ClipScores(clips, np.full_like(truth, 0.5))
    return model_card(name, 7, outputs, {10.0: 1.0}, provenance, sources_of(provenance, BANK), {}, scores)


def test_a_paper_network_is_described_as_such() -> None:
    text = card("ms_crnn", {"size": "paper"}, 20, {"trained_on": {"data": []}})
    assert "The MS-CRNN of Özel & İskender's notebooks." in text
    assert "Output: logits of 20 instruments.\n" in text
    for word in ("mn04", "AudioSet", "other sounds", "mixtures", "bank", "teachers"):
        assert word not in text
    assert f"Fewer than 10 clips have {', '.join(n.replace('_', ' ') for n in INSTRUMENTS)}" in text


def test_the_network_that_ships_is_described_as_such() -> None:
    text = card("cbam_cnn", {"trunk": "mobilenet", "audioset_weight": 0.4}, 20, {})
    assert "MobileNetV1" in text
    assert "40% of each logit comes from AudioSet's own classes" in text
    assert "then of 27 other sounds" in card("passt", {"size": "tiny"}, 47, {})


def test_without_a_record_nothing_is_said_of_its_data() -> None:
    text = card("ms_crnn", {}, 47, {})
    assert "The run did not record its data." in text
    assert "that it was not trained on" not in text


def test_only_sources_that_it_learned_from_are_named() -> None:
    command = "python -m training.ms_crnn --unions runs/unions"
    text = card("ms_crnn", {}, 47, {"command": command, "trained_on": RECORD})
    assert "| piano | one | CC0-1.0 | made here |" in text
    assert "| piano | two |" not in text
    assert "It was validated on clips (2 clips).\n" in text
    assert "Its first weights were those of mn04_as" in text
    assert "A third and fourth voice" in text
    assert sources_of({"command": command}, BANK) == BANK
    assert sources_of({"command": "python -m training.ms_crnn --data table:a.csv"}, BANK) == []


def test_the_instruments_most_often_confused_are_named() -> None:
    truth = np.tile(np.eye(3, 20, dtype=np.float32), (4, 1))
    probabilities = np.full_like(truth, 0.1)
    probabilities[:, 1] = 0.6  # all are taken for a banjo, and the bass once for itself
    probabilities[2, 2] = 0.9
    nothing = np.arange(12).astype(np.str_)
    clips = Clips(list(nothing), truth, np.ones_like(truth), nothing, truth.any(1), [])
    assert ClipScores(clips, probabilities).confusions() == ["accordion and banjo", "banjo and bass"]


@pytest.mark.parametrize("name", DEFAULT_MODELS)
def test_the_cards_that_ship_are_those_of_their_networks(name: str) -> None:
    bundle = Bundle.load(bundled(name))
    text = (bundle.path / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert f"- Parameters: {bundle.network['parameters']:,}\n" in text
    others = f", then of {len(bundle.others)} other sounds ({', '.join(bundle.others)})" if bundle.others else ""
    assert f"Output: logits of 20 instruments{others}.\n" in text
    assert "freely licensed" not in text
