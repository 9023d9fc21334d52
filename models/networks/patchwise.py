"""Networks that process a window patch by patch, so that a stream computes each patch once."""

from torch import Tensor

from instrec_live.models.logmel import PATCH


class Patchwise:
    """log-mel [B, 128, T] -> logits [B, classes] in two steps: an embedding of each 0.96 s patch, which depends on that
    patch alone, and the logits of the embeddings. A base class of modules.

    Attributes:
        width: numbers in an embedding; 0: this configuration of the network is not patchwise.
    """

    width: int

    def embed(self, patch: Tensor) -> Tensor:
        """Patches [N, 128, 96] -> embeddings [N, width]."""
        raise NotImplementedError

    def classify(self, embeddings: Tensor) -> Tensor:
        """Embeddings of a window's patches in order [B, N, width] -> logits [B, classes]."""
        raise NotImplementedError

    def embeddings(self, log_mel: Tensor) -> Tensor:
        """log-mel [B, 128, T] -> embeddings [B, T // 96, width]; the last patch ends where the window ends."""
        return self.embed(patches(log_mel)).reshape(len(log_mel), -1, self.width)


def patches(log_mel: Tensor) -> Tensor:
    """log-mel [B, 128, T] -> patches of it [B * N, 128, 96], N = T // 96; the last ends where the window ends."""
    batch, bands, frames = log_mel.shape
    count = frames // PATCH
    cut = log_mel[:, :, frames - count * PATCH :].reshape(batch, bands, count, PATCH)
    return cut.transpose(1, 2).flatten(0, 1)


def log_mean_exp(logits: Tensor, sharpness: Tensor) -> Tensor:
    """Logits in time [B, N, C] -> of the window [B, C]: log(mean(exp(s * z))) / s (Pinheiro & Collobert, CVPR 2015).

    The result lies between their mean (s near 0) and their maximum (s large). An instrument may sound in part of the
    window only, and in a band it is heard best where the others pause.

    Args:
        sharpness: s of each instrument [C], more than 0.
    """
    scaled = logits * sharpness
    peak = scaled.amax(1, keepdim=True)
    return ((scaled - peak).exp().mean(1).log() + peak[:, 0]) / sharpness
