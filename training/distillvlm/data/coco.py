"""COCO captions and instances, human or machine-made.

Format: https://cocodataset.org/#format-data. Machine-made instances have a `score` beside each box.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from distillvlm.data.annotation_files import PhotoSet, checked_object, checked_text, entries, read_json, reading
from distillvlm.data.records import ObjectBox, Record


def read_photos(path: Path, photos: PhotoSet) -> list[Record]:
    """Photos alone, in the file's order: all that COCO tells of its test photos.

    Raises:
        ValueError: a malformed record; names file and record.
    """
    return [record for record in _read_images(read_json(path), path, photos).values() if record is not None]


def left_out(path: Path, photos: PhotoSet) -> set[str]:
    """The ids ("coco/139") of the photos that the file lists and the split leaves out.

    Raises:
        ValueError: a malformed record; names file and record.
    """
    keys = []
    for name, image in _section(read_json(path), "images", path):
        with reading(path, name):
            keys.append(str(image[photos.key]))
    return {photos.photo_id(key) for key in keys if photos.split_of(key) is None}


def read_captions(path: Path, photos: PhotoSet) -> list[Record]:
    """Photos with their captions, in the file's order.

    Raises:
        ValueError: a malformed record, or a caption of a photo that the file does not list; names file and record.
    """
    content = read_json(path)
    images = _read_images(content, path, photos)
    captions: dict[str, list[str]] = defaultdict(list)
    for name, annotation in _section(content, "annotations", path):
        with reading(path, name):
            photo = _photo_of(annotation, images)
            if photo is not None:
                captions[photo.photo_id].append(checked_text(annotation["caption"]))
    chosen = [record for record in images.values() if record is not None]
    return [replace(record, captions=tuple(captions[record.photo_id])) for record in chosen]


def read_instances(path: Path, photos: PhotoSet, min_score: float = 0.0) -> list[Record]:
    """Photos with their boxes, cut to the photo; crowds and boxes without area are left out.

    min_score: machine-made boxes below it are left out; human ones count as 1.
    Raises:
        ValueError: a malformed record, or a box of a photo that the file does not list; names file and record.
    """
    content = read_json(path)
    images = _read_images(content, path, photos)
    labels: dict[int, str] = {}
    for name, category in _section(content, "categories", path):
        with reading(path, name):
            labels[category["id"]] = checked_text(category["name"])
    objects: dict[str, list[ObjectBox]] = defaultdict(list)
    for name, annotation in _section(content, "annotations", path):
        with reading(path, name):
            photo = _photo_of(annotation, images)
            score = float(annotation.get("score", 1.0))
            if photo is None or annotation.get("iscrowd") or score < min_score:
                continue
            box = corners(annotation["bbox"], photo.width, photo.height)
            if box is not None:
                objects[photo.photo_id].append(ObjectBox(box, labels[annotation["category_id"]], score=score))
    chosen = [record for record in images.values() if record is not None]
    return [replace(record, objects=tuple(objects[record.photo_id])) for record in chosen]


def corners(bbox: list[float], width: int, height: int) -> tuple[float, float, float, float] | None:
    """COCO's x, y, width, height as x1, y1, x2, y2 within the photo; None where nothing is left of it.

    Raises:
        ValueError: not four numbers.
    """
    x, y, box_width, box_height = (float(value) for value in bbox)
    x1, x2 = (min(max(value, 0.0), float(width)) for value in (x, x + box_width))
    y1, y2 = (min(max(value, 0.0), float(height)) for value in (y, y + box_height))
    return (x1, y1, x2, y2) if x2 > x1 and y2 > y1 else None


def _read_images(content: Any, path: Path, photos: PhotoSet) -> dict[int, Record | None]:
    """By image id; None for photos that the split leaves out."""
    images: dict[int, Record | None] = {}
    for name, image in _section(content, "images", path):
        with reading(path, name):
            key = str(image[photos.key])
            split = photos.split_of(key)
            if image["id"] in images:
                raise ValueError("listed twice")
            images[image["id"]] = None
            if split is not None:
                images[image["id"]] = Record(
                    photo_id=photos.photo_id(key),
                    path=photos.folder / checked_text(image["file_name"]),
                    width=int(image["width"]),
                    height=int(image["height"]),
                    split=split,
                    source=photos.source,
                )
    return images


def _photo_of(annotation: dict[str, Any], images: Mapping[int, Record | None]) -> Record | None:
    """None: the split leaves it out."""
    image_id = annotation["image_id"]
    if image_id not in images:
        raise ValueError(f"expected the id of one of the file's images, received {image_id!r}")
    return images[image_id]


def _section(content: Any, section: str, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    with reading(path, "the top level"):
        listed = checked_object(content)[section]
    noun = {"images": "image", "annotations": "annotation", "categories": "category"}[section]
    return entries(path, listed, noun, "id")
