"""What a bundle's network is on a Triton server: its name, version, and what tells that it is this very network."""

import re

from instrec_live.models.bundle import Bundle
from instrec_live.models.errors import ModelError

SUFFIXES = {"fp32": "", "fp16": "_trt"}  # of a network's name, by precision
LARGEST_BATCH = 32  # windows
SHA256 = "sha256"  # the parameter that holds the checksum of the bundle's model.onnx

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # it becomes a folder's


def name_of(bundle: Bundle, precision: str = "fp32") -> str:
    """ "passt", and "passt_trt" in float16.

    Raises:
        ModelError: the bundle's name cannot be a folder's.
    """
    if not _NAME.fullmatch(bundle.name):
        raise ModelError(f"{bundle.path}: a Triton server cannot call a network {bundle.name!r}", "export it anew")
    return bundle.name + SUFFIXES[precision]


def version_of(bundle: Bundle) -> int:
    """The day it was trained, 20261124, so that a later network has the greater number; 1 if that is not known."""
    day = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d).*", str(bundle.provenance.get("date")))
    return int("".join(day.groups())) or 1 if day else 1
