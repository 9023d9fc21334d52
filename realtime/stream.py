"""Sound in, updates out: wires source, networks and smoothing together. The Python API; no UI."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.bundle import DEFAULT_MODELS
from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.logmel import SAMPLE_RATE, WINDOW_SECONDS
from instrec_live.realtime.analysis import AHEAD_SECONDS, Analysis, hop_samples, warm_up
from instrec_live.realtime.capture import Intake
from instrec_live.realtime.drift import Drift
from instrec_live.realtime.exchange import bring_back, change_microphone
from instrec_live.realtime.facts import facts_of
from instrec_live.realtime.health import device_lost
from instrec_live.realtime.hops import all_hops, batched
from instrec_live.realtime.live import LiveSound
from instrec_live.realtime.opening import Opening
from instrec_live.realtime.playing.playback import Playback
from instrec_live.realtime.silence import Silence
from instrec_live.realtime.smoothing import Smoothing, live_thresholds
from instrec_live.realtime.sound import Lost
from instrec_live.realtime.sources import FileSource, Source
from instrec_live.realtime.thresholds import by_instrument, merged_thresholds
from instrec_live.realtime.transport import Transport
from instrec_live.realtime.update import State, StreamInfo, Update
from instrec_live.realtime.zeros import Zeros

if TYPE_CHECKING:
    from instrec_live.models.tagger import Tagger

FloatArray = NDArray[np.float32]
Tap = Callable[[FloatArray], None]

_KEPT_SECONDS = 30  # how long inference may stall before sound is lost
_WINDOW = round(WINDOW_SECONDS * SAMPLE_RATE)
_BATCH = 16  # hops of a file that go through the networks together


class Batcher(Protocol):
    """What a stream among others needs of `instrec_live.realtime.hub.Batcher`."""

    def member(self) -> AbstractContextManager[None]: ...
    def first_hop(self, hop: int, /) -> int: ...
    def hear(self, analysis: Analysis, samples: FloatArray, skipped: int, /) -> Update: ...


class Stream:
    """Listens to a file, a microphone or a pipe and says at every hop which instruments sound.

    Use as a context manager and iterate it once, in any thread; all else may come from others meanwhile. With pace
    "max" every hop is heard, and the updates are the same from run to run. With pace "realtime" a hop that
    inference is too late for is skipped and counted, never the sound in it.

    Args:
        file: path of a sound file.
        device: index or part of the name of a microphone, or "system" for what the computer plays; with no
            source at all, the default microphone.
        stdin: a binary stream of WAV, or of raw PCM as `rate`, `channels` and `sample_format` describe it.
        source: any other source.
        hop: seconds between updates, 0.1…60, rounded to 10 ms.
        pace: "realtime" or "max".
        models: bundled names or bundle folders.
        engine: what runs the networks.
        threads: CPU threads of the engine.
        weights: of the models in the ensemble, in their order; None keeps the ensemble's own.
        tagger: networks already loaded, instead of the four before.
        batcher: hears for this stream and others at the pace realtime, through the networks of the same tagger.
        thresholds: one for all, or some by instrument (the others keep the models' own); None keeps all.
        gate_db: RMS below which a hop counts as silence, dBFS.
        smoothing: how fast and how steadily answers follow the sound.
        start: where in the file to begin, s; update times count from the file's own start.
        duration: how long to listen, s.
        rate, sample_format: of raw PCM, Hz, and s16le, s24le, s32le or f32le.
        channels: of raw PCM (None: 1), or to record from a microphone (None: the first two).
        speed: of a file, seconds of sound a second, 0.25…4.
        play: also play the file on the default output device, with its updates in step.
        stay: at the end of a file give one more update, ENDED, and wait to be sent elsewhere, or closed.
        keep_mel: give `mel` in each update.
        on_loss: of a microphone that gives no sound any more: "wait" until it is back, with updates that say
            DEVICE_LOST at once and every second, or "exit" with an AudioDeviceError. It is looked for by its name, no
            other one is taken. When it is back, the time without it is added to the clock, and listening begins anew.

    Attributes:
        info: the facts; another one takes its place when they change.
        smoothing: the one in force.
        transport: of a file at the pace realtime; None for all else.

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
        batcher: Batcher | None = None,
        thresholds: float | Mapping[str, float] | None = None,
        gate_db: float = -60.0,
        smoothing: Smoothing | None = None,
        start: float = 0.0,
        duration: float | None = None,
        rate: int = 44_100,
        channels: int | None = None,
        sample_format: str = "s16le",
        speed: float = 1.0,
        play: bool = False,
        stay: bool = False,
        keep_mel: bool = False,
        on_loss: str = "wait",
    ) -> None:
        if on_loss not in ("wait", "exit"):
            raise UsageError(f"when a microphone is lost, a stream waits or exits; not {on_loss}")
        if batcher is not None and pace == "max":
            raise UsageError("streams are heard together at the pace realtime only")
        opening = Opening(file, device, stdin, source, pace, start, duration, speed, play)
        self._hop = hop_samples(hop)
        self.smoothing = smoothing = smoothing or Smoothing()
        if tagger is None:
            from instrec_live.models.tagger import Tagger

            tagger = Tagger.load(models=tuple(models), engine=engine, threads=threads, weights=weights)
        levels = merged_thresholds(live_thresholds(tagger.thresholds, smoothing), thresholds)
        if pace == "realtime" and batcher is None:
            warm_up(tagger, self._hop, smoothing)

        source, clock = opening.open(rate, channels, sample_format)
        self._records = opening.records
        self._tagger, self._levels, self._gate_db = tagger, levels, gate_db
        self._keep_mel, self._channels, self._batcher = keep_mel, channels, batcher
        self._analysis = self._fresh(opening.begins)
        self._source, self._limit = source, opening.limit  # for the pace max
        self._live: LiveSound | None = None
        self.transport: Transport | None = None
        if pace == "realtime":
            kept = self._hop + _KEPT_SECONDS * SAMPLE_RATE
            again = self._bring_back if self._records and on_loss == "wait" else None
            stays = stay and file is not None
            first = None if batcher is None else batcher.first_hop
            self._live = LiveSound(source, self._hop, kept, clock, opening.limit, opening.begins, stays, again, first)
            if file is not None and clock is not None and isinstance(source, FileSource):
                self.transport = Playback(clock, source, self._live.seek)
        self._stopped = threading.Event()
        self._switching, self._changing = threading.Lock(), threading.Lock()  # of microphones; of info and levels
        self._begun = False
        self._taps: list[Tap] = []
        self.info: StreamInfo = facts_of(source, pace, self._hop, tagger, levels, smoothing)

    def __enter__(self) -> "Stream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the iteration soon, wherever it runs, and let go of the source. From any thread, any time."""
        self._stopped.set()
        if self._live is None:
            self._source.close()
        else:
            self._live.close()

    def tap(self, listener: Tap) -> None:
        """Also hand all sound heard, float32 [m] mono at 32 kHz, to `listener`, in the iterating thread."""
        self._taps.append(listener)

    @property
    def drift(self) -> Drift | None:
        """How far a microphone's clock is off, once ten seconds were heard; None for all else. From any thread."""
        return self._live.drift if self._live is not None else None

    def set_thresholds(self, levels: Mapping[str, float]) -> None:
        """Other thresholds for some instruments from the next update on; `info` has them at once. From any thread.

        Raises:
            UsageError: a name that is no instrument, or a threshold not inside 0…1.
        """
        with self._changing:
            self._levels = merged_thresholds(self._levels, levels)
            self.info = replace(self.info, thresholds=by_instrument(self._levels))

    def listen_to(self, device: int | str | None) -> None:
        """Go on with another microphone; the clock goes on too, and the next update says `jumped`.

        Blocks until the device is open, so not for the iterating thread. On an error the old device stays.

        Args:
            device: as in the constructor. One that was connected since is known by its name only.

        Raises:
            AudioDeviceError: it cannot be opened.
            UsageError: the stream does not listen to a microphone, or this one has too few channels.
        """
        if self._live is None or not self._records:
            raise UsageError("only a microphone can be changed for another one, not a file or a pipe")
        with self._switching:
            self._tell_of(change_microphone(self._live, device, self._channels))

    def _bring_back(self) -> None:
        assert self._live is not None
        if self._switching.acquire(blocking=False):  # else somebody is about to choose one
            try:
                if (source := bring_back(self._live, self._channels)) is not None:
                    self._tell_of(source)
            finally:
                self._switching.release()

    def _tell_of(self, source: Source) -> None:
        with self._changing:
            self.info = replace(
                self.info, source=source.label, source_rate=source.rate, source_channels=source.channels
            )

    def __iter__(self) -> Iterator[Update]:
        if self._begun:
            raise RuntimeError("a stream can be heard only once")
        self._begun = True
        with nullcontext() if self._batcher is None else self._batcher.member():
            yield from self._updates()

    def _updates(self) -> Iterator[Update]:
        heard = False
        try:
            for update in self._heard_in_batches() if self._live is None else self._heard_live(self._live):
                if self._stopped.is_set():
                    return
                heard = True
                yield update
            if not heard and not self._stopped.is_set():
                raise InputFileError(f"{self.info.source}: there is no sound in it")
        finally:
            self.close()

    def _heard_live(self, live: LiveSound) -> Iterator[Update]:
        jumped, skipped = False, 0
        last: Update | None = None
        silence, zeros = Silence(self._hand_on), Zeros()
        for sound in live.sounds():
            if isinstance(sound, Lost):
                silence.goes_on(sound.age)
                lost = device_lost(self._analysis.time, self.info.models, sound.age)
                so_far = skipped + self._analysis.lateness.skipped
                yield replace(lost, skipped=so_far, xruns=live.xruns, bad_samples=live.bad_samples)
                continue
            if sound is None:
                if last is None:
                    return
                yield replace(last, state=State.ENDED, age_s=0.0, inference_s=0.0, jumped=False, mel=None)
                continue
            if sound.begins is not None:
                silence.ends(sound.begins - self._analysis.time)
                jumped, skipped = True, skipped + self._analysis.lateness.skipped
                self._analysis = self._fresh(sound.begins)
                zeros.begin()
            self._hand_on(sound.samples)
            self._analysis.use(self._levels)
            hear = Analysis.hear if self._batcher is None else self._batcher.hear
            update = hear(self._analysis, sound.samples, sound.skipped)
            if live.jumping:  # nobody wants to know any more what was there
                continue
            last = replace(
                update,
                age_s=live.age(),
                skipped=skipped + update.skipped,
                xruns=live.xruns,
                bad_samples=live.bad_samples,
                jumped=jumped,
                gap=live.gap,
                no_signal=zeros.after(live.source, update.time, update.peak_db),
            )
            jumped = False
            yield last

    def _heard_in_batches(self) -> Iterator[Update]:
        """A file's hops in batches; a pipe's one by one, since the next may be long in coming."""
        source, end = self._source, 0
        intake = Intake(source, self._limit)
        hops = all_hops(intake, self._hop, self._stopped.is_set)
        most = max(1, min(_BATCH, int(AHEAD_SECONDS * SAMPLE_RATE) // self._hop))
        for batch in batched(hops, 1 if source.live else most):
            self._analysis.use(self._levels)
            for samples, update in zip(batch, self._analysis.hear_all(batch), strict=True):
                self._hand_on(samples)
                end += len(samples)
                gap = intake.gaps.within(end - _WINDOW, end)
                yield replace(update, xruns=source.xruns, bad_samples=source.bad_samples, gap=gap)

    def _fresh(self, start: float) -> Analysis:
        """An analysis that has heard nothing yet."""
        return Analysis(
            self._tagger, self._hop, self._levels, self._gate_db, self.smoothing, start, keep_mel=self._keep_mel
        )

    def _hand_on(self, samples: FloatArray) -> None:
        for listener in self._taps:
            listener(samples)
