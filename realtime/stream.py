"""Sound in, updates out: wires source, networks and smoothing together. The Python API; no UI."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.bundle import DEFAULT_MODELS
from instrec_live.models.errors import InputFileError, InstrecError, UsageError
from instrec_live.models.logmel import HOP, SAMPLE_RATE, WINDOW_SECONDS, StreamingLogMel
from instrec_live.realtime.analysis import AHEAD_SECONDS, Analysis, hop_samples
from instrec_live.realtime.capture import Capture, Intake
from instrec_live.realtime.devices import resolve
from instrec_live.realtime.ring_buffer import Overrun, RingBuffer
from instrec_live.realtime.smoothing import Smoothing, live_thresholds
from instrec_live.realtime.sources import FileSource, MicrophoneSource, PipeSource, Source
from instrec_live.realtime.thresholds import by_instrument, merged_thresholds
from instrec_live.realtime.update import StreamInfo, Update

if TYPE_CHECKING:
    from instrec_live.models.tagger import Tagger

FloatArray = NDArray[np.float32]
Tap = Callable[[FloatArray], None]

_KEPT_SECONDS = 30  # how long inference may stall before sound is lost
_BATCH = 16  # hops of a file that go through the networks together
# A pipe may run a little fast of our clock; held to exactly real time its sound would pile up in the pipe.
_PIPE_SPEED = 1.01


class Stream:
    """Listens to a file, a microphone or a pipe and says at every hop which instruments sound.

    Use as a context manager and iterate it once, in any thread; `close` may come from another. With pace
    "max" every hop is heard, and the updates are the same from run to run. With pace "realtime" a hop that
    inference is too late for is skipped and counted, never the sound in it.

    Args:
        file: path of a sound file.
        device: index or part of the name of a microphone; with no source at all, the default one.
        stdin: a binary stream of WAV, or of raw PCM as `rate`, `channels` and `sample_format` describe it.
        source: any other source.
        hop: seconds between updates, 0.1…60, rounded to 10 ms.
        pace: "realtime" or "max".
        models: bundled names or bundle folders.
        engine: what runs the networks.
        threads: CPU threads of the engine.
        weights: of the models in the ensemble, in their order; None keeps the ensemble's own.
        tagger: networks already loaded, instead of the four before.
        thresholds: one for all, or some by instrument (the others keep the models' own); None keeps all.
        gate_db: RMS below which a hop counts as silence, dBFS.
        smoothing: how fast and how steadily answers follow the sound.
        start: where in the file to begin, s; update times count from the file's own start.
        duration: how long to listen, s.
        rate, sample_format: of raw PCM, Hz, and s16le, s24le, s32le or f32le.
        channels: of raw PCM (None: 1), or to record from a microphone (None: the first two).

    Attributes:
        info: what does not change while it runs.
        smoothing: the one in force.

    Raises:
        UsageError, InputFileError, AudioDeviceError, ModelError: on construction. While iterating, those of
            the source are raised after the updates of the sound before them.
    """

    def __init__(
        self,
        file: str | Path | None = None,
        device: int | str | None = None,
        stdin: BinaryIO | None = None,
        source: Source | None = None,
        *,
        hop: float = 0.5,
        pace: str = "realtime",
        models: Sequence[str] = DEFAULT_MODELS,
        engine: str = "auto",
        threads: int = 1,
        weights: Sequence[float] | None = None,
        tagger: "Tagger | None" = None,
        thresholds: float | Mapping[str, float] | None = None,
        gate_db: float = -60.0,
        smoothing: Smoothing | None = None,
        start: float = 0.0,
        duration: float | None = None,
        rate: int = 44_100,
        channels: int | None = None,
        sample_format: str = "s16le",
    ) -> None:
        if sum(given is not None for given in (file, device, stdin, source)) > 1:
            raise UsageError("a stream has one source: a file, a device, stdin or a source")
        if pace not in ("realtime", "max"):
            raise UsageError(f"the pace is realtime or max, not {pace}")
        self._hop = hop_samples(hop)
        self.smoothing = smoothing = smoothing or Smoothing()

        # Before the networks are loaded: a bad file or device is told at once. A microphone is opened after
        # them, because it would fill up meanwhile.
        if file is not None:
            source = FileSource(file, start=start, duration=duration)
        elif stdin is None and source is None:
            if pace == "max":
                raise UsageError("a microphone cannot be hurried: pace max is for files and pipes")
            resolve(device)
        if tagger is None:
            from instrec_live.models.tagger import Tagger

            tagger = Tagger.load(models=tuple(models), engine=engine, threads=threads, weights=weights)
        levels = merged_thresholds(live_thresholds(tagger.thresholds, smoothing), thresholds)
        analysis = Analysis(tagger, self._hop, levels, gate_db, smoothing, start if file is not None else 0.0)
        if pace == "realtime":
            _warm_up(tagger, self._hop, smoothing)

        speed: float | None = None
        if stdin is not None:
            source, speed = PipeSource(stdin, rate, channels or 1, sample_format), _PIPE_SPEED
        elif source is None:
            source = MicrophoneSource(device, channels)
        elif not source.live:
            speed = 1.0

        self._source, self._analysis = source, analysis
        self._intake = Intake(source, None if file is not None else duration)
        self._ring: RingBuffer | None = None
        self._capture: Capture | None = None
        if pace == "realtime":
            self._ring = RingBuffer(self._hop + _KEPT_SECONDS * SAMPLE_RATE)
            self._capture = Capture(self._intake, self._ring, speed)
        self._stopped = threading.Event()
        self._begun = False
        self._taps: list[Tap] = []
        self.info = StreamInfo(
            source=source.label,
            source_rate=source.rate,
            source_channels=source.channels,
            duration=source.duration,
            live=source.live,
            pace=pace,
            hop=self._hop / SAMPLE_RATE,
            models=tuple(tagger.models),
            engine=tagger.engine_name,
            sha256s=dict(tagger.sha256s),
            weights=dict(tagger.weights),
            thresholds=by_instrument(levels),
            model_thresholds={
                name: by_instrument(live_thresholds(tagger.thresholds_of(name), smoothing)) for name in tagger.models
            },
        )

    def __enter__(self) -> "Stream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the iteration soon, wherever it runs, and let go of the source. From any thread, any time."""
        self._stopped.set()
        if self._ring is not None:
            self._ring.close()
        if self._capture is not None:
            self._capture.stop()
        self._source.close()
        if self._capture is not None:
            self._capture.join(1.0)

    def tap(self, listener: Tap) -> None:
        """Also hand all sound heard, float32 [m] mono at 32 kHz, to `listener`, in the iterating thread."""
        self._taps.append(listener)

    def __iter__(self) -> Iterator[Update]:
        if self._begun:
            raise RuntimeError("a stream can be heard only once")
        self._begun = True
        try:
            for update in self._heard_in_batches() if self._capture is None else self._heard_live(self._capture):
                if self._stopped.is_set():
                    return
                yield replace(update, xruns=self._source.xruns, bad_samples=self._source.bad_samples)
            if self._analysis.end == 0 and not self._stopped.is_set():
                raise InputFileError(f"{self.info.source}: there is no sound in it")
        finally:
            self.close()

    def _heard_live(self, capture: Capture) -> Iterator[Update]:
        for samples, skipped in self._newest_hops(capture):
            self._hand_on(samples)
            update = self._analysis.hear(samples, skipped)
            yield replace(update, age_s=capture.age(self._analysis.end))

    def _heard_in_batches(self) -> Iterator[Update]:
        """A file's hops in batches; a pipe's one by one, since the next may be long in coming."""
        hops = self._all_hops()
        most = max(1, min(_BATCH, int(AHEAD_SECONDS * SAMPLE_RATE) // self._hop))
        for batch in batched(hops, most if self.info.duration else 1):
            for samples, update in zip(batch, self._analysis.hear_all(batch), strict=True):
                self._hand_on(samples)
                yield update

    def _hand_on(self, samples: FloatArray) -> None:
        for listener in self._taps:
            listener(samples)

    def _all_hops(self) -> Iterator[FloatArray]:
        """Every hop, as fast as it can be read, and what is left at the end."""
        pending, heard = np.empty(0, np.float32), 0
        for block in self._intake:
            if self._stopped.is_set():
                return
            pending = np.concatenate([pending, block])
            while len(pending) >= self._hop:
                yield pending[: self._hop]
                pending, heard = pending[self._hop :], heard + self._hop
        rest = self._last_piece(pending, heard)
        if len(rest):
            yield rest

    def _newest_hops(self, capture: Capture) -> Iterator[tuple[FloatArray, int]]:
        """The sound up to the newest whole hop, each time one is there, and what is left at the end."""
        assert self._ring is not None
        capture.start()
        heard = 0
        while not self._stopped.is_set():
            if self._ring.wait(heard + self._hop):
                hops = (self._ring.written - heard) // self._hop
                yield self._since(heard, heard + hops * self._hop), hops - 1
                heard += hops * self._hop
            elif capture.error is not None:
                raise capture.error
            elif not self._stopped.is_set():  # the sound has ended
                rest = self._last_piece(self._since(heard, self._ring.written), heard)
                if len(rest):
                    yield rest, 0
                return

    def _since(self, start: int, stop: int) -> FloatArray:
        """Samples [start, stop) of the ring; what a long stall lost is silence, so the clock stays true."""
        assert self._ring is not None
        try:
            return self._ring.read(start, stop)
        except Overrun:
            oldest = min(stop, self._ring.written - self._ring.capacity + SAMPLE_RATE)
            return np.concatenate([np.zeros(oldest - start, np.float32), self._ring.read(oldest, stop)])

    @staticmethod
    def _last_piece(rest: FloatArray, heard: int) -> FloatArray:
        """Whole 10 ms frames of the rest; a sound shorter than one frame is filled up to one."""
        if heard == 0 and 0 < len(rest) < HOP:
            return np.pad(rest, (0, HOP - len(rest)))
        return rest[: len(rest) // HOP * HOP]


def batched(pieces: Iterator[FloatArray], most: int) -> Iterator[list[FloatArray]]:
    """Pieces in lists of so many; what came before an error is handed on before the error is."""
    batch: list[FloatArray] = []
    try:
        for piece in pieces:
            batch.append(piece)
            if len(batch) == most:
                yield batch
                batch = []
    except InstrecError:
        if batch:
            yield batch
        raise
    if batch:
        yield batch


def _warm_up(tagger: "Tagger", hop: int, smoothing: Smoothing) -> None:
    """Run the networks once as they will be: a first run is slow, and would make the first hops late."""
    mel = StreamingLogMel(WINDOW_SECONDS)
    silence = np.zeros(int(WINDOW_SECONDS * SAMPLE_RATE), np.float32)
    mel.push(silence)
    follower = tagger.follow(mel, hop)
    for seconds in (WINDOW_SECONDS, smoothing.short_seconds, WINDOW_SECONDS):
        follower.calibrated(len(silence), round(seconds * SAMPLE_RATE))
