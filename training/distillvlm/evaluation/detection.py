"""COCO's average precision of detections, from its files or from regions at hand."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from distillvlm.data.annotation_files import entries, read_section, reading
from distillvlm.data.records import Record
from distillvlm.evaluation.average_precision import average_precision_interval
from distillvlm.evaluation.bootstrap import Interval
from distillvlm.evaluation.results import Detection, image_id_of
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

Instances = dict[str, Any]
"""A file of COCO's instances: `images`, `annotations` and `categories` (https://cocodataset.org/#format-data)."""


@dataclass(frozen=True)
class DetectionScores:
    """In points. metrics: COCO's twelve by name; None where there is no object of that size. intervals: over photos, of
    AP, AP50 and AP75."""

    metrics: dict[str, float | None]
    intervals: dict[str, Interval]

    def report(self) -> dict[str, object]:
        """As in `report.py`: a figure, or a figure with its interval."""
        return {**self.metrics, **{name: interval._asdict() for name, interval in self.intervals.items()}}


def evaluate_detections(instances: Instances, detections: Sequence[Detection]) -> DetectionScores:
    """COCO's AP at IoU 0.50:0.95 and its relatives, over all photos of `instances`.

    Sizes (small, medium, large) are of the file's pixels. Source: pycocotools.

    Raises:
        ValueError: a detection's photo or category is not among the instances'; names the detection.
    """
    _check(instances, detections)
    with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
        truth = _indexed(instances)
        rows = [{**asdict(each), "bbox": list(each.bbox)} for each in detections]  # pycocotools takes no tuple
        found = truth.loadRes(rows) if rows else _indexed({**instances, "annotations": []})
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = [float(value) for value in evaluation.stats]
    metrics = {name: 100 * value if value >= 0 else None for name, value in zip(METRICS, stats, strict=True)}
    if metrics["AP"] is None:
        return DetectionScores(metrics, {})
    thresholds = {"AP": None, "AP50": (0.5,), "AP75": (0.75,)}
    intervals = {name: average_precision_interval(evaluation, ious) for name, ious in thresholds.items()}
    return DetectionScores(metrics, intervals)


def read_ground_truth(path: Path) -> Instances:
    """A file of COCO's instances as it is, crowds included; `area` is the box's where none is given.

    Raises:
        ValueError: a malformed record, or one of an unknown photo or category; names file and record.
    """
    sections = {name: read_section(path, name) for name in ("images", "annotations", "categories")}
    images = _ids(path, sections["images"], "image")
    categories = _ids(path, sections["categories"], "category")
    annotations = []
    for name, entry in entries(path, sections["annotations"], "annotation", "id"):
        with reading(path, name):
            _, _, width, height = map(float, entry["bbox"])
            for field, known in (("image_id", images), ("category_id", categories)):
                if entry[field] not in known:
                    raise ValueError(f"{field} {entry[field]!r} is not in the file")
            annotations.append({"area": width * height, "iscrowd": 0, **entry})
    return {**sections, "annotations": annotations}


def _ids(path: Path, listed: Any, noun: str) -> set[int | str]:
    ids = set()
    for name, entry in entries(path, listed, noun, "id"):
        with reading(path, name):
            ids.add(entry["id"])
    return ids


def ground_truth_of(records: Sequence[Record], labels: Sequence[str]) -> Instances:
    """The boxes of records of one data set, with a label's place as its category. Objects whose label is unknown are
    left out."""
    category = {label: place for place, label in enumerate(labels)}
    image_ids = [image_id_of(record.photo_id, record.source) for record in records]
    boxes = [
        (image_id, category[each.label], each.box)
        for image_id, record in zip(image_ids, records, strict=True)
        for each in record.objects
        if each.label in category
    ]
    return {
        "images": [
            {"id": image_id, "file_name": record.path.name, "width": record.width, "height": record.height}
            for image_id, record in zip(image_ids, records, strict=True)
        ],
        "annotations": [
            {
                "id": number,
                "image_id": image_id,
                "category_id": category_id,
                "bbox": [x1, y1, x2 - x1, y2 - y1],
                "area": (x2 - x1) * (y2 - y1),
                "iscrowd": 0,
            }
            for number, (image_id, category_id, (x1, y1, x2, y2)) in enumerate(boxes, start=1)
        ],
        "categories": [{"id": place, "name": label} for label, place in category.items()],
    }


def detections_of(records: Sequence[Record], regions: Regions) -> list[Detection]:
    """What a detector says of records of one data set. regions: theirs, in their order; those without a label (grid
    cells, padding) are left out."""
    if len(records) != len(regions):
        raise ValueError(f"Expected regions of {len(records)} records but received {len(regions)}")
    found = []
    for place, record in enumerate(records):
        image_id = image_id_of(record.photo_id, record.source)
        labelled = regions.valid[place] & (regions.labels[place] >= 0)
        size = torch.tensor([record.width, record.height, record.width, record.height])
        boxes = (regions.boxes[place] * size)[labelled].tolist()
        labels = regions.labels[place][labelled].tolist()
        scores = regions.scores[place][labelled].tolist()
        found += [
            Detection(image_id, label, (x1, y1, x2 - x1, y2 - y1), score)
            for (x1, y1, x2, y2), label, score in zip(boxes, labels, scores, strict=True)
        ]
    return found


def _check(instances: Instances, detections: Sequence[Detection]) -> None:
    images = {image["id"] for image in instances["images"]}
    categories = {category["id"] for category in instances["categories"]}
    for each in detections:
        if each.image_id not in images:
            raise ValueError(f"result {each.image_id}: no photo of the instances has this image_id")
        if each.category_id not in categories:
            raise ValueError(f"result {each.image_id}: the instances have no category_id {each.category_id}")


def _indexed(instances: Instances) -> COCO:
    """A copy, which evaluation writes into; its annotations are numbered anew: pycocotools takes 0 for no match."""
    annotations = [{**each, "id": number} for number, each in enumerate(instances["annotations"], start=1)]
    coco = COCO()
    coco.dataset = {"info": {}, **instances, "annotations": annotations}
    coco.createIndex()
    return coco
