"""The last stages of a recipe: its bundle, and whether the bundle says what PyTorch says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import numpy as np
from tqdm import tqdm

from distillvlm.data.pixels import load_pixels
from distillvlm.data.records import Record
from distillvlm.data.words import Words
from distillvlm.export.bundle import BundleWords, write_bundle
from distillvlm.export.manifest import ManifestFacts, Provenance, Source
from distillvlm.export.parity import check_parity
from distillvlm.export.storage import Storage
from distillvlm.modeling.detector import Detector
from distillvlm.modeling.vision_language import VisionLanguageModel
from distillvlm.recipes.pipeline import current_commit


def export(
    target: Path,
    detector: Detector,
    model: VisionLanguageModel,
    words: Words,
    facts: ManifestFacts,
    storage: Storage = "fp16",
) -> dict[str, object]:
    """Writes the bundle.

    Raises:
        ValueError: the detector's tag words are not the first of those that the model was trained with.
    """
    if detector.tag_words != words.tags[: len(detector.tag_words)]:
        raise ValueError("export: expected the detector's tag words to be the model's")
    config = detector.config
    bundle_words = BundleWords(words.tokenizer, config.labels, config.attributes, words.tags, words.answers)
    write_bundle(target, detector, model, bundle_words, facts, storage)
    return {"bytes": sum(path.stat().st_size for path in target.iterdir())}


def parity(
    target: Path, detector: Detector, model: VisionLanguageModel, records: Sequence[Record], folder: Path
) -> dict[str, object]:
    """Compares bundle and PyTorch on the records' photos, each with its first question; writes `parity.json`.

    Raises:
        ValueError: a caption or an answer differs, or a logit by more than `TOLERANCE`.
    """
    size = detector.config.image_size
    pixels = np.stack([load_pixels(record.path, size) for record in tqdm(records, desc="pixels", mininterval=1.0)])
    questions = [[question.text for question in record.questions[:1]] for record in records]
    report = check_parity(target, detector, model, pixels, questions)
    (folder / "parity.json").write_text(json.dumps(report.as_dict(), indent=1))
    if not report.passed:
        raise ValueError(f"parity: the bundle does not say what PyTorch says\n{report}")
    return {"photos": report.pytorch.photos, "log-probabilities": report.pytorch.log_probabilities}


def provenance(recipe: str, seed: int, sources: tuple[Source, ...], teacher: str | None) -> Provenance:
    return Provenance(sources, recipe, current_commit(), (seed,), date.today().isoformat(), teacher)
