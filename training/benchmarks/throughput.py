"""Samples a second of training in fp32 and under bf16 autocast, beside what this machine's matrix products reach.

    cd training && .venv/bin/python benchmarks/throughput.py

Times are processor seconds over all threads, which other work on the machine changes little; "a second" is one of all
cores. Every round runs all trainings and, beside them, the matrix products that they are compared with. A sample is a
text with its photo, or a detector's photo; a step is forward, backward, clipping and Adam. FLOPs are those of matrix
products and convolutions, as PyTorch counts them. "Batch" is what building a batch costs, of a step in bf16; in a
training, a thread does it ahead.
"""

from __future__ import annotations

import os
import resource
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import mean, median
from typing import Any

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import torch
from torch.utils.flop_counter import FlopCounterMode

from distillvlm.data.oscar_batches import OscarBatches
from distillvlm.data.region_store import RegionStore, fill_store
from distillvlm.data.scenes import SMOKE
from distillvlm.engine.allocator import keep_freed_memory
from distillvlm.engine.trainer import Batches, Task
from distillvlm.modeling.detector import Detector
from distillvlm.recipes.language import TextMix, finetuning_batches, new_model
from distillvlm.recipes.scene_material import SceneMaterial
from distillvlm.recipes.smoke import STUDENT_DETECTOR, TEACHER_DETECTOR
from distillvlm.recipes.study.settings import study
from distillvlm.structures.regions import Regions
from distillvlm.tasks.detection import DetectionBatches, DetectionTask
from distillvlm.tasks.distillation import DistillationSettings, DistillationTask, FrozenTeacher
from distillvlm.tasks.language import LanguageObjective
from distillvlm.tasks.objective import ObjectiveTask
from distillvlm.tasks.oscar import OscarObjective

# The study's sizes, the texts of its students' fine-tuning, and the features of its detectors.
STUDY = study(Path("unused"), Path("unused"))
STUDENT_FEATURES, TEACHER_FEATURES = STUDY.student_detector.head_size, STUDY.teacher_detector.head_size
REGIONS, TAGS = STUDY.student_detector.num_regions, STUDY.student_detector.num_tags
PHOTOS, QUESTIONS = STUDY.student_batch
MIX = TextMix(captions=(PHOTOS, 1), questions=(PHOTOS, QUESTIONS), caption_steps=330, question_steps=670)
SCENES, ROUNDS, STEPS, SIDE = 200, 5, 6, 1024
PRECISIONS = ("fp32", "bf16")


@dataclass
class Training:
    """samples: of a batch. seconds, batch_seconds: processor seconds of a step and of building its batch, by round."""

    task: Task
    batches: Batches
    samples: Callable[[Any], int]
    seconds: dict[str, list[float]] = field(default_factory=lambda: {precision: [] for precision in PRECISIONS})
    batch_seconds: list[float] = field(default_factory=list)

    def run(self, precision: str) -> None:
        """Measures the same steps each time, behind one that is not measured."""
        optimizer = torch.optim.AdamW(self.task.parameters(), lr=1e-4, fused=True)
        self.step(optimizer, self.batches.batch(0), precision)
        began = processor_seconds()
        batches = [self.batches.batch(number) for number in range(1, STEPS + 1)]
        built = processor_seconds()
        for batch in batches:
            self.step(optimizer, batch, precision)
        self.batch_seconds.append((built - began) / STEPS)
        self.seconds[precision].append((processor_seconds() - built) / STEPS)

    def step(self, optimizer: torch.optim.Optimizer, batch: object, precision: str) -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
            losses = self.task(batch)
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        torch.nn.utils.clip_grad_norm_(self.task.parameters(), 1.0)
        optimizer.step()

    def gigaflops(self) -> float:
        """Of a step, mean over those measured."""
        counter = FlopCounterMode(display=False)
        with counter:
            for number in range(1, STEPS + 1):
                torch.stack(list(self.task(self.batches.batch(number)).values())).sum().backward()
        return counter.get_total_flops() / STEPS / 1e9

    def samples_of_a_step(self) -> float:
        return mean(self.samples(self.batches.batch(number)) for number in range(1, STEPS + 1))


def main() -> None:
    keep_freed_memory()
    torch.manual_seed(0)
    peaks: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    with tempfile.TemporaryDirectory() as folder:
        trainings = make_trainings(Path(folder))
        for _ in range(ROUNDS):
            for precision in PRECISIONS:
                peaks[precision].append(matrix_product_gigaflops(precision))
                for training in trainings.values():
                    training.run(precision)
        report(trainings, {precision: median(found) for precision, found in peaks.items()})


def make_trainings(folder: Path) -> dict[str, Training]:
    scenes = SceneMaterial(
        folder=folder,
        difficulty=SMOKE,
        counts={"train": SCENES},
        image_size=STUDENT_DETECTOR.image_size,
        student_detector=STUDENT_DETECTOR,
        teacher_detector=TEACHER_DETECTOR,
        seed=0,
    )
    for stage in scenes.stages()[:2]:  # scenes and words
        (folder / stage.name).mkdir()
        stage.run(folder / stage.name)
    records, words = scenes.records, scenes.words
    photo_ids = [record.photo_id for record in records]
    own, teachers = (
        random_store(folder / str(size), photo_ids, size, len(words.tags))
        for size in (STUDENT_FEATURES, TEACHER_FEATURES)
    )
    student = partial(new_model, STUDY.student, words, STUDENT_FEATURES, seed=0)
    teacher = partial(new_model, STUDY.teacher, words, TEACHER_FEATURES, seed=1)
    texts = finetuning_batches(records, words, MIX, 0, own, teachers)
    in_oscars_layout = OscarBatches(texts, words.lexicon, tags_length=3 * TAGS, seed=0)
    config = scenes.detector_config(STUDENT_DETECTOR)
    photos = DetectionBatches(records, config, STUDENT_DETECTOR.batch_size, 0, keep_pixels=True)
    distilled = DistillationTask(student(), FrozenTeacher(teacher(), LanguageObjective()), DistillationSettings())
    return {
        "student": Training(ObjectiveTask(student(), LanguageObjective()), texts, texts_of),
        "student, distilled": Training(distilled, texts, texts_of),
        "student in OSCAR's layout": Training(ObjectiveTask(student(), OscarObjective()), in_oscars_layout, texts_of),
        "teacher": Training(
            ObjectiveTask(teacher(), LanguageObjective()),
            finetuning_batches(records, words, MIX, 0, teachers),
            texts_of,
        ),
        "student's detector": Training(DetectionTask(Detector(config)), photos, lambda batch: len(batch.pixels)),
    }


def texts_of(batch: Any) -> int:
    return int(batch.valid.sum())


def random_store(folder: Path, photo_ids: Sequence[str], feature_size: int, num_tags: int) -> RegionStore:
    def describe(rows: Sequence[int]) -> Iterable[Regions]:
        none = torch.zeros(len(rows), REGIONS)
        yield Regions(
            boxes=torch.rand(len(rows), REGIONS, 4),
            features=torch.randn(len(rows), REGIONS, feature_size),
            labels=none.long(),
            attributes=none.long(),
            scores=none,
            valid=torch.ones_like(none, dtype=torch.bool),
            tags=torch.randint(0, num_tags, (len(rows), TAGS)),
        )

    return fill_store(describe, photo_ids, folder, key="random")


def matrix_product_gigaflops(precision: str) -> float:
    """GFLOP that a product of two square matrices does in a processor second."""
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    left, right = torch.randn(2, SIDE, SIDE).to(dtype)
    products = 40
    left @ right
    before = processor_seconds()
    for _ in range(products):
        left @ right
    return products * 2 * SIDE**3 / 1e9 / (processor_seconds() - before)


def processor_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def report(trainings: dict[str, Training], peaks: dict[str, float]) -> None:
    cores = torch.get_num_threads()
    rates = ", ".join(f"{precision} {cores * peaks[precision]:.0f} GFLOP a second" for precision in PRECISIONS)
    print(f"Products of {SIDE} x {SIDE} matrices on {cores} cores: {rates}.\n")
    print("| training | GFLOP a step | samples a step | samples a second, fp32 | bf16 | bf16 : fp32 |", end="")
    print(" share of the peak, fp32 | bf16 | batch |\n|" + "---|" * 9)
    for name, training in trainings.items():
        gigaflops, samples = training.gigaflops(), training.samples_of_a_step()
        seconds = {precision: median(training.seconds[precision]) for precision in PRECISIONS}
        paces = [f"{cores * samples / seconds[precision]:.0f}" for precision in PRECISIONS]
        shares = [f"{gigaflops / seconds[precision] / peaks[precision]:.0%}" for precision in PRECISIONS]
        cells = [
            name,
            f"{gigaflops:.1f}",
            f"{samples:.0f}",
            *paces,
            f"{seconds['fp32'] / seconds['bf16']:.2f}",
            *shares,
        ]
        print(f"| {' | '.join(cells)} | {median(training.batch_seconds) / seconds['bf16']:.1%} |")


if __name__ == "__main__":
    main()
