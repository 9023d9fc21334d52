"""The Textual program: the one place that imports textual."""

from instrec_live.realtime.tui.app import InstrecApp, run

__all__ = ["InstrecApp", "run"]
