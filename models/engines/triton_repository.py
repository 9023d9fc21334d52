"""A model repository for NVIDIA's Triton Inference Server: each network as it is, and once more for TensorRT."""

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from instrec_live.models.bundle import FRAMES, Bundle
from instrec_live.models.engines.triton_model import LARGEST_BATCH, SHA256, name_of, version_of
from instrec_live.models.errors import ModelError, UsageError
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.logmel import N_MELS, PATCH

_DELAY = 5_000  # µs that a window waits for others of its length
_TOO_LATE = 5_000_000  # µs: who asked has given up by then (triton.py)
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

# On a GPU, float32 is meant to be float32, not TF32; and windows come in several lengths, for each of which the CPU
# would keep a memory pattern.
_PLAIN = """\
instance_group [ { count: 1 kind: KIND_AUTO } ]
optimization {
  execution_accelerators {
    gpu_execution_accelerator [ { name: "cuda" parameters { key: "use_tf32" value: "0" } } ]
  }
}
parameters { key: "enable_mem_pattern" value { string_value: "0" } }
"""

# An engine fits the GPU it was built on, so the server builds it: one for all shapes, before the model is ready.
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
    "classes": len(INSTRUMENTS),
    "delay": _DELAY,
    "too_late": _TOO_LATE,
    "workspace": _WORKSPACE,
    "shortest": PATCH,
    "usual": FRAMES[1] // PATCH * PATCH,  # a stream's window of 10 s
    "longest": FRAMES[1],
}


def write_repository(bundles: Sequence[Bundle], path: str | os.PathLike[str]) -> list[str]:
    """Write a folder that a Triton server serves, whole or not at all.

    For each bundle NAME/VERSION/model.onnx, the bundle's own file, and NAME_trt/VERSION/model.onnx, the same in float16
    for TensorRT, each with its config.pbtxt. It needs the onnx package.

    Returns:
        the models' names.

    Raises:
        UsageError: something is there already, or the folder cannot be written.
        ModelError: two bundles have one name, a name that cannot be a folder's, or a network that gives no logits.
    """
    from instrec_live.models.half_precision import to_half

    path = Path(path)
    models: dict[str, tuple[Bundle, str]] = {}
    for bundle in bundles:
        for precision in ("fp32", "fp16"):
            name = name_of(bundle, precision)
            if name in models:
                raise ModelError(f"two of the models would be called {name}", "give each bundle a name of its own")
            models[name] = bundle, precision
    if os.path.lexists(path):
        raise UsageError(f"{path} exists already", "give a folder that does not, or move this one away")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}-") as scratch:
            fresh = Path(scratch) / "fresh"
            for name, (bundle, precision) in models.items():
                try:
                    onnx = bundle.onnx if precision == "fp32" else to_half(bundle.onnx)
                except ValueError as error:
                    raise ModelError(f"{bundle.path}: model.onnx: {error}", "export it again") from error
                folder = fresh / name / str(version_of(bundle))
                folder.mkdir(parents=True)
                (folder / "model.onnx").write_bytes(onnx)
                (fresh / name / "config.pbtxt").write_text(config(bundle, precision), encoding="utf-8")
            fresh.rename(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written: {error.strerror}") from error
    return list(models)


def config(bundle: Bundle, precision: str) -> str:
    """A model's config.pbtxt."""
    common = _CONFIG.format(name=name_of(bundle, precision), key=SHA256, sha256=bundle.sha256, **_FIGURES)
    return common + (_PLAIN if precision == "fp32" else _TENSORRT.format(**_FIGURES))
