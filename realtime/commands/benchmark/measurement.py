"""An engine and its networks, measured as the program runs them, over the demo. The benchmark does this in a process of
its own, so that memory means something and a library that crashes takes nothing with it:

    python -m instrec_live.realtime.commands.benchmark.measurement engines | REQUEST
"""

import json
import logging
import os
import platform
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from importlib.resources import as_file, files
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np

from instrec_live.models.arrays import FloatArray
from instrec_live.models.bundle import Bundle
from instrec_live.models.calibration import sigmoid
from instrec_live.models.engine_selection import processor
from instrec_live.models.engines.registry import available
from instrec_live.models.errors import InstrecError, ModelError
from instrec_live.models.logmel import HOP, SAMPLE_RATE, WINDOW_SECONDS, StreamingLogMel
from instrec_live.models.safe_path import python_command
from instrec_live.models.streaming import Window, patch_stride
from instrec_live.models.tagger import Tagger
from instrec_live.realtime.audio import FileSource
from instrec_live.realtime.commands.benchmark.verdict import Timing, smallest_hop
from instrec_live.realtime.errors import printable
from instrec_live.realtime.stream.analysis import Analysis, Inference, hop_samples
from instrec_live.realtime.stream.capture import MonoReader
from instrec_live.realtime.stream.smoothing import Smoothing

log = logging.getLogger(__name__)

# What a benchmark ran on.

_BUSY = 0.5  # runnable programs per core: above this, times are too long


def facts() -> dict[str, Any]:
    """Versions, the processor's name, how many cores, and the recent load (0: not known)."""
    return {
        "instrec_live": version("instrec-live"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": printable(processor()),
        "cores": os.cpu_count() or 1,
        "load": _load(),
    }


def is_busy(machine: dict[str, Any]) -> bool:
    return bool(machine["load"] > _BUSY * machine["cores"])


def heading(machine: dict[str, Any], threads: int) -> list[str]:
    """The same in two lines."""
    return [
        f"instrec-live {machine['instrec_live']}, Python {machine['python']}, {platform.system()}",
        f"{machine['processor']}, {_count(machine['cores'], 'core')}; {_count(threads, 'thread')}",
    ]


def _load() -> float:
    try:
        return os.getloadavg()[0]
    except (AttributeError, OSError):  # Windows has none
        return 0.0


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'s' * (number != 1)}"


# A child process that tries something which may crash or hang, and answers with one JSON value.

_SOON = 20.0  # s; then a message


class HungError(ModelError):
    """The child did not come to an end."""


def attempt(arguments: Sequence[str], patience: float) -> Any:
    """What `python ARGUMENTS` prints on stdout, a JSON value.

    Its stderr is for the log at most.

    Raises:
        HungError: after `patience` seconds; it is ended.
        ModelError: it crashed, printed no JSON, or {"error": …}.
    """
    command = python_command(*arguments)
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as child:
        try:
            out, stderr = _ended(child, patience)
        except subprocess.TimeoutExpired:
            raise HungError(f"stopped, not done after {patience:g} s") from None
        finally:  # also when a signal ends this program
            child.kill()
    for line in stderr.splitlines():
        log.debug("%s", line)
    if child.returncode:
        raise ModelError(how_it_ended(child.returncode, stderr))
    try:
        answer = json.loads(out)
    except ValueError:
        raise ModelError("it ended without a result") from None
    if isinstance(answer, dict) and "error" in answer:
        raise ModelError(str(answer["error"]))
    return answer


def _ended(child: "subprocess.Popen[str]", patience: float) -> tuple[str, str]:
    try:
        return child.communicate(timeout=min(_SOON, patience))
    except subprocess.TimeoutExpired:
        if patience <= _SOON:
            raise
    log.info("still working; the first build of a network by an engine can take minutes")
    return child.communicate(timeout=patience - _SOON)


def how_it_ended(code: int, stderr: str) -> str:
    """In words: a signal, or the last line of a failed process."""
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"it crashed ({name})" + ("; did it run out of memory?" if name == "SIGKILL" else "")
    last = next((line for line in reversed(stderr.splitlines()) if line.strip()), "")
    return f"it failed with exit code {code}" + (f": {printable(last)[:200]}" if last else "")


_WINDOW = int(WINDOW_SECONDS * SAMPLE_RATE)

_FEWEST = 2  # least number of long windows


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
        answers: (end, length, the 20 probabilities) of every window, the ensemble's if there are several
            networks.
    """

    runs_on: str
    timings: Sequence[tuple[float, float, bool]]
    smallest_hop: float | None
    resident_mb: float | None
    added_mb: float | None
    answers: Sequence[tuple[int, int, Sequence[float]]]


class RecordingTagger:
    """A tagger whose answers are noted; see `analysis.Tagger`."""

    def __init__(self, tagger: Tagger) -> None:
        self._tagger = tagger
        self.models, self.instruments = tagger.models, tagger.instruments
        self.answers: dict[tuple[int, int], FloatArray] = {}  # probabilities by end and length, in order of time

    def follow(self, mel: StreamingLogMel, hop: int) -> "_RecordingInference":
        return _RecordingInference(self._tagger.follow(mel, hop), self)

    def ensemble(self, calibrated: Mapping[str, FloatArray]) -> FloatArray:
        return self._tagger.ensemble(calibrated)


class _RecordingInference:
    def __init__(self, inference: Inference, recorder: RecordingTagger) -> None:
        self._inference, self._recorder = inference, recorder

    def calibrated(self, end: int, length: int, whole: bool = True) -> Mapping[str, FloatArray]:
        answer = self._inference.calibrated(end, length, whole)
        if silent := set(self._recorder.models) - answer.keys():
            raise ModelError(f"{', '.join(sorted(silent))} gives values that are not numbers")
        self._recorder.answers[end, length] = sigmoid(self._recorder.ensemble(answer))
        return answer

    def prepare(self, windows: Sequence[Window]) -> None:
        self._inference.prepare(windows)


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
    recorder = RecordingTagger(tagger)
    timings = list(updates(recorder, sound, hop_samples(request.hop), request.seconds, patchwise))
    after = memory()
    hop = smallest_hop(timings)
    if patchwise and hop is not None and hop > request.hop:  # there an update may have more new patches
        again = smallest_hop(list(updates(RecordingTagger(tagger), sound, hop_samples(hop), 0.0, patchwise)))
        hop = None if again is None else max(hop, again)
    return Measurement(
        runs_on=tagger.engine_name,
        timings=[(each.wall, each.cpu, each.long) for each in timings],
        smallest_hop=hop,
        resident_mb=after and after[1],
        added_mb=after and before and after[1] - before[0],
        answers=[(*window, answer.tolist()) for window, answer in recorder.answers.items()],
    )


def updates(tagger: RecordingTagger, sound: FloatArray, hop: int, seconds: float, patchwise: bool) -> Iterator[Timing]:
    """The time of each update after the first ten seconds, for `seconds` of wall-clock time or once through the
    sound; whole beats of the long window.

    Args:
        tagger: the networks.
        sound: float32 [n], mono at 32 kHz; after its end it begins again.
        hop: samples.
        seconds: see above.
        patchwise: a network works on patches, so that an update's cost depends on earlier ones.
    """
    analysis = Analysis(tagger, hop, np.full(20, 0.5), -np.inf, Smoothing())  # no silence: it would cost nothing
    analysis.process(_part(sound, 0, _WINDOW))  # both lengths of window, so that no first run is measured
    steps = _steps(analysis, tagger, sound, hop)
    if patchwise:  # patches lie a second apart, or are cached only once the window was computed hop by hop
        settled = analysis.end + (SAMPLE_RATE if patch_stride(hop // HOP) * HOP == SAMPLE_RATE else _WINDOW)
        next(timing for timing in steps if timing.long and analysis.end >= settled)
    began, beats = perf_counter(), 0
    for timing in steps:
        yield timing
        beats += timing.long
        over = perf_counter() - began > seconds or analysis.end > len(sound)
        if over and timing.long and beats >= _FEWEST:
            return


def _steps(analysis: Analysis, tagger: RecordingTagger, sound: FloatArray, hop: int) -> Iterator[Timing]:
    """Update after update."""
    while True:
        piece, answers = _part(sound, analysis.end, hop), len(tagger.answers)
        wall, cpu = perf_counter(), process_time()
        analysis.process(piece)
        yield Timing(perf_counter() - wall, process_time() - cpu, long=len(tagger.answers) - answers > 1)


def _part(sound: FloatArray, start: int, length: int) -> FloatArray:
    return np.take(sound, np.arange(start, start + length), mode="wrap")


def demo() -> FloatArray:
    """The bundled demo, float32 [n], mono at 32 kHz."""
    with as_file(files("instrec_live.realtime") / "demo" / "demo.ogg") as path:
        source = FileSource(path)
        try:
            return np.concatenate(list(MonoReader(source)))
        finally:
            source.close()


def memory() -> tuple[float, float] | None:
    """This process's resident memory, MB: now, and at its peak. If the system reports only the peak: that, twice;
    None if it reports neither."""
    try:
        found = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
        kilobytes = dict(re.findall(r"^(VmRSS|VmHWM):\s*(\d+) kB", found, re.MULTILINE))
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
    os.dup2(2, 1)  # output of libraries is not part of the answer
    out: object
    try:
        out = available() if argv[0] == "engines" else asdict(measure(Request(**json.loads(argv[0]))))
    except InstrecError as error:
        out = {"error": str(error)}
    with answer:
        json.dump(out, answer, allow_nan=False)


if __name__ == "__main__":
    main(sys.argv[1:])
