"""What the program says beside its data: on stderr, held back while a screen is drawn there, and in the log file."""

import logging
import sys
from logging.handlers import MemoryHandler

from instrec_live.realtime.errors import UsageError, printable
from instrec_live.realtime.settings import Settings

_LEVELS = {-1: logging.ERROR, 0: logging.INFO}  # by verbosity; above: everything


class OneLine(logging.Formatter):
    """A record on one line, in the program's name."""

    def format(self, record: logging.LogRecord) -> str:
        return f"instrec-live: {printable(record.getMessage())}"


class LogFile(logging.FileHandler):
    """The file of --log-file. Once it can be written no further, that is said in one line, and all else goes on."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
            return
        log = logging.getLogger("instrec_live")
        log.removeHandler(self)
        log.error("--log-file %s can be written no further: %s", self.baseFilename, error.strerror)


def narrate(settings: Settings, screen: bool) -> logging.Logger:
    """The program's logger, from now on as the user wants it.

    `screen`: one is drawn where stderr leads; then only what went wrong is said, when the program ends.

    Raises:
        UsageError: the log file cannot be written.
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
            handlers.append(LogFile(settings.log_file, encoding="utf-8"))
        except OSError as error:
            raise UsageError(f"--log-file {settings.log_file}: {error.strerror}") from error
        handlers[-1].setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    log = logging.getLogger("instrec_live")
    log.setLevel(logging.DEBUG)
    log.propagate = False
    for handler in log.handlers[:]:
        log.removeHandler(handler)
        handler.close()
    for handler in handlers:
        log.addHandler(handler)
    return log
