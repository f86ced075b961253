"""How hard generated scenes are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from distillvlm.data.scenes.lexicon import BACKGROUNDS, CATEGORIES, COLOURS


@dataclass(frozen=True)
class Difficulty:
    """What scenes hold and how people speak of them.

    categories: most frequent first. category_skew: exponent of their Zipf law, 0 for equal shares.
    things: how many are in a scene, and the weight of each number.
    sizes: the range of each size in shares of the picture's side (the root of a thing's area); a word that starts with
        "medium" is never said.
    max_covered: largest share of a thing's box that others may cover.
    blurred: share of scenes out of focus.
    synonyms: words for each notion, 1-3. sentences: names of the sentence patterns (see captions.py).
    mentions_all: every caption names every thing; else a subset drawn by salience.
    disagreement: chance that an annotator errs in a word of a caption or in an answer.
    questions: how many of each type are asked.
    """

    name: str
    categories: tuple[str, ...]
    colours: tuple[str, ...]
    patterns: tuple[str, ...]
    backgrounds: tuple[str, ...]
    things: Mapping[int, float]
    sizes: Mapping[str, tuple[float, float]]
    sentences: tuple[str, ...]
    category_skew: float = 0.0
    max_covered: float = 0.0
    blurred: float = 0.0
    synonyms: int = 1
    mentions_all: bool = True
    disagreement: float = 0.0
    questions: int = 1


SMOKE = Difficulty(
    name="smoke",
    categories=(
        "ball",
        "car",
        "tree",
        "house",
        "cup",
        "umbrella",
        "kite",
        "star",
        "boat",
        "bird",
        "chair",
        "flower",
    ),
    colours=("red", "blue", "green", "yellow", "purple", "orange"),
    patterns=("plain",),
    backgrounds=("grass", "snow", "night"),
    things={1: 0.8, 2: 0.2},
    sizes={"small": (0.26, 0.32), "big": (0.44, 0.54)},
    sentences=("list", "relation"),
    max_covered=0.1,
    questions=2,
)

STUDY = Difficulty(
    name="study",
    categories=tuple(CATEGORIES),
    colours=tuple(COLOURS),
    patterns=("plain", "plain", "plain", "striped", "dotted", "checkered"),
    backgrounds=tuple(BACKGROUNDS),
    things={1: 0.2, 2: 0.35, 3: 0.3, 4: 0.15},
    sizes={"small": (0.085, 0.13), "medium": (0.17, 0.25), "big": (0.3, 0.42)},
    sentences=("list", "relation", "there is", "place first", "picture of", "is seen"),
    category_skew=0.8,
    max_covered=0.45,
    blurred=0.25,
    synonyms=3,
    mentions_all=False,
    disagreement=0.08,
    questions=2,
)
