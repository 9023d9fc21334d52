"""The list's help: how to read it, and its keys."""

from instrec_live.realtime.tui.glyphs import Glyphs
from instrec_live.realtime.tui.help import Chapter

TITLE = "How to read the list"


def chapters(glyphs: Glyphs) -> list[Chapter]:
    """What there is to say of the list, in reading order."""
    return [
        (
            "A row",
            [
                (glyphs.dot, "before its name: its sound is being recorded"),
                ("state", "one word for how the source is doing, see below"),
                ("level", "of its newest sound, from -60 dB to full scale"),
                ("piano .83", "sounds now: about 83 of 100 such answers are right"),
                ("+2", "so many more sound than there is room for"),
                ("skip", "windows left out, the machine being too slow"),
                ("age", "of the newest sound you see; of a lost device, how long"),
            ],
        ),
        (
            "The state",
            [
                ("OPENING", "nothing has come of it yet"),
                ("WARMING", "less than 10 s heard so far: answers are still rough"),
                ("QUIET", "too soft to judge: nothing is shown as sounding"),
                ("GAP", "some of the last 10 s is missing: answers may be wrong"),
                ("CATCHING UP", "too slow for this machine: windows are left out"),
                ("PAUSED", "a file that you have paused"),
                ("NO UPDATE", "nothing new has come for longer than it should take"),
                ("DEVICE LOST", "the device gives no sound any more; it is looked for"),
                ("FAILED", "it ended, and why; the others go on"),
                ("ENDED", "its sound is over; what sounded in it, the longest first"),
            ],
        ),
        (
            "Keys",
            [
                (f"{glyphs.up_down} j k", "select a source; also pages, home, end and clicks"),
                ("enter", "open it: all of its instruments; esc comes back"),
                ("s", "sort: as named, trouble first, the loudest first"),
                ("/", "show some sources only, by name; esc shows all"),
                ("space", "freeze and resume the list; listening goes on"),
                ("t", "dark or light; more themes and commands with ctrl+p"),
                ("q", "quit"),
            ],
        ),
    ]
