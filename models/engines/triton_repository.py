"""A model repository for NVIDIA's Triton Inference Server: each network as it is, and in float16 for TensorRT."""

import os
import re
from collections.abc import Sequence
from pathlib import Path

from instrec_live.models.bundle import FRAMES, Bundle
from instrec_live.models.errors import ModelError, UsageError, cannot_write
from instrec_live.models.files import atomic_folder
from instrec_live.models.logmel import N_MELS, PATCH

SUFFIXES = {"fp32": "", "fp16": "_trt"}  # of a network's name, by precision
LARGEST_BATCH = 32  # windows
SHA256 = "sha256"  # the parameter that holds the checksum of the bundle's model.onnx

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")  # valid as a folder name


def name_of(bundle: Bundle, precision: str = "fp32") -> str:
    """ "passt", and "passt_trt" in float16.

    Raises:
        ModelError: the bundle's name is not valid as a folder name.
    """
    if not _NAME.fullmatch(bundle.name):
        raise ModelError(
            f"{bundle.path}: {bundle.name!r} is not a valid name of a network on a Triton server", "export it again"
        )
    return bundle.name + SUFFIXES[precision]


def version_of(bundle: Bundle) -> int:
    """The date of its training as a number, 20261124, so that later networks have greater versions; 1 if unknown."""
    day = re.fullmatch(r"(\d{4})-(\d\d)-(\d\d).*", str(bundle.provenance.get("date")))
    return int("".join(day.groups())) or 1 if day else 1


_DELAY = 5_000  # µs that a window waits for others of its length
_TOO_LATE = 5_000_000  # µs; by then the client has given up (triton.py)
_WORKSPACE = 1 << 30  # bytes

_CONFIG = """\
name: "{name}"
platform: "onnxruntime_onnx"
max_batch_size: {batch}
input [ {{ name: "log_mel" data_type: TYPE_FP32 dims: [ {bands}, -1 ] }} ]
output [ {{ name: "logits" data_type: TYPE_FP32 dims: [ {classes} ] }} ]
dynamic_batching {{
  max_queue_delay_microseconds: {delay}
  default_queue_policy {{
    timeout_action: REJECT
    default_timeout_microseconds: {too_late}
    allow_timeout_override: true
  }}
}}
parameters {{ key: "{key}" value {{ string_value: "{sha256}" }} }}
"""

# On a GPU, float32 must not become TF32; windows have several lengths, for each of which the CPU would keep a memory
# pattern.
_PLAIN = """\
instance_group [ { count: 1 kind: KIND_AUTO } ]
optimization {
  execution_accelerators {
    gpu_execution_accelerator [ { name: "cuda" parameters { key: "use_tf32" value: "0" } } ]
  }
}
parameters { key: "enable_mem_pattern" value { string_value: "0" } }
"""

# An engine runs only on the GPU it was built on, so the server builds it, one for all shapes, before the model is
# ready.
_TENSORRT = """\
instance_group [ {{ count: 1 kind: KIND_GPU }} ]
optimization {{
  execution_accelerators {{
    gpu_execution_accelerator [ {{
      name: "tensorrt"
      parameters {{ key: "precision_mode" value: "FP16" }}
      parameters {{ key: "max_workspace_size_bytes" value: "{workspace}" }}
      parameters {{ key: "trt_profile_min_shapes" value: "log_mel:1x{bands}x{shortest}" }}
      parameters {{ key: "trt_profile_opt_shapes" value: "log_mel:8x{bands}x{usual}" }}
      parameters {{ key: "trt_profile_max_shapes" value: "log_mel:{batch}x{bands}x{longest}" }}
    }} ]
  }}
}}
model_warmup [ {{
  name: "ten seconds"
  batch_size: 1
  inputs {{
    key: "log_mel"
    value {{ data_type: TYPE_FP32 dims: [ {bands}, {usual} ] zero_data: true }}
  }}
}} ]
"""

_FIGURES = {
    "batch": LARGEST_BATCH,
    "bands": N_MELS,
    "delay": _DELAY,
    "too_late": _TOO_LATE,
    "workspace": _WORKSPACE,
    "shortest": PATCH,
    "usual": FRAMES[1] // PATCH * PATCH,  # a stream's window of 10 s
    "longest": FRAMES[1],
}


def write_repository(bundles: Sequence[Bundle], path: str | os.PathLike[str]) -> list[str]:
    """Write a folder for a Triton server, completely or not at all.

    For each bundle NAME/VERSION/model.onnx, the bundle's own file, and NAME_trt/VERSION/model.onnx, the same in float16
    for TensorRT, each with its config.pbtxt. It needs the onnx package.

    Returns:
        the models' names.

    Raises:
        UsageError: the path exists already, or the folder cannot be written.
        ModelError: two bundles have one name, a name is not valid, or a network has no logits.
    """
    from instrec_live.models.onnx_graph import to_fp16

    path = Path(path)
    models: dict[str, tuple[Bundle, str]] = {}
    for bundle in bundles:
        for precision in ("fp32", "fp16"):
            name = name_of(bundle, precision)
            if name in models:
                raise ModelError(f"two of the models would be called {name}", "give each bundle its own name")
            models[name] = bundle, precision
    if os.path.lexists(path):
        raise UsageError(f"{path} exists already", "give another folder, or move this one away")
    try:
        with atomic_folder(path) as fresh:
            for name, (bundle, precision) in models.items():
                try:
                    onnx = bundle.onnx if precision == "fp32" else to_fp16(bundle.onnx)
                except ValueError as error:
                    raise ModelError(f"{bundle.path}: model.onnx: {error}", "export it again") from error
                folder = fresh / name / str(version_of(bundle))
                folder.mkdir(parents=True)
                (folder / "model.onnx").write_bytes(onnx)
                (fresh / name / "config.pbtxt").write_text(config(bundle, precision), encoding="utf-8")
    except OSError as error:
        raise cannot_write(path, error) from error
    return list(models)


def config(bundle: Bundle, precision: str) -> str:
    """A model's config.pbtxt."""
    own = {"name": name_of(bundle, precision), "sha256": bundle.sha256, "classes": bundle.classes}
    common = _CONFIG.format(key=SHA256, **own, **_FIGURES)
    return common + (_PLAIN if precision == "fp32" else _TENSORRT.format(**_FIGURES))
