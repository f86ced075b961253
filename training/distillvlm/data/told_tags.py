"""Tags of photos that are not at hand, from what people say of them: "two boys and a ball" are person and ball."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

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


def _plural(name: str) -> str:
    return name + ("es" if name.endswith(("s", "x", "ch", "sh")) else "s")
