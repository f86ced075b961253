"""The photos of a data root: Flickr8k, COCO and DAQUAR joined into one list of records.

Layout of the root (JSON plain or gzipped):
    flickr8k/  images/  dataset_flickr8k.json (Karpathy's split)  pseudo_instances.json (COCO format with scores)
    coco/      images/  splits.json  captions.json  instances.json  pseudo_instances.json
               vqa_questions.json  vqa_annotations.json
    daquar/    images/  qa.json  pseudo_instances.json
    text/      coco_qa.json (optional)
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from distillvlm.data.annotation_files import PhotoSet, annotation_file, read_splits
from distillvlm.data.coco import left_out, read_captions, read_instances
from distillvlm.data.daquar import read_daquar
from distillvlm.data.karpathy import read_karpathy
from distillvlm.data.records import Record, Split
from distillvlm.data.text_only import read_coco_qa
from distillvlm.data.vqa import join_questions, read_questions


def load_photos(root: Path, min_score: float = 0.0) -> list[Record]:
    """All photos under `root`, by data set, then in the order of its annotations.

    min_score: machine-made boxes below it are left out.
    Raises:
        ValueError: an annotation file or a photo is missing, or a record is malformed; names it.
    """
    records = [
        *_load_flickr8k(root / "flickr8k", min_score),
        *_load_coco(root, min_score),
        *_load_daquar(root / "daquar", min_score),
    ]
    missing = [record.path for record in records if not record.path.is_file()]
    if missing:
        raise ValueError(f"{len(missing)} photos are missing, the first is {missing[0]}")
    return records


def merge_photos(*groups: Iterable[Record]) -> list[Record]:
    """One record a photo: captions and questions of all groups together, boxes of the first group that has any.

    Raises:
        ValueError: the groups differ in a photo's file, size or split; names the photo.
    """
    merged: dict[str, Record] = {}
    for record in (record for group in groups for record in group):
        known = merged.setdefault(record.photo_id, record)
        if known is record:
            continue
        for name in ("path", "width", "height", "split"):
            if getattr(known, name) != getattr(record, name):
                raise ValueError(
                    f"Photo {record.photo_id}: expected {name} {getattr(known, name)}"
                    f" but received {getattr(record, name)}"
                )
        merged[record.photo_id] = replace(
            known,
            captions=known.captions + record.captions,
            questions=known.questions + record.questions,
            objects=known.objects or record.objects,
        )
    return list(merged.values())


def _load_flickr8k(folder: Path, min_score: float) -> list[Record]:
    images = folder / "images"
    captioned = read_karpathy(annotation_file(folder, "dataset_flickr8k.json"), images, "flickr8k")
    return merge_photos(captioned, _machine_boxes(folder, captioned, min_score))


def _load_coco(root: Path, min_score: float) -> list[Record]:
    folder = root / "coco"
    photos = PhotoSet("coco", folder / "images", read_splits(folder / "splits.json"))
    boxes, captions, machine_boxes, questions, answers = (
        annotation_file(folder, f"{name}.json")
        for name in ("instances", "captions", "pseudo_instances", "vqa_questions", "vqa_annotations")
    )
    merged = merge_photos(
        read_instances(boxes, photos),
        read_captions(captions, photos),
        read_instances(machine_boxes, photos, min_score),
    )
    not_chosen = left_out(boxes, photos) | left_out(captions, photos) | left_out(machine_boxes, photos)
    records = join_questions(merged, "coco", read_questions(questions, answers), questions, left_out=not_chosen)
    text = root / "text"
    if not any(text.glob("coco_qa.json*")):
        return records
    train_only: tuple[Split, ...] = ("train",)
    known = {record.photo_id for record in records}
    at_hand = {number: asked for number, asked in read_coco_qa(text).items() if f"coco/{number}" in known}
    return join_questions(records, "coco", at_hand, text, train_only)


def _load_daquar(folder: Path, min_score: float) -> list[Record]:
    asked = read_daquar(annotation_file(folder, "qa.json"), folder / "images")
    return merge_photos(asked, _machine_boxes(folder, asked, min_score))


def _machine_boxes(folder: Path, records: list[Record], min_score: float) -> list[Record]:
    splits = {record.path.name: record.split for record in records}
    photos = PhotoSet(records[0].source, folder / "images", splits, key="file_name")
    return read_instances(annotation_file(folder, "pseudo_instances.json"), photos, min_score)
