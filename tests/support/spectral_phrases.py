"""A folder of rendered phrases, as training.synthesis.phrases leaves it: instrument i fills bands 6 i … 6 i + 5."""

import json
from pathlib import Path

import numpy as np

from instrec_live.models.instruments import INSTRUMENTS


def write_phrases(folder: Path, each: int = 2) -> Path:
    """`each` phrases an instrument, 6 s long; voice's are songs."""
    rng = np.random.default_rng(0)
    mels = rng.normal(-1.4, 0.02, (20 * each, 128, 600)).astype(np.float16)
    rows = []
    for i, name in enumerate(INSTRUMENTS):
        mels[each * i : each * (i + 1), 6 * i : 6 * i + 6] = 1.0
        rows.append({"instrument": name, "source": "x", "kind": "song" if name == "voice" else "notes",
                     "licence": "CC0-1.0", "package": "made here", "first": each * i, "count": each})  # fmt: skip
    folder.mkdir(parents=True)
    np.save(folder / "mels.npy", mels)
    (folder / "index.json").write_text(json.dumps({"seed": 0, "sources": rows}))
    return folder
