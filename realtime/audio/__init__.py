"""Sound in and out: files, pipes, microphones and the loudspeakers."""

from instrec_live.realtime.audio.file import FileSource
from instrec_live.realtime.audio.microphone import MicrophoneSource
from instrec_live.realtime.audio.monitor import MonitorSource
from instrec_live.realtime.audio.pipe import PipeSource
from instrec_live.realtime.audio.source import Source
from instrec_live.realtime.audio.url import RadioSource, is_url, open_url

__all__ = [
    "FileSource",
    "MicrophoneSource",
    "MonitorSource",
    "PipeSource",
    "RadioSource",
    "Source",
    "is_url",
    "open_url",
]
