"""One training run on several GPUs or machines, by PyTorch's own engine: start any recipe with torchrun.

    torchrun --nproc-per-node 4 -m training.passt …

The processes share each batch's rows and end with the same weights as one process that has them all: losses are means
over the whole batch's known cells, and batch norms see the whole batch. (All but dropout between the layers of one
GRU, which is torch's own: the reference's MS-CRNN has it, and every process then drops alike.)
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

from instrec_live.models.errors import UsageError
from instrec_live.models.mobilenet import Deafness


@dataclass(frozen=True)
class Crew:
    """The processes of a run.

    Attributes:
        rank: this one's number; 0 validates, writes and speaks.
        world: how many there are.
        device: where this one computes.
    """

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def check(self, batch: int) -> None:
        """See that batches of so many rows can be dealt out.

        Raises:
            UsageError: not evenly.
        """
        if batch % self.world:
            raise UsageError(f"{self.world} processes cannot share batches of {batch} evenly", "change --batch")

    def whole(self, value: Tensor) -> Tensor:
        """The sum of a value over all processes, without gradient."""
        if self.world > 1:
            value = value.detach().clone()
            dist.all_reduce(value)
        return value

    def mean(self, values: Tensor, weights: Tensor) -> Tensor:
        """The weighted mean over the whole batch; this process's share of it, to be averaged over processes as
        DistributedDataParallel averages gradients. Values of no weight add exactly nothing. Shapes alike."""
        total = self.whole(weights.sum())
        share = torch.where(total > 0, self.world / total, 0.0)
        return torch.where(weights > 0, values * weights, 0.0).sum() * share

    def told(self, value: Any) -> Any:
        """What rank 0 has, on every rank."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]


def fast_precision(device: torch.device) -> Literal["fp32", "bf16", "fp16"]:
    """The shortest arithmetic that the device is fast at. (Emulated bfloat16 is ten times slower than float32.)"""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() else "fp32"


@contextmanager
def crew(device: str = "auto") -> Iterator[Crew]:
    """Join the processes that torchrun started, if it did.

    Args:
        device: "auto" (a GPU if there is one), "cpu", "cuda".

    Raises:
        UsageError: no GPU where one was asked for, or fewer than processes.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise UsageError("no GPU that this torch can use", "--device cpu, or install a CUDA build of torch")
    on_gpu = torch.cuda.is_available() and device != "cpu"
    world = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    if on_gpu and local >= torch.cuda.device_count():
        raise UsageError(f"process {local + 1} on this machine has no GPU: there are {torch.cuda.device_count()}",
                         "lower --nproc-per-node, or --device cpu")  # fmt: skip
    place = torch.device("cuda", local) if on_gpu else torch.device("cpu")
    if on_gpu:
        torch.cuda.set_device(place)
    if world == 1:
        yield Crew(device=place)
        return
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield Crew(dist.get_rank(), world, place)
    finally:
        dist.destroy_process_group()


class WholeBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the rows of all processes; torch's SyncBatchNorm does so on GPUs only. [B, C, H, W] -> same."""

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return super().forward(x)
        assert self.running_mean is not None
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        rows = torch.full_like(self.running_mean, x.numel() / x.shape[1])
        sums = torch.stack((x.sum((0, 2, 3), dtype=torch.float32), rows))
        total, count = all_reduce(sums)
        mean = total / count
        centred = x - mean[:, None, None]
        variance = all_reduce(centred.square().sum((0, 2, 3))) / count
        with torch.no_grad():
            momentum = 0.1 if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean.detach(), momentum)
            self.running_var.lerp_((variance * count / (count - 1)).detach(), momentum)
            self.num_batches_tracked.add_(1)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return centred * scale[:, None, None] + self.bias[:, None, None]


class WholeBatchDropout(nn.Dropout):
    """Dropout that draws for the rows of all processes and keeps its own, as one process with them all would."""

    def __init__(self, p: float, rank: int, world: int) -> None:
        super().__init__(p)
        self.rank, self.world = rank, world

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        # Dice fall in the order of memory, so the whole batch is laid out as this process's rows are.
        order = sorted(range(x.dim()), key=x.stride, reverse=True)
        shape = (len(x) * self.world, *x.shape[1:])
        rows = x.new_ones([shape[d] for d in order]).permute([order.index(d) for d in range(x.dim())])
        return x * super().forward(rows)[self.rank :: self.world]


class WholeBatchDropout2d(nn.Dropout2d):
    """The same for dropout of whole channels, [B, C, H, W] -> same."""

    def __init__(self, p: float, rank: int, world: int) -> None:
        super().__init__(p)
        self.rank, self.world = rank, world

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        rows = x.new_ones(len(x) * self.world, x.shape[1], 1, 1)
        return x * super().forward(rows)[self.rank :: self.world]


def share_batches(network: nn.Module, crew: Crew) -> nn.Module:
    """The network with every batch norm and dropout replaced by one over all processes' rows, which are dealt out one
    by one and evenly; parameters and names stay."""
    for name, module in list(network.named_modules()):
        if isinstance(module, Deafness):
            module.rank, module.world = crew.rank, crew.world
        whole: nn.Module
        if type(module) is nn.BatchNorm2d:
            whole = WholeBatchNorm2d(module.num_features, module.eps, module.momentum)
            whole.load_state_dict(module.state_dict())
        elif type(module) is nn.Dropout:
            whole = WholeBatchDropout(module.p, crew.rank, crew.world)
        elif type(module) is nn.Dropout2d:
            whole = WholeBatchDropout2d(module.p, crew.rank, crew.world)
        else:
            continue
        network.set_submodule(name, whole)
    return network
