"""Intervals of differences between runs that share their seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy import stats

from distillvlm.evaluation.bootstrap import Interval


def paired_t(differences: Sequence[float], level: float = 0.95) -> Interval:
    """The mean of paired differences, one a seed, with Student's interval.

    Raises:
        ValueError: there are fewer than two differences.
    """
    values = np.asarray(differences, dtype=np.float64)
    if len(values) < 2:
        raise ValueError(f"Expected at least 2 differences for an interval but received {len(values)}")
    half = stats.t.ppf((1 + level) / 2, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5
    return Interval(float(values.mean()), float(values.mean() - half), float(values.mean() + half))
