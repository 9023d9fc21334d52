"""Reads arrays of an untrusted npz file without executing code in it; writes npy files with clear errors on a full
disk."""

import pickle
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from instrec_live.models.errors import InputFileError

# All that numpy refers to in the pickle of an array of strings. Pickles older than Python 3 use `encode` for bytes.
_ALLOWED = {
    *((f"{core}.multiarray", "_reconstruct") for core in ("numpy.core", "numpy._core")),
    ("numpy", "ndarray"),
    ("numpy", "dtype"),
    ("_codecs", "encode"),
}


def read_npz(path: Path, numbers: Sequence[str], strings: Sequence[str]) -> dict[str, NDArray[Any]]:
    """Some of an npz's arrays: `numbers` unchanged, `strings` as str [n], even if they were pickled as objects.

    Raises:
        InputFileError: no such file, not an npz file, an array is missing, damaged or of another type.
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
            NotImplementedError, MemoryError, OverflowError, RecursionError, zlib.error,
            pickle.UnpicklingError) as error:  # fmt: skip
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
    if not isinstance(array, _Array) or not all(isinstance(value, str) for value in array.values):
        raise ValueError("expected strings, found other objects")
    return np.array(array.values, np.str_)


def write_npy(path: Path, pieces: Iterable[NDArray[Any]]) -> int:
    """Write the rows of all pieces [k, ...] as one npy file, piece by piece, and return how many they are.

    A full disk is an OSError with its reason; numpy's own error has none, and a memory map ends the program with a
    signal.
    """
    rows, last = 0, None
    with path.open("wb") as file:
        for piece in pieces:
            if last is None:
                _write_header(file, piece, 0)
            file.write(piece.tobytes())
            rows, last = rows + len(piece), piece
        if last is not None:
            file.seek(0)
            _write_header(file, last, rows)
    return rows


def _write_header(file: BinaryIO, piece: NDArray[Any], rows: int) -> None:
    """numpy leaves room in it for any number of rows."""
    kind = npy.dtype_to_descr(piece.dtype)
    npy.write_array_header_1_0(file, {"descr": kind, "fortran_order": False, "shape": (rows, *piece.shape[1:])})


class _StringsOnly(pickle.Unpickler):
    """Makes lists of strings of what numpy pickled; no state of an array or of a type reaches numpy, whose own code
    believes it: an array of objects whose type says that it holds none has pointers of the file's choice."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise pickle.UnpicklingError(f"it would run {module}.{name}, which is not allowed in an array of names")
        return {"dtype": _ObjectType, "_reconstruct": _Array, "ndarray": _Array}.get(name) or _encode


class _ObjectType:
    """In place of numpy's dtype: it is always of objects, and ignores any state that is set."""

    def __init__(self, kind: object = "O8", *_: object) -> None:
        if kind not in ("O", "O8", "O4", "|O"):
            raise pickle.UnpicklingError("expected an array of objects")

    def __setstate__(self, state: object) -> None:
        pass


class _Array:
    """In place of numpy's array: its shape and its list of objects."""

    values: list[object]

    def __init__(self, *_: object) -> None:
        self.values = []

    def __setstate__(self, state: object) -> None:
        match state:
            case (int(), (int(count),), _ObjectType(), bool(), list(values)) if count == len(values):
                self.values = values
            case (int(), tuple(shape), *_):
                raise ValueError(f"{len(shape)} dimensions, not 1, or damaged")
            case _:
                raise ValueError("damaged")


def _encode(text: str, encoding: str) -> bytes:
    if not (isinstance(text, str) and encoding == "latin1"):
        raise pickle.UnpicklingError("damaged")
    return text.encode(encoding)
