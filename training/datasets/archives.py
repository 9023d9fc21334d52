"""What is published, and where: OpenMIC-2018, NSynth and IRMAS.

Checksums are the publishers' (Zenodo) and, for NSynth, those of the HEAR benchmark's task configurations. Sizes and
numbers of files are approximate, but for NSynth's total of 25,233,566,634 bytes; IRMAS's are reckoned from its
durations. They say how much disk is wanted, and far beyond them a file is refused.
"""

from collections.abc import Mapping
from dataclasses import dataclass

_ZENODO = "https://zenodo.org/records/{}/files/{}?download=1"
_NSYNTH = "http://download.magenta.tensorflow.org/datasets/nsynth/{}"  # its host has no certificate: the md5 must do


@dataclass(frozen=True)
class Archive:
    """One published file.

    Attributes:
        file: its name.
        url: where it is.
        checksum: "md5:…".
        folder: what it is unpacked to.
        size: bytes, approximately.
        growth: bytes of content per byte of archive, approximately.
        members: files and folders in it, approximately.
    """

    file: str
    url: str
    checksum: str
    folder: str
    size: int
    growth: float
    members: int


@dataclass(frozen=True)
class DataSet:
    """A data set: its title, home page, licence in one line, and its archives by part."""

    title: str
    page: str
    licence: str
    parts: Mapping[str, Archive]


def _nsynth(split: str, md5: str, size: int, notes: int) -> Archive:
    file = f"nsynth-{split}.jsonwav.tar.gz"
    # 4 s of 16 bit at 16 kHz a note, 128 kB, of which 85 kB are left in the archive.
    return Archive(file, _NSYNTH.format(file), f"md5:{md5}", f"nsynth-{split}", size, 1.6, notes)


def _irmas(part: str, md5: str, size: int, files: int) -> Archive:
    file = f"IRMAS-{part}.zip"
    return Archive(file, _ZENODO.format(1290750, file), f"md5:{md5}", f"IRMAS-{part}", size, 1.2, files)


_OPENMIC = "openmic-2018-v1.0.0.tgz"

DATA_SETS: dict[str, DataSet] = {
    "openmic": DataSet(
        "OpenMIC-2018 (Humphrey, Durand and McFee, 2018)",
        "https://zenodo.org/records/1432913",
        "Labels and features: CC BY 4.0, Spotify AB. The clips come from the Free Music Archive, each under its own "
        "Creative Commons licence, some of them non-commercial or without derivatives (see openmic-2018-metadata.csv).",
        {
            "all": Archive(
                file=_OPENMIC,
                url=_ZENODO.format(1432913, _OPENMIC),
                checksum="md5:e4ccf187e2bb5ab2e115416e8aafe7f4",
                folder="openmic-2018",
                size=2_600_000_000,
                growth=1.5,  # the clips do not shrink, the features do
                members=45_000,
            )
        },
    ),
    "nsynth": DataSet(
        "NSynth (Engel et al., 2017)",
        "https://magenta.tensorflow.org/datasets/nsynth",
        "CC BY 4.0, Google Inc.",
        {
            "train": _nsynth("train", "fde6665a93865503ba598b9fac388660", 23_800_000_000, 289_205),
            "valid": _nsynth("valid", "87e94a00a19b6dbc99cf6d4c0c0cae87", 1_080_000_000, 12_678),
            "test": _nsynth("test", "5e6f8719bf7e16ad0a00d518b78af77d", 349_500_000, 4_096),
        },
    ),
    "irmas": DataSet(
        "IRMAS (Bosch, Janer, Fuhrmann and Herrera, 2012)",
        "https://zenodo.org/records/1290750",
        "CC BY-NC-SA 3.0, Music Technology Group, Universitat Pompeu Fabra: not for commercial use, nor are networks "
        "pretrained on it.",
        {
            "train": _irmas("TrainingData", "4fd9f5ed5a18d8e2687e6360b5f60afe", 3_200_000_000, 6_720),
            "test1": _irmas("TestingData-Part1", "5a2e65520dcedada565dff2050bb2a56", 2_700_000_000, 1_920),
            "test2": _irmas("TestingData-Part2", "afb0c8ea92f34ee653693106be95c895", 2_700_000_000, 1_920),
            "test3": _irmas("TestingData-Part3", "9b3fb2d0c89cdc98037121c25bd5b556", 2_700_000_000, 1_920),
        },
    ),
}
