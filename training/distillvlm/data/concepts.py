"""Concepts: the content words that people use of photos, and which of them a photo's captions say."""

# Shapes: n photos, W concept words.
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Container, Hashable, Iterable, Sequence

import numpy as np

from distillvlm.data.vocabulary import told_apart

FEWEST_PHOTOS = 10  # that a word must be said of, to be learnt from them


def said_words(text: str) -> list[str]:
    """The words of a sentence, lower case, as they are written."""
    return re.findall(r"[a-z]+", text.lower())


def concept_words(
    photos: Iterable[Sequence[str]],
    content_words: Container[str],
    size: int = 800,
    min_photos: int = FEWEST_PHOTOS,
    told_by: Callable[[str], Hashable] = str,
) -> tuple[str, ...]:
    """At most `size` content words in the forms that people write, those that are said of most photos first.

    photos: the captions of each. content_words: see `ContentWords`. min_photos: words of fewer photos are left out.
    told_by: see `told_apart`.
    """
    counts = Counter(word for captions in photos for word in {word for text in captions for word in said_words(text)})
    frequent = (word for word, count in counts.items() if count >= min_photos and word in content_words)
    return tuple(told_apart(sorted(frequent, key=lambda word: (-counts[word], word)), told_by)[:size])


def concept_shares(photos: Sequence[Sequence[str]], words: Sequence[str]) -> np.ndarray:
    """The share of each photo's captions that say each word: float32 [n, W], 0 for a photo without captions."""
    told = ToldShares(words)
    shares = np.zeros((len(photos), len(words)), np.float32)
    for row, captions in enumerate(photos):
        said = told(captions)
        shares[row, list(said)] = list(said.values())
    return shares


class ToldShares:
    """Which concept words captions say, and the share of them that does."""

    def __init__(self, words: Sequence[str]) -> None:
        self.row_of = {word: row for row, word in enumerate(words)}

    def __call__(self, captions: Sequence[str]) -> dict[int, float]:
        """Rows of the words that any caption says, in rising order, each with its share of the captions."""
        counts = Counter(row for text in captions for row in {self.row_of.get(word, -1) for word in said_words(text)})
        return {row: counts[row] / len(captions) for row in sorted(counts) if row >= 0}
