"""Percentile bootstrap intervals (Efron and Tibshirani 1993, chapter 13), resampling whole units (photos, scenes)."""

# Shapes: N values, U units, C columns of a unit's sums, S resamples.
from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

RESAMPLES = 10_000
"""Enough for the ends of a 95% interval to move by less than a twentieth of its width between seeds."""

_DRAWS_AT_ONCE = 2_000_000  # indices held in memory, 16 MB


class Interval(NamedTuple):
    value: float
    low: float
    high: float


def bootstrap_mean(
    values: ArrayLike, units: Sequence[Hashable] | None = None, *, level: float = 0.95, seed: int = 0
) -> Interval:
    """The mean of `values` [N] with its interval. Values that share an entry of `units` [N] are drawn together;
    without `units` each value is a unit of its own.

    Raises:
        ValueError: no values, or as many units as values are not given.
    """
    values_N = np.asarray(values, dtype=np.float64)
    if units is not None and len(units) != len(values_N):
        raise ValueError(f"Expected a unit for each of {len(values_N)} values but received {len(units)}")
    unit_N = np.arange(len(values_N)) if units is None else _numbered(units)
    sums_U2 = np.stack([np.bincount(unit_N, weights=values_N), np.bincount(unit_N)], axis=1)
    return bootstrap_sums(sums_U2, lambda sums_S2: sums_S2[:, 0] / sums_S2[:, 1], level=level, seed=seed)


def bootstrap_difference(
    a: ArrayLike,
    b: ArrayLike,
    units: Sequence[Hashable] | None = None,
    *,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The mean of a - b with its interval, paired: entry i of both is the same question or photo.

    Raises:
        ValueError: a and b differ in length; see `bootstrap_mean`.
    """
    a_N, b_N = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a_N.shape != b_N.shape:
        raise ValueError(f"Expected pairs but received {len(a_N)} and {len(b_N)} values")
    return bootstrap_mean(a_N - b_N, units, level=level, seed=seed)


def bootstrap_sums(
    sums: ArrayLike,
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    *,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The interval of a statistic that depends on the sum of each unit's row of `sums` [U, C] only.

    statistic: sums [S, C] -> values [S]. A mean is (sum, count) -> sum / count; corpus BLEU is such a one too.

    Raises:
        ValueError: there are no units, or `level` is outside 0-1.
    """
    sums_UC = np.asarray(sums, dtype=np.float64)
    return bootstrap_counts(len(sums_UC), lambda counts_SU: statistic(counts_SU @ sums_UC), level=level, seed=seed)


def bootstrap_counts(
    units: int,
    statistic: Callable[[NDArray[np.float64]], NDArray[np.float64]],
    *,
    resamples: int = RESAMPLES,
    level: float = 0.95,
    seed: int = 0,
) -> Interval:
    """The interval of any statistic of a sample.

    statistic: how often each unit is in a resample [S, U] -> values [S]. resamples: fewer where it takes long.

    Raises:
        ValueError: there are no units, or `level` is outside 0-1.
    """
    if units == 0:
        raise ValueError("Expected at least one unit to resample but received none")
    if not 0 < level < 1:
        raise ValueError(f"Expected level between 0 and 1 but received {level}")
    generator = np.random.default_rng(seed)
    chunk = max(1, _DRAWS_AT_ONCE // units)
    resampled = [
        statistic(_counts(generator.integers(units, size=(min(chunk, resamples - start), units))))
        for start in range(0, resamples, chunk)
    ]
    low, high = np.quantile(np.concatenate(resampled), [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(statistic(np.ones((1, units)))[0]), float(low), float(high))


def _counts(drawn_SU: NDArray[np.int64]) -> NDArray[np.float64]:
    resamples, units = drawn_SU.shape
    places_SU = drawn_SU + units * np.arange(resamples)[:, None]
    return np.bincount(places_SU.ravel(), minlength=resamples * units).reshape(resamples, units).astype(np.float64)


def _numbered(units: Sequence[Hashable]) -> NDArray[np.int64]:
    number_of_unit: dict[Hashable, int] = {}
    return np.array([number_of_unit.setdefault(unit, len(number_of_unit)) for unit in units], dtype=np.int64)
