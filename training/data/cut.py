"""Cut long recordings into labelled clips.

    python -m training.data cut concert.wav --labels piano,violin --absent drums --to clips
    python -m training.data cut solo.flac --start 60 --end 90 --labels cello --absent all --to clips

"some brass" among the labels says that at least one instrument of a family sounds (training.data.table.FAMILIES).
Clips are FLAC at the recording's own rate, in DIR/audio; each adds a row to DIR/table.csv. Instruments in neither list
are unknown. Clips of one recording share a group, so a split keeps them together. Silent clips are left out, as is,
without --pad, the remainder at the end. More recordings can be cut into the same folder later.
"""

import argparse
import filecmp
import io
import math
import os
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

import numpy as np
import soundfile
from tqdm import tqdm

from instrec_live.models.arrays import FloatArray
from instrec_live.models.conditioning import Sanity, mono
from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.training.data.sounds import unreadable
from instrec_live.training.data.table import (
    COLUMNS,
    FAMILIES,
    SPLITS,
    Table,
    label_row,
    read_rows,
    read_table,
    write_table,
)
from instrec_live.training.staging import scratch_folder

SILENCE = 1e-3  # RMS, -60 dBFS


@dataclass(frozen=True, slots=True)
class Slices:
    """How a recording is cut, in seconds: pieces of `seconds`, one every `hop`, between `start` and `end`."""

    seconds: float = 10.0
    hop: float = 10.0
    start: float = 0.0
    end: float = math.inf
    pad: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.seconds < math.inf or not 0 < self.hop < math.inf:
            raise UsageError("--seconds and --hop must be above 0")
        if not 0 <= self.start < self.end:
            raise UsageError("--start must be 0 or later, and --end after it")

    def of(self, path: Path) -> Iterator[tuple[float, FloatArray, int]]:
        """Each piece's start [s], samples float32 [n, channels] and sample rate; holds one piece at a time.

        Raises:
            InputFileError: unreadable, or samples that are not finite.
        """
        try:
            with soundfile.SoundFile(path) as sound:
                rate = sound.samplerate
                size, hop = max(1, round(self.seconds * rate)), max(1, round(self.hop * rate))
                first, stop = round(self.start * rate), round(min(self.end, sound.frames / rate) * rate)
                if first >= stop:
                    raise InputFileError(f"{path}: it ends at {sound.frames / rate:.1f} s, before --start")
                sound.seek(first)
                sanity = Sanity()
                kept = np.zeros((0, sound.channels), np.float32)
                for at in range(first, stop, hop):
                    kept = np.concatenate(
                        [kept, self._read(path, sound, min(at + size, stop) - at - len(kept), sanity)]
                    )
                    if len(kept) == size:
                        yield at / rate, kept, rate
                    elif self.pad and len(kept):
                        yield at / rate, np.pad(kept, ((0, size - len(kept)), (0, 0))), rate
                    if at + size >= stop:
                        return
                    for gap in _parts(hop - size, rate):
                        self._read(path, sound, gap, sanity)
                    kept = kept[hop:]
        except (OSError, soundfile.LibsndfileError) as error:
            raise unreadable(path, error) from error

    @staticmethod
    def _read(path: Path, sound: soundfile.SoundFile, frames: int, sanity: Sanity) -> FloatArray:
        at = sound.tell() / sound.samplerate
        samples: FloatArray = sound.read(frames, dtype="float32", always_2d=True)
        if not np.isfinite(samples).all():
            raise InputFileError(f"{path}: some samples after {at:.1f} s are not numbers (NaN or infinite)")
        return sanity(samples)


def _parts(frames: int, most: int) -> Iterator[int]:
    while frames > 0:
        yield min(frames, most)
        frames -= most


def labels_of(labels: str, absent: str) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Labels and mask float32 [20], families float32 [6], from two comma-separated lists; `absent` may be "all": all
    others.

    Raises:
        UsageError: an unknown instrument, one in both lists, or both lists empty.
    """
    families = {f"some {family}" for family in FAMILIES}
    present = _names("--labels", labels, {*INSTRUMENTS, *families})
    some = {name for family in present & families for name in FAMILIES[family.removeprefix("some ")]}
    missing = set(INSTRUMENTS) - present - some if absent.strip() == "all" else _names("--absent", absent, INSTRUMENTS)
    if both := sorted(present & missing):
        raise UsageError(f"{both[0]} cannot be in --labels and --absent")
    if not present | missing:
        raise UsageError("no labels for these recordings", "give --labels, --absent, or both")
    return label_row(present, missing)


def _names(option: str, text: str, known: Collection[str]) -> set[str]:
    names = {"_".join(part.lower().split()) for part in text.split(",") if part.strip()}
    names = {name.replace("some_", "some ") for name in names}
    for name in sorted(names - set(known)):
        close = get_close_matches(name, known, 1)
        raise UsageError(
            f"{option}: unknown instrument {name!r}",
            f"did you mean {close[0]}?" if close else f"known: {', '.join(sorted(known))}",
        )
    return names


def cut(
    recordings: Sequence[Path],
    to: Path,
    pieces: Slices,
    truth: tuple[FloatArray, FloatArray, FloatArray],
    split: str = "train",
    group: str | None = None,
    licence: str = "",
) -> tuple[Table, int]:
    """Cut recordings into `to`, all of them or none. One run at a time.

    Args:
        recordings: the files.
        to: the folder; its table.csv is added to, if there.
        pieces: how to cut.
        truth: labels, mask and families of every piece, as `labels_of` gives them.
        split: "train", "valid", "test", or "".
        group: what these recordings are of, e.g. an album, if they are not independent; None: each is its own.
        licence: of the recordings; "" if it is not stated.

    Returns:
        The new rows, and how many pieces were silent.

    Raises:
        UsageError: a clip of that name exists, or a table with columns that would be lost.
        InputFileError: a recording cannot be read, has samples that are not finite, or gives no clip.
    """
    audio, silent = to / "audio", 0
    groups: dict[Path, str] = {}  # by clip, in the order cut
    with scratch_folder(to, "cut") as staging:
        before = _table_at(to / "table.csv")
        taken = {path.resolve() for path in before.paths} if before else set()
        for recording in tqdm(recordings, unit="recording", disable=None, leave=False):
            for start, samples, rate in pieces.of(recording):
                if np.sqrt(np.mean(np.square(samples))) < SILENCE:
                    silent += 1
                    continue
                clip = audio / f"{recording.stem}_{round(start * 1000):08d}.flac"
                if clip in groups or clip.resolve() in taken:
                    raise UsageError(f"{clip}: already there", "rename the recording, or give another --to")
                groups[clip] = f"cut {group or recording.stem}"
                _write(staging / clip.name, samples, rate)
        if not groups:
            raise InputFileError(f"no clips: {silent} pieces were silent, the rest too short", "try --pad")
        _place(staging, groups)
        labels, mask, some = (np.tile(row, (len(groups), 1)) for row in truth)
        n = len(groups)
        new = Table(
            tuple(groups), np.full(n, "cut"), np.array([*groups.values()]), np.full(n, split), labels, mask, some,
            np.full(n, licence),
        )  # fmt: skip
        write_table(to / "table.csv", Table.join([before, new]) if before else new)
    return new, silent


def _table_at(path: Path) -> Table | None:
    if not path.exists():
        return None
    known = (*COLUMNS, *(f"some_{family}" for family in FAMILIES), "licence")
    if others := [column for column in read_rows(path, COLUMNS)[0] if column not in known]:
        raise UsageError(f"{path}: its column {others[0]!r} would be lost", "give another --to")
    return read_table(path)


def _write(path: Path, samples: FloatArray, rate: int) -> None:
    if samples.shape[1] > 2:
        samples = mono(samples, rate)[:, None]
    samples = samples / max(1.0, float(np.abs(samples).max()))  # FLAC would clip it
    encoded = io.BytesIO()  # in memory first: libsndfile does not report a full disk
    soundfile.write(encoded, samples, rate, format="FLAC", subtype="PCM_24")
    path.write_bytes(encoded.getvalue())


def _place(staging: Path, clips: dict[Path, str]) -> None:
    """Move clips to their places. An existing, identical file without a row was left by a killed run."""
    for clip in clips:
        if clip.exists() and not filecmp.cmp(clip, staging / clip.name, shallow=False):
            raise UsageError(
                f"{clip}: already there, with another content", "rename the recording, or give another --to"
            )
    next(iter(clips)).parent.mkdir(exist_ok=True)
    for clip in clips:
        os.replace(staging / clip.name, clip)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m training.data cut",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recordings", nargs="+", type=Path, metavar="FILE", help="recordings, each cut the same way")
    parser.add_argument("--labels", default="", help="instruments that sound throughout, separated by commas")
    parser.add_argument("--absent", default="", help="instruments that never sound; all: all but the labels")
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a clip (10)")
    parser.add_argument("--hop", type=float, default=None, help="from one clip's start to the next's (as --seconds)")
    parser.add_argument("--start", type=float, default=0.0, help="where to begin [s]")
    parser.add_argument("--end", type=float, default=math.inf, help="where to stop [s]")
    parser.add_argument("--pad", action="store_true", help="pad the remainder at the end with silence")
    parser.add_argument("--split", choices=[split for split in SPLITS if split], default="train",
                        help="of the clips (train)")  # fmt: skip
    parser.add_argument("--group", metavar="NAME", help="what they are part of, e.g. an album or a band: all of it "
                        "counts as one recording (each is its own)")  # fmt: skip
    parser.add_argument("--licence", default="", help="of the recordings, e.g. CC0-1.0; it goes into the model cards")
    parser.add_argument("--to", type=Path, required=True, metavar="DIR", help="the folder to add to, or a new one")
    args = parser.parse_args(argv)
    truth = labels_of(args.labels, args.absent)
    pieces = Slices(args.seconds, args.seconds if args.hop is None else args.hop, args.start, args.end, args.pad)
    clips, silent = cut(args.recordings, args.to, pieces, truth, args.split, args.group, args.licence.strip())
    dropped = f"; {silent} silent pieces left out" if silent else ""
    print(f"{len(clips)} clips in {args.to / 'table.csv'}{dropped}")
