"""What a listener may do to a stream while it runs: the contract between the screen and the stream."""

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol


class Transport(Protocol):
    """How a file is played. Every method may be called from any thread, and returns at once.

    Attributes:
        paused: whether it stands still.
        speed: seconds of sound a second, 1.0 as recorded.
        position: second of the file that is being heard now.
        duration: where the file ends, s from its own start; None if unknown.
        audible: whether it is also played on the loudspeakers.
    """

    @property
    def paused(self) -> bool: ...
    @property
    def speed(self) -> float: ...
    @property
    def position(self) -> float: ...
    @property
    def duration(self) -> float | None: ...
    @property
    def audible(self) -> bool: ...
    def pause(self, paused: bool) -> None:
        """Stand still, or go on."""

    def seek(self, time: float) -> None:
        """Go on from another second of the file, held within it; the next update says `jumped`."""

    def go(self, speed: float) -> None:
        """Play at another speed, 0.25…4; faster than this machine can listen, windows are skipped."""


class Controls(Protocol):
    """What the keys of the screen do to a stream and to what is written of it.

    Attributes:
        transport: of a file played in real time; None for what cannot wait, or does not.
        recording: the file that the sound is being recorded into, None if it is not.
    """

    @property
    def transport(self) -> Transport | None: ...
    @property
    def recording(self) -> Path | None: ...
    def set_thresholds(self, levels: Mapping[str, float]) -> None:
        """Other thresholds for some instruments from the next update on; `info` has them at once."""

    def listen_to(self, device: int | str | None) -> None:
        """Go on with another microphone; the clock goes on too, and the next update says `jumped`.

        Blocks until the device is open. On an error the old device stays.

        Raises:
            AudioDeviceError: it cannot be opened.
            UsageError: the stream does not listen to a microphone.
        """

    def label(self, text: str, time: float) -> None:
        """Write a label, at `time` (s), into every output that can hold one."""

    def record(self, on: bool) -> Path:
        """Begin a recording, with the seconds before, or end it; returns its file.

        Raises:
            UsageError: the file cannot be made.
        """

    def notices(self) -> list[str]:
        """What has gone wrong since the last call and ended nothing, in short lines: a full disk, a lost player."""
