"""The loss of a concept head."""

# Shapes: B photos, W concept words.
from __future__ import annotations

from torch import Tensor

from distillvlm.losses.processes import global_mean


def concept_loss(log_present_BW: Tensor, log_absent_BW: Tensor, shares_BW: Tensor) -> Tensor:
    """Binary cross-entropy of log p and log (1 - p) with shares in 0-1, summed over words, mean over photos.

    The mean is over the photos of all processes, 0 for none. One over words too would leave next to nothing of the few
    that are said.
    """
    loss = -(shares_BW * log_present_BW + (1 - shares_BW) * log_absent_BW).sum()
    return global_mean(loss, len(shares_BW))
