"""Add your own sounds to the training data: a folder of files of one instrument becomes a source.

    python -m training.data add FOLDER --instrument banjo --kind notes --licence CC0-1.0 --to DIR

The sound files in FOLDER and its subfolders are copied to DIR/INSTRUMENT/NAME and listed in DIR/sources.csv; existing
sounds stay. Phrases for training are then made with python -m training.synthesis.phrases --sounds DIR.
"""

import argparse
import re
import shutil
from pathlib import Path

from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.training.data.sounds import EVERYTHING, SUFFIXES, audio_files, check_free, move_in, read
from instrec_live.training.staging import scratch_folder

KINDS = {
    "notes": "single notes or strokes, one or many in a file",
    "phrases": "phrases of this instrument alone",
    "song": "music with this instrument; other instruments unknown",
}


def add(folder: Path, to: Path, instrument: str, name: str, kind: str, licence: str, package: str) -> tuple[int, float]:
    """Copy a folder's sound files into a folder of sounds, completely or not at all; the number of files, and seconds.

    Raises:
        InputFileError: no sound files in it, or one that cannot be read.
        UsageError: a source of that name is there already, or two files would have the same name.
    """
    files = audio_files(folder, deep=True)
    if not files:
        raise InputFileError(f"{folder}: no sound files in it", f"known endings: {', '.join(SUFFIXES)}")
    check_free(to, name, [instrument])
    names: dict[str, Path] = {}  # in lower case: not every file system keeps "A.wav" and "a.wav" apart
    for path in files:
        other = names.setdefault(_copied(path, folder).lower(), path)
        if other is not path:
            raise UsageError(f"{path} and {other} would have the same name", "rename one of them")
    seconds = 0.0
    with scratch_folder(to, "add", busy=f"{to}: another run is adding to it") as partial:
        (partial / instrument).mkdir(parents=True)
        for path in files:
            samples, rate = read(path)
            seconds += len(samples) / rate
            shutil.copyfile(path, partial / instrument / _copied(path, folder))
        move_in(partial, to, name, [[name, licence, package, instrument, len(files), f"{seconds:.1f}", kind]])
    return len(files), seconds


def _copied(path: Path, folder: Path) -> str:
    """The name of a file's copy."""
    return "_".join(path.relative_to(folder).parts)


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        "python -m training.data add", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder of sound files of one instrument")
    parser.add_argument("--to", type=Path, required=True, help="the folder of sounds to add to, or a new one")
    parser.add_argument("--instrument", required=True, help=f"one of {', '.join(EVERYTHING)}")
    parser.add_argument("--kind", required=True, choices=KINDS, help="; ".join(f"{k}: {v}" for k, v in KINDS.items()))
    parser.add_argument(
        "--licence", required=True, help="the sounds' licence, e.g. CC0-1.0; it goes into the model cards"
    )
    parser.add_argument("--name", help="name of the source (default: the folder's name)")
    parser.add_argument("--package", default="", help="where the sounds came from, for the model cards")
    args = parser.parse_args(argv)
    name = args.name or re.sub(r"[^a-z0-9]+", "_", args.folder.resolve().name.lower()).strip("_")
    if not args.folder.is_dir():
        raise InputFileError(f"{args.folder}: no such folder", "give one with sound files in it")
    if args.instrument not in EVERYTHING:
        raise UsageError(f"unknown instrument {args.instrument!r}", f"known: {', '.join(EVERYTHING)}")
    if not args.licence.strip():
        raise UsageError("--licence is empty", "every source needs a licence")
    if not re.fullmatch(r"[\w-][\w.-]*", name):
        raise UsageError(f"--name {name!r}: letters, digits, '_', '-' and '.' only")
    count, seconds = add(
        args.folder, args.to, args.instrument, name, args.kind, args.licence.strip(), args.package or name
    )
    print(f"{args.to}: {count:,} files, {seconds:,.0f} s of {args.instrument.replace('_', ' ')} as {name}")
