"""COCO AP on cases whose value is known by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from distillvlm.data.records import ObjectBox, Record
from distillvlm.evaluation.detection import evaluate_detections
from distillvlm.structures.regions import Regions

LABELS = ("ball", "cat")


def record(*objects: tuple[tuple[float, float, float, float], str]) -> Record:
    boxes = tuple(ObjectBox(box, label) for box, label in objects)
    return Record("photo/1", Path("1.jpg"), 200, 100, "val", "photo", objects=boxes)


def regions(*detections: tuple[tuple[float, float, float, float], int, float]) -> Regions:
    """Of one photo; a grid cell comes first."""
    rows = [((0.0, 0.0, 1.0, 1.0), -1, 0.0), *detections]
    return Regions(
        boxes=torch.tensor([[box for box, _, _ in rows]]),
        features=torch.zeros(1, len(rows), 1),
        labels=torch.tensor([[label for _, label, _ in rows]]),
        attributes=torch.full((1, len(rows)), -1),
        scores=torch.tensor([[score for _, _, score in rows]]),
        valid=torch.ones(1, len(rows), dtype=torch.bool),
        tags=torch.full((1, 1), -1),
    )


BALL, CAT = ((20.0, 10.0, 100.0, 90.0), "ball"), ((100.0, 0.0, 200.0, 100.0), "cat")
BALL_BOX, CAT_BOX = (0.1, 0.1, 0.5, 0.9), (0.5, 0.0, 1.0, 1.0)


def test_exact_boxes_with_the_right_labels_have_ap_one() -> None:
    metrics = evaluate_detections([record(BALL, CAT)], regions((BALL_BOX, 0, 0.9), (CAT_BOX, 1, 0.3)), LABELS)
    assert metrics["AP"] == pytest.approx(1.0)
    assert metrics["AP_small"] == -1


def test_wrong_label_finds_nothing() -> None:
    assert evaluate_detections([record(BALL)], regions((BALL_BOX, 1, 0.9)), LABELS)["AP"] == pytest.approx(0.0)


def test_one_of_two_labels_found_is_half() -> None:
    assert evaluate_detections([record(BALL, CAT)], regions((BALL_BOX, 0, 0.9)), LABELS)["AP"] == pytest.approx(0.5)


def test_box_of_iou_0_6_counts_at_three_of_ten_thresholds() -> None:
    sixty_percent = (0.1, 0.1, 0.5, 0.58)  # 0.48 of 0.8 of the height, full width: 0.50, 0.55 and 0.60
    metrics = evaluate_detections([record(BALL)], regions((sixty_percent, 0, 0.9)), LABELS)
    assert metrics["AP"] in (pytest.approx(0.2), pytest.approx(0.3))  # 0.6 itself is a matter of rounding
    assert metrics["AP50"] == pytest.approx(1.0)
    assert metrics["AP75"] == pytest.approx(0.0)


def test_without_detections_every_metric_is_zero() -> None:
    assert set(evaluate_detections([record(BALL)], regions(), LABELS).values()) == {0.0}


def test_other_number_of_regions_than_records_is_refused() -> None:
    with pytest.raises(ValueError, match="2 records"):
        evaluate_detections([record(BALL), record(BALL)], regions(), LABELS)
