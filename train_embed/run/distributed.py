"""Ranks of a distributed run, and embeddings gathered over them, so that a loss sees the global batch.

Without a process group everything here is that of one rank: the same code trains alone and under `torchrun`.

**Why two ranks give what one process gives.** Every rank holds the same gathered (f, labels) and so the same loss L
and dL/df. `gather_with_gradient` goes backward to a rank's own rows alone, times the number of ranks W:
``W dL/df_r``. Through the rank's network that is ``W dL/df_r df_r/dθ``, and DDP's mean over the ranks makes of it
``sum_r dL/df_r df_r/dθ = dL/dθ``. A loss's own parameters (proxies) have the full gradient on every rank: the mean
changes nothing. No communication is needed on the way back. What one process shares over its batch apart from the
loss, such as a batch norm that trains, is a matter of `torch.nn.SyncBatchNorm` or frozen statistics.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from fewshot_seg.errors import ConfigError, ShapeError


def world_size() -> int:
    """How many ranks there are; 1 without a process group."""
    return dist.get_world_size() if _grouped() else 1


def rank() -> int:
    """This process's rank, 0 .. world_size() - 1."""
    return dist.get_rank() if _grouped() else 0


def is_main() -> bool:
    """Whether this is the rank that writes files and prints."""
    return rank() == 0


def local_rank() -> int:
    """This process's place on its machine, as torchrun tells it (LOCAL_RANK): which GPU is its own.

    Raises:
        ConfigError: LOCAL_RANK isn't a whole number.
    """
    text = os.environ.get("LOCAL_RANK", "0")
    try:
        return int(text)
    except ValueError as error:
        raise ConfigError(f"LOCAL_RANK must be a whole number, got {text!r}: start the run with torchrun") from error


def gather_with_gradient(f: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Embeddings and labels of all ranks, in the ranks' order, with gradient to this rank's own (see the module).

    Every rank must call it, and must then go backward from the same function of what it returns; parts of a loss
    that a rank computes on its own batch (similarity mining) don't pass through here and are averaged by DDP.

    Args:
        f: (B_r,D) this rank's embeddings; B_r may differ between ranks, 0 included; D and dtype may not.
        labels: (B_r,) int64, on f's device.

    Returns:
        f (B,D) and labels (B,), B the sum of all B_r. With one rank, the arguments themselves.

    Raises:
        ShapeError: shapes that don't belong together.
    """
    if f.ndim != 2 or labels.shape != f.shape[:1]:
        raise ShapeError(f"expected f (B,D) and labels (B,), got {tuple(f.shape)} and {tuple(labels.shape)}")
    if world_size() == 1:
        return f, labels
    sizes = _sizes(len(f), f.device)
    gathered: Tensor = _Gather.apply(f, sizes)
    return gathered, _gather(labels, sizes)


def reduce_mean(value: float | Tensor, weight: float = 1.0) -> float:
    """The mean over ranks of a number, such as a loss to be logged, each rank's with its weight.

    Every rank must call it. NaN on one rank is NaN on all; where no rank has weight the mean is NaN.
    """
    total = torch.tensor([float(value) * weight if weight else 0.0, weight], dtype=torch.float64)
    if world_size() > 1:
        total = total.to(_device())
        dist.all_reduce(total)
    weighted, weights = total.tolist()
    return weighted / weights if weights else float("nan")


def any_rank(flag: bool) -> bool:
    """Whether the flag is set on any rank (a signal came, a loss is NaN), so that all leave together.

    Every rank must call it.
    """
    if world_size() == 1:
        return flag
    value = torch.tensor([int(flag)], device=_device())
    dist.all_reduce(value, op=dist.ReduceOp.MAX)
    return bool(value.item())


def every_rank(values: Mapping[str, str]) -> dict[str, str]:
    """The items of all ranks together."""
    found: list[Any] = [dict(values)]
    if _grouped():
        found = [None] * world_size()
        dist.all_gather_object(found, dict(values))
    return {key: value for one in found for key, value in one.items()}


def barrier() -> None:
    """Waits for all ranks."""
    if world_size() > 1:
        dist.barrier()


class _Gather(torch.autograd.Function):
    """Rows of all ranks; backward: the own rows' gradient times the number of ranks."""

    @staticmethod
    def forward(ctx: Any, f: Tensor, sizes: list[int]) -> Tensor:
        start = sum(sizes[: rank()])
        ctx.rows = slice(start, start + len(f))
        return _gather(f, sizes)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient[ctx.rows] * world_size(), None


def _sizes(own: int, device: torch.device) -> list[int]:
    """How many rows each rank has."""
    sizes = [torch.zeros(1, dtype=torch.int64, device=device) for _ in range(world_size())]
    dist.all_gather(sizes, torch.tensor([own], device=device))
    return [int(size) for size in sizes]


def _gather(rows: Tensor, sizes: list[int]) -> Tensor:
    """Rows (B_r,...) of all ranks, end to end. Collectives want equal shapes: shorter ones are filled up."""
    longest = max(sizes)
    padded = rows.new_zeros(longest, *rows.shape[1:])
    padded[: len(rows)] = rows.detach()
    parts = [torch.empty_like(padded) for _ in sizes]
    dist.all_gather(parts, padded)
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])


def _device() -> torch.device:
    """Where the group's collectives take tensors from."""
    return torch.device("cuda", torch.cuda.current_device()) if dist.get_backend() == "nccl" else torch.device("cpu")


def _grouped() -> bool:
    return dist.is_available() and dist.is_initialized()
