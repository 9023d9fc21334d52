"""Following a sound: what the networks say of window after window, no patch of it heard twice."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.engines import Engine, Recalling
from instrec_live.models.logmel import (
    HOP,
    MIN_SECONDS,
    N_MELS,
    PATCH,
    SAMPLE_RATE,
    WINDOW_SECONDS,
    StreamingLogMel,
    settled_frames,
)

FloatArray = NDArray[np.float32]
Window = tuple[int, int]  # absolute index after its last sample, samples

_MOST = int(WINDOW_SECONDS * SAMPLE_RATE) // HOP // PATCH  # patches of a window
_LEAST = round(MIN_SECONDS * SAMPLE_RATE)  # samples of a window that is heard whole
_ONCE = 16  # patches that are heard at once: more save no time and take more memory, for good
_OFF = 16  # frames by which patches may lie apart, or over one another


def patch_stride(hop: int) -> int:
    """Frames from one patch of a window to the next, at a hop of so many frames.

    A patch is met again in later windows if hops add up to strides, or strides to a hop; so patches may lie up to
    160 ms apart, or overlap by as much, if that makes it so. Otherwise they adjoin, and every window is heard anew.
    """
    if hop <= PATCH:
        stride = max(1, round(PATCH / hop)) * hop
    else:
        strides = round(hop / PATCH)
        stride = hop // strides if hop % strides == 0 else PATCH
    return stride if abs(stride - PATCH) <= _OFF else PATCH


@dataclass(frozen=True)
class Listener:
    """A network that follows a sound.

    Attributes:
        engine: runs it.
        patchwise: it hears in patches (patchwise.py), whether or not the engine can take their embeddings back.
        known: embeddings [width] of patches heard, by the frame after their last.
    """

    engine: Engine
    patchwise: bool
    known: dict[int, FloatArray] = field(default_factory=dict)


class Follower:
    """Hears windows of a growing sound.

    A window's patches are whole frames of the sound itself, without the mirrored edge of a window that is heard alone;
    so they mean the same in every window, and answers do not depend on what was heard before, or in which batches.

    Args:
        listeners: networks by name.
        judge: raw logits [20] by network -> calibrated ones, without those that are not numbers.
        mel: log-mels of the sound.
        hop: samples from one window to the next.
    """

    def __init__(
        self,
        listeners: Mapping[str, Listener],
        judge: Callable[[Mapping[str, FloatArray]], dict[str, FloatArray]],
        mel: StreamingLogMel,
        hop: int,
    ) -> None:
        self._listeners, self._judge, self._mel = listeners, judge, mel
        self.stride = patch_stride(hop // HOP)
        self._prepared: dict[Window, dict[str, FloatArray]] = {}

    def calibrated(self, end: int, length: int) -> dict[str, FloatArray]:
        """Each network's calibrated logits [20] of the sound's samples [end - length, end), as `Tagger.calibrated`.

        Raises:
            ValueError: the window is not in the log-mels' history.
        """
        logits = self._prepared.pop((end, length), None)
        return self._judge(logits or {name: self._heard(each, end, length) for name, each in self._listeners.items()})

    def prepare(self, windows: Sequence[Window]) -> None:
        """Hear windows that `calibrated` will be asked for, in batches."""
        prepare([(self, windows)])

    def _patch_ends(self, end: int, length: int) -> list[int]:
        """The frames after the last of a window's patches, oldest first."""
        stop = settled_frames(end)
        count = (stop - PATCH - (end - length) // HOP) // self.stride + 1
        return [stop - k * self.stride for k in range(min(count, _MOST) - 1, -1, -1)]

    def _heard(self, listener: Listener, end: int, length: int) -> FloatArray:
        """Raw logits [20] of one window."""
        if not listener.patchwise:
            whole: FloatArray = listener.engine.logits(self._mel.window(end, max(length, _LEAST))[None])[0]
            return whole
        ends = self._patch_ends(end, length)
        engine = listener.engine
        if not isinstance(engine, Recalling):
            return np.asarray(engine.logits(_joined(self._mel.patches(ends, PATCH)))[0])
        if any(end in listener.known for end in ends[_known(listener, ends) :]):
            _embed(engine, [(listener, self._mel, ends)])  # not only the newest are missing
        known = _known(listener, ends)
        new = ends[known:]
        heard = _recalled(listener, ends[:known]) if known else np.empty((0, engine.width), np.float32)
        logits, embeddings = engine.recall(_joined(self._mel.patches(new, PATCH)), heard)
        _remember(listener, new, embeddings)
        return np.asarray(logits[0])


def prepare(wanted: Sequence[tuple[Follower, Sequence[Window]]]) -> None:
    """Hear windows that each follower's `calibrated` will be asked for, those of all of them in one batch.

    Args:
        wanted: followers of one tagger, each once, and their windows.
    """
    followers = [follower for follower, _ in wanted]
    ends = [{window: follower._patch_ends(*window) for window in windows} for follower, windows in wanted]
    prepared: list[dict[Window, dict[str, FloatArray]]] = [{window: {} for window in windows} for _, windows in wanted]
    for follower in followers:
        follower._prepared = {}  # if a network fails, nobody is left with the answers of the others alone
    for name in followers[0]._listeners if followers else ():
        listeners = [follower._listeners[name] for follower in followers]
        engine = listeners[0].engine
        if not (listeners[0].patchwise and isinstance(engine, Recalling)):
            continue
        _embed(
            engine,
            [(listener, f._mel, _together(each)) for listener, f, each in zip(listeners, followers, ends, strict=True)],
        )
        asked = [
            (answers[window], _recalled(listener, patches))
            for answers, listener, each in zip(prepared, listeners, ends, strict=True)
            for window, patches in each.items()
            if all(end in listener.known for end in patches)  # else something was not a number: that window alone, then
        ]
        for count in {len(heard) for _, heard in asked}:
            alike = [(answers, heard) for answers, heard in asked if len(heard) == count]
            silence = np.empty((len(alike), N_MELS, 0), np.float32)
            logits, _ = engine.recall(silence, np.concatenate([heard for _, heard in alike]))
            for (answers, _), each_logits in zip(alike, logits, strict=True):
                answers[name] = each_logits
    for follower, own in zip(followers, prepared, strict=True):
        names = follower._listeners.keys()
        follower._prepared = {w: logits for w, logits in own.items() if logits.keys() == names}


def _together(ends: Mapping[Window, Sequence[int]]) -> list[int]:
    return sorted({end for each in ends.values() for end in each})


def _embed(engine: Recalling, wanted: Iterable[tuple[Listener, StreamingLogMel, Sequence[int]]]) -> None:
    """Hear those of the patches of each sound that are not known yet, as one batch."""
    new = [(listener, mel, [end for end in ends if end not in listener.known]) for listener, mel, ends in wanted]
    patches = np.concatenate([mel.patches(ends, PATCH) for _, mel, ends in new])
    if not len(patches):
        return
    nothing = np.empty((0, engine.width), np.float32)
    parts = [engine.recall(patches[at : at + _ONCE], nothing)[1] for at in range(0, len(patches), _ONCE)]
    rest = np.concatenate(parts)
    for listener, _, ends in new:
        _remember(listener, ends, rest[: len(ends)])
        rest = rest[len(ends) :]


def _known(listener: Listener, ends: Sequence[int]) -> int:
    """How many of the patches are known up to the first that is not."""
    return next((k for k, end in enumerate(ends) if end not in listener.known), len(ends))


def _joined(patches: FloatArray) -> FloatArray:
    """Patches [N, 128, 96] -> one window [1, 128, 96 N]."""
    return np.concatenate(list(patches), 1)[None] if len(patches) else patches.reshape(1, patches.shape[1], 0)


def _recalled(listener: Listener, ends: Iterable[int]) -> FloatArray:
    return np.stack([listener.known[end] for end in ends])


def _remember(listener: Listener, ends: Sequence[int], embeddings: FloatArray) -> None:
    """Keep what is finite, and forget what no window reaches back to any more."""
    for end, embedding in zip(ends, embeddings, strict=True):
        if np.isfinite(embedding).all():
            listener.known[end] = embedding
    if ends:
        for old in [end for end in listener.known if end <= ends[0] - _MOST * (PATCH + _OFF) - PATCH]:
            del listener.known[old]
