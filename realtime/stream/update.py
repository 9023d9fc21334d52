"""What a stream reports: the contract between stream, screen and outputs. It loads no numpy."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.realtime.stream.activity import off_threshold

if TYPE_CHECKING:
    from instrec_live.models.arrays import FloatArray


class State(Enum):
    """The state word; its value is what the screen and the data show."""

    OK = "OK"
    WARMING = "WARMING"  # less than 10 s of sound so far
    QUIET = "QUIET"  # below the gate: nothing is shown active
    CATCHING_UP = "CATCHING UP"  # more than 10 % of the last minute's windows were skipped
    DEVICE_LOST = "DEVICE LOST"
    ENDED = "ENDED"


@dataclass(frozen=True, slots=True)
class StreamInfo:
    """Facts of a stream that seldom change; when one does, the stream gets a new object."""

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
    decisions: str = "causal"  # or "lookahead": an update is about its hop, decided with the sound after it too
    instruments: tuple[str, ...] = INSTRUMENTS  # those listened for; the others are neither shown nor written
    classes: tuple[str, ...] = INSTRUMENTS  # all that the models recognise: an update has their probabilities
    start: float = 0.0  # s; where it begins in its file
    off_margin: float = 0.0  # logits; depth of the hysteresis; infinite with look-ahead, which has no off-threshold

    @property
    def end(self) -> float | None:
        """The second of the source's clock at which it ends; None if unknown."""
        return None if self.duration is None else self.start + self.duration

    @property
    def off_thresholds(self) -> dict[str, float]:
        """The thresholds below which what is active is switched off, per instrument."""
        return {name: off_threshold(on_at, self.off_margin) for name, on_at in self.thresholds.items()}


@dataclass(frozen=True, slots=True)
class CaptureStats:
    """The capture's figures of a hop when its update is made; the defaults are those of offline work.

    Attributes:
        age_s: wall-clock seconds since the newest sound was captured.
        xruns: losses of sound before the analysis, so far.
        bad_samples: non-finite samples zeroed so far.
        jumped: the sound before this hop is not what came before it.
        gap: some of the last 10 s of sound is missing.
        no_signal: the microphone has given only zeros for 5 s.
    """

    age_s: float = 0.0
    xruns: int = 0
    bad_samples: int = 0
    jumped: bool = False
    gap: bool = False
    no_signal: bool = False


@dataclass(frozen=True, slots=True)
class Update:
    """The result of one hop. Times are seconds of the source's own sample clock.

    Attributes:
        time: end of the newest sound in this update, s.
        probabilities: float32 [n], the smoothed, calibrated ensemble: of the 20 instruments, and of those that learned
            bundles add; 0 for what is not listened for.
        active: names of the instruments that sound now, after hysteresis, in tag order.
        by_model: each network's own smoothed probabilities, as many, NaN for instruments that it does not know; a
            network that gives no numbers is absent.
        level_db: RMS of the newest hop without its constant offset, dBFS, at least -120.
        peak_db: highest absolute sample of the newest hop, dBFS, at least -120.
        state: the state word.
        filled_s: seconds of sound in the long window (10 when warm).
        age_s: wall-clock seconds from the newest sound to this update (0 with pace "max").
        inference_s: time spent in the networks for this update, s.
        skipped: windows skipped so far because inference was late.
        xruns: losses of sound before the analysis, so far.
        bad_samples: non-finite samples zeroed so far.
        jumped: the sound before this update is not what came before it: the first one after a seek or a device switch.
        gap: some of the last 10 s of sound is missing, because the driver or a long stall lost it.
        no_signal: the microphone has given only zeros for 5 s: it may be muted.
        mel: log-mel frames of the new sound, float32 [128, frames], 100 frames a second; None unless the stream keeps
            them.
        kind: the kind of sound, one of `models.audioset.KIND_ROWS`; None where no network distinguishes them.
        also: likely instruments other than these, with their probabilities.
        instruments: the names that belong to the probabilities.
        sound_s: seconds of sound since the update before, or since where the sound began; None: a hop.
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
    kind: str | None = None
    also: "Mapping[str, float]" = field(default_factory=dict)
    instruments: tuple[str, ...] = INSTRUMENTS
    sound_s: float | None = None

    def probability(self, name: str) -> float:
        """That of one instrument."""
        return float(self.probabilities[self.instruments.index(name)])


class Transport(Protocol):
    """Playback of a file. Every method may be called from any thread and returns at once.

    Attributes:
        paused: whether playback is paused.
        speed: seconds of sound per second, 1.0 as recorded.
        position: second of the file that is being processed now.
        duration: where the file ends, s from its own start; None if unknown.
        audible: whether the file is also played on the loudspeakers.
    """

    @property
    def paused(self) -> bool: ...
    @property
    def speed(self) -> float: ...
    @property
    def position(self) -> float: ...
    @property
    def duration(self) -> float | None: ...
    @property
    def audible(self) -> bool: ...
    def pause(self, paused: bool) -> None:
        """Pause or resume."""

    def seek(self, time: float) -> None:
        """Continue at another second of the file, clipped to its length; the next update has `jumped`."""

    def go(self, speed: float) -> None:
        """Play at another speed, 0.25…4; windows are skipped where this machine is too slow for it."""


class Controls(Protocol):
    """What the keys of the screen can do to a stream and its outputs.

    Attributes:
        transport: of a file played in real time, else None.
        recording: the file that the sound is being recorded into, or None.
    """

    @property
    def transport(self) -> Transport | None: ...
    @property
    def recording(self) -> Path | None: ...
    def set_thresholds(self, thresholds: Mapping[str, float], /) -> None:
        """Use other thresholds for some instruments from the next update on; `info` has them at once."""

    def listen_to(self, device: int | str | None) -> None:
        """Switch to another microphone; the clock continues and the next update has `jumped`.

        Blocks until the device is open. On an error the old device stays.

        Raises:
            AudioDeviceError: it cannot be opened.
            UsageError: the stream does not listen to a microphone.
        """

    def label(self, text: str, time: float) -> Path | None:
        """Write a label at `time` (s) into every output that can hold one.

        Returns the file that was made for labels because no output keeps them, or None.

        Raises:
            UsageError: it can be written nowhere.
        """

    def export_events(self) -> Path:
        """Write the entries and exits so far, and the labels, as a label track; returns its file.

        Raises:
            UsageError: it cannot be written.
        """

    def record(self, on: bool) -> Path:
        """Start a recording, which includes the last seconds, or stop it; returns its file.

        Raises:
            UsageError: the file cannot be created.
        """

    def notices(self) -> list[str]:
        """Problems since the last call that ended nothing, in short lines: a full disk, a lost player."""
