"""`paper`: the procedure at the paper's size, on the public data sets, with OSCAR's settings.

Source: Fang et al. 2021, arXiv:2104.02096. It has been built and run with tiny sizes only.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from pathlib import Path

import torch

from distillvlm.data.records import Record, of_split
from distillvlm.data.region_store import RegionStore
from distillvlm.data.text_sources import mix_sources
from distillvlm.engine.trainer import Batches
from distillvlm.evaluation.predictions import answer_questions, caption_photos
from distillvlm.evaluation.report import evaluate, markdown
from distillvlm.evaluation.results import read_scored_captions, write_caption_results, write_vqa_results
from distillvlm.modeling.checkpoints import load_checkpoint, read_checkpoint
from distillvlm.modeling.vision_language import VisionLanguageConfig, VisionLanguageModel
from distillvlm.recipes.language import (
    ModelSize,
    TextMix,
    finetuning_batches,
    load_for_inference,
    load_model,
    model_config,
    parameters_of,
    pretraining_batches,
    scst_mix,
    train_scst,
)
from distillvlm.recipes.lessons import Who, train_lesson
from distillvlm.recipes.paper_data import COCO
from distillvlm.recipes.paper_layouts import LAYOUTS, OSCAR_POSITIONS, LayoutName, objective_of, oscar_batches
from distillvlm.recipes.paper_lessons import EVALUATED, Evaluated, PaperLesson, lessons_of
from distillvlm.recipes.paper_material import PaperMaterial, in_millions, of_coco
from distillvlm.recipes.paper_settings import (
    ANSWERS,
    ATTENTION_DROPOUT,
    CAPTION_TOKENS,
    COURSES,
    LABELS,
    PIECES,
    SCST,
    STUDENT,
    STUDENT_BEGINS,
    TAG_PIECES,
    TEACHER,
    TEACHER_BEGINS,
    Beginning,
    Course,
)
from distillvlm.recipes.paper_texts import pretraining_sources
from distillvlm.recipes.pipeline import Stage, settings_of
from distillvlm.recipes.teacher_captions import (
    FILE,
    BeamSearch,
    SequenceLevelSettings,
    with_teacher_captions,
    write_teacher_captions,
)
from distillvlm.structures.lexicon import Lexicon
from distillvlm.tasks.distillation import DistillationSettings
from distillvlm.tasks.scst import ScstSettings


@dataclass(frozen=True)
class PaperRecipe(PaperMaterial):
    """Settings of the recipe; the defaults are the paper's.

    teacher_begins, student_begins: None for random weights. courses: pre-training, captions, questions.
    scst: what captioners of students go on with; None: nothing. sequence_level: the adapted teacher's captions for the
    distilled student's; by default none, as in the paper.
    pretraining_losses, finetuning_losses: equal weights are ours, the paper names none; in the study attention was
    inert at 1, and is weighed 18 and 3 there. A training warns of a loss that is.
    adaptation_share: of the teacher's steps. region_norm: see `VisionLanguageConfig`.
    layout: OSCAR's as published, or the dense one, which learns every word of a caption in one pass.
    """

    teacher: ModelSize = TEACHER
    student: ModelSize = STUDENT
    teacher_begins: Beginning | None = TEACHER_BEGINS
    student_begins: Beginning | None = STUDENT_BEGINS
    courses: tuple[Course, ...] = COURSES
    scst: Course | None = SCST
    adaptation_share: float = 1 / 3  # ours
    max_positions: int = 512  # BERT's
    region_norm: bool = False
    polluted_share: float = 0.5
    pretraining_losses: DistillationSettings = field(default_factory=DistillationSettings)
    finetuning_losses: DistillationSettings = field(default_factory=DistillationSettings)
    sequence_level: SequenceLevelSettings = field(default_factory=SequenceLevelSettings)
    layout: LayoutName = "dense"

    def __post_init__(self) -> None:
        if self.layout == "oscar" and self.max_positions < OSCAR_POSITIONS:
            raise ValueError(
                f"max_positions: OSCAR's layout needs at least {OSCAR_POSITIONS} but received {self.max_positions}"
            )

    def stages(self) -> list[Stage]:
        return [
            *super().stages(),
            *(stage for lesson in self.lessons() for stage in self._stages_of(lesson)),
            Stage("evaluation", "captions and answers on Karpathy's test photos", self.evaluate),
            Stage("submission", "the students' answers to VQA v2's test questions", self.answer_test_questions),
            *self.measurements(),
        ]

    def _stages_of(self, lesson: PaperLesson) -> Iterator[Stage]:
        if lesson.captions_of is not None:
            about = f"the adapted teacher's captions of COCO's training photos, {self.sequence_level.beam}"
            yield Stage(lesson.captions_of, about, self.make_teacher_captions, settings_of(self, "sequence_level"))
        photos, texts = lesson.course.batch
        layout = "" if self.layout == "dense" else " in OSCAR's layout"
        parameters = in_millions(self.parameters[lesson.who])
        about = f"{lesson.about} of {photos} photos x {texts} texts{layout}, {parameters}"
        names = (lesson.who, f"{lesson.who}_begins", "max_positions", "region_norm", "polluted_share", "layout")
        settings = {"lesson": lesson, **settings_of(self, *names, lesson.losses)}
        yield Stage(lesson.stage, about, partial(self.learn, lesson), settings, parallel=True)

    @cached_property
    def parameters(self) -> dict[Who, int]:
        """Of both models at full size, built on PyTorch's meta device: shapes without numbers."""
        lexicon = Lexicon(torch.zeros(LABELS, TAG_PIECES, dtype=torch.long), torch.ones(PIECES, dtype=torch.bool))
        both: tuple[Who, Who] = ("student", "teacher")
        with torch.device("meta"):
            return {who: parameters_of(VisionLanguageModel(self.model_config(who, ANSWERS), lexicon)) for who in both}

    # -- language -------------------------------------------------------------------------------------------------
    def lessons(self) -> list[PaperLesson]:
        return lessons_of(self.courses, self.adaptation_share, self.scst, spoken=self.sequence_level.times > 0)

    def learn(self, lesson: PaperLesson, folder: Path) -> dict[str, object]:
        model = self.begin(lesson)
        shared = self.store("shared-regions") if lesson.taught_by else None
        batches = self.batches(lesson, self.store(lesson.regions), shared)
        run = (lesson.schedule, folder, self.seed)
        if lesson.kind == "scst":
            settings = ScstSettings(samples=lesson.course.batch[1])
            records, layout = of_coco(self.training), LAYOUTS[self.layout]
            return train_scst(model, records, self.words, settings, batches, *run, layout)
        teacher = load_model(self.new_model("teacher"), self.folder / lesson.taught_by) if lesson.taught_by else None
        objective = objective_of(self.layout, lesson.kind)
        return train_lesson(lesson, model, teacher, getattr(self, lesson.losses), batches, *run, objective)

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
            sources = pretraining_sources(self, *stores)
            if self.layout == "oscar":
                texts = mix_sources(sources, tokenizer, course.batch, lesson.steps, self.seed, *stores)
                return oscar_batches(texts, self.words, self.seed, self.polluted_share)
            share = self.polluted_share
            return pretraining_batches(sources, self.words, course.batch, lesson.steps, share, self.seed, *stores)
        captions = 0 if course.name == "questions" else lesson.steps
        mix = TextMix(course.batch, course.batch, captions, lesson.steps - captions, max_caption_tokens=CAPTION_TOKENS)
        mix = scst_mix(mix) if lesson.kind == "scst" else mix
        batches = finetuning_batches(self.records_for(lesson), self.words, mix, self.seed, *stores)
        dense = self.layout == "dense" or lesson.kind == "scst"  # which reads people's captions as references alone
        return batches if dense else oscar_batches(batches, self.words, self.seed)

    def make_teacher_captions(self, folder: Path) -> dict[str, object]:
        """The adapted teacher sees what it will teach from."""
        teacher, layout = self.trained("teacher", "adapted-captions"), LAYOUTS[self.layout]
        search = BeamSearch(teacher, self.store("shared-regions"), self.words, self.sequence_level, layout)
        photo_ids = [record.photo_id for record in of_coco(self.training)]
        found = write_teacher_captions(search, photo_ids, COCO, folder)
        return {"photos": len(found), "captions": sum(map(len, found.values()))}

    def records_for(self, lesson: PaperLesson) -> list[Record]:
        records = of_coco(self.training)
        if lesson.captions_of is None:
            return records
        captions = read_scored_captions(self.folder / lesson.captions_of / FILE, COCO)
        return with_teacher_captions(records, captions, self.sequence_level.times)

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

    def trained(self, who: Who, stage: str) -> VisionLanguageModel:
        return load_for_inference(self.new_model(who), self.folder / stage)

    # -- results --------------------------------------------------------------------------------------------------
    def evaluate(self, folder: Path) -> dict[str, object]:
        """A report and result files of each teacher and student."""
        test = of_coco(of_split(self.records, "test"))
        photo_ids = [record.photo_id for record in test]
        facts: dict[str, object] = {}
        layout = LAYOUTS[self.layout]
        for one in self.evaluated():
            captioner, store = self.trained(one.who, f"{one.name}-{one.captions}"), self.store(one.regions)
            captions = caption_photos(captioner, store, photo_ids, self.words, layout=layout)
            answers = self.answers_of(one, test)
            write_caption_results(folder / f"{one.label} captions.json", captions, COCO)
            write_vqa_results(folder / f"{one.label} answers.json", answers)
            report = evaluate(test, of_coco(self.training), captions, {COCO: answers})
            (folder / f"{one.label}.json").write_text(json.dumps(report, indent=1))
            (folder / f"{one.label}.md").write_text(markdown(report))
            facts[one.label] = {
                "CIDEr-D": report["captions"][COCO]["CIDEr-D"],
                "VQA": report["questions"][COCO]["accuracy"],
            }
        return facts

    def evaluated(self) -> list[Evaluated]:
        return [one for one in EVALUATED if one.captions == "captions" or self.scst is not None]

    def answers_of(self, one: Evaluated, records: list[Record]) -> dict[int, str]:
        answerer, store = self.trained(one.who, f"{one.name}-questions"), self.store(one.regions)
        return answer_questions(answerer, store, records, self.words, layout=LAYOUTS[self.layout])[COCO]

    def answer_test_questions(self, folder: Path) -> dict[str, object]:
        """Writes a file for VQA v2's server for each student and each file of its test questions that is at hand."""
        facts: dict[str, object] = {}
        for one in {one.name: one for one in EVALUATED if one.who == "student"}.values():
            for name, records in self.unanswered.items():
                answers = self.answers_of(one, records)
                write_vqa_results(folder / f"{one.name} {name} answers.json", answers)
                facts[f"{one.name} {name}"] = {"questions": len(answers)}
        return facts
