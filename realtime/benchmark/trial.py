"""A child process that tries something which may crash or hang, and answers with one JSON value."""

import json
import logging
import signal
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

from instrec_live.models.errors import ModelError
from instrec_live.realtime.errors import printable

_SOON = 20.0  # s; then a word of patience

log = logging.getLogger(__name__)


class HungError(ModelError):
    """The child did not come to an end."""


def attempt(arguments: Sequence[str], patience: float) -> Any:
    """What `python ARGUMENTS` prints on stdout, a JSON value.

    It does not look for modules in the current folder, as a script would not. Its stderr is for the log at most.

    Raises:
        HungError: after `patience` seconds; it is ended.
        ModelError: it crashed, printed no JSON, or {"error": …}.
    """
    command = [sys.executable, "-P", *arguments]
    with subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        errors="replace",
    ) as child:
        try:
            out, said = _ended(child, patience)
        except subprocess.TimeoutExpired:
            raise HungError(f"not done after {patience:g} s, and ended") from None
        finally:  # also when a signal ends this program
            child.kill()
    for line in said.splitlines():
        log.debug("%s", line)
    if child.returncode:
        raise ModelError(how_it_ended(child.returncode, said))
    try:
        answer = json.loads(out)
    except ValueError:
        raise ModelError("it ended without an answer") from None
    if isinstance(answer, dict) and "error" in answer:
        raise ModelError(str(answer["error"]))
    return answer


def _ended(child: "subprocess.Popen[str]", patience: float) -> tuple[str, str]:
    try:
        return child.communicate(timeout=min(_SOON, patience))
    except subprocess.TimeoutExpired:
        if patience <= _SOON:
            raise
    log.info("still at it; what an engine builds of a network the first time can take minutes")
    return child.communicate(timeout=patience - _SOON)


def how_it_ended(code: int, said: str) -> str:
    """In words: a signal, or the last thing that a failed process said."""
    if code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = f"signal {-code}"
        return f"it crashed ({name})" + (", perhaps for want of memory" if name == "SIGKILL" else "")
    last = next((line for line in reversed(said.splitlines()) if line.strip()), "")
    return f"it failed with exit code {code}" + (f": {printable(last)[:200]}" if last else "")
