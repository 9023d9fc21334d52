"""Arrays of strings are read without trusting a pickle's statements about types and memory."""

import io
import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
from numpy.lib import format as npy

from instrec_live.models.errors import InputFileError
from instrec_live.training.data.npz import read_npz


def write(path: Path, pickled: bytes, count: int) -> Path:
    head = io.BytesIO()
    npy.write_array_header_1_0(head, {"descr": "|O", "fortran_order": False, "shape": (count,)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("names.npy", head.getvalue() + pickled)
    return path


class Crafted:
    """An array of objects whose type is given another state before the array gets its own."""

    def __init__(self, state: tuple[object, ...], content: object) -> None:
        self.state, self.content = state, content

    def __reduce__(self):
        reconstruct = np.array([None], object).__reduce__()[0]
        return reconstruct, (np.ndarray, (0,), b"b"), (1, (1,), _Type(self.state), False, self.content)


class _Type:
    def __init__(self, state: tuple[object, ...]) -> None:
        self.state = state

    def __reduce__(self):
        return np.dtype, ("O8", False, True), self.state


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_names_come_back(tmp_path: Path, protocol: int) -> None:
    names = np.array(["a", "é", ""], object)
    path = write(tmp_path / "a.npz", pickle.dumps(names, protocol), 3)
    assert read_npz(path, [], ["names"])["names"].tolist() == ["a", "é", ""]


@pytest.mark.parametrize("content", [b"\x41" * 8, [1], ["a", "b"], "a"])
@pytest.mark.parametrize("flags", [63, 0])
def test_a_type_whose_flags_are_cleared_is_not_believed(tmp_path: Path, flags: int, content: object) -> None:
    crafted = Crafted((3, "|", None, None, None, -1, -1, flags), content)
    with pytest.raises(InputFileError, match="damaged"):
        read_npz(write(tmp_path / "a.npz", pickle.dumps(crafted), 1), [], ["names"])


def test_too_large_for_the_memory_is_one_line(tmp_path: Path) -> None:
    head = io.BytesIO()
    npy.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": (1 << 45,)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("numbers.npy", head.getvalue())
    with pytest.raises(InputFileError, match="damaged"):
        read_npz(tmp_path / "a.npz", ["numbers"], [])
