"""OpenMIC-2018 in small: the layout of the real archive, real Ogg Vorbis in it, made-up music.

Each instrument is a timbre of its own, so that a network can learn to tell them.
"""

import csv
import hashlib
import json
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import soundfile

from instrec_live.models.instruments import INSTRUMENTS

RATE = 44_100
COLUMNS = (
    "track_id", "album_id", "album_title", "album_url", "artist_id", "artist_name", "artist_url", "artist_website",
    "license_image_file", "license_image_file_large", "license_parent_id", "license_title", "license_url", "tags",
    "track_bit_rate", "track_comments", "track_composer", "track_copyright_c", "track_copyright_p",
    "track_date_created", "track_date_recorded", "track_disc_number", "track_duration", "track_explicit",
    "track_explicit_notes", "track_favorites", "track_file", "track_genres", "track_image_file",
    "track_information", "track_instrumental", "track_interest", "track_language_code", "track_listens",
    "track_lyricist", "track_number", "track_publisher", "track_title", "track_url", "sample_key", "start_time",
)  # fmt: skip


def timbre(instrument: str, seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Float32 [n] at 44.1 kHz: a few partials around a pitch that is the instrument's own, with a beat of its own."""
    i = INSTRUMENTS.index(instrument)
    t = np.arange(int(seconds * RATE)) / RATE
    centre = 140 * 1.22**i * rng.uniform(0.98, 1.02)
    partials = [np.sin(2 * np.pi * centre * ratio * t + rng.uniform(0, 6)) for ratio in (0.96, 1.0, 1.05, 2.0 + i % 3)]
    beat = 1 + 0.5 * np.sin(2 * np.pi * (1 + i % 5) * t + rng.uniform(0, 6))
    return (beat * np.sum(partials, axis=0) * 0.05 * rng.uniform(0.5, 1.0)).astype(np.float32)


def music(instruments: Iterable[str], seconds: float, rng: np.random.Generator) -> np.ndarray:
    """Float32 [n, 2] at 44.1 kHz: these instruments at once, over a little noise."""
    sound = rng.normal(0, 1e-3, int(seconds * RATE)).astype(np.float32)
    for instrument in instruments:
        sound += timbre(instrument, seconds, rng)
    return np.stack([sound, 0.9 * sound], axis=1)


def write_fake_openmic(to: Path, clips: int = 60, seconds: float = 3.0, seed: int = 0) -> Path:
    """Write the archive openmic-2018-v1.0.0.tgz into folder `to`; returns its path."""
    folder = lay_out_openmic(to / "openmic-being-packed", clips, seconds, seed)
    archive = to / "openmic-2018-v1.0.0.tgz"
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        tar.add(folder, "openmic-2018")
    for path in sorted(folder.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    folder.rmdir()
    return archive


def lay_out_openmic(folder: Path, clips: int = 60, seconds: float = 3.0, seed: int = 0) -> Path:
    """Write what the archive holds into `folder`. Every artist has two clips, every third artist is in the test
    partition; a clip has one to three instruments, of which two were judged, and four absent ones were."""
    rng = np.random.default_rng(seed)
    artists = [i // 2 for i in range(clips)]
    in_test = [artist % 3 == 2 for artist in artists]
    keys = [f"{137 + 731 * i:06d}_{int(rng.integers(0, 400_000))}" for i in range(clips)]
    turns = {test: iter(_turns(clips, rng)) for test in (False, True)}
    relevance, mask = np.full((clips, 20), 0.5), np.zeros((clips, 20), bool)
    for i, key in enumerate(keys):
        present = [next(turns[in_test[i]]), *rng.integers(0, 20, rng.integers(0, 3))]
        absent = rng.permutation(sorted(set(range(20)) - set(present)))[:4]
        judged = [*present[:2], *absent]  # a third instrument sounds, and nobody was asked
        confidence = rng.uniform(0.2, 1.0, len(judged))
        relevance[i, judged] = 0.5 + np.where(np.isin(judged, present), 0.5, -0.5) * confidence
        mask[i, judged] = True
        sound = music({INSTRUMENTS[c] for c in present}, seconds, rng)
        _write_clip(folder, key, sound, rng)
    _write_labels(folder, keys, relevance, mask, rng)
    _write_metadata(folder, keys, artists, seconds)
    for name, members in (("train", [not test for test in in_test]), ("test", in_test)):
        (folder / "partitions").mkdir(exist_ok=True)
        chosen = [key for key, member in zip(keys, members, strict=True) if member]
        (folder / "partitions" / f"split01_{name}.csv").write_text("".join(f"{key}\n" for key in chosen))
    (folder / "class-map.json").write_text(json.dumps({name: i for i, name in enumerate(INSTRUMENTS)}))
    (folder / "license-cc-by.txt").write_text("Creative Commons Attribution 4.0 International\n")
    (folder / "acknowledgement.md").write_text("Made-up clips in the layout of OpenMIC-2018.\n")
    _write_checksums(folder)
    return folder


def _turns(count: int, rng: np.random.Generator) -> list[int]:
    """`count` instruments, every one of them before any comes again."""
    return [int(i) for _ in range(count // 20 + 1) for i in rng.permutation(20)]


def _write_clip(folder: Path, key: str, sound: np.ndarray, rng: np.random.Generator) -> None:
    audio, vggish = (folder / kind / key[:3] for kind in ("audio", "vggish"))
    for place in (audio, vggish):
        place.mkdir(parents=True, exist_ok=True)
    soundfile.write(audio / f"{key}.ogg", sound, RATE, format="OGG", subtype="VORBIS")
    features = {"time_points": [round(0.96 * k, 2) for k in range(10)], "features": _features(rng).tolist()}
    (vggish / f"{key}.json").write_text(json.dumps(features))


def _features(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (10, 128), dtype=np.uint8)


def _write_labels(
    folder: Path, keys: Sequence[str], relevance: np.ndarray, mask: np.ndarray, rng: np.random.Generator
) -> None:
    np.savez(
        folder / "openmic-2018.npz",
        X=np.stack([_features(rng) for _ in keys]),
        Y_true=relevance,
        Y_mask=mask,
        sample_key=np.array(keys, object),
    )
    cells = [(keys[i], INSTRUMENTS[c], relevance[i, c]) for i, c in zip(*np.nonzero(mask), strict=True)]
    with (folder / "openmic-2018-aggregated-labels.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["sample_key", "instrument", "relevance", "num_responses"])
        writer.writerows([*cell, 3] for cell in cells)
    with (folder / "openmic-2018-individual-responses.csv").open("w", newline="") as handle:
        writer = csv.writer(handle)
        writer.writerow(["sample_key", "worker_id", "worker_trust", "channel", "instrument", "response"])
        for key, instrument, value in cells:
            answer = f"{'yes' if value > 0.5 else 'no'}_{instrument}"
            writer.writerows([key, 1000 + k, 0.9, "clixsense", instrument, answer] for k in range(3))


def _write_metadata(folder: Path, keys: Sequence[str], artists: Sequence[int], seconds: float) -> None:
    with (folder / "openmic-2018-metadata.csv").open("w", newline="", encoding="utf-8") as handle:
        writer = csv.DictWriter(handle, COLUMNS, restval="")
        writer.writeheader()
        for key, artist in zip(keys, artists, strict=True):
            row = {
                "track_id": int(key.split("_")[0]),
                "artist_id": artist + 50,
                "artist_name": f'Ensemble "№ {artist}", the',
                "license_title": "Attribution",
                "track_information": "two lines\nof prose, quoted",
                "track_genres": "[{'genre_id': '21', 'genre_title': 'Jazz'}]",
                "sample_key": key,
                "start_time": round(seconds / 3, 3),
            }
            writer.writerow(row)


def _write_checksums(folder: Path) -> None:
    """The names of these lists are a guess."""
    (folder / "checksums").mkdir()
    for kind in ("audio", "vggish"):
        files = sorted(path for path in (folder / kind).rglob("*.*") if path.is_file())
        lines = [f"{hashlib.md5(path.read_bytes()).hexdigest()}  {path.relative_to(folder)}\n" for path in files]
        (folder / "checksums" / f"{kind}.md5").write_text("".join(lines))
