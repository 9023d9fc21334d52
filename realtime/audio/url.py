"""Sound at http:// and https:// addresses: files, which are fetched, and radio, which is read as it arrives."""

import logging
import re
import time
from collections import deque
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from instrec_live.models.conditioning import Sanity
from instrec_live.realtime.audio.byte_input import DecodeError
from instrec_live.realtime.audio.decoders import BreaksOff
from instrec_live.realtime.audio.file import FileSource, unreadable
from instrec_live.realtime.audio.reader import NotSound, Reader, Sound, open_pipe
from instrec_live.realtime.audio.source import block_frames, why_not
from instrec_live.realtime.errors import InputFileError, UsageError, printable

if TYPE_CHECKING:
    from instrec_live.realtime.audio.web import Answer, HttpInput

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+)://")  # no drive has a name of two letters
# What an HLS playlist may make FFmpeg open: nothing on this machine.
_HLS_OPTIONS = {"protocol_whitelist": "http,https,tcp,tls,crypto", "http_persistent": "0", "max_reload": "3"}

log = logging.getLogger(__name__)


def is_url(text: object) -> bool:
    """Whether this is an address, of any scheme, rather than a path."""
    return isinstance(text, str) and _SCHEME.match(text) is not None


def label_of(address: str) -> str:
    """What to call an address: the name of its file, or its host."""
    parts = urlsplit(address)
    return printable(unquote(parts.path.rstrip("/").rsplit("/", 1)[-1]) or parts.hostname or address)


class ConnectionLost(InputFileError):  # noqa: N818 - named like those in models/errors.py
    """A radio no longer delivers sound; it may do so again.

    Attributes:
        since: when the last of it came, s of the monotonic clock; None if that is unknown. A stall is detected later.
    """

    since: float | None = None


class UrlFileSource(FileSource):
    """A file at an address. See `FileSource`; its label is the address's own name."""

    def __init__(
        self,
        answer: "Answer",
        start: float = 0.0,
        duration: float | None = None,
        track: int | None = None,
    ) -> None:
        from instrec_live.realtime.audio.web import Fetched

        self._fetched = Fetched(answer)
        if self._fetched.path.stat().st_size == 0:
            self._fetched.close()
            raise InputFileError(f"{printable(answer.address)} is empty (0 bytes)")
        try:
            super().__init__(self._fetched.path, start, duration, track, name=printable(answer.address))
        except BaseException:
            self._fetched.close()
            raise
        self.label = label_of(answer.address)

    def _ended(self) -> None:
        super()._ended()
        if self._fetched.missing is not None:
            raise InputFileError(
                f"{self._name} ends early, at {self._position / self.rate:.2f} s: {self._fetched.missing}",
                "what came before is kept",
            )

    def close(self) -> None:
        super().close()
        self._fetched.close()


class RadioSource:
    """Sound that comes from an address for as long as it likes. See `Source`.

    Args:
        address: of the radio.
        answer: of `ask`, if it was asked already.
        track: which of several sounds, from 1.

    Attributes:
        returns: a lost connection may return: its end is not the end of the sound.

    Raises:
        InputFileError: it cannot be reached, or delivers no sound.
    """

    duration = None
    xruns = 0
    live = True

    def __init__(self, address: str, answer: "Answer | None" = None, track: int | None = None) -> None:
        self.address, self._track = address, track
        self.label = label_of(address)
        self._name = printable(address)
        if answer is None:
            from instrec_live.realtime.audio.web import ask

            answer = ask(address)
        self.returns = answer.kind in ("radio", "live hls")
        self.sanity = Sanity(self._note)
        self._titles: deque[str] = deque(maxlen=100)
        self._input: HttpInput | None = None
        self._closed = False
        self._frames = 0
        try:
            self._reader = self._open(answer)
        except NotSound as error:
            raise InputFileError(f"{self._name}: {error.message}", error.hint) from error
        except DecodeError as error:
            raise InputFileError(f"{self._name} cannot be read: {error}") from error
        self.rate, self.channels = self._reader.rate, self._reader.channels
        self._begun = time.monotonic()
        if fault := why_not(self.rate, self.channels):
            self.close()
            raise InputFileError(f"{self._name} claims {fault}")

    def _open(self, answer: "Answer") -> Reader:
        if answer.response is None:
            from instrec_live.realtime.audio.av_decoder import AvDecoder

            sound = Sound("HLS", lambda: AvDecoder(answer.address, "hls", self._track, options=_HLS_OPTIONS))
            return Reader(iter([sound]), False, self._note)
        from instrec_live.realtime.audio.web import HttpInput

        self._input = HttpInput(answer.response, self._titles.append)
        return open_pipe(self._input, None, self._track, self._note)

    def reopened(self) -> "RadioSource":
        """The same once more, after its connection was lost.

        Raises:
            InputFileError: it cannot be reached, or delivers no sound.
        """
        source = RadioSource(self.address, None, self._track)
        source.returns = True
        return source

    def begins(self, timeout: float) -> float | None:
        """When the sound that is there to `read` began, s of the monotonic clock."""
        return self._begun

    def titles(self) -> list[str]:
        """The title received since the last call. From any thread."""
        titles = []
        while self._titles:
            titles.append(self._titles.popleft())
        return titles

    @property
    def bad_samples(self) -> int:
        return self.sanity.bad

    def _note(self, what: str) -> None:
        log.warning("%s: %s", self._name, what)

    def read(self) -> NDArray[np.float32] | None:
        """The next sound, up to 0.1 s, float32 [m, channels]; waits for it. None at the end or once closed.

        Raises:
            ConnectionLost: a radio gives nothing more.
            InputFileError: the sound cannot be decoded any further.
        """
        if self._closed:
            return None
        try:
            block = self._reader.read(block_frames(self.rate))
        except (BreaksOff, DecodeError) as error:
            if self._closed:
                return None
            if self.returns:
                raise self._lost(str(error)) from error
            raise unreadable(self._name, self._frames / self.rate, error) from error
        self._frames += len(block)
        if len(block):
            return self.sanity(block)
        if self.returns and not self._closed:
            raise self._lost("the connection ended")
        return None

    def _lost(self, why: str) -> ConnectionLost:
        error = ConnectionLost(f"{self._name} no longer delivers sound: {why}")
        error.since = None if self._input is None else self._input.received
        return error

    def close(self) -> None:
        """Close the connection; a waiting `read` ends within the time that counts as a stall."""
        self._closed = True
        if self._input is not None:
            self._input.close()


def open_url(
    address: str, start: float = 0.0, duration: float | None = None, track: int | None = None
) -> FileSource | RadioSource:
    """The sound at an address: a file, fetched, or a radio.

    Raises:
        InputFileError, UsageError: as `FileSource` and `RadioSource`; `start` with something other than a file.
    """
    from instrec_live.realtime.audio.web import ask

    answer = ask(address)
    if answer.kind == "file":
        return UrlFileSource(answer, start, duration, track)
    if start:
        if answer.response is not None:
            answer.response.close()
        raise UsageError(f"--start needs a file, and {printable(address)} is a stream")
    return RadioSource(address, answer, track)
