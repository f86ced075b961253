"""Questions with ten answers, made so that a guess without the picture is worth little.

Of each type but yes/no, no answer is given to much more than half of the questions; yes is as frequent as no.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import permutations
from random import Random

from distillvlm.data.records import Question, Split
from distillvlm.data.scenes.difficulty import Difficulty
from distillvlm.data.scenes.layout import Scene, Thing, is_held_out, opposite, relation
from distillvlm.data.scenes.lexicon import plural
from distillvlm.data.scenes.words import Annotator, with_article

NUM_ANSWERS = 10
# Relations that are clear enough to ask for, and the answer to "where".
_POSITIONS = {
    "left of": "left",
    "right of": "right",
    "above": "above",
    "below": "below",
    "in front of": "in front",
    "behind": "behind",
}
# Few scenes have three things of a kind; without these weights most answers would be none or one.
_COUNT_WEIGHTS = (0.3, 0.5, 1.3, 2.0, 2.5, 2.5, 2.5)


@dataclass(frozen=True)
class Asked:
    """others: what could be answered as well, for those who err."""

    text: str
    answer: str
    others: Sequence[str]


def make_questions(scene: Scene, split: Split, difficulty: Difficulty, first_id: int) -> tuple[Question, ...]:
    """Of each type `difficulty.questions`, as far as the scene allows; numbered from `first_id`."""
    random = scene.random("questions")
    annotators = [Annotator(scene.random(f"answer {number}"), difficulty) for number in range(NUM_ANSWERS)]
    questions: list[Question] = []
    for question_type, (answer_type, ask) in _TYPES.items():
        possible = ask(scene, split, difficulty, random)
        for asked in _drawn(random, possible, difficulty.questions):
            answers = tuple(_answer(annotator, asked) for annotator in annotators)
            number = first_id + len(questions)
            questions.append(Question(number, f"{asked.text}?", answers, answer_type, question_type))
    return tuple(questions)


def reference_to(thing: Thing, things: Sequence[Thing]) -> str | None:
    """The shortest words that mean this thing only: "the ball", "the red ball", "the striped red ball"."""
    alike = [one for one in things if one.category == thing.category]
    if len(alike) == 1:
        return f"the {thing.category}"
    alike = [one for one in alike if one.colour == thing.colour]
    if len(alike) == 1:
        return f"the {thing.colour} {thing.category}"
    alike = [one for one in alike if one.pattern == thing.pattern]
    if len(alike) == 1 and thing.pattern in thing.attributes:
        return f"the {thing.pattern} {thing.colour} {thing.category}"
    return None


def _drawn(random: Random, possible: list[Asked], wanted: int) -> list[Asked]:
    """Different answers first, then different texts."""
    random.shuffle(possible)
    chosen: list[Asked] = []
    for asked in possible:
        if len(chosen) < wanted and asked.answer not in {one.answer for one in chosen}:
            chosen.append(asked)
    rest = (asked for asked in possible if asked.text not in {one.text for one in chosen})
    return [*chosen, *rest][:wanted]


def _answer(annotator: Annotator, asked: Asked) -> str:
    others = [other for other in asked.others if other != asked.answer]
    if others and annotator.errs():
        return annotator.random.choice(others)
    return annotator.word(asked.answer)


def _what(scene: Scene, _: Split, difficulty: Difficulty, random: Random) -> list[Asked]:
    things = scene.things
    kinds = difficulty.categories
    if len(things) == 1:
        return [Asked("what is in the picture", things[0].category, kinds)]
    possible = []
    for colour, category in _unique(things, lambda one: one.colour):
        possible.append(Asked(f"what is {colour}", category, kinds))
    for pattern, category in _unique(things, lambda one: one.pattern):
        if pattern != "plain":
            possible.append(Asked(f"what is {pattern}", category, kinds))
    for thing in things:
        reference = reference_to(thing, things)
        for said in _POSITIONS:
            standing = [one for one in things if one is not thing and relation(one, thing) == said]
            if reference and len(standing) == 1:
                possible.append(Asked(f"what is {said} {reference}", standing[0].category, kinds))
    return possible


def _colour(scene: Scene, _: Split, difficulty: Difficulty, random: Random) -> list[Asked]:
    counts = Counter(thing.category for thing in scene.things)
    return [
        Asked(f"what color is the {thing.category}", thing.colour, difficulty.colours)
        for thing in scene.things
        if counts[thing.category] == 1
    ]


def _how_many(scene: Scene, _: Split, difficulty: Difficulty, random: Random) -> list[Asked]:
    """A draw by answer: all zeros and ones would be easy to come by."""
    things = scene.things
    by_answer: dict[int, list[str]] = {len(things): ["how many things are there"]}
    for category in difficulty.categories:
        count = sum(thing.category == category for thing in things)
        by_answer.setdefault(count, []).append(f"how many {plural(category)} are there")
    for colour in difficulty.colours:
        count = sum(thing.colour == colour for thing in things)
        by_answer.setdefault(count, []).append(f"how many things are {colour}")
    numbers = [str(number) for number in range(max(difficulty.things) + 1)]
    drawn = random.choices(list(by_answer), [_COUNT_WEIGHTS[count] for count in by_answer], k=difficulty.questions)
    return [Asked(random.choice(by_answer[count]), str(count), numbers) for count in drawn]


def _where(scene: Scene, _: Split, difficulty: Difficulty, random: Random) -> list[Asked]:
    """The place, and how one thing stands to another where that is clear."""
    things = scene.things
    referable = [(thing, name) for thing in things if (name := reference_to(thing, things))]
    places = [Asked(f"where is {name}", scene.background, difficulty.backgrounds) for _, name in referable]
    standing = [
        Asked(f"where is {name} relative to {other_name}", _POSITIONS[said], tuple(_POSITIONS.values()))
        for thing, name in referable
        for other, other_name in referable
        if thing is not other and (said := relation(thing, other)) in _POSITIONS
    ]
    return [random.choice(possible) for possible in (places, standing) if possible]


def _yes_no(scene: Scene, split: Split, difficulty: Difficulty, random: Random) -> list[Asked]:
    """A statement that is true and one that is not, of one kind; one of them where one question is wanted."""
    true, false = random.choice([_existence(scene, split, difficulty), *_standings(scene)])
    asked = [
        Asked(random.choice(true), "yes", ("yes", "no")),
        Asked(random.choice(false), "no", ("yes", "no")),
    ]
    return random.sample(asked, min(difficulty.questions, len(asked)))


def _existence(scene: Scene, split: Split, difficulty: Difficulty) -> tuple[list[str], list[str]]:
    """What is there, and what is not but shares its colour or its category with something that is."""
    present = {(thing.category, thing.colour): None for thing in scene.things}
    categories, colours = {category for category, _ in present}, {colour for _, colour in present}
    absent = [
        (category, colour)
        for category in difficulty.categories
        for colour in difficulty.colours
        if (category, colour) not in present
        and (category in categories) != (colour in colours)
        and (split == "test" or not is_held_out(category, colour, difficulty))
    ]
    true, false = (
        [f"is there {with_article(f'{colour} {category}')}" for category, colour in compositions]
        for compositions in (present, absent)
    )
    return true, false


def _standings(scene: Scene) -> list[tuple[list[str], list[str]]]:
    """For each pair of things that stand clearly to each other, how they do, and how they do not."""
    kinds = []
    for thing, other in permutations(scene.things, 2):
        name, other_name = reference_to(thing, scene.things), reference_to(other, scene.things)
        said = relation(thing, other)
        if name and other_name and said in _POSITIONS:
            kinds.append(([f"is {name} {said} {other_name}"], [f"is {name} {opposite(said)} {other_name}"]))
    return kinds


def _unique(things: Sequence[Thing], seen: Callable[[Thing], str]) -> list[tuple[str, str]]:
    """What one thing only has, with that thing's category."""
    counts = Counter(map(seen, things))
    return [(seen(thing), thing.category) for thing in things if counts[seen(thing)] == 1]


_Asking = Callable[[Scene, Split, Difficulty, Random], list[Asked]]
# question_type -> answer_type as in VQA v2, and what asks.
_TYPES: dict[str, tuple[str, _Asking]] = {
    "what": ("other", _what),
    "what color": ("other", _colour),
    "how many": ("number", _how_many),
    "where": ("other", _where),
    "yes/no": ("yes/no", _yes_no),
}
