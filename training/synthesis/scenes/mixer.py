"""Training scenes, mixed on the fly from phrases (and from real, unlabelled music) as power mels.

In a scene of 2–10 s one to six instruments play, enter and leave at random, sometimes with a distractor that is none of
the 20, over noise, through a random microphone, at a random level. A label is 1 if the instrument is audible, 0 if it
is absent, and masked if that is unknown: when it is faint in the mix, for other instruments of a song, and for real
music.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.arrays import FloatArray
from instrec_live.models.errors import InputFileError
from instrec_live.training.example import Example
from instrec_live.training.synthesis.channel import CENTRES, channel, draw_microphone, power_of, sounding
from instrec_live.training.synthesis.scenes.plan import (
    POLYPHONY,
    Annotation,
    Cast,
    Part,
    annotate,
    draw_distractor,
    draw_parts,
)


@dataclass(frozen=True, slots=True)
class Scene:
    """A scene and its annotation.

    Attributes:
        log_mel: float32 [128, T].
        annotation: labels and activity.
        parts: the plan.
        real: it contains real music.
    """

    log_mel: FloatArray
    annotation: Annotation
    parts: tuple[Part, ...]
    real: bool


class Phrases:
    """The rendered phrases on disk (see training.synthesis.phrases).

    Raises:
        InputFileError: there are none, or they do not match the index.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        index_file = folder / "index.json"
        if not index_file.is_file():
            raise InputFileError(f"{index_file}: not found", "make it with python -m training.synthesis.phrases")
        try:
            self.sources = json.loads(index_file.read_text(encoding="utf-8"))["sources"]
            self.mels = np.load(folder / "mels.npy", mmap_mode="r")
            self.cast = Cast([(source["instrument"], source["count"]) for source in self.sources])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputFileError(f"{folder}: not a complete set of phrases: {error}", "make it again") from error
        if len(self.mels) != sum(source["count"] for source in self.sources):
            raise InputFileError(f"{folder}: mels.npy does not match index.json", "make it again")

    def __reduce__(self) -> tuple[type["Phrases"], tuple[Path]]:
        """Pickle the folder's name only: a worker that is not forked opens the file itself."""
        return Phrases, (self.folder,)

    def draw(self, instrument: int, rng: np.random.Generator, frames: int) -> tuple[FloatArray, bool]:
        """Mel powers [128, frames] of this instrument, and whether they are from a song.

        An excerpt of a phrase, or several phrases of one source in sequence if `frames` is longer.
        """
        source = self.sources[self.cast.source(instrument, rng)]
        pieces, missing = [], frames
        while missing > 0:
            phrase = self.mels[source["first"] + int(rng.integers(source["count"]))]
            begin = int(rng.integers(0, max(0, phrase.shape[1] - missing) + 1))
            pieces.append(power_of(phrase[:, begin : begin + missing]))
            missing -= pieces[-1].shape[1]
        return (pieces[0] if len(pieces) == 1 else np.concatenate(pieces, 1)), source["kind"] == "song"


class Scenes:
    """An unlimited supply of scenes; all randomness comes from the given rng.

    Args:
        phrases: of the instruments.
        music: log-mels float16 [N, 128, 1000] of real music without labels, or None.
        music_share: share of scenes that are real music (some of them with an instrument added).
        polyphony: probabilities of 0, 1, … instruments.
        distractors: share of scenes with a distractor, if the phrases have any.
    """

    def __init__(
        self,
        phrases: Phrases,
        music: NDArray[np.float16] | None = None,
        music_share: float = 0.25,
        polyphony: tuple[float, ...] = POLYPHONY,
        distractors: float = 0.0,
    ) -> None:
        self.phrases, self.music = phrases, music
        self.music_share = music_share if music is not None else 0.0
        self.polyphony = np.array(polyphony) / sum(polyphony)
        self.distractors = distractors

    def __getstate__(self) -> dict[str, Any]:
        """Pickle memory-mapped music as its file name, like the phrases."""
        if isinstance(self.music, np.memmap) and self.music.filename is not None:
            return self.__dict__ | {"music": Path(self.music.filename)}
        return self.__dict__

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if isinstance(self.music, Path):
            self.music = np.load(self.music, mmap_mode="r")

    def example(self, index: int, rng: np.random.Generator, frames: int) -> Example:
        """A scene of `frames` frames (10 ms); it does not depend on `index`. See `Supply`."""
        scene = self.scene(rng, frames)
        return Example(scene.log_mel, scene.annotation.labels, scene.annotation.mask, scene.real)

    def scene(self, rng: np.random.Generator, frames: int) -> Scene:
        """A scene, through a random channel."""
        power, annotation, parts, real = self.mix(rng, frames)
        return Scene(channel(power, rng), annotation, parts, real)

    def mix(self, rng: np.random.Generator, frames: int) -> tuple[FloatArray, Annotation, tuple[Part, ...], bool]:
        """The mix before the channel, float32 [128, frames] mel powers; its annotation, parts, and whether it contains
        real music."""
        real = rng.random() < self.music_share
        mix = self._excerpt(rng, frames) if real else np.zeros((128, frames), np.float32)
        count = int(rng.random() < 0.3) if real else int(rng.choice(len(self.polyphony), p=self.polyphony))
        parts = draw_parts(rng, frames, self.phrases.cast.chances, count)
        loudest, powers, known = float(mix.sum(0).mean()) if real else 0.0, [], not real
        for part in (*parts, *draw_distractor(rng, frames, self.phrases.cast, self.distractors)):
            power, song = self._part(part, rng, frames)
            powers.append(power.sum(0))
            loudest, known = max(loudest, sounding(powers[-1])), known and not song
            mix += power
        return mix, annotate([p.instrument for p in parts], powers[: len(parts)], frames, loudest, known), parts, real

    def _part(self, part: Part, rng: np.random.Generator, frames: int) -> tuple[FloatArray, bool]:
        """Mel powers [128, frames] of a part, and whether it is from a song."""
        stop = min(frames, part.offset + part.release)
        phrase, song = self.phrases.draw(part.instrument, rng, stop - part.onset)
        if rng.random() < 0.5:
            phrase *= draw_microphone(rng).gain(CENTRES).astype(np.float32)[:, None]
        power = np.zeros((128, frames), np.float32)
        power[:, part.onset : stop] = phrase * part.envelope(frames)[part.onset : stop]
        return power, song

    def _excerpt(self, rng: np.random.Generator, frames: int) -> FloatArray:
        assert self.music is not None
        clip = self.music[int(rng.integers(len(self.music)))]
        start = int(rng.integers(0, clip.shape[1] - frames + 1))
        return power_of(clip[:, start : start + frames])
