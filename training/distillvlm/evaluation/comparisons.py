"""Scores of cells (models that differ in one thing) with several seeds, and what comparing them says."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from distillvlm.evaluation.bootstrap import Interval, bootstrap_mean, bootstrap_sums
from distillvlm.evaluation.paired import paired_t


@dataclass(frozen=True)
class Scored:
    """What one metric says of one model. values: float64 [N], in points, of captions or of questions, in the order of
    the records. units: int64 [N], the number of the photo that each belongs to."""

    values: NDArray[np.float64]
    units: NDArray[np.int64]

    @property
    def mean(self) -> float:
        return float(self.values.mean())


@dataclass(frozen=True)
class Run:
    """One cell of one seed. scores: by metric. seconds: of its trainings; None where they were not timed."""

    cell: str
    seed: int
    split: str
    scores: Mapping[str, Scored]
    seconds: float | None


@dataclass(frozen=True)
class Comparison:
    """Cell a minus cell b over the seeds that both have. unit: what was resampled; "seed" for Student's interval."""

    a: str
    b: str
    metric: str
    difference: float
    low: float
    high: float
    pairs: int
    unit: str


class Results:
    """runs: of one split, by cell and seed. unit: what a score's photos are called."""

    def __init__(self, runs: Iterable[Run], unit: str = "photo") -> None:
        self.runs = {(run.cell, run.seed): run for run in runs}
        self.unit = unit

    @property
    def metrics(self) -> list[str]:
        return list(dict.fromkeys(metric for run in self.runs.values() for metric in run.scores))

    def seeds(self, *cells: str) -> list[int]:
        """Seeds that all the cells have."""
        return [seed for cell, seed in self.runs if cell == cells[0] and all((one, seed) in self.runs for one in cells)]

    def values(self, cell: str, metric: str, seeds: Sequence[int] | None = None) -> list[float]:
        """The metric's mean of each seed, in points."""
        return [self.runs[cell, seed].scores[metric].mean for seed in seeds or self.seeds(cell)]

    def measured(self, metric: str, *cells: str) -> bool:
        """Whether all the cells have the metric."""
        return all(metric in run.scores for (cell, _), run in self.runs.items() if cell in cells)

    def compare(self, a: str, b: str) -> list[Comparison]:
        """By photo, and by seed where there are more than two; nothing where no seed has both."""
        seeds = self.seeds(a, b)
        if not seeds:
            return []
        metrics = [metric for metric in self.metrics if self.measured(metric, a, b)]
        return [row for metric in metrics for row in self._compare(a, b, metric, seeds)]

    def gap_closed(self, cell: str, base: str, top: str, metric: str) -> Interval:
        """How much of the way from `base` to `top` the cell has come, 0-1, each as the mean over its seeds; over
        photos."""
        mean = {one: self._mean(one, metric) for one in (cell, base, top)}
        units = np.unique(mean[base].units, return_inverse=True)[1]
        ways = [mean[one].values - mean[base].values for one in (cell, top)]
        sums_U2 = np.stack([np.bincount(units, weights=way) for way in ways], axis=1)
        return bootstrap_sums(sums_U2, lambda sums_S2: sums_S2[:, 0] / sums_S2[:, 1])

    def _mean(self, cell: str, metric: str) -> Scored:
        runs = [self.runs[cell, seed].scores[metric] for seed in self.seeds(cell)]
        return Scored(np.mean([run.values for run in runs], axis=0), runs[0].units)

    def _compare(self, a: str, b: str, metric: str, seeds: Sequence[int]) -> list[Comparison]:
        ours, theirs = ([self.runs[cell, seed].scores[metric] for seed in seeds] for cell in (a, b))
        differences = np.mean([x.values - y.values for x, y in zip(ours, theirs, strict=True)], axis=0)
        units = ours[0].units
        by_unit = bootstrap_mean(differences, units.tolist())
        pairs = len(np.unique(units))
        rows = [Comparison(a, b, metric, by_unit.value, by_unit.low, by_unit.high, pairs, self.unit)]
        if len(seeds) > 2:
            means = zip(self.values(a, metric, seeds), self.values(b, metric, seeds), strict=True)
            by_seed = paired_t([mine - other for mine, other in means])
            rows.append(Comparison(a, b, metric, by_seed.value, by_seed.low, by_seed.high, len(seeds), "seed"))
        return rows


def as_json(commit: str, results: Sequence[Results], comparisons: Sequence[Comparison]) -> str:
    """Every run, and the comparisons that the tables show, for programs; commit: of the code that wrote them
    down, which may be another's than that which trained."""
    runs = [
        {
            "cell": run.cell,
            "seed": run.seed,
            "split": run.split,
            "metric": metric,
            "value": round(scored.mean, 3),
            "seconds": None if run.seconds is None else round(run.seconds),
        }
        for one in results
        for run in one.runs.values()
        for metric, scored in run.scores.items()
    ]
    rows = [
        {name: round(v, 3) if isinstance(v, float) else v for name, v in asdict(row).items()} for row in comparisons
    ]
    return json.dumps({"commit": commit, "runs": runs, "comparisons": rows}, indent=1) + "\n"
