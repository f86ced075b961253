"""The trainings of `paper` in their order, and what is measured of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

from distillvlm.engine.trainer import Schedule
from distillvlm.recipes.lessons import SHARE_STEPS, Kind, Lesson, Who
from distillvlm.recipes.paper_settings import Course

SPOKEN = "spoken"
"""The stage that writes the adapted teacher's captions."""


@dataclass(frozen=True, kw_only=True)
class PaperLesson(Lesson):
    """A lesson of one course: captions and questions are learnt by two models."""

    course: Course

    @property
    def schedule(self) -> Schedule:
        return Schedule(self.steps, self.course.rate, share_steps=SHARE_STEPS if self.taught_by else 0)


@dataclass(frozen=True)
class Evaluated:
    """Two models of one name, a captioner and one for questions, and the regions that they are measured on.

    captions: the course with which the captioner ends.
    """

    name: str
    who: Who
    regions: str
    captions: Literal["captions", "scst"] = "captions"

    @property
    def label(self) -> str:
        return f"{self.name}{'-scst' if self.captions == 'scst' else ''} on {self.regions}"


EVALUATED = (
    Evaluated("teacher", "teacher", "teacher-regions"),
    Evaluated("teacher", "teacher", "shared-regions"),
    Evaluated("adapted", "teacher", "shared-regions"),
    Evaluated("control", "teacher", "teacher-regions"),
    Evaluated("control", "teacher", "shared-regions"),
    Evaluated("plain", "student", "student-regions"),
    Evaluated("plain", "student", "student-regions", "scst"),
    Evaluated("student", "student", "student-regions"),
    Evaluated("student", "student", "student-regions", "scst"),
)


def lessons_of(
    courses: Sequence[Course], adaptation_share: float, scst: Course | None, spoken: bool
) -> list[PaperLesson]:
    """The paper's procedure; the un-adapted teacher (`control`), which has as many steps more as the adapted one but on
    its own boxes; and the same student without a teacher (`plain`).

    adaptation_share: of the teacher's steps. scst: what both students' captioners go on with. spoken: the distilled one
    also learns captions of its teacher.
    """
    more = [replace(course, steps=max(1, round(course.steps * adaptation_share))) for course in courses]
    fine = [course for course in more if course.name != "pretraining"]
    student = from_pretraining("student", "student", courses, "student-regions", taught_by="adapted")
    if spoken:
        student = [replace(each, captions_of=SPOKEN) if each.course.name == "captions" else each for each in student]
    return [
        *from_pretraining("teacher", "teacher", courses, "teacher-regions"),
        *(lesson_of("adapted", "teacher", each, "shared-regions", f"teacher-{each.name}") for each in more),
        *(lesson_of("control", "teacher", each, "teacher-regions", f"teacher-{each.name}") for each in fine),
        *from_pretraining("plain", "student", courses, "student-regions"),
        *student,
        *(
            lesson_of(name, "student", scst, "student-regions", f"{name}-captions")
            for name in ("plain", "student")
            if scst is not None
        ),
    ]


def from_pretraining(
    name: str, who: Who, courses: Sequence[Course], regions: str, taught_by: str | None = None
) -> list[PaperLesson]:
    """Pre-training, then captions and questions, each from what it left."""
    first = courses[0]
    return [
        lesson_of(
            name,
            who,
            course,
            regions,
            begins=None if course is first else f"{name}-{first.name}",
            taught_by=taught_by and f"{taught_by}-{course.name}",
        )
        for course in courses
    ]


def lesson_of(
    name: str, who: Who, course: Course, regions: str, begins: str | None, taught_by: str | None = None
) -> PaperLesson:
    kinds: dict[str, Kind] = {"pretraining": "pretraining", "scst": "scst"}
    return PaperLesson(
        stage=f"{name}-{course.name}",
        who=who,
        kind=kinds.get(course.name, "finetuning"),
        regions=regions,
        steps=course.steps,
        begins=begins,
        taught_by=taught_by,
        course=course,
    )
