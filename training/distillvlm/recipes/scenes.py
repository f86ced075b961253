"""The paper's whole procedure on generated scenes; `smoke` is small enough for every build.

1. Two detectors; the student's is small, the teacher's has a larger backbone and sees more pixels.
2. The teacher is pre-trained and fine-tuned on the regions of its own detector.
3. It is adapted, for each of the two objectives, to the student's boxes with its own features there, and frozen.
4. The student learns in both stages from people's words and from the adapted teacher's inner states.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from distillvlm.data.records import Record, of_split
from distillvlm.data.region_store import RegionStore
from distillvlm.data.scenes.files import SOURCE
from distillvlm.data.text_sources import caption_source
from distillvlm.engine.trainer import Batches, Schedule
from distillvlm.evaluation.captions import score_captions, tokenized_references
from distillvlm.evaluation.predictions import answer_questions, caption_photos
from distillvlm.evaluation.report import Answers, evaluate, markdown
from distillvlm.evaluation.results import read_scored_captions
from distillvlm.evaluation.vqa import vqa_scores
from distillvlm.export.manifest import ManifestFacts, Metric, Source
from distillvlm.modeling.detector import Detector
from distillvlm.modeling.vision_language import VisionLanguageModel
from distillvlm.recipes.bundles import export, parity, provenance
from distillvlm.recipes.language import (
    ModelSize,
    TextMix,
    begin,
    finetuning_batches,
    load_for_inference,
    load_model,
    new_model,
    pretraining_batches,
    scst_mix,
    train_scst,
)
from distillvlm.recipes.lessons import Lesson, Who, train_lesson
from distillvlm.recipes.margins import Margins, measure_margins
from distillvlm.recipes.pipeline import Stage, settings_of
from distillvlm.recipes.scene_material import SceneMaterial
from distillvlm.recipes.teacher_captions import (
    FILE,
    BeamSearch,
    SequenceLevelSettings,
    with_teacher_captions,
    write_teacher_captions,
)
from distillvlm.tasks.distillation import DistillationSettings
from distillvlm.tasks.scst import ScstSettings

STUDENT, SCST = "student", "student-scst"
MARGINS = Margins(points=15.0, factor=2.0)  # what every build checks
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


@dataclass(frozen=True, kw_only=True)
class ScenesRecipe(SceneMaterial):
    """Settings of a run on generated scenes. Steps of language trainings: (pre-training, fine-tuning).

    sequence_level: the adapted teacher's captions for the student's fine-tuning; by default none.
    scst_steps: of self-critical training of the finished student; 0: none. share_steps: see `Schedule`.
    """

    bundle: Path
    student: ModelSize
    teacher: ModelSize
    caption_batch: tuple[int, int]
    question_batch: tuple[int, int]
    teacher_steps: tuple[int, int]
    adaptation_steps: tuple[int, int]
    student_steps: tuple[int, int]
    learning_rate: float
    adaptation_rate: float
    polluted_share: float = 0.5  # OSCAR's
    margins: Margins = MARGINS
    pretraining_losses: DistillationSettings = field(default_factory=DistillationSettings)
    finetuning_losses: DistillationSettings = field(default_factory=DistillationSettings)
    sequence_level: SequenceLevelSettings = field(default_factory=SequenceLevelSettings)
    scst: ScstSettings = field(default_factory=ScstSettings)
    scst_steps: int = 0
    share_steps: int = 50

    def stages(self) -> list[Stage]:
        return [
            *super().stages(),
            *(stage for lesson in self.lessons() for stage in self._stages_of(lesson)),
            Stage("evaluation", "test scenes: new compositions", self.evaluate),
            Stage(
                "margins",
                "student against blind, majority and nearest neighbour",
                self.check_margins,
                settings_of(self, "margins"),
            ),
            Stage("bundle", f"writes {self.bundle}", self.make_bundle, settings_of(self, "bundle")),
            Stage("parity", "bundle against PyTorch on 100 test scenes", self.check_bundle),
        ]

    def _stages_of(self, lesson: Lesson) -> Iterator[Stage]:
        if lesson.captions_of is not None:
            about = f"the adapted teacher's captions of {self.counts['train']} scenes, {self.sequence_level.beam}"
            yield Stage(lesson.captions_of, about, self.make_teacher_captions, settings_of(self, "sequence_level"))
        names = [lesson.who, "caption_batch", "question_batch", "learning_rate", "polluted_share", lesson.losses]
        names += ["scst"] if lesson.kind == "scst" else []
        settings = {"lesson": lesson, **settings_of(self, *names)}
        yield Stage(lesson.stage, lesson.about, partial(self.learn, lesson), settings, parallel=True)

    # -- language -------------------------------------------------------------------------------------------------
    def lessons(self) -> list[Lesson]:
        """The procedure of the paper, in its order."""
        teach, adapt, distil_ = self.teacher_steps, self.adaptation_steps, self.student_steps
        slow = self.adaptation_rate
        captions = "teacher-captions" if self.sequence_level.times else None
        own = "student-regions"
        lessons = [
            Lesson("teacher-pretraining", "teacher", "pretraining", "teacher-regions", teach[0]),
            Lesson("teacher", "teacher", "finetuning", "teacher-regions", teach[1], "teacher-pretraining"),
            Lesson(
                "adapted-pretraining", "teacher", "pretraining", "shared-regions", adapt[0], "teacher-pretraining", slow
            ),
            Lesson("adapted", "teacher", "finetuning", "shared-regions", adapt[1], "teacher", slow),
            Lesson("student-pretraining", "student", "pretraining", own, distil_[0], taught_by="adapted-pretraining"),
            Lesson(
                STUDENT,
                "student",
                "finetuning",
                own,
                distil_[1],
                "student-pretraining",
                taught_by="adapted",
                captions_of=captions,
            ),
            Lesson("blind", "student", "finetuning", own, distil_[1] + self.scst_steps, blind=True),
        ]
        if self.scst_steps:
            rate = self.learning_rate / 6  # OSCAR's captioning has 3e-5, its SCST 5e-6
            lessons.append(Lesson(SCST, "student", "scst", own, self.scst_steps, STUDENT, rate))
        return lessons

    def make_teacher_captions(self, folder: Path) -> dict[str, object]:
        """Captions of the training scenes by the adapted teacher, which sees what it will teach from."""
        teacher = load_for_inference(self.new_model("teacher"), self.folder / "adapted")
        photo_ids = [record.photo_id for record in self.training]
        search = BeamSearch(teacher, self.store("shared-regions"), self.words, self.sequence_level)
        found = write_teacher_captions(search, photo_ids, SOURCE, folder)
        return {"photos": len(found), "captions": sum(map(len, found.values()))}

    def records_for(self, lesson: Lesson) -> list[Record]:
        if lesson.captions_of is None:
            return self.training
        captions = read_scored_captions(self.folder / lesson.captions_of / FILE, SOURCE)
        return with_teacher_captions(self.training, captions, self.sequence_level.times)

    def learn(self, lesson: Lesson, folder: Path) -> dict[str, object]:
        store, before = self.store(lesson.regions), self.folder / lesson.begins if lesson.begins else None
        model = begin(self.new_model(lesson.who), before, store, self.training)
        shared = self.store("shared-regions") if lesson.taught_by else None
        batches = self.batches(lesson, store, shared)
        schedule = Schedule(lesson.steps, lesson.rate or self.learning_rate, share_steps=self.share_steps)
        if lesson.kind == "scst":
            return train_scst(model, self.training, self.words, self.scst, batches, schedule, folder, self.seed)
        teacher = load_model(self.new_model("teacher"), self.folder / lesson.taught_by) if lesson.taught_by else None
        losses = getattr(self, lesson.losses)
        return train_lesson(lesson, model, teacher, losses, batches, schedule, folder, self.seed)

    def batches(self, lesson: Lesson, store: RegionStore, teacher_store: RegionStore | None) -> Batches:
        if lesson.kind == "pretraining":
            share = self.polluted_share
            captions = caption_source(self.training, self.words.tokenizer, TextMix.max_caption_tokens)
            return pretraining_batches(
                [captions], self.words, self.caption_batch, lesson.steps, share, self.seed, store, teacher_store
            )
        caption_steps = lesson.steps * 3 // 5
        mix = TextMix(self.caption_batch, self.question_batch, caption_steps, lesson.steps - caption_steps)
        mix = scst_mix(mix) if lesson.kind == "scst" else mix
        return finetuning_batches(self.records_for(lesson), self.words, mix, self.seed, store, teacher_store)

    def new_model(self, who: Who) -> VisionLanguageModel:
        size, regions = (self.student, "student-regions") if who == "student" else (self.teacher, "shared-regions")
        return new_model(size, self.words, self.store(regions).feature_size, self.seed)

    # -- results --------------------------------------------------------------------------------------------------
    def evaluate(self, folder: Path) -> dict[str, object]:
        """Students and teachers on the test scenes, whose compositions are new; a full report of the last student."""
        test = of_split(self.records, "test")
        photo_ids = [record.photo_id for record in test]
        references = tokenized_references(test)
        questions = [question for record in test for question in record.questions]
        facts: dict[str, object] = {}
        last: tuple[str, Who, str] = (self.last_student, "student", "student-regions")
        for stage, who, regions in dict.fromkeys((*EVALUATED, last)):
            model, store = load_for_inference(self.new_model(who), self.folder / stage), self.store(regions)
            captions = caption_photos(model, store, photo_ids, self.words)
            answers = answer_questions(model, store, test, self.words)
            accuracy = np.mean(vqa_scores(questions, answers[SOURCE]).of_question)
            figures = {"CIDEr-D": float(score_captions(captions, references).mean()), "VQA": 100 * float(accuracy)}
            facts[f"{stage} on {regions}"] = figures
            if stage == self.last_student:
                self._report(folder, test, captions, answers)
        return facts

    def _report(self, folder: Path, test: list[Record], captions: dict[str, str], answers: Answers) -> None:
        blind = load_for_inference(self.new_model("student"), self.folder / "blind")
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
        scores = measured[f"{self.last_student} on student-regions"]
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
    def last_student(self) -> str:
        """The stage that the bundle is made of."""
        return SCST if self.scst_steps else STUDENT

    @property
    def student_detector_module(self) -> Detector:
        return self.detector("student-detector", self.student_detector)

    @property
    def student_module(self) -> VisionLanguageModel:
        return load_model(self.new_model("student"), self.folder / self.last_student)
