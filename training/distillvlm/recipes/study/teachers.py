"""The study's teachers: on their own boxes, adapted to the student's, and a control; what both halves measure by."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from distillvlm.data.records import Record, Split, of_split
from distillvlm.data.region_store import RegionStore
from distillvlm.data.text_sources import caption_source
from distillvlm.engine.trainer import Batches, Schedule
from distillvlm.evaluation.captions import tokenized_references
from distillvlm.modeling.vision_language import VisionLanguageModel
from distillvlm.recipes.language import (
    ModelSize,
    TextMix,
    begin,
    finetuning_batches,
    load_for_inference,
    new_model,
    pretraining_batches,
    scst_mix,
)
from distillvlm.recipes.lessons import Kind, Lesson, train_lesson
from distillvlm.recipes.pipeline import Stage, settings_of
from distillvlm.recipes.scene_material import SceneMaterial
from distillvlm.recipes.study.costs import TEACHER_EVALUATION, TEACHER_STEP
from distillvlm.recipes.study.scores import Said, read_scores, score, write_scores
from distillvlm.tasks.distillation import DistillationSettings
from distillvlm.tasks.language import LanguageObjective

SPLITS: tuple[Split, ...] = ("val", "test")

SCST_QUESTION_SHARE = 0.2  # of the steps, so that answers are not forgotten


@dataclass(frozen=True, kw_only=True)
class StudyTeachers(SceneMaterial):
    """Training scenes beyond the annotated ones serve the gate alone.

    teacher_batch: photos of a batch, questions of each; a scene has one caption. Steps: (pre-training, fine-tuning).
    question_share: of a fine-tuning's steps; captions have the rest. teachers: how many are trained. teacher_smoothing:
    of words in fine-tuning.
    """

    teacher: ModelSize
    teacher_batch: tuple[int, int]
    teacher_steps: tuple[int, int]
    adaptation_steps: tuple[int, int]
    teacher_rate: float
    adaptation_rate: float
    teachers: int
    teacher_dropout: float = 0.0
    teacher_smoothing: float = 0.0
    polluted_share: float = 0.5
    question_share: float = 0.5

    def teacher_stages(self, number: int) -> Iterator[Stage]:
        for lesson in self.lessons(number):
            names = ("polluted_share", "question_share", "teacher_dropout", "teacher_smoothing")
            settings = {"lesson": lesson, **settings_of(self, "teacher", "teacher_batch", "teacher_rate", *names)}
            seconds = TEACHER_STEP * lesson.steps
            run = partial(self.learn, lesson, number)
            yield Stage(
                lesson.stage,
                lesson.about,
                run,
                settings,
                parallel=True,
                seconds=seconds,
                after=(lesson.begins or "shared-regions",),
            )
        run = partial(self.evaluate_teacher, number)
        yield Stage(
            f"teacher-{number}-evaluation",
            "on validation and test",
            run,
            seconds=5 * TEACHER_EVALUATION,
            after=(f"adapted-{number}", f"control-{number}"),
        )

    # -- teachers -------------------------------------------------------------------------------------------------
    def lessons(self, number: int) -> list[Lesson]:
        """A teacher on its own boxes, then the same adapted to the student's, and a control that goes on as before."""
        first, adapt, rate = self.teacher_steps, self.adaptation_steps, self.adaptation_rate
        name = f"teacher-{number}"
        begins = f"{name}-pretraining"
        lessons = [
            Lesson(begins, "teacher", "pretraining", "teacher-regions", first[0]),
            Lesson(name, "teacher", "finetuning", "teacher-regions", first[1], begins),
        ]
        for who, regions in (("adapted", "shared-regions"), ("control", "teacher-regions")):
            other = f"{who}-{number}"
            lessons += [
                Lesson(f"{other}-pretraining", "teacher", "pretraining", regions, adapt[0], begins, rate),
                Lesson(other, "teacher", "finetuning", regions, adapt[1], name, rate),
            ]
        return lessons

    def learn(self, lesson: Lesson, number: int, folder: Path) -> dict[str, object]:
        store, before = self.store(lesson.regions), self.folder / lesson.begins if lesson.begins else None
        model = begin(self.new_teacher(number), before, store, self.training)
        batches = self.batches(lesson.kind, self.training, self.teacher_batch, lesson.steps, 100 + number, store, None)
        schedule = Schedule(lesson.steps, lesson.rate or self.teacher_rate)
        objective = LanguageObjective(self.teacher_smoothing) if lesson.kind == "finetuning" else None
        return train_lesson(lesson, model, None, DistillationSettings(), batches, schedule, folder, number, objective)

    def new_teacher(self, number: int) -> VisionLanguageModel:
        feature_size = self.store("shared-regions").feature_size
        return new_model(self.teacher, self.words, feature_size, number, self.teacher_dropout)

    def batches(
        self,
        kind: Kind,
        records: Sequence[Record],
        batch: tuple[int, int],
        steps: int,
        seed: int,
        store: RegionStore,
        shared: RegionStore | None,
    ) -> Batches:
        photos, questions = batch
        if kind == "pretraining":
            source = caption_source(
                records, self.words.tokenizer, TextMix.max_caption_tokens, allowed=self.words.caption_rows
            )
            share = self.polluted_share
            return pretraining_batches([source], self.words, (photos, 1), steps, share, seed, store, shared)
        asked = round((SCST_QUESTION_SHARE if kind == "scst" else self.question_share) * steps)
        mix = TextMix((photos, 1), (photos, questions), steps - asked, asked)
        mix = scst_mix(mix) if kind == "scst" else mix
        return finetuning_batches(records, self.words, mix, seed, store, shared)

    def evaluate_teacher(self, number: int, folder: Path) -> dict[str, object]:
        """On its own boxes, on the student's before adaptation and after, and the control on both."""
        cells = {
            "teacher": (f"teacher-{number}", "teacher-regions"),
            "teacher, student's boxes": (f"teacher-{number}", "shared-regions"),
            "adapted, student's boxes": (f"adapted-{number}", "shared-regions"),
            "control": (f"control-{number}", "teacher-regions"),
            "control, student's boxes": (f"control-{number}", "shared-regions"),
        }
        said = {
            name: Said(load_for_inference(self.new_teacher(number), self.folder / stage), self.store(regions))
            for name, (stage, regions) in cells.items()
        }
        return self._evaluate(said, folder)

    def _evaluate(self, said: dict[str, Said], folder: Path) -> dict[str, object]:
        """Scores that a cut-off evaluation has left are not made again."""
        facts: dict[str, object] = {}
        for split in SPLITS:
            records = of_split(self.records, split)
            references = tokenized_references(records)
            for name, each in said.items():
                path = folder / f"{name}.{split}.npz"
                if not path.exists():
                    write_scores(path, score(each, records, self.words, references))
                scores = read_scores(path).by_metric()
                facts[f"{name}, {split}"] = {metric: one.mean for metric, one in scores.items()}
        return facts
