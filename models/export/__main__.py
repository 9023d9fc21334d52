"""Exports networks: a checkpoint to ONNX, bundles to TensorRT engines or to a Triton server's model repository.

`python -m instrec_live.models.export CHECKPOINT --to FOLDER` writes FOLDER/model.onnx from a checkpoint, a .pt file of
{"name", "config", "state_dict", "provenance"}. `--tensorrt` builds the engines of bundles ahead of time, `--triton DIR`
writes a model repository.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from instrec_live.models.bundle import DEFAULT_MODELS, Bundle
from instrec_live.models.catalog import bundle_folder
from instrec_live.models.errors import InstrecError, ModelError
from instrec_live.models.export.to_onnx import (
    FP16_TOLERANCE,
    difference_from_torch,
    export_onnx,
    load_checkpoint,
    network_of,
    write,
)
from instrec_live.models.onnx_graph import to_fp16
from instrec_live.models.safe_path import secure_children


def _bundles(models: Sequence[str]) -> list[Bundle]:
    return [Bundle.load(bundle_folder(model)) for model in models]


def _build_engines(models: Sequence[str]) -> int:
    from instrec_live.models.engines.tensorrt import build_ahead

    for stored in build_ahead(_bundles(models)):
        how = "already built" if stored.seconds is None else f"built in {stored.seconds:.0f} s"
        print(f"{stored.model} {stored.precision}: {how}, {len(stored.engine) / 1e6:.1f} MB", file=sys.stderr)
    return 0


def _write_repository(folder: str, models: Sequence[str]) -> int:
    from instrec_live.models.engines.triton_repository import write_repository

    names = write_repository(_bundles(models), folder)
    size = sum(file.stat().st_size for file in Path(folder).rglob("*.onnx"))
    print(f"{folder}: {', '.join(names)}; {size / 1e6:.1f} MB", file=sys.stderr)
    return 0


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m instrec_live.models.export", description=__doc__)
    parser.add_argument("checkpoint", nargs="?", help="a .pt file written by training")
    parser.add_argument("--to", metavar="FOLDER", help="where model.onnx goes")
    parser.add_argument("--half", action="store_true", help="also write model.fp16.onnx")
    parser.add_argument(
        "--tensorrt",
        nargs="*",
        metavar="BUNDLE",
        help="instead: build engines for this machine's GPU, of these bundles by name or folder (the bundled ones)",
    )
    parser.add_argument(
        "--triton",
        nargs="+",
        metavar=("DIR", "BUNDLE"),
        help="instead: write a Triton server's model repository, of these bundles by name or folder (the bundled ones)",
    )
    arguments = parser.parse_args(argv)
    secure_children()
    given = [arguments.checkpoint, arguments.to]
    instead = [option for option in (arguments.tensorrt, arguments.triton) if option is not None]
    if len(instead) > 1 or (None in given if not instead else given != [None, None]):
        parser.error("give a checkpoint and --to, or --tensorrt, or --triton")
    try:
        if arguments.triton is not None:
            folder, *models = arguments.triton
            return _write_repository(folder, models or DEFAULT_MODELS)
        if arguments.tensorrt is not None:
            return _build_engines(arguments.tensorrt or DEFAULT_MODELS)
        network = network_of(load_checkpoint(arguments.checkpoint))
        target = Path(arguments.to) / "model.onnx"
        difference = export_onnx(network, target)
        if arguments.half:
            half = to_fp16(target.read_bytes())
            if not difference_from_torch(network, half) <= FP16_TOLERANCE:
                raise ModelError(f"{arguments.checkpoint} loses too much accuracy in float16")
            write(target.with_name("model.fp16.onnx"), half)
    except InstrecError as e:
        print(f"error: {e}", file=sys.stderr)
        return e.exit_code
    print(
        f"{target}: {target.stat().st_size / 1e6:.1f} MB, logits within {difference:.1g} of torch",
        file=sys.stderr,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
