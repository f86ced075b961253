"""What the captions and answers of one model score, scene by scene, for intervals that pair them with another's."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from distillvlm.data.atomic_files import save_arrays_atomically
from distillvlm.data.records import Record
from distillvlm.data.region_store import RegionStore
from distillvlm.data.scenes.files import SOURCE
from distillvlm.data.words import Words
from distillvlm.evaluation.captions import Tokenized, score_captions
from distillvlm.evaluation.comparisons import Scored
from distillvlm.evaluation.predictions import DENSE, answer_questions, caption_photos
from distillvlm.evaluation.vqa import vqa_scores
from distillvlm.modeling.layouts import Layout
from distillvlm.modeling.vision_language import VisionLanguageModel

UNIT = "scene"


@dataclass(frozen=True)
class Said:
    """A model, the regions that it speaks of, and the layout in which it was trained."""

    model: VisionLanguageModel
    store: RegionStore
    layout: Layout = DENSE


@dataclass(frozen=True)
class Scores:
    """captions: CIDEr-D of each scene, with the idf of the references. answers: official VQA accuracy of each question,
    in points, and `scenes`, the number of its scene; both in the order of the records."""

    captions: NDArray[np.float64]
    answers: NDArray[np.float64]
    scenes: NDArray[np.int64]

    def by_metric(self) -> dict[str, Scored]:
        return {
            "CIDEr-D": Scored(self.captions, np.arange(len(self.captions))),
            "VQA": Scored(self.answers, self.scenes),
        }


def score(said: Said, records: Sequence[Record], words: Words, references: Tokenized) -> Scores:
    """Captions by beam search, and the likeliest answer to each question. references: `tokenized_references`."""
    captions = caption_photos(said.model, said.store, [record.photo_id for record in records], words)
    answers = answer_questions(said.model, said.store, records, words, layout=said.layout)[SOURCE]
    questions = [question for record in records for question in record.questions]
    return Scores(
        captions=score_captions(captions, references),
        answers=np.array(vqa_scores(questions, answers).points),
        scenes=np.repeat(np.arange(len(records)), [len(record.questions) for record in records]),
    )


def write_scores(path: Path, scores: Scores) -> None:
    save_arrays_atomically(path, asdict(scores))


def read_scores(path: Path) -> Scores:
    with np.load(path) as arrays:
        return Scores(**arrays)
