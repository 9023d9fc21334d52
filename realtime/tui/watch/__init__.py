"""The screen of many sources: a list of them, each of which can be opened."""

from instrec_live.realtime.tui.watch.app import WatchApp, run

__all__ = ["WatchApp", "run"]
