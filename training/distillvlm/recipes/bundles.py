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

QUESTION = "what is in the photo?"  # of one that has none


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
    target: Path,
    detector: Detector,
    model: VisionLanguageModel,
    records: Sequence[Record],
    folder: Path,
    storage: Storage = "fp16",
    required: float = 1.0,
) -> dict[str, object]:
    """Compares bundle and PyTorch on the records' photos, each with a question; writes `parity.json`.

    required: share of the captions that must be the same; others must be near ties.
    Raises:
        ValueError: a caption or an answer differs, or a logit by more than `TOLERANCE`.
    """
    size = detector.config.image_size
    pixels = np.stack([load_pixels(record.path, size) for record in tqdm(records, desc="pixels", mininterval=1.0)])
    questions = [[record.questions[0].text if record.questions else QUESTION] for record in records]
    report = check_parity(target, detector, model, pixels, questions, storage, required)
    (folder / "parity.json").write_text(json.dumps(report.as_dict(), indent=1))
    if not report.passed:
        raise ValueError(f"parity: the bundle does not say what PyTorch says\n{report}")
    compared = report.pytorch
    return {
        "photos": compared.photos,
        "same captions": compared.captions,
        "near ties": compared.near_ties,
        "log-probabilities": compared.log_probabilities,
    }


def provenance(recipe: str, seed: int, sources: tuple[Source, ...], teacher: str | None) -> Provenance:
    return Provenance(sources, recipe, current_commit(), (seed,), date.today().isoformat(), teacher)
