"""ONNX's own GRU in place of torch's, for the export."""

from typing import cast

import torch
from torch import Tensor, nn

from instrec_live.models.errors import ModelError

OPSET = 18


def with_exportable_gru(network: nn.Module) -> nn.Module:
    """The network, its GRUs replaced by ones that leave torch as one node a layer.

    Raises:
        ModelError: one is not bidirectional, batch first, with biases.
    """
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.GRU):
            network.set_submodule(name, _OnnxGru(module))
    return network


class _OnnxGru(nn.Module):
    """ONNX's own GRU for torch's, which torch.export unrolls; both directions, batch first, one node a layer."""

    def __init__(self, gru: nn.GRU) -> None:
        super().__init__()
        if not (gru.bidirectional and gru.batch_first and gru.bias):
            raise ModelError(f"cannot export {gru}: only bidirectional, batch first, with biases")
        self.hidden = gru.hidden_size
        self.layers = nn.ModuleList(nn.ParameterList(_layer_parts(gru, layer)) for layer in range(gru.num_layers))

    def forward(self, sequence: Tensor) -> tuple[Tensor, None]:
        batch, time, _ = sequence.shape
        for parts in self.layers:
            out = torch.onnx.ops.symbolic(
                "GRU",
                (sequence.transpose(0, 1), *cast("nn.ParameterList", parts)),
                attrs={"hidden_size": self.hidden, "direction": "bidirectional", "linear_before_reset": 1},
                dtype=sequence.dtype,
                shape=(time, 2, batch, self.hidden),
                version=OPSET,
            )
            sequence = out.permute(2, 0, 1, 3).flatten(2)
        return sequence, None


def _layer_parts(gru: nn.GRU, layer: int) -> list[Tensor]:
    """ONNX's W [2, 3 H, in], R [2, 3 H, H] and B [2, 6 H] of one layer."""
    weight_ih, weight_hh, bias_ih, bias_hh = (
        torch.stack([_gates_zrn(getattr(gru, f"{name}_l{layer}{side}").detach()) for side in ("", "_reverse")])
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    return [weight_ih, weight_hh, torch.cat((bias_ih, bias_hh), dim=1)]


def _gates_zrn(weights: Tensor) -> Tensor:
    """torch's gate order (reset, update, new) -> ONNX's (update, reset, new)."""
    reset, update, new = weights.chunk(3)
    return torch.cat((update, reset, new))
