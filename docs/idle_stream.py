"""A stream that gives no updates of its own: the pictures of the screen are drawn from updates made before."""

import threading
from collections.abc import Iterator

from instrec_live.realtime.stream.update import StreamInfo, Transport, Update


class IdleStream:
    """What the screen needs of a stream, except its keys; iterating waits for `stop`."""

    recording = None

    def __init__(self, info: StreamInfo, transport: Transport | None = None) -> None:
        self.info, self.transport = info, transport
        self._closed = threading.Event()

    def __iter__(self) -> Iterator[Update]:
        self._closed.wait()
        yield from ()

    def stop(self) -> None:
        self._closed.set()

    def close(self) -> None:
        self.stop()

    def notices(self) -> list[str]:
        return []
