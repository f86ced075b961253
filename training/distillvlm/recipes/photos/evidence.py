"""`photos-evidence`: what distillation, and whatever else `photos` does, is worth on photos.

Its stages lie beside those of `photos`, on which they stand.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path

from distillvlm.data.records import Split, of_split
from distillvlm.engine.progress import read_progress, training_seconds
from distillvlm.engine.trainer import snapshot_folder
from distillvlm.evaluation.comparisons import Results, Run, Scored
from distillvlm.evaluation.predictions import BeamSettings
from distillvlm.evaluation.report import captioned
from distillvlm.recipes.detectors import own_regions, regions_at_boxes_of
from distillvlm.recipes.language import load_for_inference
from distillvlm.recipes.margins import nearest_captions
from distillvlm.recipes.photos.arms import Arm, Size, beyond, levers, longer, pair
from distillvlm.recipes.photos.evidence_report import ADAPTED, BLIND, COPIED, TEACHER, UNADAPTED, Curve, write_report
from distillvlm.recipes.photos.lessons import Steps
from distillvlm.recipes.photos.recipe import PhotosRecipe
from distillvlm.recipes.photos.scores import (
    captions_by_metric,
    cider_d_by_source,
    read_scores,
    references_by_source,
    score_model,
    write_scores,
)
from distillvlm.recipes.photos.sight import Sight
from distillvlm.recipes.photos.teaching import PhotosTeaching
from distillvlm.recipes.pipeline import Stage

GREEDY = BeamSettings(num_beams=1)
OWN_TEST, SHARED_TEST = "teacher-test-regions", "shared-test-regions"


@dataclass(frozen=True, kw_only=True)
class PhotosEvidence:
    """photos: what it stands on. tiny: a smaller student, with a prefix of its own. Steps: of the arms. plain_steps: of
    a plain tiny student that take as long as one of a distilled one. docs: gets the report."""

    photos: PhotosRecipe
    tiny: PhotosTeaching
    shipped_steps: Steps
    tiny_steps: Steps
    plain_steps: float
    scst_steps: int
    seeds: int
    docs: Path

    @cached_property
    def sizes(self) -> tuple[Size, Size]:
        shipped = replace(self.photos, prefix="shipped-", shared=tuple(stage.name for stage in self.photos.stages()))
        pairs, small = (
            [arm for seed in range(1, self.seeds + 1) for arm in pair(steps, seed)]
            for steps in (self.shipped_steps, self.tiny_steps)
        )
        cells = self.tiny.student_detector.grid**2 + 1
        others = [longer(self.tiny_steps, self.plain_steps, seed=1), *beyond(small[:2], self.scst_steps)]
        return (
            Size("", shipped, pairs),
            Size(", tiny", self.tiny, small, others, levers(small[:2], cells)),
        )

    def stages(self) -> list[Stage]:
        return [
            *self.photos.stages(),
            *self.tiny.stages(),
            *(stage for size in self.sizes for stage in self._stages_of(size)),
            Stage("evidence", f"writes {self.docs / 'photos-evidence.md'}", self.report, repeats=True),
        ]

    def _stages_of(self, size: Size) -> Iterator[Stage]:
        own = size.recipe.as_own
        for arm in (*size.tested, *size.levers):
            yield from (own(size.recipe.stage_of(lesson)) for lesson in arm.lessons)
            splits: tuple[Split, ...] = ("val",) if arm in size.levers else ("val", "test")
            run = partial(self.evaluate_arm, size.recipe, arm, splits)
            yield own(Stage(f"{arm.name}-evaluation", f"on {' and '.join(splits)}", run, after=(arm.last.stage,)))
        shared = partial(self.write_test_regions, size.recipe, SHARED_TEST)
        yield own(Stage(SHARED_TEST, "the student's boxes of test photos", shared, after=("shared-regions",)))
        needed = ["member-0", "adapted-0", SHARED_TEST]
        if size is self.sizes[0]:
            run = partial(self.write_test_regions, size.recipe, OWN_TEST)
            yield own(Stage(OWN_TEST, "the teacher's boxes of test photos", run, after=("teacher-regions",)))
            needed += [OWN_TEST, "blind"]
        run = partial(self.evaluate_others, size)
        yield own(Stage("others-evaluation", "teachers, and what sees nothing", run, after=tuple(needed)))

    # -- evaluation -----------------------------------------------------------------------------------------------
    def evaluate_arm(
        self, recipe: PhotosTeaching, arm: Arm, splits: Sequence[Split], folder: Path
    ) -> dict[str, object]:
        """The best snapshot's scores; all of them on validation photos, as "curve"."""
        store, trained = recipe.seen_in(arm.last), recipe.at(arm.last.stage)
        references, curve = references_by_source(of_split(recipe.records, "val")), {}
        folders = {steps: snapshot_folder(trained, steps) for steps in arm.last.schedule.snapshot_steps()}
        for steps, kept in folders.items():
            model = load_for_inference(recipe.new_model("student"), kept)
            curve[steps] = cider_d_by_source(model, store, references, recipe.words, GREEDY)["all"]
        best = max(curve, key=curve.__getitem__, default=None)
        model = load_for_inference(recipe.new_model("student"), trained if best is None else folders[best])
        for split in splits:
            scores = score_model(model, store, of_split(recipe.records, split), recipe.words)
            write_scores(folder / f"{arm.cell}.{split}.npz", scores)
        return {"steps": best, "curve": curve}

    def evaluate_others(self, size: Size, folder: Path) -> dict[str, object]:
        """On test photos the teacher on the student's boxes, before it is adapted to them and after; of the first size
        on its own boxes too, what is blind, and the captions of the training photo that looks most alike."""
        recipe = size.recipe
        test = of_split(recipe.records, "test")
        cells = {UNADAPTED: ("member-0", SHARED_TEST), ADAPTED: ("adapted-0", SHARED_TEST)}
        if size is self.sizes[0]:
            cells[TEACHER] = ("member-0", OWN_TEST)
            blind = load_for_inference(recipe.new_model("student"), recipe.at("blind"))
            write_scores(folder / f"{BLIND}.test.npz", score_model(blind, None, test, recipe.words))
            described = [record for record in recipe.training if record.captions]
            copied = nearest_captions(recipe.store("student-regions"), captioned(test), described)
            write_scores(folder / f"{COPIED}.test.npz", captions_by_metric(copied, test))
        for cell, (stage, regions) in cells.items():
            model = load_for_inference(recipe.new_model("teacher"), recipe.at(stage))
            write_scores(folder / f"{cell}.test.npz", score_model(model, recipe.store(regions), test, recipe.words))
        return {}

    def write_test_regions(self, recipe: PhotosTeaching, stage: str, folder: Path) -> dict[str, object]:
        """`seen_by_teacher` has no test photos: they are looked at for this alone, as they are and in no other view."""
        detector, test = recipe.teachers_detector(), of_split(recipe.records, "test")
        if stage == OWN_TEST:
            own_regions(detector, test, folder, 1, stage)
        else:
            regions_at_boxes_of(detector, Sight(views=1).of(recipe.store("student-regions")), test, folder, stage)
        return {"photos": len(test)}

    # -- report ---------------------------------------------------------------------------------------------------
    def report(self, folder: Path) -> dict[str, object]:
        """From all evaluations that are there."""
        test = Results([run for size in self.sizes for run in self._runs(size, size.tested, "test")])
        val = Results([run for size in self.sizes for run in self._runs(size, [*size.tested, *size.levers], "val")])
        write_report(test, val, self.sizes, list(self._curves()), self.docs)
        return {}

    def _runs(self, size: Size, arms: Sequence[Arm], split: Split) -> Iterator[Run]:
        for arm in arms:
            path = size.recipe.at(f"{arm.name}-evaluation") / f"{arm.cell}.{split}.npz"
            if path.exists():
                yield self._run(size, arm.cell, arm.seed, split, read_scores(path), arm)
        for path in sorted(size.recipe.at("others-evaluation").glob(f"*.{split}.npz")):
            yield self._run(size, path.name.removesuffix(f".{split}.npz"), 1, split, read_scores(path))

    def _run(
        self, size: Size, cell: str, seed: int, split: Split, scores: dict[str, Scored], arm: Arm | None = None
    ) -> Run:
        steps = [step for lesson in arm.lessons for step in read_progress(size.recipe.at(lesson.stage))] if arm else []
        return Run(size.cell(cell), seed, split, scores, training_seconds(steps))

    def _curves(self) -> Iterator[Curve]:
        for size in self.sizes:
            for arm in size.pairs:
                done = size.recipe.at(f"{arm.name}-evaluation") / "done.json"
                if done.exists():
                    found = json.loads(done.read_text())["curve"]
                    yield Curve(size.cell(arm.cell), arm.seed, {int(steps): score for steps, score in found.items()})
