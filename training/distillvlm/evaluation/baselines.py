"""What a model has to beat: answers that ignore the photo, and captions copied from the nearest training photo.

A blind model of the same size is not here: it is a training setting (regions masked out).
"""

# Shapes: Q photos to caption, N training photos, F feature size.
from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from distillvlm.data.records import Question
from distillvlm.evaluation.vqa import soft_targets

_SEARCHED_AT_ONCE = 1024  # rows of the similarity matrix held in memory


def majority_answer(training: Iterable[Question]) -> str:
    """The answer with the highest summed soft target: what scores best when it is given to every question.

    Raises:
        ValueError: no question has an answer.
    """
    totals: dict[str, float] = defaultdict(float)
    for question in training:
        for answer, target in soft_targets(question).items():
            totals[answer] += target
    if not totals:
        raise ValueError("Expected training questions with answers but received none")
    return max(totals, key=lambda answer: (totals[answer], answer))


def question_type_prior(training: Sequence[Question], questions: Iterable[Question]) -> dict[int, str]:
    """question_id -> the majority answer of the training questions of its type; of all where its type is new."""
    of_type: dict[str, list[Question]] = defaultdict(list)
    for question in training:
        of_type[_question_type(question)].append(question)
    prior = {name: majority_answer(group) for name, group in of_type.items()}
    overall = majority_answer(training)
    return {question.question_id: prior.get(_question_type(question), overall) for question in questions}


def _question_type(question: Question) -> str:
    """VQA v2's type, else the first two words (VQA v2's types are such beginnings)."""
    return question.question_type or " ".join(question.text.lower().split()[:2])


def nearest_neighbour_captions(
    features_QF: NDArray[np.floating],
    training_features_NF: NDArray[np.floating],
    training_captions: Sequence[Sequence[str]],
) -> list[str]:
    """The first caption of the training photo whose whole-image feature has the largest cosine, for each photo.

    Source: Devlin et al. 2015, arXiv:1505.04467 (with one neighbour).

    Raises:
        ValueError: captions are not given for each training photo, or feature sizes differ.
    """
    if len(training_captions) != len(training_features_NF):
        raise ValueError(
            f"Expected captions of {len(training_features_NF)} training photos but received {len(training_captions)}"
        )
    if features_QF.shape[1] != training_features_NF.shape[1]:
        raise ValueError(
            f"Expected features of size {training_features_NF.shape[1]} but received {features_QF.shape[1]}"
        )
    training_unit_NF = _unit_length(training_features_NF)
    query_unit_QF = _unit_length(features_QF)
    captions: list[str] = []
    for start in range(0, len(query_unit_QF), _SEARCHED_AT_ONCE):
        nearest = (query_unit_QF[start : start + _SEARCHED_AT_ONCE] @ training_unit_NF.T).argmax(axis=1)
        captions.extend(training_captions[index][0] for index in nearest)
    return captions


def _unit_length(features: NDArray[np.floating]) -> NDArray[np.float32]:
    rows = features.astype(np.float32)
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)
