"""One training run on several GPUs or machines with torch.distributed: start any recipe with torchrun.

    torchrun --nproc-per-node 4 -m training.passt …

The processes share the rows of each batch and reach the same weights as a single process: losses are means over the
known cells of the whole batch, and batch norms use the whole batch. (Exception: dropout between the layers of one GRU,
which only the paper's MS-CRNN has; it is the same in all processes.)
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


@dataclass(frozen=True)
class ProcessGroup:
    """The processes of a run.

    Attributes:
        rank: number of this process; rank 0 validates, writes and prints.
        world: number of processes.
        device: of this process.
    """

    rank: int = 0
    world: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_main(self) -> bool:
        return self.rank == 0

    def check(self, batch: int, parts: int = 1) -> None:
        """Check that a batch of `batch` rows can be divided evenly, and each process's rows into `parts`.

        Raises:
            UsageError: it cannot.
        """
        if batch % self.world:
            raise UsageError(f"{self.world} processes cannot share batches of {batch} evenly", "change --batch")
        if batch // self.world % parts:
            raise UsageError(f"{batch // self.world} rows cannot be divided into {parts} equal parts",
                             "change --accumulate or --batch")  # fmt: skip

    def sum(self, value: Tensor) -> Tensor:
        """The sum of a value over all processes, without gradient."""
        if self.world > 1:
            value = value.detach().clone()
            dist.all_reduce(value)
        return value

    def mean(self, values: Tensor, weights: Tensor, whole: Tensor | None = None) -> Tensor:
        """This process's share of the weighted mean over the whole batch, to be averaged over processes as
        DistributedDataParallel averages gradients. Values of weight 0 contribute exactly 0. Shapes must be equal; if
        these are part of this process's rows, `whole` has the weights of all of them."""
        total = self.sum((weights if whole is None else whole).sum())
        share = torch.where(total > 0, self.world / total, 0.0)
        return torch.where(weights > 0, values * weights, 0.0).sum() * share

    def broadcast(self, value: Any) -> Any:
        """The value of rank 0, on every rank."""
        if self.world == 1:
            return value
        box = [value]
        dist.broadcast_object_list(box, src=0)
        return box[0]


def check_precision(precision: str, device: torch.device) -> None:
    """Check that the device has this arithmetic.

    Raises:
        UsageError: it does not.
    """
    capable = device.type == "cuda" and torch.cuda.get_device_capability(device) >= (8, 0)
    if precision == "tf32" and not capable:
        raise UsageError("TF32 needs an NVIDIA GPU of compute capability 8.0 or more", "--precision fp32 or auto")


def fast_precision(device: torch.device) -> Literal["fp32", "bf16", "fp16"]:
    """The lowest precision that is fast on the device. (Emulated bfloat16 is ten times slower than float32.)"""
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    return "bf16" if torch.cpu._is_avx512_bf16_supported() else "fp32"


@contextmanager
def process_group(device: str = "auto") -> Iterator[ProcessGroup]:
    """Join the processes started by torchrun, if any.

    Args:
        device: "auto" (a GPU if there is one), "cpu", "cuda".

    Raises:
        UsageError: no GPU though one was requested, or fewer GPUs than processes.
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
        yield ProcessGroup(device=place)
        return
    dist.init_process_group("nccl" if on_gpu else "gloo")
    try:
        yield ProcessGroup(dist.get_rank(), world, place)
    finally:
        dist.destroy_process_group()


class WholeBatchNorm2d(nn.BatchNorm2d):
    """Batch norm over the rows of all processes; torch's SyncBatchNorm needs GPUs. [B, C, H, W] -> same."""

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
        normalised: Tensor = centred * scale[:, None, None] + self.bias[:, None, None]
        return normalised


class WholeBatchDropout(nn.Dropout):
    """Dropout that draws random numbers for the rows of all processes, as a single process would."""

    def __init__(self, p: float, rank: int, world: int) -> None:
        super().__init__(p)
        self.rank, self.world = rank, world

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        # Random numbers are drawn in memory order, so the whole batch gets the memory layout of this process's rows.
        order = sorted(range(x.dim()), key=x.stride, reverse=True)
        shape = (len(x) * self.world, *x.shape[1:])
        rows = x.new_ones([shape[d] for d in order]).permute([order.index(d) for d in range(x.dim())])
        return x * super().forward(rows)[self.rank :: self.world]


class WholeBatchDropout2d(nn.Dropout2d):
    """The same for dropout of channels, [B, C, H, W] -> same."""

    def __init__(self, p: float, rank: int, world: int) -> None:
        super().__init__(p)
        self.rank, self.world = rank, world

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        rows = x.new_ones(len(x) * self.world, x.shape[1], 1, 1)
        return x * super().forward(rows)[self.rank :: self.world]


def share_batches(network: nn.Module, group: ProcessGroup) -> nn.Module:
    """The network with every batch norm and dropout replaced by one over the rows of all processes, which are
    distributed in turn; parameters and names stay."""
    for name, module in list(network.named_modules()):
        whole: nn.Module
        if type(module) is nn.BatchNorm2d:
            whole = WholeBatchNorm2d(module.num_features, module.eps, module.momentum)
            whole.load_state_dict(module.state_dict())
        elif type(module) is nn.Dropout:
            whole = WholeBatchDropout(module.p, group.rank, group.world)
        elif type(module) is nn.Dropout2d:
            whole = WholeBatchDropout2d(module.p, group.rank, group.world)
        else:
            continue
        network.set_submodule(name, whole)
    return network
