"""A supply of examples for tests of training: instrument i fills bands 6 i … 6 i + 5, so anything can learn it."""

import numpy as np

from instrec_live.training.example import Example


class Bands:
    """One to three instruments, some cells masked, now and then real music."""

    def __init__(self, mask_share: float = 0.3) -> None:
        self.mask_share = mask_share

    def example(self, index: int, rng: np.random.Generator, frames: int) -> Example:
        mel = rng.normal(-0.8, 0.1, (128, frames)).astype(np.float32)
        labels = np.zeros(20, np.float32)
        for i in rng.choice(20, int(rng.integers(1, 4)), replace=False):
            labels[i] = 1
            mel[6 * i : 6 * i + 6] += 1.5
        mask = (rng.random(20) >= self.mask_share).astype(np.float32)
        return Example(mel, labels, mask, real=bool(rng.random() < 0.3))
