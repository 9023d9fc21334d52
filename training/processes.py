"""Worker processes of the commands that render and decode sound."""

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context


@contextmanager
def worker_processes(
    count: int, initializer: Callable[..., None] | None = None, *args: object
) -> Iterator[ProcessPoolExecutor]:
    """A pool of `count` processes, each of which calls `initializer(*args)` first.

    When the block ends with an error or Ctrl-C, jobs that have not begun are dropped and the others end first:
    multiprocessing.Pool terminates its workers instead, and hangs if one of them holds the lock of a queue. The
    processes are spawned, because torch's and BLAS's threads do not survive a fork.
    """
    pool = ProcessPoolExecutor(count, get_context("spawn"), _begin, (initializer, args))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


def _begin(initializer: Callable[..., None] | None, args: tuple[object, ...]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and ends its workers
    if initializer is not None:
        initializer(*args)
