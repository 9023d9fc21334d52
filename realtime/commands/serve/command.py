"""--serve: from the settings to a server that runs with the analysis."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn

from instrec_live.models.errors import UsageError
from instrec_live.realtime.config.settings import Settings

if TYPE_CHECKING:
    from instrec_live.realtime.commands.serve.broadcast import Broadcast


@contextmanager
def serving(settings: Settings, sources: Sequence[str] = ()) -> Iterator["Broadcast | None"]:
    """Serve the broadcast until the block ends; None without --serve.

    The address, with its token, goes to stderr, also with --quiet: without it there is no access.

    Args:
        settings: host, port, public address and number of viewers.
        sources: the names of the sources, where there are many.

    Raises:
        UsageError: the port cannot be had, or packages that are not installed.
    """
    if not settings.serve:
        yield None
        return
    try:
        from instrec_live.realtime.commands.serve.server import web_server
    except ImportError as error:
        raise UsageError(
            f"--serve needs packages that are not installed ({error.name})", "pip install 'instrec-live[serve]'"
        ) from error
    from instrec_live.realtime.commands.serve.broadcast import Broadcast

    broadcast = Broadcast(sources)
    server, broadcast.address, broadcast.discreet = web_server(settings, broadcast)
    if broadcast.discreet:
        print(
            "instrec-live: warning: others can reach this server. Whoever has the address below, with its token, can "
            "watch" + ("; it goes over the network unencrypted" * (settings.public_url is None)),
            file=sys.stderr,
        )
    print(f"instrec-live: serving at {broadcast.address}", file=sys.stderr, flush=True)
    server.start()
    try:
        yield broadcast
    finally:
        server.stop()


def wait_for_signal() -> NoReturn:
    """Keep the pages there after the sound has ended, until a signal ends the program."""
    print("instrec-live: the sound has ended; the page is served until Ctrl-C", file=sys.stderr, flush=True)
    while True:
        time.sleep(3600)
