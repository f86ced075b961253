"""An exponential moving average of weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class WeightAverage:
    """Average of a network's floating-point state; a decay of 0 keeps nothing and changes nothing.

    The decay of step t is min(decay, (1 + t) / (10 + t)), so that early steps are forgotten (TensorFlow's rule).
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        self.module = module
        self.decay = decay
        self.average: dict[str, Tensor] = {}
        if decay > 0:
            self.average = {name: value.detach().clone() for name, value in self._state().items()}

    def _state(self) -> dict[str, Tensor]:
        return {name: value for name, value in self.module.state_dict().items() if value.is_floating_point()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        if not self.average:
            return
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in self._state().items():
            self.average[name].lerp_(value, 1 - decay)

    def weights(self) -> dict[str, Tensor]:
        """The network's state with the average in it."""
        return {**self.module.state_dict(), **self.average}

    def state_dict(self) -> dict[str, Tensor]:
        return self.average

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        state_now = self._state()
        self.average = {name: value.to(state_now[name].device) for name, value in state.items()}
