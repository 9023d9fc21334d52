"""Messages in addition to the data: on stderr and in the log file."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile

from instrec_live.models.errors import UsageError
from instrec_live.realtime.commands.watch import parse_watch
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


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.ogg", "a.mp3"])
def test_no_log_is_appended_to_sound(name: str, tmp_path: Path) -> None:
    soundfile.write(tmp_path / name, np.zeros(32_000), 32_000)
    before = (tmp_path / name).read_bytes()
    with pytest.raises(UsageError, match="no text file"):
        configure_logging(settings.parse(["--no-config", "--log-file", str(tmp_path / name)]), screen=False)
    assert (tmp_path / name).read_bytes() == before


@pytest.mark.parametrize(
    "words", [["-o", "a.jsonl"], ["-o", "b.csv", "-o", "./a.jsonl"], ["watch", "b.wav", "-o", "a.jsonl"]]
)
def test_nor_to_an_output(words: list[str]) -> None:
    parse, argv = (parse_watch, words[1:]) if words[0] == "watch" else (settings.parse, words)
    with pytest.raises(UsageError, match="two outputs have the same name"):
        parse(["--no-config", *argv, "--log-file", "a.jsonl"])
