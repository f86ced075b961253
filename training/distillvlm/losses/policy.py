"""Policy gradients of sampled captions."""

# Shapes: B photos, K sampled captions of a photo, T tokens.
from __future__ import annotations

from torch import Tensor

from distillvlm.losses.processes import global_mean


def policy_gradient_loss(log_probabilities_BKT: Tensor, advantages_BK: Tensor) -> Tensor:
    """REINFORCE: -advantage x log-probability of the caption, mean over captions; its value says nothing.

    log_probabilities_BKT: of each token, [SEP] included, 0 at padding. advantages_BK: reward above the baseline.
    The gradient is that of the expected reward, with the sign turned, if the captions were drawn from these very
    distributions.

    Source: Williams 1992; Rennie et al. 2017, arXiv:1612.00563, equation 7.
    """
    loss_BK = -advantages_BK.detach() * log_probabilities_BKT.float().sum(-1)
    return global_mean(loss_BK.sum(), loss_BK.numel())


def mean_of_others(rewards_BK: Tensor) -> Tensor:
    """For each sample the mean reward of the photo's other samples: a baseline that needs no further caption, and is
    unbiased since it does not depend on the sample.

    Source: Luo 2020, arXiv:2003.09971; Kool et al. 2019.

    Raises:
        ValueError: there is but one sample.
    """
    samples = rewards_BK.shape[1]
    if samples < 2:
        raise ValueError(f"Expected at least 2 samples of each photo but received {samples}")
    return (rewards_BK.sum(1, keepdim=True) - rewards_BK) / (samples - 1)
