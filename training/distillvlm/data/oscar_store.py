"""A region store made from TSV files, so that all after it is the same as with a detector of our own."""

# Shapes: B photos, n boxes of a photo, R regions, F feature size, G tags.
from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from distillvlm.data.annotation_files import checked_list, reading
from distillvlm.data.oscar_features import (
    DetectedObject,
    PhotoFeatures,
    Size,
    features_of,
    fields_of,
    objects_at,
    objects_of,
    size_of,
)
from distillvlm.data.region_store import RegionStore, fill_store, store_key
from distillvlm.data.tsv import TsvFile
from distillvlm.structures.regions import Regions

FINGERPRINT_BYTES = 1 << 20


@dataclass(frozen=True)
class FeatureFiles:
    """One data set's photos.

    source: first half of their photo ids ("coco"). features: see `oscar_features`. labels: key, objects; None where the
    rows of features hold them. sizes: key, [{"height", "width"}] (`train.hw.tsv`), for boxes in pixels.
    """

    source: str
    features: Path
    labels: Path | None = None
    sizes: Path | None = None


def store_of_tsv(
    files: Sequence[FeatureFiles],
    folder: Path,
    tags: Sequence[str],
    num_regions: int = 50,
    num_tags: int = 20,
    feature_size: int = 2048,
    batch_size: int = 64,
) -> RegionStore:
    """Makes a store of all photos of the files, or continues one. A region's label is its row in `tags`, too.

    num_regions: the first of each photo, as in OSCAR (50); num_tags: its most certain objects, each name once.
    Needs two bytes a number: 200 KB a photo with 50 regions of 2048.
    Raises:
        ValueError: a file is missing, a row malformed or a photo there twice; names file and key. The folder holds a
            store of other files or settings.
    """
    tables = [_Table(one, tags, num_regions, num_tags, feature_size) for one in files]
    photo_ids = [photo_id for table in tables for photo_id in table.photo_ids()]
    repeated = [photo_id for photo_id, count in Counter(photo_ids).items() if count > 1]
    if repeated:
        raise ValueError(f"{', '.join(str(one.features) for one in files)}: photo {repeated[0]} is there twice")
    starts = np.cumsum([0, *(len(table) for table in tables)])

    def describe(places: Sequence[int]) -> Iterator[Regions]:
        owners = np.searchsorted(starts, places, side="right") - 1
        rows = [tables[owner].regions(place - int(starts[owner])) for owner, place in zip(owners, places, strict=True)]
        yield Regions(**{name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]})

    settings = json.dumps([list(tags), num_regions, num_tags, feature_size])
    key = store_key("tsv", settings, *(_fingerprint(one) for one in files))
    return fill_store(describe, photo_ids, folder, key, batch_size=batch_size, label=f"regions of {folder.name}")


def count_labels(files: Sequence[FeatureFiles]) -> Counter[str]:
    """How many objects of each name there are: the commonest make a list of tags (VinVL's detector knows 1,594)."""
    counts: Counter[str] = Counter()
    for path in (one.labels or one.features for one in files):
        table = TsvFile(path)
        for row in tqdm(range(len(table)), desc=f"labels of {path.name}", unit="photo", mininterval=1.0):
            with reading(path, f"key {table.key(row)}"):
                counts.update(one.label for one in objects_of(fields_of(table.columns(row))))
    return counts


def photo_id_of(source: str, key: str) -> str:
    """COCO's "000000391895" and "391895" are one photo."""
    return f"{source}/{int(key) if key.isdecimal() else key}"


class _Table:
    """The files of one data set, read photo by photo."""

    def __init__(
        self, files: FeatureFiles, tags: Sequence[str], num_regions: int, num_tags: int, feature_size: int
    ) -> None:
        self.files = files
        self.features = TsvFile(files.features)
        self.labels = TsvFile(files.labels) if files.labels else None
        self.sizes = TsvFile(files.sizes) if files.sizes else None
        self.row_of_tag = {tag.lower(): row for row, tag in enumerate(tags)}
        self.num_regions, self.num_tags, self.feature_size = num_regions, num_tags, feature_size

    def __len__(self) -> int:
        return len(self.features)

    def photo_ids(self) -> list[str]:
        return [photo_id_of(self.files.source, key) for key in self.features.row_of]

    def regions(self, row: int) -> dict[str, np.ndarray]:
        """The fields of `Regions` of one photo."""
        key = self.features.key(row)
        objects, size = self._labels(key)
        with reading(self.files.features, f"key {key}"):
            fields = fields_of(self.features.columns(row))
            size = size_of(fields) or size or self._size(key)
            photo = features_of(fields, self.feature_size, size)
            objects = objects_of(fields) if self.labels is None else objects
        return self._padded(photo, objects, size)

    def _labels(self, key: str) -> tuple[list[DetectedObject], Size | None]:
        if self.labels is None:
            return [], None
        columns = self.labels.columns_of(key)
        with reading(self.labels.path, f"key {key}"):
            fields = fields_of(columns)
            return objects_of(fields), size_of(fields)

    def _size(self, key: str) -> Size | None:
        if self.sizes is None:
            return None
        columns = self.sizes.columns_of(key)
        with reading(self.sizes.path, f"key {key}"):
            size = checked_list(json.loads(columns[1]))[0]
            return float(size["height"]), float(size["width"])

    def _padded(self, photo: PhotoFeatures, objects: list[DetectedObject], size: Size | None) -> dict[str, np.ndarray]:
        count = min(len(photo.boxes), self.num_regions)
        boxes = np.zeros((self.num_regions, 4), np.float32)
        features = np.zeros((self.num_regions, self.feature_size), np.float32)
        labels = np.full(self.num_regions, -1, np.int64)
        scores = np.zeros(self.num_regions, np.float32)
        boxes[:count], features[:count] = photo.boxes[:count], photo.features[:count]
        for region, one in enumerate(objects_at(photo.boxes, objects, size)[:count]):
            if one is not None:
                labels[region], scores[region] = self.row_of_tag.get(one.label, -1), one.score
        return {
            "boxes": boxes,
            "features": features,
            "labels": labels,
            "attributes": np.full(self.num_regions, -1, np.int64),
            "scores": scores,
            "valid": np.arange(self.num_regions) < count,
            "tags": self._tags(objects),
        }

    def _tags(self, objects: list[DetectedObject]) -> np.ndarray:
        certain = sorted(objects, key=lambda one: -one.score)
        known = [self.row_of_tag[one.label] for one in certain if one.label in self.row_of_tag]
        tags = np.full(self.num_tags, -1, np.int64)
        chosen = list(dict.fromkeys(known))[: self.num_tags]
        tags[: len(chosen)] = chosen
        return tags


def _fingerprint(files: FeatureFiles) -> str:
    """Checksum of each file's size, beginning and end: hundreds of gigabytes are not read twice."""
    digest = hashlib.sha256(files.source.encode())
    for path in (files.features, files.labels, files.sizes):
        if path is None:
            continue
        size = path.stat().st_size
        with path.open("rb") as file:
            digest.update(f"{size}\n".encode() + file.read(FINGERPRINT_BYTES))
            file.seek(max(0, size - FINGERPRINT_BYTES))
            digest.update(file.read(FINGERPRINT_BYTES))
    return digest.hexdigest()
