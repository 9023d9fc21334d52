"""Segments and labels as files of other programs: Audacity, Raven, Praat, Sonic Visualiser, video players."""

import csv
from abc import abstractmethod
from collections import deque
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from instrec_live.models.instruments import DISPLAY_NAMES, INSTRUMENTS
from instrec_live.models.segments import Segment
from instrec_live.realtime.outputs.files import check_whole, write_whole
from instrec_live.realtime.outputs.sink import ChangeTimes, SegmentTracker, Sink, Summary, goes_on, in_words
from instrec_live.realtime.stream.update import Update


class SegmentSink(Sink):
    """An output of segments, each written by `segment` once it has ended, and of labels."""

    keeps_labels = True

    def __init__(self, head: Mapping[str, Any]) -> None:
        self._tracker = SegmentTracker(head)

    @abstractmethod
    def segment(self, each: Segment) -> None:
        """Write a segment."""

    def write(self, update: Update) -> None:
        for each in self._tracker.after(update):
            self.segment(each)

    def close(self, summary: Summary) -> None:
        for each in self._tracker.rest():
            self.segment(each)


# A region layer for Sonic Visualiser, in the columns that it writes such a layer in itself.
#
# It identifies columns by their names (since its version 5), and reads rows with a duration as regions. Without names
# it would want start times that only increase; regions that end in another order than they begin cannot give that.
# Its reader knows neither doubled quotes nor plain backslashes.
_SPELT_OTHERWISE = str.maketrans({'"': "'", "\\": "/"})


class Regions(SegmentSink):
    """TIME, VALUE (the instrument's number, from 1), DURATION and LABEL; labels have the value 0 and no duration."""

    def __init__(self, file: TextIO, head: Mapping[str, Any]) -> None:
        super().__init__(head)
        self._file, self._csv = file, csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_MINIMAL)
        self._instruments = list(head.get("instruments", INSTRUMENTS))
        self._row("TIME", "VALUE", "DURATION", "LABEL")

    def segment(self, each: Segment) -> None:
        value, duration = 1 + self._instruments.index(each.name), each.offset - each.onset
        self._row(f"{each.onset:.3f}", value, f"{duration:.3f}", in_words(each))

    def label(self, time: float, text: str) -> None:
        self._row(f"{time:.3f}", 0, "0.000", text.translate(_SPELT_OTHERWISE))

    def _row(self, *cells: object) -> None:
        self._csv.writerow(cells)
        self._file.flush()


# WebVTT: subtitles with the active instruments, for any video player.

_LABEL_SECONDS = 2.0  # a cue must last


class Subtitles(Sink):
    """A cue for each segment in which the same instruments are active, and one for each label."""

    keeps_labels = True

    def __init__(self, file: TextIO, head: Mapping[str, Any]) -> None:
        self._file, self._hop = file, float(head.get("hop", 0.5))
        self._shown: tuple[str, ...] = ()
        self._since = self._latest = 0.0
        self._time: float | None = None
        self._times = ChangeTimes(head)
        self._total, self._count = np.zeros(1), 0  # of the probabilities during the cue
        self._labels: list[tuple[float, str]] = []  # set during the cue that is not written yet
        self._alone: deque[float] = deque(maxlen=100)  # times of labels that were set while nothing was active
        self._in_order, self._number = True, 0
        self._instruments: tuple[str, ...] = ()  # of those probabilities
        file.write(self._head(str(head.get("source", ""))))
        file.flush()

    def write(self, update: Update) -> None:
        flows, now = goes_on(update, self._time), self._times.of(update, self._time)
        if not flows or update.active != self._shown:
            self._end(now if flows or self._time is None else self._time)
            self._shown, self._since = update.active, now
            self._total, self._count, self._instruments = np.zeros(1), 0, update.instruments
        self._total, self._count = self._total + np.round(update.probabilities.astype(np.float64), 4), self._count + 1
        self._time = update.time

    def label(self, time: float, text: str) -> None:
        if not text.strip():  # a cue without text would end the one before it
            return
        self._labels.append((time, text))
        if not self._shown:
            self._alone.append(time)
            self._end(time)

    def close(self, summary: Summary) -> None:
        self._end(summary.time, summary.time)
        path = Path(self._file.name)
        late = [time for time in self._alone if time < summary.time < time + _LABEL_SECONDS]
        if (late or not self._in_order) and path.is_file():
            text = path.read_text(encoding="utf-8")
            for time in late:
                text = text.replace(self._span(time, time + _LABEL_SECONDS), self._span(time, summary.time))
            write_whole(path, (text if self._in_order else self._put_in_order(text)).encode(), force=True)

    def _end(self, time: float, until: float | None = None) -> None:
        if self._shown:
            mean = dict(zip(self._instruments, (self._total / max(self._count, 1)).tolist(), strict=True))
            text = ", ".join(f"{DISPLAY_NAMES[name]} {mean[name]:.2f}" for name in self._shown)
            # An update at the very end, or before a jump, has no next one: it is shown during its own hop.
            start = self._since if time > self._since else max(0.0, self._since - self._hop)
            self._cue(start, max(time, self._since, start + 0.001), text)
        for moment, text in self._labels:
            # A label may be where nothing was heard: of a file that was paused and sought in.
            end = moment + _LABEL_SECONDS if until is None or moment > until else max(until, 0.001)
            self._cue(min(moment, max(0.0, end - 0.001)), min(moment + _LABEL_SECONDS, end), text)
        self._shown, self._labels = (), []

    def _cue(self, start: float, end: float, text: str) -> None:
        self._in_order = self._in_order and start >= self._latest
        self._latest = max(self._latest, start)
        self._number += 1
        self._file.write(self._written(self._number, start, end, text))
        self._file.flush()

    def _head(self, source: str) -> str:
        return f"WEBVTT\n\nNOTE\ninstrec-live: {_escaped(source)}\n\n"

    def _written(self, number: int, start: float, end: float, text: str) -> str:
        return f"{self._span(start, end)}\n{_escaped(text)}\n\n"

    def _span(self, start: float, end: float) -> str:
        return f"{_stamp(start)} --> {_stamp(end)}"

    def _put_in_order(self, text: str) -> str:
        """The file's text with its cues sorted by start, as the format requires; a seek backwards breaks the order."""
        head, note, *cues = text.removesuffix("\n\n").split("\n\n")
        return "\n\n".join([head, note, *sorted(cues, key=_start)]) + "\n\n"


class Srt(Subtitles):
    """The same as SubRip subtitles: numbered, with a comma before the thousandths, and no header."""

    def _head(self, source: str) -> str:
        return ""

    def _written(self, number: int, start: float, end: float, text: str) -> str:
        return f"{number}\n{self._span(start, end)}\n{text.replace('-->', '->')}\n\n"

    def _span(self, start: float, end: float) -> str:
        return super()._span(start, end).replace(".", ",")

    def _put_in_order(self, text: str) -> str:
        cues = text.removesuffix("\n\n").split("\n\n")
        parts = sorted((cue.split("\n", 1)[1] for cue in cues), key=lambda cue: _start(cue.replace(",", ".")))
        return "".join(f"{number}\n{cue}\n\n" for number, cue in enumerate(parts, start=1))


def _stamp(seconds: float) -> str:
    """3723.5 -> 01:02:03.500."""
    minutes, thousandths = divmod(round(seconds * 1000), 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{thousandths // 1000:02d}.{thousandths % 1000:03d}"


def _escaped(text: str) -> str:
    # Without ">" no text can hold "-->", which would end its block.
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _start(cue: str) -> float:
    hours, minutes, seconds = cue.partition(" ")[0].split(":")
    return int(hours) * 3600 + int(minutes) * 60 + float(seconds)


class Labels(SegmentSink):
    """A label track for Audacity: onset, offset, name and mean probability of each segment; labels as points."""

    def __init__(self, file: TextIO, head: Mapping[str, Any]) -> None:
        super().__init__(head)
        self._file = file

    def segment(self, each: Segment) -> None:
        self._line(each.onset, each.offset, in_words(each))

    def label(self, time: float, text: str) -> None:
        self._line(time, time, text)

    def _line(self, onset: float, offset: float, text: str) -> None:
        self._file.write(f"{onset:.3f}\t{offset:.3f}\t{text}\n")
        self._file.flush()


class Selections(SegmentSink):
    """A selection table for Raven: tab-separated, a line for each segment and label, over all frequencies."""

    def __init__(self, file: TextIO, head: Mapping[str, Any]) -> None:
        super().__init__(head)
        self._file, self._number = file, 0
        self._highest = float(head.get("rate", 32_000)) / 2
        file.write("\t".join(_RAVEN) + "\n")
        file.flush()

    def segment(self, each: Segment) -> None:
        self._line(each.onset, each.offset, DISPLAY_NAMES[each.name], f"{each.mean:.4f}")

    def label(self, time: float, text: str) -> None:
        self._line(time, time, text, "")

    def _line(self, onset: float, offset: float, text: str, mean: str) -> None:
        self._number += 1
        cells = (self._number, "Spectrogram 1", 1, f"{onset:.3f}", f"{offset:.3f}", 0, f"{self._highest:g}", text, mean)
        self._file.write("\t".join(map(str, cells)) + "\n")
        self._file.flush()


_RAVEN = (
    "Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Low Freq (Hz)", "High Freq (Hz)", "Annotation",
    "Probability",
)  # fmt: skip


class TextGrid(SegmentSink):
    """A TextGrid for Praat and ELAN: a tier of intervals for each instrument that sounds, and one of points for labels.

    Raises:
        UsageError: the file could not be written at the end.
    """

    def __init__(self, path: Path, head: Mapping[str, Any], force: bool) -> None:
        super().__init__(head)
        check_whole(path, force)
        self._path, self._force = path, force
        self._segments: list[Segment] = []
        self._labels: list[tuple[float, str]] = []

    def segment(self, each: Segment) -> None:
        self._segments.append(each)

    def label(self, time: float, text: str) -> None:
        self._labels.append((time, text))

    def close(self, summary: Summary) -> None:
        super().close(summary)
        # A label may be where nothing was heard: of a file that was paused and sought in.
        times = [each.offset for each in self._segments] + [time for time, _ in self._labels]
        end = max([summary.time, 0.001, *times])
        tiers = []
        for name in dict.fromkeys(each.name for each in sorted(self._segments, key=lambda each: each.onset)):
            intervals, last = [], 0.0
            for each in sorted((each for each in self._segments if each.name == name), key=lambda each: each.onset):
                onset = max(each.onset, last)  # a seek backwards hears some of the sound twice
                if each.offset <= onset:
                    continue
                intervals += [(last, onset, "")] * (onset > last) + [(onset, each.offset, f"{each.mean:.2f}")]
                last = each.offset
            intervals += [(last, end, "")] * (end > last)
            entries = ([f"xmin = {a:.3f}", f"xmax = {b:.3f}", f"text = {_praat(text)}"] for a, b, text in intervals)
            tiers.append(_tier("IntervalTier", DISPLAY_NAMES[name], end, entries))
        if self._labels:
            points = ([f"number = {t:.3f}", f"mark = {_praat(text)}"] for t, text in sorted(self._labels))
            tiers.append(_tier("TextTier", "labels", end, points))
        text = (
            'File type = "ooTextFile"\nObject class = "TextGrid"\n\n'
            f"xmin = 0\nxmax = {end:.3f}\ntiers? <exists>\nsize = {len(tiers)}\nitem []:\n"
            + "".join(f"    item [{number}]:\n{tier}" for number, tier in enumerate(tiers, start=1))
        )
        write_whole(self._path, text.encode(), self._force)


def _tier(kind: str, name: str, end: float, entries: Iterable[list[str]]) -> str:
    entries = list(entries)
    word = "intervals" if kind == "IntervalTier" else "points"
    head = [f'class = "{kind}"', f"name = {_praat(name)}", "xmin = 0", f"xmax = {end:.3f}"]
    lines = [*head, f"{word}: size = {len(entries)}"]
    for number, entry in enumerate(entries, start=1):
        lines += [f"{word} [{number}]:", *(f"    {line}" for line in entry)]
    return "".join(f"        {line}\n" for line in lines)


def _praat(text: str) -> str:
    return '"' + text.replace('"', '""') + '"'
