"""Real-time recognition of 20 musical instruments: the public API.

Example:
    from instrec_live import Stream, Tagger

    tags = Tagger.load().tag(samples, sample_rate)
    with Stream(file="concert.wav", pace="max") as stream:
        for update in stream:
            print(update.time, update.active)

Every name is imported when it is first used, so that `import instrec_live` loads neither numpy nor an engine.
Everything else in this package may change without notice.
"""

import instrec_live.models.safe_path  # noqa: F401 - before all else, whichever module `python -m` names

# isort: split
from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from instrec_live.models.errors import AudioDeviceError as AudioDeviceError
    from instrec_live.models.errors import InputFileError as InputFileError
    from instrec_live.models.errors import InstrecError as InstrecError
    from instrec_live.models.errors import InternalError as InternalError
    from instrec_live.models.errors import ModelError as ModelError
    from instrec_live.models.errors import OutputError as OutputError
    from instrec_live.models.errors import UsageError as UsageError
    from instrec_live.models.instruments import INSTRUMENTS as INSTRUMENTS
    from instrec_live.models.tagger import Tagger as Tagger
    from instrec_live.models.tagger import Tags as Tags
    from instrec_live.realtime.stream.hub import Hub as Hub
    from instrec_live.realtime.stream.smoothing import Smoothing as Smoothing
    from instrec_live.realtime.stream.stream import Stream as Stream
    from instrec_live.realtime.stream.update import State as State
    from instrec_live.realtime.stream.update import StreamInfo as StreamInfo
    from instrec_live.realtime.stream.update import Update as Update

    __version__: str

_HOMES = {
    "AudioDeviceError": "models.errors",
    "Hub": "realtime.stream.hub",
    "INSTRUMENTS": "models.instruments",
    "InputFileError": "models.errors",
    "InstrecError": "models.errors",
    "InternalError": "models.errors",
    "ModelError": "models.errors",
    "OutputError": "models.errors",
    "Smoothing": "realtime.stream.smoothing",
    "State": "realtime.stream.update",
    "Stream": "realtime.stream.stream",
    "StreamInfo": "realtime.stream.update",
    "Tagger": "models.tagger",
    "Tags": "models.tagger",
    "Update": "realtime.stream.update",
    "UsageError": "models.errors",
}

__all__ = [
    "INSTRUMENTS",
    "AudioDeviceError",
    "Hub",
    "InputFileError",
    "InstrecError",
    "InternalError",
    "ModelError",
    "OutputError",
    "Smoothing",
    "State",
    "Stream",
    "StreamInfo",
    "Tagger",
    "Tags",
    "Update",
    "UsageError",
    "__version__",
]


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        return version("instrec-live")
    if name in _HOMES:
        return getattr(import_module(f"instrec_live.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
