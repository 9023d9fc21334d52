"""What can go wrong, in words for a user, each kind with the exit code the program ends with."""


class InstrecError(Exception):
    """A mistake or misfortune that a user can act on: one line, and what to do about it.

    Attributes:
        message: what happened, and where.
        hint: what to do about it, or None.
        exit_code: the process's exit code when nobody handles it.
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
    """An option or setting that makes no sense."""

    exit_code = 2


class AudioDeviceError(InstrecError):
    """No such microphone, no PortAudio, or a device that refuses or was lost."""

    exit_code = 3


class InputFileError(InstrecError):
    """A sound file that is missing, unreadable or empty."""

    exit_code = 4


class ModelError(InstrecError):
    """A bundle or engine that is missing, damaged, or does not fit."""

    exit_code = 5
