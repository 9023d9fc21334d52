"""Updates as data: for programs, for the ear's own tools, for the eye, for instruments that listen."""

from instrec_live.realtime.outputs.audacity import Labels
from instrec_live.realtime.outputs.changes import Changes, clock
from instrec_live.realtime.outputs.files import check_writable, open_text
from instrec_live.realtime.outputs.head import header
from instrec_live.realtime.outputs.json_lines import JsonLines
from instrec_live.realtime.outputs.opening import (
    DRAWN,
    FORMATS,
    check_output,
    kind_of,
    open_output,
    sidecar_of,
    streamed_first,
)
from instrec_live.realtime.outputs.outlets import Outlets
from instrec_live.realtime.outputs.picture import Page, Picture
from instrec_live.realtime.outputs.sink import LostOnTheWay, Sink, Summary
from instrec_live.realtime.outputs.sonic_visualiser import Regions
from instrec_live.realtime.outputs.tally import Tally
from instrec_live.realtime.outputs.tidy_csv import Sidecar, TidyCsv
from instrec_live.realtime.outputs.web_vtt import Subtitles

__all__ = [
    "DRAWN",
    "FORMATS",
    "Changes",
    "JsonLines",
    "Labels",
    "LostOnTheWay",
    "Outlets",
    "Page",
    "Picture",
    "Regions",
    "Sidecar",
    "Sink",
    "Subtitles",
    "Summary",
    "Tally",
    "TidyCsv",
    "check_output",
    "check_writable",
    "clock",
    "header",
    "kind_of",
    "open_output",
    "open_text",
    "sidecar_of",
    "streamed_first",
]
