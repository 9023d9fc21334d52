"""What a stream says at every hop, and what it says of itself: the contract between stream, screen and outputs."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float32]


class State(Enum):
    """The one word for how things are; its value is what the screen and the data show."""

    OK = "OK"
    WARMING = "WARMING"  # less than 10 s heard so far
    QUIET = "QUIET"  # below the gate: nothing is shown active
    CATCHING_UP = "CATCHING UP"  # more than 10 % of the last minute's windows were skipped
    DEVICE_LOST = "DEVICE LOST"
    ENDED = "ENDED"


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """What seldom changes while a stream runs; when it does, the stream has another one of these."""

    source: str  # "concert.wav", "[2] Scarlett 2i2", "stdin"
    source_rate: int  # Hz, before resampling to 32 kHz
    source_channels: int
    duration: float | None  # s, None if unknown
    live: bool  # the source cannot wait
    pace: str  # "realtime" or "max"
    hop: float  # s between updates
    models: tuple[str, ...]
    engine: str  # e.g. "onnxruntime 1.32 cpu"
    sha256s: Mapping[str, str]  # of each model's ONNX file
    weights: Mapping[str, float]  # of each model in the ensemble
    thresholds: Mapping[str, float]  # of the ensemble, per instrument
    model_thresholds: Mapping[str, Mapping[str, float]]  # each network's own, per instrument


@dataclass(frozen=True, slots=True)
class Update:
    """One hop's result. Times are seconds of the source's own sample clock.

    Attributes:
        time: end of the newest sound this update has heard, s.
        probabilities: float32 [20], the smoothed, calibrated ensemble.
        active: names of the instruments that sound now, after hysteresis, in tag order.
        by_model: each network's own smoothed probabilities, float32 [20]; one that gives no numbers is absent.
        level_db: RMS of the newest hop without its constant offset, dBFS, floored at -120.
        peak_db: highest absolute sample of the newest hop, dBFS, floored at -120.
        state: the state word.
        filled_s: seconds of sound in the long window (10 when warm).
        age_s: newest sound to this update, wall clock, s (0 with pace "max").
        inference_s: time spent in the networks for this update, s.
        skipped: windows skipped so far because inference was late.
        xruns: times that sound was lost on the way in so far.
        bad_samples: non-finite samples zeroed so far.
        jumped: the sound before this update is not what came before it: the first after a seek, or of another device.
        gap: some of the last 10 s of sound is missing, because the driver or a long stall lost it.
        no_signal: the microphone has given zeros only for 5 s: it may be muted.
        mel: what the networks were given of the new sound, float32 [128, frames], 100 frames a second; None where
            nobody keeps it.
    """

    time: float
    probabilities: "FloatArray"
    active: tuple[str, ...]
    by_model: "Mapping[str, FloatArray]"
    level_db: float
    peak_db: float
    state: State
    filled_s: float
    age_s: float
    inference_s: float
    skipped: int
    xruns: int
    bad_samples: int
    jumped: bool = False
    gap: bool = False
    no_signal: bool = False
    mel: "FloatArray | None" = None
