from __future__ import annotations

import pytest
import torch

from distillvlm.modeling.detector.tagger import ClassifierTags, Tagger

LABELS = ("ball", "box", "cat")
# three classes: Egyptian cat and tabby count for cat, espresso for coffee
TAGS = ClassifierTags(
    words=("cat", "coffee"),
    table=torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]),
    prior=torch.tensor([0.25, 0.01]),
    threshold=0.5,
)


def detections(*pairs: tuple[int, float]) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor([[label for label, _ in pairs]]), torch.tensor([[score for _, score in pairs]])


def test_distinct_labels_by_their_best_score_then_minus_one() -> None:
    tagger = Tagger(LABELS, num_tags=3, threshold=0.3, classifier=None)
    labels, scores = detections((2, 0.5), (0, 0.9), (2, 0.8), (1, 0.2), (-1, 0.0))
    assert tagger(labels, scores, None).tolist() == [[0, 2, -1]]


def test_words_are_the_labels_then_what_only_the_classifier_knows() -> None:
    assert Tagger(LABELS, 3, 0.3, TAGS).words == ("ball", "box", "cat", "coffee")


def test_classes_of_a_word_are_summed_and_weighed_by_the_root_of_its_mean() -> None:
    tagger = Tagger(LABELS, 3, 0.3, TAGS)
    nothing = detections((-1, 0.0))
    # cat (0.12 + 0.12) / 0.5 = 0.48, coffee 0.06 / 0.1 = 0.6
    assert tagger(*nothing, torch.tensor([[0.12, 0.12, 0.06]])).tolist() == [[3, -1, -1]]
    # cat 0.52, coffee 0.6: the rarer word first
    assert tagger(*nothing, torch.tensor([[0.13, 0.13, 0.06]])).tolist() == [[3, 2, -1]]


@pytest.mark.parametrize(("first", "expected"), [(False, [0, 3, -1]), (True, [3, 0, -1])])
def test_classifier_fills_what_detections_leave_or_comes_first(first: bool, expected: list[int]) -> None:
    tags = ClassifierTags(TAGS.words, TAGS.table, TAGS.prior, first=first)
    tagger = Tagger(LABELS, 3, 0.3, tags)
    assert tagger(*detections((0, 0.4)), torch.tensor([[0.0, 0.0, 1.0]])).tolist() == [expected]


def test_word_from_both_sources_stands_once_and_max_words_caps_the_classifier() -> None:
    tags = ClassifierTags(TAGS.words, TAGS.table, TAGS.prior, max_words=1)
    tagger = Tagger(LABELS, 3, 0.3, tags)
    probabilities = torch.tensor([[0.4, 0.4, 0.1]])  # cat 1.6, coffee 1.0
    assert tagger(*detections((2, 0.9)), probabilities).tolist() == [[2, -1, -1]]


def test_of_words_for_the_same_classes_the_earlier_comes_first_whatever_the_rounding() -> None:
    tags = ClassifierTags(("pet", "animal"), torch.ones(3, 2), torch.tensor([0.3, 0.3]))
    tagger = Tagger((), 2, 0.3, tags)
    for nudge in (1 - 1e-6, 1 + 1e-6):
        tagger.table.copy_(torch.tensor([[1.0, nudge]] * 3))
        assert tagger(*detections((-1, 0.0)), torch.tensor([[0.5, 0.3, 0.2]])).tolist() == [[0, 1]]


def test_table_of_another_size_than_its_words_is_refused() -> None:
    with pytest.raises(ValueError, match="table"):
        ClassifierTags(("cat",), torch.zeros(3, 2), torch.zeros(1))


def test_more_tags_than_words_are_refused() -> None:
    with pytest.raises(ValueError, match="num_tags"):
        Tagger(LABELS, 4, 0.3, None)
