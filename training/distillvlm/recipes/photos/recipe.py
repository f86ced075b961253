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
from distillvlm.evaluation.captions import tokenized_references
from distillvlm.evaluation.predictions import BEAM, BeamSettings, answer_questions, caption_photos
from distillvlm.evaluation.report import captioned, evaluate, markdown
from distillvlm.evaluation.results import write_vqa_results
from distillvlm.export.manifest import Decoding, ManifestFacts, Source
from distillvlm.export.storage import Storage
from distillvlm.modeling.vision_language import VisionLanguageModel
from distillvlm.recipes.bundles import export, parity, provenance
from distillvlm.recipes.language import load_for_inference, load_model
from distillvlm.recipes.photos.lessons import student_lessons
from distillvlm.recipes.photos.scores import mean_cider_d
from distillvlm.recipes.photos.teaching import PhotosTeaching
from distillvlm.recipes.pipeline import Stage, settings_of

FINISHED = ("student", "student-scst")
"""Trainings behind which the student may be taken: SCST is not sure to be a gain."""
TEACHING = ("teacher-*", "shared-regions", "member-*", "adapted-*", "spoken", "soft-*", "student-texts")
"""Stages that a student without a teacher has no use for."""
OTHER_PENALTIES = (0.6, 0.8, 1.2)


@dataclass(frozen=True, kw_only=True)
class PhotosRecipe(PhotosTeaching):
    """taught: the student has a teacher; False leaves out whatever only serves one."""

    bundle: Path
    version: str
    licence: str
    sources: tuple[Source, ...]
    scst_steps: int
    taught: bool = True

    def _stages(self) -> list[Stage]:
        before, named = super()._stages(), ("version", "licence", "sources")
        return [
            *(stage for stage in before if self.taught or not any(fnmatch(stage.name, each) for each in TEACHING)),
            *map(self.stage_of, student_lessons(self.student_steps, self.scst_steps, self.shares, self.taught)),
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

    # -- results --------------------------------------------------------------------------------------------------
    @property
    def validation(self) -> list[Record]:
        return of_split(self.records, "val")

    def choose_decoding(self, folder: Path) -> dict[str, object]:
        """The training with the best CIDEr-D over all validation photos at the usual length penalty, then its best
        penalty."""
        store, references = self.store("student-regions"), tokenized_references(captioned(self.validation))

        def score(stage: str, beam: BeamSettings) -> float:
            student = load_for_inference(self.new_model("student"), self.at(stage))
            return mean_cider_d(student, store, references, self.words, beam)

        trained = {stage: score(stage, BEAM) for stage in FINISHED}
        best = max(trained, key=trained.__getitem__)
        penalised = {penalty: score(best, replace(BEAM, length_penalty=penalty)) for penalty in OTHER_PENALTIES}
        penalised[BEAM.length_penalty] = trained[best]
        penalty = max(penalised, key=penalised.__getitem__)
        return {"student": best, "length_penalty": penalty, "trainings": trained, "penalties": penalised}

    @cached_property
    def chosen(self) -> Any:
        """What `choose_decoding` found best."""
        return json.loads((self.at("decoding") / "done.json").read_text())

    def trained_student(self) -> VisionLanguageModel:
        return load_model(self.new_model("student"), self.at(self.chosen["student"]))

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
        evaluated = [(stage, "student", "student-regions") for stage in FINISHED]
        if self.taught:
            evaluated.insert(0, ("adapted-0", "teacher", "shared-regions"))
        for stage, who, regions in evaluated:
            model, store = load_for_inference(self.new_model(who), self.at(stage)), self.store(regions)
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
