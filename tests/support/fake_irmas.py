"""IRMAS in small: the layout of the real archives, real wav files in them, made-up music."""

import io
import zipfile
from pathlib import Path

import numpy as np
import soundfile
from fake_openmic import RATE, music

OURS = {
    "cel": "cello", "cla": "clarinet", "flu": "flute", "gac": "guitar", "gel": "guitar", "org": "organ",
    "pia": "piano", "sax": "saxophone", "tru": "trumpet", "vio": "violin", "voi": "voice",
}  # fmt: skip
GENRES = ("cou_fol", "cla", "pop_roc", "lat_sou", "jaz_blu")
README = "README.txt"


def write_fake_irmas_train(to: Path, recordings: int = 2, seconds: float = 3.0, seed: int = 0) -> Path:
    """Write IRMAS-TrainingData.zip into folder `to`: of each class so many recordings, two excerpts from each. Their
    names come in all the ways that the real ones do. Returns its path."""
    rng = np.random.default_rng(seed)
    archive = to / "IRMAS-TrainingData.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as pack:
        pack.writestr(f"IRMAS-TrainingData/{README}", "Made-up excerpts in the layout of IRMAS.\n")
        for c, (code, instrument) in enumerate(OURS.items()):
            for k in range(recordings):
                genre, number = GENRES[(c + k) % len(GENRES)], f"{10 * c + k + 1:04d}"
                tags = (f"[{code}][{genre}]", f"[{code}][nod][{genre}]", f"[{code}][dru][{genre}]")[k % 3]
                prefix = f"{number[1:]}__" if c % 4 == 0 else ""
                for excerpt in (1, 2):
                    name = f"IRMAS-TrainingData/{code}/{prefix}{tags}{number}__{excerpt}.wav"
                    sound = music([instrument], seconds, rng)
                    if code == "gel":  # an electric guitar is a guitar with something of its own
                        sound = np.clip(4 * sound, -0.25, 0.25)
                    pack.writestr(name, wav(sound))
    return archive


def write_fake_irmas_test(to: Path, part: int = 1, recordings: int = 4, seconds: float = 5.0, seed: int = 0) -> Path:
    """Write IRMAS-TestingData-Part<part>.zip into folder `to`: so many recordings of one to three instruments, two
    excerpts from each. Returns its path."""
    rng = np.random.default_rng([seed, part])
    archive = to / f"IRMAS-TestingData-Part{part}.zip"
    root = f"IRMAS-TestingData-Part{part}"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as pack:
        pack.writestr(f"{root}/{README}", "Made-up excerpts in the layout of IRMAS.\n")
        for k in range(recordings):
            codes = [list(OURS)[(3 * part + k) % 11], *rng.choice(list(OURS), rng.integers(0, 3))]
            codes = list(dict.fromkeys(str(code) for code in codes))
            for excerpt in (1, 2):
                name = f"{root}/Part{part}/({k + 1:02d}) song no. {part} {k} - live-{excerpt}"
                pack.writestr(f"{name}.wav", wav(music([OURS[code] for code in codes], seconds, rng)))
                pack.writestr(f"{name}.txt", "".join(f"{code}\t\n" for code in codes))
    return archive


def wav(sound: np.ndarray) -> bytes:
    """The bytes of a 16-bit wav file at 44.1 kHz."""
    file = io.BytesIO()
    soundfile.write(file, sound, RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()
