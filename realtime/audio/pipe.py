"""Sound that another program pipes in: any container, or raw PCM that is described."""

import logging
from io import TextIOBase
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.conditioning import Sanity
from instrec_live.realtime.audio.byte_input import ByteInput, DecodeError, PipeInput
from instrec_live.realtime.audio.decoders import BreaksOff
from instrec_live.realtime.audio.file import unreadable
from instrec_live.realtime.audio.pcm import raw_layout
from instrec_live.realtime.audio.reader import NotSound, open_pipe
from instrec_live.realtime.audio.source import block_frames, why_not
from instrec_live.realtime.errors import InputFileError, UsageError

SAMPLE_FORMATS = ("s16le", "s24le", "s32le", "f32le")
_EXAMPLE = "e.g. ffmpeg -nostdin -v error -i URL -f wav - | instrec-live --stdin"

log = logging.getLogger(__name__)


class PipeSource:
    """The sound of a byte stream. See `Source`. The stream belongs to the caller and is not closed.

    Its content decides what it is, as with a file. Only where one of the next three is not None, a stream without a
    container is raw PCM.

    Args:
        stream: e.g. sys.stdin.buffer, nothing of it read yet; or an input.
        rate: of raw PCM, Hz; None with the next two: there is none.
        channels: interleaved; None: 1.
        sample_format: s16le, s24le, s32le or f32le; None: s16le.
        track: which of several sounds of a film, from 1.
        label: what to call it.

    Raises:
        UsageError: rate, channels, format or track make no sense, or the stream is a terminal.
        InputFileError: nothing comes, or no sound.
    """

    live = True
    duration = None
    xruns = 0

    def __init__(
        self,
        stream: BinaryIO | ByteInput,
        rate: int | None = None,
        channels: int | None = None,
        sample_format: str | None = None,
        track: int | None = None,
        label: str = "stdin",
    ) -> None:
        self.label = label
        raw = None
        if not (rate is None and channels is None and sample_format is None):
            if sample_format not in (None, *SAMPLE_FORMATS):
                raise UsageError(f"sample format {sample_format!r} is not known", f"one of {', '.join(SAMPLE_FORMATS)}")
            described = rate if rate is not None else 44_100, channels if channels is not None else 1
            if fault := why_not(*described):
                raise UsageError(f"the pipe cannot have {fault}")
            raw = raw_layout(sample_format or "s16le", *described)
        if isinstance(stream, TextIOBase):
            raise UsageError("a pipe of sound must be a binary stream, not text", "sys.stdin.buffer, for example")
        if not isinstance(stream, ByteInput):
            if stream.isatty():
                raise UsageError("--stdin needs sound piped in, but stdin is a terminal", _EXAMPLE)
            stream = PipeInput(stream)
        self._input = stream
        self._closed = self._noted = False
        self._frames = 0
        self._fault: InputFileError | None = None
        self.sanity = Sanity(self._note)
        try:
            self._reader = open_pipe(self._input, raw, track, self._note)
        except NotSound as error:
            line = error.message if " pipe" in error.message else f"the piped data {error.message}"
            raise InputFileError(line, error.hint or _EXAMPLE) from error
        except DecodeError as error:
            raise InputFileError(f"the piped data cannot be read: {error}", _EXAMPLE) from error
        self.rate, self.channels = self._reader.rate, self._reader.channels
        if fault := why_not(self.rate, self.channels):
            raise InputFileError(f"the piped data claims {fault}", "is it damaged?")

    @property
    def bad_samples(self) -> int:
        return self.sanity.bad

    def _note(self, what: str) -> None:
        log.warning("%s: %s", self.label, what)

    def read(self) -> NDArray[np.float32] | None:
        """What the pipe holds, up to 0.1 s, float32 [m, channels]; waits for a whole frame.

        None at the end or once closed. A frame that the end cuts short is dropped.

        Raises:
            InputFileError: the sound breaks off or cannot be decoded, with the second reached.
        """
        if self._closed:
            return None
        try:
            block = self._reader.read(block_frames(self.rate))
        except (BreaksOff, DecodeError) as error:
            if self._closed:
                return None
            raise unreadable(self.label, self._frames / self.rate, error) from error
        self._frames += len(block)
        if len(block):
            return self.sanity(block)
        if not self._noted and not self._closed and (verdict := self.sanity.verdict) is not None:
            self._noted = True
            self._note(verdict)
        return None

    def close(self) -> None:
        """Let a waiting `read` return None (within 0.1 s, where the system can wait for a pipe)."""
        self._closed = True
        if isinstance(self._input, PipeInput):
            self._input.end()
