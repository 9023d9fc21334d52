"""Published checksums, "md5:…" or "sha256:…" in hexadecimal digits, and the files that should have them."""

import hashlib
from pathlib import Path

from instrec_live.models.errors import InputFileError


def matches(path: Path, checksum: str) -> bool:
    """Whether a file has a checksum, "md5:…" or "sha256:…"."""
    algorithm, _, expected = checksum.partition(":")
    return _digest(path, algorithm) == expected.lower()


def verify(path: Path, checksum: str, name: str | None = None) -> None:
    """Refuse a file, called `name` before the user, that has not the checksum.

    Raises:
        InputFileError: saying what was expected and what was got.
    """
    if not matches(path, checksum):
        algorithm, _, expected = checksum.partition(":")
        raise InputFileError(
            f"{name or path}: {algorithm} {_digest(path, algorithm)}, but {expected} was published",
            "it is damaged or another file: fetch it again, or from elsewhere",
        )


def _digest(path: Path, algorithm: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(algorithm, usedforsecurity=False)).hexdigest()
