"""One source in, updates out: wires source, capture, networks and smoothing together. The Python API; no screen."""

import math
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Protocol, Unpack

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.arrays import FloatArray
from instrec_live.models.errors import InputFileError, InstrecError, UsageError
from instrec_live.models.logmel import SAMPLE_RATE, WINDOW_SECONDS
from instrec_live.realtime.audio import (
    FileSource,
    MicrophoneSource,
    MonitorSource,
    PipeSource,
    RadioSource,
    Source,
    is_url,
    open_url,
)
from instrec_live.realtime.audio.devices import resolve
from instrec_live.realtime.audio.playback_clock import Clock, Playback, WallClock, checked_speed
from instrec_live.realtime.audio.player import Player, check_output
from instrec_live.realtime.audio.system_audio import Monitor, monitor_meant
from instrec_live.realtime.stream.analysis import (
    AHEAD_SECONDS,
    Analysis,
    AnalysisConfig,
    AnalysisOptions,
    PendingHop,
    ReadStats,
    warm_up,
)
from instrec_live.realtime.stream.capture import Drift, MonoReader, batched, check_channel, split_hops
from instrec_live.realtime.stream.device_recovery import (
    DeviceLost,
    DigitalSilence,
    GapFiller,
    reopen_lost_device,
    switch_device,
)
from instrec_live.realtime.stream.health import device_lost
from instrec_live.realtime.stream.live_capture import LiveCapture
from instrec_live.realtime.stream.offline import OfflineAnalysis
from instrec_live.realtime.stream.smoothing import Smoothing, by_instrument, merged_thresholds, raised
from instrec_live.realtime.stream.update import CaptureStats, State, StreamInfo, Transport, Update

if TYPE_CHECKING:
    from instrec_live.models.tagger import Tagger

Tap = Callable[[FloatArray], None]

_PIPE_SPEED = 1.01  # a pipe may run a little faster than our clock; paced exactly, its sound would pile up
_FILE_PATIENCE = 2.0  # s
_KEPT_SECONDS = 30  # how long inference may stall before sound is lost
_WINDOW = round(WINDOW_SECONDS * SAMPLE_RATE)
_BATCH = 16  # hops of a file that go through the networks together


class SourceFactory:
    """Opens the source of a stream in two steps: files before the networks are loaded, microphones after.

    A bad file or device raises on construction, before anything slow is done. A microphone is opened later, by `open`,
    because it would fill up meanwhile. The arguments are those of `Stream`.

    Attributes:
        begins: second of the source's own clock at which it begins.
        limit: seconds to listen to it, None for all that it gives.
        switchable: it is a device that another one can replace.

    Raises:
        UsageError, InputFileError, AudioDeviceError.
    """

    def __init__(
        self,
        file: str | Path | None,
        device: int | str | None,
        stdin: BinaryIO | None,
        source: Source | None,
        pace: str,
        start: float,
        duration: float | None,
        speed: float,
        play: bool,
        track: int | None,
    ) -> None:
        if sum(given is not None for given in (file, device, stdin, source)) > 1:
            raise UsageError("a stream has one source: a file, a device, stdin or a source")
        if pace not in ("realtime", "max"):
            raise UsageError(f"the pace is realtime or max, not {pace}")
        if (play or speed != 1.0) and (file is None or pace == "max"):
            raise UsageError("only a file can be played or have a speed, and only at the pace realtime")
        self._file, self._device, self._stdin, self._source = file, device, stdin, source
        self._start = start = float(start)  # a float32 of numpy's would give times of seven digits
        self._duration, self._play = duration, play
        self._speed, self._track = checked_speed(speed), track
        self._monitor: Monitor | None = None
        self.begins = start if file is not None else 0.0
        self.limit = None if file is not None else duration
        self.switchable = file is None and stdin is None and source is None
        if file is not None:
            if is_url(file):
                self._source = open_url(str(file), start, duration, track)
                if isinstance(self._source, RadioSource):
                    self.limit = duration
                    if play or speed != 1.0:
                        self._source.close()
                        raise UsageError("a radio cannot be played or have a speed: it is not a file")
            else:
                self._source = FileSource(file, start, duration, track)
            if play:
                check_output()
        elif self.switchable:
            if pace == "max":
                raise UsageError("a microphone cannot run faster than real time: pace max is for files and pipes")
            self._monitor = monitor_meant(device)
            if self._monitor is None:
                resolve(device)

    def open(self, rate: int | None, channels: int | None, sample_format: str | None) -> tuple[Source, Clock | None]:
        """The source, and the clock that paces it in real time; None for one that keeps its own time."""
        if self._stdin is not None:
            pipe = PipeSource(self._stdin, rate, channels, sample_format, self._track)
            return pipe, WallClock(0.0, _PIPE_SPEED)
        if self._monitor is not None:
            return MonitorSource(self._monitor, channels), None
        if self._source is None:
            return MicrophoneSource(self._device, channels), None
        if isinstance(self._source, RadioSource):
            return self._source, WallClock(0.0, _PIPE_SPEED)
        if self._play and self._file is not None:
            path = self._source.path if isinstance(self._source, FileSource) else self._file
            played = FileSource(path, self._start, self._duration, self._track, quiet=True)
            return self._source, Player(played, self._start, self._speed)
        return self._source, None if self._source.live else WallClock(self.begins, self._speed, _FILE_PATIENCE)


def stream_info(
    source: Source,
    pace: str,
    tagger: "Tagger",
    thresholds: NDArray[np.float32],
    config: AnalysisConfig,
    start: float = 0.0,
) -> StreamInfo:
    """The facts of a stream of `source`, which begins at second `start` of its clock, with thresholds [n]."""
    lookahead = config.lookahead_for(pace, isinstance(source, RadioSource) and source.returns)
    margin = config.smoothing.live_margin if lookahead is None else lookahead.margin
    return StreamInfo(
        source=source.label,
        source_rate=source.rate,
        source_channels=source.channels,
        duration=source.duration,
        start=start,
        live=source.live,
        pace=pace,
        hop=config.hop_samples / SAMPLE_RATE,
        models=tuple(tagger.models),
        engine=tagger.engine_name,
        sha256s=dict(tagger.sha256s),
        weights=dict(tagger.weights),
        thresholds=by_instrument(thresholds, tagger.instruments),
        model_thresholds={
            name: by_instrument(raised(tagger.thresholds_of(name), margin), tagger.instruments)
            for name in tagger.models
        },
        instruments=config.instruments_of(tagger),
        classes=tagger.instruments,
        decisions="causal" if lookahead is None else "lookahead",
        off_margin=config.smoothing.off_margin if lookahead is None else math.inf,
    )


class Batcher(Protocol):
    """What a stream among others needs of `instrec_live.realtime.stream.batcher.Batcher`."""

    def member(self) -> AbstractContextManager[None]: ...
    def first_hop(self, hop: int, /) -> int: ...
    def process(self, analysis: Analysis, samples: FloatArray, skipped: int, capture: ReadStats, /) -> Update: ...


class Stream:
    """Listens to a file, a microphone or a pipe and gives an update at every hop.

    Use as a context manager and iterate it once, in any thread; all other methods may be called from other threads
    meanwhile. With pace "max" every hop gets an update, and updates are the same from run to run. With pace "realtime"
    a window that inference is too late for is skipped and counted; its sound is not lost.

    Args:
        file: path of a sound file, or the http:// or https:// address of one, or of a radio.
        device: index or part of the name of a microphone, or "system" for what the computer plays; with no
            source at all, the default microphone.
        stdin: a binary stream of any container; of raw PCM if `rate`, `channels` or `sample_format` describe it.
        source: any other source.
        pace: "realtime" or "max".
        config: the networks and how their results are processed.
        tagger: networks already loaded, instead of those of the config.
        batcher: runs the networks for this stream and others, at pace "realtime", with the same tagger.
        start: where in the file to begin, s; update times count from the file's own start.
        duration: how long to listen, s.
        rate, sample_format: of raw PCM, Hz (None: 44100), and s16le, s24le, s32le or f32le (None: s16le).
        channels: of raw PCM (None: 1), or to record from a microphone (None: the first two).
        speed: of a file, seconds of sound per second, 0.25…4.
        play: also play the file on the default output device, in step with its updates.
        stay: at the end of a file give one more update, ENDED, and wait for a seek or `close`.
        keep_mel: put `mel` into each update.
        on_loss: when a microphone no longer delivers sound: "wait" until it is back, with an update DEVICE_LOST at once
            and every second, or "exit" with an AudioDeviceError. It is reopened under its own name; no other one is
            taken. The time without it is added to the clock, and the analysis restarts.
        options: fields of `AnalysisConfig`, instead of those of the config: models, engine, threads, weights, hop,
            thresholds, only, exclude, gate_db, smoothing, lookahead, channel, track.

    Attributes:
        info: the facts; replaced when they change.
        smoothing: the one in force.
        transport: of a file at pace "realtime", else None.

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
        pace: str = "realtime",
        config: AnalysisConfig | None = None,
        tagger: "Tagger | None" = None,
        batcher: Batcher | None = None,
        start: float = 0.0,
        duration: float | None = None,
        rate: int | None = None,
        channels: int | None = None,
        sample_format: str | None = None,
        speed: float = 1.0,
        play: bool = False,
        stay: bool = False,
        keep_mel: bool = False,
        on_loss: str = "wait",
        **options: Unpack[AnalysisOptions],
    ) -> None:
        if on_loss not in ("wait", "exit"):
            raise UsageError(f"on_loss is wait or exit, not {on_loss}")
        if batcher is not None and pace == "max":
            raise UsageError("a batcher serves streams at the pace realtime only")
        self._config = config = replace(config or AnalysisConfig(), **options)
        factory = SourceFactory(file, device, stdin, source, pace, start, duration, speed, play, config.track)
        self._hop = config.hop_samples
        self._tagger = tagger = config.load_tagger() if tagger is None else tagger
        self._instruments = config.instruments_of(tagger)
        config.thresholds_of(tagger)  # raises before anything is opened
        if pace == "realtime" and batcher is None:
            warm_up(tagger, self._hop, config.smoothing)

        channel = config.channel
        if factory.switchable and channel is not None and channel != "mix":  # the device must record that channel
            channels = max(channels or 2, 1 if channel == "left" else 2 if channel == "right" else int(channel))
        source, clock = factory.open(rate, channels, sample_format)
        try:
            check_channel(source, channel)
        except UsageError:
            source.close()
            raise
        returns = factory.switchable or (isinstance(source, RadioSource) and source.returns)
        self._switchable = factory.switchable
        self._keep_mel, self._channels, self._batcher = keep_mel, channels, batcher
        self._lookahead = config.lookahead_for(pace, isinstance(source, RadioSource) and source.returns)
        self._thresholds = config.thresholds_of(tagger, self._lookahead is not None)
        self._analysis = self._new_analysis(factory.begins)
        self._source, self._limit = source, factory.limit  # for pace "max"
        self._live: LiveCapture | None = None
        self.transport: Transport | None = None
        if pace == "realtime":
            self._live = LiveCapture(
                source,
                self._hop,
                capacity=self._hop + _KEPT_SECONDS * SAMPLE_RATE,
                clock=clock,
                limit=factory.limit,
                start=factory.begins,
                stay=stay and file is not None,
                reopen=self._reopen if returns and on_loss == "wait" else None,
                first_hop=None if batcher is None else batcher.first_hop,
                channel=channel,
            )
            if file is not None and clock is not None and isinstance(source, FileSource):
                self.transport = Playback(clock, source, self._live.seek)
        self._ending, self._stopped = threading.Event(), threading.Event()  # by `stop`, and by `close`
        self._switch_lock = threading.Lock()  # one switch of the device at a time
        self._info_lock = threading.Lock()  # of info and thresholds
        self._started = False
        self._taps: list[Tap] = []
        self.info: StreamInfo = stream_info(source, pace, tagger, self._thresholds, config, factory.begins)

    def __enter__(self) -> "Stream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def smoothing(self) -> Smoothing:
        return self._config.smoothing

    def stop(self) -> None:
        """End the sound here: the sound so far is still decided, then the iteration ends. From any thread."""
        self._ending.set()
        if self._live is not None:
            self._live.stop()
        elif self._source.live:  # its `read` may wait for sound
            self._source.close()

    def close(self) -> None:
        """End the iteration soon and close the source. From any thread, any number of times."""
        self._ending.set()
        self._stopped.set()
        if self._live is None:
            self._source.close()
        else:
            self._live.close()

    def titles(self) -> list[str]:
        """The titles that a radio has sent since the last call."""
        source = self._source if self._live is None else self._live.source
        return source.titles() if isinstance(source, RadioSource) else []

    def tap(self, write: Tap) -> None:
        """Also pass all sound, float32 [m] mono at 32 kHz, to `write`, in the iterating thread."""
        self._taps.append(write)

    @property
    def drift(self) -> Drift | None:
        """Drift of a microphone's clock, after ten seconds; None for other sources. From any thread."""
        return self._live.drift if self._live is not None else None

    def set_thresholds(self, thresholds: Mapping[str, float]) -> None:
        """Use other thresholds for some instruments from the next update on; `info` has them at once.

        Raises:
            UsageError: an unknown instrument, or a threshold outside 0…1.
        """
        with self._info_lock:
            names = self.info.classes
            self._thresholds = merged_thresholds(self._thresholds, thresholds, names)
            self.info = replace(self.info, thresholds=by_instrument(self._thresholds, names))

    def listen_to(self, device: int | str | None) -> None:
        """Switch to another microphone; the clock continues and the next update has `jumped`.

        Blocks until the device is open, so not for the iterating thread. On an error the old device stays.

        Args:
            device: as in the constructor. One that was connected after the start can be given by name only.

        Raises:
            AudioDeviceError: it cannot be opened.
            UsageError: the stream does not listen to a microphone, or this one has too few channels.
        """
        if self._live is None or not self._switchable:
            raise UsageError("only a microphone can be switched, not a file or a pipe")
        with self._switch_lock:
            self._publish_info(switch_device(self._live, device, self._channels))

    def _reopen(self) -> None:
        assert self._live is not None
        if self._switch_lock.acquire(blocking=False):  # else the user is choosing a device
            try:
                if (source := reopen_lost_device(self._live, self._channels)) is not None:
                    self._publish_info(source)
            finally:
                self._switch_lock.release()

    def _publish_info(self, source: Source) -> None:
        with self._info_lock:
            self.info = replace(
                self.info, source=source.label, source_rate=source.rate, source_channels=source.channels
            )

    def __iter__(self) -> Iterator[Update]:
        if self._started:
            raise RuntimeError("a stream can be iterated only once")
        self._started = True
        any_update = False
        updates = self._offline_updates() if self._live is None else self._live_updates(self._live)
        with nullcontext() if self._batcher is None else self._batcher.member():
            try:
                for update in updates:
                    if self._stopped.is_set():
                        return
                    any_update = True
                    yield update
                if not any_update and not self._ending.is_set():
                    raise InputFileError(f"{self.info.source}: there is no sound in it")
            finally:
                self.close()

    def _live_updates(self, live: LiveCapture) -> Iterator[Update]:
        last: Update | None = None
        jumped = False
        gap_filler, digital_silence = GapFiller(self._write_taps), DigitalSilence()
        process = Analysis.process if self._batcher is None else self._batcher.process

        def capture(hop: PendingHop) -> CaptureStats:
            return CaptureStats(
                age_s=live.age(),
                xruns=live.xruns,
                bad_samples=live.bad_samples,
                jumped=jumped,
                gap=live.gap,
                no_signal=digital_silence.check(live.source, self._analysis.time, hop.peak_db),
            )

        for event in live.hops():
            if isinstance(event, DeviceLost):
                gap_filler.fill_to(event.age_s)
                stats = CaptureStats(age_s=event.age_s, xruns=live.xruns, bad_samples=live.bad_samples)
                skipped = self._analysis.skip_counter.skipped
                yield device_lost(self._analysis.time, self.info.models, stats, skipped, self.info.classes)
                continue
            if event is None:
                if last is None:
                    return
                yield replace(last, state=State.ENDED, age_s=0.0, inference_s=0.0, jumped=False, mel=None)
                continue
            if event.restarts_at is not None:
                gap_filler.finish(event.restarts_at - self._analysis.time)
                digital_silence.restart()
                self._analysis = self._new_analysis(event.restarts_at, self._analysis.skip_counter.skipped)
                jumped = True
            self._write_taps(event.samples)
            self._analysis.set_thresholds(self._thresholds)
            update = process(self._analysis, event.samples, event.skipped, capture)
            if live.restart_pending:  # a seek is pending: drop this hop
                continue
            last, jumped = update, False
            yield update

    def _offline_updates(self) -> Iterator[Update]:
        """The hops of a file in batches; those of a pipe one by one, since the next may be long in coming.

        With look-ahead, updates come some seconds of sound later than their hops, and what a fault of the source leaves
        undecided comes before it is raised.
        """
        analysis: Analysis | OfflineAnalysis = self._analysis
        if self._lookahead is not None:
            short = self._config.smoothing.short_seconds
            analysis = OfflineAnalysis(self._analysis, self._lookahead, self._thresholds, short)
        source = self._source
        reader = MonoReader(source, self._limit, self._config.channel)

        def capture(hop: PendingHop) -> CaptureStats:
            gap = reader.gaps.within(hop.end - _WINDOW, hop.end)
            return CaptureStats(xruns=source.xruns, bad_samples=source.bad_samples, gap=gap)

        hops = split_hops(reader, self._hop, self._ending.is_set)
        most = max(1, min(_BATCH, int(AHEAD_SECONDS * SAMPLE_RATE) // self._hop))
        try:
            for batch in batched(hops, 1 if source.live else most):
                analysis.set_thresholds(self._thresholds)
                for samples in batch:
                    self._write_taps(samples)
                yield from analysis.process_all(batch, capture)
        except InstrecError:
            yield from analysis.rest()
            raise
        yield from analysis.rest()

    def _new_analysis(self, start: float, skipped: int = 0) -> Analysis:
        """An analysis that begins at second `start`."""
        config = self._config
        return Analysis(
            self._tagger,
            self._hop,
            self._thresholds,
            config.gate_db,
            config.smoothing,
            start,
            keep_mel=self._keep_mel,
            skipped=skipped,
            instruments=self._instruments,
            others=config.only is None,
            lookahead=self._lookahead,
        )

    def _write_taps(self, samples: FloatArray) -> None:
        for tap in self._taps:
            tap(samples)
