"""What this machine can do with every engine, precision and network: trials, their rows, and the report."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from instrec_live.models.bundle import DEFAULT_MODELS, Bundle
from instrec_live.models.engines import parsed
from instrec_live.models.errors import ModelError
from instrec_live.models.tagger import folder_of
from instrec_live.realtime.benchmark.machine import facts, heading, is_busy
from instrec_live.realtime.benchmark.table import lines
from instrec_live.realtime.benchmark.trial import HungError, attempt
from instrec_live.realtime.benchmark.verdict import FAILED, Figures, Row, Timing, in_words, of_the_machine, percentile
from instrec_live.realtime.errors import ExitCode, printable
from instrec_live.realtime.narration import narrate
from instrec_live.realtime.settings import Settings

TOGETHER = "together"
YARDSTICK = ("onnx", "fp32")

_CHILD = ("-m", "instrec_live.realtime.benchmark.measurement")
_SECONDS = 20.0  # of updates, in all
_LEAST, _MOST = 0.7, 3.0  # s, of each trial
_PATIENCE = 300.0  # s, of a trial: an engine may build what it runs first

Answers = Mapping[tuple[int, int], Sequence[float]]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class State:
    """Whether an engine can be used here.

    Attributes:
        engine: as --engine takes it.
        usable, reason: and why, or why not.
    """

    engine: str
    usable: bool
    reason: str


@dataclass(frozen=True, slots=True)
class _Model:
    name: str
    folder: str
    sha256: str
    in_8_bits: bool


@dataclass(frozen=True, slots=True)
class _Trial:
    """An engine with one or all of the networks; `shown`: it was asked for, and is no mere yardstick."""

    engine: str
    networks: tuple[str, ...]
    shown: bool

    @property
    def label(self) -> str:
        return TOGETHER if len(self.networks) > 1 else self.networks[0]


def compare(settings: Settings) -> int:
    """Measure, and print the table, or JSON if asked for; returns 0 if any network runs here, else 5.

    Raises:
        UsageError: an engine or precision that does not exist.
        ModelError: a bundle is missing or damaged, or no engine can be looked for.
    """
    narrate(settings, screen=False)
    if settings.engine != "auto":
        parsed(settings.engine)
    machine = facts()
    if is_busy(machine):
        log.warning("other programs are at work (load %.1f): without them times would be shorter", machine["load"])
    models = _models(settings.models or DEFAULT_MODELS)
    networks = [model.name for model in models]
    states = [State(*each) for each in attempt([*_CHILD, "engines"], _PATIENCE)]
    if not all(model.in_8_bits for model in models):
        states = [_without_8_bits(state) for state in states]
    asked = [state for state in states if wanted(settings.engine, state.engine)]
    trials = _trials([s.engine for s in states if s.usable], [s.engine for s in asked if s.usable], networks)
    rows = _rows(trials, {model.name: model.folder for model in models}, settings)
    last = len(networks) if len(networks) > 1 else 0  # of an engine's rows: that of all networks
    together = rows[last :: last + 1]
    able = any(row.figures for row in rows)
    verdict = of_the_machine(together, networks, settings.hop)
    if not asked or not any(state.usable for state in asked):
        verdict += "".join(f"; {state.engine}: {state.reason}" for state in asked)
    if settings.json:
        print(json.dumps(_document(settings, machine, models, asked, rows, verdict, able), indent=2, allow_nan=False))
    else:
        unusable = [(state.engine, state.reason) for state in asked if not state.usable]
        print(
            "\n".join(
                [
                    *heading(machine, settings.threads),
                    "",
                    *lines(rows, unusable, settings.hop),
                    "",
                    f"verdict: {verdict}",
                ]
            )
        )
    return ExitCode.OK if able else ExitCode.MODEL


def wanted(asked: str, engine: str) -> bool:
    """Whether --engine asks for an engine: "auto" for all, "openvino" for it in each precision, "openvino:bf16"."""
    name, precision = parsed(engine)
    return asked in ("auto", name, f"{name}:{precision}")


def _models(wanted: Sequence[str]) -> list[_Model]:
    """The models, verified, and fetched if they must be: that is no child's business."""
    models = []
    for bundle in map(Bundle.load, map(folder_of, wanted)):
        models.append(_Model(bundle.name, str(bundle.path.resolve()), bundle.sha256, bundle.int8_sha256 is not None))
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        raise ModelError(f"two of the models have the same name: {', '.join(names)}")
    return models


def _without_8_bits(state: State) -> State:
    if state.usable and parsed(state.engine)[1] == "int8":
        return replace(state, usable=False, reason="these networks come without a file in 8 bits")
    return state


def _trials(usable: Sequence[str], asked: Sequence[str], networks: Sequence[str]) -> list[_Trial]:
    """What is measured, the yardstick first."""
    engines = sorted(asked, key=lambda engine: parsed(engine) != YARDSTICK)
    if asked and not any(parsed(engine) == YARDSTICK for engine in asked):
        engines = [engine for engine in usable if parsed(engine) == YARDSTICK] + engines
    sets = [(network,) for network in networks] + ([tuple(networks)] if len(networks) > 1 else [])
    return [_Trial(engine, each, engine in asked) for engine in engines for each in sets]


def _rows(trials: Sequence[_Trial], folders: Mapping[str, str], settings: Settings) -> list[Row]:
    seconds = min(_MOST, max(_LEAST, _SECONDS / max(1, len(trials))))
    expected: dict[tuple[str, ...], Answers] = {}  # of the yardstick, by networks
    hung: set[str] = set()
    rows = []
    for number, trial in enumerate(trials, 1):
        aside = "" if trial.shown else ", to compare with"
        log.info("%d of %d: %s on %s%s", number, len(trials), trial.label, trial.engine, aside)
        figures, precision = None, parsed(trial.engine)[1]
        try:
            if trial.engine in hung:
                raise ModelError("not tried, after it did not come to an end before")
            measured = attempt([*_CHILD, json.dumps(_request(trial, folders, settings, seconds))], _PATIENCE)
            answers = {(end, length): p for end, length, p in measured["answers"]}
            if parsed(trial.engine) == YARDSTICK:
                expected[trial.networks] = answers
            figures = figures_of(measured, settings.hop, difference(answers, expected.get(trial.networks, {})))
            verdict = in_words(figures, settings.hop)
        except ModelError as error:
            verdict = FAILED + printable(str(error))
            hung |= {trial.engine} if isinstance(error, HungError) else set()
        if trial.shown:
            rows.append(Row(trial.engine, precision, trial.label, figures, verdict))
    return rows


def _request(trial: _Trial, folders: Mapping[str, str], settings: Settings, seconds: float) -> dict[str, Any]:
    """`measurement.Request` of a trial; that file is not imported here, for all that it brings along."""
    return {
        "folders": [folders[name] for name in trial.networks],
        "engine": trial.engine,
        "threads": settings.threads,
        "weights": settings.weights if len(trial.networks) == len(folders) else None,
        "hop": settings.hop,
        "seconds": seconds,
    }


def difference(answers: Answers, expected: Answers) -> tuple[float | None, int]:
    """The greatest |difference| of a probability over the windows that both heard, and how many those are."""
    both = answers.keys() & expected.keys()
    gaps = [abs(p - q) for window in both for p, q in zip(answers[window], expected[window], strict=True)]
    return max(gaps, default=None), len(both)


def figures_of(measured: Mapping[str, Any], hop: float, compared: tuple[float | None, int]) -> Figures:
    """The figures of a `measurement.Measurement` at a hop, s; `compared` as `difference` gives it."""
    timings = [Timing(*each) for each in measured["timings"]]
    heard = hop * len(timings)
    walls = [1000 * each.wall for each in timings]
    return Figures(
        runs_on=measured["runs_on"],
        updates=len(timings),
        p50_ms=percentile(walls, 0.5),
        p95_ms=percentile(walls, 0.95),
        core=sum(each.cpu for each in timings) / heard,
        load=sum(each.wall for each in timings) / heard,
        resident_mb=measured["resident_mb"],
        added_mb=measured["added_mb"],
        difference=compared[0],
        compared=compared[1],
        smallest_hop=measured["smallest_hop"],
    )


def _document(
    settings: Settings,
    machine: Mapping[str, Any],
    models: Sequence[_Model],
    states: Sequence[State],
    rows: Sequence[Row],
    verdict: str,
    able: bool,
) -> dict[str, Any]:
    nothing = dict.fromkeys(field.name for field in fields(Figures))
    return {
        **machine,
        "threads": settings.threads,
        "hop": settings.hop,
        "models": {model.name: model.sha256 for model in models},
        "engines": [asdict(state) for state in states],
        "rows": [
            {
                "engine": row.engine,
                "precision": row.precision,
                "network": row.network,
                "ok": row.figures is not None,
                "verdict": row.verdict,
                **(_rounded(row.figures) if row.figures else nothing),
            }
            for row in rows
        ],
        "able": able,
        "verdict": verdict,
    }


def _rounded(figures: Figures) -> dict[str, Any]:
    """To four digits, which is more than is known."""
    return {name: float(f"{it:.4g}") if isinstance(it, float) else it for name, it in asdict(figures).items()}
