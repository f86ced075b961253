"""What scenes are made of, and the words for it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Category:
    """A kind of thing. aspect: width / height. zone: where it is put. synonyms: in order of frequency."""

    name: str
    aspect: float
    zone: Literal["ground", "air"] = "ground"
    synonyms: tuple[str, ...] = ()


_CATEGORIES = (
    Category("apple", 0.95, synonyms=("fruit", "ripe apple")),
    Category("ball", 1.0, synonyms=("sphere", "toy ball")),
    Category("balloon", 0.62, "air", synonyms=("party balloon", "inflated balloon")),
    Category("bird", 1.2, "air", synonyms=("songbird", "sparrow")),
    Category("boat", 1.0, synonyms=("sailboat", "ship")),
    Category("book", 0.8, synonyms=("novel", "notebook")),
    Category("bottle", 0.42, synonyms=("flask", "jar")),
    Category("box", 1.0, synonyms=("crate", "cube")),
    Category("bus", 1.8, synonyms=("coach", "minibus")),
    Category("butterfly", 1.1, "air", synonyms=("moth", "insect")),
    Category("cake", 1.1, synonyms=("birthday cake", "dessert")),
    Category("candle", 0.5, synonyms=("lit candle", "wax candle")),
    Category("car", 1.75, synonyms=("automobile", "vehicle")),
    Category("chair", 0.8, synonyms=("seat", "stool")),
    Category("clock", 1.0, synonyms=("watch", "timepiece")),
    Category("cup", 1.1, synonyms=("mug", "coffee cup")),
    Category("duck", 1.15, synonyms=("rubber duck", "duckling")),
    Category("fish", 1.5, synonyms=("goldfish", "trout")),
    Category("flower", 0.75, synonyms=("blossom", "bloom")),
    Category("hat", 1.5, synonyms=("cap", "top hat")),
    Category("hot air balloon", 0.8, "air", synonyms=("airship", "aerostat")),
    Category("house", 1.05, synonyms=("home", "cottage")),
    Category("kite", 0.75, "air", synonyms=("toy kite", "flying kite")),
    Category("lamp", 0.7, synonyms=("light", "desk lamp")),
    Category("mushroom", 1.05, synonyms=("toadstool", "fungus")),
    Category("rocket", 0.55, synonyms=("spaceship", "missile")),
    Category("star", 1.05, "air", synonyms=("shape", "pentagram")),
    Category("table", 1.5, synonyms=("desk", "bench")),
    Category("tent", 1.25, synonyms=("camp", "tepee")),
    Category("tree", 0.8, synonyms=("bush", "oak")),
    Category("umbrella", 1.0, synonyms=("parasol", "brolly")),
)
CATEGORIES: Mapping[str, Category] = {category.name: category for category in _CATEGORIES}

COLOURS: Mapping[str, tuple[int, int, int]] = {
    "red": (222, 38, 44),
    "blue": (42, 96, 222),
    "green": (44, 172, 74),
    "yellow": (252, 216, 44),
    "purple": (142, 62, 190),
    "orange": (252, 136, 28),
    "pink": (250, 138, 186),
    "brown": (128, 78, 44),
    "white": (246, 246, 244),
    "black": (46, 46, 50),
    "grey": (150, 152, 158),
}

# Other words, in order of frequency, for everything but categories.
SYNONYMS: Mapping[str, tuple[str, ...]] = {
    "red": ("crimson", "scarlet"),
    "blue": ("azure", "navy"),
    "green": ("emerald", "lime"),
    "yellow": ("golden", "lemon"),
    "purple": ("violet", "lilac"),
    "orange": ("amber", "tangerine"),
    "pink": ("rose", "magenta"),
    "brown": ("tan", "chestnut"),
    "white": ("cream", "ivory"),
    "black": ("dark", "ebony"),
    "grey": ("gray", "silver"),
    "big": ("large", "huge"),
    "small": ("little", "tiny"),
    "striped": ("stripy", "lined"),
    "dotted": ("spotted", "polka dot"),
    "checkered": ("chequered", "checked"),
    "left of": ("to the left of", "on the left side of"),
    "right of": ("to the right of", "on the right side of"),
    "above": ("over", "higher than"),
    "below": ("under", "beneath"),
    "in front of": ("before", "close in front of"),
    "behind": ("in back of", "at the back of"),
    "next to": ("beside", "near"),
    "on the grass": ("in a meadow", "on a lawn"),
    "on the beach": ("on the sand", "by the sea"),
    "in the snow": ("in winter", "on white snow"),
    "on the water": ("on a lake", "in the sea"),
    "in a room": ("indoors", "on the floor"),
    "on the road": ("on a street", "on asphalt"),
    "in the desert": ("among dunes", "in a dry land"),
    "at night": ("under the stars", "in the dark"),
}

# A background's name is the answer to "where"; the phrase ends a sentence.
BACKGROUNDS: Mapping[str, str] = {
    "grass": "on the grass",
    "beach": "on the beach",
    "snow": "in the snow",
    "room": "in a room",
    "night": "at night",
    "water": "on the water",
    "road": "on the road",
    "desert": "in the desert",
}

NUMBERS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight")


def plural(name: str) -> str:
    if name.endswith(("fish", "trout")):
        return name
    if name.endswith(("s", "x", "ch", "sh")):
        return f"{name}es"
    return re.sub(r"(?<=[^aeiou])y$", "ie", name) + "s"


def words_for(word: str) -> tuple[str, ...]:
    """The word itself, then its synonyms."""
    category = CATEGORIES.get(word)
    return (word, *(category.synonyms if category else SYNONYMS.get(word, ())))
