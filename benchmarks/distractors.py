"""Measures what the bundled networks take other instruments for.

    python benchmarks/distractors.py SOUNDS

SOUNDS is a folder of single-instrument sounds with a sources.csv (training/data/sounds.py). Of its distractors
(bassoon, oboe, …), the sources that were held out of training are analysed, the first 10 s of every file: every
instrument that is active there is wrong. Writes benchmarks/results/distractors.json.
"""

import argparse
import datetime
import json
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from instrec_live.models import Tagger
from instrec_live.models.errors import InputFileError
from instrec_live.models.logmel import SAMPLE_RATE
from instrec_live.training.command import entry
from instrec_live.training.data.sounds import DISTRACTORS, Source, load, read_sources

RESULTS = Path(__file__).parent / "results"
SECONDS = 10


def measure(tagger: Tagger, source: Source) -> dict[str, Any]:
    """How many excerpts of a stranger were given a name, the likeliest's mean probability, and which names."""
    names: Counter[str] = Counter()
    highest, named = [], 0
    for file in tqdm(source.files, unit="file", desc=source.instrument):
        tags = tagger.tag(load(file)[: SECONDS * SAMPLE_RATE], SAMPLE_RATE)
        highest.append(float(np.max(tags.probabilities)))
        named += bool(tags.active)
        names.update(tags.active)
    return {
        "excerpts": len(source.files),
        "named": named,
        "highest": round(float(np.mean(highest)), 3),
        "names": dict(names.most_common(3)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sounds", type=Path, help="a folder with sources.csv")
    args = parser.parse_args()
    sources = [s for s in read_sources(args.sounds, only_held_out=True) if s.instrument in DISTRACTORS]
    if not sources:
        raise InputFileError(f"{args.sounds}: none of its held-out sources is one of {', '.join(DISTRACTORS)}")
    tagger = Tagger.load()
    record = {
        "command": f"python benchmarks/distractors.py {args.sounds.resolve().name}",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "sources": sorted({source.name for source in sources}),
        "models": tagger.sha256s,
        "distractors": [
            {"soundfont": source.name, "instrument": source.instrument} | measure(tagger, source) for source in sources
        ],
    }
    print(json.dumps(record, indent=1), file=sys.stderr)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "distractors.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    entry(main)
