"""Scores that mean what they say: the chance that a caption is good, or that an answer is right."""

# Shapes: N captions or answers.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.special import expit, logit

from distillvlm.structures.calibration import Calibration

matplotlib.use("agg")
from matplotlib import pyplot

BINS = 10
FOLDS = 5
_SMALLEST = 1e-6  # scores are fitted as if they were no nearer to 0 and 1


def fit_calibration(scores_N: ArrayLike, right_N: ArrayLike) -> Calibration:
    """The calibration under which what came true was likeliest.

    right_N: 0-1; a part where people disagree.

    Raises:
        ValueError: better scores go with worse truth, so they say nothing.
    """
    odds_N = logit(np.clip(np.asarray(scores_N, np.float64), _SMALLEST, 1 - _SMALLEST))
    truth_N = np.asarray(right_N, np.float64)

    def cost(parameters: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        """Cross-entropy and its gradient."""
        z_N = parameters[0] * odds_N + parameters[1]
        entropy, error_N = np.mean(np.logaddexp(0, z_N) - truth_N * z_N), expit(z_N) - truth_N
        return float(entropy), np.array([np.mean(error_N * odds_N), np.mean(error_N)])

    slope, intercept = minimize(cost, np.array([1.0, 0.0]), jac=True, method="BFGS").x
    if slope <= 0:
        raise ValueError(f"calibration: these scores do not grow with what is right (slope {slope:.3f})")
    return Calibration(float(slope), float(intercept))


def apply_out_of_fold(scores_N: ArrayLike, right_N: ArrayLike, groups_N: Sequence[object]) -> NDArray[np.float64]:
    """Each score as calibrated by the other folds; what is of one group (a photo) is of one fold."""
    scores_N, right_N = np.asarray(scores_N, np.float64), np.asarray(right_N, np.float64)
    number = {group: place % FOLDS for place, group in enumerate(dict.fromkeys(groups_N))}
    fold_N = np.array([number[group] for group in groups_N])
    found_N = np.empty_like(scores_N)
    for fold in range(FOLDS):
        inside_N = fold_N == fold
        calibration = fit_calibration(scores_N[~inside_N], right_N[~inside_N])
        found_N[inside_N] = [calibration.apply(score) for score in scores_N[inside_N]]
    return found_N


@dataclass(frozen=True)
class Reliability:
    """Bins of equally many, by rising score: their mean score and how many came true."""

    scores: NDArray[np.float64]
    right: NDArray[np.float64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, scores_N: ArrayLike, right_N: ArrayLike) -> Reliability:
        scores_N, right_N = np.asarray(scores_N, np.float64), np.asarray(right_N, np.float64)
        bins = np.array_split(np.argsort(scores_N, kind="stable"), min(BINS, len(scores_N)))
        return cls(
            np.array([scores_N[rows].mean() for rows in bins]),
            np.array([right_N[rows].mean() for rows in bins]),
            np.array([len(rows) for rows in bins]),
        )

    @property
    def error(self) -> float:
        """Expected calibration error, in points. Source: Naeini et al. 2015, with Nguyen & O'Connor's bins (2015)."""
        return float(100 * np.average(np.abs(self.scores - self.right), weights=self.counts))


def draw_reliability(panels: dict[str, dict[str, Reliability]], path: Path) -> None:
    """A panel of each title, a line of each name in it; on the diagonal a score is what it says."""
    figure, axes = pyplot.subplots(1, len(panels), figsize=(4.2 * len(panels), 4), squeeze=False)
    for panel, (title, lines) in zip(axes[0], panels.items(), strict=True):
        panel.plot([0, 1], [0, 1], color="0.8")
        for name, found in lines.items():
            panel.plot(found.scores, found.right, "o-", label=f"{name} (error {found.error:.1f})")
        panel.set(title=title, xlabel="score", ylabel="came true", xlim=(0, 1), ylim=(0, 1))
        panel.legend(loc="upper left", frameon=False)
    figure.tight_layout()
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
