import random

import pytest

from distillvlm.evaluation.captions import cider_d
from distillvlm.losses.cider import CiderD

WORDS = ["a", "red", "dog", "cat", "on", "the", "beach", "runs", "sleeps", "."]


def sentences(draw: random.Random, count: int) -> list[str]:
    return [" ".join(draw.choices(WORDS, weights=range(1, 11), k=draw.randint(1, 12))) for _ in range(count)]


def test_scores_equal_pycocoevalcaps_with_the_document_frequencies_of_a_corpus() -> None:
    draw = random.Random(0)
    corpus = [sentences(draw, 3) for _ in range(40)]
    references = {str(photo): sentences(draw, draw.randint(1, 5)) for photo in range(30)}
    captions = {photo: sentences(draw, 1) for photo in references}
    captions["0"], captions["1"], captions["2"] = [""], ["unseen"], ["dog dog dog dog dog dog"]
    captions["3"] = references["3"][:1]
    reward = CiderD([[text.split() for text in texts] for texts in corpus])
    found = [
        reward.scores([captions[photo][0].split()], [text.split() for text in texts])[0]
        for photo, texts in references.items()
    ]
    assert [100 * score for score in found] == pytest.approx(cider_d(captions, references, corpus), rel=1e-9)
    assert min(found) == 0 < max(found)


def test_a_repeated_reference_scores_ten_where_it_has_four_words() -> None:
    reward = CiderD([[["a", "dog", "runs", "fast"]], [["a", "cat", "sleeps"]]])
    text = ["dog", "runs", "fast", "home"]
    assert reward.scores([text], [text, text]) == pytest.approx([10.0])


def test_a_corpus_or_references_that_are_missing_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one photo"):
        CiderD([])
    with pytest.raises(ValueError, match="at least one reference"):
        CiderD([[["a"]]]).scores([["a"]], [])
