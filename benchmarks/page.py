"""A page that a script keeps up to date: written anew, or only looked at."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path


def keep(
    page: Path,
    written: Callable[[str], str],
    argv: Sequence[str] | None,
    about: str | None,
    also: Callable[[], object] = lambda: None,
) -> int:
    """The command line of such a script.

    Args:
        page: the file.
        written: what it should say, of what it says.
        argv: empty, or --check.
        about: the script, for --help.
        also: what to do besides once the page is written, such as drawing its picture.

    Returns:
        The exit code: with --check, 1 if the page is out of date; else 0.
    """
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the page is out of date")
    check = parser.parse_args(argv).check
    old = page.read_text(encoding="utf-8")
    new = written(old)
    if check:
        return int(old != new)
    page.write_text(new, encoding="utf-8")
    also()
    return 0
