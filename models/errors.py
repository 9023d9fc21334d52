"""The errors a user can see, each class with the exit code of the program."""

import errno

FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)  # a disk, a file, a user's share of it


class InstrecError(Exception):
    """An error that the user can act on: one line, and what to do about it.

    Attributes:
        message: what happened, and where.
        hint: what to do about it, or None.
        exit_code: of the process, when the error ends it.
    """

    exit_code = 1

    def __init__(self, message: str, hint: str | None = None) -> None:
        self.message = " ".join(message.split())
        self.hint = " ".join(hint.split()) if hint else None
        super().__init__(f"{self.message} — {self.hint}" if self.hint else self.message)


class InternalError(InstrecError):
    """A defect of the program itself."""

    exit_code = 1


class UsageError(InstrecError):
    """An invalid option or setting."""

    exit_code = 2


class OutputError(InstrecError):
    """An output that could not be written to its end: a full disk, a folder that is gone."""

    exit_code = 1


class AudioDeviceError(InstrecError):
    """No such microphone, no PortAudio, or a device that cannot be opened or was lost."""

    exit_code = 3


class InputFileError(InstrecError):
    """A sound file that is missing, unreadable, empty or cut short."""

    exit_code = 4


class ModelError(InstrecError):
    """A bundle or engine that is missing, damaged, or does not fit."""

    exit_code = 5


def cannot_write(path: object, why: OSError | str, hint: str | None = None) -> UsageError:
    """The error of a file that cannot be written, found before a run."""
    return UsageError(_unwritable(path, why), hint)


def cannot_begin(path: object, why: OSError) -> InstrecError:
    """The error of an output that cannot be opened and begun: `cannot_write`, or `write_failed` if there is no room."""
    return write_failed(path, why) if why.errno in FULL else cannot_write(path, why)


def write_failed(path: object, why: OSError, hint: str | None = None) -> OutputError:
    """The error of an output that cannot be written any further, or at the end of a run."""
    return OutputError(_unwritable(path, why), hint)


def _unwritable(path: object, why: OSError | str) -> str:
    return f"cannot write {path}: {why if isinstance(why, str) else why.strerror or why}"
