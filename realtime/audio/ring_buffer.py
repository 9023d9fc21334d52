"""The last seconds of sound, for one thread that writes and one that reads, neither waiting for the other."""

import threading
import time
from contextlib import suppress

import numpy as np
from numpy.typing import NDArray

SLACK = 64_000  # samples, 2 s at 32 kHz


class Overrun(LookupError):  # noqa: N818 - the field's own name
    """Samples were asked for that newer ones have overwritten."""


class RingBuffer:
    """The newest samples of an endless signal, addressed by absolute sample index.

    Reader and writer share no lock, so a slow reader can never hold up the sound. The writer first announces
    how far it is about to write (`_claimed`), copies, and only then publishes (`written`): what is published
    is complete, and a reader that was overtaken while copying detects it by `_claimed` and raises instead of
    returning a torn window. The slack is what may be written during one copy without overtaking it.

    Args:
        capacity: samples that stay readable.
        slack: samples kept beyond that.
    """

    def __init__(self, capacity: int, slack: int = SLACK) -> None:
        if capacity < 1 or slack < 0:
            raise ValueError(f"a ring buffer cannot hold {capacity} samples and {slack} of slack")
        self._samples = np.zeros(capacity + slack, np.float32)
        self._capacity = capacity
        self._claimed = self._written = 0
        self._closed = False
        self._wanted = 0  # the index that the reader waits for: the writer does not wake it for less
        # Locked, until there is news. A bare lock, not an Event: a signal's exception may strike while the reader
        # waits, and must not leave Python code half done in here.
        self._bell = threading.Lock()
        self._bell.acquire()

    @property
    def capacity(self) -> int:
        """Samples that stay readable."""
        return self._capacity

    @property
    def written(self) -> int:
        """Absolute index after the newest whole sample."""
        return self._written

    @property
    def closed(self) -> bool:
        """Whether `close` was called: nothing more will be written."""
        return self._closed

    def write(self, samples: NDArray[np.float32]) -> None:
        """Append float32 [m]. Never blocks. Of more than the buffer holds, the newest are kept."""
        count, size = len(samples), len(self._samples)
        end = self._written + count
        kept = samples[-size:]
        at = (end - len(kept)) % size
        head = min(len(kept), size - at)
        self._claimed = end
        self._samples[at : at + head] = kept[:head]
        self._samples[: len(kept) - head] = kept[head:]
        self._written = end
        if end >= self._wanted:
            self._ring()

    def read(self, start: int, stop: int) -> NDArray[np.float32]:
        """The samples [start, stop).

        Returns:
            float32 [stop - start], a copy.

        Raises:
            IndexError: some are not written yet, or the range makes no sense.
            Overrun: some are older than the capacity, or were overwritten while they were copied.
        """
        written = self._written
        if not 0 <= start <= stop <= written:
            raise IndexError(f"samples {start}…{stop} are not written yet (the sound reaches {written})")
        if start < written - self._capacity and start < stop:
            raise Overrun(f"samples from {start} are gone (the buffer begins at {written - self._capacity})")
        count, size = stop - start, len(self._samples)
        at = start % size
        head = min(count, size - at)
        out = np.empty(count, self._samples.dtype)
        out[:head] = self._samples[at : at + head]
        out[head:] = self._samples[: count - head]
        if start < self._claimed - size and count:
            raise Overrun(f"samples from {start} were overwritten while they were read")
        return out

    def wait(self, index: int, timeout: float | None = None) -> bool:
        """Wait until `written` has reached `index`, for at most `timeout` seconds or until `close()`.

        Returns:
            Whether `written` has reached `index`.
        """
        self._wanted = index
        deadline = None if timeout is None else time.monotonic() + timeout
        while self._written < index and not self._closed:
            # The bell may have rung for news that was seen already: then look, and wait again.
            left = -1.0 if deadline is None else max(0.0, deadline - time.monotonic())
            if not self._bell.acquire(timeout=left):
                break
        return self._written >= index

    def close(self) -> None:
        """Release a waiting reader; what was written stays readable. From any thread, any number of times."""
        self._closed = True
        self._ring()

    def _ring(self) -> None:
        if self._bell.locked():
            with suppress(RuntimeError):  # writer and closer rang at the same moment
                self._bell.release()
