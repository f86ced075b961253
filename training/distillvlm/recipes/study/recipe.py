"""The study's stages: material, teachers, a gate that says whether there is anything to find, cells, report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from itertools import takewhile
from pathlib import Path

import torch

from distillvlm.data.records import Record, of_split
from distillvlm.data.scenes.files import SOURCE
from distillvlm.engine.processes import fastest_device
from distillvlm.engine.trainer import Schedule, Task, Training, train_together
from distillvlm.evaluation.results import read_scored_captions
from distillvlm.modeling.encoded_once import EncodedOnce
from distillvlm.modeling.layouts import DenseLayout
from distillvlm.modeling.vision_language import VisionLanguageModel
from distillvlm.recipes.language import (
    ModelSize,
    begin,
    load_for_inference,
    new_model,
)
from distillvlm.recipes.lessons import SHARE_STEPS, Kind
from distillvlm.recipes.pipeline import Stage, origins_of, settings_of
from distillvlm.recipes.scene_material import with_captions
from distillvlm.recipes.study.cells import Cell, Group, Teaching
from distillvlm.recipes.study.costs import (
    DISTILLED_STEP,
    PASSES_OVER_TEXTS,
    PLAIN_STEP,
    SCST_STEP,
    STUDENT_EVALUATION,
    TEACHER_CAPTION,
    TEACHER_FORWARD,
    Pair,
    cost_table,
)
from distillvlm.recipes.study.gate import Gate, check_gate
from distillvlm.recipes.study.kept_scores import keep_facts, keep_scores, read_facts
from distillvlm.recipes.study.report import write_report
from distillvlm.recipes.study.scores import Said
from distillvlm.recipes.study.teachers import StudyTeachers
from distillvlm.recipes.teacher_captions import (
    FILE,
    BeamSearch,
    SequenceLevelSettings,
    with_teacher_captions,
    write_teacher_captions,
)
from distillvlm.tasks.distillation import DistillationSettings, DistillationTask, FrozenTeacher
from distillvlm.tasks.language import LanguageObjective
from distillvlm.tasks.objective import Objective, ObjectiveTask
from distillvlm.tasks.pretraining import PretrainingObjective
from distillvlm.tasks.scst import CaptionReward, ScstSettings, ScstTask

REGIONS = ("student-regions", "teacher-regions", "shared-regions")
TEACHER_REGIONS: dict[Teaching, str] = {
    "adapted": "shared-regions",
    "control": "shared-regions",
    "control at its own boxes": "teacher-regions",
}


@dataclass(frozen=True, kw_only=True)
class StudyRecipe(StudyTeachers):
    """The students' seeds take the teachers in turn; `docs` gets the report.

    student_batch, student_steps: as the teacher's. pilot: what the gate holds against the teacher; and the same,
    trained for longer, without and with more labels.
    """

    student: ModelSize
    student_batch: tuple[int, int]
    student_steps: tuple[int, int]
    scst_steps: int
    student_rate: float
    pilot: tuple[Group, Group, Group]
    groups: tuple[Group, ...]
    gate: Gate
    docs: Path

    def stages(self) -> list[Stage]:
        return [
            *super().stages(),
            *self.measurements(),
            *self._group_stages(self.pilot[0]),
            *self.teacher_stages(1),
            *(stage for group in self.pilot[1:] for stage in self._group_stages(group)),
            Stage(
                "gate",
                "is there anything to find?",
                self.check,
                settings_of(self, "gate"),
                after=("teacher-1-evaluation", *(f"{group.name}-1-evaluation" for group in self.pilot)),
            ),
            *(stage for number in range(2, self.teachers + 1) for stage in self.teacher_stages(number)),
            *(stage for group in self.groups for stage in self._group_stages(group)),
            Stage("report", f"writes {self.docs / 'study.md'}", self.report, repeats=True),
        ]

    def _group_stages(self, group: Group) -> Iterator[Stage]:
        names = ["student", "student_batch", "student_steps", "scst_steps", "student_rate"]
        names += ["question_share", "polluted_share"]
        # How many seeds there are changes none of them, nor does what is said of a cell.
        unnamed = tuple(replace(cell, about="") for cell in group.cells)
        settings = {"group": replace(group, seeds=0, cells=unnamed), **settings_of(self, *names)}
        about = ", ".join(cell.name for cell in group.cells)
        for seed in range(1, group.seeds + 1):
            name, after = f"{group.name}-{seed}", self._needed_by(group, seed)
            stage = partial(Stage, settings=settings, once=() if group in self.pilot else ("gate",))
            if group.teacher_captions:
                run = partial(self.write_captions, seed)
                seconds = (self.annotated or 0) * TEACHER_CAPTION
                yield stage(f"{name}-captions", "of the adapted teacher", run, seconds=seconds, after=after)
                after = (f"{name}-captions",)
            for kind in kinds_of(group):
                run = partial(self.train_group, group, seed, kind)
                seconds = self.seconds_of(group, seed, kind)
                yield stage(f"{name}-{kind}", about, run, parallel=True, seconds=seconds, after=after)
                after = (f"{name}-{kind}",)
            run = partial(self.evaluate_group, group, seed)
            seconds = STUDENT_EVALUATION * len(group.cells)
            yield Stage(f"{name}-evaluation", "on validation and test", run, seconds=seconds, after=after)

    def _needed_by(self, group: Group, seed: int) -> tuple[str, ...]:
        """The stages that a group's first one stands on: the teacher's, and the cells' that it goes on from."""
        number = self.teacher_of(seed)
        taught = group.teacher_captions > 0 or any(cell.pretraining or cell.finetuning for cell in group.cells)
        who = [f"{who}-{number}" for who in ("adapted", "control") if taught]
        begun = [self.beginning(group, cell, seed, kind) for kind in kinds_of(group) for cell in group.cells]
        stages = dict.fromkeys(path.parent.name for path in begun if path is not None)
        stages.pop(f"{group.name}-{seed}-pretraining", None)  # is among its own
        return ("shared-regions", *(f"{each}-pretraining" for each in who), *who, *stages)

    # -- data -----------------------------------------------------------------------------------------------------
    def records_for(self, group: Group, seed: int) -> list[Record]:
        scenes = self.pool[: round(len(self.training) * group.data_share)]
        records = with_captions(scenes, group.captions or self.captions)
        if not group.teacher_captions:
            return records
        captions = read_scored_captions(self.folder / f"{group.name}-{seed}-captions" / FILE, SOURCE)
        return with_teacher_captions(records, captions, group.teacher_captions)

    # -- students -------------------------------------------------------------------------------------------------
    def teacher_of(self, seed: int) -> int:
        return 1 + (seed - 1) % self.teachers

    def write_captions(self, seed: int, folder: Path) -> dict[str, object]:
        teacher = self.taught_by("adapted", seed, "finetuning")
        photo_ids = [record.photo_id for record in self.training]
        search = BeamSearch(teacher, self.store("shared-regions"), self.words, SequenceLevelSettings())
        found = write_teacher_captions(search, photo_ids, SOURCE, folder)
        return {"photos": len(found)}

    def train_group(self, group: Group, seed: int, kind: Kind, folder: Path) -> dict[str, object]:
        """Trains a group's cells of one seed in lock-step."""
        cells = trained_cells(group, kind)
        steps = self.steps_of(group, kind)
        rate = self.student_rate / 6 if kind == "scst" else self.student_rate  # OSCAR: 3e-5, then 5e-6
        schedule = Schedule(steps, rate, share_steps=SHARE_STEPS)
        teachers = self.teachers_of(group, cells, seed, kind)
        trainings = [
            Training(self.task(group, cell, seed, kind, teachers), schedule, folder / cell.name, seed) for cell in cells
        ]
        store = self.store("student-regions")
        shared = self.store(TEACHER_REGIONS[cells[0].taught_by]) if teachers else None
        records, batch = self.records_for(group, seed), self.student_batch
        train_together(trainings, self.batches(kind, records, batch, steps, seed, store, shared))
        return {"cells": len(cells), "samples": steps * batch[0]}

    def steps_of(self, group: Group, kind: Kind) -> int:
        pretraining, finetuning = self.student_steps
        steps = {"pretraining": pretraining, "finetuning": finetuning, "scst": self.scst_steps}
        return round(group.length * steps[kind])

    def seconds_of(self, group: Group, seed: int, kind: Kind) -> float:
        """An estimate: the steps of each cell, and the teachers' passes; in fine-tuning, one over each text, by the
        first group that learns from the teacher."""
        steps = self.steps_of(group, kind)
        if kind == "scst":
            return steps * SCST_STEP * len(group.cells)
        cells = trained_cells(group, kind)
        teachings, passes = teachings_of(cells, kind), steps
        if kind == "finetuning":
            teachings -= self._known_before(group, seed)
            passes = round(PASSES_OVER_TEXTS * group.data_share * (self.annotated or 0) / self.student_batch[0])
        step = sum(PLAIN_STEP if settings_in(cell, kind) is None else DISTILLED_STEP for cell in cells)
        return steps * step + min(steps, passes) * TEACHER_FORWARD * len(teachings)

    def _known_before(self, group: Group, seed: int) -> set[Teaching]:
        """Whose outputs an earlier group or seed has had, in one process."""
        earlier = list(takewhile(lambda one: one != group, self.groups))
        earlier += [group] if seed > self.teachers else []
        return {name for one in earlier for name in teachings_of(one.cells, "finetuning")}

    def teachers_of(self, group: Group, cells: Sequence[Cell], seed: int, kind: Kind) -> dict[Teaching, FrozenTeacher]:
        teachers: dict[Teaching, FrozenTeacher] = {}
        for name in teachings_of(cells, kind):
            model, known = self.taught_by(name, seed, kind), None
            if kind == "finetuning" and fastest_device().type == "cpu":
                known = self._known.setdefault((name, self.teacher_of(seed)), EncodedOnce(model))
            teachers[name] = FrozenTeacher(model, objective_of(group, kind), known)
        return teachers

    @cached_property
    def _known(self) -> dict[tuple[Teaching, int], EncodedOnce]:
        """What each teacher has made of photos and texts, for all seeds and groups that it teaches in this process."""
        return {}

    def taught_by(self, teaching: Teaching, seed: int, kind: Kind) -> VisionLanguageModel:
        number = self.teacher_of(seed)
        stage = f"{'adapted' if teaching == 'adapted' else 'control'}-{number}"
        stage += "-pretraining" if kind == "pretraining" else ""
        return load_for_inference(self.new_teacher(number), self.folder / stage)

    def task(self, group: Group, cell: Cell, seed: int, kind: Kind, teachers: Mapping[Teaching, FrozenTeacher]) -> Task:
        store, before = self.store("student-regions"), self.beginning(group, cell, seed, kind)
        model = begin(self.new_student(seed, group.dropout), before, store, self.training)
        settings = settings_in(cell, kind)
        if kind == "scst":
            reward = CaptionReward(self.words.tokenizer, [record.captions for record in self.training])
            return ScstTask(model, reward, ScstSettings())
        if settings is None:
            return ObjectiveTask(model, objective_of(group, kind))
        torch.manual_seed(seed)  # the projection of hidden states is the same in all cells
        return DistillationTask(model, teachers[cell.taught_by], settings)

    def new_student(self, seed: int, dropout: float = 0.0) -> VisionLanguageModel:
        return new_model(self.student, self.words, self.store("student-regions").feature_size, seed, dropout)

    def beginning(self, group: Group, cell: Cell, seed: int, kind: Kind) -> Path | None:
        """Where the weights lie that a cell goes on from."""
        if kind == "pretraining":
            return None
        if kind == "scst":
            return self.trained(cell.name.removesuffix(" + scst"), seed)
        if cell.begins is None:
            return self.folder / f"{group.name}-{seed}-pretraining" / cell.name
        return self.folder / f"{self.group_of(cell.begins).name}-{seed}-pretraining" / cell.begins

    def group_of(self, cell: str) -> Group:
        return next(group for group in self.groups if cell in {one.name for one in group.cells})

    def trained(self, cell: str, seed: int) -> Path:
        """The folder of a cell's last training."""
        group = self.group_of(cell)
        return self.folder / f"{group.name}-{seed}-{kinds_of(group)[-1]}" / cell

    # -- results --------------------------------------------------------------------------------------------------
    def evaluate_group(self, group: Group, seed: int, folder: Path) -> dict[str, object]:
        trained = self.folder / f"{group.name}-{seed}-{kinds_of(group)[-1]}"
        store, layout = self.store("student-regions"), DenseLayout(group.question_attention)
        said = {
            cell.name: Said(load_for_inference(self.new_student(seed), trained / cell.name), store, layout)
            for cell in group.cells
        }
        return self._evaluate(said, folder)

    def check(self, folder: Path) -> dict[str, object]:
        plain, longer, rich = (self.folder / f"{group.name}-1-evaluation" for group in self.pilot)
        teacher, val = self.folder / "teacher-1-evaluation", of_split(self.records, "val")
        return check_gate(self.gate, plain, longer, rich, teacher, val, self.difficulty, self.seed)

    def report(self, folder: Path) -> dict[str, object]:
        """From all evaluations that are there, or were kept beside an earlier report, on whatever machine."""
        kept, origins = self.docs / "study-scores", origins_of(self.stages())
        gate = self.folder / "gate" / "done.json"
        if gate.exists():
            keep_scores(self.folder, kept, origins, {name: self.store(name).key for name in REGIONS})
            keep_facts(kept, {"gate": json.loads(gate.read_text()), "models": self._costs()})
        facts = read_facts(kept)
        write_report(kept, origins, self.groups, self.docs, self._preface(facts["gate"]), facts["models"])
        return {}

    def _costs(self) -> str:
        teacher = Pair(self.detector("teacher-detector", self.teacher_detector), self.new_teacher(1))
        student = Pair(self.detector("student-detector", self.student_detector), self.new_student(1))
        return cost_table({"teacher": teacher, "student": student})

    def _preface(self, gate: Mapping[str, object]) -> str:
        """What was done, and that the scenes have something to show."""
        rows = [
            f"| {name} | {row['found']:+.1f} | {'' if row['least'] is None else row['least']} |"
            for name, row in gate.items()
            if isinstance(row, dict)
        ]
        samples = sum(self.student_steps) * self.student_batch[0]
        return "\n".join(
            [
                f"Written by `python -m distillvlm run study`. Students ({self.student.num_layers} layers x "
                f"{self.student.hidden_size}) see {samples:,} photos of {self.annotated:,} scenes with one caption "
                f"and eight to nine questions each; teachers have {self.teacher.num_layers} layers x "
                f"{self.teacher.hidden_size}. Figures are of {self.counts['test']:,} test scenes, each with a pair "
                "of thing and colour that no training picture has; one seed is one initialisation and one order of "
                "batches, the same in every cell. CIDEr-D has the idf of the test references.",
                "",
                "The gate, on validation scenes, with plain students of seed 1; what has no least shuts nothing:",
                "",
                "| | points | least |",
                "|---|---|---|",
                *rows,
                "",
            ]
        )


def kinds_of(group: Group) -> tuple[Kind, ...]:
    if group.scst:
        return ("scst",)
    return ("finetuning",) if all(cell.begins for cell in group.cells) else ("pretraining", "finetuning")


def trained_cells(group: Group, kind: Kind) -> list[Cell]:
    """Those that have a training of that kind: what begins elsewhere has no pre-training here."""
    return [cell for cell in group.cells if kind != "pretraining" or cell.begins is None]


def teachings_of(cells: Sequence[Cell], kind: Kind) -> set[Teaching]:
    return {cell.taught_by for cell in cells if settings_in(cell, kind) is not None}


def objective_of(group: Group, kind: Kind) -> Objective:
    if kind == "pretraining":
        return PretrainingObjective(group.question_attention)
    return LanguageObjective(group.label_smoothing, group.question_attention)


def settings_in(cell: Cell, kind: Kind) -> DistillationSettings | None:
    """What a cell learns from its teacher in a stage; the words' distribution in fine-tuning alone, as in the paper."""
    if kind == "pretraining":
        return cell.pretraining and replace(cell.pretraining, classification=0.0)
    return cell.finetuning if kind == "finetuning" else None
