"""What networks on a Triton server say and cost, against the same networks here.

    python benchmarks/triton_cost.py [--url HOST:PORT] [--seconds 24]

Without --url on a server of its own on this machine, as the tests have it: NVIDIA's, which runs the networks with ONNX
Runtime on one thread each. Writes benchmarks/results/triton_cost.json:
    agreement   the greatest |difference| of a probability over a stream of the demo, ensemble and each network
    stream      of that stream, for a second of sound: CPU time of this process here and with the server; bytes sent
    window      ms from asking to the answer, least and median, by network and frames, here and there
    clients     windows of 2 patches of all clients a second, and how many the server heard at once on the average
"""

import argparse
import datetime
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from cost import CHECKOUT, RESULTS, processor
from numpy.typing import NDArray

from instrec_live.models.bundle import DEFAULT_MODELS, Bundle, bundled
from instrec_live.models.engines import Engine, open_engine
from instrec_live.models.engines.triton import TritonEngine
from instrec_live.realtime import Stream

FRAMES = (192, 960)  # of a stream's windows of 2.5 and 10 s
CLIENTS = (1, 2, 4, 8, 16)
TIMES, SPELL = 100, 4.0  # windows; s


@contextmanager
def server(url: str | None) -> Iterator[str]:
    """The address of the server that is measured."""
    if url is not None:
        yield url
        return
    sys.path.insert(0, str(CHECKOUT / "tests"))
    from triton_server import Triton, repository_of

    with TemporaryDirectory() as folder, Triton(repository_of(Path(folder)), Path(folder)) as running:
        yield running.address


def heard(engine: str, seconds: float) -> tuple[dict[str, NDArray[Any]], float]:
    """Probabilities [updates, 20] by network and of the ensemble, and CPU seconds for a second of sound."""
    with Stream(file=CHECKOUT / "realtime/demo/demo.ogg", duration=seconds, pace="max", engine=engine) as stream:
        began = time.process_time()
        updates = list(stream)
        spent = time.process_time() - began
    by = {name: np.array([update.by_model[name] for update in updates]) for name in DEFAULT_MODELS}
    return by | {"ensemble": np.array([update.probabilities for update in updates])}, spent / seconds


@contextmanager
def counted() -> Iterator[list[int]]:
    """The bytes of the log-mels that are sent meanwhile."""
    sent, plain = [0], TritonEngine.logits

    def logits(self: TritonEngine, log_mel: NDArray[np.float32]) -> NDArray[np.float32]:
        sent[0] += log_mel.nbytes
        return plain(self, log_mel)

    TritonEngine.logits = logits  # type: ignore[method-assign]
    try:
        yield sent
    finally:
        TritonEngine.logits = plain  # type: ignore[method-assign]


def milliseconds(engines: Mapping[str, Engine], frames: int) -> dict[str, dict[str, float]]:
    """Of the engines in turn, so that other load meets them alike."""
    log_mel = np.random.default_rng(0).standard_normal((1, 128, frames)).astype(np.float32)
    taken: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(TIMES):
        for name, engine in engines.items():
            taken[name].append(1000 * _timed(lambda engine=engine: engine.logits(log_mel)))  # type: ignore[misc]
    return {
        name: {"least": round(min(each), 2), "median": round(float(np.median(each)), 2)} for name, each in taken.items()
    }


def _timed(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def together(bundle: Bundle, address: str, clients: int) -> dict[str, float]:
    """So many clients that each ask for window after window."""
    engines = [open_engine(bundle, f"triton@{address}") for _ in range(clients)]
    log_mel = np.random.default_rng(0).standard_normal((1, 128, FRAMES[0])).astype(np.float32)
    before, counts, until = _executed(bundle, address), [0] * clients, time.monotonic() + SPELL

    def ask(k: int) -> None:
        while time.monotonic() < until:
            engines[k].logits(log_mel)
            counts[k] += 1

    threads = [threading.Thread(target=ask, args=(k,)) for k in range(clients)]
    took = _timed(lambda: ([t.start() for t in threads], [t.join() for t in threads]))
    windows, batches = (b - a for a, b in zip(before, _executed(bundle, address), strict=True))
    return {"windows_a_second": round(sum(counts) / took, 1), "at_once": round(windows / batches, 2)}


def _executed(bundle: Bundle, address: str) -> tuple[int, int]:
    """Windows heard, and batches they were heard in, since the server began."""
    import tritonclient.grpc

    (told,) = tritonclient.grpc.InferenceServerClient(address).get_inference_statistics(bundle.name).model_stats
    return told.inference_count, told.execution_count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--url", metavar="HOST:PORT")
    parser.add_argument("--seconds", type=float, default=24.0, help="of the demo (24)")
    args = parser.parse_args()
    bundles = [Bundle.load(bundled(name)) for name in DEFAULT_MODELS]
    with server(args.url) as address:
        here, cost_here = heard("onnx", args.seconds)
        with counted() as sent:
            there, cost_there = heard(f"triton@{address}", args.seconds)
        record = {
            "command": "python " + " ".join(["benchmarks/triton_cost.py", *sys.argv[1:]]),
            "date": datetime.datetime.now().isoformat(timespec="seconds"),
            "machine": processor(),
            "load": round(os.getloadavg()[0], 1),
            "server": open_engine(bundles[0], f"triton@{address}").name.partition(" at ")[0],
            "agreement": {
                "updates": len(here["ensemble"]),
                **{name: float(np.abs(here[name] - there[name]).max()) for name in here},
            },
            "stream": {
                "cpu_here": round(cost_here, 4),
                "cpu_with_server": round(cost_there, 4),
                "bytes_a_second": round(sent[0] / args.seconds),
            },
            "window": {
                bundle.name: {
                    str(frames): milliseconds(
                        {"here": open_engine(bundle, "onnx"), "there": open_engine(bundle, f"triton@{address}")}, frames
                    )
                    for frames in FRAMES
                }
                for bundle in bundles
            },
            "clients": {str(clients): together(bundles[0], address, clients) for clients in CLIENTS},
        }
    print(json.dumps(record, indent=1))
    (RESULTS / "triton_cost.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
