"""Content words by a small WordNet of our own, and what captions say of them."""

from pathlib import Path

import numpy as np
import pytest

from distillvlm.data.concepts import concept_shares, concept_words
from distillvlm.data.content_words import ContentWords

from .wordnet_files import write_wordnet

LEMMAS = {
    "noun": ("dog", "man", "beach", "wolf", "knife", "baby", "in", "he", "couch"),
    "verb": ("run", "jog", "chase", "lie", "carry", "be"),
    "adj": ("brown", "big", "happy", "in", "on", "large"),
}


@pytest.fixture
def wordnet(tmp_path: Path) -> Path:
    return write_wordnet(tmp_path, LEMMAS)


NOUNS = ("dog", "dogs", "beaches", "wolves", "knives", "babies", "men", "children")
VERBS = ("running", "jogged", "chases", "chasing", "chased", "lying", "carried", "ran")
ADJECTIVES = ("brown", "bigger", "happiest", "largest")


@pytest.mark.parametrize("word", [*NOUNS, *VERBS, *ADJECTIVES])
def test_nouns_verbs_and_adjectives_are_content_in_every_form(wordnet: Path, word: str) -> None:
    assert word in ContentWords(wordnet)


@pytest.mark.parametrize("word", ["in", "on", "he", "is", "the", "his", "left", "into", "d", "zebra", ""])
def test_function_words_sides_and_what_wordnet_does_not_have_are_not(wordnet: Path, word: str) -> None:
    assert word not in ContentWords(wordnet)


def test_a_wordnet_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"index\.noun"):
        ContentWords(tmp_path)


PHOTOS = (
    ("A brown dog, running", "two dogs and a dog"),
    ("a dog on a beach",),
    ("a man", "men on the beach", "a Beach", "sand"),
    (),
)


def test_words_stand_by_the_number_of_photos_that_they_are_said_of_and_then_by_name(wordnet: Path) -> None:
    content = ContentWords(wordnet)
    words = concept_words(PHOTOS, content, min_photos=1)
    assert words == ("beach", "dog", "brown", "dogs", "man", "men", "running")
    assert concept_words(PHOTOS, content, size=3, min_photos=1) == words[:3]
    assert concept_words(PHOTOS, content, min_photos=2) == ("beach", "dog")


def test_of_words_that_are_not_told_apart_the_one_said_of_most_photos_stands(wordnet: Path) -> None:
    words = concept_words(PHOTOS, ContentWords(wordnet), size=4, min_photos=1, told_by=lambda word: word[:3])
    assert words == ("beach", "dog", "brown", "man")


def test_a_share_is_of_the_captions_that_say_the_word_once_or_more() -> None:
    shares = concept_shares(PHOTOS, ("beach", "dog", "men"))
    assert shares.dtype == np.float32
    np.testing.assert_allclose(shares, [[0, 1, 0], [1, 1, 0], [0.5, 0, 0.25], [0, 0, 0]])
