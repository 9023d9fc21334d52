"""--print-completion: the script with which a shell completes this program's options."""

from collections.abc import Iterable
from pathlib import Path

from instrec_live.realtime.options import parser


def show(shell: str, commands: Iterable[str]) -> int:
    """Print it. `commands`: the words that may stand first, such as `tag`."""
    import shtab

    grammar = parser()
    words = grammar.add_argument_group("commands")
    words.add_argument("command", nargs="?", choices=tuple(commands), help="another job than listening")
    for action in grammar._actions:
        if action.type is Path:
            action.complete = shtab.FILE  # type: ignore[attr-defined]
    print(shtab.complete(grammar, shell=shell))
    return 0
