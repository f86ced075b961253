"""The scores of all cells that are there, and what comparing them says; as `study.json` holds them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distillvlm.engine.gradient_shares import mean_shares, share_windows
from distillvlm.engine.progress import read_progress
from distillvlm.evaluation.bootstrap import bootstrap_mean
from distillvlm.evaluation.paired import paired_t
from distillvlm.recipes.pipeline import current_commit
from distillvlm.recipes.study.scores import METRICS, Scores, read_scores


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


def read_results(folder: Path, split: str) -> Results:
    """Everything that evaluation stages (`<group>-<seed>-evaluation`) have left under a study's folder."""
    runs = []
    for stage in sorted(folder.glob("*-evaluation")):
        group, _, seed = stage.name.removesuffix("-evaluation").rpartition("-")
        if group.startswith("pilot") or not (stage / "done.json").exists():
            continue
        files = sorted(stage.glob(f"*.{split}.npz"))
        seconds = _seconds(folder, f"{group}-{seed}") / len(files)
        for path in files:
            cell = path.name.removesuffix(f".{split}.npz")
            runs.append(Run(cell, int(seed), split, read_scores(path), seconds))
    return Results(runs)


def _seconds(folder: Path, prefix: str) -> float:
    done = [json.loads(path.read_text()) for path in folder.glob(f"{prefix}-*/done.json")]
    return float(sum(one["seconds"] for one in done))


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


def gradient_shares_of(folder: Path, share_steps: int) -> dict[str, dict[str, float]]:
    """By window of a training ("start", "tenth", "half"), each loss's mean share of the gradient."""
    history = read_progress(folder)
    windows = share_windows(len(history), share_steps)
    return {name: mean_shares(history, window) for name, window in windows.items()}
