"""Training data: fetches data sets, merges tables, cuts recordings, renders sounds.

    python -m training.data COMMAND --help

lists the options of a command.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from instrec_live.training.command import entry

# command: (module that has its main, what it does)
COMMANDS = {
    "get": ("data.get", "fetch a public data set (openmic, nsynth, irmas), verify it and unpack it"),
    "table": ("data.specs", "merge labelled clips, real and synthetic, into one table"),
    "cut": ("data.cut", "cut long recordings into labelled clips of 10 s"),
    "mix": ("data.mix", "mix labelled solo clips, two to four at a time"),
    "nsynth-sounds": ("data.nsynth", "write NSynth notes of known instruments as a folder of sounds"),
    "add": ("data.add", "add a folder of sounds of one instrument to a folder of single-instrument sounds"),
    "synthesizer": ("synthesis.soundfonts.patch", "add random synthesisers to a folder of single-instrument sounds"),
    "soundfont": ("synthesis.soundfonts.render", "render a General MIDI soundfont into such a folder"),
}


def main(argv: Sequence[str] | None = None) -> None:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in COMMANDS:
        module, _ = COMMANDS[arguments[0]]
        import_module(f"instrec_live.training.{module}").main(arguments[1:])
        return
    parser = argparse.ArgumentParser(
        prog="python -m training.data",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="commands:\n" + "\n".join(f"  {name:15}{what}" for name, (_, what) in COMMANDS.items()),
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of the commands below")
    parser.parse_args(arguments)


if __name__ == "__main__":
    entry(main)
