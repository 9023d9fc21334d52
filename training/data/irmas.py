"""IRMAS: predominant instruments in recorded music, 11 classes (Bosch, Janer, Fuhrmann, Herrera, ISMIR 2012).

The training part is 6,705 excerpts of 3 s, each labelled with its one predominant instrument; others are
unknown. The test part is 2,874 excerpts of 5 to 20 s, each with all its predominant instruments. Its licence is
CC BY-NC-SA 3.0: networks trained on it must not be used commercially.
"""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.arrays import StringArray
from instrec_live.models.errors import InputFileError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.training.data.table import Table

# IRMAS' own classes, in their order, and our instrument for each: acoustic and electric guitar are both guitars.
CLASSES: dict[str, str] = {
    "cel": "cello", "cla": "clarinet", "flu": "flute", "gac": "guitar", "gel": "guitar", "org": "organ",
    "pia": "piano", "sax": "saxophone", "tru": "trumpet", "vio": "violin", "voi": "voice",
}  # fmt: skip
TRAIN_COUNTS: dict[str, int] = {
    "cel": 388, "cla": 505, "flu": 451, "gac": 637, "gel": 760, "org": 682,
    "pia": 721, "sax": 626, "tru": 577, "vio": 580, "voi": 778,
}  # fmt: skip
TEST_COUNT = 2_874
LICENCE = "CC BY-NC-SA 3.0"
# [cla][cla]0189__2.wav, [sax][nod][jaz_blu]1701__2.wav, 008__[cel][nod][cla]0058__1.wav
_NAME = re.compile(r"(?:\d+_*)?((?:\[\w+\])+)(\d+)__\d+")


@dataclass(frozen=True, eq=False)
class IrmasTrain:
    """The training part.

    Attributes:
        table: n clips with the label of the predominant instrument, all others masked; group the recording.
        classes: int64 [n], index into CLASSES.
        genre: str [n], "cou_fol", "cla", "pop_roc", "lat_sou", "jaz_blu", or "" if the name has none.
        drums: str [n], "dru" with, "nod" without, "" if the name has neither.
    """

    table: Table
    classes: NDArray[np.int64]
    genre: StringArray
    drums: StringArray


def read_irmas_train(folder: Path, *, subset: bool = False) -> IrmasTrain:
    """Read the labels in the folder and file names of IRMAS-TrainingData; split "train" throughout.

    Args:
        folder: holds the 11 class folders, or a folder IRMAS-TrainingData that does.
        subset: accept counts other than the published ones.

    Raises:
        InputFileError: a class is missing, a file's name is none of IRMAS' or names another class than its folder, or
            the counts are not the published ones.
    """
    folder = folder / "IRMAS-TrainingData" if (folder / "IRMAS-TrainingData").is_dir() else folder
    paths: list[Path] = []
    parts: list[tuple[int, str, str, str]] = []  # class, genre, drums, recording
    for index, code in enumerate(CLASSES):
        files = _wavs(folder / code)
        if not files and not (subset and (folder / code).is_dir()):
            raise InputFileError(f"{folder / code}: no .wav files", "give the folder that holds the 11 class folders")
        if not subset and len(files) != TRAIN_COUNTS[code]:
            raise InputFileError(f"{folder / code}: {len(files)} excerpts, not the published {TRAIN_COUNTS[code]}")
        paths += files
        parts += [(index, *_parts_of(path, code)) for path in files]
    if not paths:
        raise InputFileError(f"{folder}: no .wav files in the class folders")
    classes = np.array([part[0] for part in parts], np.int64)
    labels = np.zeros((len(paths), len(INSTRUMENTS)), np.float32)
    ours = np.array([INSTRUMENTS.index(name) for name in CLASSES.values()])
    labels[np.arange(len(paths)), ours[classes]] = 1
    group = np.array([f"irmas {part[3]}" for part in parts], np.str_)
    n = len(paths)
    table = Table(
        tuple(paths), np.full(n, "irmas-train"), group, np.full(n, "train"), labels, labels.copy(),
        licence=np.full(n, LICENCE),
    )  # fmt: skip
    return IrmasTrain(table, classes, *(np.array([part[i] for part in parts], np.str_) for i in (1, 2)))


def read_irmas_test(folder: Path, *, subset: bool = False) -> Table:
    """Read the label file of each excerpt of the test parts; all are of the split "test".

    Args:
        folder: holds the parts, IRMAS-TestingData-Part1 to 3, or is one of them.
        subset: accept another number of excerpts than the published 2,874.

    Returns:
        Clips whose labels are known for the ten instruments that IRMAS has, and masked for the others; source
        "irmas-test", group the recording in the name.

    Raises:
        InputFileError: an excerpt without label file or a label file without excerpt, an unknown class, no label at
            all, or not the published number.
    """
    found = sorted(folder.glob("IRMAS-TestingData-Part*")) or [folder]
    paths = [path for part in found for path in _wavs(part)]
    for text in (text for part in found for text in sorted(part.rglob("*.txt"))):
        if not text.with_suffix(".wav").is_file() and text.stem.lower() != "readme":
            raise InputFileError(f"{text}: its excerpt {text.stem}.wav is missing")
    if not paths:
        raise InputFileError(f"{folder}: no .wav files", "give the folder that holds IRMAS-TestingData-Part1 to 3")
    if not subset and len(paths) != TEST_COUNT:
        raise InputFileError(
            f"{folder}: {len(paths)} excerpts, not the published {TEST_COUNT}",
            "the kind irmas-test-subset accepts fewer",
        )
    labels = np.zeros((len(paths), len(INSTRUMENTS)), np.float32)
    for i, path in enumerate(paths):
        labels[i, [INSTRUMENTS.index(CLASSES[code]) for code in _codes_of(path.with_suffix(".txt"))]] = 1
    mask = np.zeros_like(labels)
    mask[:, [INSTRUMENTS.index(name) for name in CLASSES.values()]] = 1
    group = np.array([f"irmas-test {recording_of(path.stem)}" for path in paths], np.str_)
    n = len(paths)
    return Table(
        tuple(paths), np.full(n, "irmas-test"), group, np.full(n, "test"), labels, mask, licence=np.full(n, LICENCE)
    )


def recording_of(name: str) -> str:
    """The recording that a test excerpt is from: "(02) dont kill the whale-1" → "(02) dont kill the whale"."""
    return re.sub(r"\s*-\s*\d+$", "", name)


def _wavs(folder: Path) -> list[Path]:
    """Without the shadow files that one system leaves in zip archives."""
    return [path for path in sorted(folder.rglob("*.wav")) if not path.name.startswith("._")]


def _parts_of(path: Path, code: str) -> tuple[str, str, str]:
    """Genre, drums and recording from a training file's name."""
    match = _NAME.fullmatch(path.stem)
    if not match:
        raise InputFileError(f"{path}: not a name of IRMAS' training data, such as [cla][nod][jaz_blu]0189__2.wav")
    tag, *others = re.findall(r"\[(\w+)\]", match[1])
    if tag != code:
        raise InputFileError(f"{path}: its name says {tag}, its folder {code}")
    drums = next((other for other in others if other in ("dru", "nod")), "")
    genre = next((other for other in others if other not in ("dru", "nod")), "")
    return genre, drums, match[2]


def _codes_of(path: Path) -> list[str]:
    """The classes in a label file: one a line, with a tab behind it."""
    if not path.is_file():
        raise InputFileError(f"{path}: not found, though its excerpt is there")
    codes = [line.strip() for line in path.read_text(encoding="latin-1").splitlines() if line.strip()]
    for code in codes:
        if code not in CLASSES:
            raise InputFileError(f"{path}: unknown instrument {code!r}")
    if not codes:
        raise InputFileError(f"{path}: no label in it")
    return codes
