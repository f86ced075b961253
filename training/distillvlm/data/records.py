"""One photo with everything people (or a program) said of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

Split = Literal["train", "val", "test"]
COCO_QA, GENERATED = "coco_qa", "generated"
"""`question_type` of questions that a program made from captions and boxes; they are for training only."""
ANNOTATORS = 10
"""Answers of a question that is scored by agreement; any other number is one answer set, scored by exact match."""


@dataclass(frozen=True)
class Question:
    """A question on a photo with the answers of its annotators.

    question_id: unique in its data set, as in VQA v2 files.
    answers: one string an annotator (ten in VQA v2; one or more in data sets without several annotators).
    answer_type, question_type: VQA v2's, or "" where the data set has none.
    majority: the answer that the data set itself calls the most frequent one (VQA v2's `multiple_choice_answer`, which
        settles ties), or "".
    """

    question_id: int
    text: str
    answers: tuple[str, ...]
    answer_type: str = ""
    question_type: str = ""
    majority: str = ""

    @property
    def is_human(self) -> bool:
        """Whether a person asked it."""
        return self.question_type not in (COCO_QA, GENERATED)


@dataclass(frozen=True)
class ObjectBox:
    """A box: x1, y1, x2, y2 in pixels of the file; `score` below 1 marks a machine-made box."""

    box: tuple[float, float, float, float]
    label: str
    attributes: tuple[str, ...] = ()
    score: float = 1.0


@dataclass(frozen=True)
class Record:
    """A photo. `photo_id` is unique over all data sets of a recipe ("coco/139"); sizes are pixels of the file."""

    photo_id: str
    path: Path
    width: int
    height: int
    split: Split
    source: str
    captions: tuple[str, ...] = ()
    questions: tuple[Question, ...] = ()
    objects: tuple[ObjectBox, ...] = field(default=())


class Described(Protocol):
    """A photo, at hand or not, with what is said of it."""

    @property
    def photo_id(self) -> str: ...

    @property
    def captions(self) -> tuple[str, ...]: ...

    @property
    def questions(self) -> tuple[Question, ...]: ...


def of_split(records: Iterable[Record], split: Split) -> list[Record]:
    return [record for record in records if record.split == split]
