"""The students of `photos-evidence`: each differs from the plain one in one thing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from distillvlm.recipes.photos.lessons import SNAPSHOTS, PhotoLesson, Steps
from distillvlm.recipes.photos.sight import Sight
from distillvlm.recipes.photos.teaching import PhotosTeaching

OWN, TEXTS = "student-regions", "student-texts"
PLAIN, DISTILLED = "none", "all"


@dataclass(frozen=True)
class Arm:
    """One student with one seed: what it is, for people, and its trainings. The last one's weights are looked at: those
    of the snapshot that is best on validation photos."""

    cell: str
    about: str
    seed: int
    lessons: tuple[PhotoLesson, ...]

    @property
    def name(self) -> str:
        return f"{re.sub('[^a-z]+', '-', self.cell)}-{self.seed}"

    @property
    def last(self) -> PhotoLesson:
        return self.lessons[-1]


@dataclass(frozen=True)
class Size:
    """A student's size: what teaches it and its arms. ending: of its cells' names."""

    ending: str
    recipe: PhotosTeaching
    pairs: Sequence[Arm]
    others: Sequence[Arm] = ()
    levers: Sequence[Arm] = ()

    @property
    def tested(self) -> list[Arm]:
        """Levers are looked at on validation photos alone."""
        return [*self.pairs, *self.others]

    def cell(self, name: str) -> str:
        return name + self.ending


def pair(steps: Steps, seed: int) -> list[Arm]:
    """The plain student and the distilled one: the same initialisation, the same photos and texts in the same order."""
    plain = Arm(PLAIN, "no distillation", seed, _trainings(PLAIN, steps, seed))
    pretraining, finetuning = _trainings(DISTILLED, steps, seed)
    taught = (
        replace(pretraining, taught_by="adapted-0-pretraining"),
        replace(finetuning, taught_by="adapted-0", soft=True),
    )
    return [plain, Arm(DISTILLED, "all losses, in pre-training and in fine-tuning", seed, taught)]


def longer(steps: Steps, times: float, seed: int) -> Arm:
    """The plain student, so much longer trained that it takes as long as the distilled one."""
    more = replace(steps, pretraining=round(times * steps.pretraining), finetuning=round(times * steps.finetuning))
    about = f"no distillation, {times:g} times the steps: as long as `{DISTILLED}` takes"
    return Arm(f"{PLAIN}, longer", about, seed, _trainings(f"{PLAIN}-longer", more, seed))


def _trainings(cell: str, steps: Steps, seed: int) -> tuple[PhotoLesson, PhotoLesson]:
    first, rate = f"{cell}-{seed}-pretraining", steps.rate
    pretraining = PhotoLesson(first, "student", "pretraining", OWN, steps.pretraining, TEXTS, rate, seed=seed)
    last = f"{cell}-{seed}"
    finetuning = PhotoLesson(last, "student", "finetuning", OWN, steps.finetuning, first, rate, seed=seed)
    return pretraining, replace(finetuning, snapshots=SNAPSHOTS)


def beyond(pairs: Sequence[Arm], scst_steps: int) -> list[Arm]:
    """What the paper does not have, on each of a pair: the teacher's captions, and self-critical training."""
    arms = []
    for arm in pairs:
        last = arm.last
        assert last.rate is not None
        spoken = replace(last, stage=f"{arm.cell}-sequence-{arm.seed}", spoken=True)
        scst = replace(
            last,
            stage=f"{arm.cell}-scst-{arm.seed}",
            kind="scst",
            steps=scst_steps,
            begins=last.stage,
            rate=last.rate / 6,
            taught_by=None,
            soft=False,
            snapshots=0,
        )
        arms += [
            Arm(f"{arm.cell} + sequence", f"{arm.about}; the teacher's captions", arm.seed, (spoken,)),
            Arm(f"{arm.cell} + scst", f"{arm.about}; then SCST", arm.seed, (scst,)),
        ]
    return arms


def levers(pairs: Sequence[Arm], cells: int) -> list[Arm]:
    """The plain student without one of the things that the recipe gives it. cells: regions that cover a photo whatever
    is detected."""
    plain, distilled = pairs
    first, last = plain.lessons

    def lever(name: str, about: str, *lessons: PhotoLesson) -> Arm:
        """Trains under names of its own what is not the plain student's own training."""
        renamed: list[PhotoLesson] = []
        for lesson in lessons:
            begins = renamed[-1].stage if renamed else lesson.begins
            ending = "-pretraining" if lesson.kind == "pretraining" else ""
            renamed.append(replace(lesson, stage=f"{name}-{plain.seed}{ending}", begins=begins))
        return Arm(name.replace("-", " "), about, plain.seed, tuple(renamed))

    def blind_to(name: str, about: str, sight: Sight) -> Arm:
        return lever(name, about, *(replace(lesson, sight=sight) for lesson in plain.lessons))

    at_hand = replace(distilled.last, stage=f"all-at-hand-{plain.seed}", soft=False)
    return [
        lever("no-texts", "no training on texts without photos", replace(first, begins=None), last),
        lever("no-pretraining", "no pre-training on photos", replace(last, begins=TEXTS)),
        blind_to("no-tags", "no tags of the concept head", Sight(tags=False)),
        blind_to("cells-alone", "the whole photo and its cells, no detections", Sight(regions=cells)),
        blind_to("one-view", "photos as they are, no other views", Sight(views=1)),
        blind_to("no-source", "never told which data set a photo is of", Sight(source=False)),
        Arm("all at hand", "all losses, words from a teacher that knows the photos", plain.seed, (at_hand,)),
    ]
