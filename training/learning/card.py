"""The model card that ships with a bundle."""

import datetime
import re
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

# By name and by the size or trunk of its configuration.
_WHAT = {
    ("passt", "tiny"): "PaSST, a patchout audio transformer (Koutini et al., Interspeech 2022): hear21passt's class, "
    "192 wide, 4 blocks. Its patches are cut from the maps of MobileNetV3 (mn04) on 0.96 s of log-mel; the transformer "
    "corrects the logits of AudioSet's classes, computed from the maps of each patch and pooled by log-mean-exp.",
    ("passt", "passt_s"): "PaSST-S, a patchout audio transformer (Koutini et al., Interspeech 2022): hear21passt's "
    "class, 768 wide, 12 blocks.",
    ("cbam_cnn", "mobilenet"): "A MobileNetV1 trunk on 0.96 s patches with channel and spatial attention (CBAM, Woo et "
    "al., ECCV 2018) after each stage; logits of the patches are pooled by log-mean-exp.",
    ("cbam_cnn", "resnet"): "A ResNet-like trunk with channel and spatial attention (CBAM, Woo et al., ECCV 2018); "
    "logits of the steps in time are pooled by log-mean-exp.",
    ("cbam_cnn", "paper"): "The CBAM-CNN of Özel & İskender's notebooks.",
    ("ms_crnn", "small"): "MobileNetV3 (mn04) on the whole window; a multi-scale convolution (3, 5, 7) over its "
    "columns of 320 ms, a bidirectional GRU and attention pooling per instrument correct the logits of AudioSet's "
    "classes, computed from the same maps: half for the whole window, half for its parts of 0.96 s, pooled by "
    "log-mean-exp.",
    ("ms_crnn", "paper"): "The MS-CRNN of Özel & İskender's notebooks.",
}
_MN04 = "mn04_as (EfficientAT; AudioSet; MIT, Copyright (c) 2022 Florian Schmid and others)"
_FOUNDATION = {
    ("passt", "tiny"): _MN04,
    ("cbam_cnn", "mobilenet"): "YAMNet (AudioSet; Apache-2.0, The TensorFlow Authors)",
    ("ms_crnn", "small"): _MN04,
}
_DEFAULT = {"passt": "tiny", "cbam_cnn": "mobilenet", "ms_crnn": "small"}
_LEARNED = (
    "It learned from mixtures of one to four windows, added as powers. The target of a mixture is the union of what "
    "the teachers recognise in each of its windows separately; known labels override them."
)
_FEW = 10  # clips with an instrument, below which its figures are uncertain


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
        wrong = self._wrong(instrument)
        names = ", ".join(f"{DISPLAY_NAMES[INSTRUMENTS[c]]} {n}" for c, n in wrong.most_common(3))
        return f"{wrong.total()} of {solos.sum()}" + (f": {names}" if names else "")

    def confusions(self) -> list[str]:
        """The pairs of instruments of which one was the most probable in a solo of the other, the most frequent first,
        five at most."""
        pairs: Counter[tuple[str, ...]] = Counter()
        for i, name in enumerate(INSTRUMENTS):
            for c, n in self._wrong(i).items():
                pairs[tuple(sorted((DISPLAY_NAMES[name], DISPLAY_NAMES[INSTRUMENTS[c]])))] += n
        return [" and ".join(pair) for pair, n in pairs.most_common(5) if n > 1]

    def _wrong(self, instrument: int) -> Counter[int]:
        """Of the solos of an instrument, how many had which other instrument as the most probable."""
        solos = self.clips.solo & (self.clips.truth[:, instrument] > 0.5)
        known = np.where(self.clips.mask[solos] > 0, self.probabilities[solos], -np.inf)  # what is unknown may sound
        return Counter(int(c) for c in known.argmax(1) if c != instrument)


def model_card(
    name: str,
    parameters: int,
    outputs: int,
    cost: Mapping[float, float],
    provenance: Mapping[str, Any],
    sources: Sequence[Mapping[str, Any]],
    figures: Mapping[str, Any],
    real: ClipScores,
) -> str:
    """Markdown.

    Args:
        name: "passt", "cbam_cnn" or "ms_crnn".
        parameters: how many. outputs: how many logits.
        cost: milliseconds of one core for a window of so many seconds.
        provenance: as the training run recorded it.
        sources: of the bank it learned from, see `sources_of`.
        figures: of each set of clips, cross-validated.
        real: all clips, with probabilities from a calibration fitted on other recordings.
    """
    recipe = provenance["recipe"]
    clips = real.clips
    positives = (clips.truth * clips.mask).sum(0)
    lines = [
        f"# {name}",
        "",
        _what(name, recipe["network"]),
        "",
        f"- Parameters: {parameters:,}",
        "- Cost: "
        + ", ".join(f"{ms:.0f} ms for {seconds:g} s" for seconds, ms in cost.items())
        + f" (one core of {processor()}, ONNX Runtime).",
        "- Input: log-mel float32 [B, 128, T], 32 kHz, hop 10 ms, 2 to 10 s. Output: logits of 20 instruments"
        + (
            f", then of {len(OTHER_SOUNDS)} other sounds ({', '.join(OTHER_SOUNDS)})." * (outputs > len(INSTRUMENTS))
            or "."
        ),
        f"- Made on {datetime.date.today().isoformat()} by `python -m training.{name}`, `python -m training.ensemble`.",
        *(_how_it_learned(name, recipe["network"]) if learned_mixtures(provenance) else []),
        f"- Recipe: {recipe['steps']} steps of {recipe['batch']} examples, learning rate {recipe['lr']:g}, seed "
        f"{recipe['seed']}.{_kept(str(provenance.get('command', '')))} {provenance.get('remark', '')}".rstrip(),
        "",
        "## How good it is",
        "",
        f"On {len(clips.files)} clips of {len(np.unique(clips.recording))} recordings"
        + " that it was not trained on" * ("trained_on" in provenance)
        + " (calibration and thresholds cross-validated over recordings; 95 % intervals over recordings):",
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
    lines += ["", "## Where it fails", ""]
    if learned_mixtures(provenance):
        lines.append("- A third and fourth voice that sound at once are often missed.")
    if confused := real.confusions():
        lines.append(f"- Most often confused in solos: {', '.join(confused)}.")
    few = [DISPLAY_NAMES[name] for name, count in zip(INSTRUMENTS, positives.tolist(), strict=True) if count < _FEW]
    if few:
        lines.append(f"- Fewer than {_FEW} clips have {', '.join(few)}: of these, the quality is uncertain.")
    lines += ["", *card_section(provenance)]
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


def learned_mixtures(provenance: Mapping[str, Any]) -> bool:
    """Whether a run learned from the mixtures of a bank."""
    return "--unions" in str(provenance.get("command", ""))


def sources_of(provenance: Mapping[str, Any], bank: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """The sources of a bank that a run learned from, by its record: source, licence, package, class of each."""
    if not learned_mixtures(provenance):
        return []
    record = provenance.get("trained_on")
    names = None if record is None else {each["name"] for each in record["data"]}
    return [row for row in bank if names is None or f"mixtures of {row['source']}" in names]


def _kept(command: str) -> str:
    """How much of the result is the initial weights, by the command's --keep."""
    keep = re.search(r"--keep[ =]([\d.]+)", command)
    return f" The final weights are {float(keep[1]):.0%} the initial ones, and the rest this run's." if keep else ""


def _how_it_learned(name: str, config: Mapping[str, Any]) -> list[str]:
    foundation = _FOUNDATION.get(_kind(name, config))
    return [*([f"- Its first weights were those of {foundation}."] if foundation else []), f"- {_LEARNED}"]


def _kind(name: str, config: Mapping[str, Any]) -> tuple[str, str]:
    return name, str(config.get("size", config.get("trunk", _DEFAULT[name])))


def _what(name: str, config: Mapping[str, Any]) -> str:
    what = _WHAT[_kind(name, config)]
    if weight := config.get("audioset_weight"):
        what += f" {weight:.0%} of each logit comes from AudioSet's own classes, computed from the same features."
    return what


def _figure(value: float) -> str:
    return f"{value:.2f}" if np.isfinite(value) else "not measured"
