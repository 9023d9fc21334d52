"""Room on the disk, asked for before it is taken."""

import shutil
from pathlib import Path

from instrec_live.models.errors import InstrecError


def check_space(folder: Path, wanted: float) -> None:
    """Refuse to begin what the disk cannot hold.

    Raises:
        InstrecError: fewer than `wanted` bytes are free where the folder lies.
    """
    free = shutil.disk_usage(folder).free
    if wanted > free:
        raise InstrecError(f"{folder}: {in_words(wanted)} are needed, {in_words(free)} are free", "make room")


def in_words(size: float) -> str:
    """Bytes for a reader: "2.6 GB"."""
    for unit in ("bytes", "kB", "MB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} GB" if size < 1000 else f"{size:.0f} GB"
