"""From sound to screen."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from instrec_live.realtime.hub import Hub as Hub
    from instrec_live.realtime.stream import Stream as Stream
    from instrec_live.realtime.update import Update as Update

__all__ = ["Hub", "Stream", "Update"]


def __getattr__(name: str) -> object:
    # Lazy, so that --help need not wait for numpy and the engines.
    if name == "Hub":
        from instrec_live.realtime.hub import Hub

        return Hub
    if name == "Stream":
        from instrec_live.realtime.stream import Stream

        return Stream
    if name == "Update":
        from instrec_live.realtime.update import Update

        return Update
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
