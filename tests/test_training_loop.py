"""The loop: masked cells weigh nothing, an interrupted run ends as an uninterrupted one, students learn."""

import json
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the [train] extra")
pytest.importorskip("sklearn", reason="training needs the [train] extra")
pytest.importorskip("tqdm", reason="training needs the [train] extra")

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.networks import build
from instrec_live.training.calibrate import choose_thresholds, fit_platt, folds
from instrec_live.training.loop import Recipe, Teacher, masked_bce, train
from instrec_live.training.metrics import average_precision, mean_average_precision, top1
from instrec_live.training.scenes.mixer import Phrases, Scenes


@pytest.fixture
def scenes(tmp_path: Path) -> Scenes:
    rng = np.random.default_rng(0)
    np.save(tmp_path / "mels.npy", rng.normal(-0.5, 0.5, (20, 128, 600)).astype(np.float16))
    rows = [
        {"instrument": name, "source": "x", "kind": "notes", "first": i, "count": 1}
        for i, name in enumerate(INSTRUMENTS)
    ]
    (tmp_path / "index.json").write_text(json.dumps({"sources": rows}))
    return Scenes(Phrases(tmp_path), rng.normal(-0.5, 0.5, (2, 128, 1000)).astype(np.float16))


def test_a_masked_cell_adds_exactly_nothing() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(40, 20)).astype(np.float32)
    truth = (rng.random((40, 20)) < 0.4).astype(np.float32)
    mask = (rng.random((40, 20)) < 0.5).astype(np.float32)
    lied = np.where(mask > 0, truth, 1 - truth)
    loss = [masked_bce(*(torch.from_numpy(x) for x in (logits, t, mask))).item() for t in (truth, lied)]
    assert loss[0] == loss[1]
    np.testing.assert_array_equal(average_precision(truth, logits, mask), average_precision(lied, logits, mask))
    for fit in (fit_platt(logits, truth, mask), fit_platt(logits, lied, mask)):
        np.testing.assert_allclose(fit.scale, fit_platt(logits, truth, mask).scale, rtol=1e-5)
    chosen = [choose_thresholds(1 / (1 + np.exp(-logits)), t, mask) for t in (truth, lied)]
    np.testing.assert_array_equal(*chosen)


@pytest.mark.parametrize("name", ["ms_crnn", "passt"])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(scenes: Scenes, tmp_path: Path, name: str) -> None:
    if name == "passt":
        pytest.importorskip("hear21passt")
        config = {"size": "tiny", "depth": 2, "s_patchout_t": 20, "s_patchout_f": 1}
    else:
        config = {"channels": (6, 6, 6, 6), "hidden": 8}
    recipe = Recipe(name, {}, steps=4, batch=2, warmup=2, seconds=(2.0, 2.2), distil=1.0, imitate=1.0)
    torch.manual_seed(0)
    teacher = Teacher(build("cbam_cnn", trunk="resnet"))
    start = build(name, **config).state_dict()

    def run(to: Path, stop_after: int | None = None) -> dict:
        network = build(name, **config)
        network.load_state_dict(start)

        class InterruptedRunError(Exception):
            pass

        def report(line: dict) -> None:
            if stop_after is not None and line["step"] >= stop_after:
                raise InterruptedRunError

        try:
            return train(
                recipe, network, scenes, to, teacher, checkpoint_every=-1, report_every=1, on_report=report
            ).state_dict()
        except InterruptedRunError:
            return {}

    whole = run(tmp_path / "whole")
    run(tmp_path / "cut", stop_after=2)
    resumed = run(tmp_path / "cut")
    assert resumed.keys() == whole.keys()
    for key in whole:
        torch.testing.assert_close(resumed[key], whole[key], rtol=0, atol=0)
    steps = [json.loads(line)["step"] for line in (tmp_path / "cut" / "log.jsonl").read_text().splitlines()]
    assert steps[-1] == 4


def test_cbam_attention_begins_as_identity() -> None:
    from instrec_live.models.cbam_cnn import cbam

    x = torch.randn(2, 16, 12, 10)
    torch.testing.assert_close(cbam(16)(x), x)


@pytest.mark.parametrize(
    ("name", "config"), [("cbam_cnn", {"trunk": "mobilenet"}), ("cbam_cnn", {"trunk": "resnet"}), ("ms_crnn", {})]
)
@pytest.mark.parametrize("frames", [200, 288, 333, 1000])
def test_networks_take_any_span_from_2_to_10_s(name: str, config: dict, frames: int) -> None:
    network = build(name, **config).eval()
    with torch.inference_mode():
        logits = network(torch.randn(2, 128, frames))
    assert logits.shape == (2, 20)
    assert torch.isfinite(logits).all()


def test_the_mel_bridge_hears_what_yamnet_hears() -> None:
    """Our 128 Kaldi mels, bridged, against YAMNet's own front end computed here from its definition."""
    from instrec_live.models.cbam_cnn import MelBridge
    from instrec_live.models.logmel import log_mel

    rng = np.random.default_rng(0)
    t = np.arange(5 * 32_000) / 32_000
    sound = sum(np.sin(2 * np.pi * f * t) / k for k, f in enumerate((220, 440, 660, 880, 1760, 3520), 1))
    sound = (0.1 * sound + 0.01 * rng.standard_normal(len(t))).astype(np.float32)
    ours = MelBridge()(torch.from_numpy(log_mel(sound)[None]))[0].detach().numpy()
    half = sound[::2]  # nothing above 4 kHz but faint noise
    frames = np.lib.stride_tricks.sliding_window_view(half, 400)[::160] * np.hanning(401)[:400]
    hz = np.linspace(0, 8000, 257)
    mel, edges = (
        1127 * np.log(1 + hz / 700),
        np.linspace(*(1127 * np.log(1 + np.array([125, 7500]) / 700)), 66)[:, None],
    )
    banks = np.maximum(
        0, np.minimum((mel - edges[:-2]) / (edges[1:-1] - edges[:-2]), (edges[2:] - mel) / (edges[2:] - edges[1:-1]))
    )
    theirs = np.log(np.abs(np.fft.rfft(frames, 512)) @ banks.T + 1e-3)
    count = len(theirs) - 4
    difference = ours[1 : 1 + count] - theirs[:count]
    assert np.abs(difference).mean() < 0.4  # nats; music's own spread is several
    assert np.corrcoef(ours[1 : 1 + count].ravel(), theirs[:count].ravel())[0, 1] > 0.9


def test_platt_finds_the_scale_it_was_given() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 2, (4000, 20)).astype(np.float32)
    truth = (rng.random(logits.shape) < 1 / (1 + np.exp(-(0.7 * logits - 1)))).astype(np.float32)
    fitted = fit_platt(logits, truth, np.ones_like(truth))
    np.testing.assert_allclose(fitted.scale, 0.7, atol=0.1)
    np.testing.assert_allclose(fitted.bias, -1, atol=0.2)


def test_thresholds_of_rare_instruments_follow_the_others() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((500, 20)) < 0.3).astype(np.float32)
    p = np.clip(0.35 + 0.3 * truth + rng.normal(0, 0.05, truth.shape), 0.01, 0.99).astype(np.float32)
    mask = np.ones_like(truth)
    mask[:, 4] = 0
    thresholds = choose_thresholds(p, truth, mask)
    assert ((thresholds > 0.4) & (thresholds < 0.6)).all()


def test_folds_keep_recordings_whole() -> None:
    recording = np.array([f"r{i // 3}" for i in range(60)])
    fold = folds(recording)
    assert set(fold) == set(range(5))
    assert all(len(set(fold[recording == name])) == 1 for name in recording)


def test_metrics_on_a_toy() -> None:
    truth = np.zeros((8, 20), np.float32)
    truth[:4, 0] = 1
    scores = np.zeros_like(truth)
    scores[:4, 0] = 1
    assert mean_average_precision(truth, scores, np.ones_like(truth)) == 1.0
    assert top1(truth, scores, truth.sum(1) == 1) == 1.0
