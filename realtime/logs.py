"""The log: on stderr, held back while a screen is drawn there, and in --log-file."""

import logging
import sys
from logging.handlers import MemoryHandler
from pathlib import Path

from instrec_live.realtime.config.settings import Settings
from instrec_live.realtime.errors import UsageError, printable

_LEVELS = {-1: logging.ERROR, 0: logging.INFO}  # by verbosity; above: everything


class OneLine(logging.Formatter):
    """A record on one line, with the program's name."""

    def format(self, record: logging.LogRecord) -> str:
        return f"instrec-live: {printable(record.getMessage())}"


class DatedLine(logging.Formatter):
    """A record on one line, with time and origin, so that quoted text cannot forge another record."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's own name
        record.message = printable(record.message)
        return super().formatMessage(record)


class LogFile(logging.FileHandler):
    """The file of --log-file. When it cannot be written, one line says so and the program continues."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        log = logging.getLogger("instrec_live")
        log.removeHandler(self)
        log.error("cannot write --log-file %s: %s", self.baseFilename, error.strerror)


class Warnings(logging.Handler):
    """Collects the log's warnings while it is entered: (level, message) of each, in `records`."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.records: list[tuple[int, str]] = []
        self._logger = logging.getLogger("instrec_live")

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append((record.levelno, record.getMessage()))

    def __enter__(self) -> "Warnings":
        self._logger.addHandler(self)
        return self

    def __exit__(self, *error: object) -> None:
        self._logger.removeHandler(self)


def configure_logging(settings: Settings, screen: bool) -> logging.Logger:
    """Set up the program's logger as the settings ask for.

    `screen`: a screen is drawn on stderr's terminal; then only problems are logged, at the end.

    Raises:
        UsageError: the log file cannot be written, or is sound or another file that is no text.
    """
    stderr: logging.Handler = logging.StreamHandler(sys.stderr)
    stderr.setFormatter(OneLine())
    level = _LEVELS.get(settings.verbosity, logging.DEBUG)
    if screen:
        stderr = MemoryHandler(1_000, logging.CRITICAL + 1, stderr)  # logging itself flushes it at the end
        level = max(level, logging.WARNING)
    stderr.setLevel(level)
    handlers = [stderr]
    if settings.log_file is not None:
        try:
            _check_text(settings.log_file)
            handlers.append(LogFile(settings.log_file, encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"--log-file {settings.log_file}: {error.strerror}") from error
        handlers[-1].setFormatter(DatedLine("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    log = logging.getLogger("instrec_live")
    log.setLevel(logging.DEBUG)
    log.propagate = False
    for handler in log.handlers[:]:
        log.removeHandler(handler)
        handler.close()
    for handler in handlers:
        log.addHandler(handler)
    return log


def _check_text(path: Path) -> None:
    """Refuse to append a log to what is no text.

    Raises:
        UsageError: it is none.
        OSError: it cannot be read.
    """
    if not path.is_file():
        return
    with open(path, "rb") as file:
        if b"\0" in file.read(4096):
            raise UsageError(f"--log-file {path}: it is no text file", "give the log a file of its own")
