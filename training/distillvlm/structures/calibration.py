"""What a raw score is worth."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Calibration:
    """A score becomes sigmoid(slope * log-odds + intercept): order is kept, meaning is found.

    Source: Platt 1999, "Probabilistic outputs for support vector machines".
    """

    slope: float
    intercept: float

    def apply(self, score: float) -> float:
        """score: in 0-1."""
        if score in (0.0, 1.0):
            return score
        return 1 / (1 + math.exp(-(self.slope * math.log(score / (1 - score)) + self.intercept)))

    def after(self, first: Calibration) -> Calibration:
        """The calibration that is `first` and then this one."""
        return Calibration(self.slope * first.slope, self.slope * first.intercept + self.intercept)


IDENTITY = Calibration(1.0, 0.0)
