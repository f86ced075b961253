"""Sums and rows over all processes of a training: a loss must not depend on how its batch is shared out."""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def process_count() -> int:
    """Processes of the training; 1 outside torch.distributed."""
    return distributed.get_world_size() if _together() else 1


def process_index() -> int:
    return distributed.get_rank() if _together() else 0


def global_mean(total: Tensor, count: int | Tensor) -> Tensor:
    """`total` / `count` with both summed over all processes; a count below 1 counts as 1, so no row gives 0.

    total: this process's sum. count: of its rows, or their summed weights. Scaled so that the mean over processes,
    which DistributedDataParallel takes of gradients and the engine of logged losses, is the mean over all rows, however
    unevenly words or questions are shared out. Every process must call it as often as the others.
    """
    counts = sum_processes(torch.as_tensor(count, dtype=torch.float32, device=total.device))
    return total * process_count() / counts.clamp(min=1)


def sum_processes(values: Tensor) -> Tensor:
    """Summed over all processes, without a gradient; every process must bring the same shape."""
    values = values.detach().clone()
    if process_count() > 1:
        distributed.all_reduce(values)
    return values


def gather_processes(rows: Tensor) -> Tensor:
    """The rows of all processes in the order of their ranks; every process must bring equally many."""
    if process_count() == 1:
        return rows
    gathered = [torch.empty_like(rows) for _ in range(process_count())]
    distributed.all_gather(gathered, rows.contiguous())
    return torch.cat(gathered)


def _together() -> bool:
    return distributed.is_available() and distributed.is_initialized()
