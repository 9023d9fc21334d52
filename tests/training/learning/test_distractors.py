"""Rows for instruments that are none of the 20: fitted on a bank, all else in the bundles unchanged."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the [train] extra")
pytest.importorskip("hear21passt", reason="training needs the [train] extra")
pytest.importorskip("onnxscript", reason="training needs the [train] extra")
pytest.importorskip("sklearn", reason="training needs the [train] extra")
pytest.importorskip("tqdm", reason="training needs the [train] extra")

from instrec_live.models.audioset import FITTED, OTHER_SOUNDS
from instrec_live.models.bundle import BUNDLES, Bundle
from instrec_live.models.errors import InputFileError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import N_MELS, PATCH
from instrec_live.training.learning import distractors
from instrec_live.training.learning.distractors import FOLDS, Windows, draw, fit, unseen
from instrec_live.training.synthesis.unions import Track


def bank(names: tuple[str, ...]) -> tuple[np.ndarray, list[Track]]:
    """Tracks of two sources of each instrument, which differ in the band that sounds."""
    frames, tracks = [], []
    for i, name in enumerate(names):
        for source in ("one", "other"):
            mel = np.full((2 * PATCH, N_MELS), -11.0, np.float16)
            mel[:, 10 * i : 10 * i + 10] = 2.0
            group = "distractor" if name in FITTED else name
            tracks.append(Track(sum(map(len, frames)), 2, group, f"{source} {name}", (name,), True))
            frames.append(mel)
    return np.concatenate(frames), tracks


def test_windows_are_of_known_voices_and_a_distractor_is_one_of_them() -> None:
    frames, tracks = bank(("piano", "violin", "harp"))
    windows = draw(frames, tracks, 300)
    harp = windows.truth[:, FITTED.index("harp")]
    assert harp.mean() == pytest.approx(distractors.SHARE, abs=0.1)
    assert windows.truth.sum() == harp.sum()
    assert set(windows.voices) == {1, 2, 3}
    assert {mel.shape[1] // PATCH for mel in windows.mels} == set(distractors.LENGTHS)
    alone = [mel for mel, here, voices in zip(windows.mels, harp, windows.voices, strict=True) if here and voices == 1]
    assert all(15 <= mel.mean(1).argmax() < 35 for mel in alone)  # its band, shifted by three at most
    with pytest.raises(InputFileError, match="sounds of the 20 instruments, and of others"):
        draw(*bank(("piano", "violin")), 10)


def test_the_fit_generalises_to_other_sources() -> None:
    rng = np.random.default_rng(0)
    truth = np.zeros((600, len(FITTED)), bool)
    truth[np.arange(300), rng.integers(0, 2, 300)] = True  # bassoon or French horn
    features = rng.normal(size=(600, 12)).astype(np.float32)
    features[:, :2] += 4 * truth[:, :2]
    weight, bias = fit(features, truth)
    assert ((features @ weight.T + bias > 0) == truth).mean() > 0.97
    assert not weight[2:].any(), "no window has them"
    fold = rng.integers(0, FOLDS, 600)
    features[fold == 0, 0] = -features[fold == 0, 0]  # a source in which it is the other way round
    logits = unseen([features, features], Windows([], truth, np.ones(600, np.int64), fold))
    right = ((logits > 0) == truth)[:, 0]
    assert right[fold != 0].mean() > 0.8
    assert right[(fold == 0) & truth[:, 0]].mean() < 0.2


def test_bundles_keep_all_but_these_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = {name: Bundle.load(BUNDLES / name) for name in ("cbam_cnn", "ms_crnn", "passt")}
    for name in before:
        shutil.copytree(BUNDLES / name, tmp_path / "bundles" / name)
    frames, tracks = bank(("piano", "violin", "harp"))
    sources = [{"source": "one harp", "licence": "CC0-1.0", "package": "", "class": "harp"}]
    monkeypatch.setattr(distractors, "read_bank", lambda folder: (frames, tracks, sources))
    report = tmp_path / "found.json"
    command = ["distractors", str(tmp_path / "bundles"), "--count", "60", "--report", str(report)]
    monkeypatch.setattr("sys.argv", command)
    distractors.main()
    found = json.loads(report.read_text())["found"]
    assert {name for name, parts in found.items() if parts} == {"harp"}
    rows = [len(INSTRUMENTS) + OTHER_SOUNDS.index(name) for name in FITTED]
    for name, old in before.items():
        new = Bundle.load(tmp_path / "bundles" / name)
        if name == "cbam_cnn":
            assert new.sha256 == old.sha256
            continue
        changed = np.flatnonzero(np.abs(new.golden[1] - old.golden[1]) > 1e-4)
        assert set(changed) <= set(rows)
        assert len(changed) > 0
        assert new.calibration.as_json() == old.calibration.as_json()
        assert new.provenance["distractors"]["data"] == ["one harp: CC0-1.0"]
        card = (new.path / "MODEL_CARD.md").read_text()
        assert card.count(distractors.HEADING) == 1
        assert "- one harp: CC0-1.0" in card
