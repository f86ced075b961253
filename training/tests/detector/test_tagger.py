from __future__ import annotations

import pytest
import torch

from distillvlm.modeling.detector.tagger import Tagger

LABELS = ("ball", "box", "cat")


def test_distinct_labels_by_their_best_score_then_minus_one() -> None:
    tagger = Tagger(LABELS, num_tags=3, threshold=0.3)
    labels, scores = torch.tensor([[2, 0, 2, 1, -1]]), torch.tensor([[0.5, 0.9, 0.8, 0.2, 0.0]])
    assert tagger(labels, scores).tolist() == [[0, 2, -1]]


def test_more_tags_than_words_are_refused() -> None:
    with pytest.raises(ValueError, match="num_tags"):
        Tagger(LABELS, 4, 0.3)
