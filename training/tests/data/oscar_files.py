"""Small files in exactly the layouts of OSCAR's and VinVL's releases: three photos with 1, 2 and 3 boxes."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

FEATURE_SIZE = 4
HEIGHT, WIDTH = 50, 200
CLASSES = ("Dog", "Red Ball", "unlisted")
KEYS = ("000000000007", "8", "9")
TAGS = ("cat", "red ball", "dog")


def write_rows(path: Path, rows: Iterable[Sequence[object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.with_suffix(".lineidx").unlink(missing_ok=True)
    path.write_text("".join("\t".join(map(str, row)) + "\n" for row in rows))
    return path


def base64_of(numbers: np.ndarray) -> str:
    return base64.b64encode(numbers.astype(np.float32).tobytes()).decode()


def pixel_boxes(photo: int) -> np.ndarray:
    """Box i of photo p: x1, y1, x2, y2 in pixels [p + 1, 4]."""
    return np.array([[10 * i, 5, 10 * i + 20, 25 + 5 * photo] for i in range(photo + 1)], np.float32)


def shares(photo: int) -> np.ndarray:
    return pixel_boxes(photo) / np.array([WIDTH, HEIGHT, WIDTH, HEIGHT], np.float32)


def features(photo: int) -> np.ndarray:
    return np.arange((photo + 1) * FEATURE_SIZE, dtype=np.float32).reshape(-1, FEATURE_SIZE) + 100 * photo


def with_geometry(photo: int) -> np.ndarray:
    boxes = shares(photo)
    return np.concatenate([features(photo), boxes, boxes[:, 2:] - boxes[:, :2]], axis=1)


def objects(photo: int) -> list[dict[str, Any]]:
    """The last object is the most certain one."""
    return [
        {"class": CLASSES[i], "rect": box.tolist(), "conf": 0.5 + 0.1 * i} for i, box in enumerate(pixel_boxes(photo))
    ]


def oscar_row(photo: int) -> list[object]:
    return [KEYS[photo], json.dumps({"num_boxes": photo + 1, "features": base64_of(with_geometry(photo))})]


def vinvl_row(photo: int) -> list[object]:
    return [KEYS[photo], photo + 1, base64_of(with_geometry(photo))]


def bottom_up_row(photo: int) -> list[object]:
    boxes, values = base64_of(pixel_boxes(photo)), base64_of(features(photo))
    return [KEYS[photo], WIDTH, HEIGHT, photo + 1, boxes, values]


def json_boxes_row(photo: int) -> list[object]:
    content = {
        "num_boxes": photo + 1,
        "image_h": HEIGHT,
        "image_w": WIDTH,
        "boxes": pixel_boxes(photo).tolist(),
        "features": base64_of(features(photo)),
    }
    return [KEYS[photo], json.dumps(content)]


def detector_row(photo: int) -> list[object]:
    """What scene_graph_benchmark writes: a feature in each object, no size of the photo."""
    described = [
        one | {"feature": base64_of(feature)} for one, feature in zip(objects(photo), features(photo), strict=True)
    ]
    return [KEYS[photo], json.dumps({"objects": described, "relations": None})]


def label_row(photo: int) -> list[object]:
    """OSCAR's: a bare list."""
    return [KEYS[photo], json.dumps(objects(photo))]


def sized_label_row(photo: int) -> list[object]:
    """VinVL's `predictions.tsv` and `predictions_gt.tsv`."""
    return [KEYS[photo], json.dumps({"image_h": HEIGHT, "image_w": WIDTH, "objects": objects(photo)})]


def size_row(photo: int) -> list[object]:
    return [KEYS[photo], json.dumps([{"height": HEIGHT, "width": WIDTH}])]
