"""--engines: the TensorRT engines that were built on this machine and kept, listed or removed."""

import json
import sys
from dataclasses import asdict

from instrec_live.models.engines.engine_cache import EngineCache, Kept
from instrec_live.realtime.errors import ExitCode, printable
from instrec_live.realtime.narration import narrate
from instrec_live.realtime.settings import Settings


def show(settings: Settings) -> int:
    """List the engines on stdout, as JSON if asked for, or remove them; returns 0.

    Raises:
        ModelError: their folder, or a file in it, is not the user's alone.
    """
    narrate(settings, screen=False)
    cache = EngineCache.of_user()
    if settings.engines == "clear":
        count = cache.clear()
        print(f"{count or 'no'} engine{'' if count == 1 else 's'} removed from {cache.folder}", file=sys.stderr)
        return ExitCode.OK
    kept = cache.kept()
    if settings.json:
        print(json.dumps([_record(one) for one in kept], indent=2, ensure_ascii=False))
        return ExitCode.OK
    for one in kept:
        print(printable(_line(one)))
    total = f"{len(kept)}, {sum(one.nbytes for one in kept) / 1e6:.1f} MB," if kept else "none"
    print(f"engines kept: {total} in {cache.folder}", file=sys.stderr)
    return ExitCode.OK


def _line(kept: Kept) -> str:
    size = f"{kept.nbytes / 1e6:.1f} MB"
    if kept.header is None:
        return f"{kept.path.name}: damaged ({kept.damage}), {size}"
    key = kept.header.key
    return f"{key.model}: {key.precision}, {key.gpu}, {key.library}, {size}, {kept.header.built[:10]}"


def _record(kept: Kept) -> dict[str, object]:
    head: dict[str, object] = {"path": str(kept.path), "bytes": kept.nbytes}
    if kept.header is None:
        return head | {"damage": kept.damage}
    return head | asdict(kept.header.key) | {"built": kept.header.built}
