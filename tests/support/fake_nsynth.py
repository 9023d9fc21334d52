"""Archives laid out exactly as NSynth's, with notes whose spectrum depends on their family."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

FAMILIES = (
    "bass", "brass", "flute", "guitar", "keyboard", "mallet", "organ", "reed", "string", "synth_lead", "vocal",
)  # fmt: skip
SOURCES = ("acoustic", "electronic", "synthetic")
# Which sources NSynth has of a family; synth_lead is in train only.
HAS = dict.fromkeys(FAMILIES, (0, 1, 2)) | {
    "brass": (0, 1),
    "organ": (0, 1),
    "string": (0, 1),
    "synth_lead": (2,),
}
RATE, SECONDS = 16_000, 4
INSTRUMENTS_PER_SOURCE = 2
QUALITIES = (
    "bright", "dark", "distortion", "fast_decay", "long_release", "multiphonic", "nonlinear_env", "percussive",
    "reverb", "tempo-synced",
)  # fmt: skip
# Each family sounds between two of these [Hz].
EDGES = np.geomspace(150, 7_000, len(FAMILIES) + 1)


def note_sound(family: str, pitch: int, velocity: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Three decaying partials in the family's own band, held 3 s, released in 1 s; float32 [64000]."""
    low, high = EDGES[FAMILIES.index(family) :][:2]
    t = np.arange(SECONDS * RATE) / RATE
    sound = np.zeros(len(t))
    for place in (0.3 + 0.2 * (pitch - 60) / 12, *rng.uniform(0.25, 0.75, 2)):
        sound += np.sin(2 * np.pi * (low * (high / low) ** place * t + rng.random()))
    envelope = np.minimum(1, t / 0.02) * np.exp(-0.3 * t) * np.clip(SECONDS - t, 0, 1)
    return (velocity / 127 * 0.3 * sound * envelope).astype(np.float32)


def write_fake_nsynth(to: Path, split: str, notes_per_family: int, seed: int = 0) -> Path:
    """Write `to`/nsynth-<split>.jsonwav.tar.gz: the families' sources in turn, two instruments of each, none of
    which another split has."""
    rng, archive = np.random.default_rng(seed), to / f"nsynth-{split}.jsonwav.tar.gz"
    first = {"train": 0, "valid": 400, "test": 700}[split]
    examples, numbers, sounds = {}, {}, {}
    for family in FAMILIES:
        if family == "synth_lead" and split != "train":
            continue
        for i in range(notes_per_family):
            source = HAS[family][i % len(HAS[family])]
            which = i // len(HAS[family])
            instrument = f"{family}_{SOURCES[source]}_{first + which % INSTRUMENTS_PER_SOURCE:03d}"
            pitch, velocity = 60 + which // INSTRUMENTS_PER_SOURCE % 13, (25, 50, 75, 100, 127)[which // 26 % 5]
            name = f"{instrument}-{pitch:03d}-{velocity:03d}"
            assert name not in examples
            qualities = (rng.random(len(QUALITIES)) < 0.2).astype(int)
            examples[name] = {
                "note": 1000 * first + len(examples),
                "note_str": name,
                "instrument": numbers.setdefault(instrument, first + len(numbers)),
                "instrument_str": instrument,
                "pitch": pitch,
                "velocity": velocity,
                "sample_rate": RATE,
                "qualities": qualities.tolist(),
                "qualities_str": [word for word, yes in zip(QUALITIES, qualities, strict=True) if yes],
                "instrument_family": FAMILIES.index(family),
                "instrument_family_str": family,
                "instrument_source": source,
                "instrument_source_str": SOURCES[source],
            }
            sounds[name] = note_sound(family, pitch, velocity, rng)
    to.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for folder in (f"nsynth-{split}", f"nsynth-{split}/audio"):
            member = tarfile.TarInfo(folder)
            member.type, member.mode = tarfile.DIRTYPE, 0o755
            tar.addfile(member)
        _add(tar, f"nsynth-{split}/examples.json", json.dumps(examples, indent=2).encode())
        for name, sound in sounds.items():
            encoded = io.BytesIO()
            soundfile.write(encoded, sound, RATE, format="WAV", subtype="PCM_16")
            _add(tar, f"nsynth-{split}/audio/{name}.wav", encoded.getvalue())
    return archive


def unpack(archive: Path, to: Path) -> None:
    """Unpack an archive of ours; older Pythons 3.11 know no filter yet, and newer ones complain without."""
    with tarfile.open(archive) as tar:
        tar.extractall(to, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))  # type: ignore[arg-type]


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tar.addfile(member, io.BytesIO(content))
