"""BatchNorm over the photos of all processes of a training, as one process has it that sees the whole batch.

torch's SyncBatchNorm does the same, on GPUs alone.
"""

# Shapes: B photos of this process, C channels, H, W cells.
from __future__ import annotations

import torch
from timm.layers import BatchNormAct2d
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce

from distillvlm.losses.processes import process_count


def join_batch_norms(module: nn.Module) -> None:
    """Lets the norms within see all processes; their parameters, statistics and names stay. Alone it changes nothing.

    Every process must bring equally many photos.
    """
    if process_count() == 1:
        return
    for norm in module.modules():
        if type(norm) is nn.BatchNorm2d:
            norm.__class__ = _JointBatchNorm2d  # a new module would need each class's own settings
        if type(norm) is BatchNormAct2d:
            norm.__class__ = _JointBatchNormAct2d


class _JointBatchNorm2d(nn.BatchNorm2d):
    def forward(self, maps_BCHW: Tensor) -> Tensor:
        return _normalise(self, maps_BCHW) if self.training else super().forward(maps_BCHW)


class _JointBatchNormAct2d(BatchNormAct2d):
    """timm's, with its activation."""

    def forward(self, maps_BCHW: Tensor) -> Tensor:
        if not self.training:
            return super().forward(maps_BCHW)
        return self.act(self.drop(_normalise(self, maps_BCHW)))


def _normalise(norm: nn.BatchNorm2d, maps_BCHW: Tensor) -> Tensor:
    mean_C11 = _mean_over_processes(maps_BCHW.float().mean((0, 2, 3)))[:, None, None]
    centred_BCHW = maps_BCHW.float() - mean_C11
    variance_C11 = _mean_over_processes(centred_BCHW.square().mean((0, 2, 3)))[:, None, None]
    _remember(norm, mean_C11, variance_C11, maps_BCHW[:, 0].numel() * process_count())
    scale_C11 = norm.weight[:, None, None] * (variance_C11 + norm.eps).rsqrt()
    return (centred_BCHW * scale_C11 + norm.bias[:, None, None]).to(maps_BCHW.dtype)


@torch.no_grad()
def _remember(norm: nn.BatchNorm2d, mean_C11: Tensor, variance_C11: Tensor, count: int) -> None:
    """Running statistics; their variance is the unbiased one, as in PyTorch."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.momentum is not None
    assert norm.num_batches_tracked is not None
    norm.num_batches_tracked.add_(1)
    norm.running_mean.lerp_(mean_C11.flatten(), norm.momentum)
    norm.running_var.lerp_(variance_C11.flatten() * (count / (count - 1)), norm.momentum)


def _mean_over_processes(values: Tensor) -> Tensor:
    """With a gradient that reaches the values of all processes."""
    return all_reduce(values) / process_count()
