"""Karpathy's split files (`dataset_flickr8k.json`, `dataset_flickr30k.json`, `dataset_coco.json`).

Source: Karpathy and Fei-Fei 2015, arXiv:1412.2306; https://cs.stanford.edu/people/karpathy/deepimagesent.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from distillvlm.data.annotation_files import checked_text, entries, parse_split, read_section, reading
from distillvlm.data.pixels import upright_size
from distillvlm.data.records import Record, Split


def read_karpathy(path: Path, folder: Path, source: str) -> list[Record]:
    """Photos with their captions; "restval" counts as train, as is usual. Sizes come from the files' headers.

    A photo is named by its COCO number where the file has one, else by its file's name. Where there are only features
    of the photos, `karpathy_splits` and COCO's own captions take its place.
    Raises:
        ValueError: a malformed record or an unreadable photo; names file and record.
    """
    records = []
    for name, image in entries(path, read_section(path, "images"), "image", "filename"):
        with reading(path, name):
            photo = folder / image.get("filepath", "") / checked_text(image["filename"])
            height, width = upright_size(photo)
            records.append(
                Record(
                    photo_id=f"{source}/{_key_of(image)}",
                    path=photo,
                    width=width,
                    height=height,
                    split=_split_of(image),
                    source=source,
                    captions=tuple(checked_text(sentence["raw"]) for sentence in image["sentences"]),
                )
            )
    return records


def karpathy_splits(path: Path) -> dict[str, Split]:
    """The split of each photo by its COCO number, or its file's name: `PhotoSet.splits` for COCO's own files.

    Raises:
        ValueError: a malformed record; names file and record.
    """
    splits: dict[str, Split] = {}
    for name, image in entries(path, read_section(path, "images"), "image", "filename"):
        with reading(path, name):
            splits[_key_of(image)] = _split_of(image)
    return splits


def _key_of(image: dict[str, Any]) -> str:
    return str(image["cocoid"] if "cocoid" in image else image["filename"])


def _split_of(image: dict[str, Any]) -> Split:
    return "train" if image["split"] == "restval" else parse_split(image["split"])
