"""The first losses of the smoke recipe's three kinds of training, in fp32, against those of a recorded run.

A change that is not meant to change training must leave them as they are. Recorded with `REGENERATE_GOLDEN=1`.
Tolerance: another CPU adds up in another order, and twenty steps multiply that; measured 2e-4 between one and two
threads, so 2% holds on any machine and is far below what a change of batch, seed, initialisation or loss does.
"""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from distillvlm.data.records import Record, of_split
from distillvlm.data.region_store import RegionStore
from distillvlm.data.scenes import SMOKE, load_scenes, write_scenes
from distillvlm.data.text_sources import caption_source
from distillvlm.data.words import Words, collect_words
from distillvlm.engine.trainer import Batches, Schedule, Task, train
from distillvlm.evaluation.vqa import build_answer_vocabulary
from distillvlm.modeling.detector import Detector, DetectorConfig
from distillvlm.recipes.detectors import own_regions
from distillvlm.recipes.language import ModelSize, TextMix, finetuning_batches, new_model, pretraining_batches
from distillvlm.tasks.detection import DetectionBatches, DetectionTask
from distillvlm.tasks.distillation import DistillationSettings, DistillationTask
from distillvlm.tasks.language import LanguageObjective
from distillvlm.tasks.objective import ObjectiveTask
from distillvlm.tasks.pretraining import PretrainingObjective

GOLDEN = Path(__file__).with_name("golden_losses.json")
STEPS = 20
SCHEDULE = Schedule(STEPS, learning_rate=1e-3, precision="no")
SEED = 7


class SmallSmoke:
    """Scenes, words and regions like the smoke recipe's, with an untrained detector of timm's tiny test network."""

    def __init__(self, folder: Path) -> None:
        write_scenes(folder / "scenes", SMOKE, {"train": 32}, (64, 64), SEED, workers=1)
        self.records: list[Record] = of_split(load_scenes(folder / "scenes"), "train")
        labels = tuple(sorted({box.label for record in self.records for box in record.objects}))
        self.config = DetectorConfig(
            labels=labels,
            backbone="test_efficientnet",
            pretrained=None,
            freeze_backbone=False,
            image_size=(64, 64),
            pyramid_channels=16,
            pyramid_layers=1,
            head_size=24,
            num_regions=6,
            num_tags=2,
            score_threshold=0.0,
        )
        torch.manual_seed(SEED)
        self.detector = Detector(self.config).eval()
        questions = [question for record in self.records for question in record.questions]
        captions = [caption for record in self.records for caption in record.captions]
        answers = build_answer_vocabulary(questions, min_count=1)
        self.words: Words = collect_words(captions, [q.text for q in questions], labels, answers, min_count=1)
        self.store: RegionStore = own_regions(self.detector, self.records, folder / "regions", 1, "regions")

    def detection(self) -> tuple[Task, Batches]:
        torch.manual_seed(SEED)
        return DetectionTask(Detector(self.config)), DetectionBatches(self.records, self.config, 4, SEED)

    def pretraining(self) -> tuple[Task, Batches]:
        model = new_model(ModelSize(32, 2, 4, 64), self.words, self.store.feature_size, SEED)
        captions = caption_source(self.records, self.words.tokenizer, TextMix.max_caption_tokens)
        batches = pretraining_batches([captions], self.words, (8, 2), STEPS, 0.5, SEED, self.store)
        return ObjectiveTask(model, PretrainingObjective()), batches

    def distillation(self) -> tuple[Task, Batches]:
        teacher = new_model(ModelSize(48, 2, 4, 96), self.words, self.store.feature_size, SEED + 1)
        student = new_model(ModelSize(32, 2, 4, 64), self.words, self.store.feature_size, SEED)
        mix = TextMix(captions=(8, 2), questions=(8, 2), caption_steps=STEPS // 2, question_steps=STEPS // 2)
        batches = finetuning_batches(self.records, self.words, mix, SEED, self.store, self.store)
        return DistillationTask(student, teacher, LanguageObjective(), DistillationSettings(queue_size=128)), batches


KINDS: dict[str, Callable[[SmallSmoke], tuple[Task, Batches]]] = {
    "detection": SmallSmoke.detection,
    "pretraining": SmallSmoke.pretraining,
    "distillation": SmallSmoke.distillation,
}


@pytest.fixture(scope="module")
def small_smoke(tmp_path_factory: pytest.TempPathFactory) -> SmallSmoke:
    return SmallSmoke(tmp_path_factory.mktemp("smoke"))


def losses_of(kind: str, small_smoke: SmallSmoke, folder: Path) -> list[dict[str, float]]:
    task, batches = KINDS[kind](small_smoke)
    return [progress.losses for progress in train(task, batches, SCHEDULE, folder, SEED, kind)]


@pytest.mark.parametrize("kind", KINDS)
def test_the_first_losses_are_the_recorded_ones(kind: str, small_smoke: SmallSmoke, tmp_path: Path) -> None:
    found = losses_of(kind, small_smoke, tmp_path)
    if os.environ.get("REGENERATE_GOLDEN"):
        recorded = json.loads(GOLDEN.read_text()) if GOLDEN.exists() else {}
        GOLDEN.write_text(json.dumps(recorded | {kind: found}, indent=1) + "\n")
    expected = json.loads(GOLDEN.read_text())[kind]
    assert len(found) == len(expected) == STEPS
    for step, (ours, theirs) in enumerate(zip(found, expected, strict=True)):
        assert ours == pytest.approx(theirs, rel=0.02, abs=0.02), f"step {step}"


def test_the_same_seed_gives_the_same_losses(small_smoke: SmallSmoke, tmp_path: Path) -> None:
    first, second = (losses_of("distillation", small_smoke, tmp_path / name) for name in ("first", "second"))
    assert first == second
