"""The paper's whole procedure on generated scenes; `smoke` is small enough for every build.

1. Two detectors; the student's is small, the teacher's has a larger backbone and sees more pixels.
2. The teacher is pre-trained and fine-tuned on the regions of its own detector.
3. It is adapted, for each of the two objectives, to the student's boxes with its own features there, and frozen.
4. The student learns in both stages from people's words and from the adapted teacher's inner states.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import numpy as np

from distillvlm.data.records import Record, of_split
from distillvlm.data.region_store import RegionStore
from distillvlm.data.scenes import Difficulty, load_scenes, write_scenes
from distillvlm.data.scenes.files import SOURCE
from distillvlm.data.text_sources import caption_source
from distillvlm.data.words import Words, collect_words
from distillvlm.engine.trainer import Batches, Schedule
from distillvlm.evaluation.captions import cider_d, tokenize
from distillvlm.evaluation.predictions import answer_questions, caption_photos
from distillvlm.evaluation.report import Answers, evaluate, markdown
from distillvlm.evaluation.vqa import build_answer_vocabulary, vqa_scores
from distillvlm.export.manifest import ManifestFacts, Metric, Source
from distillvlm.modeling.detector import Detector, DetectorConfig
from distillvlm.modeling.vision_language import VisionLanguageModel
from distillvlm.recipes.bundles import export, parity, provenance
from distillvlm.recipes.detectors import load_detector, own_regions, regions_at_boxes_of, train_detector
from distillvlm.recipes.language import (
    ModelSize,
    TextMix,
    distil,
    finetuning_batches,
    load_model,
    new_model,
    pretraining_batches,
    train_alone,
)
from distillvlm.recipes.margins import Margins, measure_margins
from distillvlm.recipes.pipeline import Stage, settings_of
from distillvlm.tasks.distillation import DistillationSettings
from distillvlm.tasks.language import LanguageObjective
from distillvlm.tasks.objective import Objective
from distillvlm.tasks.pretraining import PretrainingObjective

Who = Literal["teacher", "student"]
OBJECTIVES: dict[str, Objective] = {"pretraining": PretrainingObjective(), "finetuning": LanguageObjective()}
STUDENT = "student"
MARGINS = Margins(points=15.0, factor=1.2)  # what every build checks; twice the CIDEr-D is the aim, not yet reached
TEACHER = "a larger transformer of this recipe, adapted to the student's boxes"
SOURCES = (
    Source("Generated scenes", "data", "all training", "Apache-2.0, drawn by this project"),
    Source("EfficientNet-Lite", "weights", "backbones of the detectors", "Apache-2.0, ImageNet"),
)
# Which model is measured on which regions: the teacher loses on the student's boxes, and adaptation brings it back.
EVALUATED: tuple[tuple[str, Who, str], ...] = (
    ("teacher", "teacher", "teacher-regions"),
    ("teacher", "teacher", "shared-regions"),
    ("adapted", "teacher", "shared-regions"),
    (STUDENT, "student", "student-regions"),
)


@dataclass(frozen=True)
class DetectorRecipe:
    """A detector but for its labels, and how it is trained."""

    backbone: str
    pretrained: str | None
    image_size: tuple[int, int]
    pyramid_channels: int
    head_size: int
    steps: int
    batch_size: int
    learning_rate: float
    anchor_scales: tuple[float, ...]


@dataclass(frozen=True)
class Lesson:
    """One training of a vision-language model.

    stage: its name and folder. regions: the store it sees. begins: the stage whose weights it starts from. rate: None
    for the recipe's. taught_by: the stage of the frozen teacher, which sees its own features at the student's boxes.
    """

    stage: str
    who: Who
    kind: Literal["pretraining", "finetuning"]
    regions: str
    steps: int
    begins: str | None = None
    rate: float | None = None
    taught_by: str | None = None
    blind: bool = False

    @property
    def about(self) -> str:
        taught = f", distilled from {self.taught_by}" if self.taught_by else ""
        return f"{self.who}: {self.kind} on {'nothing' if self.blind else self.regions}{taught}, {self.steps} steps"


def train_lesson(
    lesson: Lesson,
    model: VisionLanguageModel,
    teacher: VisionLanguageModel | None,
    distillation: DistillationSettings,
    batches: Batches,
    schedule: Schedule,
    folder: Path,
    seed: int,
) -> dict[str, object]:
    """Trains a lesson's model, from a frozen teacher where there is one; returns parameters and last losses."""
    objective = OBJECTIVES[lesson.kind]
    if teacher is None:
        return train_alone(model, objective, batches, schedule, folder, seed, lesson.blind)
    # The words' distribution is distilled in fine-tuning only, as in the paper.
    settings = distillation if lesson.kind == "finetuning" else replace(distillation, classification=0.0)
    return distil(model, teacher, objective, settings, batches, schedule, folder, seed)


@dataclass(frozen=True)
class ScenesRecipe:
    """Settings of a run on generated scenes. Steps of language trainings: (pre-training, fine-tuning)."""

    folder: Path
    bundle: Path
    difficulty: Difficulty
    counts: dict[str, int]
    image_size: tuple[int, int]
    student_detector: DetectorRecipe
    teacher_detector: DetectorRecipe
    student: ModelSize
    teacher: ModelSize
    grid: int
    num_regions: int
    num_tags: int
    captions: tuple[int, int]
    questions: tuple[int, int]
    teacher_steps: tuple[int, int]
    adaptation_steps: tuple[int, int]
    student_steps: tuple[int, int]
    learning_rate: float
    adaptation_rate: float
    polluted_share: float = 0.5  # OSCAR's
    margins: Margins = MARGINS
    distillation: DistillationSettings = field(default_factory=DistillationSettings)
    seed: int = 7

    def stages(self) -> list[Stage]:
        return [
            Stage(
                "scenes",
                f"draws {sum(self.counts.values())} scenes",
                self.make_scenes,
                settings_of(self, "seed", "difficulty", "counts", "image_size"),
            ),
            Stage("words", "vocabulary, tags and answers", self.make_words),
            Stage(
                "student-detector",
                self._about(self.student_detector),
                self.make_student_detector,
                settings_of(self, "student_detector", "grid", "num_regions", "num_tags"),
            ),
            Stage(
                "teacher-detector",
                self._about(self.teacher_detector),
                self.make_teacher_detector,
                settings_of(self, "teacher_detector"),
            ),
            Stage("student-regions", "the student's boxes, with its features", self.make_student_regions),
            Stage("teacher-regions", "the teacher's boxes, with its features", self.make_teacher_regions),
            Stage("shared-regions", "the student's boxes, with the teacher's features", self.make_shared_regions),
            *(
                Stage(lesson.stage, lesson.about, partial(self.learn, lesson), self._learnt_with(lesson))
                for lesson in self.lessons()
            ),
            Stage("evaluation", "test scenes: new compositions", self.evaluate),
            Stage(
                "margins",
                "student against blind, majority and nearest neighbour",
                self.check_margins,
                settings_of(self, "margins"),
            ),
            Stage("bundle", f"writes {self.bundle}", self.make_bundle),
            Stage("parity", "bundle against PyTorch on 100 test scenes", self.check_bundle),
        ]

    def _learnt_with(self, lesson: Lesson) -> dict[str, object]:
        names = (lesson.who, "captions", "questions", "learning_rate", "polluted_share", "distillation")
        return {"lesson": lesson, **settings_of(self, *names)}

    @staticmethod
    def _about(detector: DetectorRecipe) -> str:
        return f"{detector.backbone} at {detector.image_size[0]} px, {detector.steps} steps of {detector.batch_size}"

    # -- data -----------------------------------------------------------------------------------------------------
    def make_scenes(self, folder: Path) -> dict[str, object]:
        write_scenes(folder / "files", self.difficulty, self.counts, self.image_size, self.seed)
        return {"scenes": len(self.records)}

    @cached_property
    def records(self) -> list[Record]:
        return load_scenes(self.folder / "scenes" / "files")

    @cached_property
    def training(self) -> list[Record]:
        return of_split(self.records, "train")

    def make_words(self, folder: Path) -> dict[str, object]:
        questions = [question for record in self.training for question in record.questions]
        captions = [caption for record in self.training for caption in record.captions]
        answers = build_answer_vocabulary(questions, min_count=1)
        words = collect_words(captions, [question.text for question in questions], self.labels, answers, min_count=1)
        words.save(folder / "words.json")
        return {"vocabulary": len(words.vocabulary), "answers": len(answers)}

    @cached_property
    def words(self) -> Words:
        return Words.load(self.folder / "words" / "words.json")

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return tuple(sorted({box.label for record in self.training for box in record.objects}))

    @cached_property
    def attributes(self) -> tuple[str, ...]:
        return tuple(sorted({name for record in self.training for box in record.objects for name in box.attributes}))

    # -- detectors and regions ------------------------------------------------------------------------------------
    def detector_config(self, recipe: DetectorRecipe) -> DetectorConfig:
        return DetectorConfig(
            labels=self.labels,
            attributes=self.attributes,
            backbone=recipe.backbone,
            pretrained=recipe.pretrained,
            image_size=recipe.image_size,
            pyramid_channels=recipe.pyramid_channels,
            pyramid_layers=1,
            anchor_scales=recipe.anchor_scales,
            head_size=recipe.head_size,
            semantic_head=True,
            semantic_norm=True,
            grid=self.grid,
            num_regions=self.num_regions,
            pool_backbone=True,
            num_tags=self.num_tags,
        )

    def _train_detector(self, recipe: DetectorRecipe, folder: Path) -> dict[str, object]:
        schedule = Schedule(recipe.steps, recipe.learning_rate, weight_decay=1e-4)
        config = self.detector_config(recipe)
        train_detector(config, self.training, schedule, recipe.batch_size, folder, self.seed)
        return {"photos": recipe.steps * recipe.batch_size}

    def make_student_detector(self, folder: Path) -> dict[str, object]:
        return self._train_detector(self.student_detector, folder)

    def make_teacher_detector(self, folder: Path) -> dict[str, object]:
        return self._train_detector(self.teacher_detector, folder)

    def detector(self, stage: str, recipe: DetectorRecipe) -> Detector:
        return load_detector(self.detector_config(recipe), self.folder / stage)

    def make_student_regions(self, folder: Path) -> dict[str, object]:
        detector = self.detector("student-detector", self.student_detector)
        return _facts(own_regions(detector, self.records, folder, views=1, label=folder.name))

    def make_teacher_regions(self, folder: Path) -> dict[str, object]:
        detector = self.detector("teacher-detector", self.teacher_detector)
        return _facts(own_regions(detector, self.records, folder, views=1, label=folder.name))

    def make_shared_regions(self, folder: Path) -> dict[str, object]:
        detector = self.detector("teacher-detector", self.teacher_detector)
        return _facts(regions_at_boxes_of(detector, self.store("student-regions"), self.records, folder, folder.name))

    def store(self, stage: str) -> RegionStore:
        return RegionStore(self.folder / stage)

    # -- language -------------------------------------------------------------------------------------------------
    def lessons(self) -> list[Lesson]:
        """The procedure of the paper, in its order."""
        teach, adapt, distil_ = self.teacher_steps, self.adaptation_steps, self.student_steps
        slow = self.adaptation_rate
        return [
            Lesson("teacher-pretraining", "teacher", "pretraining", "teacher-regions", teach[0]),
            Lesson("teacher", "teacher", "finetuning", "teacher-regions", teach[1], "teacher-pretraining"),
            Lesson(
                "adapted-pretraining", "teacher", "pretraining", "shared-regions", adapt[0], "teacher-pretraining", slow
            ),
            Lesson("adapted", "teacher", "finetuning", "shared-regions", adapt[1], "teacher", slow),
            Lesson(
                "student-pretraining",
                "student",
                "pretraining",
                "student-regions",
                distil_[0],
                taught_by="adapted-pretraining",
            ),
            Lesson(
                "student",
                "student",
                "finetuning",
                "student-regions",
                distil_[1],
                "student-pretraining",
                taught_by="adapted",
            ),
            Lesson("blind", "student", "finetuning", "student-regions", distil_[1], blind=True),
        ]

    def learn(self, lesson: Lesson, folder: Path) -> dict[str, object]:
        model = self.new_model(lesson.who)
        if lesson.begins is not None:
            load_model(model, self.folder / lesson.begins)
        shared = self.store("shared-regions") if lesson.taught_by else None
        batches = self.batches(lesson, self.store(lesson.regions), shared)
        schedule = Schedule(lesson.steps, lesson.rate or self.learning_rate)
        teacher = load_model(self.new_model("teacher"), self.folder / lesson.taught_by) if lesson.taught_by else None
        return train_lesson(lesson, model, teacher, self.distillation, batches, schedule, folder, self.seed)

    def batches(self, lesson: Lesson, store: RegionStore, teacher_store: RegionStore | None) -> Batches:
        if lesson.kind == "pretraining":
            share = self.polluted_share
            captions = caption_source(self.training, self.words.tokenizer, TextMix.max_caption_tokens)
            return pretraining_batches(
                [captions], self.words, self.captions, lesson.steps, share, self.seed, store, teacher_store
            )
        caption_steps = lesson.steps * 3 // 5
        mix = TextMix(self.captions, self.questions, caption_steps, lesson.steps - caption_steps)
        return finetuning_batches(self.training, self.words, mix, self.seed, store, teacher_store)

    def new_model(self, who: Who) -> VisionLanguageModel:
        size, regions = (self.student, "student-regions") if who == "student" else (self.teacher, "shared-regions")
        return new_model(size, self.words, self.store(regions).feature_size, self.seed)

    # -- results --------------------------------------------------------------------------------------------------
    def evaluate(self, folder: Path) -> dict[str, object]:
        """Student and teachers on the test scenes, whose compositions are new; a full report of the student."""
        test = of_split(self.records, "test")
        photo_ids = [record.photo_id for record in test]
        references = tokenize({record.photo_id: record.captions for record in test})
        questions = [question for record in test for question in record.questions]
        facts: dict[str, object] = {}
        for stage, who, regions in EVALUATED:
            model, store = load_model(self.new_model(who), self.folder / stage), self.store(regions)
            captions = caption_photos(model, store, photo_ids, self.words)
            answers = answer_questions(model, store, test, self.words)
            said = tokenize({photo_id: [caption] for photo_id, caption in captions.items()})
            accuracy = np.mean(vqa_scores(questions, answers[SOURCE]).of_question)
            figures = {"CIDEr-D": float(cider_d(said, references).mean()), "VQA": 100 * float(accuracy)}
            facts[f"{stage} on {regions}"] = figures
            if stage == STUDENT:
                self._report(folder, test, captions, answers)
        return facts

    def _report(self, folder: Path, test: list[Record], captions: dict[str, str], answers: Answers) -> None:
        blind = load_model(self.new_model("student"), self.folder / "blind")
        report = evaluate(test, self.training, captions, answers, answer_questions(blind, None, test, self.words))
        (folder / "report.json").write_text(json.dumps(report, indent=1))
        (folder / "report.md").write_text(markdown(report))

    def check_margins(self, folder: Path) -> dict[str, object]:
        """
        Raises:
            ValueError: the student is not ahead of what is blind, or of a copied caption, by what `margins` says.
        """
        report = json.loads((self.folder / "evaluation" / "report.json").read_text())
        blind = load_model(self.new_model("student"), self.folder / "blind")
        found = measure_margins(self.records, self.store("student-regions"), blind, self.words, report)
        if found.points < self.margins.points or found.factor < self.margins.factor:
            raise ValueError(f"margins: expected at least {self.margins} but got {found}")
        return asdict(found)

    def make_bundle(self, folder: Path) -> dict[str, object]:
        measured = json.loads((self.folder / "evaluation" / "done.json").read_text())
        scores = measured[f"{STUDENT} on student-regions"]
        test = of_split(self.records, "test")
        counts = {"CIDEr-D": len(test), "VQA": sum(len(record.questions) for record in test)}
        method = "PyTorch, beam 5, test scenes with new compositions of category and colour"
        facts = ManifestFacts(
            name=self.folder.name,
            version="1.0.0",
            licence="Apache-2.0",
            provenance=provenance(
                self.folder.name, self.seed, SOURCES, f"{self.teacher}, adapted to the student's boxes"
            ),
            metrics=tuple(Metric(name, value, "scenes", counts[name], method) for name, value in scores.items()),
        )
        return export(self.bundle, self.student_detector_module, self.student_module, self.words, facts)

    def check_bundle(self, folder: Path) -> dict[str, object]:
        chosen = of_split(self.records, "test")[:100]
        return parity(self.bundle, self.student_detector_module, self.student_module, chosen, folder)

    @property
    def student_detector_module(self) -> Detector:
        return self.detector("student-detector", self.student_detector)

    @property
    def student_module(self) -> VisionLanguageModel:
        return load_model(self.new_model("student"), self.folder / STUDENT)


def _facts(store: RegionStore) -> dict[str, object]:
    return {"photos": len(store.photo_ids), "feature size": store.feature_size}
