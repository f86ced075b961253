"""Visual Genome's objects and attributes (version 1.2 and later).

Format: https://homes.cs.washington.edu/~ranjay/visualgenome/api_readme.html.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from distillvlm.data.annotation_files import PhotoSet, checked_list, checked_text, entries, read_json, reading
from distillvlm.data.coco import corners
from distillvlm.data.pixels import upright_size
from distillvlm.data.records import ObjectBox, Record


def read_visual_genome(objects: Path, attributes: Path | None, photos: PhotoSet) -> list[Record]:
    """Photos (`<image_id>.jpg` or `.png`) with their boxes; names and attributes in lower case.

    An object's label is its first name. Sizes come from the photos' headers.
    Raises:
        ValueError: a malformed record or an unreadable photo; names file and record.
    """
    words = _read_attributes(attributes) if attributes else {}
    records = []
    for name, image in entries(objects, read_json(objects), "image", "image_id"):
        with reading(objects, name):
            key = str(image["image_id"])
            split = photos.split_of(key)
            if split is None:
                continue
            path = _photo(photos.folder, key)
            height, width = upright_size(path)
            records.append(
                Record(
                    photo_id=photos.photo_id(key),
                    path=path,
                    width=width,
                    height=height,
                    split=split,
                    source=photos.source,
                    objects=tuple(_boxes(image["objects"], words, width, height)),
                )
            )
    return records


def _boxes(entries: list[Any], words: dict[int, tuple[str, ...]], width: int, height: int) -> Iterable[ObjectBox]:
    for entry in checked_list(entries):
        box = corners([entry["x"], entry["y"], entry["w"], entry["h"]], width, height)
        if box is not None:
            label = checked_text(entry["names"][0]).lower()
            yield ObjectBox(box, label, words.get(entry["object_id"], ()))


def _read_attributes(path: Path) -> dict[int, tuple[str, ...]]:
    """The attributes of each object id, without repetitions."""
    words: dict[int, tuple[str, ...]] = {}
    for name, image in entries(path, read_json(path), "image", "image_id"):
        with reading(path, name):
            for entry in checked_list(image["attributes"]):
                said = (checked_text(word).lower() for word in entry.get("attributes") or ())
                words[entry["object_id"]] = tuple(dict.fromkeys(said))
    return words


def _photo(folder: Path, key: str) -> Path:
    png = folder / f"{key}.png"
    return png if png.is_file() else folder / f"{key}.jpg"
