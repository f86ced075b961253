"""DAQUAR: human questions on indoor photos of NYU depth.

Source: Malinowski and Fritz 2014, arXiv:1410.0210. Layout of the file: a list of
`{"image", "question", "answers": [words], "split": "train" | "test"}`.
"""

from __future__ import annotations

from collections import defaultdict
from hashlib import sha256
from pathlib import Path

from distillvlm.data.annotation_files import checked_list, checked_text, entries, parse_split, read_json, reading
from distillvlm.data.pixels import upright_size
from distillvlm.data.records import Question, Record, Split

VALIDATION_SHARE = 0.1


def read_daquar(path: Path, folder: Path, source: str = "daquar") -> list[Record]:
    """Photos with their questions. Question ids are positions in the file.

    DAQUAR has no validation set: the tenth of its training photos whose names have the lowest SHA-256 is ours.
    An answer is a set of words given by one person, kept as it is.
    Raises:
        ValueError: a malformed record or an unreadable photo; names file and record.
    """
    split_of: dict[str, Split] = {}
    questions: dict[str, list[Question]] = defaultdict(list)
    for number, (name, entry) in enumerate(entries(path, read_json(path), "question", "question_id")):
        with reading(path, name):
            image = checked_text(entry["image"])
            split = parse_split(entry["split"])
            if split_of.setdefault(image, split) != split:
                raise ValueError(f"{image} is in {split_of[image]} and in {split}")
            answers = tuple(checked_text(answer) for answer in checked_list(entry["answers"]))
            questions[image].append(Question(number, checked_text(entry["question"]), answers))
    for image in validation_photos([image for image, split in split_of.items() if split == "train"]):
        split_of[image] = "val"
    records = []
    for image, split in split_of.items():
        height, width = upright_size(folder / image)
        asked = tuple(questions[image])
        records.append(Record(f"{source}/{image}", folder / image, width, height, split, source, questions=asked))
    return records


def validation_photos(names: list[str]) -> list[str]:
    """The tenth of the names whose SHA-256 comes first: the same wherever and in whatever order it is drawn."""
    ranked = sorted(names, key=lambda name: sha256(name.encode()).hexdigest())
    return ranked[: round(len(ranked) * VALIDATION_SHARE)]
