"""Which engine is fastest here: measured once, in a second or so for each, and remembered for this machine."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from instrec_live.models import engines
from instrec_live.models.bundle import Bundle
from instrec_live.models.engines import probe_memory
from instrec_live.models.errors import InstrecError
from instrec_live.models.follower import Follower, Listener
from instrec_live.models.logmel import SAMPLE_RATE, WINDOW_SECONDS, StreamingLogMel

PRECISE = ("fp32", "bf16", "fp16")  # what may be chosen unasked; int8 may not

_SIMILAR = 1.1  # times the fastest: not worth a less plain engine
_SHORT = 2.5  # s; heard every hop, and the long window once a second: what a stream hears, and a little more
_HOPS = 2  # a second
_ROUNDS, _ENOUGH = 3, 0.5  # seconds of sound that are heard at most; seconds spent from which fewer will do

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Choice:
    """An engine, and why.

    Attributes:
        engine: its name as `open_engine` takes it, e.g. "openvino:bf16".
        costs: by engine, in order of plainness: what the networks cost for a second of sound, in seconds of CPU time,
            or of the clock for an engine that runs on a GPU. Empty: there was no choice.
        left_out: by engine: why it was not measured, or not considered.
        remembered: it was measured earlier.
    """

    engine: str
    costs: Mapping[str, float]
    left_out: Mapping[str, str]
    remembered: bool = False


def choose(bundles: Sequence[Bundle], threads: int = 1) -> Choice:
    """The fastest usable engine for these networks; of similar ones the plainest.

    Where more than one is usable they are measured, unless that was done before with the same processor, libraries,
    networks and threads. One that fails, gives other answers, or is still to be built, is left out. If none is left it
    is the first usable one: it will say itself what is wrong.
    """
    facts = probe_memory.facts([bundle.sha256 for bundle in bundles], threads)
    known = probe_memory.recall(facts)
    if known is not None and _still_holds(known, bundles):
        return Choice(known["engine"], known["costs"], known["left_out"], remembered=True)
    usable = [name for name, able, _ in engines.available() if able and engines.parsed(name)[1] in PRECISE]
    if len(usable) < 2:
        return Choice(usable[0] if usable else "onnx", {}, {})
    log.info("measuring which of %s is fastest here, once", ", ".join(usable))
    costs: dict[str, float] = {}
    left_out: dict[str, str] = {}
    for name in usable:
        if not _built(name, bundles):
            left_out[name] = probe_memory.UNBUILT
            continue
        try:
            costs[name] = _cost(bundles, name, threads)
        except InstrecError as error:
            log.info("engine %s is left out: %s", name, error)
            left_out[name] = str(error)
    choice = Choice(fastest(costs) or usable[0], costs, left_out)
    if costs:
        probe_memory.remember(facts, {"engine": choice.engine, "costs": costs, "left_out": left_out})
    return choice


def fastest(costs: Mapping[str, float]) -> str | None:
    """The first of the engines that is not much slower than the fastest; None if there are none."""
    return next((name for name, cost in costs.items() if cost <= _SIMILAR * min(costs.values())), None)


def explanation(choice: Choice) -> str:
    """Why this one, in a line."""
    if not choice.costs:
        reasons = "; ".join(f"{name}: {why}" for name, why in choice.left_out.items())
        return f"{choice.engine}: " + (f"none could be measured ({reasons})" if reasons else "the only one usable here")
    best = min(choice.costs, key=lambda name: choice.costs[name])
    why = "the fastest" if best == choice.engine else f"not much slower than {best}, and plainer"
    when = "measured earlier" if choice.remembered else "measured now"
    return f"{choice.engine}: {why}; {when}, remembered in {probe_memory.place()}"


def _still_holds(known: Mapping[str, object], bundles: Sequence[Bundle]) -> bool:
    """The engine is usable still, without having to be built again, and none has been built since that was to be built
    first."""
    name, left_out = known["engine"], known["left_out"]
    assert isinstance(name, str)
    assert isinstance(left_out, Mapping)
    unbuilt = [other for other, why in left_out.items() if why == probe_memory.UNBUILT]
    usable = engines.reason_against(name) is None and _built(name, bundles)
    return usable and not any(_built(other, bundles) for other in unbuilt)


def _built(name: str, bundles: Sequence[Bundle]) -> bool:
    return all(engines.is_built(bundle, name) for bundle in bundles)


def _cost(bundles: Sequence[Bundle], name: str, threads: int) -> float:
    """Seconds that a second of sound costs.

    Raises:
        InstrecError: the engine fails, or its answers are not the bundles' golden ones.
    """
    clock = time.perf_counter if engines.on_gpu(name) else time.process_time
    total = 0.0
    for bundle in bundles:
        engine = engines.open_engine(bundle, name, threads)
        engines.verify_golden(engine, bundle, engines.parsed(name)[1])
        total += cost(engine, bundle, clock)
    return total


def cost(engine: engines.Engine, bundle: Bundle, clock: Callable[[], float] = time.process_time) -> float:
    """Seconds, by that clock, that the network takes for a second of sound followed as a stream follows it."""
    mel = StreamingLogMel(WINDOW_SECONDS)
    noise = np.random.default_rng(0).normal(0, 0.1, round(WINDOW_SECONDS + 1 + _ROUNDS) * SAMPLE_RATE)
    hop, long, short = (round(s * SAMPLE_RATE) for s in (1 / _HOPS, WINDOW_SECONDS, _SHORT))
    follower = Follower({bundle.name: Listener(engine, bundle.width > 0)}, dict, mel, hop)
    mel.push(noise[:long].astype(np.float32))

    def second(at: int) -> float:
        """Hear a second of sound, up to sample `at`."""
        began = clock()
        for end in range(at - (_HOPS - 1) * hop, at + 1, hop):
            mel.push(noise[end - hop : end].astype(np.float32))
            follower.calibrated(end, short)
        follower.calibrated(at, long)
        return clock() - began

    second(long + SAMPLE_RATE)  # the first is slow, and hears ten seconds
    taken: list[float] = []
    while len(taken) < _ROUNDS and sum(taken) < _ENOUGH:
        taken.append(second(long + (2 + len(taken)) * SAMPLE_RATE))
    return min(taken)
