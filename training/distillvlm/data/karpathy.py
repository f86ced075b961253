"""Karpathy's split files (`dataset_flickr8k.json`, `dataset_flickr30k.json`, `dataset_coco.json`).

Source: Karpathy and Fei-Fei 2015, arXiv:1412.2306; https://cs.stanford.edu/people/karpathy/deepimagesent.
"""

from __future__ import annotations

from pathlib import Path

from distillvlm.data.annotation_files import checked_text, parse_split, read_section, reading
from distillvlm.data.pixels import upright_size
from distillvlm.data.records import Record


def read_karpathy(path: Path, folder: Path, source: str) -> list[Record]:
    """Photos with their captions; "restval" counts as train, as is usual. Sizes come from the files' headers.

    A photo is named by its COCO number where the file has one, else by its file's name.
    Raises:
        ValueError: a malformed record or an unreadable photo; names file and record.
    """
    records = []
    for image in read_section(path, "images"):
        with reading(path, f"image {image.get('filename')}"):
            photo = folder / image.get("filepath", "") / checked_text(image["filename"])
            height, width = upright_size(photo)
            records.append(
                Record(
                    photo_id=f"{source}/{image.get('cocoid', image['filename'])}",
                    path=photo,
                    width=width,
                    height=height,
                    split="train" if image["split"] == "restval" else parse_split(image["split"]),
                    source=source,
                    captions=tuple(checked_text(sentence["raw"]) for sentence in image["sentences"]),
                )
            )
    return records
