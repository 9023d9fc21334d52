"""Puts the figures of streams.json, cluster.json and triton_cost.json into docs/scale.md, and draws its picture.

    python benchmarks/scale_page.py            # write
    python benchmarks/scale_page.py --check    # exit 1 if the page is out of date

The plans are reckoned here, from the same files, so that no figure on the page is typed.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator
from page import keep
from recognition_page import CHECKOUT, RESULTS, filled
from recognition_pictures import BLACK, FOLDER, STYLE

PAGE = CHECKOUT / "docs" / "scale.md"
Record = Mapping[str, Any]
FULL = 0.8  # of a core that a process may fill: beyond, a busy moment makes it late
CORES = 64  # of a machine
CORE_HOUR = 0.04  # $, assumed: what a core of a rented machine costs an hour
STREAMS, HOURS = 10_000, 500_000
COMPRESSED = 0.128, 0.7  # Mbit/s of a radio stream, of stereo in FLAC; assumed


def streams(record: Record) -> list[str]:
    """What a stream costs, against how many there are."""
    alone = record["cases"][0]["cpu_each"]
    return [
        "| streams | CPU, of a core | each | of one alone | memory, MB | each more, MB | age p50 / p95, s | skipped |",
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


def draw(record: Record) -> Figure:
    """Three panels against the number of streams."""
    figure = Figure(figsize=(11, 3.2), layout="constrained")
    cases = record["cases"]
    x = [case["streams"] for case in cases]
    each, ages, memory = figure.subplots(1, 3)
    each.plot(x, [100 * case["cpu_each"] for case in cases], "o-", color=BLACK)
    each.set_ylabel("% of a core, each stream")
    ages.plot(x, [case["age_p95_s"] for case in cases], "o-", color=BLACK, label="p95")
    ages.plot(x, [case["age_p50_s"] for case in cases], "o--", color=BLACK, label="median")
    ages.set_ylabel("age of an update, s")
    ages.legend()
    memory.plot(x, [case["memory_mb"] for case in cases], "o-", color=BLACK)
    memory.set_ylabel("memory of all, MB")
    for axes in (each, ages, memory):
        axes.set_xscale("log", base=2)
        axes.set_xticks(x, list(map(str, x)))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.set_ylim(bottom=0)
        axes.set_xlabel("streams in one process")
    return figure


def cluster(record: Record) -> list[str]:
    """An archive by processes, and by a cluster of two nodes on the same machine."""
    short, long = record["short files"], record["a long file"]
    rows = [f"| {short['files']} files of {short['seconds_each']:g} s | s | against one process | the same bytes |"]
    rows += [
        "|---|---|---|---|",
        *(_run(name, run) for name, run in short.items() if isinstance(run, dict) and name != "the same again"),
    ]
    rows += [
        "",
        f"| one file of {long['minutes']:g} minutes | s | against one process | the same bytes |",
        "|---|---|---|---|",
    ]
    rows += [_run(name, run) for name, run in long.items() if isinstance(run, dict)]
    return [
        *rows,
        "",
        f"`{record['command']}`, {record['date'][:10]}, Ray {record['ray']}, {record['processors']} processors for all "
        f"of it (load {record['load_before']:.1f} before). One of the files is no sound, and named as such each time.",
    ]


def _run(name: str, run: Record) -> str:
    speed = f"{run['speed_up']:.2f}" if "speed_up" in run else "1"
    same = "–" if "same_bytes" not in run else "yes" if run["same_bytes"] and run.get("once_each", True) else "**no**"
    again = f", {run['tried_again']} heard again" if run["tried_again"] else ""
    return f"| {name}{again} | {run['seconds']:.0f} | {speed} | {same} |"


def triton(record: Record) -> list[str]:
    """A window here and through the server."""
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
            for key, where in (("here", "here"), ("there", "through the server"))
        ),
        "",
        f"The least of many, `{record['command']}`, {record['date'][:10]}, {record['machine']}, {record['server']} on "
        f"the same two cores; 5 ms of each is the wait for company. The demo clip through it, "
        f"{record['agreement']['updates']} updates: |Δp| ≤ {worst:.1e}. A stream sends "
        f"{record['stream']['bytes_a_second'] / 1e6:.2f} MB a second, and costs the listener "
        f"{record['stream']['cpu_with_server']:.3f} of a core.",
    ]


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
        f"| one core | {a_core} streams, {100 * FULL:.0f} % full ({100 * most['cpu_each']:.1f} % each, as with "
        f"{most['streams']}) "
        f"| {speed:.0f} × real time |",
        f"| in all | {cores:,} cores, {machines} machines of {CORES} | {core_hours:,.0f} core-hours: {hours:.0f} h on "
        f"ten machines of {CORES} |",
        f"| memory | {memory:.0f} GB a machine, {a_core} streams a process | 0.25 GB a process |",
        f"| what must flow | {STREAMS * COMPRESSED[0] / 1000:.1f} Gbit/s at {1000 * COMPRESSED[0]:.0f} kbit/s a stream "
        f"| {terabytes:.0f} TB of FLAC; {terabytes * 8000 / hours / 3600:.1f} Gbit/s to be done in that time |",
        f"| money, at {CORE_HOUR:.2f} $ a core-hour | {cores * CORE_HOUR:.0f} $ an hour, "
        f"{100 * cores * CORE_HOUR / STREAMS:.2f} cents a stream and hour | {core_hours * CORE_HOUR:,.0f} $ |",
    ]


def _more(record: Record) -> float:
    """MB that each stream beyond the first takes, where it was measured with most that were well."""
    first, last = record["cases"][0], [case for case in record["cases"] if case["skipped_share"] == 0.0][-1]
    return float((last["memory_mb"] - first["memory_mb"]) / (last["streams"] - first["streams"]))


def written(page: str) -> str:
    """The page with today's figures."""
    for name, text in blocks().items():
        page = filled(page, text, f"<!-- {name} -->", f"<!-- end of {name} -->")
    return page


def blocks() -> dict[str, str]:
    """By mark, what stands there."""
    found = {
        name: json.loads((RESULTS / f"{name}.json").read_text("utf-8"))
        for name in ("streams", "cluster", "triton_cost")
    }
    parts: dict[str, Callable[[], list[str]]] = {
        "streams": lambda: streams(found["streams"]),
        "cluster": lambda: cluster(found["cluster"]),
        "triton": lambda: triton(found["triton_cost"]),
        "plan": lambda: plan(found["streams"], found["cluster"]),
    }
    return {name: "\n".join(part()) for name, part in parts.items()}


def main(argv: Sequence[str] | None = None) -> int:
    return keep(PAGE, written, argv, __doc__, picture)


def picture() -> None:
    with rc_context(STYLE):
        draw(json.loads((RESULTS / "streams.json").read_text("utf-8"))).savefig(
            FOLDER / "streams.svg", metadata={"Date": None, "Creator": None}
        )


if __name__ == "__main__":
    raise SystemExit(main())
