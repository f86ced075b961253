"""How strongly each loss pulls: its share of the gradient at the last layer's input.

There and not at the parameters, since the attention loss never reaches the last layer's value, output and feed-forward
weights. A loss with a tiny share is inert, whatever its value.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from distillvlm.engine.progress import Progress
from distillvlm.losses.processes import sum_processes


def share_windows(steps: int, length: int) -> dict[str, range]:
    """The steps in which shares are taken: `length` from the start, from a tenth and from half of the training, or as
    many as a tenth of the training has."""
    length = min(length, steps // 10)
    return {
        name: range(first, first + length)
        for name, first in {"start": 0, "tenth": steps // 10, "half": steps // 2}.items()
        if length
    }


@contextmanager
def outputs_of(modules: Sequence[nn.Module]) -> Iterator[list[Tensor]]:
    """Collects what the modules give within the block, as far as it has a gradient."""
    outputs: list[Tensor] = []

    def keep(_: nn.Module, __: object, output: Tensor) -> None:
        if output.requires_grad:
            outputs.append(output)

    handles = [module.register_forward_hook(keep) for module in modules]
    try:
        yield outputs
    finally:
        for handle in handles:
            handle.remove()


def gradient_shares(losses: Mapping[str, Tensor], inputs: Sequence[Tensor]) -> dict[str, float]:
    """Norm of each (weighted) loss's gradient with respect to the inputs, over the sum of all losses' norms.

    In 0-1; all 0 where no loss has a gradient. Of the inputs of all processes, which must have the same losses. The
    graph is kept for the backward pass to come.
    """
    squares = torch.stack([_gradient_square(loss, inputs) for loss in losses.values()])
    norms = sum_processes(squares).sqrt()
    shares = norms / norms.sum().clamp(min=torch.finfo(norms.dtype).tiny)
    return dict(zip(losses, shares.tolist(), strict=True))


def mean_shares(history: Sequence[Progress], window: range) -> dict[str, float]:
    """Mean share of each loss over the window's steps that had it."""
    gathered: dict[str, list[float]] = {}
    for progress in history[window.start : window.stop]:
        for name, share in progress.gradient_shares.items():
            gathered.setdefault(name, []).append(share)
    return {name: sum(shares) / len(shares) for name, shares in gathered.items()}


def _gradient_square(loss: Tensor, inputs: Sequence[Tensor]) -> Tensor:
    """The squared norm."""
    nothing = torch.zeros((), device=loss.device)
    if not loss.requires_grad:
        return nothing
    gradients = torch.autograd.grad(loss, inputs, retain_graph=True, allow_unused=True)
    return sum((gradient.float().square().sum() for gradient in gradients if gradient is not None), nothing)
