"""Region features that OSCAR and VinVL published, or that their code writes: TSV files -> a region store.

Layouts of a row of features; numbers are base64 of float32, n boxes times 2048, or 2054 with the geometry at the end:
    key, {"num_boxes", "features"}                                 OSCAR's `train.feature.tsv`
    key, num_boxes, features                                       VinVL's `features.tsv`
    key, image_w, image_h, num_boxes, boxes, features              bottom-up attention's; boxes in pixels, float32
    key, {"objects": [{"rect", "class", "conf", "feature"}]}       what VinVL's detector writes (`predictions.tsv`)
JSON may also hold "boxes" in pixels, "image_h" and "image_w". The geometry is x1/W, y1/H, x2/W, y2/H, w/W, h/H: boxes
are taken from it, and the model computes the six numbers anew.

Source: https://github.com/microsoft/Oscar (oscar/run_captioning.py, oscar/datasets/oscar_tsv.py, issues 10 and 33),
https://github.com/microsoft/scene_graph_benchmark (maskrcnn_benchmark/engine/inference.py, tools/mini_tsv).
"""

# Shapes: n boxes of a photo, F feature size.
from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distillvlm.data.annotation_files import checked_list, checked_object, checked_text

GEOMETRY = 6
TOLERANCE = 0.02  # of a side: detectors disagree on whether the last pixel belongs to a box
BOTTOM_UP_COLUMNS = ("image_w", "image_h", "num_boxes", "boxes", "features")

Size = tuple[float, float]
"""(height, width) of a photo in pixels."""


@dataclass(frozen=True)
class DetectedObject:
    """One entry of a row of labels. rect: x1, y1, x2, y2 in pixels, None where the file has none."""

    label: str
    score: float
    rect: tuple[float, ...] | None
    feature: str | None


@dataclass(frozen=True)
class PhotoFeatures:
    """boxes: float32 [n, 4], x1, y1, x2, y2 as shares (0-1) of the photo. features: float32 [n, F]."""

    boxes: np.ndarray
    features: np.ndarray


def fields_of(columns: Sequence[str]) -> dict[str, Any]:
    """A row's content by name, whichever its layout."""
    match len(columns):
        case 2:
            content = json.loads(columns[1])
            return {"objects": content} if isinstance(content, list) else checked_object(content)
        case 3:
            return {"num_boxes": columns[1], "features": columns[2]}
        case 6:
            return dict(zip(BOTTOM_UP_COLUMNS, columns[1:], strict=True))
        case other:
            raise ValueError(f"expected 2, 3 or 6 columns, received {other}")


def size_of(fields: dict[str, Any]) -> Size | None:
    return (float(fields["image_h"]), float(fields["image_w"])) if "image_h" in fields else None


def objects_of(fields: dict[str, Any]) -> list[DetectedObject]:
    """The objects of a row of labels, in its order, names in lower case."""
    return [_object(checked_object(entry)) for entry in checked_list(fields.get("objects", []))]


def features_of(fields: dict[str, Any], feature_size: int, size: Size | None) -> PhotoFeatures:
    """
    size: of the photo, for rows whose boxes are in pixels.
    Raises:
        ValueError: another number of values than boxes and feature size say, or boxes that are none.
    """
    if "objects" in fields and "features" not in fields:
        objects = objects_of(fields)
        features = [_numbers(one.feature, 1, feature_size)[0] for one in objects]
        return PhotoFeatures(_shares([one.rect for one in objects], size), _stack(features, feature_size))
    count = int(fields["num_boxes"])
    rows = _numbers(fields["features"], count, feature_size + GEOMETRY, feature_size)
    if rows.shape[1] == feature_size + GEOMETRY:
        return PhotoFeatures(_boxes_of_geometry(rows[:, feature_size:]), rows[:, :feature_size])
    if "boxes" not in fields:
        raise ValueError(f"expected boxes, or {GEOMETRY} numbers of geometry after the {feature_size} of each feature")
    boxes = fields["boxes"]
    return PhotoFeatures(_shares(_numbers(boxes, count, 4) if isinstance(boxes, str) else boxes, size), rows)


def objects_at(boxes: np.ndarray, objects: Sequence[DetectedObject], size: Size | None) -> list[DetectedObject | None]:
    """The object of each box [n, 4], None where the file's objects are not those of the boxes.

    OSCAR's tags come from another detector than its features; only VinVL's have the same boxes in the same order.
    """
    if size is None or len(objects) != len(boxes) or any(one.rect is None for one in objects):
        return [None] * len(boxes)
    far = np.abs(_shares([one.rect for one in objects], size) - boxes).max(axis=1, initial=0.0) > TOLERANCE
    return [None if apart else one for one, apart in zip(objects, far, strict=True)]


def _object(entry: dict[str, Any]) -> DetectedObject:
    rect = entry.get("rect")
    return DetectedObject(
        label=checked_text(entry["class"]).lower(),
        score=float(entry.get("conf", 1.0)),
        rect=None if rect is None else tuple(float(value) for value in rect),
        feature=entry.get("feature"),
    )


def _numbers(encoded: str | None, rows: int, *widths: int) -> np.ndarray:
    """float32 [rows, one of the widths]."""
    if encoded is None:
        raise ValueError("expected a feature of every object")
    content = base64.b64decode(encoded, validate=True)
    for width in widths:
        if len(content) == 4 * rows * width:
            numbers = np.frombuffer(content, "<f4").reshape(rows, width)
            if not np.isfinite(numbers).all():
                raise ValueError("expected finite numbers but some are not")
            return numbers
    expected = " or ".join(f"{rows} x {width}" for width in widths)
    raise ValueError(f"expected {expected} float32 numbers, received {len(content)} bytes")


def _boxes_of_geometry(geometry_n6: np.ndarray) -> np.ndarray:
    x1, y1, x2, y2, width, height = geometry_n6.T
    boxes_n4 = geometry_n6[:, :4]
    inside = (boxes_n4 >= -TOLERANCE) & (boxes_n4 <= 1 + TOLERANCE)
    closed = (np.abs(x2 - x1 - width) <= TOLERANCE) & (np.abs(y2 - y1 - height) <= TOLERANCE)
    wrong = np.flatnonzero(~(inside.all(axis=1) & closed))
    if len(wrong):
        raise ValueError(
            f"box {wrong[0]}: expected x1/W, y1/H, x2/W, y2/H, w/W, h/H but received {geometry_n6[wrong[0]].tolist()}"
        )
    return boxes_n4.clip(0.0, 1.0)


def _shares(boxes: Any, size: Size | None) -> np.ndarray:
    """Boxes in pixels as shares of the photo, float32 [n, 4]."""
    if size is None:
        raise ValueError("expected the photo's size for boxes in pixels: image_h and image_w, or a file of sizes")
    height, width = size
    pixels_n4 = np.asarray(boxes, np.float32).reshape(-1, 4)
    return (pixels_n4 / np.array([width, height, width, height], np.float32)).clip(0.0, 1.0)


def _stack(features: list[np.ndarray], feature_size: int) -> np.ndarray:
    return np.stack(features) if features else np.zeros((0, feature_size), np.float32)
