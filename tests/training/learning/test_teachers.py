"""The teachers' combined results, and how labels override them."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="training needs the [train] extra")
pytest.importorskip("tqdm", reason="training needs the [train] extra")
pytest.importorskip("onnxscript", reason="training needs the [train] extra")

from bank import write_bank

from instrec_live.models.audioset import CLASSES, INSTRUMENT_ROWS
from instrec_live.models.bundle import BUNDLES, Bundle
from instrec_live.models.calibration import sigmoid
from instrec_live.models.engines import onnx_runtime
from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import N_MELS, PATCH
from instrec_live.models.networks.mn04 import Mn04Head, Mn04Trunk
from instrec_live.models.networks.registry import build
from instrec_live.training.learning.teachers import (
    BIAS,
    MN04_BIAS,
    MN04_WEIGHT,
    SCALE,
    begin_with_mn04,
    bundle_answers,
    combined,
    make_targets,
    with_what_is_known,
)
from instrec_live.training.synthesis.unions import LENGTHS, Track, Unions, windows

VIOLIN, FLUTE, GUITAR = (INSTRUMENTS.index(name) for name in ("violin", "flute", "guitar"))


def test_bundles_share_what_mn04_leaves_by_their_weights() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.normal(0, 2, (2, 3, 20)).astype(np.float32)
    audioset = np.full((3, CLASSES), -8, np.float32)
    audioset[:, INSTRUMENT_ROWS["guitar"][-1]] = 2  # the highest of an instrument's classes counts
    got = combined([(3.0, one), (1.0, other)], audioset)
    heard = np.full((3, 20), -8 + MN04_BIAS)
    heard[:, GUITAR] = 2 + MN04_BIAS
    mean = (1 - MN04_WEIGHT) * (0.75 * one + 0.25 * other) + MN04_WEIGHT * heard
    np.testing.assert_allclose(got, sigmoid(SCALE * mean + BIAS), rtol=1e-5)
    np.testing.assert_allclose(combined([], audioset), sigmoid(SCALE * heard + BIAS), rtol=1e-5)


@pytest.mark.parametrize(
    ("labels", "complete", "violin", "flute", "guitar"),
    [
        (("violin",), True, 0.93, 0.2 * 0.7, 0.2 * 0.2),  # a soloist
        (("violin", "flute"), True, 0.65, 0.7, 0.2 * 0.2),
        (("violin",), False, 0.5, 0.7, 0.2),  # a song, of which not all is listed
        ((), False, 0.1, 0.7, 0.2),  # music
        (("bassoon",), True, 0.015, 0.015, 0.015),  # none of the 20
    ],
)
def test_labels_override_the_teachers(labels, complete, violin, flute, guitar) -> None:
    said = np.zeros((2, 20), np.float32)
    said[:, VIOLIN], said[:, FLUTE], said[:, GUITAR] = 0.1, 0.7, 0.2
    got = with_what_is_known(said, Track(0, 4, "distractor" if "bassoon" in labels else "x", "x", labels, complete))
    np.testing.assert_allclose(got[:, [VIOLIN, FLUTE, GUITAR]], [[violin, flute, guitar]] * 2, rtol=1e-5)
    assert said[0, VIOLIN] == np.float32(0.1)  # the teachers' answers stay as they were


@pytest.mark.parametrize("name", ["cbam_cnn", "ms_crnn", "passt"])
def test_a_bundle_gives_each_window_what_it_gives_it_alone(name: str) -> None:
    bundle = Bundle.load(BUNDLES / name)
    frames = np.random.default_rng(0).normal(-2, 2, (24 * PATCH, N_MELS)).astype(np.float16)
    tracks = [Track(0, 13, "music", "a", (), False), Track(13 * PATCH, 11, "music", "b", (), False)]
    answers = bundle_answers(frames, tracks, bundle)
    engine = onnx_runtime.open_engine(bundle, 1, "fp32")
    for length in LENGTHS:
        spans = [span for track in tracks for span in windows(track, length)]
        assert len(answers[length]) == len(spans)
        for (start, patches), got in zip(spans, answers[length], strict=True):
            mel = np.ascontiguousarray(frames[start : start + patches * PATCH].T, np.float32)
            alone = bundle.calibration(engine.logits(mel[None])[0, : len(INSTRUMENTS)])
            np.testing.assert_allclose(got, alone, atol=2e-4)


def test_targets_are_made_of_what_is_there_already_and_serve_mixtures(tmp_path) -> None:
    """The mean of what two teachers said in an earlier run, whose files are kept."""
    bank = write_bank(tmp_path / "bank", ("violin", "music"), patches=12)
    (bank / "targets.npz").unlink()
    counts = {"2": 12, "5": 4, "10": 2}
    for name, classes in (("cbam_cnn", 20), ("mn04", CLASSES)):
        np.savez(bank / f"{name}.npz", **{n: np.full((count, classes), -1, np.float16) for n, count in counts.items()})
    make_targets(bank, tmp_path / "mn04_as.npz", [BUNDLES / "cbam_cnn"])
    mean = sigmoid(np.float32(SCALE * ((1 - MN04_WEIGHT) * -1 + MN04_WEIGHT * (-1 + MN04_BIAS)) + BIAS))
    with np.load(bank / "targets.npz") as stored:
        for n, count in counts.items():
            of_violin, of_music = np.split(stored[f"instruments{n}"], 2)
            assert (of_violin[:, VIOLIN] == np.float16(0.93)).all()
            np.testing.assert_allclose(np.delete(of_violin, VIOLIN, 1), 0.2 * mean, rtol=1e-2)
            np.testing.assert_allclose(of_music, mean, rtol=1e-2)
            assert stored[f"audioset{n}"].shape == (count, CLASSES)
    Unions(bank).example(0, np.random.default_rng(0), 2 * PATCH)


def test_a_network_begins_with_mn04_and_with_nothing_else(tmp_path) -> None:
    trunk, head = Mn04Trunk(), Mn04Head()
    stored = {name: value.numpy() for name, value in trunk.state_dict().items()}
    for layer, place in ((head.hidden, "classifier.2."), (head.out, "classifier.5.")):
        stored |= {place + part: getattr(layer, part).detach().numpy() for part in ("weight", "bias")}
    np.savez(tmp_path / "mn04.npz", **stored)
    network = build("ms_crnn", channels=6, hidden=8)
    begin_with_mn04(network, tmp_path / "mn04.npz")
    assert all(torch.equal(value, trunk.state_dict()[name]) for name, value in network.trunk.state_dict().items())
    assert torch.equal(network.audioset.out.weight, head.out.weight)
    with pytest.raises(UsageError, match="do not fit this profile"):
        begin_with_mn04(build("cbam_cnn", trunk="resnet"), tmp_path / "mn04.npz")
    with pytest.raises(InputFileError, match=r"gone\.npz: not found"):
        begin_with_mn04(network, tmp_path / "gone.npz")
    del stored["classifier.5.bias"]
    np.savez(tmp_path / "part.npz", **stored)
    (tmp_path / "text.npz").write_text("no weights")
    (tmp_path / "cut.npz").write_bytes((tmp_path / "mn04.npz").read_bytes()[:1000])
    (tmp_path / "empty.npz").write_bytes(b"")
    for name in ("part.npz", "text.npz", "cut.npz", "empty.npz"):
        with pytest.raises(InputFileError, match="not the weights of mn04_as"):
            begin_with_mn04(network, tmp_path / name)
