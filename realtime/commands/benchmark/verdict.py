"""From measured times to what they mean: percentiles, the smallest hop that keeps up, and words for both."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from math import inf

EASY = 0.25  # of a core: what the program may cost (DESIGN: budgets), so that there is room for everything else
FAR = 5e-2  # of a probability: a network that is off by more does not compute what it was trained to
FAILED = "cannot run: "  # begins the verdict of a row without figures
_CLOSE = 0.8  # of the hop: an update that takes longer only just keeps up
_PROMPT = 0.95  # of the updates must be done when the next is due
# Two digits are as much as is known: 0.1, 0.11, …, 0.99, 1, 1.1, …, 9.9, 10, 11, …, 60 s.
HOPS = tuple([k / 100 for k in range(10, 100)] + [k / 10 for k in range(10, 100)] + [float(k) for k in range(10, 61)])


@dataclass(frozen=True, slots=True)
class Timing:
    """What one update took: wall-clock and CPU time, s, and whether the long window was in it."""

    wall: float
    cpu: float
    long: bool


@dataclass(frozen=True, slots=True)
class Figures:
    """What an engine does with a network, or with several together, at one hop.

    Attributes:
        runs_on: the engine's own name, with its version.
        updates: so many were measured.
        p50_ms, p95_ms: time from new sound to the update, ms.
        core: CPU seconds a second of sound: the share of one core.
        load: wall-clock seconds a second of sound.
        resident_mb: the process's resident memory at its peak, MB; None if the system does not report it.
        added_mb: what of that the engine, its library, the networks and the sound took, MB.
        difference: greatest |difference| of a probability from ONNX Runtime's in fp32; None if that does not run.
        compared: over so many windows.
        smallest_hop: that keeps up, s; None: not even one of 60 s does.
    """

    runs_on: str
    updates: int
    p50_ms: float
    p95_ms: float
    core: float
    load: float
    resident_mb: float | None
    added_mb: float | None
    difference: float | None
    compared: int
    smallest_hop: float | None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table.

    Attributes:
        engine: as --engine takes it, e.g. "openvino:bf16".
        precision: e.g. "bf16".
        network: a model's name, or "together".
        figures: None if it does not run.
        verdict: in words; if it does not run, why.
    """

    engine: str
    precision: str
    network: str
    figures: Figures | None
    verdict: str


def percentile(values: Iterable[float], share: float) -> float:
    """The least of the values that `share` (0…1) of them do not exceed: always one of them."""
    return _percentile([(value, 1.0) for value in values], share)


def _percentile(weighted: Iterable[tuple[float, float]], share: float) -> float:
    """The same of (value, weight)."""
    ascending = sorted(weighted)
    wanted = share * sum(weight for _, weight in ascending) * (1 - 1e-12)  # sums are rounded
    sums = accumulate(weight for _, weight in ascending)
    return next(value for (value, _), reached in zip(ascending, sums, strict=True) if reached >= wanted)


def smallest_hop(timings: Sequence[Timing]) -> float | None:
    """The smallest hop, s, at which 95 % of the updates are done before the next is due; None above 60 s.

    The long window comes once a second: below a hop of a second it is in only so many of the updates, in all of them
    from there on. An update is taken to cost at every hop what it cost here.
    """
    long = [each.wall for each in timings if each.long]
    short = [each.wall for each in timings if not each.long]

    def prompt(hop: float) -> bool:
        often = min(1.0, hop) if short and long else 0.5  # all of one kind: the weight does not matter
        weighted = [(wall, often / len(long)) for wall in long]
        weighted += [(wall, (1.0 - often) / len(short)) for wall in short]
        return _percentile(weighted, _PROMPT) <= hop

    return next((hop for hop in HOPS if prompt(hop)), None)


def in_words(figures: Figures, hop: float) -> str:
    """What the figures mean for an update every `hop` s."""
    if figures.difference is not None and figures.difference > FAR:
        return f"off by {figures.difference:.2g}: do not use it"
    if figures.smallest_hop is None:
        return f"too slow, even at {HOPS[-1]:g} s"
    if figures.smallest_hop > hop:
        return f"keeps up at {figures.smallest_hop:g} s, not at {hop:g} s"
    easy = "easily live" if figures.core <= EASY else "live"
    how = "just live" if figures.p95_ms > 1000 * _CLOSE * hop else easy
    return f"{how}: {of_a_core(figures.core)}"


def of_a_core(share: float) -> str:
    return f"{percent(share)} of a core"


def percent(share: float) -> str:
    return "<1 %" if 0 < share < 0.01 else f"{100 * share:.0f} %"


def of_the_machine(rows: Sequence[Row], networks: Sequence[str], hop: float) -> str:
    """One line on what this machine can do with the networks, of the rows of all of them as they run together."""
    what = f"{', '.join(networks)}{' together' if len(networks) > 1 else ''}"
    ran = [(row.engine, row.figures) for row in rows if row.figures is not None]
    sound = [(engine, it) for engine, it in ran if it.difference is None or it.difference <= FAR]
    if not sound:
        return f"this machine cannot run {what}: " + (
            rows[0].verdict.removeprefix(FAILED) if rows else "no engine can be used"
        )
    engine, best = min(sound, key=lambda each: (max(hop, each[1].smallest_hop or inf), each[1].load))
    of = f"the fastest of {len(sound)} engines" if len(sound) > 1 else "the only one measured"
    if best.smallest_hop is None:
        return f"this machine is too slow for {what}, even at a hop of {HOPS[-1]:g} s on {engine}, {of}"
    if best.smallest_hop > hop:
        slower = f"this machine keeps up with {what} at a hop of {best.smallest_hop:g} s, not at {hop:g} s"
        return f"{slower}: on {engine}, {of}"
    can = f"this machine can listen live with {what} at a hop of {hop:g} s"
    return f"{can}: {of_a_core(best.core)} on {engine}, {of}"
