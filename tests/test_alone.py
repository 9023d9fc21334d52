"""One process at a time, and no longer than it lives."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from instrec_live.models.errors import UsageError
from instrec_live.models.fetch.lock import alone

HOLDER = """
import os, sys, time
from pathlib import Path
from instrec_live.models.fetch.lock import alone
with alone(Path(sys.argv[1]), busy="busy"):
    if os.fork():
        print("held", flush=True)
    else:
        os.close(1)  # as a worker that loads data, it outlives its parent by some seconds
    time.sleep(60 if os.getppid() == int(sys.argv[2]) else 5)
"""


def test_a_second_one_is_told_or_waits_and_nothing_is_left(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    with alone(path):
        with pytest.raises(UsageError, match="training there"), alone(path, busy="another run is training there"):
            pytest.fail("two at once")
        assert path.exists()
    with alone(path, busy="nobody"):
        pass
    assert not path.exists()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_it_ends_with_its_holder_though_a_child_lives_on(tmp_path: Path) -> None:
    path = tmp_path / ".lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, path, str(os.getpid())], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(UsageError, match="busy"), alone(path, busy="busy"):
            pytest.fail("two at once")
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    until = time.monotonic() + 2.0  # far from the child's five seconds; it may not have had its turn yet
    while True:
        try:
            with alone(path, busy="busy"):
                return
        except UsageError:
            assert time.monotonic() < until
            time.sleep(0.02)
