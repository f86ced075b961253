"""`photos`: the default bundle by the whole procedure, from photos with people's captions and questions.

Beyond the paper: tags from a concept head, what `PhotosTeaching` says, and self-critical training at the end.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

from distillvlm.data.records import Record, of_split
from distillvlm.engine.trainer import snapshot_folder
from distillvlm.evaluation.predictions import BEAM, BeamSettings, answer_questions, caption_photos
from distillvlm.evaluation.report import captioned, evaluate, markdown
from distillvlm.evaluation.results import write_vqa_results
from distillvlm.export.manifest import Decoding, ManifestFacts, Source
from distillvlm.export.storage import Storage
from distillvlm.modeling.vision_language import VisionLanguageModel
from distillvlm.recipes.bundles import export, parity, provenance
from distillvlm.recipes.language import load_for_inference, load_model
from distillvlm.recipes.photos.lessons import PhotoLesson, student_lessons
from distillvlm.recipes.photos.scores import cider_d_by_source, references_by_source
from distillvlm.recipes.photos.teaching import PhotosTeaching
from distillvlm.recipes.pipeline import Stage, settings_of

FINISHED = ("student", "student-scst")
"""Trainings behind which the student may be taken: SCST is not sure to be a gain."""
TEACHING = ("teacher-*", "shared-regions", "member-*", "adapted-*", "spoken", "soft-*", "student-texts")
"""Stages that a student without a teacher has no use for."""
OTHER_PENALTIES = (0.6, 0.8, 1.2, 1.5)


@dataclass(frozen=True, kw_only=True)
class PhotosRecipe(PhotosTeaching):
    """taught: the student has a teacher; False leaves out whatever only serves one. least_lead: points of CIDEr-D on
    Flickr8k's validation photos by which the adapted teacher has to lead a plain student before it teaches."""

    bundle: Path
    version: str
    licence: str
    sources: tuple[Source, ...]
    scst_steps: int
    taught: bool = True
    least_lead: float = 5.0

    def _stages(self) -> list[Stage]:
        before, named = super()._stages(), ("version", "licence", "sources")
        return [
            *(stage for stage in before if self.taught or not any(fnmatch(stage.name, each) for each in TEACHING)),
            *(self._gate() if self.taught else []),
            *map(self._behind_gate, student_lessons(self.student_steps, self.scst_steps, self.shares, self.taught)),
            Stage(
                "decoding",
                "before SCST or after it, and the length penalty, on validation photos",
                self.choose_decoding,
                after=FINISHED,
            ),
            Stage(
                "evaluation",
                "validation figures of the PyTorch models",
                self.evaluate,
                after=("decoding", "blind", *(("adapted-0",) if self.taught else ())),
            ),
            Stage(
                "bundle",
                f"writes {self.bundle}",
                self.make_bundle,
                settings_of(self, "bundle", *named),
                after=("decoding",),
            ),
            Stage("parity", "bundle against PyTorch on 100 validation photos", self.check_bundle, after=("bundle",)),
            Stage(
                "storages",
                "the bundle with weights in fp32 and in int8, for `benchmarks/storage.py`",
                self.store_otherwise,
                settings_of(self, *named),
                after=("decoding",),
            ),
            Stage(
                "parity-fp32",
                "the one in fp32 against PyTorch on 1,000 validation photos",
                self.check_fp32,
                after=("storages",),
            ),
        ]

    # -- is there anything to teach? ------------------------------------------------------------------------------
    def _gate(self) -> list[Stage]:
        steps, rate = self.teacher_steps, self.student_steps.rate
        learnt = steps.pretraining + steps.finetuning
        plain = PhotoLesson("plain", "student", "finetuning", "student-regions", learnt, "student-texts", rate)
        about = f"does the teacher lead a plain student by {self.least_lead:g} of CIDEr-D? on validation photos"
        after = ("adapted-0", "plain")
        return [
            self.stage_of(plain),
            Stage("gate", about, self.check_teacher, settings_of(self, "least_lead"), after=after),
        ]

    def _behind_gate(self, lesson: PhotoLesson) -> Stage:
        stage = self.stage_of(lesson)
        return replace(stage, after=(*(stage.after or ()), "gate")) if lesson.taught_by else stage

    def check_teacher(self, folder: Path) -> dict[str, object]:
        """
        Raises:
            ValueError: the teacher does not lead by enough: it would teach what the student learns without it.
        """
        references = references_by_source(self.validation)
        found = {
            stage: cider_d_by_source(
                load_for_inference(self.new_model(who), self.at(stage)),
                self.store(regions),
                references,
                self.words,
                BEAM,
            )
            for stage, who, regions in (
                ("adapted-0", "teacher", "shared-regions"),
                ("plain", "student", "student-regions"),
            )
        }
        taught, plain = (found[stage]["flickr8k"] for stage in ("adapted-0", "plain"))
        if taught - plain < self.least_lead:
            raise ValueError(
                f"gate: on Flickr8k's validation photos the adapted teacher has {taught:.1f} of CIDEr-D"
                f" and a plain student {plain:.1f}; expected a lead of {self.least_lead:g}"
            )
        return {**found, "lead": taught - plain}

    # -- results --------------------------------------------------------------------------------------------------
    @property
    def validation(self) -> list[Record]:
        return of_split(self.records, "val")

    def choose_decoding(self, folder: Path) -> dict[str, object]:
        """The weights with the best CIDEr-D over all validation photos at the usual length penalty, those before SCST
        or one of its snapshots; then their best penalty."""
        store, references = self.store("student-regions"), references_by_source(self.validation)

        def score(weights: Path, beam: BeamSettings) -> float:
            student = load_for_inference(self.new_model("student"), weights)
            return cider_d_by_source(student, store, references, self.words, beam)["all"]

        before = score(self.at("student"), BEAM)
        curve = {steps: score(snapshot_folder(self.at("student-scst"), steps), BEAM) for steps in self.scst_snapshots()}
        steps = max(curve, key=curve.__getitem__)
        best = "student-scst" if curve[steps] > before else "student"
        weights = snapshot_folder(self.at(best), steps) if best == "student-scst" else self.at(best)
        penalised = {penalty: score(weights, replace(BEAM, length_penalty=penalty)) for penalty in OTHER_PENALTIES}
        penalised[BEAM.length_penalty] = max(before, curve[steps])
        penalty = max(penalised, key=penalised.__getitem__)
        return {
            "student": best,
            "scst_steps": steps,
            "length_penalty": penalty,
            "before": before,
            "curve": curve,
            "penalties": penalised,
        }

    def scst_snapshots(self) -> list[int]:
        lessons = student_lessons(self.student_steps, self.scst_steps, self.shares, self.taught)
        (scst,) = (lesson for lesson in lessons if lesson.kind == "scst")
        return scst.schedule.snapshot_steps()

    @cached_property
    def chosen(self) -> Any:
        """What `choose_decoding` found best."""
        return json.loads((self.at("decoding") / "done.json").read_text())

    def finished(self, stage: str) -> Path:
        """Where the student's weights behind a stage lie; of SCST the best snapshot's."""
        folder = self.at(stage)
        return snapshot_folder(folder, self.chosen["scst_steps"]) if stage == "student-scst" else folder

    def trained_student(self) -> VisionLanguageModel:
        return load_model(self.new_model("student"), self.finished(self.chosen["student"]))

    @property
    def beam(self) -> BeamSettings:
        return BeamSettings(length_penalty=self.chosen["length_penalty"])

    def evaluate(self, folder: Path) -> dict[str, object]:
        """A full report of the adapted teacher, where there is one, and of the student before and after SCST; answers
        of the blind one."""
        photo_ids = [record.photo_id for record in captioned(self.validation)]
        student = load_for_inference(self.new_model("student"), self.at("blind"))
        blind = answer_questions(student, None, self.validation, self.words)
        for source, given in blind.items():
            write_vqa_results(folder / f"blind-{source}.json", given)
        facts: dict[str, object] = {}
        evaluated = [(stage, "student", self.finished(stage), "student-regions") for stage in FINISHED]
        if self.taught:
            evaluated.insert(0, ("adapted-0", "teacher", self.at("adapted-0"), "shared-regions"))
        for stage, who, weights, regions in evaluated:
            model, store = load_for_inference(self.new_model(who), weights), self.store(regions)
            said = caption_photos(model, store, photo_ids, self.words, self.beam)
            answers = answer_questions(model, store, self.validation, self.words)
            report = evaluate(self.validation, self.training, said, answers, blind, unseen=self.texts)
            (folder / f"{stage}.json").write_text(json.dumps(report, indent=1))
            (folder / f"{stage}.md").write_text(markdown(report))
            facts[stage] = {source: row["CIDEr-D"]["value"] for source, row in report["captions"].items()}
        return facts

    def make_bundle(self, folder: Path) -> dict[str, object]:
        """Without metrics: `python -m distillvlm measure` takes them through the server and writes them."""
        return export(self.bundle, self.detector, self.trained_student(), self.words, self._facts(self.bundle.name))

    def store_otherwise(self, folder: Path) -> dict[str, object]:
        student, name = self.trained_student(), self.bundle.name
        storages: tuple[Storage, ...] = ("fp32", "int8")
        return {
            one: export(folder / one, self.detector, student, self.words, self._facts(f"{name}-{one}"), one)
            for one in storages
        }

    def _facts(self, name: str) -> ManifestFacts:
        teacher = f"{self.teacher}, adapted to the student's boxes" if self.taught else None
        return ManifestFacts(
            name=name,
            version=self.version,
            licence=self.licence,
            provenance=provenance(self.folder.name, self.seed, self.sources, teacher),
            decoding=Decoding(length_penalty=self.beam.length_penalty),
        )

    def check_bundle(self, folder: Path) -> dict[str, object]:
        chosen = [record for record in self.validation if record.questions][:100]
        return parity(self.bundle, self.detector, self.trained_student(), chosen, folder)

    def check_fp32(self, folder: Path) -> dict[str, object]:
        """Of 1,000 captions 998 must be the same and the others near ties."""
        bundle, chosen = self.at("storages") / "fp32", captioned(self.validation)[:1000]
        return parity(bundle, self.detector, self.trained_student(), chosen, folder, "fp32", required=0.998)
