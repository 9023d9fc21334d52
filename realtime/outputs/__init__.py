"""Outputs: data, labels, pictures, reports, recordings, OSC and MIDI, and the session that writes them."""

from instrec_live.realtime.outputs.files import check_writable, open_text
from instrec_live.realtime.outputs.formats import (
    DRAWN,
    FORMATS,
    check_output,
    kind_of,
    open_output,
    sidecar_of,
    streamed_first,
)
from instrec_live.realtime.outputs.html_report import HtmlReport, TimelineImage
from instrec_live.realtime.outputs.labels import Labels, Regions, Subtitles
from instrec_live.realtime.outputs.sink import Sink, SinkGroup, SinkLost, Summary, SummaryBuilder, header
from instrec_live.realtime.outputs.tables import (
    Changes,
    JsonLines,
    Sidecar,
    TidyCsv,
    clock,
    instruments_of,
    update_record,
)

__all__ = [
    "DRAWN",
    "FORMATS",
    "Changes",
    "HtmlReport",
    "JsonLines",
    "Labels",
    "Regions",
    "Sidecar",
    "Sink",
    "SinkGroup",
    "SinkLost",
    "Subtitles",
    "Summary",
    "SummaryBuilder",
    "TidyCsv",
    "TimelineImage",
    "check_output",
    "check_writable",
    "clock",
    "header",
    "instruments_of",
    "kind_of",
    "open_output",
    "open_text",
    "sidecar_of",
    "streamed_first",
    "update_record",
]
