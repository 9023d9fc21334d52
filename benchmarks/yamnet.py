"""What our networks have to beat: YAMNet as it is, and its mean with a head trained on our scenes, as csv files for a
scorer beside those of training.ensemble.

    python benchmarks/yamnet.py --weights yamnet_float.npz --probe runs/probe/weights.pt --clips DIR

YAMNet hears its own front end (16 kHz, 25 ms periodic Hann windows every 10 ms, 64 mels of 125–7500 Hz,
ln(mel + 0.001); Plakal & Ellis), in patches of 0.96 s every 0.48 s. An instrument's logit is that of its likeliest
AudioSet class in each patch, mean over patches. The probe is our training.cbam_cnn --profile probe: the same trunk,
frozen, under a head of ours, without AudioSet's words. Nothing here is fitted on the clips; probabilities are shown
active from 0.5.
"""

import argparse
from pathlib import Path

import numpy as np
import soundfile
import soxr
import torch
from numpy.typing import NDArray

from instrec_live.models.calibration import sigmoid
from instrec_live.models.export import load_checkpoint, network_of
from instrec_live.models.logmel import PATCH
from instrec_live.models.mobilenet import yamnet_banks
from instrec_live.models.networks import build
from instrec_live.training.datasets.clips import read_clips
from instrec_live.training.evaluation.predictions import write_predictions
from instrec_live.training.learning.validation import predict
from instrec_live.training.learning.yamnet import load_yamnet

FloatArray = NDArray[np.float32]

RATE, WINDOW, HOP, N_FFT = 16_000, 400, 160, 512


def patches(path: Path) -> FloatArray:
    """The log-mel patches [n, 96, 64] of a sound file."""
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = soxr.resample(samples.mean(1), rate, RATE)
    mono = np.pad(mono, (0, max(0, WINDOW + HOP * (PATCH - 1) - len(mono))))
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
    frames = np.lib.stride_tricks.sliding_window_view(mono, WINDOW)[::HOP] * hann
    log_mel = np.log(np.abs(np.fft.rfft(frames, N_FFT)) @ yamnet_banks().T + 0.001)
    starts = range(0, len(log_mel) - PATCH + 1, PATCH // 2)
    return np.stack([log_mel[i : i + PATCH] for i in starts]).astype(np.float32)


@torch.no_grad()
def zero_shot(weights: Path, paths: list[Path]) -> FloatArray:
    """Logits [n, 20] of YAMNet as it is."""
    network = build("cbam_cnn", trunk="mobilenet", words=1.0).eval()  # attention that has learnt nothing yet is none
    load_yamnet(network, weights)
    out = []
    for path in paths:
        x = network.trunk.stages(torch.relu(network.trunk.stem(torch.from_numpy(patches(path))[:, None])).clamp(max=6))
        out.append(network.words(x.mean((2, 3))[None])[0].numpy())
    return np.array(out, np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True, help="YAMNet's, with its class map beside them")
    parser.add_argument("--probe", type=Path, required=True, help="of training.cbam_cnn --profile probe")
    parser.add_argument("--clips", type=Path, required=True, help="a folder with labels.csv")
    parser.add_argument("--to", type=Path, default=Path("runs/cross_validated"), metavar="DIR")
    args = parser.parse_args()
    torch.set_num_threads(1)
    clips = read_clips(args.clips)
    alone = zero_shot(args.weights, [args.clips / file for file in clips.files])
    network = network_of(load_checkpoint(args.probe))
    network.words = None  # what it learnt, and that alone
    probe = predict(network, clips)
    for name, logits in (("yamnet", alone), ("yamnet_head", probe), ("yamnet_mean", (alone + probe) / 2)):
        probabilities = sigmoid(logits)
        write_predictions(args.to / f"{name}.csv", clips.files, probabilities, probabilities >= 0.5)


if __name__ == "__main__":
    main()
