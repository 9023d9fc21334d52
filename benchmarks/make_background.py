"""Makes models/background.npz: what the bundled networks make of the sound that they were trained on.

    python benchmarks/make_background.py --sounds DIR

DIR holds <class>/<source>/<file>, sources.csv and songs.csv. `instrec-live learn` tells new instruments from this
background. Windows of 2 s: every source of every instrument alone, mixtures of two and three instruments, and songs of
which all instruments are known. None of the held-out sources, none of other instruments than the 20. To be made again
whenever a bundled network with embeddings is replaced; the same sounds and networks give the same windows.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import soxr

from instrec_live.models.bundle import DEFAULT_MODELS, Bundle, bundled
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.learned import bases_of
from instrec_live.models.learning import WINDOW, Background, Encoder
from instrec_live.models.logmel import SAMPLE_RATE
from instrec_live.training.data.sounds import read, read_sources

TO = Path(__file__).resolve().parent.parent / "models" / "background.npz"
MOST_BYTES = 1_000_000
SOLOS, MIXTURES, SONGS = 36, 300, 60  # windows: of each instrument, in all, in all
_QUIET = 1e-3  # RMS, -60 dBFS


def loudest(path: Path, rng: np.random.Generator) -> np.ndarray | None:
    """A window of a sound, float32 [64000], from one of the louder places; None if it is silent."""
    samples, rate = read(path)
    sound = np.asarray(soxr.resample(samples, rate, SAMPLE_RATE), np.float32)
    if len(sound) < WINDOW:
        sound = np.pad(sound, (WINDOW - len(sound), 0))
    starts = rng.integers(0, len(sound) - WINDOW + 1, 4)
    window = max((sound[at : at + WINDOW] for at in starts), key=lambda each: float((each**2).mean()))
    return window if float((window**2).mean()) > _QUIET**2 else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sounds", type=Path, required=True)
    root: Path = parser.parse_args().sounds
    rng = np.random.default_rng(0)
    sources = [source for source in read_sources(root) if source.instrument in INSTRUMENTS]
    with open(root / "songs.csv", newline="", encoding="utf-8") as file:
        songs = [row for row in csv.DictReader(file) if row["complete"] == "yes"]
    windows: list[np.ndarray] = []
    labels: list[frozenset[str]] = []
    names: list[str] = []

    def add(window: np.ndarray, instruments: frozenset[str], source: str) -> None:
        windows.append((window / max(1.0, float(np.abs(window).max()))).astype(np.float32))
        labels.append(instruments)
        names.append(source)

    for instrument in INSTRUMENTS:
        own = [each for each in sources if each.instrument == instrument and each.kind != "song"]
        queues = [list(rng.permutation(np.array(each.files, object))) for each in own]
        for turn in range(SOLOS * 10):
            if sum(one == frozenset([instrument]) for one in labels) >= SOLOS or not any(queues):
                break
            queue = queues[turn % len(queues)]
            if queue and (window := loudest(queue.pop(), rng)) is not None:
                add(window, frozenset([instrument]), own[turn % len(own)].name)
    solos = list(zip(windows, labels, names, strict=True))
    for _ in range(MIXTURES):
        first = solos[rng.integers(len(solos))]
        others = [solos[rng.integers(len(solos))] for _ in range(rng.integers(1, 3))]
        mix = first[0] / rms(first[0])
        for window, _, _ in others:
            mix = mix + window / rms(window) * 10 ** (rng.uniform(-9, 3) / 20)
        add(mix * 0.1, first[1].union(*(each[1] for each in others)), first[2])
    for row in [songs[at] for at in rng.permutation(len(songs))[:SONGS]]:
        instruments = frozenset(row["labels"].split("|"))
        if instruments <= set(INSTRUMENTS) and (window := loudest(root / row["file"], rng)) is not None:
            add(window, instruments, row["file"].split("/")[1])

    bases = bases_of([Bundle.load(bundled(name)) for name in DEFAULT_MODELS])
    features, logits, _ = Encoder(bases, ensemble=True)(np.stack(windows))
    sounding = np.array([[name in each for name in INSTRUMENTS] for each in labels])
    Background(bases, features, logits, sounding, tuple(names)).save(TO)
    size = TO.stat().st_size
    print(f"{len(windows)} windows of {len(set(names))} sources, {size / 1e6:.2f} MB")
    assert size <= MOST_BYTES, "too large"


def rms(window: np.ndarray) -> float:
    return float(np.sqrt((window**2).mean()) + 1e-9)


if __name__ == "__main__":
    main()
