"""The model card that ships with a bundle."""

import datetime
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from instrec_live.models.arrays import FloatArray
from instrec_live.models.audioset import OTHER_SOUNDS
from instrec_live.models.engine_selection import processor
from instrec_live.models.instruments import DISPLAY_NAMES, INSTRUMENTS
from instrec_live.training.data.clips import Clips
from instrec_live.training.data.provenance import card_section
from instrec_live.training.evaluation.metrics import average_precision, mean_average_precision
from instrec_live.training.evaluation.scorecard import interval, resamples

_WHAT = {
    "passt": "PaSST, a patchout audio transformer (Koutini et al., Interspeech 2022): hear21passt's class, 192 wide, "
    "4 blocks. Its patches are cut from the maps of MobileNetV3 (mn04) on 0.96 s of log-mel; the transformer corrects "
    "the logits of AudioSet's classes, computed from the same maps.",
    "cbam_cnn": "A MobileNetV1 trunk on 0.96 s patches with channel and spatial attention (CBAM, Woo et al., "
    "ECCV 2018) after each stage; logits of the patches are pooled by log-mean-exp. Two fifths of each logit come "
    "from AudioSet's own classes (the instrument's likeliest one), computed from the same features.",
    "ms_crnn": "MobileNetV3 (mn04) on the whole window; a multi-scale convolution (3, 5, 7) over its columns of "
    "320 ms, a bidirectional GRU and attention pooling per instrument correct the logits of AudioSet's classes, "
    "computed from the same maps.",
}
_MN04 = (
    "From mn04_as (EfficientAT; AudioSet; MIT, Copyright (c) 2022 Florian Schmid and others); every layer was trained."
)
_BEGAN = {
    "passt": _MN04,
    "cbam_cnn": "From the CBAM-CNN of version 0.1.0, which began with YAMNet's weights (AudioSet; Apache-2.0, The "
    "TensorFlow Authors); its last three stages and its heads were trained further.",
    "ms_crnn": _MN04,
}
_LEARNED = (
    "From mixtures of one to four windows of real recordings, songs and unlabelled music, added as powers. The target "
    "of a mixture is the union of what the teachers (the three networks of the round before, and mn04_as unchanged) "
    "recognise in each of its windows separately; known labels override them."
)


@dataclass(frozen=True)
class ClipScores:
    """Clips [n], and a network's probabilities of them [n, 20]."""

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
        """Average precision of every instrument, NaN where it is undefined."""
        return average_precision(self.clips.truth, self.probabilities, self.clips.mask, 1)

    def mistaken(self, instrument: int) -> str:
        """Of the solos of an instrument, how many had another instrument as the most probable, and which most often."""
        solos = self.clips.solo & (self.clips.truth[:, instrument] > 0.5)
        if not solos.any():
            return "–"
        known = np.where(self.clips.mask[solos] > 0, self.probabilities[solos], -np.inf)  # what is unknown may sound
        wrong = Counter(int(c) for c in known.argmax(1) if c != instrument)
        names = ", ".join(f"{DISPLAY_NAMES[INSTRUMENTS[c]]} {n}" for c, n in wrong.most_common(3))
        return f"{wrong.total()} of {solos.sum()}" + (f": {names}" if names else "")


def model_card(
    name: str,
    parameters: int,
    cost: Mapping[float, float],
    provenance: Mapping[str, Any],
    sources: Sequence[Mapping[str, Any]],
    figures: Mapping[str, Any],
    real: ClipScores,
) -> str:
    """Markdown.

    Args:
        name: "passt", "cbam_cnn" or "ms_crnn".
        parameters: how many.
        cost: milliseconds of one core for a window of so many seconds.
        provenance: as the training run recorded it.
        sources: of the bank it learned from: source, licence, package, class.
        figures: of each set of clips, cross-validated.
        real: all clips, with probabilities from a calibration fitted on other recordings.
    """
    recipe = provenance["recipe"]
    mixtures = "--unions" in str(provenance.get("command", ""))  # only then is what follows of them true
    clips = real.clips
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
        "- Input: log-mel float32 [B, 128, T], 32 kHz, hop 10 ms, 2 to 10 s. Output: logits of 20 instruments"
        + (f", then of {len(OTHER_SOUNDS)} other sounds ({', '.join(OTHER_SOUNDS)})." if name != "cbam_cnn" else "."),
        f"- Made on {datetime.date.today().isoformat()} by `python -m training.{name}`, `python -m training.ensemble`.",
        *([f"- {_BEGAN[name]}", f"- {_LEARNED}"] if mixtures else []),
        f"- Recipe: {recipe['steps']} steps of {recipe['batch']} mixtures, learning rate {recipe['lr']:g}, seed "
        f"{recipe['seed']}. {provenance.get('remark', '')}".rstrip(),
        "",
        "## How good it is",
        "",
        f"On {len(clips.files)} clips of {len(np.unique(clips.recording))} recordings that no network was trained on "
        "(calibration and thresholds cross-validated over recordings; the run's length was chosen on them; 95 % "
        "intervals over recordings):",
        "",
        "| clips | mAP | micro-AP | F1 of what is shown | calibration error |",
        "|---|---|---|---|---|",
    ]
    for one, row in figures.items():
        if isinstance(row, Mapping):
            lines.append(
                f"| {one} ({row['clips']}) | {row['mAP']:.3f} ({row['mAP_low']:.3f}–{row['mAP_high']:.3f}) | "
                f"{row['micro_AP']:.3f} | {row['F1_shown']:.3f} | {row['ECE']:.3f} |"
            )
    lines += [
        "",
        "AP is the average precision: 1 where every clip with the instrument has a higher probability than every one "
        "without it.",
        "",
        "| instrument | AP, all clips | clips | solos with a wrong highest score |",
        "|---|---|---|---|",
    ]
    for i, instrument in enumerate(INSTRUMENTS):
        row = [DISPLAY_NAMES[instrument], _figure(real.each[i]), str(int(positives[i])), real.mistaken(i)]
        lines.append(f"| {' | '.join(row)} |")
    lines += [
        "",
        "## Where it fails",
        "",
        "- A third and fourth voice that sound at once are often missed.",
        "- Organ, synthesizer, mandolin and ukulele have few clips to measure on: their quality is uncertain.",
        *(
            ["- Accordion, banjo, mandolin, ukulele, organ and clarinet had few real recordings to train on."]
            * mixtures
        ),
        "- Related instruments are confused most: violin and cello, clarinet and flute, trumpet and trombone, "
        "guitar and ukulele, cymbals and drums.",
        "",
    ]
    if record := provenance.get("trained_on"):
        lines += card_section(record)
    else:
        lines += ["## What it was trained on", "", "The run did not record its data."]
    if sources:
        lines += [
            "",
            "The sources of its bank of sounds, as the bank lists them; `music` has no labels, `distractor` is none of "
            "the 20 instruments:",
            "",
            "| class | source | licence | package |",
            "|---|---|---|---|",
        ]
    rows = {(s["class"].replace("_", " "), s["source"], s["licence"], s["package"]) for s in sources}
    lines += [f"| {' | '.join(row)} |" for row in sorted(rows)]
    return "\n".join([*lines, ""])


def _figure(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "not measured"
