"""Fetch a public data set, verify it and unpack it.

    python -m training.datasets get openmic
    python -m training.datasets get nsynth --part test --to data
    python -m training.datasets get irmas --from /media/stick

What is there already is not fetched again, and what broke off goes on. The folders are printed on stdout, all else on
stderr.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.fetch.checksum import verify
from instrec_live.models.fetch.disk import in_words
from instrec_live.models.fetch.download import download
from instrec_live.models.fetch.progress import bar
from instrec_live.training.datasets.archives import DATA_SETS, Archive, DataSet
from instrec_live.training.datasets.extract import extract

_SLACK = 2  # beyond so many times the published size, number or content: it is something else


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.datasets get",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="\n".join(f"{name}: {', '.join(known.parts)}; {known.page}" for name, known in DATA_SETS.items()),
    )
    parser.add_argument("name", choices=tuple(DATA_SETS))
    parser.add_argument("--to", type=Path, default=Path("data"), metavar="DIR", help="where its folder goes (data)")
    parser.add_argument("--part", "--split", action="append", metavar="PART", help="only this part; may be repeated")
    parser.add_argument("--from", dest="mirror", metavar="PLACE", help="an address or a folder that has the same files")
    parser.add_argument("--md5", type=Path, metavar="FILE", help="checksums to go by, as md5sum prints them, where "
                        "the files of --from are not the published ones")  # fmt: skip
    parser.add_argument("--keep-archive", action="store_true", help="do not remove what was unpacked")
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
        _say(f"About {in_words(size)} to fetch, {in_words(content)} when unpacked")
        _ask(args.yes)
    for archive in archives:
        folder = args.to / archive.folder
        if archive in wanted:
            _get(archive, args.to, args.mirror, args.keep_archive)
        else:
            _say(f"{folder} is there already, and is left as it is")
        print(folder)


def _chosen(name: str, data_set: DataSet, parts: Sequence[str] | None) -> list[Archive]:
    """The archives of some parts, or of all; "test" stands for test1 to test3 too."""
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
    print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
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
            _say(f"{path} is there already, and will be kept")
        with bar(archive.file) as progress:
            download(
                url,
                path,
                checksum=archive.checksum,
                limit=_SLACK * archive.size,
                space=1 + archive.growth,
                progress=progress,
            )
    size = path.stat().st_size
    with bar(archive.folder) as progress:
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
