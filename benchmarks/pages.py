"""Writes the measured figures into README.md and the pages of docs/, from the files in benchmarks/results.

    python benchmarks/pages.py                        # write all pages
    python benchmarks/pages.py performance watch      # write some
    python benchmarks/pages.py --check                # exit 1 if a page is out of date

A block of figures is between two marks, `<!-- name -->` and `<!-- end of name -->`. pictures.py draws the pictures.
"""

import argparse
import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

CHECKOUT = Path(__file__).resolve().parent.parent
DOCS = CHECKOUT / "docs"
RESULTS = CHECKOUT / "benchmarks" / "results"
Record = Mapping[str, Any]


def filled(page: str, figures: str, name: str = "figures") -> str:
    """The page, with the text between the two marks of a block replaced.

    Raises:
        ValueError: a mark is missing.
    """
    begin_mark, end_mark = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, begin, rest = page.partition(begin_mark)
    _, end, after = rest.partition(end_mark)
    if not begin or not end:
        raise ValueError(f"the page lacks {begin_mark} or {end_mark}")
    return f"{before}{begin_mark}\n{figures}\n{end_mark}{after}"


def _source(record: Record) -> str:
    return f"`{record['command']}`, {record['date'][:10]}, {record['machine']}, one thread"


# -- docs/recognition.md ----------------------------------------------------------------------------------------------

METRICS = {"mAP": "mAP", "micro_AP": "micro-AP", "top1": "top-1", "F1_shown": "F1 shown", "ECE": "ECE"}
SETS = {
    "ensembles": "ensembles",
    "mixtures": "mixtures",
    "solos": "solos and others",
}


def tagging(record: Mapping[str, Any]) -> list[str]:
    """Every network on every set of clips, music first."""
    lines = [
        "### Instruments in a clip of ten seconds",
        "",
        f"| clips | network | {' | '.join(METRICS.values())} |",
        "|---|---|" + "---|" * len(METRICS),
    ]
    for key, called in SETS.items():
        for name, rows in record["figures"].items():
            figures = rows[key]
            cells = [_figure(figures, column) for column in METRICS]
            lines.append(f"| {called}, {figures['clips']} | {name} | {' | '.join(cells)} |")
    means = ", ".join(
        f"{name} {fmean(rows[key]['mAP'] for key in SETS):.3f}" for name, rows in record["figures"].items()
    )
    more = record["figures"]["ensemble"]["mixtures_fitted"]
    earlier = ""
    if compared := record.get("compared"):
        earlier = f" {', '.join(compared['networks'])}: the same clips, {compared['date']}."
    return [
        *lines,
        "",
        f"`training.ensemble`, {record['date']}.{earlier} Mean mAP of the three sets: {means}. The ensemble on the "
        f"{more['clips']:,} other mixtures of the same solos, each measured by what was fitted without its own: mAP "
        f"{more['mAP']:.2f} [{more['mAP_low']:.2f}–{more['mAP_high']:.2f}], F1 shown {more['F1_shown']:.2f}.",
    ]


def accuracy(record: Mapping[str, Any]) -> list[str]:
    """Three figures for the README."""
    rows = record["figures"]["ensemble"]
    bands, solos, mixtures = rows["ensembles"], rows["solos"], rows["mixtures"]
    return [
        "| on recordings that no network was trained on | mAP | F1 of what is shown |",
        "|---|---|---|",
        *(
            f"| {called} | {figures['mAP']:.2f} | {figures['F1_shown']:.2f} |"
            for called, figures in (
                ("real bands and orchestras", bands),
                ("mostly solos", solos),
                ("mixtures of two to four soloists who never played together", mixtures),
            )
        ),
    ]


def _figure(figures: Mapping[str, Any], column: str) -> str:
    value = figures.get(column)
    if value is None or not math.isfinite(value):
        return "–"
    low, high = figures.get(f"{column}_low"), figures.get(f"{column}_high")
    return f"{value:.2f}" + (f" [{low:.2f}–{high:.2f}]" if low is not None and high is not None else "")


def distractors(record: Mapping[str, Any]) -> list[str]:
    """What instruments other than the 20 were taken for."""
    lines = ["### Instruments that are not among the 20", ""]
    lines += [
        "| soundfont | instrument | excerpts | named as one of the 20 | highest probability | names |",
        "|---|---|---|---|---|---|",
    ]
    for row in record["distractors"]:
        names = ", ".join(f"{name.replace('_', ' ')} {count}" for name, count in row["names"].items()) or "–"
        of = (row["soundfont"], row["instrument"].replace("_", " "))
        cells = (*of, row["excerpts"], row["named"], f"{row['highest']:.2f}", names)
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    counts = []
    for soundfont in record["sources"]:
        rows = [row for row in record["distractors"] if row["soundfont"] == soundfont]
        excerpts, named = (sum(row[key] for row in rows) for key in ("excerpts", "named"))
        counts.append(f"{named} of {excerpts} ({soundfont})")
    return [
        *lines,
        "",
        f"`distractors.py`, {record['date'][:10]}: 10 s each of soundfonts that no network was trained on; "
        f"{', '.join(counts)} were named as one of the 20; each is an error. The strength with which such names "
        "are suppressed was chosen on sf_timgm6mb.",
    ]


def following(record: Mapping[str, Any]) -> list[str]:
    """The demo clip: one row an entry, then the figures of the whole."""
    lines = ["### The demo clip", "", f"`{record['command']}`, {record['date'][:10]}", ""]
    lines += ["| instrument | audible, s | shown after, s | hidden after, s |", "|---|---|---|---|"]
    for entry in record["by_entry"]:
        delay, release = entry["detection_s"], entry["release_s"]
        shown = "never" if delay is None else f"{delay:.1f}"
        gone = "–" if release is None else f"{release:.1f}"
        span = f"{entry['onset']:.1f} – {entry['offset']:.1f}"
        lines.append(f"| {entry['instrument']} | {span} | {shown} | {gone} |")
    false = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in record["false_seconds"].items())
    strict, tolerant = record["strict"], record["tolerant"]
    in_time, entries = record["entries_in_time"], record["entries"]
    shown, gone = _seconds(record["median_detection_s"]), _seconds(record["median_release_s"])
    return [
        *lines,
        "",
        f"- shown within {record['within_s']:.0f} s: {in_time} of {entries} entries",
        f"- median delay: shown {shown}, hidden {gone}",
        f"- {_precision(strict, tolerant, record['release_tolerance_s'])}",
        f"- shown without sounding: {false or 'nothing'}",
    ]


def timing(record: Mapping[str, Any]) -> list[str]:
    """Timelines made of real solos: delays and errors."""
    strict, tolerant = record["strict"], record["tolerant"]
    minutes, over = record["timelines"] * record["seconds"] / 60, record.get("over_others")
    shown, gone = _seconds(record["median_detection_s"]), _seconds(record["median_release_s"])
    return [
        "### Solos that enter and stop",
        "",
        f"`{Path(record['command'].split()[1]).name}`, {record['date'][:10]}: {record['timelines']} timelines,"
        f" {minutes:.0f} minutes, {record['entries']} entries, updates every {record['hop']:g} s.",
        "",
        f"- shown within 3 s: {record['share_in_time']:.0%} of the entries",
        f"- median delay: shown {shown}, hidden {gone}",
        *([f"- entries while others play, shown within 3 s: {over['in_time']} of {over['entries']}"] if over else []),
        f"- {_precision(strict, tolerant, 3.0)}",
        *(f"- {_calm(kind, figures)}" for kind, figures in record.get("calm", {}).items()),
    ]


def _precision(strict: Mapping[str, float], tolerant: Mapping[str, float], late: float) -> str:
    """In seconds of each instrument."""
    return (
        f"precision, in seconds of each instrument: {strict['precision']:.0%} ({tolerant['precision']:.0%} if an "
        f"instrument may stay up to {late:.0f} s after it stops); recall: {strict['recall']:.0%}"
    )


def _calm(kind: str, figures: Mapping[str, float]) -> str:
    """What is shown of clips in which nothing changes."""
    return (
        f"clips of {'one instrument' if kind == 'solo' else 'several instruments'}, in which nothing"
        f" changes: {figures['precision']:.0%} of what is shown is right, {figures['recall']:.0%} of what sounds is"
        " shown,"
        f" and the display changes {figures['changes_a_minute']:.0f} times a minute"
    )


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:.1f} s"


# -- docs/performance.md ----------------------------------------------------------------------------------------------

PEERS = {
    "ours": "instrec-live, the program's own analysis",
    "naive": "the same three networks in torch, on whole windows",
    "passt_s": "hear21passt's PaSST-S as its README runs it, every 0.5 s",
    "yamnet": "YAMNet (int8, LiteRT), every 0.48 s, one network",
    "floor of ours": "floor: our multiplications at the speed of a matrix product",
    "floor of naive": "floor: those in torch, on whole windows",
}


def budgets(record: Record) -> list[str]:
    lines = ["### Budgets", "", "| what | budget | measured | command |", "|---|---|---|---|"]
    for what, each in record["budgets"].items():
        limit, measured = each["limit"], each["measured"]
        kept = measured >= limit if what.endswith("at least") else measured <= limit
        mark = "" if kept else " **(missed)**"
        lines.append(f"| {what} | {limit:.3g} | {measured:.3g}{mark} | `{each['command']}` |")
    return [*lines, "", _source(record)]


def cost(record: Record) -> list[str]:
    names = list(record["savings"])
    lines = [
        "### Effect of each optimisation",
        "",
        f"| share of a core | {' | '.join(names)} |",
        "|---|" + "---|" * len(names),
    ]
    for step in record["savings"]["all"]:
        cells = [f"{100 * record['savings'][name][step]:.1f} %" for name in names]
        lines.append(f"| {step} | {' | '.join(cells)} |")
    return [
        *lines,
        "",
        _source(record),
        "",
        "### By hop, window and number of streams",
        "",
        *_row("hop, s", record["hops"]),
        "",
        *_row("short window, s", record["spans"]),
        "",
        *_row("streams in one process, share of each", record["streams"]),
        "",
        "![Share of a core against the hop, the length of the short window and the number of streams]"
        "(pictures/cost.svg)",
    ]


def _row(head: str, shares: Mapping[str, float]) -> list[str]:
    cells = [f"{100 * share:.1f} %" for share in shares.values()]
    return [
        f"| {head} | {' | '.join(shares)} |",
        "|---|" + "---|" * len(shares),
        f"| share of a core | {' | '.join(cells)} |",
    ]


def peers(record: Record) -> list[str]:
    lines = ["### Compared with other programs", "", "| | CPU s a second of sound | times ours |", "|---|---|---|"]
    for name, seconds in record["cpu_seconds_per_second"].items():
        lines.append(f"| {PEERS[name]} | {seconds:.4f} | {record['ratio_to_ours'][name]:.2f} |")
    work, agreement = record["gflop_per_second_of_sound"], record["agreement"]
    said = "" if agreement is None else f" Their probabilities differ from ours by at most {agreement:.0e}."
    return [
        *lines,
        "",
        f"{_source(record)}; torch {record['torch']}. On whole windows the networks do {work['naive']:.1f} GFLOP a"
        f" second of sound, ours {work['ours']:.2f}; a large matrix product runs at {record['peak_gflop_per_s']:.0f}"
        f" GFLOP/s here.{said}",
    ]


def passt_s(record: Record) -> list[str]:
    lines = ["### A network of 86 million parameters", ""]
    lines += ["| engine | an update, p50, s | p95, s | resident, MB | verdict |", "|---|---|---|---|---|"]
    for each in (each for each in record["engines"] if each["precision"] != "int8"):  # which is no longer offered
        cells = [f"{each[name] / 1000:.2f}" if each["ok"] else "–" for name in ("p50_ms", "p95_ms")]
        size = f"{each['resident_mb']:.0f}" if each["ok"] and each["resident_mb"] else "–"
        lines.append(f"| {each['engine']}, {each['precision']} | {' | '.join(cells)} | {size} | {each['verdict']} |")
    asked = record["asked_for_less"]
    return [
        *lines,
        "",
        f"{record['date'][:10]}, {record['machine']}, one thread. With updates every {asked['hop']:g} s, the program"
        f" shows {asked['state']} and counts what it skips: {asked['skipped']} of {asked['hops']} hops; the audio is"
        " never blocked.",
    ]


def screen(record: Record) -> list[str]:
    """What the screen alone costs."""
    kinds = list(dict.fromkeys(each["kind"] for each in record["screens"]))
    lines = ["### The screen alone", "", f"| share of a core | {' | '.join(kinds)} |", "|---|" + "---|" * len(kinds)]
    for size in dict.fromkeys(each["size"] for each in record["screens"]):
        shares = [each["share"] for each in record["screens"] if each["size"] == size]
        lines.append(f"| {size} | {' | '.join(f'{share:.1%}' for share in shares)} |")
    frames = max(each["frames"] for each in record["screens"])
    return [
        *lines,
        "",
        f"{_source(record)}. {frames:.0f} frames a second in a pseudo terminal, updates every 0.5 s.",
    ]


def many(record: Record) -> list[str]:
    """What the list of many sources costs."""
    shares = [f"{each['share']:.1%} of a core at {each['size']}" for each in record["screens"]]
    frames = max(each["frames"] for each in record["screens"])
    number = record["screens"][0]["kind"]
    return [
        f"The list of `instrec-live watch` with {number}, two updates a second of each: {', '.join(shares)}, at"
        f" {frames:.0f} frames a second. {_source(record)}."
    ]


# -- docs/reliability.md ----------------------------------------------------------------------------------------------

FUZZ_INPUTS = {
    "files": "sound files", "headers": "headers of sound files", "pipes": "pipes",
    "structures": "valid structures with false content", "settings": "settings files",
    "thresholds": "threshold files", "command lines": "command lines, run", "bundles": "bundles, loaded and run",
    "reports": "runs given to `report`",
}  # fmt: skip


def fuzz(result: Mapping[str, Any]) -> str:
    """The table, in Markdown."""
    kinds = result["kinds"]
    sums = (f"{sum(kind[key] for kind in kinds.values()):,}" for key in ("inputs", "fine", "refused", "defects"))
    lines = [
        f"`{result['command']}`, {result['date'][:10]}, seed {result['seed']}, libsndfile {result['libsndfile']}",
        "",
        "| kind | inputs | accepted | refused in one line | defects | results | slowest, s | most memory, MB |",
        "|---|---|---|---|---|---|---|---|",
        *(_fuzz_row(FUZZ_INPUTS[name], kind) for name, kind in kinds.items()),
        f"| all | {' | '.join(sums)} | | {result['slowest_s']:.1f} | {result['greatest_mb']:.0f} |",
    ]
    return "\n".join(lines)


def _fuzz_row(name: str, kind: Mapping[str, Any]) -> str:
    counts = (f"{kind[key]:,}" for key in ("inputs", "fine", "refused", "defects", "distinct"))
    return f"| {name} | {' | '.join(counts)} | {kind['slowest']['seconds']:.2f} | {kind['greatest']['grown_mb']:.0f} |"


MUTANT_COUNTS = ("mutants", "killed", "timeouts", "survived", "explained")


def mutation(result: Mapping[str, Any]) -> str:
    """The table, in Markdown."""
    modules = result["modules"]
    sums = {key: sum(module[key] for module in modules.values()) for key in MUTANT_COUNTS}
    sums["share"] = (sums["killed"] + sums["timeouts"]) / sums["mutants"]
    lines = [
        f"`{result['command']}`, {result['date'][:10]}, mutmut {result['mutmut']}",
        "",
        "| module | mutants | killed by a test | timed out | survived | of these explained | detected |",
        "|---|---|---|---|---|---|---|",
        *(_mutation_row(f"`{name}`", module) for name, module in modules.items()),
        _mutation_row("all", sums),
    ]
    return "\n".join(lines)


def _mutation_row(name: str, module: Mapping[str, Any]) -> str:
    counts = (f"{module[key]:,}" for key in MUTANT_COUNTS)
    return f"| {name} | {' | '.join(counts)} | {100 * module['share']:.1f} % |"


def ring(record: Mapping[str, Any]) -> str:
    """Two tables, in Markdown."""
    races = {name.removeprefix("race "): race for name, race in record.items() if name.startswith("race ")}
    callback = record["callback"]
    return "\n".join(
        [
            "| a writer and a reader | for | windows read | torn | overwritten, reported | indices that decreased |",
            "|---|---|---|---|---|---|",
            *(
                f"| {name} | {race['seconds']:.0f} s | {race['windows']:,} | {race['torn']} | {race['overtaken']} "
                f"| {race['indices that went back']} |"
                for name, race in races.items()
            ),
            "",
            f"The microphone's callback, {callback['calls']:,} times while another thread computes: "
            f"median {callback['median ms']:.3f} ms, p99.9 {callback['p99.9 ms']:.2f} ms, "
            f"slowest {callback['slowest ms']:.1f} ms; {callback['bytes kept']} bytes left allocated. "
            f"`{record['command']}`, {record['date'][:10]}, {record['machine']}.",
        ]
    )


GROWTH_LIMIT = 1.0  # MB an hour of sound
QUARTER = 0.25
PICTURE = """![Memory, open files and threads over hours of sound; below, the speed of the pipe and the age of the
microphone's updates](pictures/soak.svg)"""
SOAK_NAMES = {"max": "a pipe, `--pace max`", "lines": "microphone, JSON", "screen": "microphone, the screen"}


def _span(run: Record, key: str, digits: int = 0) -> str:
    least, most = (f"{value:.{digits}f}" for value in run["ranges"][key])
    return least if least == most else f"{least}…{most}"


def growth(run: Record) -> float:
    """MB of memory an hour of sound, after the first quarter: by then there were silences of all kinds."""
    from vitals import slope  # Linux only

    return slope(run["curves"]["heard_h"], run["curves"]["memory_mb"], QUARTER)


def _growth(run: Record) -> str:
    return f"{growth(run):+.2f}" + " **(too much)**" * (growth(run) > GROWTH_LIMIT)


def _ages(run: Record) -> str:
    return " / ".join(f"{run['age_s'][key]:.2f}" for key in ("p50", "p95", "p99", "max"))


def is_live(run: Record) -> bool:
    """Whether its sound came at its own speed."""
    return bool(run["age_s"]["max"])


SOAK_ROWS: Mapping[str, Callable[[Record], str]] = {
    "sound, h": lambda run: f"{run['heard_h']:.2f}",
    "wall clock, h": lambda run: f"{run['wall_h']:.2f}",
    "updates": lambda run: f"{run['updates']:,}",
    "of them with a wrong time": lambda run: f"{run['wrong_times']}",
    "windows skipped": lambda run: f"{run['skipped']}",
    "overflows of the driver": lambda run: f"{run['xruns']}",
    "age p50 / p95 / p99 / maximum, s": lambda run: _ages(run) if is_live(run) else "–",
    "arrival against the wall clock, ppm": lambda run: f"{run['slopes']['drift_ppm']:+.0f}" if is_live(run) else "–",
    "memory, MB": lambda run: _span(run, "memory_mb"),
    "growth of memory after the first tenth, MB per hour of sound": lambda run: (
        f"{run['slopes']['memory_mb_per_heard_hour']:+.2f}"
    ),
    "growth of memory after the first quarter, MB per hour of sound": _growth,
    "open files": lambda run: _span(run, "files"),
    "threads": lambda run: _span(run, "threads"),
    "CPU time, of one core": lambda run: f"{run['cpu_s'] / run['wall_h'] / 36:.0f} %",
    "exit": lambda run: f"{run['exit']}",
}


def soak_results() -> list[Path]:
    """The files that are there."""
    return [path for path in (RESULTS / "soak_max.json", RESULTS / "soak_live.json") if path.exists()]


def soak() -> str:
    """The table and the picture, in Markdown, of the files that are there."""
    records = [json.loads(path.read_text(encoding="utf-8")) for path in soak_results()]
    runs = {name: run for record in records for name, run in record["runs"].items()}
    if not runs:
        return "No figures yet."
    return "\n".join(
        [
            f"| | {' | '.join(SOAK_NAMES[name] for name in runs)} |",
            "|---|" + "---|" * len(runs),
            *(f"| {what} | {' | '.join(tell(run) for run in runs.values())} |" for what, tell in SOAK_ROWS.items()),
            "",
            "Memory, files and threads: ranges after the first tenth; growth: slope of a least-squares line.",
            "",
            *(_soak_source(record) for record in records),
            "",
            PICTURE,
        ]
    )


def _soak_source(record: Mapping[str, Any]) -> str:
    machine = record["machine"]
    load = f"load {machine['load']:.1f} at the beginning, {record['load_at_end']:.1f} at the end"
    return (
        f"- `{record['command']}`, {record['date'][:10]}, instrec-live {machine['instrec_live']}, "
        f"{record['recordings']} recording{'s' if record['recordings'] > 1 else ''}; "
        f"{machine['processor']}, {machine['cores']} cores, under other load ({load})"
    )


# -- docs/watch.md, docs/archive.md, docs/engines.md ------------------------------------------------------------------

FULL = 0.8  # of a core that a process may fill: beyond, a busy moment makes it late
CORES = 64  # of a machine
CORE_HOUR = 0.04  # $, assumed: what a core of a rented machine costs an hour
STREAMS, HOURS = 10_000, 500_000
COMPRESSED = 0.128, 0.7  # Mbit/s of a radio stream, of stereo in FLAC; assumed


def streams(record: Record) -> list[str]:
    """What a stream costs, against how many there are."""
    alone = record["cases"][0]["cpu_each"]
    return [
        "| streams | CPU, of a core | each | relative to one | memory, MB | each more, MB | age p50/p95, s | skipped |",
        "|---|---|---|---|---|---|---|---|",
        *(_case(case, alone, record["cases"][0]) for case in record["cases"]),
        "",
        f"`{record['command']}`, {record['date'][:10]}, {record['processor']}, one thread for the networks; "
        f"an update of each stream every {record['hop_s']:g} s, for {record['seconds']:g} s.",
        "",
        "![CPU of each stream, age of the updates and memory, against the number of streams](pictures/streams.svg)",
    ]


def _case(case: Record, alone: float, first: Record) -> str:
    n, share = case["streams"], case["skipped_share"]
    more = f"{(case['memory_mb'] - first['memory_mb']) / (n - first['streams']):.0f}" if n > first["streams"] else "–"
    spread = f" ({case['skipped_least']} to {case['skipped_most']} of each)" if share else ""
    return (
        f"| {n} | {case['cpu']:.2f} | {100 * case['cpu_each']:.1f} % | {case['cpu_each'] / alone:.2f} "
        f"| {case['memory_mb']:.0f} | {more} | {case['age_p50_s']:.2f} / {case['age_p95_s']:.2f} "
        f"| {100 * share:.0f} %{spread} |"
    )


def cluster(record: Record) -> list[str]:
    """An archive by processes, and by a cluster of two nodes on the same machine."""
    short, long = record["short files"], record["a long file"]
    rows = [f"| {short['files']} files of {short['seconds_each']:g} s | s | speed-up | same bytes |"]
    rows += [
        "|---|---|---|---|",
        *(_run(name, run) for name, run in short.items() if isinstance(run, dict) and name != "the same again"),
    ]
    rows += [
        "",
        f"| one file of {long['minutes']:g} minutes | s | speed-up | same bytes |",
        "|---|---|---|---|",
    ]
    rows += [_run(name, run) for name, run in long.items() if isinstance(run, dict)]
    return [
        *rows,
        "",
        f"`{record['command']}`, {record['date'][:10]}, Ray {record['ray']}, {record['processors']} processors for all "
        f"of it (load {record['load_before']:.1f} before). One of the files is not sound, and each run reports it.",
    ]


def _run(name: str, run: Record) -> str:
    speed = f"{run['speed_up']:.2f}" if "speed_up" in run else "1"
    same = "–" if "same_bytes" not in run else "yes" if run["same_bytes"] and run.get("once_each", True) else "**no**"
    again = f", {run['tried_again']} computed again" if run["tried_again"] else ""
    return f"| {name}{again} | {run['seconds']:.0f} | {speed} | {same} |"


SOUNDS = {
    "demo": "demo clip", "timelines": "{} timelines of solos", "over_others": "{} timelines over others that play on",
}  # fmt: skip


def segments(record: Record) -> list[str]:
    """How well the segments of files fit."""
    lines = [
        "| made of | decided | F1 of segments | onset, median error | offset, median error |",
        "|---|---|---|---|---|",
    ]
    for which, words in SOUNDS.items():
        decided = {"as live": record[which]["before"], "with look-ahead": record[which]["after"]}
        decided |= {f"with look-ahead, `--hop {hop}`": other[which] for hop, other in record["other_hops"].items()}
        for how, one in decided.items():
            lines.append(
                f"| {words.format(record['made'].get(which))} | {how} | {one['f1']:.2f} "
                f"| {one['median_onset_error_s']:.2f} s | {one['median_offset_error_s']:.2f} s |"
            )
    return [*lines, "", f"`{record['command']}`, {record['date'][:10]}"]


def throughput(record: Record) -> list[str]:
    """What tagging a file costs, and what others cost."""
    lines = [
        "| | hop | processor time per hour of sound | times real time on one core |",
        "|---|---|---|---|",
    ]
    for run in record["runs"]:
        length = "1 hour" if run["seconds"] >= 3600 else f"{run['seconds'] / 60:.0f} minutes"
        lines.append(
            f"| instrec-live, {length} of sound | {run['hop']:g} s | {run['cpu_s_an_hour']:.0f} s "
            f"| {run['times_real_time']:.0f} |"
        )
    two = record["two_processes"]
    lines.append(f"| instrec-live, 1 hour, two processes, loading included | 0.5 s | {two['cpu_s']:.0f} s | |")
    peers = {"birdnet": ("BirdNET 2.4, windows of 3 s", "3 s"), "yamnet": ("YAMNet, windows of 0.96 s", "0.48 s")}
    for name, cpu in record["peers_cpu_s_an_hour"].items():
        words, hop = peers[name]
        lines.append(f"| {words} | {hop} | {cpu:.0f} s | {3600 / cpu:.0f} |")
    return [*lines, "", f"{_source(record)}, load {record['load']:g} from other programs"]


def formats(record: Record) -> list[str]:
    """The same minute as ten kinds of file."""
    lines = [
        "| 60 s as | updates | mean and largest difference of a probability | the same instruments | segments found | "
        "boundaries that moved | largest shift |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in record["ways"]:
        shift = "–" if row["largest_shift_s"] is None else f"{row['largest_shift_s']:.1f} s"
        lines.append(
            f"| {row['way']} | {row['updates']} | {row['mean_difference']:.4f}, {row['largest_difference']:.3f} | "
            f"{'yes' if row['same_instruments'] else 'no'} | {row['segments_found']} of {row['segments_wanted']} | "
            f"{row['boundaries_moved']} of {2 * row['segments_found']} | {shift} |"
        )
    return lines


def radio(record: Record) -> list[str]:
    """A stream that stalls, and a dump whose rate changes."""
    one, two = record["stalled"], record["dump"]
    found = ", ".join(f"{each:.1f} s" for each in one["found_after_s"])
    return [
        f"Measured once (`{record['command']}`, {record['date'][:10]}): when a station fell silent for "
        f"{one['stall_s']:g} s, the program resumed after {found}, with the correct time. A recording of "
        f"{two['minutes']:g} minutes in chained Ogg, {two['rates'][0] / 1000:g} and then {two['rates'][1] / 1000:g} "
        f"kHz, was analysed completely ({two['ogg']['heard_s']:,.0f} s); {two['same_segments']} of its "
        f"{two['wav']['segments']} segments are those of the same sound as one WAV.",
    ]


def triton(record: Record) -> list[str]:
    """A window, locally and through the server."""
    names = list(record["window"])
    lengths = list(record["window"][names[0]])
    least = {
        where: [record["window"][n][t][where]["least"] for n in names for t in lengths] for where in ("here", "there")
    }
    worst = max(value for name, value in record["agreement"].items() if name != "updates")
    return [
        f"| ms a window | {' | '.join(f'{name}, {int(t) / 100:g} s' for name in names for t in lengths)} |",
        "|---|" + "---|" * (len(names) * len(lengths)),
        *(
            f"| {where} | {' | '.join(f'{ms:.1f}' for ms in least[key])} |"
            for key, where in (("here", "locally"), ("there", "through the server"))
        ),
        "",
        f"The least of many, {record['date'][:10]}, {record['machine']}, {record['server']} on "
        f"the same two cores; 5 ms of each is the wait for further windows. The demo clip through it, "
        f"{record['agreement']['updates']} updates: |Δp| ≤ {worst:.1e}. A stream sends "
        f"{record['stream']['bytes_a_second'] / 1e6:.2f} MB a second, and costs the client "
        f"{record['stream']['cpu_with_server']:.3f} of a core.",
    ]


def long_files(record: Record) -> str:
    """Many files with a kill in between, a quarter of an hour three ways, and a file of many hours."""
    many, alike, long = (record[name] for name in ("many files", "same segments", "long file"))
    same_bytes = "the same bytes" if many["same_bytes"] else "OTHER bytes"
    same_segments = f"the same {alike['segments']} segments" if alike["same_segments"] else "OTHER segments"
    first, last = long["memory_mb"]
    return (
        f"Measured once (`{record['command']}`, {record['date'][:10]}): of {many['files']} files, a run that was "
        f"killed after {many['files_before_the_kill']} and resumed wrote {same_bytes} as one that was not. "
        f"`tag --jobs 1`, `tag --jobs 2` and `--file … --pace max` found {same_segments}. "
        f"A file of {long['hours']:g} hours (`{long['options']} --jobs 1`), with {long['segments']:,} segments, took "
        f"{long['seconds']:.0f} s and {first:.0f} to {last:.0f} MB: {long['growth_mb_an_hour']:.1f} MB more an hour."
    )


def plan(streams: Record, cluster: Record) -> list[str]:
    """10,000 streams and 500,000 hours, on paper."""
    good = [case for case in streams["cases"] if case["skipped_share"] == 0.0 and case["cpu"] <= FULL]
    most = max(good, key=lambda case: case["streams"])
    a_core = int(FULL / most["cpu_each"])
    cores = -(-STREAMS // a_core)
    machines = -(-cores // CORES)
    memory = STREAMS / a_core * (most["memory_mb"] + (a_core - most["streams"]) * _more(streams)) / machines / 1000
    one = cluster["a long file"]["whole, one process"]["seconds"]
    speed = 60 * cluster["a long file"]["minutes"] / one
    core_hours = HOURS / speed
    terabytes = HOURS * 3600 * COMPRESSED[1] / 8 / 1e6
    hours = core_hours / (10 * CORES)
    return [
        f"| | {STREAMS:,} live streams, an update every {streams['hop_s']:g} s | {HOURS:,} hours in files |",
        "|---|---|---|",
        f"| one core | {a_core} streams, {100 * FULL:.0f} % loaded ({100 * most['cpu_each']:.1f} % each, as with "
        f"{most['streams']}) "
        f"| {speed:.0f} × real time |",
        f"| in all | {cores:,} cores, {machines} machines of {CORES} | {core_hours:,.0f} core-hours: {hours:.0f} h on "
        f"ten machines of {CORES} |",
        f"| memory | {memory:.0f} GB a machine, {a_core} streams a process | 0.25 GB a process |",
        f"| data rate | {STREAMS * COMPRESSED[0] / 1000:.1f} Gbit/s at {1000 * COMPRESSED[0]:.0f} kbit/s a stream "
        f"| {terabytes:.0f} TB of FLAC; {terabytes * 8000 / hours / 3600:.1f} Gbit/s for that duration |",
        f"| cost, at {CORE_HOUR:.2f} $ per core-hour | {cores * CORE_HOUR:.0f} $ an hour, "
        f"{100 * cores * CORE_HOUR / STREAMS:.2f} cents a stream and hour | {core_hours * CORE_HOUR:,.0f} $ |",
    ]


def _more(record: Record) -> float:
    """MB that each stream beyond the first takes, where it was measured with most that were well."""
    first, last = record["cases"][0], [case for case in record["cases"] if case["skipped_share"] == 0.0][-1]
    return float((last["memory_mb"] - first["memory_mb"]) / (last["streams"] - first["streams"]))


# -- docs/own-instruments.md -------------------------------------------------------------------------------------------


def learned(record: Record) -> list[str]:
    """Cross-validated, live, and for the 20 instruments."""
    lines = [
        f"`{Path(record['command'].split()[1]).name}`, {record['date'][:10]}, {record['machine']}: learned in "
        f"{record['new']['seconds']:.0f} s.",
        "",
        "| instrument | sounds | seconds | AP | AP, mixed | found | found, mixed | false alarms |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, each in record["new"]["classes"].items():
        shares = [_share(each[key]) for key in ("found", "found_mixed", "false_alarms")]
        figures = [each["recordings"], f"{each['seconds']:.0f}", f"{each['ap']:.2f}", _or_none(each["ap_mixed"])]
        lines.append(f"| {name.replace('_', ' ')} | {' | '.join(map(str, [*figures, *shares]))} |")
    lines += [
        "",
        "Live, with the three networks, in a clip that was not learned (of the tabla, another player), alone and "
        "with a band of the same level: the share of its time in which each is shown, from a second after its entry "
        "on, and for how long it is shown when it does not sound.",
        "",
        "| instrument | alone | with a band | shown in error |",
        "|---|---|---|---|",
    ]
    for name, each in record["live"].items():
        shown = f"{_share(each['shown_alone'])} | {_share(each['shown_with_a_band'])}"
        lines.append(
            f"| {name.replace('_', ' ')} | {shown} | {each['false_seconds']:.0f} s of {each['other_seconds']:.0f} |"
        )
    twenty, correction = record["of_the_20"], record["correction"]["classes"]
    (name, each), *_ = correction.items()
    active = ", ".join(f"{new.replace('_', ' ')} {count}" for new, count in twenty["new"]["active"].items())
    return [
        *lines,
        "",
        f"Of the 20 instruments, on {twenty['clips']} labelled clips: mAP {twenty['without']['mAP']:.3f} without, "
        f"{twenty['new']['mAP']:.3f} with the new ones (each active in so many of these clips: {active}), "
        f"{twenty['correction']['mAP']:.3f} with a correction of the {name}, learned from {each['seconds']:.0f} s of "
        f"the same soundfont, on which its own AP rose from {each['ap_before']:.2f} to {each['ap']:.2f}.",
    ]


def _share(value: float | None) -> str:
    return "–" if value is None else f"{value:.1%}" if 0 < value < 0.1 else f"{value:.0%}"


def _or_none(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}"


# -- docs/training.md -------------------------------------------------------------------------------------------------

SYNTHETIC = {
    "paper": "the paper's mixtures",
    "bare": "our scenes, before the channel",
    "channel": "our scenes, as networks get them",
    "crowd": "the same, three or more instruments",
}
RECORDINGS = {"dev": "labelled recordings", "unlabelled": "unlabelled music"}
WORKERS = {"workers_0": "none", "workers_1": "one", "workers_2": "two"}


def shortcuts(record: Mapping[str, Any]) -> str:
    """How well a probe separates synthetic clips from recordings."""
    there = {name: words for name, words in RECORDINGS.items() if name in record}
    lines = [
        f"Area under the ROC curve of the probe (0.5 is chance, 1 is perfect), {record['date'][:10]}:",
        "",
        f"| synthetic clips | against {' | against '.join(there.values())} |",
        "|---|" + "---|" * len(there),
    ]
    for row, words in SYNTHETIC.items():
        found = [record[name][row]["auc"] for name in there]
        lines.append(f"| {words} | {' | '.join(f'{auc:.2f}' for auc in found)} |")
    return "\n".join(lines)


OPENMIC_CLIPS, EPOCHS, GPU_TAKES = 14_915, 10, (100, 240)  # of the training part; clips a second, assumed


def speed(scenes: Mapping[str, Any], training: Mapping[str, Any]) -> str:
    """What the generator gives, what a CPU learns from, and how long two cores prepare ten epochs of OpenMIC."""
    lines = [
        f"`training_speed.py`, {training['date'][:10]}, {training['machine']}; by one core's processor time:",
        "",
        "| recipe, with scenes | arithmetic | clips learned from, a second | prepared, a second |",
        "|---|---|---|---|",
    ]
    for name, row in training["recipes"].items():
        cells = (f"{row[f'{key}_a_core_second']:.0f}" for key in ("clips", "prepared"))
        lines.append(f"| {name} | {row['precision']} | {' | '.join(cells)} |")
    lines += [
        "",
        "| clips of 10 s, prepared a second | decoded each time | from the cache | ten epochs of OpenMIC, two cores |",
        "|---|---|---|---|",
    ]
    for name, row in training["recordings"].items():
        minutes = EPOCHS * OPENMIC_CLIPS / (2 * row["from the cache"]) / 60
        figures = f"{row['decoded each time']:.0f} | {row['from the cache']:.0f} | {minutes:.0f} min"
        lines.append(f"| profile `{name}` | {figures} |")
    return "\n".join([
        *lines,
        "",
        f"The last column holds if the GPU is not slower. We assume that one with 24 GB takes {GPU_TAKES[0]} to "
        f"{GPU_TAKES[1]} clips a second; none was at hand. `scene_speed.py`, {scenes['date'][:10]}: the generator "
        f"mixes {scenes['scenes_one_process']['per_core_second']:.0f} scenes of 4 to 6 s a second and core; phrases "
        f"are rendered at {scenes['phrases_one_process']['per_core_second']:.0f} a second and core.",
    ])  # fmt: skip


def _read(name: str) -> Record:
    record: Record = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return record


def _sections(parts: Mapping[str, Callable[[Record], list[str]]], results: Path = RESULTS) -> str:
    """One section for each of the result files that exist."""
    found = {name: results / f"{name}.json" for name in parts}
    return "\n\n".join(
        "\n".join(parts[name](json.loads(path.read_text(encoding="utf-8"))))
        for name, path in found.items()
        if path.exists()
    )


RECOGNITION = {"recognition": tagging, "timing": timing, "distractors": distractors, "demo_timeline": following}
PERFORMANCE = {
    "budgets": budgets, "peers": peers, "cost": cost, "passt_s": passt_s, "screen_cost": screen, "list_cost": many,
}  # fmt: skip
PAGES: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "README": {"accuracy": lambda: "\n".join(accuracy(_read("recognition")))},
    "archive": {
        "cluster": lambda: "\n".join(cluster(_read("cluster"))),
        "segments": lambda: "\n".join(segments(_read("segments"))),
        "long": lambda: long_files(_read("archive")),
        "speed": lambda: "\n".join(throughput(_read("throughput"))),
        "plan": lambda: "\n".join(plan(_read("streams"), _read("cluster"))),
    },
    "engines": {"triton": lambda: "\n".join(triton(_read("triton_cost")))},
    "own-instruments": {"learned": lambda: "\n".join(learned(_read("learn")))},
    "inputs": {
        "formats": lambda: "\n".join(formats(_read("formats"))),
        "radio": lambda: "\n".join(radio(_read("radio"))),
    },
    "performance": {"figures": lambda: _sections(PERFORMANCE)},
    "recognition": {"figures": lambda: _sections(RECOGNITION)},
    "reliability": {
        "figures": lambda: fuzz(_read("fuzz")),
        "soak": soak,
        "mutation": lambda: mutation(_read("mutation")),
        "ring": lambda: ring(_read("ring_race")),
    },
    "training": {
        "shortcuts": lambda: shortcuts(_read("shortcuts")),
        "speed": lambda: speed(_read("scene_speed"), _read("training_speed")),
    },
    "watch": {"streams": lambda: "\n".join(streams(_read("streams")))},
}


def written(name: str, page: str) -> str:
    """A page's text with the present figures."""
    for mark, figures in PAGES[name].items():
        page = filled(page, figures(), mark)
    return page


def main(argv: Sequence[str] | None = None, folder: Path = DOCS) -> int:
    """Exit code 1: with --check, a page is out of date."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", nargs="*", help=f"one of {', '.join(PAGES)} (all)")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if a page is out of date")
    args = parser.parse_args(argv)
    if unknown := set(args.page) - set(PAGES):
        parser.error(f"no such page: {', '.join(sorted(unknown))}")
    code = 0
    for name in args.page or PAGES:
        path = (folder.parent if name == "README" else folder) / f"{name}.md"  # docs/README.md has no figures
        old = path.read_text(encoding="utf-8")
        new = written(name, old)
        if args.check and old != new:
            print(f"{name}.md is out of date")
            code = 1
        elif old != new:
            path.write_text(new, encoding="utf-8")
    return code


if __name__ == "__main__":
    raise SystemExit(main())
