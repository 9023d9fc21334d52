"""An engine and its networks, measured as the program runs them, over the demo. The benchmark does this in a process of
its own, so that memory means something and a library that crashes takes nothing with it:

    python -m instrec_live.realtime.benchmark.measurement engines | REQUEST
"""

import json
import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.resources import as_file, files
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.bundle import Bundle
from instrec_live.models.calibration import sigmoid
from instrec_live.models.engines import available
from instrec_live.models.errors import InstrecError, ModelError
from instrec_live.models.follower import patch_stride
from instrec_live.models.logmel import HOP, SAMPLE_RATE, WINDOW_SECONDS, StreamingLogMel
from instrec_live.models.tagger import Tagger
from instrec_live.realtime.analysis import Analysis, Follower, hop_samples
from instrec_live.realtime.benchmark.verdict import Timing, smallest_hop
from instrec_live.realtime.capture import Intake
from instrec_live.realtime.smoothing import Smoothing
from instrec_live.realtime.sources import FileSource

FloatArray = NDArray[np.float32]
Window = tuple[int, int]  # absolute index after its last sample, samples

_WINDOW = int(WINDOW_SECONDS * SAMPLE_RATE)
_FEWEST = 2  # long windows to be heard, however slow


@dataclass(frozen=True, slots=True)
class Request:
    """What to measure.

    Attributes:
        folders: of the bundles.
        engine: as --engine takes it.
        threads: of the engine.
        weights: of the models in the ensemble; None: the ensemble's own.
        hop: s.
        seconds: for which updates are measured, of wall-clock time; some more if they are slow.
    """

    folders: Sequence[str]
    engine: str
    threads: int
    weights: Sequence[float] | None
    hop: float
    seconds: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured.

    Attributes:
        runs_on: the engine's own name.
        timings: (wall, cpu, long) of every update, as `Timing`.
        smallest_hop: that keeps up, s; None: none does.
        resident_mb, added_mb: memory, see `Figures`.
        answers: (end, length, the 20 probabilities) of every window heard, the ensemble's where there are several
            networks.
    """

    runs_on: str
    timings: Sequence[tuple[float, float, bool]]
    smallest_hop: float | None
    resident_mb: float | None
    added_mb: float | None
    answers: Sequence[tuple[int, int, Sequence[float]]]


class Overheard:
    """A tagger whose answers are noted; see `analysis.Tagger`."""

    def __init__(self, tagger: Tagger) -> None:
        self._tagger = tagger
        self.models = tagger.models
        self.answers: dict[Window, FloatArray] = {}  # probabilities, in the order heard

    def follow(self, mel: StreamingLogMel, hop: int) -> "_OverheardFollower":
        return _OverheardFollower(self._tagger.follow(mel, hop), self)

    def ensemble(self, calibrated: Mapping[str, FloatArray]) -> FloatArray:
        return self._tagger.ensemble(calibrated)


class _OverheardFollower:
    def __init__(self, follower: Follower, overheard: Overheard) -> None:
        self._follower, self._overheard = follower, overheard

    def calibrated(self, end: int, length: int) -> Mapping[str, FloatArray]:
        answer = self._follower.calibrated(end, length)
        if dumb := set(self._overheard.models) - answer.keys():
            raise ModelError(f"{', '.join(sorted(dumb))} gives something that is not a number")
        self._overheard.answers[end, length] = sigmoid(self._overheard.ensemble(answer))
        return answer

    def prepare(self, windows: Sequence[Window]) -> None:
        self._follower.prepare(windows)


def measure(request: Request) -> Measurement:
    """Open the networks and let them follow the demo.

    Raises:
        ModelError: they cannot be opened, fail, or give something that is not a number.
    """
    before = memory()
    sound = demo()
    bundles = [Bundle.load(folder) for folder in request.folders]
    patchwise = any(bundle.width for bundle in bundles)
    tagger = Tagger(bundles, request.engine, request.threads, request.weights)
    del bundles  # the networks are in the engine now
    overheard = Overheard(tagger)
    timings = list(updates(overheard, sound, hop_samples(request.hop), request.seconds, patchwise))
    after = memory()
    hop = smallest_hop(timings)
    if patchwise and hop is not None and hop > request.hop:  # there an update may hear more new patches
        again = smallest_hop(list(updates(Overheard(tagger), sound, hop_samples(hop), 0.0, patchwise)))
        hop = None if again is None else max(hop, again)
    return Measurement(
        runs_on=tagger.engine_name,
        timings=[(each.wall, each.cpu, each.long) for each in timings],
        smallest_hop=hop,
        resident_mb=after and after[1],
        added_mb=after and before and after[1] - before[0],
        answers=[(*window, answer.tolist()) for window, answer in overheard.answers.items()],
    )


def updates(tagger: Overheard, sound: FloatArray, hop: int, seconds: float, patchwise: bool) -> Iterator[Timing]:
    """What each update takes once ten seconds have been heard, for `seconds` of wall-clock time or once through the
    sound; whole beats of the long window.

    Args:
        tagger: the networks.
        sound: float32 [n], mono at 32 kHz; after its end it begins again.
        hop: samples.
        seconds: see above.
        patchwise: a network hears in patches, so that an update's cost depends on those before it.
    """
    analysis = Analysis(tagger, hop, np.full(20, 0.5), -np.inf, Smoothing())  # no silence: it would cost nothing
    analysis.hear(_part(sound, 0, _WINDOW))  # both lengths of window, so that no first run is measured
    steps = _steps(analysis, tagger, sound, hop)
    if patchwise:  # patches lie a second apart, or are known only once all of the window was heard hop by hop
        settled = analysis.end + (SAMPLE_RATE if patch_stride(hop // HOP) * HOP == SAMPLE_RATE else _WINDOW)
        next(timing for timing in steps if timing.long and analysis.end >= settled)
    began, beats = perf_counter(), 0
    for timing in steps:
        yield timing
        beats += timing.long
        over = perf_counter() - began > seconds or analysis.end > len(sound)
        if over and timing.long and beats >= _FEWEST:
            return


def _steps(analysis: Analysis, tagger: Overheard, sound: FloatArray, hop: int) -> Iterator[Timing]:
    """Update after update."""
    while True:
        piece, answers = _part(sound, analysis.end, hop), len(tagger.answers)
        wall, cpu = perf_counter(), process_time()
        analysis.hear(piece)
        yield Timing(perf_counter() - wall, process_time() - cpu, long=len(tagger.answers) - answers > 1)


def _part(sound: FloatArray, start: int, length: int) -> FloatArray:
    return np.take(sound, np.arange(start, start + length), mode="wrap")


def demo() -> FloatArray:
    """The bundled demo, float32 [n], mono at 32 kHz."""
    with as_file(files("instrec_live.realtime") / "demo" / "demo.ogg") as path:
        source = FileSource(path)
        try:
            return np.concatenate(list(Intake(source)))
        finally:
            source.close()


def memory() -> tuple[float, float] | None:
    """This process's resident memory, MB: now, and at its peak. Where the system tells only the peak: that, twice;
    None where it does not tell even that."""
    try:
        told = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
        kilobytes = dict(re.findall(r"^(VmRSS|VmHWM):\s*(\d+) kB", told, re.MULTILINE))
        return int(kilobytes["VmRSS"]) * 1024 / 1e6, int(kilobytes["VmHWM"]) * 1024 / 1e6
    except (OSError, KeyError):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024) / 1e6
    return peak, peak


def main(argv: Sequence[str]) -> None:
    """Print one JSON value: the engines' state, or the measurement that argv's JSON asks for, or {"error": …}."""
    answer = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever the libraries print is not the answer
    out: object
    try:
        out = available() if argv[0] == "engines" else asdict(measure(Request(**json.loads(argv[0]))))
    except InstrecError as error:
        out = {"error": str(error)}
    with answer:
        json.dump(out, answer, allow_nan=False)


if __name__ == "__main__":
    main(sys.argv[1:])
