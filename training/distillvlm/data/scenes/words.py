"""How one person speaks of a scene: which words, in which order, with which slips."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from random import Random

from distillvlm.data.scenes.difficulty import Difficulty
from distillvlm.data.scenes.layout import Thing
from distillvlm.data.scenes.lexicon import NUMBERS, plural, words_for

_WORD_SHARES = (0.6, 0.25, 0.15)  # of a notion's first, second and third word


@dataclass(frozen=True)
class Annotator:
    """random: this person's own. The same person may use two words for one notion."""

    random: Random
    difficulty: Difficulty

    def errs(self) -> bool:
        return self.random.random() < self.difficulty.disagreement

    def word(self, notion: str) -> str:
        known = words_for(notion)[: self.difficulty.synonyms]
        return self.random.choices(known, _WORD_SHARES[: len(known)])[0]

    def seen(self, thing: Thing) -> Thing:
        """The thing as this person takes it: now and then of another colour or kind."""
        if not self.errs():
            return thing
        if self.random.random() < 0.5:
            return replace(thing, colour=self.random.choice(self.difficulty.colours))
        return replace(thing, category=self.random.choice(self.difficulty.categories))

    def phrase(self, things: Sequence[Thing], sizes: bool) -> str:
        """ "a big red car", or for several things that are described alike "two red cars"."""
        first = things[0]
        said = [self.word(first.size)] if sizes and first.size in first.attributes else []
        said += [self.word(first.pattern)] if first.pattern in first.attributes else []
        said.append(self.word(first.colour))
        name = self.word(first.category)
        if len(things) == 1:
            return with_article(" ".join([*said, name]))
        return " ".join([NUMBERS[len(things)], *said, plural(name)])

    def phrases(self, things: Sequence[Thing], sizes: bool) -> str:
        """All things, those that are described alike counted: "two red cars, a green ball and a blue cup"."""
        groups: dict[tuple[str, ...], list[Thing]] = {}
        for thing in things:
            key = (thing.category, thing.colour, thing.pattern, thing.size if sizes else "")
            groups.setdefault(key, []).append(thing)
        return listed([self.phrase(group, sizes) for group in groups.values()])


def with_article(words: str) -> str:
    return f"{'an' if words[0] in 'aeiou' else 'a'} {words}"


def listed(phrases: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    if len(phrases) == 1:
        return phrases[0]
    return f"{', '.join(phrases[:-1])} and {phrases[-1]}"
