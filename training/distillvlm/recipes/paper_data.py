"""The paper's data: COCO in Karpathy's split with VQA v2's questions, Flickr30k, and Visual Genome for the detectors.

Layout of the root (JSON plain or gzipped), every file as its publisher names it:
    coco/           train2014/ val2014/  dataset_coco.json (Karpathy's split and captions)
                    v2_OpenEnded_mscoco_{train,val}2014_questions.json  v2_mscoco_{train,val}2014_annotations.json
    flickr30k/      images/  dataset_flickr30k.json     more captions for pre-training; may be absent
    visual_genome/  images/ (both parts in one folder)  image_data.json  objects.json  attributes.json
    weights/        what the models begin with: see training/README.md
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from distillvlm.data.annotation_files import PhotoSet, annotation_file, checked_list, read_json, reading
from distillvlm.data.karpathy import read_karpathy
from distillvlm.data.records import Record, Split
from distillvlm.data.visual_genome import read_visual_genome
from distillvlm.data.vocabulary import Tokenizer
from distillvlm.data.vqa import join_questions, read_questions

COCO = "coco"
YEARS = ("train2014", "val2014")


def load_texts(root: Path) -> list[Record]:
    """Photos with captions and questions. Karpathy's split decides for VQA v2's validation questions too: those on his
    training photos are learnt from, as OSCAR does.

    Raises:
        ValueError: a file or a photo is missing, or a record is malformed; names it.
    """
    folder = root / COCO
    records = read_karpathy(annotation_file(folder, "dataset_coco.json"), folder, COCO)
    for year in YEARS:
        questions = annotation_file(folder, f"v2_OpenEnded_mscoco_{year}_questions.json")
        annotations = annotation_file(folder, f"v2_mscoco_{year}_annotations.json")
        records = join_questions(records, COCO, read_questions(questions, annotations))
    flickr = root / "flickr30k"
    if flickr.is_dir():
        records += read_karpathy(annotation_file(flickr, "dataset_flickr30k.json"), flickr / "images", "flickr30k")
    return records


def load_objects(root: Path, texts: Iterable[Record]) -> list[Record]:
    """Visual Genome's photos with their boxes. Half of them are COCO's: those that `texts` holds out are held out here.

    Raises:
        ValueError: as `load_texts`.
    """
    folder = root / "visual_genome"
    split_of = {record.photo_id: record.split for record in texts}
    splits = _splits(annotation_file(folder, "image_data.json"), split_of)
    photos = PhotoSet("visual_genome", folder / "images", splits)
    return read_visual_genome(
        annotation_file(folder, "objects.json"), annotation_file(folder, "attributes.json"), photos
    )


def _splits(path: Path, split_of: dict[str, Split]) -> dict[str, Split]:
    def split(image: dict[str, Any]) -> Split:
        return split_of.get(f"{COCO}/{image['coco_id']}", "train")

    splits: dict[str, Split] = {}
    for place, image in enumerate(checked_list(read_json(path))):
        with reading(path, f"image at place {place}"):
            splits[str(image["image_id"])] = split(image)
    return splits


def by_frequency(names: Iterable[str]) -> list[str]:
    """Each name once, the most frequent first, ties by the alphabet."""
    counts = Counter(names)
    return sorted(counts, key=lambda name: (-counts[name], name))


def told_apart(names: Iterable[str], tokenizer: Tokenizer, pieces: int) -> list[str]:
    """The names without those whose first pieces an earlier one has: a tag shows no more of its word."""
    kept: dict[tuple[int, ...], str] = {}
    for name in names:
        kept.setdefault(tuple(tokenizer.encode(name)[:pieces]), name)
    return list(kept.values())
