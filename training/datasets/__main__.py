"""Data sets: fetched, gathered into tables, cut and rendered.

    python -m training.datasets COMMAND --help

says what a command takes.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from instrec_live.training.command import entry

# command: (module that has its main, what it does)
COMMANDS = {
    "get": ("datasets.get", "fetch a public data set (openmic, nsynth, irmas), verify it and unpack it"),
    "table": ("datasets.merge", "gather labelled clips, real and synthetic, into one table"),
    "cut": ("datasets.cut", "cut long recordings into labelled clips of 10 s"),
    "nsynth-sounds": ("datasets.nsynth_sounds", "lay NSynth's certain notes out as a folder of sounds"),
    "add": ("datasets.add", "add a folder of sounds of one instrument to a folder of single-instrument sounds"),
    "synthesizer": ("soundfonts.generate", "add synthesisers drawn at random to a folder of single-instrument sounds"),
    "soundfont": ("soundfonts.render", "render a General MIDI soundfont into a folder of single-instrument sounds"),
}


def main(argv: Sequence[str] | None = None) -> None:
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments and arguments[0] in COMMANDS:
        module, _ = COMMANDS[arguments[0]]
        import_module(f"instrec_live.training.{module}").main(arguments[1:])
        return
    parser = argparse.ArgumentParser(
        prog="python -m training.datasets",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="commands:\n" + "\n".join(f"  {name:15}{what}" for name, (_, what) in COMMANDS.items()),
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of these below")
    parser.parse_args(arguments)


if __name__ == "__main__":
    entry(main)
