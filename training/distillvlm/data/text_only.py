"""Captions and questions on photos that are not at hand: words for the text side of training.

Every photo of a validation or test split is dropped, by its id and, since other data sets number the same photos
otherwise, by its sentences too.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distillvlm.data.annotation_files import (
    annotation_file,
    checked_list,
    checked_object,
    checked_text,
    entries,
    read_json,
    read_section,
    reading,
)
from distillvlm.data.records import COCO_QA, Question, Record

# Two shared sentences of this many words betray the same photo; short ones ("a man is surfing") are common property.
LONG_SENTENCE_WORDS = 7
SHARED_SENTENCES = 2
# COCO-QA has no question ids; these lie beyond VQA v2's (image id x 1000 + n).
FIRST_COCO_QA_ID = 10**10
COCO_QA_TYPES = ("other", "number", "other", "other")  # object, number, colour, location


@dataclass(frozen=True)
class PhotoText:
    """What is said of a photo that is not at hand; `photo_id` as in `Record`."""

    photo_id: str
    captions: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()


def load_text_only(root: Path, records: Iterable[Record]) -> list[PhotoText]:
    """The texts under `root` (coco_captions, flickr30k_captions, vqa_v2_60k, coco_qa, vsr: JSON, plain or gzipped).

    records: all photos at hand; what tells of one of its validation or test photos is left out.
    Of VSR the true sentences are taken, as captions.
    Raises:
        ValueError: a file is missing or a record malformed; names file and record.
    """
    captions: dict[str, list[str]] = defaultdict(list)
    questions: dict[str, list[Question]] = defaultdict(list)
    for photo_id, caption in (
        *_read_coco_captions(annotation_file(root, "coco_captions.json")),
        *_read_flickr30k(annotation_file(root, "flickr30k_captions.json")),
        *_read_true_relations(annotation_file(root, "vsr.json")),
    ):
        captions[photo_id].append(caption)
    for source in (_read_vqa_counts(annotation_file(root, "vqa_v2_60k.json")), read_coco_qa(root)):
        for number, asked in source.items():
            questions[f"coco/{number}"].extend(asked)
    texts = [
        PhotoText(photo_id, tuple(captions.get(photo_id, ())), tuple(questions.get(photo_id, ())))
        for photo_id in dict.fromkeys((*captions, *questions))
    ]
    return drop_held_out(texts, records)


def drop_held_out(texts: Iterable[PhotoText], records: Iterable[Record]) -> list[PhotoText]:
    """The texts without those on a validation or test photo."""
    return drop_photos(texts, [record for record in records if record.split != "train"])


def drop_photos(texts: Iterable[PhotoText], records: Iterable[Record]) -> list[PhotoText]:
    """The texts without those on a photo of the records: same id, or two long sentences in common."""
    records = list(records)
    ids = {_photo_key(record.photo_id) for record in records}
    photos_of_sentence: dict[str, set[str]] = defaultdict(set)
    for record in records:
        for sentence in _long_sentences(record.captions):
            photos_of_sentence[sentence].add(record.photo_id)

    def is_leak(text: PhotoText) -> bool:
        shared = Counter(
            photo for sentence in _long_sentences(text.captions) for photo in photos_of_sentence.get(sentence, ())
        )
        return max(shared.values(), default=0) >= SHARED_SENTENCES

    return [text for text in texts if _photo_key(text.photo_id) not in ids and not is_leak(text)]


def read_coco_qa(root: Path) -> dict[int, list[Question]]:
    """The questions of each COCO image id in `coco_qa.json`, marked by their question_type.

    Source: Ren et al. 2015, arXiv:1505.02074. Rows: image id, question, answer, type, split.
    Raises:
        ValueError: the file is missing or a row malformed; names file and row.
    """
    path = annotation_file(root, "coco_qa.json")
    questions: dict[int, list[Question]] = defaultdict(list)
    for number, row in enumerate(read_section(path, "rows")):
        with reading(path, f"row {number}"):
            image, text, answer, kind, _ = row
            questions[image].append(
                Question(
                    question_id=FIRST_COCO_QA_ID + number,
                    text=checked_text(text),
                    answers=(checked_text(answer),),
                    answer_type=COCO_QA_TYPES[kind],
                    question_type=COCO_QA,
                )
            )
    return dict(questions)


def _read_coco_captions(path: Path) -> Iterable[tuple[str, str]]:
    for name, annotation in entries(path, read_section(path, "annotations"), "annotation", "id"):
        with reading(path, name):
            yield f"coco/{annotation['image_id']}", checked_text(annotation["caption"])


def _read_flickr30k(path: Path) -> Iterable[tuple[str, str]]:
    with reading(path, "the top level"):
        photos = checked_object(read_json(path))
    for name, photo in photos.items():
        with reading(path, f"photo {name}"):
            for caption in checked_list(photo["captions"]):
                yield f"flickr30k/{name}", checked_text(caption)


def _read_true_relations(path: Path) -> Iterable[tuple[str, str]]:
    for name, sentence in entries(path, read_json(path), "sentence", "id"):
        with reading(path, name):
            if sentence["label"] == 1:
                yield f"coco/{sentence['image_id']}", checked_text(sentence["caption"])


def _read_vqa_counts(path: Path) -> dict[int, list[Question]]:
    questions: dict[int, list[Question]] = defaultdict(list)
    for name, entry in entries(path, read_json(path), "question", "question_id"):
        with reading(path, name):
            questions[entry["image_id"]].append(_counted_question(entry))
    return dict(questions)


def _counted_question(entry: Any) -> Question:
    answers = [answer for answer, count in entry["answers"].items() for _ in range(count)]
    return Question(
        question_id=entry["question_id"],
        text=checked_text(entry["question"]),
        answers=tuple(checked_text(answer) for answer in answers),
        answer_type=entry.get("answer_type", ""),
        question_type=entry.get("question_type", ""),
    )


def _photo_key(photo_id: str) -> str:
    """Flickr8k names a photo `<number>_<secret>.jpg`, Flickr30k `<number>.jpg`."""
    source, name = photo_id.split("/", 1)
    return f"flickr/{re.split(r'[._]', name)[0]}" if source.startswith("flickr") else photo_id


def _long_sentences(captions: Iterable[str]) -> set[str]:
    split = (re.findall(r"[a-z0-9]+", caption.lower()) for caption in captions)
    return {" ".join(words) for words in split if len(words) >= LONG_SENTENCE_WORDS}
