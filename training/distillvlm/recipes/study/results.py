"""The scores of all cells that are there, and what comparing them says; as `study.json` holds them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from distillvlm.evaluation.bootstrap import bootstrap_mean
from distillvlm.evaluation.paired import paired_t
from distillvlm.recipes.pipeline import current_commit
from distillvlm.recipes.study.scores import METRICS, Scores


@dataclass(frozen=True)
class Run:
    """One cell of one seed. seconds: of its trainings, shared out among the cells of its lock-step."""

    cell: str
    seed: int
    split: str
    scores: Scores
    seconds: float


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
    """runs: of one split, by cell and seed."""

    def __init__(self, runs: Iterable[Run]) -> None:
        self.runs = {(run.cell, run.seed): run for run in runs}

    @property
    def cells(self) -> list[str]:
        return list(dict.fromkeys(cell for cell, _ in self.runs))

    def seeds(self, *cells: str) -> list[int]:
        """Seeds that all the cells have."""
        return [seed for cell, seed in self.runs if cell == cells[0] and all((one, seed) in self.runs for one in cells)]

    def values(self, cell: str, metric: str, seeds: Sequence[int] | None = None) -> list[float]:
        """The metric's mean of each seed, in points."""
        return [self.runs[cell, seed].scores.means()[metric] for seed in seeds or self.seeds(cell)]

    def compare(self, a: str, b: str) -> list[Comparison]:
        """By scene, and by seed where there are more than two; nothing where no seed has both."""
        seeds = self.seeds(a, b)
        if not seeds:
            return []
        return [row for metric in METRICS for row in self._compare(a, b, metric, seeds)]

    def _compare(self, a: str, b: str, metric: str, seeds: Sequence[int]) -> list[Comparison]:
        ours, theirs = ([self.runs[cell, seed].scores for seed in seeds] for cell in (a, b))
        differences = np.mean([_of(x, metric) - _of(y, metric) for x, y in zip(ours, theirs, strict=True)], axis=0)
        units = None if metric == "CIDEr-D" else ours[0].scenes.tolist()
        by_scene = bootstrap_mean(differences, units)
        scenes = len(ours[0].captions)
        rows = [Comparison(a, b, metric, by_scene.value, by_scene.low, by_scene.high, scenes, "scene")]
        if len(seeds) > 2:
            pairs = zip(self.values(a, metric, seeds), self.values(b, metric, seeds), strict=True)
            by_seed = paired_t([mine - other for mine, other in pairs])
            rows.append(Comparison(a, b, metric, by_seed.value, by_seed.low, by_seed.high, len(seeds), "seed"))
        return rows


def _of(scores: Scores, metric: str) -> NDArray[np.float64]:
    return scores.captions if metric == "CIDEr-D" else scores.answers


def as_json(results: Sequence[Results], comparisons: Sequence[Comparison]) -> str:
    """`study.json`: every run, and the comparisons that the tables show."""
    runs = [
        {
            "cell": run.cell,
            "seed": run.seed,
            "split": run.split,
            "metric": metric,
            "value": round(value, 3),
            "seconds": round(run.seconds),
        }
        for one in results
        for run in one.runs.values()
        for metric, value in run.scores.means().items()
    ]
    rows = [
        {name: round(v, 3) if isinstance(v, float) else v for name, v in asdict(row).items()} for row in comparisons
    ]
    return json.dumps({"commit": current_commit(), "runs": runs, "comparisons": rows}, indent=1) + "\n"
