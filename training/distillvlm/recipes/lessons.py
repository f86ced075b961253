"""One training of a vision-language model within a recipe."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from distillvlm.engine.trainer import Batches, Schedule
from distillvlm.modeling.vision_language import VisionLanguageModel
from distillvlm.recipes.language import distil, train_alone
from distillvlm.tasks.distillation import DistillationSettings
from distillvlm.tasks.language import LanguageObjective
from distillvlm.tasks.objective import Objective
from distillvlm.tasks.pretraining import PretrainingObjective

SHARE_STEPS = 50
"""Over which each loss's share of the gradient is averaged where a teacher teaches, see `Schedule`."""

Who = Literal["teacher", "student"]
Kind = Literal["texts", "pretraining", "finetuning", "scst"]
OBJECTIVES: dict[Kind, Objective] = {
    "texts": LanguageObjective(),
    "pretraining": PretrainingObjective(),
    "finetuning": LanguageObjective(),
}
"""Where a recipe names none. Captions are learnt with OSCAR's label smoothing, 0.1."""


@dataclass(frozen=True)
class Lesson:
    """One training.

    stage: its name and folder. regions: the store it sees; of kind "texts" nothing but the tags that texts tell of.
    begins: the stage whose weights it starts from. rate: None for the recipe's. taught_by: the stage of the frozen
    teacher, which sees its own features at the student's boxes. captions_of: the stage that wrote a teacher's captions,
    which are learnt beside people's.
    """

    stage: str
    who: Who
    kind: Kind
    regions: str
    steps: int
    begins: str | None = None
    rate: float | None = None
    taught_by: str | None = None
    captions_of: str | None = None
    blind: bool = False

    @property
    def about(self) -> str:
        taught = f", distilled from {self.taught_by}" if self.taught_by else ""
        captions = f", with captions of {self.captions_of}" if self.captions_of else ""
        seen = "nothing" if self.blind else "tags" if self.kind == "texts" else self.regions
        return f"{self.who}: {self.kind} on {seen}{taught}{captions}, {self.steps} steps"

    @property
    def losses(self) -> str:
        """The recipe's setting that weighs what a teacher teaches."""
        return "pretraining_losses" if self.kind == "pretraining" else "finetuning_losses"


def train_lesson(
    lesson: Lesson,
    model: VisionLanguageModel,
    teacher: VisionLanguageModel | None,
    distillation: DistillationSettings,
    batches: Batches,
    schedule: Schedule,
    folder: Path,
    seed: int,
    objective: Objective | None = None,
) -> dict[str, object]:
    """Trains a lesson's model, from a frozen teacher where there is one; returns parameters and last losses.

    objective: None for that of the lesson's kind. Lessons of kind "scst" are trained by `train_scst`.
    """
    objective = objective or OBJECTIVES[lesson.kind]
    if teacher is None:
        return train_alone(model, objective, batches, schedule, folder, seed, lesson.blind)
    # The words' distribution is distilled in fine-tuning only, as in the paper.
    settings = distillation if lesson.kind == "finetuning" else replace(distillation, classification=0.0)
    return distil(model, teacher, objective, settings, batches, schedule, folder, seed)
