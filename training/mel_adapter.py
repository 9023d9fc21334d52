"""Fit the adapter from our log-mels to YAMNet's (models.networks.mobilenet.MelAdapter), on any folder of sounds.

    python -m training.mel_adapter FOLDER … [--to training/learning/mel_adapter.npz] [--seed 0]

No labels are needed: both front ends process the same excerpt, and the adapter is fitted to map our log-mels to
YAMNet's. Every network starts with the resulting file (load_yamnet).
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.fft import rfft
from torch.nn import functional as F
from tqdm import tqdm

from instrec_live.models import logmel
from instrec_live.models.arrays import FloatArray
from instrec_live.models.errors import InputFileError, UsageError
from instrec_live.models.networks.mobilenet import MelAdapter, yamnet_banks
from instrec_live.training.command import entry
from instrec_live.training.data.sounds import SUFFIXES, audio_files, load
from instrec_live.training.learning.initial_weights import MEL_ADAPTER
from instrec_live.training.staging import exclusive_file

FRAMES = 300
SAMPLES = FRAMES * logmel.HOP
REACH = logmel.WIN_LENGTH // 2


def yamnet_mels(samples: FloatArray) -> FloatArray:
    """YAMNet's mels before the logarithm, around our frames' centres.

    float32 [n] at 32 kHz -> float32 [1 + (n - 1) // 320, 64]. Its 512-point spectra at 16 kHz are the lower half of
    1024-point ones at 32 kHz, which are twice as large.
    """
    window = np.hanning(logmel.WIN_LENGTH + 1)[:-1]  # periodic
    padded = np.pad(samples, REACH, mode="reflect")
    frames = np.lib.stride_tricks.sliding_window_view(padded, logmel.WIN_LENGTH)[:: logmel.HOP]
    spectra = rfft(frames[: logmel.frame_count(len(samples))] * window, logmel.N_FFT)
    banks = yamnet_banks()
    return np.asarray(np.abs(spectra[:, : banks.shape[1]]) / 2 @ banks.T, np.float32)


def excerpts(files: list[Path], count: int, rng: np.random.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Our log-mels [count, 128, 300] and YAMNet's mels [count, 300, 64] of 3 s excerpts, -39 to -9 dBFS."""
    ours, theirs = [], []
    with tqdm(total=count, unit="excerpt", disable=None) as bar:
        for file in rng.permutation(len(files)).tolist() * count:  # several passes, since some excerpts are silent
            samples = load(files[file])
            start = int(rng.integers(0, max(1, len(samples) - SAMPLES)))
            samples = samples[start : start + SAMPLES]
            samples = np.pad(samples, (0, SAMPLES - len(samples)))
            level = float(np.sqrt(np.mean(np.square(samples))))
            if level < 1e-4:
                continue
            samples = samples * np.float32(10 ** (rng.uniform(-39, -9) / 20) / level)
            ours.append(logmel.log_mel(samples))
            theirs.append(yamnet_mels(samples))
            bar.update()
            if len(ours) == count:
                break
        else:
            raise InputFileError("all files in the folders are silent", "give other folders")
    return torch.from_numpy(np.stack(ours)), torch.from_numpy(np.stack(theirs))


def fit(mel_adapter: MelAdapter, ours: torch.Tensor, theirs: torch.Tensor, epochs: int) -> tuple[float, float]:
    """Fit on nine tenths of the excerpts; the mean error in nepers on the last tenth, before and after."""
    with torch.no_grad():
        power, gain = mel_adapter.levelled(ours)
        wanted = torch.log(theirs * gain.sqrt() + 1e-3)
    learnt = len(power) * 9 // 10
    rows, targets = power[:learnt].flatten(0, 1), wanted[:learnt].flatten(0, 1)

    def error() -> float:
        with torch.no_grad():
            return float((mel_adapter.mels(power[learnt:]) - wanted[learnt:]).abs().mean())

    before, batch = error(), 2048
    optimiser = torch.optim.Adam(mel_adapter.parameters(), lr=2e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, epochs * (len(rows) // batch))
    for _ in range(epochs):
        for some in torch.randperm(len(rows))[: len(rows) // batch * batch].view(-1, batch):
            loss = F.smooth_l1_loss(mel_adapter.mels(rows[some]), targets[some], beta=0.2)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return before, error()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="+", help="folders of sound files, searched to any depth")
    parser.add_argument(
        "--to", type=Path, default=MEL_ADAPTER, metavar="FILE", help="(the file that load_yamnet reads)"
    )
    parser.add_argument("--count", type=int, default=3000, help="excerpts of 3 s (3000)")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    for name, least in (("count", 20), ("epochs", 1), ("seed", 0)):
        if getattr(args, name) < least:
            raise UsageError(f"--{name} must be {least} or more, not {getattr(args, name)}")
    files = sorted(path for folder in args.folder for path in audio_files(folder, deep=True))
    if not files:
        raise InputFileError(f"{args.folder[0]}: no sound files in it", f"known endings: {', '.join(SUFFIXES)}")
    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    mel_adapter = MelAdapter()
    ours, theirs = excerpts(files, args.count, np.random.default_rng(args.seed))
    before, after = fit(mel_adapter, ours, theirs, args.epochs)
    with exclusive_file(args.to) as partial, partial.open("wb") as handle:
        weights: dict[str, Any] = {name: p.detach().numpy() for name, p in mel_adapter.named_parameters()}
        np.savez(handle, **{name: value.astype(np.float16) for name, value in weights.items()})
    print(f"{args.to}: mean error {after:.3f} nepers (before: {before:.3f}), of {len(files):,} files")


if __name__ == "__main__":
    entry(main)
