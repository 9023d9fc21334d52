"""Decoded audio, kept once for all epochs: reading a clip of ten seconds from a memory map takes a tenth of a
millisecond, decoding and resampling it tens.

The file holds the clips of a table one after another, int16 mono at 32 kHz, each scaled to its own peak; next to it an
index. It belongs to these clips, by name, size and time, and to the way they were read.
"""

import hashlib
import json
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from tqdm import tqdm

from instrec_live.models.arrays import FloatArray
from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.logmel import SAMPLE_RATE
from instrec_live.training.staging import exclusive_file

Read = Callable[[Path], FloatArray]

_LARGEST = 32_767


class DecodedClips:
    """The clips of `paths` as `read` gives them, float32 [n] at 32 kHz, from a file in `folder` that is made if it is
    not there.

    Raises:
        InputFileError: a clip cannot be read.
        UsageError: there is no room for the file.
    """

    def __init__(self, paths: Sequence[Path], folder: Path, read: Read, quiet: bool = False) -> None:
        key = _key(paths, read)
        file, index = folder / f"{key}.i16", folder / f"{key}.json"
        if not (file.is_file() and index.is_file()):
            _decode(paths, folder, file, index, read, quiet)
        content = json.loads(index.read_text(encoding="utf-8"))
        self._ends, self._peaks = np.array(content["ends"], np.int64), np.array(content["peaks"], np.float32)
        self._samples = np.memmap(file, np.int16, "r")
        if len(self._ends) != len(paths) or self._ends[-1] != len(self._samples):
            raise InputFileError(f"{file}: cut short", "remove it: it is made again")

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_samples": str(self._samples.filename)}  # a worker maps the file, it is not copied

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state | {"_samples": np.memmap(state["_samples"], np.int16, "r")})

    def __getitem__(self, place: int) -> FloatArray:
        start = self._ends[place - 1] if place else 0
        clip = self._samples[start : self._ends[place]].astype(np.float32)
        return np.asarray(clip * (self._peaks[place] / _LARGEST), np.float32)


def expected_bytes(paths: Sequence[Path]) -> int:
    """About how large the file of these clips will be, by their headers."""
    seconds = 0.0
    for path in paths:
        try:
            seconds += soundfile.info(path).duration
        except (OSError, soundfile.LibsndfileError):
            continue
    return round(2 * SAMPLE_RATE * seconds)


def _key(paths: Sequence[Path], read: Read) -> str:
    digest = hashlib.sha256(f"{read.__module__}.{read.__qualname__}".encode())
    for path in paths:
        try:
            stat = path.stat()
        except OSError as error:
            raise InputFileError(f"{path}: {error.strerror}", "give a sound file") from error
        digest.update(f"{path.resolve()}\0{stat.st_size}\0{stat.st_mtime_ns}\0".encode())
    return digest.hexdigest()[:24]


def _decode(paths: Sequence[Path], folder: Path, file: Path, index: Path, read: Read, quiet: bool) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    size, free = expected_bytes(paths), shutil.disk_usage(folder).free
    if not quiet:
        print(f"decoding {len(paths):,} clips once into {file}: about {size / 1e9:.2g} GB", file=sys.stderr)
    if size > 0.95 * free:
        raise UsageError(
            f"{folder}: {size / 1e9:.2g} GB are needed, {free / 1e9:.2g} GB are free", "give another --cache"
        )
    ends, peaks, end = [], [], 0
    with exclusive_file(file) as partial, partial.open("wb") as out:
        for path in tqdm(paths, unit="clip", leave=False, disable=quiet or None):
            samples = read(path)
            peak = float(np.abs(samples).max(initial=0.0)) or 1.0
            out.write(np.rint(samples * (_LARGEST / peak)).astype(np.int16).tobytes())
            end += len(samples)
            ends.append(end)
            peaks.append(peak)
    with exclusive_file(index) as partial:
        partial.write_text(json.dumps({"ends": ends, "peaks": peaks}), encoding="utf-8")
