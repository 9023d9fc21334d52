"""The model card that ships with a bundle."""

import datetime
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.instruments import DISPLAY_NAMES, INSTRUMENTS
from instrec_live.training.datasets.clips import Clips
from instrec_live.training.datasets.sounds import HELD_OUT_SOURCES, STRANGERS
from instrec_live.training.evaluation.bootstrap import interval, resamples
from instrec_live.training.evaluation.metrics import average_precision, mean_average_precision, top1

FloatArray = NDArray[np.float32]

_WHAT = {
    "passt": "PaSST, a patchout audio transformer (Koutini et al., Interspeech 2022): hear21passt's class, 192 wide, "
    "6 blocks, its patches (columns of 160 ms) made by YAMNet's first eleven separable convolutions and, "
    "beside them, a small network that hears the whole band, to 15 kHz, the mean of all patches to the head.",
    "cbam_cnn": "A MobileNetV1 trunk on 0.96 s patches with channel and spatial attention (CBAM, Woo et al., "
    "ECCV 2018) after each stage; logits of the patches are pooled by log-mean-exp. Two fifths of the answer are the "
    "logits of AudioSet's own classes, each instrument's likeliest, read from the same features.",
    "ms_crnn": "YAMNet's first eleven separable convolutions and, beside them, a small network that hears the whole "
    "band, to 15 kHz; a multi-scale convolution (3, 5, 7) over their columns of 160 ms, a bidirectional GRU, attention "
    "pooling per instrument.",
}
_STUDENT = (
    "From YAMNet's weights in its first layers (AudioSet; Apache-2.0, The TensorFlow Authors), which stay as they are, "
    "and random ones above; learned from exact labels of scenes, and on all sound from a teacher: a CBAM-CNN "
    "with YAMNet's whole trunk frozen under a trained head."
)
_BEGAN = {
    "passt": _STUDENT,
    "cbam_cnn": "From YAMNet's weights (AudioSet; Apache-2.0, The TensorFlow Authors); the result lies half-way "
    "between a network tuned whole and one of which only the head was.",
    "ms_crnn": _STUDENT,
}


@dataclass(frozen=True)
class Heard:
    """Clips [n], and what a network said of them: probabilities [n, 20]."""

    clips: Clips
    probabilities: FloatArray

    @property
    def mean(self) -> float:
        """Masked mAP."""
        return mean_average_precision(self.clips.truth, self.probabilities, self.clips.mask)

    @property
    def interval(self) -> tuple[float, float]:
        """95 % percentile bootstrap of masked mAP over recordings."""
        weights = resamples(self.clips.recording, 200)
        draws = average_precision(self.clips.truth, self.probabilities, self.clips.mask, weights=weights)
        low, high = interval(np.nanmean(draws, axis=1))
        return float(low), float(high)

    @property
    def each(self) -> FloatArray:
        """Average precision of every instrument, NaN where nobody can say."""
        return average_precision(self.clips.truth, self.probabilities, self.clips.mask, 1)

    def mistaken(self, instrument: int) -> str:
        """Of the solos of an instrument, how many had another name on top, and which most often."""
        solos = self.clips.solo & (self.clips.truth[:, instrument] > 0.5)
        if not solos.any():
            return "–"
        wrong = Counter(int(c) for c in self.probabilities[solos].argmax(1) if c != instrument)
        names = ", ".join(f"{DISPLAY_NAMES[INSTRUMENTS[c]]} {n}" for c, n in wrong.most_common(3))
        return f"{wrong.total()} of {solos.sum()}" + (f": {names}" if names else "")


def model_card(
    name: str,
    parameters: int,
    cost: Mapping[float, float],
    recipe: Mapping[str, Any],
    sources: Sequence[Mapping[str, Any]],
    real: Heard,
    held_out: Heard | None,
) -> str:
    """Markdown.

    Args:
        name: "passt", "cbam_cnn" or "ms_crnn".
        parameters: how many.
        cost: milliseconds of one core for a window of so many seconds.
        recipe: as the training run recorded it.
        sources: rows of the phrases' index: instrument, source, kind, licence, package, count.
        real: the validation clips, with probabilities from a calibration fitted on other recordings.
        held_out: scenes of timbres held out of training, or None.
    """
    clips = real.clips
    low, high = real.interval
    strangers = [s for s in sources if s["instrument"] in STRANGERS]
    positives = (clips.truth * clips.mask).sum(0)
    lines = [
        f"# {name}",
        "",
        _WHAT[name],
        "",
        f"- Parameters: {parameters:,}",
        "- Cost: "
        + ", ".join(f"{ms:.0f} ms for {seconds:g} s" for seconds, ms in cost.items())
        + f" (one core of {processor()}, ONNX Runtime).",
        "- Input: log-mel float32 [B, 128, T], 32 kHz, hop 10 ms, 2 to 10 s. Output: logits of 20 instruments.",
        f"- Made on {datetime.date.today().isoformat()} by `python -m training.{name}`, `python -m training.ensemble`.",
        f"- {_BEGAN[name]}",
        f"- Recipe: {recipe['steps']} steps of {recipe['batch']} scenes of {recipe['seconds'][0]:g} to "
        f"{recipe['seconds'][1]:g} s, learning rate {recipe['lr']:g}, seed {recipe['seed']}.",
        "",
        "## How good it is",
        "",
        f"On {len(clips.files)} real clips of 10 s from {len(np.unique(clips.recording))} recordings that no network "
        "was trained on (calibration and thresholds cross-validated over recordings; the clips were chosen with "
        "YAMNet's help, which flatters its children; the run's length was chosen on them too):",
        "",
        f"- masked mAP **{real.mean:.3f}** (95 % interval {low:.3f}–{high:.3f}), "
        f"top-1 on solos {top1(clips.truth, real.probabilities, clips.solo):.3f}",
    ]
    if held_out is not None:
        lines.append(f"- masked mAP on scenes of held-out timbres ({', '.join(HELD_OUT_SOURCES)}): {held_out.mean:.3f}")
    lines += [
        "",
        "AP is the average precision: 1 where every clip with the instrument has a higher probability than every one "
        "without it.",
        "",
        "| instrument | AP, real clips | clips | AP, held-out timbres | solos with another name on top |",
        "|---|---|---|---|---|",
    ]
    new = held_out.each if held_out is not None else np.full(len(INSTRUMENTS), np.nan)
    for i, instrument in enumerate(INSTRUMENTS):
        row = [DISPLAY_NAMES[instrument], _figure(real.each[i]), str(int(positives[i])), _figure(new[i])]
        lines.append(f"| {' | '.join([*row, real.mistaken(i)])} |")
    lines += [
        "",
        "## Where it fails",
        "",
        "- Organ and cymbals have no positive validation clip, synthesizer, mandolin and ukulele two each: "
        "nobody knows how good these are.",
        "- Accordion, mandolin, trumpet, ukulele and singing voice had few real timbres to learn from.",
        "- Related instruments are confused most: violin and cello, clarinet and flute, trumpet and trombone, "
        "guitar and ukulele, cymbals and drums.",
        "",
        "## What it was trained on",
        "",
        "Only freely licensed sound. Phrases per instrument and source"
        + (" (strangers, which are none of the 20, last):" if strangers else ":"),
        "",
        "| instrument | source | licence | package | phrases |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {s['instrument'].replace('_', ' ')} | {s['source']} | {s['licence']} | {s['package']} | {s['count']} |"
        for s in [*(s for s in sources if s not in strangers), *strangers]
    ]
    lines += ["", "Real music without labels, for imitation only: the music of free games in Debian "
              "(0ad, fretsonfire-songs-muldjord, fretsonfire-songs-sectoid, gcompris-qt-data, hedgewars-data, "
              "hyperrogue-music, lincity-ng-data, marsshooter-data, megaglest-data, performous, planetblupi-music-ogg, "
              "singularity-music, supertux-data, supertuxkart-data, unknown-horizons, wesnoth, widelands-data, "
              "xmoto-data, freecol, flare-game, naev-data, berusky2-data, colobot-common-sounds, freedroidrpg-data, "
              "lordsawar-data, extremetuxracer-data, starfighter-data, warzone2100-music; GPL, CC-BY, CC-BY-SA, MIT "
              "and GFDL as their copyright files say).", ""]  # fmt: skip
    return "\n".join(lines)


def _figure(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "not measured"


def processor() -> str:
    """The processor's name, where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())
