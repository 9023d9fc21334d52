"""Do all engines say the same of real recordings?

    python benchmarks/engines.py CLIPS

Every usable engine in every precision on a folder of labelled clips (with a labels.csv), windows heard whole: mAP of
the ensemble and of each network, and the greatest difference of a probability from ONNX Runtime in fp32. Engines that
cannot run are listed with the reason. Writes benchmarks/results/engines.json.
"""

import argparse
import datetime
import json
from pathlib import Path

import numpy as np
from cost import RESULTS

from instrec_live.models import Tagger
from instrec_live.models.arrays import FloatArray
from instrec_live.models.calibration import sigmoid
from instrec_live.models.engine_selection import processor
from instrec_live.models.engines.registry import available
from instrec_live.models.errors import InstrecError
from instrec_live.training.command import entry
from instrec_live.training.data.clips import Clips, clips_of
from instrec_live.training.data.specs import open_all
from instrec_live.training.evaluation.metrics import enough, mean_average_precision
from instrec_live.training.learning.options import validation_rows


def heard(engine: str, clips: Clips) -> dict[str, FloatArray]:
    """Probabilities [n, 20] by network, and of the ensemble."""
    tagger = Tagger.load(engine=engine)
    said = [tagger.calibrated(log_mel) for log_mel in clips.log_mels]
    out = {name: sigmoid(np.stack([each[name] for each in said])) for name in tagger.models}
    return out | {"ensemble": sigmoid(np.stack([tagger.ensemble(each) for each in said]))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    args = parser.parse_args()
    clips = clips_of(validation_rows(open_all([f"clips:{args.clips}"])))
    positives = enough(clips.truth, clips.mask) or 1
    reference, found = heard("onnx", clips), {}
    for engine, usable, reason in available():
        try:
            if not usable:
                raise InstrecError(reason)
            said = reference if engine == "onnx" else heard(engine, clips)
        except InstrecError as error:
            found[engine] = {"why_not": error.message.rpartition("/")[2]}
            continue
        found[engine] = {
            name: {
                "mAP": round(mean_average_precision(clips.truth, p, clips.mask, positives), 4),
                "difference": float(np.abs(p - reference[name]).max()),
            }
            for name, p in said.items()
        }
        print(engine, json.dumps(found[engine]))
    record = {
        "command": f"python benchmarks/engines.py {args.clips.name}",
        "date": datetime.datetime.now().isoformat(timespec="seconds"),
        "machine": processor(),
        "clips": len(clips.files),
        "engines": found,
    }
    (RESULTS / "engines.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    entry(main)
