"""`photos`: the default bundle by the whole procedure, from photos with people's captions and questions.

Beyond the paper: tags from a concept head, pre-training on texts, members of a teacher that each leave out a part of
the photos, so that what they say of it is no memory, and self-critical training at the end.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from functools import partial
from pathlib import Path

from distillvlm.data.folds import fold_of
from distillvlm.data.records import Record, of_split
from distillvlm.data.region_store import RegionStore
from distillvlm.data.soft_targets import SoftTargets
from distillvlm.data.text_batches import Kind as TextKind
from distillvlm.data.text_sources import caption_source
from distillvlm.engine.trainer import Batches, Schedule
from distillvlm.evaluation.captions import cider_d, tokenize
from distillvlm.evaluation.predictions import BeamSettings, answer_questions, caption_photos
from distillvlm.evaluation.report import captioned, evaluate, markdown
from distillvlm.evaluation.results import write_vqa_results
from distillvlm.export.manifest import Decoding, ManifestFacts, Source
from distillvlm.export.storage import Storage
from distillvlm.modeling.vision_language import VisionLanguageModel
from distillvlm.recipes.bundles import export, parity, provenance
from distillvlm.recipes.language import (
    ModelSize,
    TextMix,
    begin,
    caption_texts,
    finetuning_batches,
    load_for_inference,
    load_model,
    new_model,
    pretraining_batches,
    question_texts,
    scst_mix,
    train_scst,
)
from distillvlm.recipes.lessons import train_lesson
from distillvlm.recipes.photos.lessons import PhotoLesson, Steps, student_lessons, teacher_lessons
from distillvlm.recipes.photos.material import PhotosMaterial
from distillvlm.recipes.pipeline import Stage, settings_of
from distillvlm.recipes.soft_targets import soft_targets_of
from distillvlm.tasks.distillation import DistillationSettings
from distillvlm.tasks.scst import ScstSettings

SOFT: tuple[TextKind, ...] = ("captions", "questions")
LENGTH_PENALTIES = (0.6, 0.8, 1.0, 1.2)


@dataclass(frozen=True, kw_only=True)
class PhotosRecipe(PhotosMaterial):
    """batches: photos and texts of a batch of each kind. shares: of a fine-tuning's steps with captions, with questions
    on photos and with questions without. members: of the teacher; each leaves out a fold of the training photos.
    minutes: what the stages that a pattern names take on two cores, about."""

    bundle: Path
    version: str
    licence: str
    sources: tuple[Source, ...]
    student: ModelSize
    teacher: ModelSize
    batches: TextMix
    shares: tuple[float, float, float]
    teacher_steps: Steps
    adaptation_steps: Steps
    student_steps: Steps
    scst_steps: int
    polluted_share: float = 0.25
    pretraining_losses: DistillationSettings = field(default_factory=DistillationSettings)
    finetuning_losses: DistillationSettings = field(default_factory=DistillationSettings)
    scst: ScstSettings = field(default_factory=ScstSettings)
    minutes: Mapping[str, float] = field(default_factory=dict)

    def stages(self) -> list[Stage]:
        return [replace(stage, seconds=60 * self._minutes_of(stage.name)) for stage in self._stages()]

    def _minutes_of(self, name: str) -> float:
        return next((minutes for pattern, minutes in self.minutes.items() if fnmatch(name, pattern)), 0.0)

    def _stages(self) -> list[Stage]:
        return [
            *super().stages(),
            *map(self._stage_of, teacher_lessons(self.teacher_steps, self.adaptation_steps, self.members)),
            *self._soft_stages(),
            *map(self._stage_of, student_lessons(self.student_steps, self.scst_steps)),
            Stage("decoding", "length penalty, on validation photos", self.choose_decoding, after=("student-scst",)),
            Stage(
                "evaluation",
                "validation figures of the PyTorch models",
                self.evaluate,
                after=("decoding", "adapted-0", "blind"),
            ),
            Stage("bundle", f"writes {self.bundle}", self.make_bundle, after=("decoding",)),
            Stage("parity", "bundle against PyTorch on 100 validation photos", self.check_bundle, after=("bundle",)),
            Stage(
                "storages",
                "the bundle with weights in fp32 and in int8, for `benchmarks/storage.py`",
                self.store_otherwise,
                after=("decoding",),
            ),
        ]

    @property
    def members(self) -> int:
        """As many as the concept heads' folds: a photo's tags and its teacher come from models that left it out."""
        return self.concepts.folds

    def _stage_of(self, lesson: PhotoLesson) -> Stage:
        names = [lesson.who, "batches", "shares", "polluted_share"]
        names += ["pretraining_losses", "finetuning_losses"] if lesson.taught_by else []
        names += ["scst"] if lesson.kind == "scst" else []
        settings = {"lesson": lesson, **settings_of(self, *names)}
        soft = tuple(f"soft-{kind}" for kind in SOFT) if lesson.soft else ()
        shared = ("shared-regions",) if lesson.taught_by else ()
        after = ("concepts", lesson.regions, *shared, *filter(None, (lesson.begins, lesson.taught_by)), *soft)
        return Stage(lesson.stage, lesson.about, partial(self.learn, lesson), settings, parallel=True, after=after)

    def _soft_stages(self) -> Iterator[Stage]:
        for kind in SOFT:
            about = f"what adapted members say of the {kind} of photos that they have not seen"
            adapted = tuple(f"adapted-{fold}" for fold in range(self.members))
            run = partial(self.write_soft, kind)
            yield Stage(f"soft-{kind}", about, run, after=("concepts", "shared-regions", *adapted))

    # -- language -------------------------------------------------------------------------------------------------
    def learn(self, lesson: PhotoLesson, folder: Path) -> dict[str, object]:
        store, before = self.store(lesson.regions), self.folder / lesson.begins if lesson.begins else None
        model = begin(self.new_model(lesson.who), store, before)
        batches = self.batches_of(lesson, store)
        assert lesson.rate is not None
        schedule = Schedule(lesson.steps, lesson.rate, ema_decay=0.998, share_steps=50 if lesson.taught_by else 0)
        if lesson.kind == "scst":
            return train_scst(model, self.training, self.words, self.scst, batches, schedule, folder, self.seed)
        teacher = load_model(self.new_model("teacher"), self.folder / lesson.taught_by) if lesson.taught_by else None
        losses = self.pretraining_losses if lesson.kind == "pretraining" else self.finetuning_losses
        return train_lesson(lesson, model, teacher, losses, batches, schedule, folder, self.seed)

    def batches_of(self, lesson: PhotoLesson, store: RegionStore) -> Batches:
        records = [record for record in self.training if not self._is_left_out(record, lesson)]
        teacher_store = self.store("shared-regions") if lesson.taught_by else None
        mix = self.batches
        if lesson.kind == "pretraining":
            captions = caption_source(
                records, self.words.tokenizer, mix.max_caption_tokens, allowed=self.words.caption_rows
            )
            return pretraining_batches(
                [captions],
                self.words,
                mix.captions,
                lesson.steps,
                self.polluted_share,
                self.seed,
                store,
                teacher_store,
            )
        if lesson.kind == "texts":
            mix = replace(mix, described_steps=lesson.steps)
        else:
            said, asked = (round(share * lesson.steps) for share in self.shares[:2])
            mix = replace(mix, caption_steps=said, question_steps=asked, unseen_steps=lesson.steps - said - asked)
        if lesson.kind == "scst":
            mix = scst_mix(mix)
        soft = {kind: SoftTargets(self.folder / f"soft-{kind}") for kind in SOFT} if lesson.soft else {}
        return finetuning_batches(
            records,
            self.words,
            mix,
            self.seed,
            store,
            teacher_store,
            unseen=self.text_questions,
            described=self.texts,
            soft=soft,
            confusion=self.confusion,
            sources=self.source_tags,
        )

    def _is_left_out(self, record: Record, lesson: PhotoLesson) -> bool:
        return lesson.left_out is not None and fold_of(record.photo_id, self.members) == lesson.left_out

    def write_soft(self, kind: TextKind, folder: Path) -> dict[str, object]:
        texts = caption_texts if kind == "captions" else question_texts
        pool = texts(self.training, self.words, self.batches)
        assert pool.photo_ids is not None
        adapted = [self.folder / f"adapted-{fold}" for fold in range(self.members)]
        teachers = [load_for_inference(self.new_model("teacher"), one) for one in adapted]
        folds = [fold_of(photo_id, self.members) for photo_id in pool.photo_ids]
        soft = soft_targets_of(teachers, folds, pool, self.words, self.store("shared-regions"), folder)
        return {"texts": len(soft)}

    def new_model(self, who: str) -> VisionLanguageModel:
        size, regions = (self.student, "student-regions") if who == "student" else (self.teacher, "shared-regions")
        return new_model(size, self.words, self.store(regions).feature_size, self.seed)

    # -- results --------------------------------------------------------------------------------------------------
    @property
    def validation(self) -> list[Record]:
        return of_split(self.records, "val")

    def trained_student(self) -> VisionLanguageModel:
        return load_model(self.new_model("student"), self.folder / "student-scst")

    def choose_decoding(self, folder: Path) -> dict[str, object]:
        """The length penalty with the best CIDEr-D over all validation photos."""
        student = load_for_inference(self.new_model("student"), self.folder / "student-scst")
        store = self.store("student-regions")
        references = tokenize({record.photo_id: record.captions for record in captioned(self.validation)})
        found = {}
        for penalty in LENGTH_PENALTIES:
            said = caption_photos(student, store, list(references), self.words, BeamSettings(length_penalty=penalty))
            spoken = tokenize({photo_id: [caption] for photo_id, caption in said.items()})
            found[penalty] = float(cider_d(spoken, references).mean())
        return {"length_penalty": max(found, key=found.__getitem__), "CIDEr-D": found}

    @property
    def beam(self) -> BeamSettings:
        chosen = json.loads((self.folder / "decoding" / "done.json").read_text())
        return BeamSettings(length_penalty=chosen["length_penalty"])

    def evaluate(self, folder: Path) -> dict[str, object]:
        """Captions of the adapted teacher and the student before and after SCST; a full report of the last."""
        photo_ids = [record.photo_id for record in captioned(self.validation)]
        student = load_for_inference(self.new_model("student"), self.folder / "blind")
        blind = answer_questions(student, None, self.validation, self.words)
        for source, given in blind.items():
            write_vqa_results(folder / f"blind-{source}.json", given)
        facts: dict[str, object] = {}
        for stage, who, regions in (
            ("adapted-0", "teacher", "shared-regions"),
            ("student", "student", "student-regions"),
            ("student-scst", "student", "student-regions"),
        ):
            model, store = load_for_inference(self.new_model(who), self.folder / stage), self.store(regions)
            said = caption_photos(model, store, photo_ids, self.words, self.beam)
            answers = answer_questions(model, store, self.validation, self.words)
            report = evaluate(self.validation, self.training, said, answers, blind)
            (folder / f"{stage}.json").write_text(json.dumps(report, indent=1))
            (folder / f"{stage}.md").write_text(markdown(report))
            facts[stage] = {source: row["CIDEr-D"]["value"] for source, row in report["captions"].items()}
        return facts

    def make_bundle(self, folder: Path) -> dict[str, object]:
        """Without metrics: `python -m distillvlm measure` takes them through the server and writes them."""
        return export(self.bundle, self.detector, self.trained_student(), self.words, self._facts(self.bundle.name))

    def store_otherwise(self, folder: Path) -> dict[str, object]:
        student, name = self.trained_student(), self.bundle.name
        storages: tuple[Storage, ...] = ("fp32", "int8")
        return {
            one: export(folder / one, self.detector, student, self.words, self._facts(f"{name}-{one}"), one)
            for one in storages
        }

    def _facts(self, name: str) -> ManifestFacts:
        return ManifestFacts(
            name=name,
            version=self.version,
            licence=self.licence,
            provenance=provenance(
                self.folder.name, self.seed, self.sources, f"{self.teacher}, adapted to the student's boxes"
            ),
            decoding=Decoding(length_penalty=self.beam.length_penalty),
        )

    def check_bundle(self, folder: Path) -> dict[str, object]:
        chosen = [record for record in self.validation if record.questions][:100]
        return parity(self.bundle, self.detector, self.trained_student(), chosen, folder)
