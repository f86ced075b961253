"""`smoke`: everything once, small: 128 px, few categories, EfficientNet-Lite0; under 8 minutes on two cores."""

from __future__ import annotations

from pathlib import Path

from distillvlm.data.scenes import SMOKE
from distillvlm.recipes.language import ModelSize
from distillvlm.recipes.scenes import DetectorRecipe, ScenesRecipe

# Objects are a fifth to two thirds of the picture; anchor sides are the level's stride (8 to 64) times a scale.
STUDENT_DETECTOR = DetectorRecipe("tf_efficientnet_lite0", "lite0", (128, 128), 48, 96, 220, 24, 2e-3, (2.5, 3.5))
TEACHER_DETECTOR = DetectorRecipe("tf_efficientnet_lite2", "lite2", (192, 192), 64, 160, 220, 16, 2e-3, (3.0, 4.25))


def smoke(folder: Path, bundle: Path) -> ScenesRecipe:
    return ScenesRecipe(
        folder=folder,
        bundle=bundle,
        difficulty=SMOKE,
        counts={"train": 1500, "val": 100, "test": 300},
        image_size=(192, 192),
        student_detector=STUDENT_DETECTOR,
        teacher_detector=TEACHER_DETECTOR,
        student=ModelSize(hidden_size=128, num_layers=3, num_heads=8, intermediate_size=384),
        teacher=ModelSize(hidden_size=192, num_layers=4, num_heads=8, intermediate_size=576),
        num_regions=8,
        num_tags=4,
        captions=(32, 2),
        questions=(32, 4),
        teacher_steps=(120, 240),
        adaptation_steps=(40, 80),
        student_steps=(120, 300),
        learning_rate=2e-3,
        adaptation_rate=5e-4,
    )
