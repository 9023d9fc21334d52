"""Compares the cost of instrec-live with other ways to do the same, all in one run on one thread.

    python benchmarks/peers.py [--runs runs/final] [--yamnet FOLDER] [--seconds 20] [--repeats 3]

CPU seconds a second of sound, updates every 0.5 s, the least of some repeats; writes benchmarks/results/peers.json:
    ours     the program's own analysis: two windows, three networks, smoothing
    naive    the same three networks as one would first write it: torch, and at every hop hear21passt's front end and
             all networks over the whole 10 s window (with the weights of --runs, whose answers must then be ours; else
             with fresh ones)
    passt_s  hear21passt's PaSST-S as its README runs it, random weights: it costs the same
    yamnet   the YAMNet of --yamnet (yamnet.py, needs ai-edge-litert), on every 0.48 s; one network where we have three
    floor    the multiplications of ours and of the naive way at the speed of this machine's matrix product
"""

import argparse
import datetime
import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import soxr
import torch
from cost import HOP, LONG, RESULTS, demo
from torch.utils.flop_counter import FlopCounterMode

from instrec_live.models import Tagger
from instrec_live.models.arrays import FloatArray
from instrec_live.models.bundle import DEFAULT_MODELS, Bundle, bundled
from instrec_live.models.engine_selection import processor
from instrec_live.models.export.to_onnx import load_checkpoint, network_of, round_to_fp16
from instrec_live.models.logmel import N_MELS, PATCH, SAMPLE_RATE, log_mel
from instrec_live.models.networks.hear21passt_shim import augment_mel_stft
from instrec_live.models.networks.passt import passt
from instrec_live.models.networks.registry import build
from instrec_live.realtime.stream.analysis import Analysis
from instrec_live.realtime.stream.smoothing import Smoothing

STEP, WINDOW = round(HOP * SAMPLE_RATE), round(LONG * SAMPLE_RATE)


def least(work: Callable[[], float], repeats: int) -> float:
    """CPU seconds a second of sound, the least of some repeats; `work` returns the seconds of sound it heard."""
    best = np.inf
    for _ in range(repeats):
        began = time.process_time()
        heard = work()
        best = min(best, (time.process_time() - began) / heard)
    return float(best)


def ours(tagger: Tagger, sound: FloatArray, repeats: int) -> float:
    smoothing = Smoothing()

    def work() -> float:
        for at in range(WINDOW, len(sound) - STEP + 1, STEP):
            analysis.process(sound[at : at + STEP])
        return (len(sound) - WINDOW) / SAMPLE_RATE

    best = np.inf
    for _ in range(repeats):
        analysis = Analysis(tagger, STEP, tagger.thresholds, -60.0, smoothing)
        for at in range(0, WINDOW, STEP):
            analysis.process(sound[at : at + STEP])
        best = min(best, least(work, 1))
    return best


def networks(runs: Path | None) -> dict[str, torch.nn.Module]:
    """The three, as trained or fresh."""
    if runs is None:
        described = {name: Bundle.load(bundled(name)).network for name in DEFAULT_MODELS}
        return {name: build(d["name"], **d["config"]).eval() for name, d in described.items()}
    return {name: round_to_fp16(network_of(load_checkpoint(runs / name / "weights.pt"))) for name in DEFAULT_MODELS}


@torch.inference_mode()
def naive(nets: dict[str, torch.nn.Module], sound: FloatArray, repeats: int) -> float:
    front_end, wave = augment_mel_stft(), torch.from_numpy(sound)

    def work() -> float:
        for end in range(WINDOW + STEP, len(sound) + 1, STEP):
            heard = front_end(wave[None, end - WINDOW : end])
            for network in nets.values():
                torch.sigmoid(network(heard))
        return (len(sound) - WINDOW) / SAMPLE_RATE

    return least(work, repeats)


@torch.inference_mode()
def agreement(nets: dict[str, torch.nn.Module], tagger: Tagger, sound: FloatArray) -> float:
    """The greatest |difference| between the naive way's probabilities and those of the bundles on the same windows."""
    front_end, worst = augment_mel_stft(), 0.0
    for end in range(WINDOW, len(sound) + 1, 5 * SAMPLE_RATE):
        window = sound[end - WINDOW : end]
        said = tagger.calibrated(log_mel(window))
        for name, network in nets.items():
            logits = network(front_end(torch.from_numpy(window)[None]))[0].numpy()
            theirs = Bundle.load(bundled(name)).calibration(logits[:20])
            gap = np.abs(1 / (1 + np.exp(-theirs)) - 1 / (1 + np.exp(-said[name])))
            worst = max(worst, float(gap.max()))
    return worst


@torch.inference_mode()
def passt_s(sound: FloatArray) -> float:
    """Seconds of CPU for a 10 s window, once warm."""
    front_end, network = augment_mel_stft(), passt("passt_s").eval()
    wave = torch.from_numpy(sound[None, :WINDOW])
    network(front_end(wave)[:, :, :400])
    began = time.process_time()
    network(front_end(wave))
    return time.process_time() - began


def yamnet(folder: Path, sound: FloatArray, repeats: int) -> float:
    sys.path.insert(0, str(folder))
    model: Any = import_module("yamnet").YamNet()
    heard = soxr.resample(sound[WINDOW:], SAMPLE_RATE, 16_000)

    def work() -> float:
        model(heard)
        return len(heard) / 16_000

    work()
    return least(work, repeats)


def flops(nets: dict[str, torch.nn.Module]) -> dict[str, float]:
    """Floating-point operations a second of sound, of the networks alone: theirs at every hop, and what is left of them
    when a hop brings one new patch, a short window of two and, each second, a long one of ten. What does not hear in
    patches hears each window whole."""

    @torch.inference_mode()
    def count(work: Callable[[], Any]) -> int:
        with FlopCounterMode(display=False) as counter:
            work()
        return int(counter.get_total_flops())

    whole, left = 0, 0
    for network in nets.values():
        whole += count(lambda network=network: network(torch.zeros(1, N_MELS, 1000)))  # type: ignore[misc]
        width = int(getattr(network, "width", 0))
        if not width:
            left += 2 * count(lambda network=network: network(torch.zeros(1, N_MELS, 2 * PATCH)))  # type: ignore[misc]
            left += count(lambda network=network: network(torch.zeros(1, N_MELS, 10 * PATCH)))  # type: ignore[misc]
            continue
        patch = count(lambda network=network: network.embed(torch.zeros(1, N_MELS, PATCH)))  # type: ignore[misc]
        short, long = (
            count(lambda n=n, network=network, width=width: network.classify(torch.zeros(1, n, width)))  # type: ignore[misc]
            for n in (2, 10)
        )
        left += 2 * (patch + short) + long
    return {"naive": whole / HOP, "ours": float(left)}


def peak(size: int = 1536, repeats: int = 8) -> float:
    """Floating-point operations a second of a large matrix product on one thread."""
    a = torch.rand(size, size)
    a @ a
    times = []
    for _ in range(repeats):
        began = time.process_time()
        a @ a
        times.append(time.process_time() - began)
    return 2 * size**3 / min(times)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, help="a folder of NAME/weights.pt, those of the bundles")
    parser.add_argument("--yamnet", type=Path, help="a folder with yamnet.py and its model")
    parser.add_argument("--seconds", type=float, default=20.0, help="of sound that counts (20)")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    torch.set_num_threads(1)
    sound, nets, tagger = demo(args.seconds), networks(args.runs), Tagger.load(engine="onnx")
    costs = {"ours": ours(tagger, sound, args.repeats), "naive": naive(nets, sound, args.repeats)}
    window = passt_s(sound)
    costs["passt_s"] = window / HOP
    if args.yamnet:
        costs["yamnet"] = yamnet(args.yamnet, sound, args.repeats)
    work, speed = flops(nets), peak()
    costs |= {f"floor of {name}": each / speed for name, each in work.items()}
    record = {
        "command": " ".join(["python benchmarks/peers.py", *(a.rpartition("/")[2] or a for a in sys.argv[1:])]),
        "date": datetime.datetime.now().isoformat(timespec="seconds"),
        "machine": processor(),
        "engine": tagger.engine_name,
        "torch": torch.__version__,
        "cpu_seconds_per_second": {name: round(each, 5) for name, each in costs.items()},
        "ratio_to_ours": {name: round(each / costs["ours"], 2) for name, each in costs.items()},
        "passt_s_window_s": round(window, 2),
        "gflop_per_second_of_sound": {name: round(each / 1e9, 3) for name, each in work.items()},
        "peak_gflop_per_s": round(speed / 1e9, 1),
        "agreement": agreement(nets, tagger, sound) if args.runs else None,
    }
    (RESULTS / "peers.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(json.dumps(record, indent=1))


if __name__ == "__main__":
    main()
