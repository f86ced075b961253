"""COCO AP on cases whose value is known by hand, and its intervals against pycocotools on photos drawn again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from distillvlm.data.records import ObjectBox, Record
from distillvlm.evaluation import average_precision
from distillvlm.evaluation.detection import (
    METRICS,
    DetectionScores,
    detections_of,
    evaluate_detections,
    ground_truth_of,
    read_ground_truth,
)
from distillvlm.evaluation.results import Detection
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


def scores(records: Sequence[Record], found: Regions) -> DetectionScores:
    return evaluate_detections(ground_truth_of(records, LABELS), detections_of(records, found))


BALL, CAT = ((20.0, 10.0, 100.0, 90.0), "ball"), ((100.0, 0.0, 200.0, 100.0), "cat")
BALL_BOX, CAT_BOX = (0.1, 0.1, 0.5, 0.9), (0.5, 0.0, 1.0, 1.0)


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(average_precision, "RESAMPLES", 20)


def test_exact_boxes_with_the_right_labels_have_ap_one_hundred() -> None:
    found = scores([record(BALL, CAT)], regions((BALL_BOX, 0, 0.9), (CAT_BOX, 1, 0.3)))
    assert found.metrics["AP"] == pytest.approx(100)
    assert found.metrics["AP_small"] is None
    assert found.intervals["AP"] == pytest.approx((100, 100, 100))


def test_wrong_label_finds_nothing() -> None:
    assert scores([record(BALL)], regions((BALL_BOX, 1, 0.9))).metrics["AP"] == pytest.approx(0)


def test_one_of_two_labels_found_is_half() -> None:
    assert scores([record(BALL, CAT)], regions((BALL_BOX, 0, 0.9))).metrics["AP"] == pytest.approx(50)


def test_box_of_iou_0_6_counts_at_three_of_ten_thresholds() -> None:
    sixty_percent = (0.1, 0.1, 0.5, 0.58)  # 0.48 of 0.8 of the height, full width: 0.50, 0.55 and 0.60
    metrics = scores([record(BALL)], regions((sixty_percent, 0, 0.9))).metrics
    assert metrics["AP"] in (pytest.approx(20), pytest.approx(30))  # 0.6 itself is a matter of rounding
    assert metrics["AP50"] == pytest.approx(100)
    assert metrics["AP75"] == pytest.approx(0)


def test_without_detections_all_is_missed() -> None:
    found = scores([record(BALL)], regions())
    assert set(found.metrics.values()) == {0.0, None}  # a ball of 6,400 pixels: neither small nor large
    assert found.intervals["AP50"] == (0, 0, 0)


def test_without_objects_nothing_can_be_said() -> None:
    found = scores([record()], regions((BALL_BOX, 0, 0.9)))
    assert found == DetectionScores(dict.fromkeys(METRICS), {})


def test_other_number_of_regions_than_records_is_refused() -> None:
    with pytest.raises(ValueError, match="2 records"):
        detections_of([record(BALL), record(BALL)], regions())


@pytest.mark.parametrize(
    ("detection", "message"),
    [
        (Detection(2, 0, (0, 0, 1, 1), 0.5), "result 2: no photo of the instances has this image_id"),
        (Detection(1, 7, (0, 0, 1, 1), 0.5), "result 1: the instances have no category_id 7"),
    ],
)
def test_detections_of_strangers_are_refused(detection: Detection, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate_detections(ground_truth_of([record(BALL)], LABELS), [detection])


# -- against pycocotools ----------------------------------------------------------------------------------------------
def drawn(photos: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Instances, some of them crowds, and detections near some of them and elsewhere, no two with the same score."""
    generator = np.random.default_rng(5)
    annotations: list[dict[str, Any]] = []
    rows: list[dict[str, Any]] = []
    for image_id in range(1, photos + 1):
        for _ in range(generator.integers(5)):
            x, y, width, height = (float(each) for each in generator.uniform((0, 0, 8, 8), (300, 200, 180, 180)))
            category_id = int(generator.choice((3, 18, 44)))
            annotations.append(
                {
                    "id": len(annotations),
                    "image_id": image_id,
                    "category_id": category_id,
                    "bbox": [x, y, width, height],
                    "area": 0.7 * width * height,
                    "iscrowd": int(generator.random() < 0.1),
                }
            )
            for _ in range(generator.integers(3)):
                near = [x + generator.normal(0, 6), y + generator.normal(0, 6), width, height]
                rows.append({"image_id": image_id, "category_id": category_id, "bbox": near})
        rows.append({"image_id": image_id, "category_id": 18, "bbox": [10.0, 10.0, 50.0, 60.0]})
    for row, score in zip(rows, generator.permutation(len(rows)), strict=True):
        row["score"] = float(score + 1) / len(rows)
    images = [{"id": image_id, "width": 480, "height": 380} for image_id in range(1, photos + 1)]
    categories = [{"id": number, "name": str(number)} for number in (3, 18, 44, 90)]
    return {"images": images, "annotations": annotations, "categories": categories}, rows


def reference(instances: dict[str, Any], rows: list[dict[str, Any]]) -> list[float]:
    truth = COCO()
    truth.dataset = {"info": {}, **instances}
    truth.dataset["annotations"] = [{**each, "id": n} for n, each in enumerate(instances["annotations"], 1)]
    truth.createIndex()
    evaluation = COCOeval(truth, truth.loadRes([dict(row) for row in rows]), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    return [float(each) for each in evaluation.stats]


def as_detections(rows: list[dict[str, Any]]) -> list[Detection]:
    return [Detection(row["image_id"], row["category_id"], tuple(row["bbox"]), row["score"]) for row in rows]


def test_metrics_of_files_are_those_of_pycocotools(tmp_path: Path) -> None:
    instances, rows = drawn(30)
    (tmp_path / "instances.json").write_text(json.dumps(instances))
    found = evaluate_detections(read_ground_truth(tmp_path / "instances.json"), as_detections(rows))
    assert list(found.metrics.values()) == pytest.approx([100 * each for each in reference(instances, rows)])
    for name in ("AP", "AP50", "AP75"):
        assert found.intervals[name].value == pytest.approx(found.metrics[name])
        assert found.intervals[name].low < found.intervals[name].value < found.intervals[name].high


def test_ap_of_photos_drawn_again_is_that_of_files_that_list_them_again(monkeypatch: pytest.MonkeyPatch) -> None:
    instances, rows = drawn(12)
    chosen = [1, 1, 1, 4, 5, 5, 8, 9, 9, 12, 12, 12]
    counts = np.bincount(chosen, minlength=13)[1:].astype(float)
    monkeypatch.setattr(
        average_precision,
        "bootstrap_counts",
        lambda units, statistic, resamples: (units, statistic(counts[None])[0]),
    )
    found = evaluate_detections(instances, as_detections(rows))

    def again(listed: list[dict[str, Any]]) -> list[dict[str, Any]]:
        pairs = [(place, each) for place, of in enumerate(chosen) for each in listed if each["image_id"] == of]
        return [{**each, "image_id": place} for place, each in pairs]

    images = [{**instances["images"][of - 1], "id": place} for place, of in enumerate(chosen)]
    expected = reference({**instances, "images": images, "annotations": again(instances["annotations"])}, again(rows))
    assert [found.intervals[name] for name in ("AP", "AP50", "AP75")] == [
        (12, pytest.approx(100 * each)) for each in expected[:3]
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_id": 99}, r"instances\.json, annotation 0: image_id 99 is not in the file"),
        ({"category_id": 4}, r"instances\.json, annotation 0: category_id 4 is not in the file"),
        ({"bbox": [1, 2]}, r"instances\.json, annotation 0: not enough values"),
    ],
)
def test_malformed_instances_are_refused_by_file_and_record(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    instances, _ = drawn(3)
    instances["annotations"][0] |= change
    (tmp_path / "instances.json").write_text(json.dumps(instances))
    with pytest.raises(ValueError, match=message):
        read_ground_truth(tmp_path / "instances.json")
