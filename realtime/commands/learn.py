"""`instrec-live learn`: instruments of one's own, from a folder of their sounds."""

import argparse
import hashlib
import json
import logging
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instrec_live.models.errors import InputFileError, UsageError, write_failed
from instrec_live.models.instruments import DISPLAY_NAMES, INSTRUMENTS
from instrec_live.realtime.commands.tag.find import SUFFIXES
from instrec_live.realtime.config.options import Parser, whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from instrec_live.models.arrays import FloatArray
    from instrec_live.models.learning import Encoder, Examples, Head

_FEW_SECONDS = 60.0  # of a class, below which more sound is asked for
_QUIET_DB, _BELOW_LOUDEST_DB = -60.0, -30.0  # softer windows are not used
_CHUNK = 60  # s that are in memory at a time
_KEPT = 12  # windows of each class and fold that others are mixed with
_GAINS_DB = (-9.0, 3.0)  # of what is mixed in
_LEAST = 0.75  # of a window that a label must cover; one that covers less, and any at all, is left out

_EPILOG = """\
FOLDER has a folder for each instrument, named after it, with its sounds: recordings, phrases or single
notes. Sounds of one player or room may be in a subfolder. A sound with an Audacity label track next to it
(take.wav, take.txt) is cut by its labels; such sounds may also be in FOLDER itself.

A name that is one of the 20 instruments corrects it ("this is my cello"); all others are new.

examples:
  instrec-live learn sounds --to mine             then: instrec-live --models passt,cbam_cnn,ms_crnn,./mine
  instrec-live learn sounds --to mine --json      the figures as JSON
"""

log = logging.getLogger(__name__)


def parser() -> Parser:
    """The options of this command."""
    p = Parser(
        prog="instrec-live learn",
        usage="instrec-live learn FOLDER --to BUNDLE [--force] [--json]",
        description="Learns instruments of your own from a folder of their sounds.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    p.add_argument("folder", type=Path, metavar="FOLDER", help="a folder of sounds for each instrument")
    p.add_argument("--to", type=Path, required=True, metavar="BUNDLE", help="the folder to write, for --models")
    p.add_argument("--force", action="store_true", help="replace BUNDLE if it exists")
    p.add_argument("--json", action="store_true", help="print the figures as JSON")
    p.add_argument("--threads", type=whole(1, 256), default=1, metavar="N", help="CPU threads (1)")
    p.add_argument("-q", "--quiet", action="store_true", help="log only warnings and errors")
    return p


@dataclass(frozen=True)
class Recording:
    """A sound file, and what sounds in it.

    Attributes:
        path: of the file.
        group: what belongs together: never on both sides of a cross-validation.
        labels: (from, to, instrument) in seconds, of its label track; None: `instrument` throughout.
        instrument: the folder that it is in, or None.
    """

    path: Path
    group: str
    labels: tuple[tuple[float, float, str], ...] | None
    instrument: str | None

    def names(self) -> set[str]:
        """What sounds somewhere in it."""
        if self.labels is None:
            return {self.instrument} if self.instrument else set()
        return {name for _, _, name in self.labels}

    def sounding(self, start: float, stop: float) -> frozenset[str] | None:
        """What sounds in a window; None if that is not certain."""
        if self.labels is None:
            return frozenset(self.names())
        sounding = set()
        for name in self.names():
            spans = [(a, b) for a, b, each in self.labels if each == name]
            covered = sum(max(0.0, min(b, stop) - max(a, start)) for a, b in spans) / (stop - start)
            if 0 < covered < _LEAST:
                return None
            if covered:
                sounding.add(name)
        return frozenset(sounding)


@dataclass
class Collection:
    """The sounds of a folder.

    Attributes:
        recordings: all of them, by path.
        classes: to be learned.
        grouping: of each class: "folders", "files", or "one recording", what is held out together.
    """

    recordings: list[Recording]
    classes: tuple[str, ...]
    grouping: dict[str, str] = field(default_factory=dict)

    def folds(self) -> dict[str, int | None]:
        """The fold of each group, 0…4; None: divided in time, as all of a class would be in one fold."""
        from instrec_live.models.learning import FOLDS

        folds: dict[str, int | None] = {}
        for name in self.classes:
            for number, group in enumerate(self._groups(name)):
                folds.setdefault(group, number % FOLDS)
        for name in self.classes:
            if len({folds[group] for group in self._groups(name)}) == 1:
                folds |= dict.fromkeys(self._groups(name), None)
        return {each.group: folds.get(each.group, 0) for each in self.recordings}

    def held_out(self, name: str) -> str:
        """How a class is cross-validated: its grouping; or "parts" of its recordings, which are divided in time."""
        folds = self.folds()
        in_time = self.grouping[name] != "one recording" and all(folds[group] is None for group in self._groups(name))
        return "parts" if in_time else self.grouping[name]

    def _groups(self, name: str) -> list[str]:
        """Those in which a class sounds, without repetition."""
        return list(dict.fromkeys(each.group for each in self.recordings if name in each.names()))


def collect(folder: Path) -> Collection:
    """The sounds of a folder, by its rules.

    Raises:
        InputFileError: no such folder, no sounds in it, or a label track that is none.
    """
    from instrec_live.models.learned import MOST_CLASSES, class_name

    if not folder.is_dir():
        raise InputFileError(f"{folder}: no such folder", "give a folder that has a folder of sounds per instrument")
    recordings: list[Recording] = []
    classes: list[str] = []
    grouping: dict[str, str] = {}
    for place in sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith(".")):
        sounds = _sounds(place, deep=True)
        if not sounds:
            log.warning("%s: no sound in it", place)
            continue
        try:
            name = class_name(place.name)
        except ValueError as error:
            raise InputFileError(f"{place}: {error}", "rename the folder") from error
        if name in classes:
            raise InputFileError(f"{place}: there is another folder for {DISPLAY_NAMES[name]}", "join the two")
        classes.append(name)
        parts = {path.parent for path in sounds}
        by_folder = len(parts) > 1
        grouping[name] = "folders" if by_folder else "files" if len(sounds) > 1 else "one recording"
        for path in sounds:
            recordings.append(Recording(path, str(path.parent if by_folder else path), _track(path), name))
    for path in _sounds(folder, deep=False):
        if (labels := _track(path)) is None:
            log.warning("%s: left out, it is not in an instrument's folder and has no label track", path)
            continue
        recordings.append(Recording(path, str(path), labels, None))
        for _, _, name in labels:
            if name not in classes and name not in INSTRUMENTS:
                classes.append(name)
                tracks = sum(
                    1 for each in _sounds(folder, deep=False) if any(n == name for *_, n in _track(each) or ())
                )
                grouping[name] = "files" if tracks > 1 else "one recording"
    if not classes:
        raise InputFileError(
            f"{folder}: no sounds of any instrument in it",
            "make a folder in it for each instrument, named after it, and put its sounds there",
        )
    if len(classes) > MOST_CLASSES:
        raise InputFileError(f"{folder}: {len(classes)} instruments, and {MOST_CLASSES} are the most")
    return Collection(_copies_together(recordings), tuple(classes), grouping)


def _copies_together(recordings: Sequence[Recording]) -> list[Recording]:
    """The recordings, copies of one in its group: a copy of what was learned must not pass for a held-out sound."""
    sizes = Counter(_size(each.path) for each in recordings)
    first: dict[bytes, Recording] = {}
    together = []
    for each in recordings:
        if sizes[_size(each.path)] > 1:
            original = first.setdefault(_digest(each.path), each)
            if original is not each:
                log.warning("%s: a copy of %s; the two are held out together", each.path, original.path)
                each = replace(each, group=original.group)
        together.append(each)
    return together


def _size(path: Path) -> int:
    return path.stat().st_size


def _digest(path: Path) -> bytes:
    try:
        with open(path, "rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise InputFileError(f"{path} cannot be read: {error.strerror}") from error


def _sounds(folder: Path, deep: bool) -> list[Path]:
    found = folder.rglob("*") if deep else folder.iterdir()
    return sorted(
        path for path in found if path.suffix.lower() in SUFFIXES and path.is_file() and not path.name.startswith(".")
    )


def _track(sound: Path) -> tuple[tuple[float, float, str], ...] | None:
    """The Audacity label track next to a sound, without points; None if there is none."""
    from instrec_live.models.files import read_text
    from instrec_live.models.learned import class_name

    path = sound.with_suffix(".txt")
    if not path.is_file():
        return None
    labels = []
    try:
        for line in read_text(path, 10_000_000).splitlines():
            if not line.strip() or line.startswith("\\"):  # the second line of a label with a range of frequencies
                continue
            start, stop, *words = re.split(r"\t", line, maxsplit=2)
            if not float(start) <= float(stop) < math.inf:
                raise ValueError(f"a label from {start} to {stop}")
            if float(stop) > float(start) and words and words[0].strip():
                labels.append((float(start), float(stop), class_name(words[0])))
    except OSError as error:
        raise InputFileError(f"{path}: {error.strerror}") from error
    except ValueError as error:
        raise InputFileError(
            f"{path}: not an Audacity label track: {error}", "each line: start, end and name, with tabs between"
        ) from error
    return tuple(labels)


def run(argv: Sequence[str]) -> int:
    """Learn, print how good it is, and write the bundle; returns 0.

    Raises:
        UsageError, InputFileError, ModelError: what cannot be read, learned or written.
    """
    given = parser().parse_args(argv)
    from instrec_live.realtime.config.settings import parse
    from instrec_live.realtime.logs import configure_logging

    configure_logging(parse(["--no-config", *(["--quiet"] if given.quiet else [])]), screen=False)
    to: Path = given.to
    if to.exists() and not given.force:
        raise UsageError(f"{to} exists", "choose another --to, or replace it with --force")
    if to.exists() and not ((to / "manifest.json").is_file() or (to.is_dir() and not any(to.iterdir()))):
        raise UsageError(f"{to} is not a bundle: it is not replaced", "choose another --to")
    if to.resolve() == given.folder.resolve() or to.resolve() in given.folder.resolve().parents:
        raise UsageError(f"{to} would replace the sounds", "choose another --to")
    collection = collect(given.folder)
    from instrec_live.models.learning import Background, Encoder, learn

    background = Background.load()
    corrects = any(name in INSTRUMENTS for name in collection.classes)
    encoder = Encoder(background.bases, given.threads, ensemble=corrects)
    examples, seconds = encode(collection, encoder)
    for name in collection.classes:
        if not examples.labels[~examples.mixed, collection.classes.index(name)].any():
            raise InputFileError(f"{given.folder}: nothing but silence, or very soft sound, of {DISPLAY_NAMES[name]}")
    head = learn(examples, collection.classes, background)
    evaluation = {
        name: {"recordings": _count(collection, name), "seconds": round(seconds[name], 1),
               "held_out": collection.held_out(name), **head.evaluation[name]}
        for name in collection.classes
    }  # fmt: skip
    _write(to, head, encoder, evaluation, given.folder)
    print(json.dumps(evaluation, indent=1) if given.json else table(evaluation))
    command = f"instrec-live --models passt,cbam_cnn,ms_crnn,{_typed(to)}"
    log.info("%s: run it with %s", to, command)
    return 0


def _typed(path: Path) -> str:
    text = path.as_posix()
    return text if "/" in text else f"./{text}"


def _count(collection: Collection, name: str) -> int:
    return sum(name in each.names() for each in collection.recordings)


def encode(collection: Collection, encoder: "Encoder") -> tuple["Examples", dict[str, float]]:
    """The windows of all recordings, each alone and with other sound added; the demo's, in which none of the classes
    sounds; and the seconds of each class.

    Raises:
        InputFileError: a sound that cannot be read.
    """
    import numpy as np

    from instrec_live.models.learning import Examples

    rng, folds = np.random.default_rng(0), collection.folds()
    accompaniment = _Accompaniment(collection, rng)
    parts: list[Examples] = []
    seconds = dict.fromkeys(collection.classes, 0.0)

    def add(windows: Sequence[tuple["FloatArray", frozenset[str], int]], mixed: bool) -> None:
        if windows:
            features, logits, back = encoder(np.stack([window for window, _, _ in windows]))
            labels = np.array([[name in sounding for name in collection.classes] for _, sounding, _ in windows], bool)
            of_fold = np.array([fold for _, _, fold in windows], np.int64)
            parts.append(Examples(features, logits, back, labels, of_fold, np.full(len(windows), mixed)))

    add([(window, frozenset[str](), fold) for fold, own in enumerate(accompaniment.demo) for window in own], False)
    for number, recording in enumerate(collection.recordings, start=1):
        log.info("%d/%d %s", number, len(collection.recordings), recording.path.name)
        counted = _counted(recording, folds[recording.group])
        for chunk in _certain(recording):
            dry = [(window, sounding, counted[second]) for second, window, sounding in chunk if second in counted]
            add(dry, False)
            both = [(accompaniment.added_to(*each), each[2]) for each in dry]
            add([(*other, fold) for other, fold in both if other is not None], True)
            for _, sounding, _ in dry:
                for name in sounding & seconds.keys():
                    seconds[name] += 1.0
    if not any(seconds.values()):
        first = collection.recordings[0].path
        raise InputFileError(f"{first}: nothing but silence, or very soft sound, and so in all recordings")
    return Examples.joined(parts), seconds


def _counted(recording: Recording, fold: int | None) -> dict[float, int]:
    """The fold of each window that is loud enough to count, by the second at which it begins."""
    import numpy as np

    levels = {second: 10 * np.log10(float(np.mean(window**2)) + 1e-20)
              for chunk in _certain(recording) for second, window, _ in chunk}  # fmt: skip
    least = max(_QUIET_DB, max(levels.values(), default=0.0) + _BELOW_LOUDEST_DB)
    loud = [second for second, level in levels.items() if level > least]
    each = time_folds(np.array(loud)).tolist() if fold is None else [fold] * len(loud)
    return dict(zip(loud, each, strict=True))


def time_folds(seconds: "NDArray[np.float64] | NDArray[np.int64]") -> "NDArray[np.int64]":
    """Windows divided in time: the fold of each, by the second at which it begins."""
    import numpy as np

    from instrec_live.models.learning import FOLDS

    distinct, order = np.unique(seconds, return_inverse=True)
    return (order * FOLDS // max(1, len(distinct))).astype(np.int64)


def _chunks(path: Path) -> Iterator[tuple[float, "FloatArray"]]:
    """(second at which it begins, float32 [n] mono at 32 kHz) of each minute of a sound, a second of the one before
    in front of it; a sound that is too short for a window has silence in front of it."""
    import numpy as np

    from instrec_live.models.learning import SECONDS, WINDOW
    from instrec_live.models.logmel import SAMPLE_RATE, DcBlocker
    from instrec_live.realtime.audio import FileSource
    from instrec_live.realtime.stream.capture import MonoReader, split_hops

    source = FileSource(path)
    try:
        before, at, blocker = np.empty(0, np.float32), 0, DcBlocker()
        for piece in split_hops(MonoReader(source), _CHUNK * SAMPLE_RATE, lambda: False):
            piece = blocker(piece)
            chunk = np.concatenate([before, piece])
            if len(chunk) < WINDOW:
                chunk = np.pad(chunk, (WINDOW - len(chunk), 0)) if at == 0 else chunk[:0]
            if len(chunk):
                yield (at - len(before)) / SAMPLE_RATE, chunk
            at += len(piece)
            before = piece[-(SECONDS - 1) * SAMPLE_RATE :]
    finally:
        source.close()


def _certain(recording: Recording) -> Iterator[list[tuple[float, "FloatArray", frozenset[str]]]]:
    """The windows of a recording whose labels are certain, a minute of them at a time: the second at which each begins,
    its samples float32 [64000], and what sounds in it."""
    from instrec_live.models.learning import SECONDS, WINDOW
    from instrec_live.models.logmel import SAMPLE_RATE

    for start, samples in _chunks(recording.path):
        found = []
        for at in range(0, len(samples) - WINDOW + 1, SAMPLE_RATE):
            second = start + at / SAMPLE_RATE
            sounding = recording.sounding(second, second + SECONDS)
            if sounding is not None:
                found.append((second, samples[at : at + WINDOW], sounding))
        yield found


class _Accompaniment:
    """Other sound to mix with, of the same fold: windows of other classes, and the demo's.

    Attributes:
        demo: windows of the demo clip, of each fold; none if it has an instrument that is to be learned.
    """

    def __init__(self, collection: Collection, rng: "np.random.Generator") -> None:
        self._rng = rng
        self._kept: dict[tuple[int, frozenset[str]], list[FloatArray]] = {}
        self.demo: list[list[FloatArray]] = _demo() if not _in_demo() & set(collection.classes) else []

    def added_to(
        self, window: "FloatArray", sounding: frozenset[str], fold: int
    ) -> tuple["FloatArray", frozenset[str]] | None:
        """The window with other sound added, and what sounds in it; None if there is none to add. The window is kept
        for others."""
        import numpy as np

        level = float(np.sqrt(np.mean(window**2)))
        if level < 1e-4 or not sounding:
            return None
        others = [
            (each, names) for (at, names), kept in self._kept.items() if at == fold and not names & sounding
            for each in kept
        ]  # fmt: skip
        choice = None
        if self.demo and (not others or self._rng.random() < 0.6):
            choice = (self.demo[fold][self._rng.integers(len(self.demo[fold]))], frozenset[str]())
        elif others:
            choice = others[self._rng.integers(len(others))]
        kept = self._kept.setdefault((fold, sounding), [])
        if len(kept) < _KEPT:
            kept.append(window)
        if choice is None:
            return None
        other, names = choice
        gain = level / float(np.sqrt(np.mean(other**2)) + 1e-9) * 10 ** (self._rng.uniform(*_GAINS_DB) / 20)
        both = window + np.float32(gain) * other
        return (both / max(1.0, float(np.abs(both).max()))).astype(np.float32), sounding | names


def _in_demo() -> set[str]:
    """The instruments of the demo clip."""
    from importlib.resources import files

    content = (files("instrec_live.realtime") / "demo" / "timeline.json").read_text(encoding="utf-8")
    return {event["instrument"] for event in json.loads(content)["events"]}


def _demo() -> "list[list[FloatArray]]":
    """Windows of the demo clip, of each fold: it is divided in time."""
    from importlib.resources import as_file, files

    import numpy as np

    from instrec_live.models.learning import FOLDS, WINDOW
    from instrec_live.models.logmel import SAMPLE_RATE

    with as_file(files("instrec_live.realtime") / "demo" / "demo.ogg") as path:
        sound = next(_chunks(path))[1]
    starts = np.arange(0, len(sound) - WINDOW + 1, SAMPLE_RATE, dtype=np.int64)
    return [[sound[at : at + WINDOW] for at in starts[time_folds(starts) == fold].tolist()] for fold in range(FOLDS)]


def table(evaluation: Mapping[str, Mapping[str, Any]]) -> str:
    """The figures for people: a table, and its limits."""
    width = max(10, *(len(DISPLAY_NAMES[name]) for name in evaluation))
    head = ("sounds", "seconds", "AP", "AP mixed", "found", "mixed", "false alarms")
    lines = [f"{'instrument':<{width}}" + "".join(f"{each:>14}" for each in head)]
    remarks = []
    for name, each in evaluation.items():
        cells = (
            str(each["recordings"]), f"{each['seconds']:.0f}", _two(each["ap"]), _two(each["ap_mixed"]),
            _percent(each["found"]), _percent(each["found_mixed"]), _percent(each["false_alarms"]),
        )  # fmt: skip
        lines.append(f"{DISPLAY_NAMES[name]:<{width}}" + "".join(f"{cell:>14}" for cell in cells))
        remarks += [f"{DISPLAY_NAMES[name]}: {remark}" for remark in _remarks(name, each)]
    return "\n".join([*lines, "", *remarks]).rstrip()


def _remarks(name: str, each: Mapping[str, Any]) -> Iterator[str]:
    quality = "good" if each["ap"] >= 0.9 else "usable" if each["ap"] >= 0.7 else "poor: add sounds, or use better ones"
    if "ap_before" in each:
        yield f"a correction; without it, AP was {_two(each['ap_before'])}"
    yield f"{quality}, by windows of 2 s of recordings that were held out"
    if each["held_out"] == "files":
        yield (
            "held out file by file: if they are all of one instrument or player, another one may be "
            "recognised less well; sounds of others, each in its own folder, would show it"
        )
    elif each["held_out"] == "one recording":
        yield "one recording only, divided in time: these figures are too good; add others"
    elif each["held_out"] == "parts":
        yield "its recordings are divided in time: these figures are too good; add some without the other instruments"
    if each["seconds"] < _FEW_SECONDS:
        yield f"{each['seconds']:.0f} s of sound are few: a minute or more, of several recordings, is better"
    for other, share in each["taken_for"].items():
        yield f"{_percent(share)} of it is taken for {DISPLAY_NAMES[other]}"
    for other, share in each["alarms_on"].items():
        yield f"false alarms in {_percent(share)} of {DISPLAY_NAMES[other]}"


def _two(value: float | None) -> str:
    return "–" if value is None else f"{value:.2f}".removeprefix("0") if value < 0.995 else "1.00"


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %" if 0 < value < 0.1 else f"{100 * value:.0f} %"


def _write(
    to: Path, head: "Head", encoder: "Encoder", evaluation: Mapping[str, Mapping[str, Any]], folder: Path
) -> None:
    from datetime import UTC, datetime
    from importlib.metadata import version

    from instrec_live.models.learned import write_learned

    date = datetime.now(UTC).date().isoformat()
    provenance = {
        "program": f"instrec-live {version('instrec-live')}",
        "date": date,
        "sounds": folder.resolve().name,
        "licence": "that of the sounds in the folder, which this program does not know",
        "networks": {base.name: base.sha256 for base in encoder.bases},
        "background": "embeddings of the sound that the bundled networks were trained on; their cards name it",
    }
    card = (
        f"# {to.resolve().name}\n\nInstruments learned with `instrec-live learn` on {date}: a linear head on the "
        f"embeddings of {' and '.join(base.name for base in encoder.bases)}. Its sounds, and their licence, are those "
        f"of the folder {folder.resolve().name!r}; the other sound that it tells them from is the bundled networks' "
        f"own (see their cards).\n\nCross-validated, in windows of 2 s:\n\n```\n{table(evaluation)}\n```\n"
    )
    try:
        write_learned(
            to,
            bases=encoder.bases,
            classes=head.classes,
            weight=head.weight,
            bias=head.bias,
            thresholds=head.thresholds,
            held_back_by=head.held_back_by,
            provenance=provenance,
            evaluation=evaluation,
            model_card=card,
        )
    except OSError as error:
        raise write_failed(to, error) from error
