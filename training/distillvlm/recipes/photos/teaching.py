"""What a student for photos is taught with: a teacher in several members, adapted to the student's boxes, and what it
says of photos that it has not seen.

Beyond the paper: pre-training on texts; members that each leave out a part of the photos, so that what they say of it
is no memory; sequence-level distillation.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

from distillvlm.data.folds import fold_of
from distillvlm.data.records import Record
from distillvlm.data.region_store import RegionStore
from distillvlm.data.soft_targets import SoftTargets
from distillvlm.data.text_batches import TextPool
from distillvlm.data.text_sources import caption_source
from distillvlm.engine.trainer import Batches
from distillvlm.evaluation.report import by_source
from distillvlm.evaluation.results import read_scored_captions
from distillvlm.modeling.vision_language import VisionLanguageModel
from distillvlm.recipes.consensus import Consensus
from distillvlm.recipes.language import (
    ModelSize,
    TextMix,
    asked_texts,
    begin,
    caption_texts,
    finetuning_batches,
    load_for_inference,
    load_model,
    new_model,
    pretraining_batches,
    question_texts,
    train_scst,
)
from distillvlm.recipes.lessons import train_lesson
from distillvlm.recipes.photos.lessons import PhotoLesson, Shares, Steps, teacher_lessons
from distillvlm.recipes.photos.material import PhotosMaterial, questions_of_people
from distillvlm.recipes.pipeline import Stage, settings_of
from distillvlm.recipes.soft_targets import soft_targets_of
from distillvlm.recipes.teacher_captions import FILE, write_teacher_captions
from distillvlm.tasks.distillation import DistillationSettings
from distillvlm.tasks.language import LanguageObjective
from distillvlm.tasks.scst import CaptionReward, ScstSettings

SOFT = {
    "captions": "people's captions",
    "questions": "all questions",
    "asked": "people's questions",
    "spoken": "the teacher's captions",
}
"""Texts of which a teacher says beforehand what is likely."""


@dataclass(frozen=True, kw_only=True)
class PhotosTeaching(PhotosMaterial):
    """batches: photos and texts of a batch of each kind. shares: of a fine-tuning's steps. members: of the teacher;
    each leaves out a fold of the training photos. samples: captions of a photo that its teacher draws, at `temperature`
    (see `Consensus`). dropout, smoothing: in training, of words where captions are learnt; a teacher that has learnt
    smoothed words teaches less (the study's figures: training/README.md), and the student, small as it is, underfits
    with dropout."""

    student: ModelSize
    teacher: ModelSize
    batches: TextMix
    shares: Shares
    teacher_steps: Steps
    adaptation_steps: Steps
    student_steps: Steps
    samples: int
    temperature: float
    teacher_dropout: float
    teacher_smoothing: float
    student_dropout: float
    student_smoothing: float
    polluted_share: float = 0.25
    pretraining_losses: DistillationSettings = field(default_factory=DistillationSettings)
    finetuning_losses: DistillationSettings = field(default_factory=DistillationSettings)
    scst: ScstSettings = field(default_factory=ScstSettings)

    def _stages(self) -> list[Stage]:
        texts = PhotoLesson(
            "student-texts",
            "student",
            "texts",
            "student-regions",
            self.student_steps.texts,
            rate=self.student_steps.rate,
        )
        return [
            *super()._stages(),
            *map(self.stage_of, teacher_lessons(self.teacher_steps, self.adaptation_steps, self.members)),
            *self._spoken_stages(),
            self.stage_of(texts),
        ]

    @property
    def members(self) -> int:
        """As many as the concept heads' folds: a photo's tags and its teacher come from models that left it out."""
        return self.concepts.folds

    def stage_of(self, lesson: PhotoLesson) -> Stage:
        names = [lesson.who, f"{lesson.who}_dropout", f"{lesson.who}_smoothing", "batches", "shares", "polluted_share"]
        names += ["pretraining_losses", "finetuning_losses"] if lesson.taught_by else []
        names += ["scst"] if lesson.kind == "scst" else []
        settings = {"lesson": lesson, **settings_of(self, *names)}
        needed = ["tags", lesson.regions]
        needed += ["shared-regions"] if lesson.who == "teacher" or lesson.taught_by else []
        needed += [stage for stage in (lesson.begins, lesson.taught_by) if stage]
        needed += [f"soft-{name}" for name in self._soft_of(lesson)]
        needed += ["spoken"] if lesson.spoken else []
        run = partial(self.learn, lesson)
        return Stage(lesson.stage, lesson.about, run, settings, parallel=True, after=tuple(dict.fromkeys(needed)))

    def _spoken_stages(self) -> Iterator[Stage]:
        after = ("tags", "shared-regions", *(f"adapted-{fold}" for fold in range(self.members)))
        about = "captions by members of the teacher that have not seen the photo, chosen by consensus"
        yield Stage("spoken", about, self.write_spoken, settings_of(self, "samples", "temperature"), after=after)
        for name, texts in SOFT.items():
            about = f"what adapted members say of {texts} of photos that they have not seen"
            needed = (*after, "spoken") if name == "spoken" else after
            yield Stage(f"soft-{name}", about, partial(self.write_soft, name), after=needed)

    # -- trainings ------------------------------------------------------------------------------------------------
    def learn(self, lesson: PhotoLesson, folder: Path) -> dict[str, object]:
        store, seed = self.seen_in(lesson), self.seed if lesson.seed is None else lesson.seed
        before = self.at(lesson.begins) if lesson.begins else None
        model = begin(self.new_model(lesson.who, seed), before, store, self.training)
        batches = self.batches_of(lesson, store, seed)
        run = (batches, lesson.schedule, folder, seed)
        objective = LanguageObjective(self.teacher_smoothing if lesson.who == "teacher" else self.student_smoothing)
        if lesson.kind == "scst":
            return train_scst(model, self.training, self.words, self.scst, *run, objective=objective)
        teacher = load_model(self.new_model("teacher"), self.at(lesson.taught_by)) if lesson.taught_by else None
        if lesson.kind == "pretraining":
            return train_lesson(lesson, model, teacher, self.pretraining_losses, *run)
        return train_lesson(lesson, model, teacher, self.finetuning_losses, *run, objective)

    def seen_in(self, lesson: PhotoLesson) -> RegionStore:
        return lesson.sight.of(self.store(lesson.regions))

    def batches_of(self, lesson: PhotoLesson, store: RegionStore, seed: int) -> Batches:
        records = [record for record in self.training if not self._is_left_out(record, lesson)]
        teacher_store = self.store("shared-regions") if lesson.taught_by else None
        mix = self.batches
        if lesson.kind == "pretraining":
            captions = caption_source(
                records, self.words.tokenizer, mix.max_caption_tokens, allowed=self.words.caption_rows
            )
            steps, polluted = lesson.steps, self.polluted_share
            return pretraining_batches(
                [captions], self.words, mix.captions, steps, polluted, seed, store, teacher_store
            )
        texts = self.texts_of_others if lesson.who == "teacher" else self.texts
        return finetuning_batches(
            records,
            self.words,
            self.shares.divide(mix, lesson),
            seed,
            store,
            teacher_store,
            unseen=questions_of_people(texts),
            described=texts,
            spoken=self.spoken_records if lesson.spoken else (),
            soft={name: SoftTargets(self.at(f"soft-{name}")) for name in self._soft_of(lesson)},
            confusion=self.confusion,
            sources=self.source_tags,
        )

    def _soft_of(self, lesson: PhotoLesson) -> list[str]:
        return [name for name in SOFT if lesson.soft and (lesson.spoken or name != "spoken")]

    def _is_left_out(self, record: Record, lesson: PhotoLesson) -> bool:
        return lesson.left_out is not None and fold_of(record.photo_id, self.members) == lesson.left_out

    def new_model(self, who: str, seed: int | None = None) -> VisionLanguageModel:
        size, regions, dropout = (
            (self.student, "student-regions", self.student_dropout)
            if who == "student"
            else (self.teacher, "shared-regions", self.teacher_dropout)
        )
        seed = self.seed if seed is None else seed
        return new_model(size, self.words, self.store(regions).feature_size, seed, dropout)

    # -- what the teacher says beforehand -------------------------------------------------------------------------
    def adapted_members(self) -> list[VisionLanguageModel]:
        stages = [self.at(f"adapted-{fold}") for fold in range(self.members)]
        return [load_for_inference(self.new_model("teacher"), stage) for stage in stages]

    def write_spoken(self, folder: Path) -> dict[str, object]:
        """Captions of all training photos, those without people's among them."""
        photo_ids = [record.photo_id for record in self.training]
        reward = CaptionReward(self.words.tokenizer, [one.captions for one in self.training if one.captions])
        search = Consensus(
            self.adapted_members(),
            {photo_id: fold_of(photo_id, self.members) for photo_id in photo_ids},
            self.store("shared-regions"),
            self.words,
            reward,
            self.samples,
            self.seed,
            self.temperature,
        )
        counts: dict[str, object] = {}
        for source, group in by_source(self.training).items():
            found = write_teacher_captions(search, [one.photo_id for one in group], source, folder / source)
            counts[source] = len(found)
        return counts

    @property
    def spoken_records(self) -> list[Record]:
        """The training photos with the teacher's captions in place of people's."""
        return [
            replace(record, captions=tuple(each.caption for each in captions[record.photo_id]))
            for source, group in by_source(self.training).items()
            for captions in [read_scored_captions(self.at("spoken") / source / FILE, source)]
            for record in group
            if record.photo_id in captions
        ]

    def write_soft(self, name: str, folder: Path) -> dict[str, object]:
        pool = self._pool(name)
        assert pool.photo_ids is not None
        folds = [fold_of(photo_id, self.members) for photo_id in pool.photo_ids]
        store = self.store("shared-regions")
        soft = soft_targets_of(self.adapted_members(), folds, pool, self.words, store, folder)
        return {"texts": len(soft)}

    def _pool(self, name: str) -> TextPool:
        if name == "questions":
            return question_texts(self.training, self.words, self.batches)
        if name == "asked":
            return asked_texts(self.training, self.words, self.batches)
        spoken: Sequence[Record] = self.spoken_records if name == "spoken" else self.training
        return caption_texts(spoken, self.words, self.batches)
