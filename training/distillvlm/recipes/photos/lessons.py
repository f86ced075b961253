"""The trainings of the recipe for photos, in their order."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from distillvlm.engine.trainer import Schedule
from distillvlm.recipes.language import TextMix, with_references
from distillvlm.recipes.lessons import SHARE_STEPS, Lesson
from distillvlm.recipes.photos.sight import ALL, Sight

SNAPSHOTS = 5
"""Of a training whose best weights may not be its last."""


@dataclass(frozen=True)
class PhotoLesson(Lesson):
    """left_out: the fold of the training photos that it does not see. soft: it also learns what teachers say of photos
    that they have not seen. spoken: it also learns the captions that teachers give such photos. seed: None for the
    recipe's. snapshots: see `Schedule`.
    """

    left_out: int | None = None
    soft: bool = False
    spoken: bool = False
    seed: int | None = None
    sight: Sight = ALL
    snapshots: int = 0

    @property
    def about(self) -> str:
        without = f", without fold {self.left_out}" if self.left_out is not None else ""
        spoken = ", with captions of the teacher" if self.spoken else ""
        return f"{super().about}{without}{spoken}"

    @property
    def schedule(self) -> Schedule:
        assert self.rate is not None
        shares = SHARE_STEPS if self.taught_by else 0
        return Schedule(self.steps, self.rate, ema_decay=0.998, share_steps=shares, snapshots=self.snapshots)


@dataclass(frozen=True)
class Shares:
    """Of a fine-tuning's steps: people's captions, the teacher's (where they are not learnt, people's take their part),
    questions on photos, and questions on photos that are not at hand.

    asked: of the steps with questions on photos those with people's alone; most photos have none, and they would drown
    among those that a program made. drawn: of SCST's steps those with captions that the model draws itself; the others
    are those of a fine-tuning.

    Raises:
        ValueError: the four do not add up to 1.
    """

    captions: float
    spoken: float
    questions: float
    unseen: float
    asked: float = 0.0
    drawn: float = 0.0

    def __post_init__(self) -> None:
        whole = self.captions + self.spoken + self.questions + self.unseen
        if not math.isclose(whole, 1):
            raise ValueError(f"shares: expected captions, spoken, questions and unseen to be 1 together, not {whole}")

    def divide(self, mix: TextMix, lesson: PhotoLesson) -> TextMix:
        """The mix with as many steps of each kind as the lesson has.

        A blind one has no captions, of which it would learn nothing that it is asked for.
        """
        if lesson.kind == "texts":
            return replace(mix, described_steps=lesson.steps)
        drawn = round(self.drawn * lesson.steps) if lesson.kind == "scst" else 0
        learnt = lesson.steps - drawn
        spoken = round(self.spoken * learnt) if lesson.spoken else 0
        if lesson.blind:
            questions = round(self.questions / (self.questions + self.unseen) * learnt)
            unseen = learnt - questions
        else:
            questions, unseen = round(self.questions * learnt), round(self.unseen * learnt)
        asked = round(self.asked * questions)
        divided = replace(
            mix,
            caption_steps=learnt - spoken - questions - unseen,
            spoken_steps=spoken,
            question_steps=questions - asked,
            asked_steps=asked,
            unseen_steps=unseen,
        )
        return with_references(divided, drawn) if lesson.kind == "scst" else divided


@dataclass(frozen=True)
class Steps:
    """Of each training of a teacher or a student; the rates are those of OSCAR, scaled to small models."""

    texts: int
    pretraining: int
    finetuning: int
    rate: float


def teacher_lessons(teacher: Steps, adaptation: Steps, members: int) -> list[PhotoLesson]:
    """Members each leave out another fold, on the teacher's boxes; then each is adapted to the student's."""
    own, shared, rate, slow = "teacher-regions", "shared-regions", teacher.rate, adaptation.rate
    lessons = [PhotoLesson("teacher-texts", "teacher", "texts", own, teacher.texts, None, rate)]
    for fold in range(members):
        first, member, adapted = f"member-{fold}-pretraining", f"member-{fold}", f"adapted-{fold}"
        stages = [
            PhotoLesson(first, "teacher", "pretraining", own, teacher.pretraining, "teacher-texts", rate),
            PhotoLesson(member, "teacher", "finetuning", own, teacher.finetuning, first, rate),
            PhotoLesson(adapted, "teacher", "finetuning", shared, adaptation.finetuning, member, slow),
        ]
        if fold == 0:  # the one whose attention and hidden states are learnt
            before, steps = f"{adapted}-pretraining", adaptation.pretraining
            stages.append(PhotoLesson(before, "teacher", "pretraining", shared, steps, first, slow))
        lessons += [replace(lesson, left_out=fold) for lesson in stages]
    return lessons


def student_lessons(student: Steps, scst_steps: int, shares: Shares, taught: bool = True) -> list[PhotoLesson]:
    """The student, from its training on texts to SCST, and a blind one, which reads as many questions. taught: by a
    teacher; one that is not has no training on texts and no pre-training before it."""
    own, before, rate = "student-regions", "student-pretraining", student.rate
    pretraining = PhotoLesson(before, "student", "pretraining", own, student.pretraining, "student-texts", rate)
    finetuning = PhotoLesson("student", "student", "finetuning", own, student.finetuning, None, rate)
    scst = PhotoLesson("student-scst", "student", "scst", own, scst_steps, "student", rate / 6, snapshots=SNAPSHOTS)
    asked = round((shares.questions + shares.unseen) * student.finetuning)
    blind = replace(finetuning, stage="blind", steps=asked, blind=True)
    if not taught:
        return [finetuning, scst, blind]
    return [
        replace(pretraining, taught_by="adapted-0-pretraining"),
        replace(finetuning, begins=before, taught_by="adapted-0", soft=True, spoken=True),
        scst,
        blind,
    ]
