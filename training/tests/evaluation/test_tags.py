import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from distillvlm.evaluation.tags import mean_average_precision, tag_scores


def test_precision_is_of_tags_and_recall_of_words_over_all_photos() -> None:
    said = np.array([[True, True, False, True], [False, False, True, False]])
    scores = tag_scores(np.array([[1, 2, -1], [2, -1, -1]]), said)
    assert scores == {"tags": 1.5, "precision": pytest.approx(2 / 3), "recall": pytest.approx(2 / 4)}


def test_no_tag_and_no_word_score_nothing() -> None:
    assert tag_scores(np.full((2, 3), -1), np.zeros((2, 4), bool)) == {"tags": 0, "precision": 0, "recall": 0}


def test_average_precision_is_scikit_learns_over_the_words_that_are_said() -> None:
    generator = np.random.default_rng(0)
    scores, said = generator.random((40, 5)), generator.random((40, 5)) < 0.3
    said[:, 3] = False
    expected = [average_precision_score(said[:, word], scores[:, word]) for word in (0, 1, 2, 4)]
    assert mean_average_precision(scores, said) == pytest.approx(np.mean(expected))
    assert mean_average_precision(scores, np.zeros_like(said)) == 0
