"""`smoke`: everything once, small: 128 px, few categories, EfficientNet-Lite0; under 8 minutes on two cores."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from distillvlm.data.scenes import SMOKE
from distillvlm.recipes.detectors import DetectorRecipe
from distillvlm.recipes.language import ModelSize
from distillvlm.recipes.scenes import ScenesRecipe
from distillvlm.tasks.distillation import DistillationSettings

# A third of the detectors' steps tell things apart, but few colours of things that never had them in training.
# Objects are a fifth to two thirds of the picture; anchor sides are the level's stride (8 to 64) times a scale.
STUDENT_DETECTOR = DetectorRecipe(
    backbone="tf_efficientnet_lite0",
    pretrained="lite0",
    image_size=(128, 128),
    pyramid_channels=48,
    head_size=96,
    steps=600,
    batch_size=24,
    learning_rate=2e-3,
    anchor_scales=(2.5, 3.5),
    grid=2,  # the whole picture and its quarters: backgrounds are no objects
    num_regions=11,
    num_tags=4,
    pool_backbone=True,
)
TEACHER_DETECTOR = replace(
    STUDENT_DETECTOR,
    backbone="tf_efficientnet_lite2",
    pretrained="lite2",
    image_size=(192, 192),
    pyramid_channels=64,
    head_size=160,
    steps=400,
    batch_size=16,
    anchor_scales=(3.0, 4.25),
)


def smoke(folder: Path, bundle: Path) -> ScenesRecipe:
    return ScenesRecipe(
        folder=folder,
        bundle=bundle,
        difficulty=SMOKE,
        counts={"train": 1300, "val": 50, "test": 200},
        image_size=(192, 192),
        student_detector=STUDENT_DETECTOR,
        teacher_detector=TEACHER_DETECTOR,
        seed=7,
        student=ModelSize(hidden_size=128, num_layers=2, num_heads=4, intermediate_size=256),
        teacher=ModelSize(hidden_size=192, num_layers=3, num_heads=4, intermediate_size=576),
        caption_batch=(16, 2),
        question_batch=(16, 8),
        teacher_steps=(60, 450),
        adaptation_steps=(20, 60),
        student_steps=(60, 1000),
        learning_rate=1e-3,
        adaptation_rate=3e-4,
        # 4096 tokens are half of what so few scenes hold. At weight 1 attention had 0.01 and 0.06 of the gradient.
        pretraining_losses=DistillationSettings(attention=8.0, queue_size=1024),
        finetuning_losses=DistillationSettings(attention=2.0, queue_size=1024),
        share_steps=5,  # they take a step of so shallow a model twice the time
    )
