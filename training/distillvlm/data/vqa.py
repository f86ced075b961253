"""VQA v2 questions and annotations. Format: https://visualqa.org/vqa_v2_challenge.html."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from distillvlm.data.annotation_files import SPLITS, checked_list, checked_text, entries, read_section, reading
from distillvlm.data.records import ANNOTATORS, Question, Record, Split


def read_questions(questions: Path, annotations: Path) -> dict[int, list[Question]]:
    """The questions of each image id, each with the answers of its ten annotators.

    Raises:
        ValueError: a malformed record, or a question without annotation; names file and record.
    """
    annotated: dict[int, Any] = {}
    for name, annotation in entries(annotations, read_section(annotations, "annotations"), "question", "question_id"):
        with reading(annotations, name):
            annotated[annotation["question_id"]] = annotation
    of_image: dict[int, list[Question]] = defaultdict(list)
    for name, entry in entries(questions, read_section(questions, "questions"), "question", "question_id"):
        with reading(questions, name):
            number, image, text = entry["question_id"], entry["image_id"], checked_text(entry["question"])
            if number not in annotated:
                raise ValueError(f"has no annotation in {annotations}")
        with reading(annotations, name):
            of_image[image].append(_question(number, text, annotated[number]))
    return dict(of_image)


def _question(number: int, text: str, annotation: dict[str, Any]) -> Question:
    answers = tuple(checked_text(answer["answer"]) for answer in checked_list(annotation["answers"]))
    if len(answers) != ANNOTATORS:
        raise ValueError(f"expected {ANNOTATORS} answers, received {len(answers)}")
    return Question(
        question_id=number,
        text=text,
        answers=answers,
        answer_type=annotation.get("answer_type", ""),
        question_type=annotation.get("question_type", ""),
        majority=annotation.get("multiple_choice_answer", ""),
    )


def join_questions(
    records: Iterable[Record],
    source: str,
    questions: Mapping[int, list[Question]] | Mapping[str, list[Question]],
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
