"""Scenes for training, mixed on the fly from phrases (and from real, unlabelled music) as power mels.

A scene is a crop of 2–10 s in which one to six instruments play, enter and leave at random, now and then beside one
that is none of the 20, over noise, through a random microphone, at a random level. A label is 1 where the instrument is
audible, 0 where it is not there, and masked where nobody can say: faint in the mix, a song's other instruments, real
music's all.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.errors import InputFileError
from instrec_live.training.channel import CENTRES, channel, draw_microphone, power_of, sounding
from instrec_live.training.example import Example
from instrec_live.training.scenes.annotation import Annotation, annotate
from instrec_live.training.scenes.plan import POLYPHONY, Cast, Part, draw_parts, draw_stranger

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Scene:
    """A scene and the truth about it.

    Attributes:
        log_mel: float32 [128, T].
        annotation: who is audible when.
        parts: what was planned.
        real: it has real music in it.
    """

    log_mel: FloatArray
    annotation: Annotation
    parts: tuple[Part, ...]
    real: bool


class Phrases:
    """The rendered phrases on disk (see training.phrases).

    Raises:
        InputFileError: there are none, or they are not what the index says.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder.resolve()
        index_file = folder / "index.json"
        if not index_file.is_file():
            raise InputFileError(f"{index_file}: not found", "make it with python -m training.phrases")
        try:
            self.sources = json.loads(index_file.read_text(encoding="utf-8"))["sources"]
            self.mels = np.load(folder / "mels.npy", mmap_mode="r")
            self.cast = Cast([(source["instrument"], source["count"]) for source in self.sources])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputFileError(f"{folder}: no whole set of phrases: {error}", "make it anew") from error
        if len(self.mels) != sum(source["count"] for source in self.sources):
            raise InputFileError(f"{folder}: mels.npy holds not the phrases of index.json", "make it anew")

    def __reduce__(self) -> tuple[type["Phrases"], tuple[Path]]:
        """To a worker that is not forked goes the folder's name: the phrases would go as a copy of all of them."""
        return Phrases, (self.folder,)

    def draw(self, instrument: int, rng: np.random.Generator, frames: int) -> tuple[FloatArray, bool]:
        """Mel powers [128, frames] of this instrument's playing, and whether it is from a song.

        Shorter than a phrase, it is an excerpt of one; longer, phrases of one source follow each other.
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
    """An endless supply of scenes; everything random comes from the rng that is given.

    Args:
        phrases: where the instruments come from.
        music: log-mels float16 [N, 128, 1000] of real music without labels, or None.
        music_share: how many scenes are real music (some of them with an instrument laid on top).
        polyphony: chances of 0, 1, … instruments.
        strangers: in how many scenes one joins that is none of the 20, if the phrases have any.
    """

    def __init__(
        self,
        phrases: Phrases,
        music: NDArray[np.float16] | None = None,
        music_share: float = 0.25,
        polyphony: tuple[float, ...] = POLYPHONY,
        strangers: float = 0.0,
    ) -> None:
        self.phrases, self.music = phrases, music
        self.music_share = music_share if music is not None else 0.0
        self.polyphony = np.array(polyphony) / sum(polyphony)
        self.strangers = strangers

    def __getstate__(self) -> dict[str, Any]:
        """To a worker that is not forked, music on disk goes as its file's name, like the phrases."""
        on_disk = isinstance(self.music, np.memmap) and self.music.filename is not None
        return self.__dict__ | ({"music": Path(self.music.filename)} if on_disk else {})

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if isinstance(self.music, Path):
            self.music = np.load(self.music, mmap_mode="r")

    def example(self, index: int, rng: np.random.Generator, frames: int) -> Example:
        """A scene of `frames` frames (10 ms), whatever its number; see `Supply`."""
        scene = self.scene(rng, frames)
        return Example(scene.log_mel, scene.annotation.labels, scene.annotation.mask, scene.real)

    def scene(self, rng: np.random.Generator, frames: int) -> Scene:
        """A scene through its channel."""
        power, annotation, parts, real = self.mix(rng, frames)
        return Scene(channel(power, rng), annotation, parts, real)

    def mix(self, rng: np.random.Generator, frames: int) -> tuple[FloatArray, Annotation, tuple[Part, ...], bool]:
        """The bare mix, float32 [128, frames] mel powers; its truth, its parts, whether there is real music in it."""
        real = rng.random() < self.music_share
        mix = self._excerpt(rng, frames) if real else np.zeros((128, frames), np.float32)
        count = int(rng.random() < 0.3) if real else int(rng.choice(len(self.polyphony), p=self.polyphony))
        parts = draw_parts(rng, frames, self.phrases.cast.chances, count)
        loudest, powers, known = float(mix.sum(0).mean()) if real else 0.0, [], not real
        for part in (*parts, *draw_stranger(rng, frames, self.phrases.cast, self.strangers)):
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
