"""What every recipe on generated scenes stands on: scenes, words, two detectors and their regions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

from distillvlm.data.records import Record, of_split
from distillvlm.data.region_store import RegionStore
from distillvlm.data.scenes import Difficulty, load_scenes, write_scenes
from distillvlm.data.words import Words, collect_words
from distillvlm.engine.trainer import Schedule
from distillvlm.evaluation.vqa import build_answer_vocabulary
from distillvlm.modeling.detector import Detector, DetectorConfig
from distillvlm.recipes.detectors import (
    DetectorRecipe,
    average_precision,
    load_detector,
    own_regions,
    regions_at_boxes_of,
    train_detector,
)
from distillvlm.recipes.pipeline import Stage, settings_of


@dataclass(frozen=True, kw_only=True)
class SceneMaterial:
    """Scenes, words, detectors and regions under `folder`, each made by a stage.

    counts: scenes of each split. image_size: (height, width) of their pictures. annotated: training scenes whose boxes
    and words are learnt, the first ones; None: all. captions: of each of these.
    """

    folder: Path
    difficulty: Difficulty
    counts: Mapping[str, int]
    image_size: tuple[int, int]
    student_detector: DetectorRecipe
    teacher_detector: DetectorRecipe
    seed: int
    annotated: int | None = None
    captions: int | None = None

    def stages(self) -> list[Stage]:
        return [
            Stage(
                "scenes",
                f"draws {sum(self.counts.values())} scenes",
                self.make_scenes,
                settings_of(self, "seed", "difficulty", "counts", "image_size"),
            ),
            Stage(
                "words",
                "vocabulary, tags and answers",
                self.make_words,
                settings_of(self, "annotated", "captions"),
            ),
            Stage(
                "student-detector",
                self.student_detector.about,
                self.make_student_detector,
                settings_of(self, "student_detector"),
                parallel=True,
            ),
            Stage(
                "teacher-detector",
                self.teacher_detector.about,
                self.make_teacher_detector,
                settings_of(self, "teacher_detector"),
                parallel=True,
            ),
            Stage("student-regions", "the student's boxes, with its features", self.make_student_regions),
            Stage("teacher-regions", "the teacher's boxes, with its features", self.make_teacher_regions),
            Stage("shared-regions", "the student's boxes, with the teacher's features", self.make_shared_regions),
        ]

    def measurements(self) -> list[Stage]:
        """What the detectors are worth; nothing stands on it."""
        return [
            Stage(
                f"{who}-detector-ap",
                "COCO's AP of its regions of validation scenes",
                partial(self.measure_detector, who),
                after=(f"{who}-regions",),
            )
            for who in ("student", "teacher")
        ]

    # -- data -----------------------------------------------------------------------------------------------------
    def make_scenes(self, folder: Path) -> dict[str, object]:
        write_scenes(folder / "files", self.difficulty, self.counts, self.image_size, self.seed)
        return {"scenes": len(self.records)}

    @cached_property
    def records(self) -> list[Record]:
        return load_scenes(self.folder / "scenes" / "files")

    @cached_property
    def pool(self) -> list[Record]:
        """All training scenes, with all their captions."""
        return of_split(self.records, "train")

    @cached_property
    def training(self) -> list[Record]:
        return with_captions(self.pool[: self.annotated], self.captions)

    @property
    def seen_by_teacher(self) -> list[Record]:
        """What the teacher's detector looks at: all but training scenes without annotations."""
        return [*self.training, *(record for record in self.records if record.split != "train")]

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
        config = recipe.config(self.labels, self.attributes)
        return replace(config, pyramid_layers=1, semantic_head=True, semantic_norm=True)

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
        return _facts(own_regions(detector, self.seen_by_teacher, folder, views=1, label=folder.name))

    def make_shared_regions(self, folder: Path) -> dict[str, object]:
        detector = self.detector("teacher-detector", self.teacher_detector)
        student, records = self.store("student-regions"), self.seen_by_teacher
        return _facts(regions_at_boxes_of(detector, student, records, folder, folder.name))

    def measure_detector(self, who: str, folder: Path) -> dict[str, object]:
        store = self.store(f"{who}-regions")
        return average_precision(store, of_split(self.records, "val"), self.labels, folder)

    def store(self, stage: str) -> RegionStore:
        return RegionStore(self.folder / stage)


def with_captions(records: Sequence[Record], most: int | None) -> list[Record]:
    """The records with the first captions of each; None: all."""
    return [replace(one, captions=one.captions[:most]) for one in records]


def _facts(store: RegionStore) -> dict[str, object]:
    return {"photos": len(store.photo_ids), "feature size": store.feature_size}
