"""What an instrument tagger is, and how to run one."""

import instrec_live.models.safe_path  # noqa: F401 - before all else, whichever module `python -m` names

# isort: split
import os
from typing import TYPE_CHECKING

from instrec_live.models.instruments import DISPLAY_NAMES, INSTRUMENTS

if TYPE_CHECKING:
    from instrec_live.models.tagger import Tagger as Tagger
    from instrec_live.models.tagger import Tags as Tags

# From 1.29 on, ONNX Runtime puts an id into the home folder and reports each network that it opens to Microsoft. It
# checks this once, when it is imported, and only files of this package import it.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = ["DISPLAY_NAMES", "INSTRUMENTS", "Tagger", "Tags"]


def __getattr__(name: str) -> object:
    # Lazy, so that --help need not wait for numpy.
    if name in ("Tagger", "Tags"):
        from instrec_live.models import tagger

        return getattr(tagger, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
