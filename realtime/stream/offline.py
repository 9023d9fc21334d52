"""The analysis of a whole file: its updates are decided with look-ahead and come some seconds of sound later."""

from collections import deque
from collections.abc import Iterator, Sequence
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.arrays import FloatArray
from instrec_live.models.logmel import SAMPLE_RATE
from instrec_live.models.segments import DecidedHop, HopLogits, Lookahead, SegmentDecider
from instrec_live.models.tagger import CORRECTIONS
from instrec_live.realtime.stream.analysis import Analysis, PendingHop, ReadStats, offline
from instrec_live.realtime.stream.update import CaptureStats, State, Update


class OfflineAnalysis:
    """Gives an `Update` for each hop of a file, decided by what comes after it too.

    An update gives what sounds in the hop that it ends, so that an onset is the start of its first hop.

    Args:
        analysis: a fresh one, which takes the sound and runs the networks.
        parameters: what decides.
        thresholds: of the ensemble's probability per instrument, [n].
        short: length of the short window, s.
    """

    def __init__(
        self, analysis: Analysis, parameters: Lookahead, thresholds: NDArray[np.floating], short: float
    ) -> None:
        self._analysis = analysis
        self._decider = SegmentDecider(
            parameters,
            analysis.tagger.ensemble,
            analysis.tagger.models,
            thresholds,
            analysis.hop / SAMPLE_RATE,
            short,
            analysis.left_out,
        )
        self._waiting: deque[tuple[PendingHop, CaptureStats, float]] = deque()

    def set_thresholds(self, thresholds: NDArray[np.floating]) -> None:
        """Use other thresholds [n] for hops that are not decided yet."""
        self._decider.set_thresholds(thresholds)

    def process_all(self, batch: Sequence[FloatArray], capture: ReadStats = offline) -> Iterator[Update]:
        """Take several hops, together at most 8 s; gives the updates that are decided by now."""
        hops, shared_s = self._analysis.begin_batch(batch)
        for hop in hops:
            yield from self.finish_hop(hop, capture, shared_s)

    def finish_hop(self, hop: PendingHop, capture: ReadStats = offline, shared_s: float = 0.0) -> Iterator[Update]:
        """Take a hop that `begin_hops` of the analysis has begun; gives the updates that are decided by now."""
        began = perf_counter()
        short, long = ({}, None) if hop.quiet else self._analysis.logits(hop)
        inference_s = 0.0 if hop.quiet else perf_counter() - began + shared_s
        self._waiting.append((hop, capture(hop), inference_s))
        window = None if long is None else (hop.windows[1].end, hop.windows[1].length, long)
        below = hop.level_db < self._analysis.gate_db
        yield from self._made(self._decider.add(HopLogits(hop.end, hop.seconds, hop.quiet, below, short, window)))

    def rest(self) -> Iterator[Update]:
        """The updates of the last hops, at the end of the sound."""
        yield from self._made(self._decider.rest())

    def _made(self, decided: Sequence[DecidedHop]) -> Iterator[Update]:
        for each in decided:
            hop, stats, inference_s = self._waiting.popleft()
            state = State.QUIET if each.silent else State.OK
            probabilities = {name: p for name, p in each.probabilities.items() if name != CORRECTIONS}
            yield self._analysis.update(hop, probabilities, each.active, state, stats, inference_s)
