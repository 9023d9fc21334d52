"""PaSST, the patchout audio transformer, in two sizes from one definition: log-mel to logits.

Koutini et al., "Efficient Training of Audio Transformers with Patchout", Interspeech 2022. The parameters
are those of hear21passt's `PaSST`, so `passt_s` takes the state dicts of its public AudioSet and OpenMIC
checkpoints (AudioSet's have 527 classes: leave out `head.1.*` and `head_dist.*`). The forward is ours: any
length, no prints, fused attention, exportable.
"""

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from instrec_live.models import logmel
from instrec_live.models.instruments import INSTRUMENTS
from instrec_live.models.networks.hear21passt_shim import PaSST
from instrec_live.models.networks.mn04 import BANDS, COLUMNS, WIDTH, Mn04Head, Mn04Trunk
from instrec_live.models.networks.patchwise import Patchwise

SIZES: dict[str, dict[str, Any]] = {
    "passt_s": {"embed_dim": 768, "num_heads": 12, "depth": 12, "stride": (10, 10)},
    "tiny": {
        "embed_dim": 192,
        "num_heads": 4,
        "depth": 4,
        "pool": "patches",
        "foundation": True,
    },
}


def passt(size: Literal["passt_s", "tiny"] = "tiny", n_classes: int = 20, **config: Any) -> "Passt":
    """A PaSST of one of `SIZES`.

    Args:
        size: "passt_s" (85.4 M parameters, 1190 tokens in 10 s) or "tiny" (mn04's maps, then a transformer
            of 1.9 M parameters, 62 tokens).
        n_classes: logits.
        config: overrides of the size, and patchout and dropout rates, by hear21passt's own names
            (s_patchout_t, s_patchout_f, drop_rate, attn_drop_rate, drop_path_rate, depth, stride, …).

    Raises:
        ValueError: unknown size.
    """
    if size not in SIZES:
        raise ValueError(f"no PaSST size {size!r}: choose from {', '.join(SIZES)}")
    return Passt(num_classes=n_classes, **(SIZES[size] | config))


class Passt(Patchwise, PaSST):
    """log-mel float32 [B, 128, T] -> logits float32 [B, classes]; T from 16 frames to 10 s.

    In training mode whole rows and columns of the patch grid are dropped at random (structured patchout), and
    shorter inputs take their time position embeddings from a random place; in eval mode from the start.

    Args:
        pool: what the head sees: the mean of the two special tokens ("special", PaSST's), or of all patches
            ("patches"), from which a small network learns far sooner (Beyer et al., "Better plain ViT baselines for
            ImageNet-1k", 2022).
        foundation: the patches are not cut from the log-mel but from the maps that mn04 (mn04.py) makes of it, two
            bands in columns of 320 ms (Xiao et al., "Early convolutions help transformers see better", NeurIPS 2021);
            the transformer corrects the logits of the foundation's own classes, and the logits of
            `models.audioset.OTHER_SOUNDS` follow those of the instruments. Other classes than our instruments (in
            pretraining) have the transformer's logits alone.
        s_patchout_t: columns (time) dropped of a 10 s grid; of a shorter one, the same share.
        s_patchout_f: rows (frequency) dropped.
    """

    def __init__(
        self, pool: Literal["special", "patches"] = "special", foundation: bool = False, **config: Any
    ) -> None:
        shape: dict[str, Any] = {"img_size": (128, 998), "patch_size": 16, "in_chans": 1}
        if foundation:
            columns = round(logmel.WINDOW_SECONDS * logmel.SAMPLE_RATE) // logmel.HOP // logmel.PATCH * COLUMNS
            shape = {"img_size": (BANDS, columns), "patch_size": (2, 1), "stride": (2, 1), "in_chans": WIDTH}
        super().__init__(distilled=True, **shape, **config)
        self.pool = pool
        self.trunk = Mn04Trunk() if foundation else None
        self.width = 0
        if foundation:
            self.width = COLUMNS * BANDS // 2 * int(config.get("embed_dim", 768)) + WIDTH
            self.scale = nn.BatchNorm2d(WIDTH)  # channels of one scale: a transformer learns several times faster
            self.audioset = Mn04Head()
            # Blocks and head start at zero, so that training starts from the foundation's own results.
            for name, parameter in (*self.blocks.named_parameters(), *self.head.named_parameters()):
                if name.endswith(("attn.proj.weight", "mlp.fc2.weight", "1.weight", "1.bias")):
                    nn.init.zeros_(parameter)

    def forward(self, log_mel: Tensor) -> Tensor:
        if self.trunk is not None:
            return self.classify(self.embeddings(log_mel))
        logits: Tensor = self.head(self.features(log_mel))
        return logits

    def features(self, log_mel: Tensor) -> Tensor:
        """log-mel [B, 128, T] -> what the head sees [B, embed_dim]."""
        if self.trunk is not None:
            return self._attended(self._grid(self.embeddings(log_mel)))
        return self._attended(self.patch_embed.proj(log_mel.unsqueeze(1)))

    def embed(self, patch: Tensor) -> Tensor:
        assert self.trunk is not None
        maps = self.trunk(patch)
        tokens = self.patch_embed.proj(self.scale(maps))  # [N, E, 2, 3]
        return torch.cat((tokens.flatten(1), maps.mean((2, 3))), 1)

    def classify(self, embeddings: Tensor) -> Tensor:
        if self.num_classes != len(INSTRUMENTS):
            logits: Tensor = self.head(self._attended(self._grid(embeddings)))
            return logits
        return self.audioset.joined(*self.both(embeddings))

    def means(self, log_mel: Tensor) -> Tensor:
        """log-mel [B, 128, T] -> mean maps of the window [B, 384], of a network on mn04."""
        return self.embeddings(log_mel)[:, :, -WIDTH:].mean(1)

    def both(self, embeddings: Tensor) -> tuple[Tensor, Tensor]:
        """Embeddings [B, N, width] -> logits of the instruments [B, 20] and of all other classes [B, 533]."""
        parts = embeddings[:, :, -WIDTH:]
        correction = self.head(self._attended(self._grid(embeddings)))
        return self.audioset.pooled(parts) + correction, self.audioset(parts.mean(1))

    def _grid(self, embeddings: Tensor) -> Tensor:
        """[B, N, width] -> [B, E, 2, 3 N]."""
        batch, count, _ = embeddings.shape
        tokens = embeddings[:, :, :-WIDTH].reshape(batch, count, -1, BANDS // 2, COLUMNS)
        return tokens.permute(0, 2, 3, 1, 4).flatten(3)

    def _attended(self, grid: Tensor) -> Tensor:
        """Patches [B, E, F, T] -> what the head sees [B, E]."""
        grid = grid + self._time_positions(grid.shape[-1]) + self.freq_new_pos_embed
        if self.training:
            grid = self._patchout(grid)
        tokens = grid.flatten(2).transpose(1, 2)
        special = torch.cat((self.cls_token, self.dist_token), dim=1) + self.new_pos_embed
        tokens = torch.cat((special.expand(tokens.shape[0], -1, -1), tokens), dim=1)
        tokens = self.pos_drop(tokens)
        for block in self.blocks:
            tokens = _transformer_block(block, tokens)
        seen = tokens[:, 2:] if self.pool == "patches" else tokens[:, :2]
        feature: Tensor = self.norm(seen).mean(dim=1)
        return feature

    def _time_positions(self, count: int) -> Tensor:
        if not self.training:
            return self.time_new_pos_embed[..., :count]
        offset = int(torch.randint(self.time_new_pos_embed.shape[-1] - count + 1, ()))
        return self.time_new_pos_embed[..., offset : offset + count]

    def _patchout(self, grid: Tensor) -> Tensor:
        rows, columns = grid.shape[-2:]
        # A share, not a number: 2 s have fewer columns than a usual patchout drops of 10 s.
        dropped = self.s_patchout_t * columns // self.time_new_pos_embed.shape[-1]
        if dropped:
            grid = grid[..., _random_subset(columns, columns - dropped, grid.device)]
        if self.s_patchout_f:
            grid = grid[..., _random_subset(rows, rows - self.s_patchout_f, grid.device), :]
        return grid


def _random_subset(count: int, keep: int, device: torch.device) -> Tensor:
    return torch.randperm(count, device=device)[:keep].sort().values


def _transformer_block(block: Any, tokens: Tensor) -> Tensor:
    """hear21passt's pre-norm block, its attention fused."""
    tokens = tokens + block.drop_path(_attention(block.attn, block.norm1(tokens)))
    mixed: Tensor = tokens + block.drop_path(block.mlp(block.norm2(tokens)))
    return mixed


def _attention(attention: Any, tokens: Tensor) -> Tensor:
    batch, count, width = tokens.shape
    heads = attention.num_heads
    q, k, v = attention.qkv(tokens).view(batch, count, 3, heads, width // heads).permute(2, 0, 3, 1, 4).unbind(0)
    dropout = attention.attn_drop.p if attention.training else 0.0
    attended = F.scaled_dot_product_attention(q, k, v, dropout_p=dropout)
    merged = attended.transpose(1, 2).reshape(batch, count, width)
    projected: Tensor = attention.proj_drop(attention.proj(merged))
    return projected
