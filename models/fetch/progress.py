"""How far a download or an unpacking is: a bar on stderr, where that is a terminal."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from instrec_live.models.fetch.download import Progress


@contextmanager
def bar(what: str) -> Iterator["Progress"]:
    """A bar of bytes with rate and time left, as long as the context lasts; it needs tqdm, of the [train] extra."""
    from tqdm import tqdm  # type: ignore[import-untyped]

    with tqdm(desc=what, unit="B", unit_scale=True, disable=None) as shown:

        def report(done: int, total: int | None) -> None:
            if shown.n == 0:  # what was there before has cost no time
                shown.initial = shown.n = shown.last_print_n = done
            shown.total = total
            shown.update(done - shown.n)

        yield report
