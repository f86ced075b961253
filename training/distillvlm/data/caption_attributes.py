"""Attributes of boxes, mined from captions: "a brown dog" makes the photo's only dog brown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace

from distillvlm.data.concepts import said_words
from distillvlm.data.records import ObjectBox, Record

COLOURS = (
    *("black", "blue", "brown", "gold", "green", "grey", "orange"),
    *("pink", "purple", "red", "silver", "tan", "white", "yellow"),
)
SIZES_AND_AGES = ("big", "long", "old", "short", "small", "tall", "young")
MATERIALS = ("brick", "glass", "leather", "metal", "paper", "plastic", "stone", "stuffed", "wooden")
PATTERNS = ("checkered", "plaid", "spotted", "striped")
ATTRIBUTES = (*COLOURS, *SIZES_AND_AGES, *MATERIALS, *PATTERNS)

SPELLINGS = {"gray": "grey", "golden": "gold", "large": "big", "huge": "big", "little": "small", "tiny": "small"}

# What captions call COCO's classes, beside their own names.
SYNONYMS = {
    "person": ("man", "woman", "boy", "girl", "child", "kid", "baby", "toddler", "lady", "guy"),
    "airplane": ("plane", "jet"),
    "bicycle": ("bike",),
    "boat": ("canoe", "kayak", "raft", "sailboat", "ship"),
    "car": ("taxi", "van"),
    "cat": ("kitten",),
    "cell phone": ("phone",),
    "couch": ("sofa",),
    "cow": ("bull", "calf"),
    "cup": ("mug",),
    "dining table": ("table",),
    "dog": ("puppy", "poodle", "retriever", "terrier"),
    "fire hydrant": ("hydrant",),
    "handbag": ("bag", "purse"),
    "horse": ("pony",),
    "motorcycle": ("motorbike",),
    "potted plant": ("plant",),
    "refrigerator": ("fridge",),
    "sports ball": ("ball",),
    "tv": ("television",),
}
# "A white man" does not speak of what a detector should learn to see.
UNSAID_OF = {"person": frozenset(COLOURS)}


def add_caption_attributes(records: Iterable[Record], min_score: float = 0.4) -> list[Record]:
    """The records with attributes given to boxes without any, where the photo has one box of the class only.

    min_score: boxes below it neither get attributes nor count.
    """
    return [replace(record, objects=tuple(_attributed(record, min_score))) for record in records]


def _attributed(record: Record, min_score: float) -> Iterator[ObjectBox]:
    sentences = [said_words(caption) for caption in record.captions]
    boxes = Counter(thing.label for thing in record.objects if thing.score >= min_score)
    for thing in record.objects:
        if thing.attributes or thing.score < min_score or boxes[thing.label] > 1:
            yield thing
            continue
        said = {word for sentence in sentences for word in _words_before(sentence, thing.label)}
        said -= UNSAID_OF.get(thing.label, frozenset())
        yield replace(thing, attributes=tuple(word for word in ATTRIBUTES if word in said))


def _words_before(sentence: list[str], label: str) -> Iterator[str]:
    """Attributes in the unbroken run before any name of the class: "a big black and white dog"."""
    for name in (label, *SYNONYMS.get(label, ())):
        phrase = name.split()
        for start in range(1, len(sentence) - len(phrase) + 1):
            if sentence[start : start + len(phrase)] != phrase:
                continue
            for word in reversed(sentence[:start]):
                spelling = SPELLINGS.get(word, word)
                if spelling in ATTRIBUTES:
                    yield spelling
                elif word != "and":
                    break
