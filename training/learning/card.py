"""The model card that ships with a bundle."""

import datetime
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.instruments import DISPLAY_NAMES, INSTRUMENTS
from instrec_live.training.datasets.clips import Clips
from instrec_live.training.datasets.sounds import HELD_OUT_SOURCES
from instrec_live.training.evaluation.bootstrap import interval, resamples
from instrec_live.training.evaluation.metrics import average_precision, mean_average_precision, top1

FloatArray = NDArray[np.float32]

_WHAT = {
    "passt": "PaSST, a patchout audio transformer (Koutini et al., Interspeech 2022): hear21passt's class, 192 wide, "
    "6 blocks, its patches (160 ms by a quarter of the band) made by YAMNet's first eleven separable convolutions, the "
    "mean of all patches to the head.",
    "cbam_cnn": "A MobileNetV1 trunk on 0.96 s patches with channel and spatial attention (CBAM, Woo et al., "
    "ECCV 2018) after each stage; logits of the patches are pooled by log-mean-exp.",
    "ms_crnn": "YAMNet's first eleven separable convolutions, a multi-scale convolution (3, 5, 7) over their columns "
    "of 160 ms, a bidirectional GRU, attention pooling per instrument.",
}
_STUDENT = (
    "From YAMNet's weights in its first layers (AudioSet; Apache-2.0, The TensorFlow Authors), which stay as they are, "
    "and random ones above; learned from exact labels of scenes, and on all sound from a teacher: the CBAM-CNN with "
    "YAMNet's whole trunk frozen under a trained head."
)
_BEGAN = {
    "passt": _STUDENT,
    "cbam_cnn": "From YAMNet's weights (AudioSet; Apache-2.0, The TensorFlow Authors); the result lies between those "
    "and the fine-tuned ones.",
    "ms_crnn": _STUDENT,
}


def interval_of_mean(clips: Clips, probabilities: FloatArray) -> tuple[float, float]:
    """95 % percentile bootstrap of masked mAP over recordings."""
    weights = resamples(clips.recording, 200)
    draws = np.nanmean(average_precision(clips.truth, probabilities, clips.mask, weights=weights), axis=1)
    low, high = interval(draws)
    return float(low), float(high)


def model_card(
    name: str,
    parameters: int,
    recipe: Mapping[str, Any],
    sources: Sequence[Mapping[str, Any]],
    clips: Clips,
    probabilities: FloatArray,
    new_timbres: float | None,
) -> str:
    """Markdown.

    Args:
        name: "passt", "cbam_cnn" or "ms_crnn".
        parameters: how many.
        recipe: as the training run recorded it.
        sources: rows of the phrases' index: instrument, source, kind, licence, package, count.
        clips: the validation clips.
        probabilities: of each, from a calibration fitted on other recordings, [n, 20].
        new_timbres: masked mAP on scenes of the held-out timbres, or None.
    """
    figure = mean_average_precision(clips.truth, probabilities, clips.mask)
    low, high = interval_of_mean(clips, probabilities)
    per_class = average_precision(clips.truth, probabilities, clips.mask, 1)
    positives = (clips.truth * clips.mask).sum(0)
    lines = [
        f"# {name}",
        "",
        _WHAT[name],
        "",
        f"- Parameters: {parameters:,}",
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
        f"- masked mAP **{figure:.3f}** (95 % interval {low:.3f}–{high:.3f}), "
        f"top-1 on solos {top1(clips.truth, probabilities, clips.solo):.3f}",
    ]
    if new_timbres is not None:
        lines.append(f"- masked mAP on scenes of held-out timbres ({', '.join(HELD_OUT_SOURCES)}): {new_timbres:.3f}")
    lines += ["", "| instrument | average precision | positive clips |", "|---|---|---|"]
    for i, instrument in enumerate(INSTRUMENTS):
        value = f"{per_class[i]:.2f}" if np.isfinite(per_class[i]) else "not measured"
        lines.append(f"| {DISPLAY_NAMES[instrument]} | {value} | {int(positives[i])} |")
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
        "Only freely licensed sound. Phrases per instrument and source:",
        "",
        "| instrument | source | licence | package | phrases |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {DISPLAY_NAMES[s['instrument']]} | {s['source']} | {s['licence']} | {s['package']} | {s['count']} |"
        for s in sources
    ]
    lines += ["", "Real music without labels, for imitation only: the music of free games in Debian "
              "(0ad, fretsonfire-songs-muldjord, fretsonfire-songs-sectoid, gcompris-qt-data, hedgewars-data, "
              "hyperrogue-music, lincity-ng-data, marsshooter-data, megaglest-data, performous, planetblupi-music-ogg, "
              "singularity-music, supertux-data, supertuxkart-data, unknown-horizons, wesnoth, widelands-data, "
              "xmoto-data, freecol, flare-game, naev-data, berusky2-data, colobot-common-sounds, freedroidrpg-data, "
              "lordsawar-data, extremetuxracer-data, starfighter-data, warzone2100-music; GPL, CC-BY, CC-BY-SA, MIT "
              "and GFDL as their copyright files say).", ""]  # fmt: skip
    return "\n".join(lines)
