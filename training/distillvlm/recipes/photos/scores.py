"""What captions and answers of one model score, photo by photo and data set by data set, for intervals that pair them
with another's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from distillvlm.data.atomic_files import save_arrays_atomically
from distillvlm.data.records import Record
from distillvlm.data.region_store import RegionStore
from distillvlm.data.words import Words
from distillvlm.evaluation.captions import Tokenized, score_captions, tokenized_references
from distillvlm.evaluation.comparisons import Scored
from distillvlm.evaluation.predictions import BEAM, BeamSettings, answer_questions, caption_photos
from distillvlm.evaluation.report import asked_by_source, by_source, captioned
from distillvlm.evaluation.vqa import vqa_scores
from distillvlm.modeling.vision_language import VisionLanguageModel

# CIDEr-D has the idf of each data set's own references; DAQUAR's questions have one answer set, so exact match.
CAPTIONS = {"flickr8k": "CIDEr-D", "coco": "CIDEr-D, COCO"}
ANSWERS = {"coco": "VQA", "daquar": "exact match, DAQUAR"}


def score_model(
    model: VisionLanguageModel, store: RegionStore | None, records: Sequence[Record], words: Words
) -> dict[str, Scored]:
    """Captions by beam search of the photos that have five, and answers to people's questions. store: None for a blind
    model."""
    photo_ids = [record.photo_id for record in captioned(records)]
    captions = caption_photos(model, store, photo_ids, words, BEAM)
    answers = answer_questions(model, store, records, words)
    return {**captions_by_metric(captions, records), **answers_by_metric(answers, records)}


def captions_by_metric(captions: Mapping[str, str], records: Sequence[Record]) -> dict[str, Scored]:
    """By metric, of each data set's photos that have five captions."""
    scores = {}
    for source, group in by_source(captioned(records)).items():
        values = score_captions(captions, tokenized_references(group))
        scores[CAPTIONS[source]] = Scored(values, np.arange(len(group)))
    return scores


def answers_by_metric(answers: Mapping[str, Mapping[int, str]], records: Sequence[Record]) -> dict[str, Scored]:
    """By metric, of each data set's questions that people asked."""
    scores = {}
    for source, pairs in asked_by_source(records).items():
        values = np.array(vqa_scores([question for _, question in pairs], answers[source]).points)
        units = np.unique([record.photo_id for record, _ in pairs], return_inverse=True)[1]
        scores[ANSWERS[source]] = Scored(values, units)
    return scores


def references_by_source(records: Sequence[Record]) -> dict[str, Tokenized]:
    """Data set -> people's captions of its photos that have five."""
    return {source: tokenized_references(group) for source, group in by_source(captioned(records)).items()}


def cider_d_by_source(
    model: VisionLanguageModel,
    store: RegionStore,
    references: Mapping[str, Tokenized],
    words: Words,
    beam: BeamSettings,
) -> dict[str, float]:
    """Of each data set's photos, with the idf of its own references; under "all" the mean over all photos, which
    snapshots and ways to search are chosen by."""
    photo_ids = [photo_id for group in references.values() for photo_id in group]
    said = caption_photos(model, store, photo_ids, words, beam)
    values = {source: score_captions(said, group) for source, group in references.items()}
    together = np.concatenate([*values.values()])
    return {**{source: float(each.mean()) for source, each in values.items()}, "all": float(together.mean())}


def write_scores(path: Path, scores: Mapping[str, Scored]) -> None:
    arrays = {f"{metric}/{part}": getattr(one, part) for metric, one in scores.items() for part in ("values", "units")}
    save_arrays_atomically(path, arrays)


def read_scores(path: Path) -> dict[str, Scored]:
    with np.load(path) as arrays:
        metrics = dict.fromkeys(name.rpartition("/")[0] for name in arrays)
        return {metric: Scored(arrays[f"{metric}/values"], arrays[f"{metric}/units"]) for metric in metrics}
