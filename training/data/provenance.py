"""What a network was trained on, recorded while it is trained: written into every checkpoint, passed on through --init,
and all that a model card says of it.

A record is JSON: {"data": [a data set each], "validation": […], "started_from": {…}, "fingerprint", "seed", "command",
"versions", "date"}. A data set is {"name", "licences": {licence: clips}, "clips": {split: number}}; a start is
{"name", "sha256"} and, as far as it is known, its own record. "shares" are the options that say how data are mixed.
"""

import argparse
import base64
import datetime
import hashlib
import json
import platform
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.bundle import Bundle
from instrec_live.models.catalog import CHECKPOINTS
from instrec_live.models.errors import UsageError
from instrec_live.training.data.table import Table

Record = dict[str, Any]

SHARES = ("scene_share", "music_share", "distractor_share")  # options that say how the data are mixed
NOT_STATED = "not stated"
_LIBRARIES = ("instrec-live", "torch", "torchaudio", "hear21passt", "numpy", "soxr", "soundfile")
_NON_COMMERCIAL = ("-nc", " nc", "noncommercial", "non-commercial", "non commercial")
_MIDDLE = 1 << 16  # bytes of a file that tell it from others of its name and size
_MOST_LICENCES = 12  # named of a data set on a card; the rest is counted

# Networks that others have published, by a part of their file's name.
_PUBLISHED: dict[str, Record] = {
    "mn04_as": {"name": "mn04_as (EfficientAT, MIT)", "data": "ImageNet, AudioSet"},
    "yamnet": {"name": "YAMNet (Apache-2.0)", "data": "AudioSet"},
}


def record_of(args: argparse.Namespace, table: Table | None, valid: Table | None) -> Record:
    """The record of a run with the options of `options.add_options`, before it begins.

    Args:
        args: the options; those that a recipe does not have count as not given.
        table: the clips that are trained on, and `valid` those that are validated on.
    """
    given = vars(args)
    data = data_sets(table)
    for name, what in (("unions", "mixtures of"), ("phrases", "scenes of"), ("music", "unlabelled music of")):
        if given.get(name) is not None:
            data += bank(Path(given[name]), what)
    if not data and given.get("phrases") is None and given.get("unions") is None:
        data += bank(Path("runs/phrases"), "scenes of")
    record: Record = {
        "data": data,
        "validation": data_sets(valid),
        "started_from": start_of(given.get("init")),
        "shares": {name: given[name] for name in SHARES if given.get(name) is not None},
        "sounds": packed(clip_ids(table)) if table is not None else "",
        "fingerprint": fingerprint(table, [Path(given[k]) for k in ("unions", "phrases", "music") if given.get(k)]),
        "seed": given.get("seed", 0),
        "versions": versions(),
        "date": datetime.date.today().isoformat(),
    }
    if given.get("anchor") is not None:
        record["anchor"] = start_of(given["anchor"])
    plain: Record = json.loads(json.dumps(record))  # a checkpoint that holds anything but plain values cannot be read
    return plain


def clip_ids(table: Table) -> NDArray[np.uint64]:
    """40 bits of a hash of each clip's file name, size and the middle of its content [n]: independent of its folder."""
    return _hashed(table, _middle)


def _hashed(table: Table, content: Callable[[Path, int], bytes]) -> NDArray[np.uint64]:
    ids = []
    for path in table.paths:
        try:
            size = path.stat().st_size
            text = f"{path.name}\0{size}".encode() + content(path, size)
        except OSError:
            text = f"{path.name}\0-1".encode()
        ids.append(int.from_bytes(hashlib.sha256(text).digest()[:5], "little"))
    return np.array(ids, np.uint64)


def _middle(path: Path, size: int) -> bytes:
    with path.open("rb") as handle:
        handle.seek(max(0, (size - _MIDDLE) // 2))
        return handle.read(_MIDDLE)


# The ids in a record, by their key. "clips", by name and size alone, are those of records before 2026-12.
_IDS: dict[str, Callable[[Table], NDArray[np.uint64]]] = {
    "sounds": clip_ids,
    "clips": lambda table: _hashed(table, lambda *_: b""),
}


def packed(ids: NDArray[np.uint64]) -> str:
    """Ids as text, five bytes each."""
    return base64.b64encode(np.sort(ids).astype("<u8").view(np.uint8).reshape(-1, 8)[:, :5].tobytes()).decode()


def _unpacked(text: str) -> NDArray[np.uint64]:
    five = np.frombuffer(base64.b64decode(text), np.uint8).reshape(-1, 5)
    return np.pad(five, ((0, 0), (0, 3))).copy().view("<u8").reshape(-1).astype(np.uint64)


def learned_clips(record: Mapping[str, Any], table: Table) -> NDArray[np.bool_]:
    """Which clips of a table [n] the network learned from, in its run or in those that it started from."""
    records = [record]
    for kind in ("started_from", "anchor"):
        start = record.get(kind) or {}
        while isinstance(start.get("record"), Mapping):
            records.append(start["record"])
            start = start["record"].get("started_from") or {}
    learned = np.zeros(len(table), bool)
    for key, ids_of in _IDS.items():
        if known := [_unpacked(each[key]) for each in records if each.get(key)]:
            learned |= np.isin(ids_of(table), np.concatenate(known))
    return learned


def check_unlearned(record: Mapping[str, Any], table: Table, data: str, model: str, hint: str) -> None:
    """Check that a model learned from none of the clips that are to measure it.

    Raises:
        UsageError: it learned from some.
    """
    shared = learned_clips(record, table)
    if shared.any():
        raise UsageError(
            f"{shared.sum()} of {len(table)} clips of {data} are clips that {model} learned from, "
            f"e.g. {table.paths[int(shared.argmax())].name}",
            hint,
        )


def difference(record: Mapping[str, Any], other: Mapping[str, Any]) -> str | None:
    """What one run was given otherwise than another, so that it cannot continue it: in words, or None. What an older
    record does not have is not compared."""
    if record.get("fingerprint") != other.get("fingerprint"):
        return "other data"
    shares, others = (each.get("shares") for each in (record, other))
    if shares is not None and others is not None and shares != others:
        return "other shares of the data"
    if "started_from" in record and _start(record) != _start(other):
        return "other initial weights"
    return None


def _start(record: Mapping[str, Any]) -> str | None:
    return (record.get("started_from") or {}).get("sha256")


def versions() -> dict[str, str]:
    """Of what determines a run's result."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def fingerprint(table: Table | None, banks: Sequence[Path] = ()) -> str:
    """sha256 of what is learned from: names, splits, labels and masks of clips, in any order; the banks' indexes."""
    digest = hashlib.sha256()
    if table is not None:
        rows = [(f"{table.source[i]}/{path.name}", str(table.split[i]), i) for i, path in enumerate(table.paths)]
        for name, split, i in sorted(rows):
            digest.update(f"{name}\0{split}\0".encode())
            digest.update(np.where(table.mask[i] > 0, table.labels[i], -1).astype(np.float32).tobytes())
            digest.update(table.mask[i].astype(np.float32).tobytes())
            digest.update(table.some[i].tobytes() if table.some[i].any() else b"")
    for path in banks:
        index = path / "index.json" if path.is_dir() else path
        if index.is_file():
            content = index.read_bytes() if index.suffix == ".json" else str(index.stat().st_size).encode()
            digest.update(content)
    return digest.hexdigest()


def data_sets(table: Table | None) -> list[Record]:
    """The data sets among the clips of a table."""
    if table is None:
        return []
    sets = []
    for source in sorted(set(table.source.tolist())):
        rows = table[table.source == source]
        sets.append({
            "name": source,
            "licences": dict(Counter(licence or NOT_STATED for licence in rows.licence.tolist()).most_common()),
            "clips": dict(sorted(Counter(split or "undecided" for split in rows.split.tolist()).items())),
        })  # fmt: skip
    return sets


def bank(folder: Path, what: str) -> list[Record]:
    """The sources of a bank of phrases, unions or music, by its index."""
    try:
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        sources = list(index.get("sources", [])) if isinstance(index, dict) else []
    except (OSError, ValueError):
        sources = []
    if not sources:
        return [{"name": f"{what} {folder.name}", "licences": {NOT_STATED: 1}, "clips": {}}]
    found: dict[str, Counter[str]] = {}
    for row in sources:
        found.setdefault(str(row.get("source", "?")), Counter())[str(row.get("licence", NOT_STATED))] += 1
    return [
        {"name": f"{what} {name}", "licences": dict(licences), "clips": {}} for name, licences in sorted(found.items())
    ]


def start_of(init: str | Path | None) -> Record | None:
    """Where a run's weights come from; None: from random ones."""
    if init is None or str(init) == "none":
        return None
    if str(init) in ("audioset", "passt-audioset"):
        published = CHECKPOINTS["passt-audioset"]
        return {"name": published.file, "sha256": published.sha256, "data": published.data}
    path = Path(init)
    if path.is_dir():
        bundle = Bundle.load(path)
        return {"name": f"the bundle {bundle.name}", "sha256": bundle.sha256, **_of_bundle(bundle.provenance)}
    called = f"{path.resolve().parent.name}/{path.name}" if path.stem in ("weights", "checkpoint") else path.name
    start: Record = {"name": called, "sha256": _sha256(path)}
    for checkpoint in CHECKPOINTS.values():
        if start["sha256"] == checkpoint.sha256 or path.name == checkpoint.file:
            return start | {"data": checkpoint.data}
    recorded = {} if path.suffix == ".npz" else _of_checkpoint(path)
    return start | (recorded or next((each for key, each in _PUBLISHED.items() if key in path.name.lower()), {}))


def _of_checkpoint(path: Path) -> Record:
    import torch  # only to look into a checkpoint

    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # loading it as weights will say what is wrong
        return {}
    provenance = content.get("provenance") if isinstance(content, dict) else None
    return _of_bundle(provenance) if isinstance(provenance, Mapping) else {}


def _of_bundle(provenance: Mapping[str, Any]) -> Record:
    """The record within a provenance; of one that was made before there were records, what it says."""
    trained = provenance.get("trained_on")
    if isinstance(trained, Mapping):
        return {"record": dict(trained)}
    data = provenance.get("data")
    return {"data": "; ".join(map(str, data))} if isinstance(data, list) and data else {}


def _sha256(path: Path) -> str | None:
    digest = hashlib.sha256()
    try:
        with path.open("rb") as handle:
            while block := handle.read(1 << 20):
                digest.update(block)
    except OSError:
        return None
    return digest.hexdigest()


def is_non_commercial(licence: str) -> bool:
    text = licence.lower()
    return any(mark in text for mark in _NON_COMMERCIAL)


def lineage(record: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """("" and the data set), from the newest run back to the first; starts without a record as one data set each."""
    for each in record.get("data", ()):
        yield "", each
    for kind in ("started_from", "anchor"):
        start = record.get(kind)
        if start is None:
            continue
        if isinstance(start.get("record"), Mapping):
            for before, each in lineage(start["record"]):
                yield f"by {start['name']}{', ' + before if before else ''}", each
        else:
            licence = {NOT_STATED: 1}
            yield f"by {start['name']}", {"name": start.get("data", "not recorded"), "licences": licence, "clips": {}}


def non_commercial(record: Mapping[str, Any]) -> list[str]:
    """The data sets, of the run or of what it started from, whose licence excludes commercial use."""
    names = [each["name"] for _, each in lineage(record) if any(map(is_non_commercial, each["licences"]))]
    return list(dict.fromkeys(names))


def card_section(provenance: Mapping[str, Any]) -> list[str]:
    """The lines of a model card on what the network was trained on, made of the run's record alone."""
    record = provenance.get("trained_on")
    if not record:
        return ["## What it was trained on", "", "The run did not record its data."]
    lines = ["## What it was trained on", ""]
    if excluded := non_commercial(record):
        lines += [f"**Not for commercial use:** it learned from {', '.join(excluded)}.", ""]
    lines += ["| data | clips | licences | learned |", "|---|---|---|---|"]
    for before, each in lineage(record):
        clips = ", ".join(f"{count:,} {split}" for split, count in each["clips"].items()) or "–"
        licences = list(each["licences"].items())
        named = [name if count == 1 or len(licences) == 1 else f"{name} ({count:,})" for name, count in licences]
        rest = f" and {len(named) - _MOST_LICENCES} more" if len(named) > _MOST_LICENCES else ""
        row = (each["name"], clips, "; ".join(named[:_MOST_LICENCES]) + rest, before or "in this run")
        lines.append(f"| {' | '.join(map(_cell, row))} |")
    start = record.get("started_from")
    began = "random weights" if start is None else f"{start['name']} (sha256 {str(start.get('sha256'))[:12]}…)"
    lines += [
        "",
        f"It started from {began}. Seed {record.get('seed')}; data fingerprint {str(record.get('fingerprint'))[:12]}…; "
        f"versions: {', '.join(f'{name} {value}' for name, value in record.get('versions', {}).items())}.",
    ]
    if validation := record.get("validation"):
        names = ", ".join(f"{each['name']} ({sum(each['clips'].values()):,} clips)" for each in validation)
        select = provenance.get("recipe", {}).get("select", "last")
        chosen = "" if select == "last" else f"; of its weights, those with the best {select} there were kept"
        lines.append(f"It was validated on {names}{chosen}.")
    return lines


def _cell(text: object) -> str:
    return " ".join(str(text).replace("|", "\\|").split())
