"""Polyphonic scenes, written to disk as audio with a table of labels.

    python -m training.synthesis.scenes paper --nsynth DIR/nsynth-train --to DIR   the paper's mixtures of NSynth notes
    python -m training.synthesis.scenes write --sounds DIR --to DIR                ours: phrases that come and go

`python -m training.synthesis.scenes paper --help` lists the options of one.
"""

import argparse
import importlib
import sys

from instrec_live.training.command import entry

COMMANDS = ("paper", "write")


def main() -> None:
    parser = argparse.ArgumentParser(
        "python -m training.synthesis.scenes", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", choices=COMMANDS)
    # Only the name of the command is parsed here: what follows is the command's own, --help too.
    command = parser.parse_args(sys.argv[1:2]).command
    importlib.import_module(f"instrec_live.training.synthesis.scenes.{command}").main(sys.argv[2:])


if __name__ == "__main__":
    entry(main)
