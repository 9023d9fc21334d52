"""Which instrument sounds when, decided with look-ahead, for sound that is complete.

A live stream must decide at the end of its newest window. For a file the windows around a hop are known: those that
contain it give its probabilities, and the cheapest sequence of on and off over all hops (Viterbi) gives the entries and
exits of each instrument.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.arrays import BoolArray, DoubleArray, FloatArray
from instrec_live.models.calibration import logit, sigmoid
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import SAMPLE_RATE, WINDOW_SECONDS

Logits = Mapping[str, FloatArray]  # of each network [n], and of other sounds [K]

NEVER = -100.0  # the logit of an instrument that is not listened for: below every threshold
_LONG_KEPT = 25.0  # s
_BRIEF = 4.0  # s: in a sound shorter than this, changes cost less
_NEAR = 1.0  # s: how much older the window of a hop may be whose network gave none
_OFF = 1e3  # logit seconds: evidence that nothing outweighs


@dataclass(frozen=True, slots=True)
class Segment:
    """An instrument sounds from `onset` to `offset`, s.

    Attributes:
        name: the instrument's.
        onset, offset: s.
        mean, peak: of its probability meanwhile.
    """

    name: str
    onset: float
    offset: float
    mean: float
    peak: float


@dataclass(frozen=True, slots=True)
class Lookahead:
    """What decides about the segments of a file; fitted by benchmarks/segments.py.

    Evidence is measured in logit seconds: how far a logit is above its threshold's, times for how long.

    Attributes:
        margin: how far thresholds are above those of whole clips, logits.
        long_weight: w of the fusion z = w * z_long + (1 - w) * z_short, 0 to 1; the long window is the one around a
            hop.
        long_period: from one long window to the next, s.
        reach: how much earlier than its short window an instrument may have entered to be detected there, s.
        limit: one hop's evidence counts as at most so many logits, for and against.
        switch_cost: of each change, logit seconds: a segment, and a pause in one, needs at least twice as much.
        ahead: how much of the sound beyond a hop is known before the hop is decided, s.
    """

    margin: float = -0.35
    long_weight: float = 0.1
    long_period: float = 5.0
    reach: float = 0.25
    limit: float = 3.0
    switch_cost: float = 3.0
    ahead: float = 20.0

    def scaled(self, factor: float) -> "Lookahead":
        """Changes that cost `factor` times as much; with 0 each hop is decided alone."""
        return replace(self, switch_cost=factor * self.switch_cost)


def overlaps(hop: float, window: float) -> DoubleArray:
    """Which windows a hop lies in: shares of the one that ends with it, of the next, and so on, which add up to 1.

    Args:
        hop: seconds between windows.
        window: length of each, s. One that is shorter than a hop speaks for all of it.
    """
    later = np.arange(max(1, int(np.ceil(window / hop - 1e-9))))
    covered = np.minimum(hop, window - later * hop)
    return np.asarray(covered / covered.sum())


def centred(logits: DoubleArray, shares: DoubleArray, silence: BoolArray, most: int) -> DoubleArray:
    """The logits of each window, float64 [n, k], NaN where there are none -> those of each hop: the mean of the windows
    that it lies in, of those there are. If there are none, the logits of the newest window before.

    Args:
        shares: which windows a hop lies in, as `overlaps`.
        silence: which hops are silent, bool [n]. They have no logits, and no window before a silence counts after it.
        most: how many hops before it that newest window may be; if none is, a hop has no logits: NaN.
    """
    known = np.asarray(np.isfinite(logits).any(axis=1))
    total, weight = np.zeros_like(logits), np.zeros((len(logits), 1))
    for later, share in enumerate(shares):
        part = known[later:, None]
        total[: len(part)] += np.where(part, share * logits[later:], 0.0)
        weight[: len(part)] += share * part
    with np.errstate(invalid="ignore", divide="ignore"):
        out = np.asarray(total / weight)
    rows = np.arange(len(logits))
    newest = np.maximum.accumulate(np.where(known | silence, rows, 0))
    earlier = (weight[:, 0] == 0) & (rows - newest <= most)
    out[earlier] = logits[newest[earlier]]
    out[silence] = np.nan
    return out


def cheapest(evidence: DoubleArray, switch_cost: float, before: BoolArray | None = None) -> BoolArray:
    """The sequence of on and off with the most evidence, less the cost of its changes (Viterbi, 1967).

    Args:
        evidence: of each hop for being on rather than off, float64 [n, k], negative for off.
        switch_cost: of each change.
        before: what was on before the first hop, bool [k]; None: nothing.

    Returns:
        bool [n, k].
    """
    hops, rows = evidence.shape
    started = np.zeros(rows, np.bool_) if before is None else before
    off = np.where(started, -switch_cost, 0.0)  # the best score of a sequence that ends so
    on = np.where(started, 0.0, -switch_cost)
    came_from_on = np.zeros((2, hops, rows), np.bool_)  # whether the state before an off, or an on, hop was on
    for hop in range(hops):
        if hop:
            came_from_on[0, hop] = on - switch_cost > off
            came_from_on[1, hop] = on >= off - switch_cost
            off, on = np.maximum(off, on - switch_cost), np.maximum(on, off - switch_cost)
        on = on + evidence[hop]
    states = np.zeros((hops, rows), np.bool_)
    state = on > off
    for hop in range(hops - 1, -1, -1):
        states[hop] = state
        state = np.where(state, came_from_on[1, hop], came_from_on[0, hop])
    return states


def silent(quiet: Sequence[bool], below: Sequence[bool]) -> BoolArray:
    """Which hops are silent: those that the gate had found quiet, and those below it that lead there."""
    out = np.array(quiet, np.bool_)
    for hop in range(len(out) - 2, -1, -1):
        out[hop] |= below[hop] and out[hop + 1]
    return out


@dataclass(frozen=True, eq=False, slots=True)
class HopLogits:
    """What the networks gave at the end of a hop.

    Attributes:
        end: sample at which it ends.
        seconds: its length.
        quiet: the gate is closed: no network ran.
        below: its level is below the gate.
        short: calibrated logits of the short window that ends with it.
        long: end and length of the long window that ends with it, samples, and its logits; None if none was due.
    """

    end: int
    seconds: float
    quiet: bool
    below: bool
    short: Logits
    long: tuple[int, int, Logits] | None


@dataclass(frozen=True, eq=False, slots=True)
class DecidedHop:
    """What sounds in a hop.

    Attributes:
        silent: it is part of a silence.
        probabilities: float32 [n] by network, and of the ensemble under ""; of other sounds, if any network has them.
        active: which instruments sound, bool [n].
    """

    silent: bool
    probabilities: dict[str, FloatArray]
    active: BoolArray


class SegmentDecider:
    """Takes hops in order and returns them decided, some time later.

    What it gives depends on the hops alone, not on when they come, and it keeps about a minute of them.

    Args:
        parameters: what decides.
        ensemble: calibrated logits by network -> those of the ensemble, float32 [n].
        names: of the networks.
        thresholds: of the ensemble's probability, [n].
        hop: seconds from one hop to the next.
        short: length of a short window, s.
        left_out: instruments that are not listened for, bool [n].
    """

    def __init__(
        self,
        parameters: Lookahead,
        ensemble: Callable[[Logits], FloatArray],
        names: Sequence[str],
        thresholds: NDArray[np.floating],
        hop: float,
        short: float,
        left_out: BoolArray | None = None,
    ) -> None:
        self._parameters, self._ensemble, self._names = parameters, ensemble, names
        count = len(thresholds)
        self._left_out = np.zeros(count, np.bool_) if left_out is None else left_out
        self._shares = overlaps(hop, short + parameters.reach)
        self._ahead = int(np.ceil(parameters.ahead / hop))
        until_long = int(np.ceil((WINDOW_SECONDS + parameters.long_period) / 2 / hop)) + 1
        self._around = max(len(self._shares), until_long)  # hops until all windows around one are there
        self._near = int(np.ceil(_NEAR / hop))
        self._hops: list[HopLogits] = []  # whose windows are not all there yet, after `_past` that later ones may need
        self._past = 0
        self._long: list[tuple[int, int, Logits]] = []
        self._known: list[DecidedHop] = []  # active by evidence alone: not decided yet
        self._evidence: list[DoubleArray] = []  # of each of them
        self._before = np.zeros(count, np.bool_)
        self._seconds = 0.0  # of sound
        self.set_thresholds(thresholds)

    def set_thresholds(self, thresholds: NDArray[np.floating]) -> None:
        """Use other thresholds [n] for hops that are not decided yet."""
        self._thresholds = logit(thresholds).astype(np.float64)

    def add(self, hop: HopLogits) -> list[DecidedHop]:
        """Take the next hop; returns earlier ones that are now decided."""
        self._hops.append(hop)
        self._seconds += hop.seconds
        if hop.long is not None:
            self._long.append(hop.long)
        if len(self._hops) - self._past < self._around + self._ahead:
            return []
        self._weigh(self._ahead)
        return self._decided(len(self._known) - self._ahead)

    def rest(self) -> list[DecidedHop]:
        """The remaining hops, at the end of the sound."""
        self._weigh(len(self._hops) - self._past)
        # A sound of a second has no time for evidence of `switch_cost`: there, a change costs less.
        return self._decided(len(self._known), min(1.0, self._seconds / _BRIEF))

    def _decided(self, count: int, cost: float = 1.0) -> list[DecidedHop]:
        """The first `count` of the hops, decided, a change costing `cost` times as much as elsewhere."""
        if count <= 0:
            return []
        states = cheapest(np.stack(self._evidence), cost * self._parameters.switch_cost, self._before)
        out = [replace(hop, active=state) for hop, state in zip(self._known[:count], states, strict=False)]
        self._before = states[count - 1]
        del self._known[:count], self._evidence[:count]
        return out

    def _weigh(self, count: int) -> None:
        """Compute the evidence for each instrument in the next `count` hops; those around contribute their windows."""
        if not count:
            return
        hops = self._hops
        silence = silent([hop.quiet for hop in hops], [hop.below for hop in hops])
        short = {
            name: centred(self._table(name, silence), self._shares, silence, self._near)
            for name in dict.fromkeys(n for h in hops for n in h.short)
        }
        w = np.float32(self._parameters.long_weight)
        quiet = np.full(len(self._thresholds), sigmoid(-5.0), np.float32)
        done = self._past + count
        for number, hop in enumerate(hops[self._past : done], self._past):
            mean = {
                name: np.asarray(z[number], np.float32) for name, z in short.items() if np.isfinite(z[number]).any()
            }
            if silence[number] or not mean:
                probabilities = {name: np.where(self._left_out, np.float32(0), quiet) for name in ("", *self._names)}
                self._known.append(DecidedHop(True, probabilities, self._before))
                self._evidence.append(np.full(len(self._thresholds), -_OFF))
                continue
            long = self._around_middle(hop)
            fused = {name: w * long.get(name, z) + (1 - w) * z for name, z in mean.items()}
            ensemble = np.where(self._left_out, np.float32(NEVER), self._ensemble(fused))
            probabilities = {"": sigmoid(ensemble), **{name: sigmoid(z) for name, z in fused.items()}}
            for name in ("", *self._names):
                if name in probabilities:
                    probabilities[name][self._left_out] = 0.0
            limit = self._parameters.limit
            self._known.append(DecidedHop(False, probabilities, self._before))
            self._evidence.append(np.clip(ensemble - self._thresholds, -limit, limit) * hop.seconds)
        self._past = min(done, self._near)
        del hops[: done - self._past]
        oldest = hops[0].end - round(_LONG_KEPT * SAMPLE_RATE)
        while len(self._long) > 1 and self._long[0][0] < oldest:
            del self._long[0]

    def _table(self, name: str, silence: BoolArray) -> DoubleArray:
        """The short windows' logits of a network, float64 [hops, k], NaN where it gave none or the sound was silent."""
        width = next(len(hop.short[name]) for hop in self._hops if name in hop.short)
        nothing = np.full(width, np.nan)
        table = np.array([hop.short.get(name, nothing) for hop in self._hops], np.float64)
        table[silence] = np.nan
        return table

    def _around_middle(self, hop: HopLogits) -> Logits:
        """Logits of the long window whose middle is nearest to the hop's; nothing if none is near, after a silence."""
        middle = hop.end - hop.seconds * SAMPLE_RATE / 2
        most = WINDOW_SECONDS * SAMPLE_RATE
        around = [each for each in self._long if abs(each[0] - each[1] / 2 - middle) <= most]
        return min(around, key=lambda each: abs(each[0] - each[1] / 2 - middle))[2] if around else {}


def segments_of(
    active: BoolArray, probabilities: FloatArray, ends: Sequence[float], names: Sequence[str] = INSTRUMENTS
) -> list[Segment]:
    """Runs of active hops -> segments, in order of onset.

    Args:
        active: of each hop, bool [hops, n].
        probabilities: float32 [hops, n].
        ends: of each hop, s; the first begins at 0.
        names: of the instruments.
    """
    edges = np.diff(np.pad(active.astype(np.int8), ((1, 1), (0, 0))), axis=0)
    starts = [0.0, *ends]
    out = []
    for row, name in enumerate(names):
        first, last = np.flatnonzero(edges[:, row] > 0), np.flatnonzero(edges[:, row] < 0)
        for a, b in zip(first.tolist(), last.tolist(), strict=True):
            p = probabilities[a:b, row]
            out.append(Segment(name, starts[a], ends[b - 1], float(p.mean(dtype=np.float64)), float(p.max())))
    return sorted(out, key=lambda each: (each.onset, each.name))
