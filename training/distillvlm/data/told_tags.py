"""Tags of photos that are not at hand, from what people say of them: "two boys and a ball" are person and ball."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from distillvlm.data.caption_attributes import SYNONYMS
from distillvlm.data.concepts import said_words

# Plurals that no rule makes.
PLURALS = {"person": ("people", "men", "women", "children", "ladies", "babies"), "knife": ("knives",)}


class ToldTags:
    """Finds tag words in sentences: by name, by synonym, in the plural."""

    def __init__(self, tags: Sequence[str]) -> None:
        """tags: the list of tag words, whose rows are what is found."""
        self.rows_of: dict[tuple[str, ...], set[int]] = defaultdict(set)
        for row, tag in enumerate(tags):
            names = (tag, *SYNONYMS.get(tag, ()))
            for name in (*names, *map(_plural, names), *PLURALS.get(tag, ())):
                self.rows_of[tuple(name.split())].add(row)
        self.longest = max(map(len, self.rows_of), default=0)

    def __call__(self, sentences: Iterable[str]) -> tuple[int, ...]:
        """Rows of the tags that the sentences tell of, in rising order."""
        found: set[int] = set()
        for sentence in sentences:
            words = said_words(sentence)
            for start in range(len(words)):
                for length in range(1, self.longest + 1):
                    found |= self.rows_of.get(tuple(words[start : start + length]), set())
        return tuple(sorted(found))


# Detector and classifier find 0.38 of the tags that a photo's captions tell of, among 6.3 tags of which a quarter are
# told of; of the two most certain 0.58 (Flickr8k's and COCO's training photos, `photos-small`).
KEPT_SHARE = 0.4
STRANGERS = 3  # photos whose tags are mixed in, the same share of each
CERTAINTY = 4  # how far ahead a photo's own tags stand


class StrangeTags:
    """Some of the tags that a photo's captions tell of, in front as a rule, and some of any other photos'."""

    def __init__(self, tags: Sequence[str], photos: Sequence[Sequence[str]]) -> None:
        """photos: the captions of each."""
        told = ToldTags(tags)
        self.told = [told(captions) for captions in photos]

    def draw(self, photo: int, draw: np.random.Generator) -> list[int]:
        """Tags of the photo in that place, most certain first."""
        strangers = [self.told[other] for other in draw.integers(len(self.told), size=STRANGERS)]
        places = {tag: draw.random() for tags in strangers for tag in tags if draw.random() < KEPT_SHARE}
        places |= {tag: draw.random() ** CERTAINTY for tag in self.told[photo] if draw.random() < KEPT_SHARE}
        return sorted(places, key=places.__getitem__)


def _plural(name: str) -> str:
    return name + ("es" if name.endswith(("s", "x", "ch", "sh")) else "s")
