"""What this machine can do with every engine, precision and network: trials, their rows, and the report."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from textwrap import fill, wrap
from typing import Any

from instrec_live.models.bundle import DEFAULT_MODELS
from instrec_live.models.catalog import networks_of
from instrec_live.models.engines.registry import parse_engine
from instrec_live.models.errors import ModelError
from instrec_live.realtime.commands.benchmark.measurement import HungError, attempt, facts, heading, is_busy
from instrec_live.realtime.commands.benchmark.verdict import (
    FAILED,
    Figures,
    Row,
    Timing,
    in_words,
    of_the_machine,
    percent,
    percentile,
)
from instrec_live.realtime.config.settings import Settings
from instrec_live.realtime.errors import ExitCode, printable
from instrec_live.realtime.logs import configure_logging

log = logging.getLogger(__name__)

# The benchmark's rows as plain text of 100 columns.

COLUMNS = 100

_NAME = 13  # of an engine or a network; longer ones are cut

_HEAD = f"{'p50':>5} {'p95':>5} {'core':>5} {'+MB':>4} {'|Δp|':>5} {'hop':>6}  verdict"


def lines(rows: Sequence[Row], unusable: Sequence[tuple[str, str]], hop: float) -> list[str]:
    """The table, the engines that cannot be used and why, and what the columns mean."""
    engine = _width("engine", [row.engine for row in rows] + [name for name, _ in unusable])
    network = _width("network", [row.network for row in rows])
    out = [f"{'engine':{engine}} {'network':{network}} {_HEAD}"] if rows else []
    for row in rows:
        names = f"{_cut(row.engine):{engine}} {_cut(row.network):{network}} "
        if row.figures is None:
            out += _hanging(names, row.verdict)
        else:
            out.append(f"{names}{_numbers(row.figures)}  {row.verdict}")
    for name, reason in unusable:
        out += _hanging(f"{_cut(name):{engine}} ", f"cannot be used: {printable(reason)}")
    legend = (
        f"p50, p95: ms from new sound to an update, at a hop of {hop:g} s. core: CPU seconds a second of sound. +MB: "
        "memory that it adds. |Δp|: greatest difference of a probability from onnx in fp32. hop: the smallest that "
        "keeps up. together: all of them, as the program runs them."
    )
    return [*out, "", *wrap(legend, COLUMNS)] if rows else out


def _numbers(it: Figures) -> str:
    hop = "-" if it.smallest_hop is None else f"{it.smallest_hop:g} s"
    added = "-" if it.added_mb is None else f"{it.added_mb:.0f}"
    return (
        f"{milliseconds(it.p50_ms):>5} {milliseconds(it.p95_ms):>5} {percent(it.core):>5} {added:>4} "
        f"{_small(it.difference):>5} {hop:>6}"
    )


def milliseconds(ms: float) -> str:
    """Three digits, or more where there are more before the point."""
    return f"{ms:.{2 if ms < 9.995 else 1 if ms < 99.95 else 0}f}"


def _small(difference: float | None) -> str:
    if difference is None:
        return "-"
    return "0" if difference == 0 else f"{difference:.0e}"


def _hanging(start: str, text: str) -> list[str]:
    return fill(start + text, COLUMNS, subsequent_indent=" " * len(start), drop_whitespace=True).splitlines()


def _width(title: str, names: Sequence[str]) -> int:
    return max(map(len, [title, *map(_cut, names)]))


def _cut(name: str) -> str:
    name = printable(name)
    return name if len(name) <= _NAME else f"{name[: _NAME - 1]}…"


TOGETHER = "together"

YARDSTICK = ("onnx", "fp32")

_CHILD = ("-m", "instrec_live.realtime.commands.benchmark.measurement")

_SECONDS = 20.0  # of updates, in all

_LEAST, _MOST = 0.7, 3.0  # s, of each trial

_PATIENCE = 300.0  # s, of a trial: an engine may build what it runs first

Answers = Mapping[tuple[int, int], Sequence[float]]


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
    configure_logging(settings, screen=False)
    if settings.engine != "auto":
        parse_engine(settings.engine)
    machine = facts()
    if is_busy(machine):
        log.warning("other programs are running (load %.1f); without them, times would be shorter", machine["load"])
    models = _models(settings.models or DEFAULT_MODELS)
    networks = [model.name for model in models]
    states = [State(*each) for each in attempt([*_CHILD, "engines"], _PATIENCE)]
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
    name, precision = parse_engine(engine)
    return asked in ("auto", name, f"{name}:{precision}")


def _models(wanted: Sequence[str]) -> list[_Model]:
    """The models, verified, and fetched if they must be: that is no child's business."""
    models = []
    for bundle in networks_of(wanted):
        models.append(_Model(bundle.name, str(bundle.path.resolve()), bundle.sha256))
    names = [model.name for model in models]
    if len(set(names)) < len(names):
        raise ModelError(f"two models have the same name: {', '.join(names)}")
    return models


def _trials(usable: Sequence[str], asked: Sequence[str], networks: Sequence[str]) -> list[_Trial]:
    """What is measured, the yardstick first."""
    engines = sorted(asked, key=lambda engine: parse_engine(engine) != YARDSTICK)
    if asked and not any(parse_engine(engine) == YARDSTICK for engine in asked):
        engines = [engine for engine in usable if parse_engine(engine) == YARDSTICK] + engines
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
        figures, precision = None, parse_engine(trial.engine)[1]
        try:
            if trial.engine in hung:
                raise ModelError("not tried, because it did not finish before")
            measured = attempt([*_CHILD, json.dumps(_request(trial, folders, settings, seconds))], _PATIENCE)
            answers = {(end, length): p for end, length, p in measured["answers"]}
            if parse_engine(trial.engine) == YARDSTICK:
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
    """The greatest |difference| of a probability over the windows that both computed, and the number of these."""
    both = answers.keys() & expected.keys()
    gaps = [abs(p - q) for window in both for p, q in zip(answers[window], expected[window], strict=True)]
    return max(gaps, default=None), len(both)


def figures_of(measured: Mapping[str, Any], hop: float, compared: tuple[float | None, int]) -> Figures:
    """The figures of a `measurement.Measurement` at a hop, s; `compared` as `difference` gives it."""
    timings = [Timing(*each) for each in measured["timings"]]
    seconds = hop * len(timings)
    walls = [1000 * each.wall for each in timings]
    return Figures(
        runs_on=measured["runs_on"],
        updates=len(timings),
        p50_ms=percentile(walls, 0.5),
        p95_ms=percentile(walls, 0.95),
        core=sum(each.cpu for each in timings) / seconds,
        load=sum(each.wall for each in timings) / seconds,
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
