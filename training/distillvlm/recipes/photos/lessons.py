"""The trainings of the recipe for photos, in their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Who = Literal["teacher", "student"]
Kind = Literal["texts", "pretraining", "finetuning", "scst"]


@dataclass(frozen=True)
class Lesson:
    """One training.

    stage: its name and folder. regions: the store it sees; "texts" see tags alone. begins: the stage whose weights it
    starts from. left_out: the fold of the training photos that it does not see. taught_by: the stage of the frozen
    teacher whose attention and hidden states are learnt, with `soft` also what teachers say of photos that they have
    not seen. blind: photos and tags are hidden.
    """

    stage: str
    who: Who
    kind: Kind
    regions: str
    steps: int
    rate: float
    begins: str | None = None
    left_out: int | None = None
    taught_by: str | None = None
    soft: bool = False
    blind: bool = False

    @property
    def about(self) -> str:
        seen = "nothing" if self.blind else "tags" if self.kind == "texts" else self.regions
        taught = f", distilled from {self.taught_by}" if self.taught_by else ""
        without = f", without fold {self.left_out}" if self.left_out is not None else ""
        return f"{self.who}: {self.kind} on {seen}{without}{taught}, {self.steps} steps"


@dataclass(frozen=True)
class Steps:
    """Of each training of a teacher or a student; the rates are those of OSCAR, scaled to small models."""

    texts: int
    pretraining: int
    finetuning: int
    rate: float


def teacher_lessons(teacher: Steps, adaptation: Steps, members: int) -> list[Lesson]:
    """Members each leave out another fold, on the teacher's boxes; then each is adapted to the student's."""
    own, shared = "teacher-regions", "shared-regions"
    lessons = [Lesson("teacher-texts", "teacher", "texts", own, teacher.texts, teacher.rate)]
    for fold in range(members):
        first, member, adapted = f"member-{fold}-pretraining", f"member-{fold}", f"adapted-{fold}"
        lessons += [
            Lesson(first, "teacher", "pretraining", own, teacher.pretraining, teacher.rate, "teacher-texts", fold),
            Lesson(member, "teacher", "finetuning", own, teacher.finetuning, teacher.rate, first, fold),
            Lesson(adapted, "teacher", "finetuning", shared, adaptation.finetuning, adaptation.rate, member, fold),
        ]
        if fold == 0:  # the one whose attention and hidden states are learnt
            before = f"{adapted}-pretraining"
            steps, rate = adaptation.pretraining, adaptation.rate
            lessons.append(Lesson(before, "teacher", "pretraining", shared, steps, rate, first, fold))
    return lessons


def student_lessons(student: Steps, scst_steps: int, distilled: bool = True) -> list[Lesson]:
    own = "student-regions"
    first, then = ("adapted-0-pretraining", "adapted-0") if distilled else (None, None)
    before = "student-pretraining"
    return [
        Lesson("student-texts", "student", "texts", own, student.texts, student.rate),
        Lesson(before, "student", "pretraining", own, student.pretraining, student.rate, "student-texts", None, first),
        Lesson(
            "student", "student", "finetuning", own, student.finetuning, student.rate, before, None, then, distilled
        ),
        Lesson("student-scst", "student", "scst", own, scst_steps, student.rate / 6, "student"),
        Lesson("blind", "student", "finetuning", own, student.finetuning, student.rate, blind=True),
    ]
