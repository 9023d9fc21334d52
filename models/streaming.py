"""Inference on a growing sound, window after window; a patch is computed once, even if it is in many windows."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import NamedTuple

import numpy as np

from instrec_live.models.arrays import FloatArray
from instrec_live.models.engines.base import CachingEngine, Engine
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

Head = Callable[[Mapping[str, FloatArray]], FloatArray]  # embeddings [patches, width] by network -> logits

_MAX_PATCHES = int(WINDOW_SECONDS * SAMPLE_RATE) // HOP // PATCH  # of a window
_WINDOW = round(WINDOW_SECONDS * SAMPLE_RATE)
_MIN_SAMPLES = round(MIN_SECONDS * SAMPLE_RATE)  # of a window for a network that takes it whole
_MAX_BATCH = 16  # patches in one call: more save no time and take more memory, for good
_MAX_OFFSET = 16  # frames of gap or overlap between neighbouring patches


class Window(NamedTuple):
    """Some of the sound, as networks get it.

    Attributes:
        end: absolute index after its last sample.
        length: in samples.
        whole: the networks that are not patchwise run on it too; without a patchwise one they always do.
    """

    end: int
    length: int
    whole: bool = True


def patch_stride(hop: int) -> int:
    """Frames from one patch of a window to the next, at a hop of `hop` frames.

    A later window can reuse a patch if hops add up to a stride, or strides to a hop. So patches may lie up to 160 ms
    apart, or overlap by as much, where that makes it so. Otherwise they adjoin, and every window is computed in full.
    """
    if hop <= PATCH:
        stride = max(1, round(PATCH / hop)) * hop
    else:
        strides = round(hop / PATCH)
        stride = hop // strides if hop % strides == 0 else PATCH
    return stride if abs(stride - PATCH) <= _MAX_OFFSET else PATCH


@dataclass(frozen=True)
class PatchCache:
    """A network on a growing sound, and the embeddings it has computed so far.

    Attributes:
        engine: runs the network.
        patchwise: the network works on patches (patchwise.py), whether or not the engine accepts cached embeddings.
        embeddings: float32 [width] each, by the frame after the patch's last.
        alone: the logits of a window that is that patch alone, of those computed in batches.
    """

    engine: Engine
    patchwise: bool
    embeddings: dict[int, FloatArray] = field(default_factory=dict)
    alone: dict[int, FloatArray] = field(default_factory=dict)


def windows_at(end: int, before: int, short: int, period: int = SAMPLE_RATE) -> tuple[Window, ...]:
    """The windows that end with a hop: a short one, and in some hops a long one of at most 10 s.

    Args:
        end, before: where this hop and the one before it end, samples.
        short: length of a short window, samples; 2 s, silence before the sound included, until there is so much.
        period: samples from one long window to the next.
    """
    newest = Window(end, short if end >= short else min(short, _MIN_SAMPLES))
    length = min(_WINDOW, end // SAMPLE_RATE * SAMPLE_RATE)
    due = length > short and end // period > before // period
    return (newest, Window(end, length)) if due else (newest,)


def windows_ahead(end: int, before: int, short: int, period: int, edge: bool) -> tuple[Window, ...]:
    """The same where decisions look ahead: a network that is not patchwise computes each window in full, so it runs on
    one short window a second, and on no long one.

    Args:
        edge: it runs on this hop's in any case, because the sound begins with the hop, or ends.
    """
    newest, *long = windows_at(end, before, short, period)
    due = edge or end // SAMPLE_RATE > before // SAMPLE_RATE
    return (newest._replace(whole=due), *(each._replace(whole=False) for each in long))


class StreamingInference:
    """Runs the networks on windows of a growing sound.

    A window's patches are whole frames of the sound itself, without the mirrored edges of an isolated window. So a
    patch is the same in every window, and results depend neither on earlier windows nor on batching.

    Args:
        caches: the networks by name.
        calibrate: raw logits [20] by network -> calibrated ones, without those that are not finite.
        mel: log-mels of the sound.
        hop: samples from one window to the next.
        sparse: networks that are not patchwise run only on windows that are `whole`.
        heads: by name, what else is computed from the embeddings of some of the networks, which must be patchwise and
            accept cached embeddings.
        bases: of each head, its networks.
    """

    def __init__(
        self,
        caches: Mapping[str, PatchCache],
        calibrate: Callable[[Mapping[str, FloatArray]], dict[str, FloatArray]],
        mel: StreamingLogMel,
        hop: int,
        sparse: bool = False,
        heads: Mapping[str, Head] | None = None,
        bases: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        self._caches, self._calibrate, self._mel, self._sparse = caches, calibrate, mel, sparse
        self._heads, self._bases = heads or {}, bases or {}
        self.stride = patch_stride(hop // HOP)
        self._prepared: dict[Window, dict[str, FloatArray]] = {}

    def calibrated(self, end: int, length: int, whole: bool = True) -> dict[str, FloatArray]:
        """Calibrated logits [20] of a `Window`, of each network that runs on it, as `Tagger.calibrated`.

        Raises:
            ValueError: the window is not in the log-mels' history.
        """
        prepared = self._prepared.pop(Window(end, length, whole), {})
        logits = {
            name: prepared[name] if name in prepared else self._logits(cache, end, length)
            for name, cache in self._caches.items()
            if self._runs(cache, whole)
        }
        for name, head in self._heads.items():
            logits[name] = self._head_logits(name, head, self._patch_ends(end, length))
        return self._calibrate(logits)

    def prepare(self, windows: Sequence[Window]) -> None:
        """Compute windows that `calibrated` will be asked for, in batches."""
        prepare([(self, windows)])

    def _runs(self, cache: PatchCache, whole: bool) -> bool:
        """Whether a network runs on a window."""
        return whole or cache.patchwise or not self._sparse

    def _head_logits(self, name: str, head: Head, ends: list[int]) -> FloatArray:
        """A head's logits of a window whose patches the networks have computed; NaN if one was not finite."""
        caches = {base: self._caches[base] for base in self._bases[name]}
        if any(end not in cache.embeddings for cache in caches.values() for end in ends):
            return np.full(1, np.nan, np.float32)
        return head({base: _cached(cache, ends) for base, cache in caches.items()})

    def _patch_ends(self, end: int, length: int) -> list[int]:
        """The frames after the last of a window's patches, oldest first."""
        stop = settled_frames(end)
        count = (stop - PATCH - (end - length) // HOP) // self.stride + 1
        return [stop - k * self.stride for k in range(min(count, _MAX_PATCHES) - 1, -1, -1)]

    def _logits(self, cache: PatchCache, end: int, length: int) -> FloatArray:
        """Raw logits [20] of one window."""
        if not cache.patchwise:
            whole: FloatArray = cache.engine.logits(self._mel.window(end, max(length, _MIN_SAMPLES))[None])[0]
            return whole
        ends = self._patch_ends(end, length)
        engine = cache.engine
        if not isinstance(engine, CachingEngine):
            return np.asarray(engine.logits(_concatenated(self._mel.patches(ends, PATCH)))[0])
        if any(end in cache.embeddings for end in ends[_cached_count(cache, ends) :]):
            _embed(engine, [(cache, self._mel, ends)])  # a gap: not only the newest patches are missing
        count = _cached_count(cache, ends)
        new = ends[count:]
        cached = _cached(cache, ends[:count]) if count else np.empty((0, engine.width), np.float32)
        logits, embeddings = engine.run(_concatenated(self._mel.patches(new, PATCH)), cached)
        _store(cache, new, embeddings)
        return np.asarray(logits[0])


def prepare(requests: Sequence[tuple[StreamingInference, Sequence[Window]]]) -> None:
    """Compute windows that each `calibrated` will be asked for, those of all sounds in one batch.

    Args:
        requests: inferences of one tagger, each once, and their windows.
    """
    inferences = [inference for inference, _ in requests]
    ends = [
        {window: inference._patch_ends(window.end, window.length) for window in windows}
        for inference, windows in requests
    ]
    results: list[dict[Window, dict[str, FloatArray]]] = [{window: {} for window in windows} for _, windows in requests]
    for inference in inferences:
        inference._prepared = {}  # if a network fails, no inference keeps results of the other networks alone
    for name in inferences[0]._caches if inferences else ():
        caches = [inference._caches[name] for inference in inferences]
        engine = caches[0].engine
        if not caches[0].patchwise:
            _whole(name, inferences, results)
            continue
        if not isinstance(engine, CachingEngine):
            continue
        _embed(
            engine,
            [
                (cache, inference._mel, _union(each))
                for cache, inference, each in zip(caches, inferences, ends, strict=True)
            ],
        )
        pending = []
        for result, cache, each in zip(results, caches, ends, strict=True):
            for window, patches in each.items():
                if len(patches) == 1 and patches[0] in cache.alone:
                    result[window][name] = cache.alone[patches[0]]
                elif all(end in cache.embeddings for end in patches):
                    pending.append((result[window], _cached(cache, patches)))
                # `calibrated` computes windows with one not finite
        for count in {len(cached) for _, cached in pending}:
            alike = [(outputs, cached) for outputs, cached in pending if len(cached) == count]
            no_patches = np.empty((len(alike), N_MELS, 0), np.float32)
            logits, _ = engine.run(no_patches, np.concatenate([cached for _, cached in alike]))
            for (outputs, _), row in zip(alike, logits, strict=True):
                outputs[name] = row
    for inference, result in zip(inferences, results, strict=True):
        inference._prepared = result


def _whole(
    name: str,
    inferences: Sequence[StreamingInference],
    results: Sequence[Mapping[Window, dict[str, FloatArray]]],
) -> None:
    """Run a network that takes windows whole, those of one length together."""
    engine = inferences[0]._caches[name].engine
    by_length: dict[int, list[tuple[dict[str, FloatArray], StreamingInference, int]]] = {}
    for inference, windows in zip(inferences, results, strict=True):
        for (end, length, whole), outputs in windows.items():
            if inference._runs(inference._caches[name], whole):
                by_length.setdefault(max(length, _MIN_SAMPLES), []).append((outputs, inference, end))
    for length, alike in by_length.items():
        most = max(1, round(_MAX_BATCH * PATCH / (length // HOP)))
        for first in range(0, len(alike), most):
            some = alike[first : first + most]
            by_sound = groupby(some, lambda each: each[1]._mel)
            mels = np.concatenate([mel.windows([end for *_, end in each], length) for mel, each in by_sound])
            for (outputs, _, _), row in zip(some, engine.logits(mels), strict=True):
                outputs[name] = row


def _union(ends: Mapping[Window, Sequence[int]]) -> list[int]:
    return sorted({end for each in ends.values() for end in each})


def _embed(engine: CachingEngine, wanted: Iterable[tuple[PatchCache, StreamingLogMel, Sequence[int]]]) -> None:
    """Compute and store the embeddings of those patches of each sound that are not cached yet, as one batch; and the
    logits of each patch alone, which come with them."""
    new = [(cache, mel, [end for end in ends if end not in cache.embeddings]) for cache, mel, ends in wanted]
    patches = np.concatenate([mel.patches(ends, PATCH) for _, mel, ends in new])
    if not len(patches):
        return
    nothing = np.empty((0, engine.width), np.float32)
    batches = range(0, len(patches), _MAX_BATCH)
    logits, embeddings = map(
        np.concatenate, zip(*(engine.run(patches[at : at + _MAX_BATCH], nothing) for at in batches), strict=True)
    )
    first = 0
    for cache, _, ends in new:
        _store(cache, ends, embeddings[first : first + len(ends)])
        cache.alone.update(zip(ends, logits[first : first + len(ends)], strict=True))
        first += len(ends)


def _cached_count(cache: PatchCache, ends: Sequence[int]) -> int:
    """How many of the patches are cached, up to the first that is not."""
    return next((k for k, end in enumerate(ends) if end not in cache.embeddings), len(ends))


def _concatenated(patches: FloatArray) -> FloatArray:
    """Patches [N, 128, 96] -> one window [1, 128, 96 N]."""
    return np.concatenate(list(patches), 1)[None] if len(patches) else patches.reshape(1, patches.shape[1], 0)


def _cached(cache: PatchCache, ends: Iterable[int]) -> FloatArray:
    return np.stack([cache.embeddings[end] for end in ends])


def _store(cache: PatchCache, ends: Sequence[int], embeddings: FloatArray) -> None:
    """Keep the finite ones, and drop those that no later window reaches back to."""
    for end, embedding in zip(ends, embeddings, strict=True):
        if np.isfinite(embedding).all():
            cache.embeddings[end] = embedding
    if ends:
        oldest = ends[0] - _MAX_PATCHES * (PATCH + _MAX_OFFSET) - PATCH
        for stored in (cache.embeddings, cache.alone):
            for old in [end for end in stored if end <= oldest]:
                del stored[old]
