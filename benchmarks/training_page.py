"""Writes the figures of docs/training.md from the files in benchmarks/results.

    python benchmarks/training_page.py            # write
    python benchmarks/training_page.py --check    # exit 1 if the page is out of date

Reads shortcuts.json, scene_speed.json and training_speed.json, each written by the benchmark of its name.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from page import keep
from recognition_page import CHECKOUT, RESULTS, filled

PAGE = CHECKOUT / "docs" / "training.md"
ROWS = {
    "paper": "the paper's mixtures",
    "bare": "our scenes, before the channel",
    "channel": "our scenes, as networks get them",
    "crowd": "the same, three or more instruments",
}
COLUMNS = {"dev": "labelled recordings", "unlabelled": "unlabelled music"}
WORKERS = {"workers_0": "none", "workers_1": "one", "workers_2": "two"}


def shortcuts(record: Mapping[str, Any]) -> str:
    """How well a probe tells synthetic clips from recordings."""
    there = {name: words for name, words in COLUMNS.items() if name in record}
    lines = [
        f"How well the probe tells them (area under the ROC curve: 0.5 is chance, 1 is always), {record['date'][:10]}:",
        "",
        f"| synthetic clips | against {' | against '.join(there.values())} |",
        "|---|" + "---|" * len(there),
    ]
    for row, words in ROWS.items():
        found = [record[name][row]["auc"] for name in there]
        lines.append(f"| {words} | {' | '.join(f'{auc:.2f}' for auc in found)} |")
    return "\n".join(lines)


def speed(scenes: Mapping[str, Any], training: Mapping[str, Any]) -> str:
    """What the generator gives, and what training takes."""
    lines = [
        f"`scene_speed.py` and `training_speed.py`, {training['date'][:10]}, {training['machine']}. The generator "
        f"mixes {scenes['scenes_one_process']['per_core_second']:.0f} scenes of 4 to 6 s a second and core, "
        f"{scenes['scenes_two_processes']['per_second']:.0f} a second in two processes; phrases are rendered at "
        f"{scenes['phrases_one_process']['per_core_second']:.0f} a second and core. Training, one thread, in clips a "
        "second (and the share of time in which it waited for scenes):",
        "",
        f"| recipe | arithmetic | {' | '.join(f'{words} beside it' for words in WORKERS.values())} |",
        "|---|---|" + "---|" * len(WORKERS),
    ]
    for name in ("passt", "cbam_cnn", "ms_crnn"):
        row = training[name]
        cells = [f"{row[key]['clips_per_second']:.1f} ({row[key]['waiting']:.0%})" for key in WORKERS]
        lines.append(f"| {name} | {row['precision']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def written(page: str) -> str:
    """The page with today's figures."""
    read = {name: json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
            for name in ("shortcuts", "scene_speed", "training_speed")}  # fmt: skip
    page = filled(page, shortcuts(read["shortcuts"]), "<!-- shortcuts -->", "<!-- end of shortcuts -->")
    figures = speed(read["scene_speed"], read["training_speed"])
    return filled(page, figures, "<!-- speed -->", "<!-- end of speed -->")


def main(argv: Sequence[str] | None = None) -> int:
    return keep(PAGE, written, argv, __doc__)


if __name__ == "__main__":
    sys.exit(main())
