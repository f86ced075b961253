"""What sentences betray without anything to compare them with."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

_FUNCTION_WORDS = """
    a an the and or of in on at to by with from for near over under into onto through next is are while that
"""


def distinct_sentences(captions: Iterable[str]) -> int:
    """How many different sentences there are, letter case and spacing aside."""
    return len({" ".join(caption.lower().split()) for caption in captions})


def function_word_endings(captions: Iterable[str]) -> float:
    """Share (0-1) of captions that break off at a function word ("a dog in a"), a known fault of training on CIDEr-D.

    Raises:
        ValueError: there are no captions.
    """
    function_words = set(_FUNCTION_WORDS.split())
    endings = Counter((caption.lower().rstrip(" .").split() or [""])[-1] in function_words for caption in captions)
    if not endings:
        raise ValueError("Expected at least one caption but received none")
    return endings[True] / endings.total()
