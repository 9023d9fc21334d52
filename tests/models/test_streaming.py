"""Streaming inference gives the same results as whole windows, whatever windows came before."""

import pytest

torch = pytest.importorskip("torch", reason="making a patchwise network needs torch")

import numpy as np
from fakes import music
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_bundle import write_tiny
from torch import nn

from instrec_live.models.bundle import Bundle
from instrec_live.models.engines.base import CachingEngine
from instrec_live.models.engines.registry import open_engine
from instrec_live.models.errors import ModelError
from instrec_live.models.export.to_onnx import to_onnx
from instrec_live.models.logmel import HOP, N_MELS, PATCH, StreamingLogMel, log_mel
from instrec_live.models.networks.patchwise import Patchwise
from instrec_live.models.streaming import (
    PatchCache,
    StreamingInference,
    Window,
    patch_stride,
    windows_ahead,
    windows_at,
)
from instrec_live.models.tagger import Tagger

SOUND = music(14)
WHOLE = log_mel(SOUND)  # of the whole sound: its inner frames are the stream's


class Tiny(Patchwise, nn.Module):
    """A patchwise network for which the order of patches matters."""

    width = 24

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patch = nn.Linear(N_MELS, self.width)
        self.head = nn.Linear(self.width, 20)

    def embed(self, patch):
        return self.patch(patch.mean(2))

    def classify(self, embeddings):
        turned = torch.cumsum(embeddings, 1).tanh()
        return self.head(turned).mean(1)

    def forward(self, log_mel):
        return self.classify(self.embeddings(log_mel))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    network = Tiny().eval()
    golden = WHOLE[:, :300]
    with torch.no_grad():
        answer = network(torch.from_numpy(golden[None]))[0].numpy()
    return write_tiny(
        tmp_path_factory.mktemp("bundles") / "tiny",
        onnx=to_onnx(network),
        network={"name": "tiny", "config": {}, "parameters": 0, "width": Tiny.width},
        golden=(golden, answer),
    )


def expected(ends: list[int], bundle: Bundle) -> np.ndarray:
    """The network's calibrated logits of patches cut by hand from the log-mel of the whole sound."""
    cut = np.concatenate([WHOLE[:, end - PATCH : end] for end in ends], 1)
    with torch.no_grad():
        return bundle.calibration(Tiny().eval()(torch.from_numpy(cut[None]))[0].numpy())


def heard() -> StreamingLogMel:
    mel = StreamingLogMel(20.0)
    mel.push(SOUND)
    return mel


@settings(max_examples=40, deadline=None)
@given(
    hop=st.sampled_from([10, 25, 48, 50, 64, 100, 150, 200]),
    steps=st.lists(st.integers(1, 4), min_size=2, max_size=12),
    long=st.lists(st.booleans(), min_size=12, max_size=12),
)
def test_a_stream_equals_each_window_alone(tiny: Bundle, hop, steps, long) -> None:
    """With windows left out in between, as on a slow machine, and long and short ones mixed."""
    tagger, stride = Tagger([tiny]), patch_stride(hop)
    inference = tagger.follow(heard(), hop * HOP)
    end = 400 * HOP
    for step, is_long in zip(steps, long, strict=False):
        end += step * hop * HOP
        if end > len(SOUND):
            return
        length = min(1000 if is_long else 250, end // HOP) * HOP
        stop = end // HOP - 1  # the last frame would look beyond the window's end
        count = min(10, (stop - PATCH - (end - length) // HOP) // stride + 1)
        ends = [stop - k * stride for k in range(count - 1, -1, -1)]
        got = inference.calibrated(end, length)["tiny"]
        np.testing.assert_allclose(got, expected(ends, tiny), atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(
    ends=st.lists(st.lists(st.integers(10, 26), min_size=1, max_size=3, unique=True), min_size=1, max_size=4),
    known=st.lists(st.booleans(), min_size=4, max_size=4),
)
def test_many_sounds_in_one_batch_are_as_each_alone(tiny: Bundle, ends, known) -> None:
    """Sounds of other lengths and other pasts, with windows of their own."""
    tagger = Tagger([tiny])
    together, alone = [], []
    for each, before in zip(ends, known, strict=False):
        windows = [
            Window(end * 16_000, length) for end in sorted(each) for length in (80_000, min(end * 16_000, 320_000))
        ]
        one, other = tagger.follow(heard(), 16_000), tagger.follow(heard(), 16_000)
        if before:
            one.calibrated(144_000, 80_000)
        together.append((one, windows))
        alone.append((other, windows))
    tagger.prepare(together)
    for (one, windows), (other, _) in zip(together, alone, strict=True):
        assert set(one._prepared) == set(windows)  # nothing is left to be heard one by one
        for window in windows:
            np.testing.assert_allclose(one.calibrated(*window)["tiny"], other.calibrated(*window)["tiny"], atol=1e-5)


@pytest.mark.parametrize("hop", [0.48, 0.5, 0.64, 1.0, 2.0])
def test_batches_change_nothing(tiny: Bundle, hop: float) -> None:
    tagger, step = Tagger([tiny]), round(hop * 32_000)
    windows = [Window(end, length) for end in range(320_000, len(SOUND) + 1, step) for length in (80_000, 320_000)]
    one, many = tagger.follow(heard(), step), tagger.follow(heard(), step)
    many.prepare(windows)
    for window in windows:
        np.testing.assert_allclose(many.calibrated(*window)["tiny"], one.calibrated(*window)["tiny"], atol=1e-5)


class Counting:
    """An engine that counts the patches it is given."""

    def __init__(self, engine: CachingEngine) -> None:
        self.name, self.width, self.engine, self.patches, self.spoil = engine.name, engine.width, engine, 0, False

    def logits(self, log_mel):
        return self.engine.logits(log_mel)

    def run(self, log_mel, cached_embeddings):
        self.patches += len(log_mel) * log_mel.shape[2] // PATCH
        logits, embeddings = self.engine.run(log_mel, cached_embeddings)
        return logits * (np.nan if self.spoil else 1), embeddings * (np.nan if self.spoil else 1)


def inference_of(engine: CachingEngine, hop: int) -> StreamingInference:
    return StreamingInference({"tiny": PatchCache(engine, patchwise=True)}, dict, heard(), hop)


def test_no_patch_is_computed_twice(tiny: Bundle) -> None:
    counting = Counting(open_engine(tiny, "onnx"))
    inference = inference_of(counting, 16_000)
    for k in range(20, 28):
        inference.calibrated(k * 16_000, 80_000)
        inference.calibrated(k * 16_000, 320_000)
    assert counting.patches == 10 + 10 + 6  # each of the two phases once whole, then one patch a hop


def test_embeddings_that_are_not_finite_are_not_cached(tiny: Bundle) -> None:
    counting = Counting(open_engine(tiny, "onnx"))
    inference = inference_of(counting, 16_000)
    counting.spoil = True
    assert np.isnan(inference.calibrated(320_000, 320_000)["tiny"]).all()
    inference.prepare([Window(320_000, 320_000)])
    counting.spoil = False
    assert np.isfinite(inference.calibrated(320_000, 320_000)["tiny"]).all()


def test_a_network_that_fails_with_many_is_asked_again_alone(tiny: Bundle) -> None:
    """Else the answers that the others gave before it failed would pass for those of all."""

    class Failing(Counting):
        def run(self, log_mel, cached_embeddings):
            if len(log_mel) != 1:
                raise ModelError("no memory for so many")
            return super().run(log_mel, cached_embeddings)

    engine = open_engine(tiny, "onnx")
    caches = {"well": PatchCache(engine, patchwise=True), "failing": PatchCache(Failing(engine), patchwise=True)}
    inference = StreamingInference(caches, dict, heard(), 16_000)
    with pytest.raises(ModelError, match="no memory"):
        inference.prepare([Window(320_000, 80_000)])
    answers = inference.calibrated(320_000, 80_000)
    np.testing.assert_allclose(answers["failing"], answers["well"], atol=1e-5)


def test_memory_is_bounded(tiny: Bundle) -> None:
    cache = PatchCache(open_engine(tiny, "onnx"), patchwise=True)
    mel = StreamingLogMel(11.0)
    inference = StreamingInference({"tiny": cache}, dict, mel, 3_200)
    rng = np.random.default_rng(0)
    for k in range(1, 600):
        mel.push(rng.standard_normal(3_200).astype(np.float32))
        if k >= 100:
            inference.calibrated(k * 3_200, 320_000)
    assert len(cache.embeddings) < 150


def test_an_engine_without_memory_gets_the_same_patches(tiny: Bundle) -> None:
    class Forgetful:
        name = "forgetful"

        def __init__(self, engine):
            self.logits = engine.logits

    engine = open_engine(tiny, "onnx")
    plain, recalling = inference_of(Forgetful(engine), 16_000), inference_of(engine, 16_000)
    for window in ((320_000, 80_000), (336_000, 320_000)):
        np.testing.assert_allclose(plain.calibrated(*window)["tiny"], recalling.calibrated(*window)["tiny"], atol=1e-5)


def test_a_network_that_is_not_patchwise_gets_whole_windows(tiny: Bundle) -> None:
    engine = open_engine(tiny, "onnx")
    inference = StreamingInference({"tiny": PatchCache(engine, patchwise=False)}, dict, heard(), 16_000)
    inference.prepare([Window(320_000, 80_000)])
    want = engine.logits(log_mel(SOUND[240_000:320_000])[None])[0]
    np.testing.assert_allclose(inference.calibrated(320_000, 80_000)["tiny"], want, atol=1e-5)


@given(st.integers(10, 6000))
def test_strides_lie_near_a_patch_and_meet_again(hop: int) -> None:
    stride = patch_stride(hop)
    assert abs(stride - PATCH) <= 16
    assert stride == PATCH or stride % hop == 0 or hop % stride == 0


@pytest.mark.parametrize(("hop", "stride"), [(50, 100), (48, 96), (25, 100), (100, 100), (10, 100), (200, 100)])
def test_usual_hops_have_their_strides(hop: int, stride: int) -> None:
    assert patch_stride(hop) == stride


def test_frames_out_of_reach_are_refused() -> None:
    mel = StreamingLogMel(3.0)
    mel.push(SOUND[: 5 * 32_000])
    assert mel.patches([450, 499], PATCH).shape == (2, N_MELS, PATCH)
    assert mel.patches([], PATCH).shape == (0, N_MELS, PATCH)
    for end in (500, 97):
        with pytest.raises(ValueError, match="not in the history"):
            mel.patches([end], PATCH)


@pytest.mark.parametrize(("asked", "given_frames"), [(32_000, 200), (64_000, 200), (80_000, 250)])
def test_a_network_that_takes_whole_windows_gets_two_seconds_at_least(asked: int, given_frames: int) -> None:
    class Plain:
        name = "plain"

        def logits(self, log_mel: np.ndarray) -> np.ndarray:
            assert log_mel.shape == (1, N_MELS, given_frames)
            return np.zeros((1, 20), np.float32)

    inference = StreamingInference({"plain": PatchCache(Plain(), False)}, dict, heard(), 16_000)
    assert set(inference.calibrated(160_000, asked)) == {"plain"}


def ahead(hop: float, seconds: float = 30.0) -> list[tuple[Window, ...]]:
    step = round(hop * 32_000)
    ends = range(step, round(seconds * 32_000) + 1, step)
    return [windows_ahead(end, end - step, 32_000, 160_000, end == step) for end in ends]


@pytest.mark.parametrize("hop", [1.0, 2.0, 5.0])
def test_at_hops_of_a_second_or_more_every_short_window_is_whole(hop: float) -> None:
    assert all(short.whole and not any(each.whole for each in long) for short, *long in ahead(hop))


@pytest.mark.parametrize("hop", [0.1, 0.3, 0.5, 0.75])
def test_with_look_ahead_one_short_window_a_second_is_whole(hop: float) -> None:
    windows = ahead(hop)
    whole = [short.end / 32_000 for short, *_ in windows if short.whole]
    assert whole[0] == pytest.approx(hop)  # the sound begins
    assert len(whole) == pytest.approx(30, abs=1)
    assert np.diff(whole).max() < 1 + hop
    assert not any(each.whole for _, *long in windows for each in long)
    step = round(hop * 32_000)
    for each in windows:  # they are those without look-ahead
        end = each[0].end
        assert [one[:2] for one in each] == [one[:2] for one in windows_at(end, end - step, 32_000, 160_000)]


def test_a_network_that_is_not_patchwise_is_left_out_of_windows_that_are_not_whole(tiny: Bundle) -> None:
    class Counted:
        name = "counted"

        def logits(self, log_mel: np.ndarray) -> np.ndarray:
            runs.append(len(log_mel))
            return np.asarray(engine.logits(log_mel))

    engine, runs = open_engine(tiny, "onnx"), list[int]()
    windows = [
        Window(end, length, end % 32_000 == 0) for end in range(320_000, 400_001, 16_000) for length in (32_000,)
    ]
    caches = {"patches": PatchCache(engine, True), "plain": PatchCache(Counted(), False)}
    one, many, all_of_them = (
        StreamingInference(caches, dict, heard(), 16_000, sparse) for sparse in (True, True, False)
    )
    many.prepare(windows)
    assert sum(runs) == sum(window.whole for window in windows)
    for window in windows:
        alone, together = one.calibrated(*window), many.calibrated(*window)
        assert set(alone) == set(together) == ({"patches", "plain"} if window.whole else {"patches"})
        assert set(all_of_them.calibrated(*window)) == {"patches", "plain"}
        for name, logits in alone.items():
            np.testing.assert_allclose(together[name], logits, atol=1e-5)


@pytest.mark.parametrize(("models", "there"), [(("ms_crnn",), True), (("ms_crnn", "cbam_cnn"), False)])
def test_alone_a_network_that_is_not_patchwise_runs_on_every_window(models: tuple[str, ...], there: bool) -> None:
    inference = Tagger.load(models, "onnx").follow(heard(), 16_000)
    assert ("ms_crnn" in inference.calibrated(336_000, 32_000, False)) == there
    assert "ms_crnn" in inference.calibrated(352_000, 32_000)
