"""One process at a time, and no longer than it lives."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import wait_for

from instrec_live.models.errors import UsageError
from instrec_live.models.fetch.lock import file_lock

HOLDER = """
import os, sys, time
from pathlib import Path
from instrec_live.models.fetch.lock import file_lock
with file_lock(Path(sys.argv[1]), busy="busy"):
    if child := os.fork():
        print(child, flush=True)
    else:
        os.close(1)  # as a worker that loads data, it outlives its parent
    time.sleep(600)
"""


def test_a_second_one_is_refused_or_waits_and_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with file_lock(path):
        with pytest.raises(UsageError, match="training there"), file_lock(path, busy="another run is training there"):
            pytest.fail("two at once")
        assert path.exists()
    with file_lock(path, busy="nobody"):
        pass
    assert not path.exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_it_ends_with_its_holder_though_a_child_lives_on(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, path], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    try:
        child = int(holder.stdout.readline())
        with pytest.raises(UsageError, match="busy"), file_lock(path, busy="busy"):
            pytest.fail("two at once")
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()

    def can_be_taken() -> bool:
        try:
            with file_lock(path, busy="busy"):
                return True
        except UsageError:
            return False

    try:
        wait_for(can_be_taken)
    finally:
        os.kill(child, signal.SIGKILL)
