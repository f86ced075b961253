"""How a concept head errs on photos that it has not seen, and tags with the same errors for photos that are not at
hand: a model that learns from texts then trusts tags as far as they deserve."""

# Shapes: n photos, V views, G tags, W concept words, S bins of a word's share of the captions.
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from distillvlm.data.concepts import ToldShares

# A word that all five captions say is found more often than one that a single caption says.
SHARE_BOUNDS = (0.25, 0.5, 0.75)
PSEUDO_PHOTOS = 4  # as many as the rates of all words count for beside those of one word


@dataclass(frozen=True)
class Confusion:
    """Rates of right and wrong tags. A tag is right if any caption of its photo says the word.

    recall: [W, S], chance that a word is among the tags, given the share of the captions that say it.
    wrong: [W + 1, W], chance that a word is a wrong tag of a photo whose captions say the row's word; the last row is
        that of any photo.
    sizes: [G + 1], chance that a photo has so many tags.
    right_ranks, wrong_ranks: [W], mean rank (0 for the first) of a word where it is a right or a wrong tag.
    spreads: [2], standard deviations of right and wrong tags' ranks around the means of their words.
    """

    words: tuple[str, ...]
    recall: np.ndarray
    wrong: np.ndarray
    sizes: np.ndarray
    right_ranks: np.ndarray
    wrong_ranks: np.ndarray
    spreads: np.ndarray

    def draw(self, told: Mapping[int, float], draw: np.random.Generator) -> list[int]:
        """Tags of a photo, most certain first, as the head might have given them.

        told: rows of the words that its captions say, with their shares of the captions (see `ToldShares`).
        """
        rows = np.fromiter(told, int, len(told))
        found = draw.random(len(rows)) < self.recall[rows, _bins(np.fromiter(told.values(), float, len(told)))]
        right = rows[found]
        size = int(draw.choice(len(self.sizes), p=self.sizes))
        wrong = self._draw_wrong(rows, max(0, size - len(right)), draw)
        means = np.concatenate([self.right_ranks[right], self.wrong_ranks[wrong]])
        spreads = np.repeat(self.spreads, [len(right), len(wrong)])
        order = np.argsort(means + spreads * draw.standard_normal(len(means)), kind="stable")
        return np.concatenate([right, wrong])[order][: len(self.sizes) - 1].tolist()

    def _draw_wrong(self, told_rows: np.ndarray, count: int, draw: np.random.Generator) -> np.ndarray:
        """So many different words that nobody says, by their chances beside the told ones."""
        chances_W = self.wrong[told_rows].mean(0) if len(told_rows) else self.wrong[-1].copy()
        chances_W[told_rows] = 0
        count = min(count, int(np.count_nonzero(chances_W)))
        # the largest of log chances plus Gumbel noise are a draw without replacement
        noise_W = -np.log(draw.exponential(size=len(chances_W)))
        with np.errstate(divide="ignore"):
            return np.argsort(-(np.log(chances_W) + noise_W), kind="stable")[:count]

    def save(self, path: Path) -> None:
        arrays: dict[str, Any] = {field.name: np.array(getattr(self, field.name)) for field in fields(self)}
        np.savez(path, **arrays)

    @classmethod
    def load(cls, path: Path) -> Confusion:
        with np.load(path) as file:
            arrays = {field.name: file[field.name] for field in fields(cls)}
        return cls(**{**arrays, "words": tuple(arrays["words"].tolist())})


def measure_confusion(tags_nVG: np.ndarray, shares_nW: np.ndarray, words: Sequence[str]) -> Confusion:
    """The errors of tags on photos whose captions say words: shares as `concept_shares` gives them.

    Each photo counts once, however many views it has. Raises:
        ValueError: there are no photos, or their numbers differ.
    """
    if not len(tags_nVG) == len(shares_nW) > 0:
        raise ValueError(f"Expected tags and shares of photos but received {len(tags_nVG)} and {len(shares_nW)}")
    told_nW = shares_nW > 0
    views, places = tags_nVG.shape[1:]
    photos, _, ranks = np.nonzero(tags_nVG >= 0)
    tags = tags_nVG[tags_nVG >= 0]
    right = told_nW[photos, tags]
    given_nW = np.zeros(shares_nW.shape, np.float32)  # share of the views
    np.add.at(given_nW, (photos, tags), 1 / views)
    sizes = np.bincount((tags_nVG >= 0).sum(-1).ravel(), minlength=places + 1)
    right_ranks, right_spread = _ranks(tags[right], ranks[right], len(words))
    wrong_ranks, wrong_spread = _ranks(tags[~right], ranks[~right], len(words))
    return Confusion(
        tuple(words),
        _recall(given_nW, shares_nW),
        _wrong(given_nW, told_nW),
        sizes / sizes.sum(),
        right_ranks,
        wrong_ranks,
        np.array([right_spread, wrong_spread]),
    )


def _bins(shares: np.ndarray) -> np.ndarray:
    return np.digitize(shares, SHARE_BOUNDS, right=True)


def _recall(given_nW: np.ndarray, shares_nW: np.ndarray) -> np.ndarray:
    """Hits over told photos by bin; a word with few photos leans on its rate in other bins and on other words."""
    bins_nW = np.where(shares_nW > 0, _bins(shares_nW), -1)
    told = np.stack([(bins_nW == each).sum(0) for each in range(len(SHARE_BOUNDS) + 1)], axis=1)
    hits = np.stack([(given_nW * (bins_nW == each)).sum(0) for each in range(len(SHARE_BOUNDS) + 1)], axis=1)
    rates = hits.sum(0) / told.sum(0).clip(1)
    expected = told @ rates
    ease = (hits.sum(1) + PSEUDO_PHOTOS * rates.mean()) / (expected + PSEUDO_PHOTOS * rates.mean()).clip(1e-9)
    return (hits + PSEUDO_PHOTOS * (ease[:, None] * rates).clip(0, 1)) / (told + PSEUDO_PHOTOS)


def _wrong(given_nW: np.ndarray, told_nW: np.ndarray) -> np.ndarray:
    wrong_nW = given_nW * ~told_nW
    overall = wrong_nW.mean(0, keepdims=True)
    beside = told_nW.T.astype(np.float32) @ wrong_nW
    rows = (beside + PSEUDO_PHOTOS * overall) / (told_nW.sum(0)[:, None] + PSEUDO_PHOTOS)
    return np.concatenate([rows, overall]).astype(np.float32)


def _ranks(tags: np.ndarray, ranks: np.ndarray, num_words: int) -> tuple[np.ndarray, float]:
    """Mean rank of each word, and the deviation of ranks from their word's mean."""
    if not len(tags):
        return np.zeros(num_words), 0.0
    counts_W = np.bincount(tags, minlength=num_words)
    sums_W = np.bincount(tags, weights=ranks, minlength=num_words)
    means_W = (sums_W + PSEUDO_PHOTOS * ranks.mean()) / (counts_W + PSEUDO_PHOTOS)
    return means_W, float(np.sqrt(((ranks - means_W[tags]) ** 2).mean()))


class ConfusedTags:
    """Tags of photos that are not at hand, by what their captions say."""

    def __init__(self, confusion: Confusion, photos: Sequence[Sequence[str]]) -> None:
        """photos: the captions of each."""
        told = ToldShares(confusion.words)
        self.confusion = confusion
        self.told = [told(captions) for captions in photos]

    def draw(self, photo: int, draw: np.random.Generator) -> list[int]:
        """Tags of the photo in that place, most certain first."""
        return self.confusion.draw(self.told[photo], draw)
