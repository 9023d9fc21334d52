"""Download a public data set, verify it and unpack it.

    python -m training.data get openmic
    python -m training.data get nsynth --part test --to data
    python -m training.data get irmas --from /media/stick

Existing folders are not fetched again, and interrupted downloads resume. The folders are printed on stdout, everything
else on stderr.

Checksums are the publishers' (Zenodo) and, for NSynth, those of the HEAR benchmark's task configurations. Sizes and
numbers of files are approximate; they determine the disk space needed, and limits beyond which a file is refused.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.fetch.download import download, format_size, progress_bar, verify
from instrec_live.training.data.extract import extract

_ZENODO = "https://zenodo.org/records/{}/files/{}?download=1"
_NSYNTH = "http://download.magenta.tensorflow.org/datasets/nsynth/{}"  # no certificate; the md5 must do


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
                growth=1.5,  # the clips do not compress, the features do
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


_SLACK = 2  # limit, as a multiple of the published size, number of files or content


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.data get",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(f"{name}: {', '.join(known.parts)}; {known.page}" for name, known in DATA_SETS.items()),
    )
    parser.add_argument("name", choices=tuple(DATA_SETS))
    parser.add_argument(
        "--to", type=Path, default=Path("data"), metavar="DIR", help="folder to put the data set's folder into (data)"
    )
    parser.add_argument(
        "--part", "--split", action="append", metavar="PART", help="fetch only this part; may be repeated"
    )
    parser.add_argument("--from", dest="mirror", metavar="PLACE", help="an address or a folder that has the same files")
    parser.add_argument("--md5", type=Path, metavar="FILE", help="checksums as md5sum prints them, if the files "
                        "of --from are not the published ones")  # fmt: skip
    parser.add_argument("--keep-archive", action="store_true", help="keep the archives after unpacking")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    args = parser.parse_args(argv)
    data_set = DATA_SETS[args.name]
    archives = _chosen(args.name, data_set, args.part)
    if args.md5 is not None:
        archives = [replace(archive, checksum=_listed(args.md5, archive.file)) for archive in archives]
    wanted = [archive for archive in archives if not (args.to / archive.folder).exists()]
    _say(f"{data_set.title}\n{data_set.page}\nLicence: {data_set.licence}")
    if wanted:
        size, content = sum(a.size for a in wanted), sum(a.size * a.growth for a in wanted)
        _say(f"About {format_size(size)} to fetch, {format_size(content)} when unpacked")
        _ask(args.yes)
    for archive in archives:
        folder = args.to / archive.folder
        if archive in wanted:
            _get(archive, args.to, args.mirror, args.keep_archive)
        else:
            _say(f"{folder} exists already and is not changed")
        print(folder)


def _chosen(name: str, data_set: DataSet, parts: Sequence[str] | None) -> list[Archive]:
    """The archives of some parts, or of all; "test" means test1 to test3."""
    chosen: dict[str, Archive] = {}
    for part in parts or data_set.parts:
        named = {known: archive for known, archive in data_set.parts.items() if part in (known, known.rstrip("123"))}
        if not named:
            raise UsageError(f"{name} has no part {part!r}", f"it has {', '.join(data_set.parts)}")
        chosen |= named
    return list(chosen.values())


def _say(words: str) -> None:
    print(words, file=sys.stderr)


def _listed(path: Path, file: str) -> str:
    """The checksum of a file in a list as md5sum prints it."""
    if not path.is_file():
        raise InputFileError(f"{path}: not found", "give a file as md5sum prints it")
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        digest, _, name = line.partition(" ")
        if name.lstrip(" *").rpartition("/")[2] == file:
            return f"md5:{digest}"
    raise InputFileError(f"{path}: no checksum of {file}", "add it with md5sum")


def _ask(yes: bool) -> None:
    if yes or not sys.stdin or not sys.stdin.isatty():
        return
    print("Continue? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise UsageError("not fetched")


def _get(archive: Archive, to: Path, mirror: str | None, keep: bool) -> None:
    to.mkdir(parents=True, exist_ok=True)
    local = mirror is not None and "://" not in mirror
    path = (Path(mirror) if mirror is not None and local else to) / archive.file
    if local:
        if not path.is_file():
            raise InputFileError(f"{path}: not found", f"--from must hold {archive.file}")
        verify(path, archive.checksum)
    else:
        url = f"{mirror.rstrip('/')}/{archive.file}" if mirror else archive.url
        if path.exists() and not keep:
            keep = True
            _say(f"{path} exists already and will be kept")
        with progress_bar(archive.file) as progress:
            download(
                url,
                path,
                checksum=archive.checksum,
                limit=_SLACK * archive.size,
                space=1 + archive.growth,
                progress=progress,
            )
    size = path.stat().st_size
    with progress_bar(archive.folder) as progress:
        extract(
            path,
            to / archive.folder,
            limit=int(_SLACK * archive.growth * archive.size),
            members=_SLACK * archive.members,
            estimate=archive.growth * size,
            progress=progress,
        )
    if not local and not keep:
        path.unlink()
