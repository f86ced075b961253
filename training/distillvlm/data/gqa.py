"""GQA: questions made by a program from the scene graphs of Visual Genome's photos, one answer each.

Source: Hudson and Manning 2019, arXiv:1902.09506. Format: https://cs.stanford.edu/people/dorarad/gqa/download.html.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any, Literal

from distillvlm.data.annotation_files import annotation_file, checked_object, checked_text, read_json, reading
from distillvlm.data.records import Question

GqaSplit = Literal["train", "val", "testdev"]
Selection = Literal["balanced", "all"]


def read_gqa(folder: Path, split: GqaSplit, selection: Selection) -> dict[str, list[Question]]:
    """The questions of each image id ("2354786", or "n161313" for photos that Visual Genome lacks).

    folder: holds `<split>_<selection>_questions.json`, or a folder of that name without `.json` with its parts, as
        GQA has it for `train_all`.
    question_type is GQA's semantic type ("obj", "attr", "cat", "rel", "global"); answer_type is "open" or "binary", as
    in its `eval.py`.
    Raises:
        ValueError: a file is missing, a record malformed, or two ids are the same number; names file and record.
    """
    of_image: dict[str, list[Question]] = defaultdict(list)
    seen: set[int] = set()
    for path in _files(folder, f"{split}_{selection}_questions"):
        with reading(path, "the top level"):
            questions = checked_object(read_json(path))
        for number, entry in questions.items():
            with reading(path, f"question {number}"):
                question = _question(number, entry)
                if question.question_id in seen:  # ids are written "02930152": a zero in front would be lost
                    raise ValueError(f"another question has the id {question.question_id}")
                seen.add(question.question_id)
                of_image[checked_text(entry["imageId"])].append(question)
    return dict(of_image)


def _files(folder: Path, name: str) -> list[Path]:
    parts = sorted((folder / name).glob("*.json*"))
    return parts or [annotation_file(folder, f"{name}.json")]


def _question(number: str, entry: dict[str, Any]) -> Question:
    types = entry["types"]
    return Question(
        question_id=int(number),
        text=checked_text(entry["question"]),
        answers=(checked_text(entry["answer"]),),
        answer_type="open" if types["structural"] == "query" else "binary",
        question_type=checked_text(types["semantic"]),
    )
