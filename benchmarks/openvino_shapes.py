"""OpenVINO: one compiled network for windows of every length, or one for each span?

    python benchmarks/openvino_shapes.py [--models A,B,…] [--repeats 24]

What a stream hears in a second, two windows of 2.5 s and one of 10 s, whole, goes through ONNX Runtime, through one
OpenVINO network of dynamic shape and through two of fixed shape, in turn; medians of CPU time on one thread. Then a
process of its own for each says how much memory all networks take. Writes benchmarks/results/openvino_shapes.json.
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openvino
from numpy.typing import NDArray

from instrec_live.models.bundle import DEFAULT_MODELS, Bundle, bundled
from instrec_live.models.engines import open_engine
from instrec_live.models.engines.probe_memory import processor

FloatArray = NDArray[np.float32]
Run = Callable[[FloatArray], object]

RESULTS = Path(__file__).parent / "results"
SECOND = (250, 250, 1000)  # frames
WAYS = ("onnx", "openvino, one of dynamic shape", "openvino, one for each span")
_OPTIONS = {
    "INFERENCE_PRECISION_HINT": "f32",
    "INFERENCE_NUM_THREADS": 1,
    "NUM_STREAMS": "1",
    "PERFORMANCE_HINT": "LATENCY",
    "ENABLE_CPU_PINNING": False,
}


def runs(bundle: Bundle, way: str) -> dict[int, Run]:
    """What runs a window of so many frames."""
    if way != WAYS[2]:
        engine = open_engine(bundle, "onnx" if way == WAYS[0] else "openvino")
        return dict.fromkeys(SECOND, engine.logits)
    return {frames: _fixed(bundle, frames) for frames in set(SECOND)}


def _fixed(bundle: Bundle, frames: int) -> Run:
    core = openvino.Core()
    model = core.read_model(bundle.onnx)
    model.reshape({"log_mel": [1, 128, frames]})
    request = core.compile_model(model, "CPU", _OPTIONS).create_infer_request()
    return lambda log_mel: request.infer({"log_mel": log_mel})


def milliseconds(bundle: Bundle, repeats: int) -> dict[str, float]:
    """CPU time of a second's windows, the ways in turn."""
    opened = {way: runs(bundle, way) for way in WAYS}
    windows = {frames: np.ascontiguousarray(bundle.golden[0][None, :, :frames]) for frames in SECOND}
    taken: dict[str, list[float]] = {way: [] for way in WAYS}
    for _ in range(repeats):
        for way, run in opened.items():
            began = time.process_time()
            for frames in SECOND:
                run[frames](windows[frames])
            taken[way].append(1000 * (time.process_time() - began))
    return {way: round(statistics.median(each[2:]), 1) for way, each in taken.items()}  # the first two are slow


def megabytes(names: list[str], way: str) -> float:
    """Of this process, with the networks open and run."""
    bundles = [Bundle.load(bundled(name)) for name in names]
    opened = [runs(bundle, way) for bundle in bundles]
    for run, bundle in zip(opened, bundles, strict=True):
        for frames in SECOND * 2:
            run[frames](np.ascontiguousarray(bundle.golden[0][None, :, :frames]))
    pages = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[1])
    return round(pages * os.sysconf("SC_PAGE_SIZE") / 1e6)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(DEFAULT_MODELS), metavar="A,B,…", help="bundled names")
    parser.add_argument("--repeats", type=int, default=24, metavar="N", help="seconds of sound (24)")
    parser.add_argument("--memory", choices=WAYS, help=argparse.SUPPRESS)  # the process that looks at itself
    args = parser.parse_args()
    names = args.models.split(",")
    if args.memory:
        print(megabytes(names, args.memory))
        return
    bundles = [Bundle.load(bundled(name)) for name in names]
    itself = [sys.executable, __file__, "--models", args.models, "--memory"]
    record = {
        "command": f"python benchmarks/openvino_shapes.py --models {args.models} --repeats {args.repeats}",
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": processor(),
        "cores": os.cpu_count(),
        "openvino": openvino.__version__,
        "sha256": {bundle.name: bundle.sha256 for bundle in bundles},
        "ms_a_second": {bundle.name: milliseconds(bundle, args.repeats) for bundle in bundles},
        "megabytes": {way: float(subprocess.check_output([*itself, way], text=True)) for way in WAYS},
    }
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "openvino_shapes.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
