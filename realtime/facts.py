"""What is to be known of a stream before it says anything."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.logmel import SAMPLE_RATE
from instrec_live.realtime.smoothing import Smoothing, live_thresholds
from instrec_live.realtime.sources import Source
from instrec_live.realtime.thresholds import by_instrument
from instrec_live.realtime.update import StreamInfo

if TYPE_CHECKING:
    from instrec_live.models.tagger import Tagger


def facts_of(
    source: Source, pace: str, hop: int, tagger: "Tagger", levels: NDArray[np.float32], smoothing: Smoothing
) -> StreamInfo:
    """The facts of a stream of `source`, `hop` samples from update to update, with thresholds `levels` [20]."""
    return StreamInfo(
        source=source.label,
        source_rate=source.rate,
        source_channels=source.channels,
        duration=source.duration,
        live=source.live,
        pace=pace,
        hop=hop / SAMPLE_RATE,
        models=tuple(tagger.models),
        engine=tagger.engine_name,
        sha256s=dict(tagger.sha256s),
        weights=dict(tagger.weights),
        thresholds=by_instrument(levels),
        model_thresholds={
            name: by_instrument(live_thresholds(tagger.thresholds_of(name), smoothing)) for name in tagger.models
        },
    )
