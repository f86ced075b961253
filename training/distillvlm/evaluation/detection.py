"""COCO average precision of a detector."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from distillvlm.data.records import Record
from distillvlm.structures.regions import Regions

# order of COCOeval.stats for boxes
METRICS = (
    "AP",
    "AP50",
    "AP75",
    "AP_small",
    "AP_medium",
    "AP_large",
    "AR1",
    "AR10",
    "AR100",
    "AR_small",
    "AR_medium",
    "AR_large",
)


def evaluate_detections(records: Sequence[Record], regions: Regions, labels: Sequence[str]) -> dict[str, float]:
    """COCO's AP at IoU 0.50:0.95 and its relatives, in 0-1; -1 where no object is of that size.

    regions: of the records, in their order; those without a label (grid cells, padding) don't count. Objects whose
    label is unknown are left out. Sizes (small, medium, large) are of the file's pixels.
    Source: pycocotools.
    """
    if len(records) != len(regions):
        raise ValueError(f"Expected regions of {len(records)} records but received {len(regions)}")
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        truth = _ground_truth(records, labels)
        found = _detections(records, regions)
        if not found or not truth.dataset["annotations"]:
            return dict.fromkeys(METRICS, 0.0)
        evaluation = COCOeval(truth, truth.loadRes(found), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {name: float(value) for name, value in zip(METRICS, evaluation.stats, strict=True)}


def _ground_truth(records: Sequence[Record], labels: Sequence[str]) -> COCO:
    category = {label: index for index, label in enumerate(labels)}
    annotations: list[dict[str, Any]] = []
    for image_id, record in enumerate(records):
        for each in record.objects:
            if each.label not in category:
                continue
            x1, y1, x2, y2 = each.box
            annotations.append(
                {
                    "id": len(annotations) + 1,  # pycocotools takes 0 for "no match"
                    "image_id": image_id,
                    "category_id": category[each.label],
                    "bbox": [x1, y1, x2 - x1, y2 - y1],
                    "area": (x2 - x1) * (y2 - y1),
                    "iscrowd": 0,
                }
            )
    coco = COCO()
    coco.dataset = {
        "info": {},
        "images": [
            {"id": image_id, "width": record.width, "height": record.height} for image_id, record in enumerate(records)
        ],
        "annotations": annotations,
        "categories": [{"id": index, "name": label} for label, index in category.items()],
    }
    coco.createIndex()
    return coco


def _detections(records: Sequence[Record], regions: Regions) -> list[dict[str, Any]]:
    found = []
    for image_id, record in enumerate(records):
        labelled = regions.valid[image_id] & (regions.labels[image_id] >= 0)
        size = torch.tensor([record.width, record.height, record.width, record.height])
        boxes = (regions.boxes[image_id] * size)[labelled].tolist()
        labels = regions.labels[image_id][labelled].tolist()
        scores = regions.scores[image_id][labelled].tolist()
        found += [
            {"image_id": image_id, "category_id": label, "bbox": [x1, y1, x2 - x1, y2 - y1], "score": score}
            for (x1, y1, x2, y2), label, score in zip(boxes, labels, scores, strict=True)
        ]
    return found
