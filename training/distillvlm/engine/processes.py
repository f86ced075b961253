"""What the processes of one training share: the rows of a batch, and figures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import torch
from accelerate import Accelerator, DistributedDataParallelKwargs, PartialState
from torch import Tensor


def fastest_device() -> torch.device:
    """Where one process computes."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def new_accelerator(precision: str) -> Accelerator:
    """Devices and processes as `torchrun` or `accelerate launch` set them up; one process without.

    Parameters without a gradient are looked for, since no step has all losses. Buffers are not sent around: queues are
    equal on all processes by construction, and of running statistics the first process's are kept.
    """
    distribution = DistributedDataParallelKwargs(find_unused_parameters=True, broadcast_buffers=False)
    return Accelerator(cpu=not torch.cuda.is_available(), mixed_precision=precision, kwargs_handlers=[distribution])


def batch_rows(batch: object) -> int:
    """Rows of a batch (photos, or texts without a photo): the first size of its first tensor.

    Raises:
        ValueError: the batch holds no tensor.
    """
    if isinstance(batch, Tensor):
        return len(batch)
    for value in _values(batch):
        if isinstance(value, Tensor) or is_dataclass(value):
            return batch_rows(value)
    raise ValueError(f"Expected a batch of tensors but received {type(batch).__name__}")


def share_of(batch: Any, process: int, processes: int) -> Any:
    """The rows of a batch that one process learns from; every tensor in it, at any depth, has the rows first.

    Shares are contiguous, so that rows gathered in the order of processes are in the order of the batch, and equal,
    since queues gather equally many of each. Every process builds the whole batch: what is drawn is then the same for
    any number of processes, and reading is cheap beside learning.

    Raises:
        ValueError: the rows can't be shared out equally.
    """
    rows = batch_rows(batch)
    if rows % processes:
        raise ValueError(f"batch: expected a multiple of {processes} rows, one share a process, but received {rows}")
    size = rows // processes
    return batch if processes == 1 else _rows(batch, slice(process * size, (process + 1) * size))


def share_of_this_process(batch: Any) -> Any:
    """See `share_of`; the batch itself where there is one process."""
    state = PartialState(cpu=not torch.cuda.is_available())
    return share_of(batch, state.process_index, state.num_processes)


def means_over_processes(accelerator: Accelerator, figures: Mapping[str, Tensor | float]) -> dict[str, float]:
    """The figures as numbers, averaged over processes; all must have the same in the same order."""
    values = [torch.as_tensor(value, dtype=torch.float32, device=accelerator.device) for value in figures.values()]
    means = accelerator.reduce(torch.stack(values).detach(), reduction="mean")
    return dict(zip(figures, means.tolist(), strict=True))


def _rows(batch: Any, rows: slice) -> Any:
    if isinstance(batch, Tensor):
        return batch[rows]
    if is_dataclass(batch) and not isinstance(batch, type):
        return replace(batch, **{field.name: _rows(getattr(batch, field.name), rows) for field in fields(batch)})
    return batch


def _values(batch: object) -> list[Any]:
    if is_dataclass(batch) and not isinstance(batch, type):
        return [getattr(batch, field.name) for field in fields(batch)]
    return []
