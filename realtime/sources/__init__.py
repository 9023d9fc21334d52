"""Where sound comes from: a file, a microphone, or a pipe, all read the same way."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from instrec_live.realtime.sources.file import FileSource
from instrec_live.realtime.sources.microphone import MicrophoneSource
from instrec_live.realtime.sources.monitor import MonitorSource
from instrec_live.realtime.sources.pipe import PipeSource

__all__ = ["FileSource", "MicrophoneSource", "MonitorSource", "PipeSource", "Source"]


class Source(Protocol):
    """Sound, block by block, at its own rate.

    Attributes:
        label: what to call it on the screen: "concert.wav", "[2] Scarlett 2i2", "stdin".
        rate: Hz.
        channels: how many.
        duration: seconds it will give, None if unknown.
        live: it cannot wait for its reader.
        xruns: blocks of sound lost so far.
        bad_samples: samples zeroed so far because they were no sound (NaN, infinite, absurdly large).
    """

    @property
    def label(self) -> str: ...
    @property
    def rate(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def duration(self) -> float | None: ...
    @property
    def live(self) -> bool: ...
    @property
    def xruns(self) -> int: ...
    @property
    def bad_samples(self) -> int: ...

    def read(self) -> NDArray[np.float32] | None:
        """The next block, float32 [m, channels], m about 0.1 s; waits for it. None at the end or once closed.

        Raises:
            InputFileError: the file or pipe cannot be read any further.
            AudioDeviceError: the device is gone.
        """

    def close(self) -> None:
        """Let go of the file or device; from any thread, any number of times."""
