"""Mixes the demo clip from freely licensed playing, and writes down what is audible when.

    python benchmarks/make_demo.py --sounds DIR

DIR holds <class>/<source>/<file>.ogg; demo_score.py says what is played. Writes demo.ogg, timeline.json and
CREDITS.md to realtime/demo, and the list of files that training must never see. The timeline's times are
measured on the mixed stems (when each is audible among the others), not copied from the score; all players of an
ensemble's recording count as audible while it is. The samples are the same from run to run; the
file's bytes are not (Ogg streams carry a random serial number).
"""

import argparse
import json
from pathlib import Path

import numpy as np
import soundfile
import soxr
from demo_score import SAME_RECORDING, SCORE, SECONDS, SOURCES, TRAINED_ON, Hits, Part, file_names
from numpy.typing import NDArray
from scipy.signal import lfilter

RATE = 44_100
PEAK_DB = -3.0
STEM_LUFS = -20.0
JOIN_S = 0.08  # crossfade between two excerpts of one player
FRAME_S = 0.05
AUDIBLE_BELOW_OWN_DB = 32.0  # a frame is audible down to this far below the stem's loud frames ...
AUDIBLE_BELOW_OTHERS_DB = 24.0  # ... and below everything else that sounds
SILENCE_TO_SPLIT_S = 1.0  # a shorter pause is phrasing

CHECKOUT = Path(__file__).resolve().parent.parent
DEMO = CHECKOUT / "realtime" / "demo"
KEPT_FROM_TRAINING = CHECKOUT / "training" / "data" / "demo_files.txt"
Audio = NDArray[np.float64]


def load(path: Path) -> Audio:
    """float64 [n] mono at 44.1 kHz."""
    samples, rate = soundfile.read(path, dtype="float64", always_2d=True)
    return np.asarray(soxr.resample(samples.mean(1), rate, RATE, "VHQ"))


def loudness(samples: Audio) -> float:
    """Gated K-weighted loudness of mono float64 [n], LUFS (ITU-R BS.1770, filters of 44.1 kHz)."""
    shelf = lfilter([1.53091, -2.65098, 1.16907], [1.0, -1.66365, 0.71260], samples)
    weighted = lfilter([1.0, -2.0, 1.0], [1.0, -1.98917, 0.98920], shelf)
    block, hop = int(0.4 * RATE), int(0.1 * RATE)
    starts = range(0, max(1, len(weighted) - block + 1), hop)
    levels = np.array([-0.691 + power_db(weighted[i : i + block]) for i in starts])
    gate = max(-70.0, mean_db(levels[levels > -70.0]) - 10.0)
    return mean_db(levels[levels > gate])


def power_db(samples: Audio) -> float:
    return float(10 * np.log10(np.mean(samples**2) + 1e-12))


def mean_db(levels: Audio) -> float:
    return float(10 * np.log10(np.mean(10 ** (levels / 10)) + 1e-12))


def joined(excerpts: list[Audio]) -> Audio:
    """Excerpts at one loudness, one after another with equal-power crossfades."""
    levelled = [x * 10 ** ((STEM_LUFS - loudness(x)) / 20) for x in excerpts]
    overlap = int(JOIN_S * RATE)
    rise = np.sin(np.linspace(0, np.pi / 2, overlap))
    out = levelled[0]
    for nxt in levelled[1:]:
        seam = out[-overlap:] * rise[::-1] + nxt[:overlap] * rise
        out = np.concatenate([out[:-overlap], seam, nxt[overlap:]])
    return out


def beat(hits: Hits, strokes: dict[str, Audio]) -> Audio:
    step = 60.0 / hits.bpm / 4
    out = np.zeros(int(RATE * (len(hits.bars) * 16 * step + 0.8)))
    for bar, patterns in enumerate(hits.bars):
        for name, pattern in patterns.items():
            for i, mark in enumerate(pattern):
                if mark == ".":
                    continue
                at = int(RATE * (bar * 16 + i) * step)
                stroke = strokes[name][: len(out) - at]
                out[at : at + len(stroke)] += stroke * (1.0 if mark == "x" else 0.4)
    return out * 10 ** ((STEM_LUFS - loudness(out)) / 20)


def stem(part: Part | Hits, sounds: Path) -> Audio:
    """The part at its place in the whole clip, float64 [n, 2]."""
    folder = sounds / part.instruments[0] / part.source
    if isinstance(part, Hits):
        names = sorted({name for bar in part.bars for name in bar})
        mono = beat(part, {name: normalised(load(folder / f"{name}.ogg")) for name in names})
        pan, fade_in, fade_out = 0.0, 0.02, 0.5
    else:
        mono = joined([load(folder / f"{name}.ogg") for name in part.files])[: int(part.length * RATE)]
        pan, fade_in, fade_out = part.pan, part.fade_in, part.fade_out
    n_in, n_out = int(fade_in * RATE), int(fade_out * RATE)
    mono[:n_in] *= np.linspace(0, 1, n_in)
    mono[-n_out:] *= np.cos(np.linspace(0, np.pi / 2, n_out)) ** 2
    mono *= 10 ** (part.gain_db / 20)
    angle = (pan + 1) * np.pi / 4
    out = np.zeros((int(SECONDS * RATE), 2))
    first = int(part.start * RATE)
    mono = mono[: len(out) - first]
    out[first : first + len(mono)] = mono[:, None] * np.array([np.cos(angle), np.sin(angle)]) * np.sqrt(2)
    return out


def normalised(samples: Audio) -> Audio:
    return samples / np.max(np.abs(samples))


def frame_db(samples: Audio) -> Audio:
    """RMS of each 50 ms of float64 [n, 2], dBFS."""
    size = int(FRAME_S * RATE)
    frames = samples[: len(samples) // size * size].reshape(-1, size * 2)
    return 10 * np.log10(np.mean(frames**2, axis=1) + 1e-12)


def audible_spans(own: Audio, others: Audio) -> list[tuple[float, float]]:
    """Seconds in which a stem is audible among the others; pauses of less than a second do not end a span.

    Args:
        own, others: float64 [n, 2], the stem and the sum of all other stems.
    """
    level, rest = frame_db(own), frame_db(others)
    loud = np.percentile(level[level > -70.0], 90)
    heard = (level > loud - AUDIBLE_BELOW_OWN_DB) & (level > rest - AUDIBLE_BELOW_OTHERS_DB)
    spans: list[list[float]] = []
    for i in np.flatnonzero(heard):
        begin, end = i * FRAME_S, (i + 1) * FRAME_S
        if spans and begin - spans[-1][1] < SILENCE_TO_SPLIT_S:
            spans[-1][1] = end
        else:
            spans.append([begin, end])
    return [(round(a, 2), round(b, 2)) for a, b in spans if b - a >= 0.5]


def credits_page(files: list[tuple[Part | Hits, str]]) -> str:
    lines = [
        "# Credits of the demo clip",
        "",
        "`demo.ogg` is mixed by `benchmarks/make_demo.py`: excerpts joined, levelled, panned and faded.",
        "Nobody named here endorses it. The clip as a whole: CC BY 4.0, with credit to all of these.",
        "The file NOTICE has the MIT text.",
        "",
        "| source | by | licence | from |",
        "|---|---|---|---|",
    ]
    lines += [
        f"| `{key}`: {title} | {by} | {licence} | {where} |" for key, (title, by, licence, where) in SOURCES.items()
    ]
    lines += ["", "The bundled networks were trained on the recordings marked so, and on none of the others.", ""]
    lines += ["| instruments | source | file | trained on |", "|---|---|---|---|"]
    rows = dict.fromkeys(
        f"| {', '.join(p.instruments)} | `{p.source}` | `{name}` | {'yes' if p.source in TRAINED_ON else 'no'} |"
        for p, name in files
    )
    return "\n".join([*lines, *rows]) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sounds", type=Path, required=True, help="folder of <class>/<source>/<file>.ogg")
    parser.add_argument("--out", type=Path, default=DEMO)
    args = parser.parse_args()

    stems = [stem(part, args.sounds) for part in SCORE]
    mix = np.sum(stems, axis=0)
    gain = 10 ** (PEAK_DB / 20) / np.max(np.abs(mix))
    events = []
    for part, own in zip(SCORE, stems, strict=True):
        for onset, offset in audible_spans(own, mix - own):
            source = f"{part.source}: {', '.join(file_names(part))}"
            events += [{"instrument": i, "onset": onset, "offset": offset, "source": source} for i in part.instruments]
    events.sort(key=lambda event: event["onset"])

    args.out.mkdir(parents=True, exist_ok=True)
    with soundfile.SoundFile(
        args.out / "demo.ogg", "w", RATE, 2, format="OGG", subtype="VORBIS", compression_level=0.4
    ) as ogg:
        for start in range(0, len(mix), RATE):  # libsndfile's Vorbis writer overflows its stack on long blocks
            ogg.write(mix[start : start + RATE] * gain)
    timeline = {"duration": SECONDS, "events": events}
    (args.out / "timeline.json").write_text(json.dumps(timeline, indent=1, ensure_ascii=False) + "\n")
    files = [(part, name) for part in SCORE for name in file_names(part)]
    (args.out / "CREDITS.md").write_text(credits_page(files))
    new = [(part, name) for part, name in files if part.source not in TRAINED_ON]
    used = dict.fromkeys(f"{part.instruments[0]}/{part.source}/{name}.ogg" for part, name in new)
    KEPT_FROM_TRAINING.write_text("\n".join([*used, *SAME_RECORDING]) + "\n")
    for event in events:
        print(f"{event['onset']:6.2f} – {event['offset']:6.2f}  {event['instrument']:10s} {event['source']}")
    print(f"gain {20 * np.log10(gain):+.1f} dB, loudness {loudness((mix * gain).mean(1)):.1f} LUFS")


if __name__ == "__main__":
    main()
