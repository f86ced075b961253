"""What the study is run with."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from distillvlm.data.scenes import STUDY
from distillvlm.recipes.detectors import DetectorRecipe
from distillvlm.recipes.language import ModelSize
from distillvlm.recipes.study.cells import GROUPS, PILOT
from distillvlm.recipes.study.gate import Gate
from distillvlm.recipes.study.recipe import StudyRecipe

# The two differ in backbone, pixels, anchors, suppression, number of boxes and grid, and are trained apart.
# Things are a twelfth to two fifths of the picture; anchor sides are the level's stride (8 to 64) times a scale.
STUDENT_DETECTOR = DetectorRecipe(
    backbone="tf_efficientnet_lite0",
    pretrained="lite0",
    image_size=(128, 128),
    pyramid_channels=48,
    head_size=96,
    steps=900,
    batch_size=32,
    learning_rate=2e-3,
    anchor_scales=(1.5, 2.1),
    anchor_ratios=(0.6, 1.6),
    grid=4,  # cells that the teacher's detector does not have
    num_regions=24,
    num_tags=6,
    score_threshold=0.1,
    detection_iou=0.4,
)
TEACHER_DETECTOR = replace(
    STUDENT_DETECTOR,
    backbone="tf_efficientnet_lite2",
    pretrained="lite2",
    image_size=(256, 256),
    pyramid_channels=64,
    head_size=256,
    batch_size=16,
    anchor_scales=(2.5, 3.5),
    anchor_ratios=(0.5, 1.0, 2.0),
    grid=1,
    num_regions=24,
    num_tags=8,
    score_threshold=0.02,
    detection_iou=0.7,
)


def study(folder: Path, docs: Path) -> StudyRecipe:
    return StudyRecipe(
        folder=folder,
        docs=docs,
        difficulty=STUDY,
        counts={"train": 40_000, "val": 1_000, "test": 4_000},
        image_size=(256, 256),
        student_detector=STUDENT_DETECTOR,
        teacher_detector=TEACHER_DETECTOR,
        seed=21,
        annotated=12_000,
        captions=1,
        student=ModelSize(hidden_size=128, num_layers=4, num_heads=8, intermediate_size=512),
        teacher=ModelSize(hidden_size=384, num_layers=6, num_heads=8, intermediate_size=1536),
        teacher_batch=(32, 8),
        student_batch=(16, 8),  # in batches of 32 it was stopped on a slope, and where on it was chance
        question_share=0.67,  # teachers learn where things stand last, after some 600 steps of questions
        teacher_steps=(500, 1800),
        adaptation_steps=(120, 350),
        student_steps=(1000, 2600),
        scst_steps=300,
        teacher_rate=3e-4,
        adaptation_rate=1.5e-4,
        student_rate=1.2e-3,
        teachers=1,
        pilot=PILOT,
        groups=GROUPS,
        gate=Gate(),
    )
