"""How far a student is ahead of what sees nothing and of what only copies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from distillvlm.data.records import Record, of_split
from distillvlm.data.region_store import RegionStore
from distillvlm.data.words import Words
from distillvlm.evaluation.baselines import nearest_neighbour_captions
from distillvlm.evaluation.captions import score_captions, tokenized_references
from distillvlm.evaluation.predictions import caption_photos
from distillvlm.modeling.vision_language import VisionLanguageModel


@dataclass(frozen=True)
class Margins:
    """points: of VQA accuracy over the majority answer and over a blind model, the least one. factor: of CIDEr-D over a
    blind captioner and over the caption of the nearest training photo, the smaller one."""

    points: float
    factor: float


def measure_margins(
    records: Sequence[Record], store: RegionStore, blind: VisionLanguageModel, words: Words, report: Mapping[str, Any]
) -> Margins:
    """Margins of a model on the test split; `report` is `evaluate`'s of that model, `store` what it saw."""
    test, training = of_split(records, "test"), of_split(records, "train")
    photo_ids = [record.photo_id for record in test]
    references = tokenized_references(test)
    copied = nearest_captions(store, test, training)
    others = [
        score_captions(captions, references).mean()
        for captions in (caption_photos(blind, None, photo_ids, words), copied)
    ]
    (own,) = (row["CIDEr-D"]["value"] for row in report["captions"].values())
    ahead = [row["difference"] for row in report["comparisons"] if row["b"] in ("majority", "blind model")]
    return Margins(min(ahead), float(own / max(*others, 1e-9)))


def nearest_captions(store: RegionStore, test: Sequence[Record], training: Sequence[Record]) -> dict[str, str]:
    """By photo_id, a caption of the training photo that looks most alike: by the feature of the first region, which is
    the whole photo in a detector with a grid."""

    def whole_photos(records: Sequence[Record]) -> np.ndarray:
        return store.regions([record.photo_id for record in records]).features[:, 0].numpy()

    captions = [record.captions for record in training]
    found = nearest_neighbour_captions(whole_photos(test), whole_photos(training), captions)
    return dict(zip((record.photo_id for record in test), found, strict=True))
