"""A small bank of sounds, with the teachers' answers in it."""

import json
from pathlib import Path

import numpy as np

from instrec_live.models.audioset import CLASSES
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import N_MELS, PATCH
from instrec_live.training.synthesis.unions import LENGTHS, Track, windows

GROUPS = ("violin", "flute", "song", "music", "distractor")


def write_bank(folder: Path, groups: tuple[str, ...] = GROUPS, patches: int = 12) -> Path:
    """A bank of one track a group, whose teachers are .25 sure of everything."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    tracks = [
        {"start": i * patches * PATCH, "patches": patches, "group": group, "source": f"source of {group}",
         "labels": [group] if group in INSTRUMENTS else [], "complete": group in INSTRUMENTS}
        for i, group in enumerate(groups)
    ]  # fmt: skip
    np.save(folder / "frames.npy", rng.normal(1, 0.1, (len(groups) * patches * PATCH, N_MELS)).astype(np.float16))
    (folder / "index.json").write_text(json.dumps({"seed": 0, "sources": [], "tracks": tracks}))
    content = {}
    for length in LENGTHS:
        count = sum(len(windows(Track(**track), length)) for track in tracks)
        content[f"instruments{length}"] = np.full((count, len(INSTRUMENTS)), 0.25, np.float16)
        content[f"audioset{length}"] = np.full((count, CLASSES), 0.25, np.float16)
    np.savez(folder / "targets.npz", **content)
    return folder
