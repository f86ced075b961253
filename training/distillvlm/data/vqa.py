"""VQA v2 questions and annotations. Format: https://visualqa.org/vqa_v2_challenge.html."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from distillvlm.data.annotation_files import SPLITS, checked_text, read_section, reading
from distillvlm.data.records import Question, Record, Split


def read_questions(questions: Path, annotations: Path) -> dict[int, list[Question]]:
    """The questions of each image id, each with the answers of its annotators.

    Raises:
        ValueError: a malformed record, or a question without annotation; names file and record.
    """
    annotated: dict[int, Any] = {}
    for annotation in read_section(annotations, "annotations"):
        with reading(annotations, f"question {annotation.get('question_id')}"):
            annotated[annotation["question_id"]] = annotation
    of_image: dict[int, list[Question]] = defaultdict(list)
    for entry in read_section(questions, "questions"):
        with reading(questions, f"question {entry.get('question_id')}"):
            number, text = entry["question_id"], checked_text(entry["question"])
            if number not in annotated:
                raise ValueError(f"has no annotation in {annotations}")
        annotation = annotated[number]
        with reading(annotations, f"question {number}"):
            question = Question(
                question_id=number,
                text=text,
                answers=tuple(checked_text(answer["answer"]) for answer in annotation["answers"]),
                answer_type=annotation.get("answer_type", ""),
                question_type=annotation.get("question_type", ""),
            )
        of_image[entry["image_id"]].append(question)
    return dict(of_image)


def join_questions(
    records: Iterable[Record],
    source: str,
    questions: dict[int, list[Question]],
    splits: Collection[Split] = SPLITS,
) -> list[Record]:
    """The records with the questions of their photos (`photo_id` "source/image id") after those they have.

    splits: the others stay as they are.
    """
    of_photo = {f"{source}/{number}": tuple(asked) for number, asked in questions.items()}
    return [
        replace(record, questions=record.questions + of_photo.get(record.photo_id, ()))
        if record.split in splits
        else record
        for record in records
    ]
