"""Measures how good `instrec-live learn` is: cross-validated, live in a mixture, and its effect on the 20 instruments.

    python benchmarks/learn.py --soundfont TimGM6mb.sf2 --tabla DIR --solos DIR --bands DIR [--to DIR]

Learned are harp, French horn and oboe, 30 sounds of 5 s each from 10 phrases that are played through a soundfont on
which no network was trained, a folder for each phrase; and tabla, the recorded strokes of Debian's sonic-pi-samples
(CC0; DIR holds tabla_*.flac and loop_tabla.flac). Then, a separate bundle, violin as a correction.

The live clip has what was not learned: two more phrases of each, and a tabla loop by another player, each first alone
and then with a band (labelled clips of --bands), 10 s each, with the band alone in between. The program runs over it as
it would live. --solos and --bands are folders of labelled clips (labels.csv); on --solos the mAP of the 20 is measured
without the bundles and with each. Writes benchmarks/results/learn.json.
"""

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from demo_timeline import Event, read_updates, score
from tqdm import tqdm

from instrec_live.models import INSTRUMENTS, Tagger
from instrec_live.models.arrays import FloatArray
from instrec_live.models.bundle import DEFAULT_MODELS
from instrec_live.models.calibration import sigmoid
from instrec_live.models.learned import LearnedBundle
from instrec_live.models.logmel import SAMPLE_RATE, log_mel
from instrec_live.models.tagger import CORRECTIONS, OTHERS
from instrec_live.training.command import entry
from instrec_live.training.data.clips import read_clip_table
from instrec_live.training.data.sounds import load
from instrec_live.training.data.table import Table
from instrec_live.training.evaluation.metrics import mean_average_precision
from instrec_live.training.synthesis.soundfonts.render import render_instrument
from instrec_live.training.synthesis.soundfonts.synth import Soundfont

RESULTS = Path(__file__).parent / "results"
PLAYED, CORRECTED = ("harp", "french_horn", "oboe"), "violin"
PHRASES, KEPT, PIECES, PIECE, SEED = 10, 2, 3, 5.0, 7  # of each instrument: learned, kept for the live clip
SECONDS = 10.0  # of a part of the live clip
BESIDE = ",".join(DEFAULT_MODELS)


def make_sounds(soundfont: Path, tabla: Path, folder: Path) -> dict[str, list[Path]]:
    """Write folder/new and folder/correction, to be learned; returns the sounds that are kept, by instrument."""
    kept: dict[str, list[Path]] = {}
    font = Soundfont(soundfont)
    try:
        for name in (*PLAYED, CORRECTED):
            rendered = folder / "phrases" / name
            render_instrument(font, name, PHRASES + KEPT, SEED, rendered)
            phrases = sorted(rendered.glob("*.ogg"))
            kept[name] = phrases[PHRASES:]
            for phrase in phrases[:PHRASES]:
                to = folder / ("correction" if name == CORRECTED else "new") / name / phrase.stem
                to.mkdir(parents=True)
                samples, rate = soundfile.read(phrase, dtype="float32")
                for number in range(PIECES):
                    piece = samples[int(number * PIECE * rate) : int((number + 1) * PIECE * rate)]
                    if len(piece) > rate:
                        soundfile.write(to / f"{number}.wav", piece, rate)
    finally:
        font.close()
    (folder / "new" / "tabla").mkdir()
    for stroke in sorted(tabla.glob("tabla_*.flac")):
        (folder / "new" / "tabla" / stroke.name).write_bytes(stroke.read_bytes())
    return kept | {"tabla": [tabla / "loop_tabla.flac"]}


def learned(sounds: Path, to: Path) -> dict[str, Any]:
    """Run the command; its figures, and how long it took."""
    began = time.perf_counter()
    command = [sys.executable, "-m", "instrec_live.realtime", "learn", str(sounds), "--to", str(to), "--json"]
    run = subprocess.run([*command, "--force", "-q"], stdout=subprocess.PIPE, text=True, check=True)
    return {"seconds": round(time.perf_counter() - began, 1), "classes": json.loads(run.stdout)}


def live_clip(kept: dict[str, list[Path]], bands: Table, to: Path) -> list[Event]:
    """Write the clip; returns when the learned instruments sound in it."""
    rows = iter(np.random.default_rng(SEED).permutation(len(bands)).tolist())
    parts: list[FloatArray] = []
    events: list[Event] = []

    def level(samples: FloatArray) -> FloatArray:
        fitted = np.resize(samples, round(SECONDS * SAMPLE_RATE))
        return np.asarray(0.1 * fitted / float(np.sqrt((fitted**2).mean())), np.float32)

    for name in (*PLAYED, "tabla"):
        for path in kept[name]:
            own = level(load(path))
            first, second = (level(load(bands.paths[next(rows)])) for _ in range(2))
            for with_it, part in ((True, own), (False, first), (True, own + second)):
                if with_it:
                    events.append(Event(name, SECONDS * len(parts), SECONDS * (len(parts) + 1)))
                parts.append(part)
    clip = np.concatenate(parts)
    soundfile.write(to, clip / np.abs(clip).max(), SAMPLE_RATE)
    return events


def heard_live(clip: Path, events: Sequence[Event], bundle: Path) -> dict[str, dict[str, Any]]:
    """What the program shows of each class: the share of its time, alone and with a band, and the seconds of error."""
    command = [sys.executable, "-m", "instrec_live.realtime", "--no-config", "--file", str(clip), "--pace", "max",
               "--causal", "--json", "--no-ui", "--models", f"{BESIDE},{bundle}"]  # fmt: skip
    run = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True)
    updates, _ = read_updates(run.stdout.splitlines())
    duration = soundfile.info(clip).duration
    said: dict[str, dict[str, Any]] = {}
    for name in (*PLAYED, "tabla"):
        own = [event for event in events if event.instrument == name]
        figures = score(own, [update._replace(active=update.active & {name}) for update in updates], duration)
        shares = []  # of the events alone, then with a band
        for kind in (0, 1):
            inside = [u for event in own[kind::2] for u in updates if event.onset + 1 <= u.time <= event.offset]
            shares.append(float(np.mean([name in update.active for update in inside])))
        said[name] = {
            "entries": figures["entries"],
            "entries_in_time": figures["entries_in_time"],
            "shown_alone": round(shares[0], 4),
            "shown_with_a_band": round(shares[1], 4),
            "false_seconds": figures["false_seconds"].get(name, 0.0),
            "other_seconds": round(duration - SECONDS * len(own), 1),
        }
    return said


def of_the_twenty(clips: Table, bundles: dict[str, Path]) -> dict[str, Any]:
    """mAP of the 20 on labelled clips, without a bundle and with each; and on how many clips each class is active.
    The networks process each clip once."""
    every = Tagger.load([*DEFAULT_MODELS, *map(str, bundles.values())], engine="onnx")
    taggers = {"without": Tagger.load(engine="onnx")}
    taggers |= {name: Tagger.load([*DEFAULT_MODELS, str(path)], engine="onnx") for name, path in bundles.items()}
    rows: dict[str, list[FloatArray]] = {name: [] for name in taggers}
    for path in tqdm(clips.paths, unit="clip", disable=None):
        logits = every.calibrated(log_mel(load(path)[: 10 * SAMPLE_RATE]))
        for name, tagger in taggers.items():
            own = {each: logits[each] for each in (*DEFAULT_MODELS, OTHERS)}
            if name != "without":
                bundle = LearnedBundle.load(bundles[name])
                columns = [every.instruments.index(new) for new in (*INSTRUMENTS, *bundle.new)]
                own |= {bundle.name: logits[bundle.name][columns]}
                own |= {CORRECTIONS: logits[CORRECTIONS]} if bundle.corrected and CORRECTIONS in logits else {}
            rows[name].append(sigmoid(tagger.ensemble(own)))
    found: dict[str, Any] = {"clips": len(clips)}
    for name, tagger in taggers.items():
        p = np.stack(rows[name])
        mean = mean_average_precision(clips.labels, p[:, : len(INSTRUMENTS)], clips.mask)
        active = {new: int(np.count_nonzero(p[:, at] >= tagger.thresholds[at]))
                  for at, new in enumerate(tagger.instruments) if at >= len(INSTRUMENTS)}  # fmt: skip
        found[name] = {"mAP": round(mean, 4), "active": active}
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--soundfont", type=Path, required=True, help="Debian's timgm6mb-soundfont")
    parser.add_argument("--tabla", type=Path, required=True, metavar="DIR", help="samples of Debian's sonic-pi-samples")
    parser.add_argument("--solos", type=Path, required=True, metavar="DIR", help="labelled clips, mostly solos")
    parser.add_argument("--bands", type=Path, required=True, metavar="DIR", help="labelled clips of bands")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        kept = make_sounds(args.soundfont, args.tabla, folder)
        new, correction = learned(folder / "new", folder / "mine"), learned(folder / "correction", folder / "corrected")
        events = live_clip(kept, read_clip_table(args.bands), folder / "live.wav")
        live = heard_live(folder / "live.wav", events, folder / "mine")
        twenty = of_the_twenty(
            read_clip_table(args.solos), {"new": folder / "mine", "correction": folder / "corrected"}
        )
    record = {
        "command": "python benchmarks/learn.py --soundfont TimGM6mb.sf2 --tabla DIR --solos DIR --bands DIR",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seed": SEED,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores",
        "load_average": round(os.getloadavg()[0], 1),
        "new": new,
        "correction": correction,
        "live": live,
        "of_the_20": twenty,
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "learn.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    entry(main)
