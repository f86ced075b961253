"""The paper's data: COCO in Karpathy's split with VQA v2's questions, Flickr30k, and Visual Genome for the detectors.

Layout of the root (JSON plain or gzipped), every file as its publisher names it:
    coco/           train2014/ val2014/  dataset_coco.json (Karpathy's split and captions)
                    v2_OpenEnded_mscoco_{train,val}2014_questions.json  v2_mscoco_{train,val}2014_annotations.json
                    test2015/ image_info_test2015.json v2_OpenEnded_mscoco_{test-dev,test}2015_questions.json: to be
                    answered for VQA v2's server; either file may be absent, or both
    flickr30k/      images/  dataset_flickr30k.json     more captions for pre-training; may be absent
    visual_genome/  images/ (both parts in one folder)  image_data.json  objects.json  attributes.json
    weights/        what the models begin with: see training/README.md
Where pre-training reads of them:
    gqa/            train_balanced_questions.json
    oscar/          the one YAML file of OSCAR's corpus, and the folders that it names (see `oscar_corpus`)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from distillvlm.data.annotation_files import PhotoSet, annotation_file, checked_list, read_json, reading
from distillvlm.data.coco import read_photos
from distillvlm.data.gqa import read_gqa
from distillvlm.data.karpathy import read_karpathy
from distillvlm.data.oscar_corpus import Corpus, corpus_features, load_corpus, read_corpus
from distillvlm.data.oscar_store import FeatureFiles
from distillvlm.data.records import Record, Split
from distillvlm.data.text_only import PhotoText
from distillvlm.data.visual_genome import read_visual_genome
from distillvlm.data.vqa import join_questions, read_questions

COCO = "coco"
YEARS = ("train2014", "val2014")
TESTS = ("test-dev2015", "test2015")
GENOME = "visual_genome"


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
        records = join_questions(records, COCO, read_questions(questions, annotations), questions)
    flickr = root / "flickr30k"
    if flickr.is_dir():
        named = read_karpathy(annotation_file(flickr, "dataset_flickr30k.json"), flickr / "images", "flickr30k")
        # OSCAR's files have these photos without the ending of their names.
        records += [replace(record, photo_id=record.photo_id.removesuffix(".jpg")) for record in named]
    return records


def load_unanswered(root: Path) -> dict[str, list[Record]]:
    """VQA v2's test questions on their photos, by the name of each file that is there ("test-dev2015", "test2015").

    Raises:
        ValueError: as `load_texts`.
    """
    folder = root / COCO
    unanswered = {}
    for name in TESTS:
        file = f"v2_OpenEnded_mscoco_{name}_questions.json"
        if any(folder.glob(f"{file}*")):
            path = annotation_file(folder, file)
            asked = read_questions(path, None)
            splits: dict[str, Split] = {str(number): "test" for number in asked}
            photos = PhotoSet(COCO, folder / "test2015", splits)
            records = read_photos(annotation_file(folder, "image_info_test2015.json"), photos)
            unanswered[name] = join_questions(records, COCO, asked, path)
    return unanswered


def load_gqa(root: Path) -> list[PhotoText]:
    """GQA's training questions, on Visual Genome's photos and some that it lacks.

    Raises:
        ValueError: as `load_texts`.
    """
    asked = read_gqa(root / "gqa", "train", "balanced")  # balanced: ours
    return [PhotoText(f"{GENOME}/{number}", questions=tuple(questions)) for number, questions in asked.items()]


def load_oscar(root: Path) -> Corpus:
    """OSCAR's corpus, whose photos of GQA go by the name of Visual Genome: they are its photos.

    Raises:
        ValueError: there is not one YAML file, or it is malformed; names folder or file.
    """
    folder = root / "oscar"
    found = sorted(folder.glob("*.yaml"))
    if len(found) != 1:
        raise ValueError(f"{folder}: expected one YAML file of a corpus, found {len(found)}")
    return load_corpus(found[0], folder)


def oscar_texts(corpus: Corpus) -> list[PhotoText]:
    return [replace(text, photo_id=_of_genome(text.photo_id)) for text in read_corpus(corpus)]


def oscar_features(corpus: Corpus) -> list[FeatureFiles]:
    return [replace(files, source=_of_genome(files.source)) for files in corpus_features(corpus)]


def _of_genome(name: str) -> str:
    source, *key = name.split("/", 1)
    return "/".join([GENOME if source == "gqa" else source, *key])


def load_objects(root: Path, texts: Iterable[Record]) -> list[Record]:
    """Visual Genome's photos with their boxes. Half of them are COCO's: those that `texts` holds out are held out here.

    Raises:
        ValueError: as `load_texts`.
    """
    folder = root / GENOME
    split_of = {record.photo_id: record.split for record in texts}
    splits = _splits(annotation_file(folder, "image_data.json"), split_of)
    photos = PhotoSet(GENOME, folder / "images", splits)
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
