"""Parts of a long file, which many processes may hear, and the same answers as of the whole, to the last bit.

What is dear, the networks' answers to a window, depends on the last ten seconds only. So a process reads the file
from its beginning, which costs little, and asks the networks about the windows of its part alone. What goes on from
window to window, the smoothing, costs next to nothing: it is done for all parts at the end, in order.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.logmel import SAMPLE_RATE, WINDOW_SECONDS, StreamingLogMel
from instrec_live.realtime.analysis import AHEAD_SECONDS, Analysis, Piece, hop_samples
from instrec_live.realtime.capture import Intake
from instrec_live.realtime.errors import InputFileError, InstrecError, printable
from instrec_live.realtime.facts import facts_of
from instrec_live.realtime.hops import all_hops, batched
from instrec_live.realtime.sources import FileSource
from instrec_live.realtime.update import StreamInfo, Update

if TYPE_CHECKING:
    from instrec_live.models.tagger import Tagger
    from instrec_live.realtime.tagging.job import Job

FloatArray = NDArray[np.float32]
Window = tuple[int, int]
Answers = Mapping[Window, Mapping[str, FloatArray]]

PART_SECONDS = 300.0  # no part is shorter
MOST = 8  # parts of a file: each reads all that lies before it
BATCH = 16  # hops that go through the networks together, as `Stream` has them
_REACH = WINDOW_SECONDS + 2.0  # s that an answer may look back, with room


@dataclass(frozen=True, slots=True)
class Span:
    """Batches of hops, [first, stop); None: to the end."""

    first: int
    stop: int | None


@dataclass(frozen=True)
class Heard:
    """What there is to say of a part before it is smoothed. Can be pickled.

    Attributes:
        info: the facts of the whole; None if it could not be opened.
        pieces: the part's hops, each with the bad samples so far.
        answers: calibrated logits [20] of each network, by window.
        fault: what is wrong with the sound after the last piece, or None.
    """

    info: StreamInfo | None
    pieces: tuple[tuple[Piece, int], ...]
    answers: Answers
    fault: str | None


def batch_hops(hop: int) -> int:
    """How many hops of so many samples go through the networks together."""
    return max(1, min(BATCH, int(AHEAD_SECONDS * SAMPLE_RATE) // hop))


def spans(path: Path, hop: float, share: int) -> tuple[Span, ...]:
    """At most `share` parts, of nearly the same length, of a file that is long enough; else none.

    Raises:
        InputFileError: it cannot be opened.
    """
    source = FileSource(path)
    source.close()
    count = min(share, MOST, int((source.duration or 0.0) // PART_SECONDS))
    if count < 2:
        return ()
    samples = hop_samples(hop)
    batches = math.ceil((source.duration or 0.0) * SAMPLE_RATE / (samples * batch_hops(samples)))
    borders = [round(k * batches / count) for k in range(count)]
    return tuple(Span(first, stop) for first, stop in zip(borders, [*borders[1:], None], strict=True))


def heard(path: Path, job: "Job", tagger: "Tagger", span: Span) -> Heard:
    """What the networks say of a part of a file. What is wrong with the file stands in it; nothing is raised for it."""
    info: StreamInfo | None = None
    pieces: list[tuple[Piece, int]] = []
    answers: dict[Window, Mapping[str, FloatArray]] = {}
    fault = None
    try:
        source = FileSource(path)
        try:
            hop, levels = hop_samples(job.hop), job.levels(tagger)
            info = facts_of(source, "max", hop, tagger, levels, job.smoothing)
            analysis = Analysis(tagger, hop, levels, job.gate_db, job.smoothing)
            for piece, asked in _asked(source, analysis, hop, span):
                pieces.append((piece, source.bad_samples))
                answers |= asked
        finally:
            source.close()
    except InstrecError as error:
        fault = error.message
    except Exception as error:  # as in Job.tag
        fault = f"finds a defect of the program: {printable(repr(error))}"
    return Heard(info, tuple(pieces), answers, fault)


def _asked(source: FileSource, analysis: Analysis, hop: int, span: Span) -> Iterator[tuple[Piece, Answers]]:
    """The part's hops, with what the networks say of the windows that end there.

    The networks begin before the part, that they may hear the same patches in the same batches as of the whole: a
    patch may come out otherwise, in its last bits, if heard together with others. Twice the reach: after the first the
    patches of every batch are the same, and after the second no answer depends on one heard earlier.
    """
    most = batch_hops(hop)
    reach = math.ceil(_REACH * SAMPLE_RATE / (hop * most))  # batches
    for number, batch in enumerate(batched(all_hops(Intake(source), hop, lambda: False), most)):
        if number == span.stop:
            return
        if number < span.first - 3 * reach:
            for samples in batch:
                analysis.pass_over(samples)
            continue
        taken = [analysis.take(samples, 0) for samples in batch]
        if number < span.first - 2 * reach:
            continue
        analysis.follower.prepare([window for piece in taken for window in piece.windows])
        for piece in taken:
            answers = {window: analysis.follower.calibrated(*window) for window in piece.windows}
            if number >= span.first:
                yield piece, answers


def updates(parts: Sequence[Heard], job: "Job", tagger: "Tagger") -> Iterator[Update]:
    """The updates of the whole file from its parts, in order.

    Raises:
        InputFileError: where the file's own sound ends in a fault.
    """
    told = {window: answer for part in parts for window, answer in part.answers.items()}
    recited = _Recited(tagger, told)
    analysis = Analysis(recited, hop_samples(job.hop), job.levels(tagger), job.gate_db, job.smoothing)
    for part in parts:
        for piece, bad_samples in part.pieces:
            yield replace(analysis.answer(piece), bad_samples=bad_samples)
        if part.fault is not None:
            raise InputFileError(part.fault)
    if not any(part.pieces for part in parts):
        raise InputFileError("there is no sound in it")


class _Recited:
    """Looks like the networks, and like their follower, and says what they have said."""

    def __init__(self, tagger: "Tagger", told: Answers) -> None:
        self._tagger, self._told = tagger, told

    @property
    def models(self) -> tuple[str, ...]:
        return self._tagger.models

    def follow(self, mel: StreamingLogMel, hop: int, /) -> "_Recited":
        return self

    def ensemble(self, calibrated: Mapping[str, FloatArray], /) -> FloatArray:
        return self._tagger.ensemble(calibrated)

    def calibrated(self, end: int, length: int, /) -> Mapping[str, FloatArray]:
        return self._told[end, length]

    def prepare(self, windows: Sequence[Window], /) -> None:
        """Everything is known."""
