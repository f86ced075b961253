"""What the recipe for photos is run with: on two cores, and on a GPU at the paper's size; and its evidence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path

from distillvlm.export.manifest import Source
from distillvlm.modeling.backbones import IMAGENET
from distillvlm.modeling.detector.companions import Companion
from distillvlm.recipes.concepts import ConceptRecipe
from distillvlm.recipes.detectors import DetectorRecipe
from distillvlm.recipes.language import ModelSize, TextMix
from distillvlm.recipes.photos.evidence import PhotosEvidence
from distillvlm.recipes.photos.lessons import Shares, Steps
from distillvlm.recipes.photos.recipe import PhotosRecipe
from distillvlm.recipes.photos.teaching import PhotosTeaching
from distillvlm.tasks.distillation import DistillationSettings
from distillvlm.tasks.scst import ScstSettings

LICENCE = "Weights for research, not commercial use: Flickr8k's captions allow no more"
SOURCES = (
    Source(
        "Flickr8k",
        "data",
        "photos and captions; Karpathy's training split",
        "captions and photos for research, not commercial use; photos belong to their Flickr authors",
    ),
    Source("Flickr30k", "data", "captions of photos that were not at hand", "research, not commercial use"),
    Source(
        "COCO and VQA v2",
        "data",
        "photos, captions, boxes, questions; also captions of and questions on photos that were not at hand",
        "annotations CC BY 4.0; photos under their authors' Flickr licences",
        "https://cocodataset.org/#termsofuse",
    ),
    Source("COCO-QA", "data", "questions on training photos", "derived from COCO captions, no licence stated"),
    Source("VSR", "data", "true sentences on where things stand", "Apache-2.0"),
    Source("DAQUAR (NYU Depth v2)", "data", "photos and questions", "research"),
    Source("NanoDet-Plus-m and YOLOX-nano", "weights", "made the boxes where people made none", "Apache-2.0"),
    Source("EfficientNet-Lite2", "weights", "frozen backbone, ImageNet classes for the concept head", "Apache-2.0"),
    Source("EfficientNet-Lite0, DeiT-Tiny", "weights", "further backbones of the teacher", "Apache-2.0"),
    Source("WordNet 3.1", "data", "which words are content words", "WordNet licence (free)"),
    Source("BERT base uncased", "weights", "vocabulary only", "Apache-2.0"),
)

OF_TEACHERS = ("EfficientNet-Lite0, DeiT-Tiny",)

# Lite2 at 256 px; 37 regions cover the photo whatever is detected.
STUDENT_DETECTOR = DetectorRecipe(
    backbone="tf_efficientnet_lite2",
    pretrained="lite2",
    image_size=(256, 256),
    pyramid_channels=96,
    head_size=256,
    steps=2200,
    batch_size=16,
    learning_rate=3e-3,
    anchor_scales=(3.0, 4.25),
    grid=6,
    num_regions=50,
    num_tags=12,
)
# Other anchors, another suppression, another grid: the two see a photo differently.
TEACHER_DETECTOR = replace(
    STUDENT_DETECTOR, anchor_scales=(2.5, 3.5), detection_iou=0.6, score_threshold=0.03, grid=5, num_regions=50
)

# Of the whole machine: half of what a process with one thread takes beside another. Estimates, but for the first two.
MINUTES = {
    "twins": 3,
    "words": 5,
    "student-detector": 20,
    "teacher-detector": 20,
    "student-regions": 30,
    "concepts": 14,
    "tags": 1,
    "teacher-regions": 22.5,
    "shared-regions": 40,
    "*-detector-ap": 0.2,
    "teacher-texts": 18.5,
    "member-*-pretraining": 13,
    "member-*": 30,
    "adapted-*-pretraining": 10.5,
    "adapted-*": 6,
    "spoken": 13,
    "soft-asked": 2,
    "soft-*": 10,
    "student-texts": 22.5,
    "plain": 22,
    "gate": 2,
    "student-pretraining": 17,
    "student-scst": 34,
    "student": 132,
    "blind": 12,
    "decoding": 30,
    "evaluation": 10,
    "bundle": 2,
    "parity": 4,
    "parity-fp32": 6,
    "storages": 2,
}

# Of both cores, as a run took; of the student, its blind twin and their evaluation estimates.
SMALL_MINUTES = {
    **MINUTES,
    "twins": 1,
    "words": 2,
    "student-detector": 12,
    "student-regions": 14,
    "concepts": 3.5,
    "tags": 0.5,
    "student": 80,
    "student-scst": 15,
    "blind": 15,
    "decoding": 8,
    "evaluation": 5,
}

# Of the arms, and of what teaches the tiny student. Estimates.
EVIDENCE_MINUTES = {"*-evaluation": 3, "*-test-regions": 2.5}
SHIPPED_MINUTES = {"none-*-pretraining": 6, "all-*-pretraining": 10, "none-*": 16.5, "all-*": 29.5}
TINY_MINUTES = {
    "student-detector": 12,
    "student-regions": 20,
    "student-texts": 12.5,
    "none-longer-*-pretraining": 7,
    "none-longer-*": 18.5,
    "*-scst-*": 6,
    "all-*-pretraining": 6.5,
    "*-pretraining": 3,
    "all-*": 19,
    "*": 8,
}


def companions(weights: Path) -> tuple[Companion, ...]:
    """weights: folder of the one that no package carries (training/README.md)."""
    return (
        Companion("tf_efficientnet_lite0", "lite0", (256, 256)),
        Companion(
            "deit_tiny_patch16_224",
            str(weights / "deit_tiny_patch16_224" / "deit_tiny_patch16_224.pth"),
            (224, 224),
            IMAGENET,
        ),
    )


def photos(data_root: Path, wordnet: Path, weights: Path, folder: Path, bundle: Path) -> PhotosRecipe:
    """About eleven and a half hours on two cores, two processes side by side where two stages can be."""
    return PhotosRecipe(
        data_root=data_root,
        wordnet=wordnet,
        folder=folder,
        bundle=bundle,
        version="2.0.0",
        licence=LICENCE,
        sources=SOURCES,
        student_detector=STUDENT_DETECTOR,
        teacher_detector=TEACHER_DETECTOR,
        companions=companions(weights),
        seed=17,
        concepts=ConceptRecipe(folds=3),
        student=ModelSize(hidden_size=320, num_layers=4, num_heads=8, intermediate_size=1280),
        # What it knows more is in its features; two layers more would cost half as much again.
        teacher=ModelSize(hidden_size=384, num_layers=4, num_heads=8, intermediate_size=1536),
        # Four in five captions have at most 16 pieces; the longest would widen every batch.
        # DAQUAR's photos have 9 questions of people each, COCO's 1 or 2.
        batches=TextMix(
            (32, 5), (32, 6), 0, 0, unseen=288, described=(40, 5), spoken=64, asked=(32, 10), max_caption_tokens=16
        ),
        # The student reads people's questions on photos 10 times, those without photos 4 times.
        shares=Shares(captions=0.4, spoken=0.25, questions=0.2, unseen=0.15, asked=0.6, drawn=0.6),
        samples=16,
        temperature=0.6,
        teacher_dropout=0.1,
        teacher_smoothing=0.0,
        student_dropout=0.0,
        student_smoothing=0.0,
        teacher_steps=Steps(texts=800, pretraining=500, finetuning=1500, rate=5e-4),
        adaptation_steps=Steps(texts=0, pretraining=400, finetuning=300, rate=2e-4),
        student_steps=Steps(texts=1500, pretraining=500, finetuning=5500, rate=8e-4),
        scst_steps=1500,
        # `photos` 1.1.0 on 48 validation photos: a sample's CIDEr-D is 11 at temperature 1 and 34 at 0.7, that of the
        # greedy caption 40. What is drawn at 1 teaches little of what a search will say.
        scst=ScstSettings(temperature=0.7),
        # The study's, where each loss has about a tenth of the gradient; to be measured here.
        pretraining_losses=DistillationSettings(attention=18.0, hidden=1.8),
        finetuning_losses=DistillationSettings(attention=3.0),
        minutes=MINUTES,
    )


def photos_small(data_root: Path, wordnet: Path, weights: Path, folder: Path, bundle: Path) -> PhotosRecipe:
    """The student of `photos`, smaller and without a teacher: 2.2 hours on two cores."""
    full = photos(data_root, wordnet, weights, folder, bundle)
    return replace(
        full,
        taught=False,
        version="1.2.0",
        sources=tuple(source for source in SOURCES if source.name not in OF_TEACHERS),
        student_detector=replace(STUDENT_DETECTOR, steps=1400),
        views=2,
        concepts=ConceptRecipe(folds=2, steps=1000),
        student=ModelSize(hidden_size=256, num_layers=4, num_heads=8, intermediate_size=1024),
        # After 2,800 steps, 0.38 of them questions, COCO's were answered worse than by their type (docs/findings.md).
        shares=Shares(captions=0.5, spoken=0.0, questions=0.22, unseen=0.28, asked=0.6, drawn=0.7),
        student_dropout=0.1,
        student_smoothing=0.1,
        student_steps=Steps(texts=0, pretraining=0, finetuning=5000, rate=8e-4),
        scst_steps=600,
        minutes=SMALL_MINUTES,
    )


def photos_gpu(data_root: Path, wordnet: Path, weights: Path, folder: Path, bundle: Path) -> PhotosRecipe:
    """The same with the paper's transformers, 12 layers of 768 and of 384, for a GPU; larger batches, more of them, and
    all views for the teacher too. Not yet run."""
    small = photos(data_root, wordnet, weights, folder, bundle)
    return replace(
        small,
        student_detector=replace(small.student_detector, steps=9000, batch_size=32),
        teacher_detector=replace(small.teacher_detector, steps=9000, batch_size=32),
        teacher_views=small.views,
        concepts=replace(small.concepts, folds=4),
        student=ModelSize(hidden_size=384, num_layers=12, num_heads=12, intermediate_size=1536),
        teacher=ModelSize(hidden_size=768, num_layers=12, num_heads=12, intermediate_size=3072),
        batches=replace(
            small.batches,
            captions=(128, 5),
            questions=(128, 6),
            unseen=1152,
            described=(160, 5),
            spoken=256,
            asked=(128, 10),
        ),
        teacher_steps=Steps(texts=3000, pretraining=1000, finetuning=4000, rate=1e-4),
        adaptation_steps=Steps(texts=0, pretraining=400, finetuning=800, rate=5e-5),
        student_steps=Steps(texts=5000, pretraining=3000, finetuning=11500, rate=2e-4),
        scst_steps=4000,
        minutes={},
    )


def photos_evidence(
    data_root: Path, wordnet: Path, weights: Path, folder: Path, bundle: Path, docs: Path
) -> PhotosEvidence:
    """Beside `photos`, in its folder: about eleven hours more."""
    shipped = photos(data_root, wordnet, weights, folder, bundle)
    return PhotosEvidence(
        photos=replace(shipped, minutes={**MINUTES, **EVIDENCE_MINUTES, **SHIPPED_MINUTES}),
        tiny=tiny_beside(
            shipped,
            # Lite0 at 224 px.
            replace(
                STUDENT_DETECTOR,
                backbone="tf_efficientnet_lite0",
                pretrained="lite0",
                image_size=(224, 224),
                pyramid_channels=64,
                head_size=192,
                steps=1600,
            ),
            ModelSize(hidden_size=192, num_layers=4, num_heads=8, intermediate_size=768),
            {**MINUTES, **EVIDENCE_MINUTES, **TINY_MINUTES},
        ),
        shipped_steps=Steps(texts=0, pretraining=300, finetuning=1150, rate=8e-4),
        tiny_steps=Steps(texts=0, pretraining=250, finetuning=1000, rate=1e-3),
        plain_steps=2.4,  # by the minutes above
        scst_steps=300,
        seeds=3,
        docs=docs,
    )


def tiny_beside(
    photos: PhotosRecipe, detector: DetectorRecipe, student: ModelSize, minutes: Mapping[str, float]
) -> PhotosTeaching:
    """A smaller student that the members of the same teacher teach, one of them adapted to its boxes; what they say of
    photos beforehand is what they said for the other student."""
    given = {field.name: getattr(photos, field.name) for field in fields(PhotosTeaching)}
    shared = ("twins", "words", "teacher-*", "member-*", "adapted-[1-9]*", "spoken", "soft-*")
    changes = {"student_detector": detector, "student": student, "prefix": "tiny-", "shared": shared}
    return PhotosTeaching(**{**given, **changes, "minutes": minutes})
