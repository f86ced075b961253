"""Average precision over resampled photos: what COCOeval has matched once is counted anew for each resample."""

# Shapes: S resamples, U photos, D detections of a category, T thresholds of IoU.
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pycocotools.cocoeval import COCOeval

from distillvlm.evaluation.bootstrap import Interval, bootstrap_counts

RESAMPLES = 1_000
"""Each counts all detections again; ten times as many take ten times as long for ends that move a third as much."""


@dataclass(frozen=True)
class Matches:
    """A category's detections of all photos, most certain first.

    photo: int [D]. hit, missed: bool [T, D], neither where a detection doesn't count (on a crowd). objects: int [U],
    those of each photo that count.
    """

    photo: NDArray[np.int64]
    hit: NDArray[np.bool_]
    missed: NDArray[np.bool_]
    objects: NDArray[np.int64]


def average_precision_interval(evaluation: COCOeval, thresholds: Sequence[float] | None = None) -> Interval:
    """AP over objects of all sizes in points, with its interval over photos; a photo that is drawn twice counts as two.

    Precision at a recall is the best at that recall or beyond: AP is a little higher in small samples than in large
    ones, and in resamples than in the sample. evaluation: `evaluate` was called. thresholds: of IoU, among the
    evaluation's; None: all.
    """
    params = evaluation.params
    chosen = [place for place, iou in enumerate(params.iouThrs) if thresholds is None or iou in thresholds]
    categories = [matches for place in range(len(params.catIds)) if (matches := _matches(evaluation, place, chosen))]

    def points(counts_SU: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([100 * _mean(categories, count_U, params.recThrs) for count_U in counts_SU])

    return bootstrap_counts(len(params.imgIds), points, resamples=RESAMPLES)


def _matches(evaluation: COCOeval, category: int, thresholds: Sequence[int]) -> Matches | None:
    """None for a category without objects, which COCOeval leaves out too. category, thresholds: places in `params`."""
    photos, sizes = len(evaluation.params.imgIds), len(evaluation.params.areaRng)
    start = category * sizes * photos  # of each category by size, the first of which is all of them, then by photo
    found = {photo: row for photo, row in enumerate(evaluation.evalImgs[start : start + photos]) if row is not None}
    objects_U = np.zeros(photos, dtype=np.int64)
    for photo, row in found.items():
        objects_U[photo] = np.count_nonzero(row["gtIgnore"] == 0)
    if not objects_U.any():
        return None
    order_D = np.argsort(-np.concatenate([row["dtScores"] for row in found.values()]), kind="mergesort")
    photo_D = np.repeat(list(found), [len(row["dtScores"]) for row in found.values()])[order_D]
    matched_TD = np.concatenate([row["dtMatches"] for row in found.values()], axis=1)[thresholds][:, order_D] != 0
    counts_TD = np.concatenate([row["dtIgnore"] for row in found.values()], axis=1)[thresholds][:, order_D] == 0
    return Matches(photo_D, matched_TD & counts_TD, ~matched_TD & counts_TD, objects_U)


def _mean(categories: Sequence[Matches], count_U: NDArray[np.float64], recalls: NDArray[np.float64]) -> float:
    """Over the categories that a resample has objects of; 0 without any."""
    known = [matches for matches in categories if matches.objects @ count_U]
    return float(np.mean([_average_precision(matches, count_U, recalls) for matches in known])) if known else 0.0


def _average_precision(matches: Matches, count_U: NDArray[np.float64], recalls: NDArray[np.float64]) -> float:
    """Mean over thresholds and recalls of the best precision from that recall on, as COCOeval accumulates."""
    count_D = count_U[matches.photo]
    hits_TD = np.cumsum(matches.hit * count_D, axis=1)
    misses_TD = np.cumsum(matches.missed * count_D, axis=1)
    precision_TD = hits_TD / (hits_TD + misses_TD + np.spacing(1))
    best_TD = np.maximum.accumulate(precision_TD[:, ::-1], axis=1)[:, ::-1]
    reached_TD = hits_TD / (matches.objects @ count_U)
    never = 0.0  # a recall beyond the last detection's
    return float(
        np.mean(
            [
                np.append(best_D, never)[np.searchsorted(reached_D, recalls)]
                for best_D, reached_D in zip(best_TD, reached_TD, strict=True)
            ]
        )
    )
