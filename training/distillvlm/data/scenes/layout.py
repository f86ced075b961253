"""What is in a scene and where: a pure function of (seed, split, number, difficulty)."""

from __future__ import annotations

from dataclasses import dataclass
from random import Random

from distillvlm.data.records import Split
from distillvlm.data.scenes.difficulty import Difficulty
from distillvlm.data.scenes.lexicon import CATEGORIES

Box = tuple[float, float, float, float]

HORIZON = 0.5
MARGIN = 0.02
_PLACEMENTS = 40
# Two things must be this far apart, in shares of the picture, to stand left of or above each other.
_CLEARLY = 0.16
_OPPOSITE = {
    "left of": "right of",
    "right of": "left of",
    "above": "below",
    "below": "above",
    "in front of": "behind",
    "behind": "in front of",
    "next to": "next to",
}


@dataclass(frozen=True)
class Thing:
    """box: x1, y1, x2, y2 in shares of the picture. size: a key of the difficulty's sizes."""

    category: str
    colour: str
    size: str
    pattern: str
    box: Box
    mirrored: bool

    @property
    def attributes(self) -> tuple[str, ...]:
        """Words that a person could say of it, colour first."""
        said = (self.colour, self.size, self.pattern)
        return tuple(word for word in said if word not in ("plain", "medium"))

    @property
    def centre(self) -> tuple[float, float]:
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2

    @property
    def salience(self) -> float:
        """Large things in the middle are spoken of first."""
        area = (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])
        return area * (1.2 - abs(self.centre[0] - 0.5) - abs(self.centre[1] - 0.5))


@dataclass(frozen=True)
class Scene:
    """things: from left to right, by their centres. blur: standard deviation in shares of the picture's side."""

    key: str
    background: str
    things: tuple[Thing, ...]
    blur: float

    def random(self, purpose: str) -> Random:
        """Numbers of their own for each purpose, the same on any machine."""
        return Random(f"{self.key}/{purpose}")


def make_scene(seed: int, split: Split, number: int, difficulty: Difficulty) -> Scene:
    """Test scenes hold a composition (category and colour) that no training or validation scene has."""
    key = f"{difficulty.name}/{seed}/{split}/{number}"
    random = Random(key)
    background = random.choice(difficulty.backgrounds)
    (wanted,) = random.choices(list(difficulty.things), list(difficulty.things.values()))
    compositions = _draw_compositions(random, split, wanted, difficulty)
    things: list[Thing] = []
    for category, colour in compositions:
        thing = _place(random, category, colour, things, difficulty)
        if thing is not None:
            things.append(thing)
    blur = random.uniform(0.006, 0.014) if random.random() < difficulty.blurred else 0.0
    return Scene(key, background, tuple(sorted(things, key=lambda thing: thing.centre)), blur)


def is_held_out(category: str, colour: str, difficulty: Difficulty) -> bool:
    """One colour of each category is kept for the test split; every colour is held out of some category."""
    return difficulty.colours[difficulty.categories.index(category) % len(difficulty.colours)] == colour


def relation(one: Thing, other: Thing) -> str:
    """How the first stands to the other, as a picture shows it: "left of", "above", "in front of", ... "next to"."""
    across, down = (mine - theirs for mine, theirs in zip(one.centre, other.centre, strict=True))
    if _covered(one.box, other.box) > 0.02 or _covered(other.box, one.box) > 0.02:
        return "in front of" if one.box[3] > other.box[3] else "behind"
    if abs(across) > max(abs(down), _CLEARLY):
        return "left of" if across < 0 else "right of"
    if abs(down) > max(abs(across), _CLEARLY):
        return "above" if down < 0 else "below"
    return "next to"


def opposite(said: str) -> str:
    return _OPPOSITE[said]


def _draw_compositions(random: Random, split: Split, wanted: int, difficulty: Difficulty) -> list[tuple[str, str]]:
    weights = [(rank + 1) ** -difficulty.category_skew for rank in range(len(difficulty.categories))]
    drawn: list[tuple[str, str]] = []
    while len(drawn) < wanted:
        held_out = split == "test" and not drawn
        # A third of the things repeats a category, so that there is something to count.
        repeats = bool(drawn) and random.random() < 0.34
        (category,) = [drawn[-1][0]] if repeats else random.choices(difficulty.categories, weights)
        colours = [
            colour for colour in difficulty.colours if split == "test" or not is_held_out(category, colour, difficulty)
        ]
        if held_out:
            colours = [colour for colour in colours if is_held_out(category, colour, difficulty)]
        drawn.append((category, random.choice(colours)))
    return drawn


def _place(random: Random, category: str, colour: str, others: list[Thing], difficulty: Difficulty) -> Thing | None:
    """Tries places until the thing and the others are visible enough; None where there is none."""
    pattern = random.choice(difficulty.patterns)
    for _ in range(_PLACEMENTS):
        size = random.choice(list(difficulty.sizes))
        side = random.uniform(*difficulty.sizes[size])
        aspect = CATEGORIES[category].aspect
        width, height = side * aspect**0.5, side / aspect**0.5
        left = random.uniform(MARGIN, 1 - MARGIN - width)
        if CATEGORIES[category].zone == "air":
            top = random.uniform(MARGIN, max(MARGIN, HORIZON - height + 0.1))
        else:
            top = random.uniform(max(MARGIN, HORIZON + 0.08 - height), 1 - MARGIN - height)
        box = (left, top, left + width, top + height)
        thing = Thing(category, colour, size, pattern, box, random.random() < 0.5)
        if _all_visible([*others, thing], difficulty.max_covered):
            return thing
    return None


def _all_visible(things: list[Thing], max_covered: float) -> bool:
    return all(
        sum(_covered(thing.box, other.box) for other in things if other is not thing) <= max_covered for thing in things
    )


def _covered(box: Box, other: Box) -> float:
    """The share of `box` that lies within the other."""
    width = max(0.0, min(box[2], other[2]) - max(box[0], other[0]))
    height = max(0.0, min(box[3], other[3]) - max(box[1], other[1]))
    return width * height / ((box[2] - box[0]) * (box[3] - box[1]))
