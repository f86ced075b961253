"""Data sets differ in how people were asked to write: a photo's tags may end with the name of the set it is from.

A model that is told the source need not learn one style for all; where it is not told, as in a server, it has to.
"""

# Shapes: n photos, V views, G tags.
from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass

import numpy as np

SOURCE_WORDS = ("flickr", "coco", "daquar")
"""Tag words that no detector gives. Flickr30k's captions were written as Flickr8k's were."""
_WORD_OF_SOURCE = {"flickr8k": "flickr", "flickr30k": "flickr", "coco": "coco", "daquar": "daquar"}


def source_row(photo_id: str) -> int:
    """Place in `SOURCE_WORDS` of the data set that a photo's id begins with.

    Raises:
        ValueError: it is no known one.
    """
    source = photo_id.split("/", 1)[0]
    if source not in _WORD_OF_SOURCE:
        raise ValueError(f"Expected a photo of {', '.join(_WORD_OF_SOURCE)} but received {photo_id!r}")
    return SOURCE_WORDS.index(_WORD_OF_SOURCE[source])


@dataclass(frozen=True)
class SourceTags:
    """first_row: of `SOURCE_WORDS` among the tag words. shown: how often a source is told, 0-1."""

    first_row: int
    shown: float

    def rows(self, photo_ids: Sequence[str]) -> np.ndarray:
        """Int64 [n]."""
        return np.array([self.first_row + source_row(photo_id) for photo_id in photo_ids], np.int64)


def with_source_tags(
    tags_nVG: np.ndarray, photo_ids: Sequence[str], trained: Container[str], sources: SourceTags, seed: int
) -> np.ndarray:
    """The tags with one more place [n, V, G + 1]: the source's row in its share of the views of training photos, or
    -1."""
    is_shown_nV = np.random.default_rng((seed, 5)).random(tags_nVG.shape[:2]) < sources.shown
    is_shown_nV &= np.array([photo_id in trained for photo_id in photo_ids])[:, None]
    rows_nV = np.where(is_shown_nV, sources.rows(photo_ids)[:, None], -1)
    return np.concatenate([tags_nVG, rows_nV[..., None]], axis=2)
