"""Messages in addition to the data: on stderr and in the log file."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from instrec_live.realtime.config import settings
from instrec_live.realtime.logs import configure_logging


@pytest.fixture(autouse=True)
def _own_log() -> Iterator[None]:
    """What is done to the program's logger is undone for the tests after it."""
    log = logging.getLogger("instrec_live")
    before = log.level, log.propagate, log.handlers[:]
    yield
    log.level, log.propagate, log.handlers = before


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="there is no /dev/full")
def test_a_log_file_that_is_full_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "full.log").symlink_to("/dev/full")
    log = configure_logging(settings.parse(["--no-config", "--log-file", str(tmp_path / "full.log")]), screen=False)
    log.info("one")
    log.info("two")
    one, why, two = capsys.readouterr().err.splitlines()
    assert (one, two) == ("instrec-live: one", "instrec-live: two")
    assert why.startswith("instrec-live: cannot write --log-file ")
    assert why.endswith("full.log: No space left on device")
