"""OpenMIC-2018: 20,000 clips of 10 s, each tagged for some of the 20 instruments (Humphrey, Durand, McFee, ISMIR 2018).

A tenth of its 400,000 (clip, instrument) cells are labelled; the rest are unknown and masked. The official split keeps
artists apart; validation clips are taken from its training part in the same way.
"""

import json
import logging
import re
from pathlib import Path
from typing import Literal

import numpy as np
import soundfile
from numpy.typing import NDArray

from instrec_live.models.arrays import FloatArray, StringArray
from instrec_live.models.errors import InputFileError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.training.data.npz import read_npz
from instrec_live.training.data.splits import carve_valid
from instrec_live.training.data.table import Table, read_rows

Labels = tuple[FloatArray, NDArray[np.bool_]]  # relevance, and where it is known
Unlabelled = Literal["masked", "negative"]

log = logging.getLogger(__name__)

PARTITION_SIZES = {"train": 14_915, "test": 5_085}
# Cells labelled present and absent in the official train, then test partition.
OPENMIC_COUNTS: dict[str, tuple[int, int, int, int]] = {
    "accordion": (374, 1159, 115, 423), "banjo": (592, 1148, 140, 338), "bass": (415, 1010, 134, 329),
    "cello": (598, 866, 226, 259), "clarinet": (396, 1349, 137, 503), "cymbals": (814, 485, 297, 139),
    "drums": (828, 495, 278, 146), "flute": (472, 1050, 175, 387), "guitar": (852, 362, 286, 150),
    "mallet_percussion": (522, 802, 211, 267), "mandolin": (652, 1185, 193, 434), "organ": (482, 977, 121, 310),
    "piano": (885, 420, 285, 130), "saxophone": (830, 906, 305, 324), "synthesizer": (823, 399, 268, 112),
    "trombone": (635, 1405, 228, 492), "trumpet": (828, 1303, 318, 467), "ukulele": (556, 1279, 182, 408),
    "violin": (779, 623, 394, 237), "voice": (764, 426, 224, 150),
}  # fmt: skip
# Tracks that the errata of FMA list as corrupted.
CORRUPTED_TRACKS = frozenset(
    ("071826", "071827", "087435", "095253", "095259", "095263", "102144", "113025", "113604", "138485")
)
# The csv and the npz of one release agree, except for a few labels that were corrected by hand.
DISAGREEMENT = 0.01


def read_openmic(
    folder: Path,
    *,
    valid_share: float = 0.15,
    seed: int = 0,
    soft: bool = False,
    unlabelled: Unlabelled = "masked",
    subset: bool = False,
) -> Table:
    """Read and check the labels, and check that the audio exists.

    Args:
        folder: holds openmic-2018.npz, or a folder openmic-2018 that does.
        valid_share: share of the official training part that becomes "valid", by artists.
        soft: labels are the annotators' relevance, 0.5 ± confidence / 2, instead of 0 or 1.
        unlabelled: "negative" counts unlabelled cells as absent and known, as the paper's code does (from the
            aggregated csv alone); to reproduce its tables.
        subset: accept fewer clips than were published; those without audio are left out.

    Returns:
        Clips sorted by key, source "openmic", group the artist (the track, if there is no metadata).

    Raises:
        InputFileError: a file, column or clip is missing, an unknown instrument or key, a key in both partitions or in
            none, instruments in another order than ours, or counts other than the published ones.
        UsageError: `valid_share` is not in 0…1.
    """
    folder = folder / "openmic-2018" if (folder / "openmic-2018").is_dir() else folder
    _check_class_map(folder / "class-map.json")
    keys, relevance, mask = _read_npz(folder / "openmic-2018.npz")
    judged, known = _read_aggregated(folder / "openmic-2018-aggregated-labels.csv", keys)
    _check_agreement(folder, (relevance, mask), (judged, known))
    split = _read_partitions(folder / "partitions", keys)
    if not subset:
        _check_counts(folder, split, relevance >= 0.5, mask)
    if unlabelled == "negative":
        relevance, mask = np.where(known, judged, 0), np.ones_like(mask)
    labels = np.where(mask, relevance if soft else relevance >= 0.5, 0).astype(np.float32)
    paths = tuple(folder / "audio" / key[:3] / f"{key}.ogg" for key in keys)
    group, licence = _read_metadata(folder / "openmic-2018-metadata.csv", keys)
    source = np.full(len(keys), "openmic")
    table = Table(paths, source, group, split, labels, mask.astype(np.float32), licence=licence)
    return carve_valid(_with_audio(folder, table, subset), valid_share, seed)


def _check_class_map(path: Path) -> None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputFileError(f"{path}: not found", "give the folder that OpenMIC-2018 unpacks to") from error
    except ValueError as error:
        raise InputFileError(f"{path}: not a json file: {error}") from error
    if found != {name: i for i, name in enumerate(INSTRUMENTS)}:
        raise InputFileError(f"{path}: not the 20 instruments of OpenMIC-2018 in their order")


def _read_npz(path: Path) -> tuple[StringArray, FloatArray, NDArray[np.bool_]]:
    """Keys [n], sorted; relevance and mask [n, 20]."""
    arrays = read_npz(path, ("Y_true", "Y_mask"), ("sample_key",))
    keys, relevance, mask = arrays["sample_key"], arrays["Y_true"], arrays["Y_mask"] > 0
    if not relevance.shape == mask.shape == (len(keys), len(INSTRUMENTS)):
        raise InputFileError(f"{path}: Y_true {relevance.shape}, Y_mask {mask.shape} and {len(keys)} keys do not fit")
    if not ((relevance >= 0) & (relevance <= 1))[mask].all():
        raise InputFileError(f"{path}: Y_true holds values outside 0 to 1")
    for key in keys:
        if not re.fullmatch(r"[\w-]+", key):  # keys become paths
            raise InputFileError(f"{path}: {key!r} is not a valid sample key")
    order = np.argsort(keys)
    keys = keys[order]
    twice = keys[1:][keys[1:] == keys[:-1]]
    if len(twice):
        raise InputFileError(f"{path}: sample key {twice[0]} appears twice")
    return keys, relevance[order].astype(np.float32), mask[order]


def _read_aggregated(path: Path, keys: StringArray) -> Labels:
    """Relevance [n, 20] of the csv (the highest of duplicate cells), and which cells it has."""
    row_of = {key: i for i, key in enumerate(keys)}
    column_of = {name: i for i, name in enumerate(INSTRUMENTS)}
    judged = np.zeros((len(keys), len(INSTRUMENTS)), np.float32)
    known = np.zeros(judged.shape, bool)
    for line, row in read_rows(path, ("sample_key", "instrument", "relevance"))[1]:
        key, name = row["sample_key"], row["instrument"]
        if name not in column_of:
            raise InputFileError(f"{path}, line {line}: unknown instrument {name!r}")
        if key not in row_of:
            raise InputFileError(f"{path}, line {line}: unknown sample key {key!r}")
        try:
            value = float(row["relevance"])
        except ValueError:
            value = float("nan")
        if not 0 <= value <= 1:
            raise InputFileError(f"{path}, line {line}: relevance must be 0 to 1, not {row['relevance']!r}")
        cell = row_of[key], column_of[name]
        judged[cell], known[cell] = max(judged[cell], value), True
    return judged, known


def _check_agreement(folder: Path, npz: Labels, csv: Labels) -> None:
    both = npz[1] & csv[1]
    differ = int(((npz[0] >= 0.5) != (csv[0] >= 0.5))[both].sum())
    if differ > DISAGREEMENT * max(1, both.sum()):
        raise InputFileError(
            f"{folder}: openmic-2018.npz and the aggregated csv differ in {differ} of {both.sum()} labels",
            "are they from the same release? unpack the archive again",
        )
    if differ:
        log.warning("%s: npz and csv differ in %d labels; the npz is used", folder, differ)


def _read_partitions(folder: Path, keys: StringArray) -> StringArray:
    split_of = dict.fromkeys(keys.tolist(), "")
    for split in ("train", "test"):
        path = folder / f"split01_{split}.csv"
        if not path.is_file():
            raise InputFileError(f"{path}: not found")
        for line, text in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            key = text.strip().strip('"')
            if not key:
                continue
            if key not in split_of:
                raise InputFileError(f"{path}, line {line}: unknown sample key {key!r}")
            if split_of[key] not in ("", split):
                raise InputFileError(f"{path}, line {line}: {key} is in the other partition too")
            split_of[key] = split
    homeless = [key for key, split in split_of.items() if not split]
    if homeless:
        raise InputFileError(f"{folder}: {len(homeless)} clips are in no partition, the first is {homeless[0]}")
    return np.array(list(split_of.values()), np.str_)


def _check_counts(folder: Path, split: StringArray, present: NDArray[np.bool_], known: NDArray[np.bool_]) -> None:
    hint = "the kind openmic-subset accepts fewer clips"
    for name, size in PARTITION_SIZES.items():
        if (found := int((split == name).sum())) != size:
            raise InputFileError(f"{folder}: {found} clips in the {name} partition, not the published {size}", hint)
    for i, instrument in enumerate(INSTRUMENTS):
        cells = [
            int((sound[:, i] & known[:, i] & (split == name)).sum())
            for name in PARTITION_SIZES
            for sound in (present, ~present)
        ]
        if tuple(cells) != OPENMIC_COUNTS[instrument]:
            shown, published = ("/".join(map(str, four)) for four in (cells, OPENMIC_COUNTS[instrument]))
            raise InputFileError(
                f"{folder}: {instrument} is labelled {shown} times, not the published {published}", hint
            )


def _read_metadata(path: Path, keys: StringArray) -> tuple[StringArray, StringArray]:
    """Group and licence of each clip."""
    artist_of: dict[str, str] = {}
    licence_of: dict[str, str] = {}
    try:
        for _, row in read_rows(path, ("sample_key", "artist_id"))[1]:
            artist_of[row["sample_key"]] = row["artist_id"].strip()
            if title := row.get("license_title"):
                licence_of[row["sample_key"]] = f"{title} (FMA track; labels CC BY 4.0)"
    except InputFileError as error:
        log.warning("%s; clips are grouped by track, so an artist may be on both sides of a split", error.message)
    if artist_of and (strays := [key for key in keys if not artist_of.get(key)]):
        log.warning("%s: no artist for %d clips, grouped by track instead", path, len(strays))
    groups = [f"artist {artist}" if (artist := artist_of.get(key)) else f"track {key.split('_')[0]}" for key in keys]
    licences = [licence_of.get(key, "") for key in keys]
    return np.array([f"openmic {group}" for group in groups], np.str_), np.array(licences, np.str_)


def _with_audio(folder: Path, table: Table, subset: bool) -> Table:
    there = np.array([path.is_file() for path in table.paths], bool)
    known = np.array([path.name.split("_")[0] in CORRUPTED_TRACKS for path in table.paths], bool)
    for i in np.flatnonzero(there & known):
        try:
            there[i] = soundfile.info(table.paths[i]).frames > 0
        except soundfile.LibsndfileError:
            there[i] = False
    if (missing := np.flatnonzero(~there & ~known)).size:
        words = f"{folder}: {len(missing)} of {len(table)} clips have no audio, the first is {table.paths[missing[0]]}"
        if not subset or not there.any():
            raise InputFileError(words, None if subset else "the kind openmic-subset leaves them out")
        log.warning("%s; left out", words)
    if (corrupted := np.flatnonzero(~there & known)).size:
        log.warning("%s: %d clips of tracks known to be corrupted left out", folder, len(corrupted))
    return table[there]
