"""Every engine gives the same results for the bundles' golden input, within the tolerance of its precision."""

import numpy as np
import pytest

from instrec_live.models.bundle import DEFAULT_MODELS, Bundle, bundled
from instrec_live.models.calibration import sigmoid
from instrec_live.models.engines.base import PROBABILITY_TOLERANCE, CachingEngine, verify_golden
from instrec_live.models.engines.registry import available, open_engine, parse_engine

SPANS = (200, 250, 517, 1000)  # frames


@pytest.fixture(scope="module", params=available(), ids=lambda found: found[0])
def engine(request):
    name, usable, reason = request.param
    if not usable:
        pytest.skip(f"engine {name}: {reason}")
    return name


@pytest.fixture(scope="module", params=DEFAULT_MODELS)
def opened(request, engine):
    bundle = Bundle.load(bundled(request.param))
    return bundle, open_engine(bundle, engine)


def probabilities(bundle, logits):
    return sigmoid(bundle.calibration(logits[..., :20]))


def test_the_golden_clip(engine, opened):
    bundle, running = opened
    verify_golden(running, bundle, parse_engine(engine)[1])
    log_mel, golden = bundle.golden
    (logits,) = running.logits(log_mel[None])
    assert logits.dtype == np.float32
    difference = np.abs(probabilities(bundle, logits) - probabilities(bundle, golden)).max()
    assert difference <= PROBABILITY_TOLERANCE[parse_engine(engine)[1]]
    assert logits.argmax() == golden.argmax()


@pytest.mark.parametrize("frames", SPANS)
def test_shorter_spans_as_the_plainest_engine(engine, opened, frames):
    bundle, running = opened
    windows = np.stack([bundle.golden[0][:, :frames], bundle.golden[0][:, -frames:]])
    expected = open_engine(bundle, "onnx").logits(windows)
    difference = np.abs(probabilities(bundle, running.logits(windows)) - probabilities(bundle, expected)).max()
    assert difference <= PROBABILITY_TOLERANCE[parse_engine(engine)[1]]


def test_cached_embeddings_give_the_same_logits(engine, opened):
    bundle, running = opened
    if not isinstance(running, CachingEngine):
        pytest.skip("it hears windows whole")
    log_mel = bundle.golden[0][None, :, :960]
    nothing = np.empty((0, running.width), np.float32)
    whole, embeddings = running.run(log_mel, nothing)
    assert embeddings.shape == (10, running.width)
    half, _ = running.run(log_mel[..., 480:], embeddings[:5])
    recalled, none = running.run(log_mel[..., :0], embeddings)
    assert none.shape == (0, running.width)
    for logits in (running.logits(log_mel), half, recalled):
        difference = np.abs(probabilities(bundle, logits) - probabilities(bundle, whole)).max()
        assert difference <= PROBABILITY_TOLERANCE[parse_engine(engine)[1]]
