"""Arrays out of an npz file that a stranger made, without running what he may have put into it; and into an npy file
of our own, without a crash where the disk is full."""

import pickle
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from instrec_live.models.errors import InputFileError

# All that numpy names in the pickle of an array of strings. `encode` is how pickles older than Python 3 write bytes.
_ALLOWED = {
    *((f"{core}.multiarray", "_reconstruct") for core in ("numpy.core", "numpy._core")),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


def read_npz(path: Path, numbers: Sequence[str], strings: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Some of an npz's arrays: `numbers` as they are, `strings` as str [n], even where they were pickled as objects.

    Raises:
        InputFileError: no such file, no npz, an array is missing or damaged, or holds something else.
    """
    if not path.is_file():
        raise InputFileError(f"{path}: not found")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.namelist()
            for name in (*numbers, *strings):
                if f"{name}.npy" not in members:
                    raise InputFileError(f"{path}: array {name!r} is missing")
            found: dict[str, NDArray[Any]] = {}
            for name in numbers:
                with archive.open(f"{name}.npy") as member:
                    found[name] = npy.read_array(member, allow_pickle=False)
                if found[name].dtype.kind not in "biuf":
                    raise InputFileError(f"{path}: array {name!r} does not hold numbers")
            for name in strings:
                with archive.open(f"{name}.npy") as member:
                    found[name] = _read_strings(member)
                if found[name].ndim != 1:
                    raise InputFileError(f"{path}: array {name!r} has {found[name].ndim} dimensions, not 1")
    except (zipfile.BadZipFile, ValueError, TypeError, EOFError, LookupError, AttributeError, ImportError,
            NotImplementedError, pickle.UnpicklingError) as error:  # fmt: skip
        raise InputFileError(f"{path}: damaged, or not an npz file: {error}") from error
    return found


def _read_strings(member: Any) -> NDArray[np.str_]:
    version = npy.read_magic(member)
    read_header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read_header(member)
    if not dtype.hasobject:
        if dtype.kind != "U":
            raise ValueError(f"expected strings, found {dtype}")
        width = dtype.itemsize * int(np.prod(shape))
        return np.frombuffer(member.read(width), dtype).reshape(shape).astype(np.str_)
    array = _StringsOnly(member).load()
    if not isinstance(array, np.ndarray) or not all(isinstance(value, str) for value in array.ravel()):
        raise ValueError("expected strings, found other objects")
    return array.astype(np.str_)


def write_npy(path: Path, shape: tuple[int, ...], pieces: Iterable[NDArray[Any]]) -> None:
    """An npy file of `shape`, its rows written as they come.

    On a full disk this is an OSError that says so; numpy's own is one that does not, and a memory map's is a signal
    that ends the program without a word.
    """
    with path.open("wb") as file:
        for i, piece in enumerate(pieces):
            if i == 0:
                kind = npy.dtype_to_descr(piece.dtype)
                npy.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": shape})
            file.write(piece.tobytes())


class _StringsOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it wants to run {module}.{name}, which has no place in a list of names")
        return super().find_class(module, name)
