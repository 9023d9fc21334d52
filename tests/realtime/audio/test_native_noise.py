"""What libraries write to stderr is left out, what we write never is, however many threads are at it."""

import os
import random
import threading
import time
from pathlib import Path

import pytest

from instrec_live.realtime.audio.native_noise import suppress_stderr


def test_nothing_of_ours_is_lost_among_many_threads(capfd) -> None:
    def work(number: int) -> None:
        chance = random.Random(number)
        for turn in range(20):
            with suppress_stderr():
                os.write(2, b"a library's note\n")
                os.write(2, f"instrec-live: {number} {turn}\n".encode())
                time.sleep(chance.uniform(0, 0.002))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    os.write(2, b"after\n")
    lines = capfd.readouterr().err.splitlines()
    assert lines.pop() == "after"
    assert sorted(lines) == sorted(f"instrec-live: {number} {turn}" for number in range(8) for turn in range(20))


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="descriptors are counted in /proc")
def test_no_descriptors_are_left() -> None:
    def count() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = count()
    for _ in range(5):
        with suppress_stderr(), suppress_stderr():
            pass
    assert count() == before
