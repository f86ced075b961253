"""VQA v2 questions and annotations. Format: https://visualqa.org/vqa_v2_challenge.html."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Container, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from distillvlm.data.annotation_files import SPLITS, checked_list, checked_text, entries, read_section, reading
from distillvlm.data.records import ANNOTATORS, Question, Record, Split


def read_questions(questions: Path, annotations: Path | None) -> dict[int, list[Question]]:
    """The questions of each image id, each with the answers of its ten annotators.

    annotations: None for VQA v2's test questions, whose answers are not published: they have none here.
    Raises:
        ValueError: a malformed record, one that is there twice, or a question without annotation or with that of
            another photo; names file and record.
    """
    answered = None if annotations is None else _read_annotations(annotations)
    of_image: dict[int, list[Question]] = defaultdict(list)
    asked: set[int] = set()
    for name, entry in entries(questions, read_section(questions, "questions"), "question", "question_id"):
        with reading(questions, name):
            number, image = _number(entry["question_id"]), _number(entry["image_id"])
            text = checked_text(entry["question"])
            if number in asked:
                raise ValueError("listed twice")
            asked.add(number)
            if answered is None:
                question = Question(number, text, answers=())
            elif number in answered:
                photo, wordless = answered[number]
                if photo is not None and photo != image:
                    raise ValueError(f"is on photo {image}, its annotation in {annotations} on {photo}")
                question = replace(wordless, text=text)
            else:
                raise ValueError(f"has no annotation in {annotations}")
            of_image[image].append(question)
    return dict(of_image)


def _read_annotations(path: Path) -> dict[int, tuple[int | None, Question]]:
    """By question id, the photo where one is named, and the question but for its words, which annotations lack."""
    answered: dict[int, tuple[int | None, Question]] = {}
    for name, annotation in entries(path, read_section(path, "annotations"), "question", "question_id"):
        with reading(path, name):
            number = _number(annotation["question_id"])
            answers = tuple(checked_text(answer["answer"]) for answer in checked_list(annotation["answers"]))
            if len(answers) != ANNOTATORS:
                raise ValueError(f"expected {ANNOTATORS} answers, received {len(answers)}")
            if number in answered:
                raise ValueError("listed twice")
            question = Question(
                question_id=number,
                text="",
                answers=answers,
                answer_type=annotation.get("answer_type", ""),
                question_type=annotation.get("question_type", ""),
                majority=annotation.get("multiple_choice_answer", ""),
            )
            answered[number] = (annotation.get("image_id"), question)
    return answered


def _number(value: Any) -> int:
    if not isinstance(value, int):
        raise ValueError(f"expected a number, received {value!r}")
    return value


def join_questions(
    records: Iterable[Record],
    source: str,
    questions: Mapping[int, list[Question]] | Mapping[str, list[Question]],
    path: Path,
    splits: Collection[Split] = SPLITS,
    left_out: Container[str] = (),
) -> list[Record]:
    """The records with the questions of their photos (`photo_id` "source/image id") after those they have.

    path: where the questions are from. splits: the others stay as they are. left_out: ids of photos that have no record
    because a split leaves them out; so are their questions.
    Raises:
        ValueError: a question is on another photo that has no record; names file and question.
    """
    records = list(records)
    known = {record.photo_id for record in records}
    of_photo = {f"{source}/{number}": tuple(asked) for number, asked in questions.items()}
    for photo_id, asked in of_photo.items():
        if photo_id not in known and photo_id not in left_out:
            raise ValueError(f"{path}, question {asked[0].question_id}: there is no photo {photo_id}")
    return [
        replace(record, questions=record.questions + of_photo.get(record.photo_id, ()))
        if record.split in splits
        else record
        for record in records
    ]
